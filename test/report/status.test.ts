import { describe, expect, it } from 'vitest'
import type { Problem } from '../../src/model/problem.ts'
import { renderReadme } from '../../src/report/readme.ts'
import {
  mergeStatus,
  parseStatus,
  statusOf,
  suspendedIn,
  type LastExecution,
  troubleIn,
  type Trouble,
} from '../../src/report/status.ts'
import { endedExecution, settledTask } from '../support/ended.ts'
import { artifactRun, EXAMPLE_AT, located, policy, provider, snapshot, target } from '../support/examples.ts'

const REPORT = 'executions/2026/11/21/eu/library/release-images/20261121T020000Z-3f9a1c07.yaml'
const KEY = 'PreheatPolicy/harbor/library/release-images'
const problem: Problem = {
  severity: 'error',
  code: 'PH2003',
  file: 'projects/library/release.yaml',
  line: 7,
  column: 3,
  message: 'must be a list',
}
const stalledPolicy: Trouble = { key: located(policy()).key, problems: [problem] }

const success: LastExecution = { execution: endedExecution(), tasks: [settledTask()] }
const later = (overrides: Partial<LastExecution['execution']>, tasks: LastExecution['tasks']): LastExecution => ({
  execution: endedExecution({ id: '20261121T030000Z-3f9a1c07', endedAt: EXAMPLE_AT + 3_700_000, ...overrides }),
  tasks,
})
const merge = (
  existing: string | undefined,
  last: LastExecution[],
  stalled: Trouble[] = [],
  { instance = 'eu', declared = [KEY] } = {},
) =>
  mergeStatus(
    existing,
    instance,
    statusOf(last, stalled, () => REPORT),
    declared,
  )

describe('status.yaml', () => {
  it('says how each policy stands at each provider, and how old the evidence is', () => {
    expect(merge(undefined, [success])).toBe(`\
apiVersion: preheatd.io/v1alpha1
kind: Status
instances:
  - instance: eu
    objects:
      - kind: PreheatPolicy
        name: library/release-images
        registry: harbor
        provider: dragonfly-eu
        state: Ready
        result: Success
        since: 2026-11-21T02:01:35.250Z
        execution: 20261121T020000Z-3f9a1c07
        report: ${REPORT}
        observedAt: 2026-11-21T02:01:35.000Z
`)
  })

  it('does not change when only times do', () => {
    const text = merge(undefined, [success])
    const again = later({}, [settledTask({ endedAt: EXAMPLE_AT + 3_690_000 })])
    expect(merge(text, [again])).toBe(text)
  })

  it('does not change when all is still warm', () => {
    const text = merge(undefined, [success])
    expect(merge(text, [later({ result: 'Skipped' }, [])])).toBe(text)
  })

  it('changes when a result does, and when the same result has another cause', () => {
    const failed = (code: 'PH5001' | 'PH5006') =>
      later({ result: 'Failed' }, [settledTask({ state: 'Failed', error: { code, message: 'job 17' } })])
    const text = merge(merge(undefined, [success]), [failed('PH5006')])
    expect(text).toContain('result: Failed\n        error:\n          code: PH5006\n          message: job 17\n')
    expect(text).toContain('since: 2026-11-21T03:01:40.000Z')
    expect(merge(text, [failed('PH5001')])).toContain('code: PH5001')
  })

  it('tells providers apart, and drops one that the policy no longer names', () => {
    const us = target({ provider: provider({ name: 'dragonfly-us' }) })
    const both = endedExecution({ snapshot: snapshot({ targets: [target(), us] }) })
    const lost = settledTask({ provider: 'dragonfly-us', state: 'Lost', error: { code: 'PH5005', message: 'lost' } })
    const text = merge(undefined, [{ execution: both, tasks: [settledTask(), lost] }])
    expect(text).toMatch(/provider: dragonfly-eu[^]*result: Success[^]*provider: dragonfly-us[^]*result: Failed/)
    expect(merge(text, [success])).not.toContain('dragonfly-us')
  })

  it('says why nothing was begun', () => {
    const reason = { code: 'PH8004', message: '1200 artifacts, 1000 allowed' } as const
    expect(merge(undefined, [later({ result: 'Blocked', reason }, [])])).toMatch(
      /result: Blocked\n *error:\n *code: PH8004/,
    )
  })

  it('shows a suspension with its end and reason beside the last result, until it is over', () => {
    const until = EXAMPLE_AT + 3_600_000
    const frozen = { ...located(policy({ suspend: { until, reason: 'freeze | now' } })), problems: [] }
    const suspended = (at: number) => suspendedIn({ objects: [frozen] }, at)
    const ready = merge(undefined, [success])
    const text = merge(ready, [success], suspended(until - 1))
    expect(text).toContain(`\
        state: Suspended
        suspended:
          until: 2026-11-21T03:00:00.000Z
          reason: freeze | now
        result: Success
`)
    expect(merge(text, [success], suspended(until - 1))).toBe(text)
    expect(renderReadme(text)).toContain('**Suspended** until 2026-11-21T03:00:00.000Z (freeze &#124; now), Success |')
    expect(merge(text, [success], suspended(until))).toBe(ready)
    expect(merge(text, [], [])).toBe(ready)
  })

  it('shows a suspension that never ran, has no end, or is broken too; and none of a policy that is disabled', () => {
    const forever = { ...located(policy({ suspend: { until: undefined, reason: '' } })), problems: [problem] }
    const troubles = suspendedIn({ objects: [forever] }, EXAMPLE_AT)
    expect(merge(undefined, [], troubles)).toMatch(/state: Suspended\n +suspended:\n +reason: ""\n/)
    expect(merge(undefined, [], [stalledPolicy, ...troubles])).toMatch(/state: Stalled\n +suspended:[^]+code: PH2003/)
    expect(merge(undefined, [], [stalledPolicy, ...troubles]).match(/name: /g)).toHaveLength(1)
    const disabled = { ...forever, resource: policy({ enabled: false, suspend: { until: undefined, reason: '' } }) }
    expect(suspendedIn({ objects: [disabled] }, EXAMPLE_AT)).toEqual([])
  })

  it('shows a stalled object with its place, beside its last result, until it is mended', () => {
    const ready = merge(undefined, [success])
    const stalled = merge(ready, [success], [stalledPolicy])
    expect(stalled).toMatch(
      /state: Stalled\n *problem:\n *code: PH2003\n.*\n *file: projects.*\n *line: 7\n *result: Success/,
    )
    expect(merge(stalled, [success], [stalledPolicy])).toBe(stalled)
    expect(merge(stalled, [success])).toBe(ready)
  })

  it('shows what never had a good version: an object by its name, a file that cannot be read by its path', () => {
    const unreadable: Problem = { ...problem, code: 'PH1003', file: 'providers/x.yaml' }
    const broken: Problem = { ...problem, file: 'providers/y.yaml', key: 'Provider/y' }
    const troubles = troubleIn({
      objects: [],
      problems: [unreadable, broken, { ...broken, severity: 'warning', key: 'Provider/z' }],
    })

    const text = merge(undefined, [], troubles)

    expect(parseStatus(text)[0]?.statuses.map(({ kind, name, state }) => [kind, name, state])).toEqual([
      ['File', 'providers/x.yaml', 'Stalled'],
      ['Provider', 'y', 'Stalled'],
    ])
  })

  it('shows a stalled object once, with what is wrong with it', () => {
    const applied = { ...located(policy()), problems: [problem] }

    expect(troubleIn({ objects: [applied], problems: [{ ...problem, key: applied.key }] })).toEqual([applied])
  })

  it('forgets a stalled object that was never executed once it is mended', () => {
    const text = merge(undefined, [], [{ ...located(provider()), problems: [problem] }])
    expect(text).toContain('kind: Provider\n        name: dragonfly-eu\n        state: Stalled\n')
    expect(merge(text, [])).not.toContain('dragonfly-eu')
  })

  it('leaves the other instances alone, in whatever order they write', () => {
    const one = merge(merge(undefined, [success]), [success], [stalledPolicy], { instance: 'us' })
    const other = merge(merge(undefined, [success], [stalledPolicy], { instance: 'us' }), [success])
    expect(one).toBe(other)
    expect(one.indexOf('instance: eu')).toBeLessThan(one.indexOf('instance: us'))
  })

  it('says what a run with artifacts of its own came to in place of why it waited', () => {
    const run = artifactRun()
    const { key } = located(run)
    const execution = endedExecution({ policyKey: key, snapshot: snapshot({ policy: run.ownPolicy }) })
    const waiting = merge(undefined, [], [{ key, problems: [{ ...problem, severity: 'warning' }] }])
    expect(parseStatus(waiting)[0]?.statuses).toMatchObject([
      { kind: 'PreheatRun', name: run.name, outcome: undefined },
    ])

    const text = merge(waiting, [{ execution, tasks: [settledTask()] }])

    expect(parseStatus(text)[0]?.statuses).toEqual([
      expect.objectContaining({
        kind: 'PreheatRun',
        name: run.name,
        registry: undefined,
        provider: 'dragonfly-eu',
        state: 'Ready',
        problem: undefined,
        outcome: expect.objectContaining({ result: 'Success' }),
      }),
    ])
    expect(merge(text, [], [], { declared: [key] })).toBe(text)
    expect(renderReadme(text)).toContain(`PreheatRun ${run.name}`)
  })

  it('keeps what a daemon without its state knows nothing of, and drops what is not declared', () => {
    const text = merge(undefined, [success])
    expect(merge(text, [], [], { declared: [KEY] })).toBe(text)
    expect(merge(text, [], [], { declared: [] })).not.toContain('release-images')
  })

  it.each([
    '',
    '[',
    'instances: 4',
    'instances: [{instance: eu, objects: [{kind: Nonsense, name: 3}]}]',
    '['.repeat(50_000),
  ])('is begun anew when it cannot be read: case %#', (broken) => {
    expect(merge(broken, [success])).toBe(merge(undefined, [success]))
  })
})

describe('the README of the branch', () => {
  it('is a table of the status with links to the reports', () => {
    const readme = renderReadme(merge(undefined, [success]))
    expect(readme).toContain(
      '| library/release-images | dragonfly-eu | Success | 2026-11-21T02:01:35.250Z | 2026-11-21T02:01:35.000Z | [20261121T020000Z-3f9a1c07](executions/2026/11/21/eu/library/release-images/20261121T020000Z-3f9a1c07.yaml) |',
    )
    expect(readme).toContain('\n## eu\n')
  })

  it('is the same for the same status', () => {
    const text = merge(undefined, [success])
    expect(renderReadme(merge(text, [later({}, [settledTask()])]))).toBe(renderReadme(text))
  })

  it('shows where a stalled file is broken', () => {
    expect(renderReadme(merge(undefined, [success], [stalledPolicy]))).toContain(
      '| **Stalled** PH2003 at projects/library/release.yaml:7, Success |',
    )
  })

  it('shows hostile text of a status and does nothing with it', () => {
    const hostile = '@everyone `x` | <img src=x> [a](http://evil) #1 **b**'
    const text = merge(undefined, [later({ result: 'Failed', reason: { code: 'PH6006', message: hostile } }, [])])
    const row = renderReadme(text)
      .split('\n')
      .find((line) => line.includes('PH6006'))!
    expect(row).not.toMatch(/@|`|<|[^&]#|\*\*b|\]\(http|http:/)
    expect(row.match(/\|/g)).toHaveLength(7)
  })

  it('links to nothing but reports', () => {
    for (const report of [
      'javascript:alert(1)',
      'executions/../../x.yaml',
      'https://evil/executions/a.yaml',
      `${REPORT})x`,
    ]) {
      const readme = renderReadme(merge(undefined, [success]).replace(REPORT, JSON.stringify(report)))
      expect(readme).toContain('| 20261121T020000Z-3f9a1c07 |')
    }
  })
})
