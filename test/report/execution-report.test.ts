import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import { describe, expect, it } from 'vitest'
import { renderExecutionReport, reportPath } from '../../src/report/execution-report.ts'
import { endedExecution, settledTask, taskOf } from '../support/ended.ts'
import { artifact, digest, EXAMPLE_AT, manifest, order, policy, snapshot, task } from '../support/examples.ts'

const schemas = new URL('../../schemas/', import.meta.url)
const schema = (name: string) => JSON.parse(readFileSync(new URL(name, schemas), 'utf8')) as object
const validate = new Ajv2020({ schemas: [schema('common.schema.json')], strict: false }).compile(
  schema('execution-report.schema.json'),
)

const manifests = [manifest({ platform: 'linux/amd64' }), manifest({ digest: digest(2), platform: 'linux/arm64' })]
const succeeded = settledTask({
  artifact: artifact({ tags: ['latest', 'v1'] }),
  order: order({ manifests }),
  jobs: [
    {
      key: 'a',
      manifest: digest(1),
      cluster: { id: '1', name: 'eu-1' },
      ids: ['16', '17'],
      state: 'ended',
      verdict: { said: 'success', claims: undefined, message: undefined },
    },
  ],
})
const partial = taskOf('base', {
  provider: 'dragonfly-us',
  state: 'Partial',
  error: { code: 'PH5003', message: '1 of 2 blobs\nmissing' },
  missing: [digest('layer')],
  evidence: {
    kind: 'success_tasks',
    source: 'claimed-by-engine',
    observedAt: EXAMPLE_AT + 95_000,
    blobs: 1,
    of: 2,
    peers: 1,
  },
})
const execution = endedExecution({ result: 'PartialSuccess' })

describe('an execution report', () => {
  it('is these bytes', () => {
    expect(renderExecutionReport(execution, [partial, succeeded], 'eu').text).toBe(`\
apiVersion: preheatd.io/v1alpha1
kind: ExecutionReport
metadata:
  name: 20261121T020000Z-3f9a1c07
spec:
  policy: library/release-images
  trigger:
    type: scheduled
    cause:
      slot: 2026-11-21T02:00:00.000Z
  config:
    commit: 4f2d4f2d4f2d4f2d4f2d4f2d4f2d4f2d4f2d4f2d
    author: Ada <ada@example.com>
    subject: Preheat the release images
  startedAt: 2026-11-21T02:00:00.120Z
  endedAt: 2026-11-21T02:01:35.250Z
  result: PartialSuccess
  selection:
    digest: ${digest('selection')}
    considered: 412
    selected: 40
    skipped: 37
  tasks:
    - artifact:
        repository: library/app
        tags:
          - latest
          - v1
        digest: ${digest(1)}
        platforms:
          - linux/amd64
          - linux/arm64
        sizeBytes: 30001500
      provider: dragonfly-eu
      state: Succeeded
      jobs:
        - id: "16"
          cluster: eu-1
        - id: "17"
          cluster: eu-1
      evidence:
        kind: success_tasks
        source: claimed-by-engine
        observedAt: 2026-11-21T02:01:35.000Z
        blobs: 2
        of: 2
        peers: 1
      attempts: 1
      startedAt: 2026-11-21T02:00:00.500Z
      endedAt: 2026-11-21T02:01:35.000Z
    - artifact:
        repository: library/base
        tags:
          - v1
        digest: ${digest('base')}
        platforms: []
        sizeBytes: 30001500
      provider: dragonfly-us
      state: Partial
      error:
        code: PH5003
        message: 1 of 2 blobs missing
      missing:
        - ${digest('layer')}
      jobs: []
      evidence:
        kind: success_tasks
        source: claimed-by-engine
        observedAt: 2026-11-21T02:01:35.000Z
        blobs: 1
        of: 2
        peers: 1
      attempts: 1
      startedAt: 2026-11-21T02:00:00.500Z
      endedAt: 2026-11-21T02:01:35.000Z
`)
  })

  it('is the same whatever order its tasks come in', () => {
    const one = renderExecutionReport(execution, [partial, succeeded], 'eu')
    expect(renderExecutionReport(execution, [succeeded, partial], 'eu')).toEqual(one)
  })

  it.each([
    ['a schedule', execution],
    ['a PreheatRun', endedExecution({ cause: runCause() })],
    ['somebody', endedExecution({ cause: { type: 'manual', acceptedAt: EXAMPLE_AT, by: 'ada' } })],
    [
      'a rule that forbade it',
      endedExecution({ result: 'Blocked', selection: undefined, reason: { code: 'PH8005', message: 'content trust' } }),
    ],
  ])('of %s keeps to its schema', (_, ended) => {
    const report: unknown = parse(renderExecutionReport(ended, [partial, succeeded], 'eu').text)
    expect(validate(report), JSON.stringify(validate.errors)).toBe(true)
  })

  it('says which PreheatRun asked and why', () => {
    const { text } = renderExecutionReport(endedExecution({ cause: runCause() }), [], 'eu')
    expect(text).toContain(`run:\n        name: hotfix\n        digest: ${digest('run')}\n        reason: CVE fix\n`)
  })

  it('holds no line break, escape or direction mark of a commit, an engine or a registry', () => {
    const hostile = 'a\u001b[2J\r\nresult: Success\u202e\u009b'
    const config = { commit: 'abc', author: hostile, subject: hostile }
    const { text } = renderExecutionReport(
      endedExecution({ snapshot: snapshot({ config }) }),
      [
        settledTask({
          state: 'Failed',
          error: { code: 'PH5006', message: hostile },
          artifact: artifact({ tags: [hostile] }),
        }),
      ],
      'eu',
    )
    expect(text).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u)
    expect(text.match(/^ *result:/gm)).toHaveLength(1)
  })

  it('of an execution with an open task is a bug that shows', () => {
    expect(() => renderExecutionReport(execution, [task()], 'eu')).toThrow(TypeError)
  })
})

describe('the path of a report', () => {
  const pathOf = (overrides: Parameters<typeof policy>[0], instance = 'eu') =>
    reportPath(endedExecution({ snapshot: snapshot({ policy: policy(overrides) }) }), instance)

  it('is the day of the slot, the instance, the project, the policy and the id', () => {
    expect(pathOf({})).toBe('executions/2026/11/21/eu/library/release-images/20261121T020000Z-3f9a1c07.yaml')
  })

  it('has an underscore where there is no project, and two for a slash in one', () => {
    expect(pathOf({ project: undefined })).toContain('/eu/_/release-images/')
    expect(pathOf({ project: 'team/base' })).toContain('/eu/team__base/release-images/')
  })

  it.each(['..', 'a/../b', '/etc', 'a//b', 'a\\b', '.git', 'a b', '', 'x'.repeat(201)])(
    'never holds the project %j',
    (project) => {
      expect(() => pathOf({ project })).toThrow(TypeError)
    },
  )

  it.each(['..', 'a/b', '-x', '', 'a\n', 'x'.repeat(129)])('never holds the name %j', (name) => {
    expect(() => pathOf({ name })).toThrow(TypeError)
    expect(() => pathOf({}, name)).toThrow(TypeError)
  })

  it('never holds an id that is none', () => {
    expect(() => reportPath(endedExecution({ id: '../../x' }), 'eu')).toThrow(TypeError)
  })
})

function runCause() {
  return { type: 'manual', run: { name: 'hotfix', digest: digest('run'), reason: 'CVE fix' } } as const
}
