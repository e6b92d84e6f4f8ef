import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import { describe, expect, it } from 'vitest'
import { renderExecutionReport, reportPath } from '../../src/report/execution-report.ts'
import { endedExecution, settledTask, taskOf } from '../support/ended.ts'
import {
  artifact,
  digest,
  EXAMPLE_AT,
  EXAMPLE_FILE,
  fileOrder,
  manifest,
  order,
  policy,
  snapshot,
  task,
} from '../support/examples.ts'
import type { Evidence } from '../../src/model/evidence.ts'
import type { SettledTask } from '../../src/model/task.ts'

const schemas = new URL('../../schemas/', import.meta.url)
const schema = (name: string) => JSON.parse(readFileSync(new URL(name, schemas), 'utf8')) as object
const validate = new Ajv2020({ schemas: [schema('common.schema.json')], strict: false }).compile(
  schema('execution-report.schema.json'),
)

const manifests = [manifest({ platform: 'linux/amd64' }), manifest({ digest: digest(2), platform: 'linux/arm64' })]
const succeeded = settledTask({
  subject: artifact({ tags: ['latest', 'v1'] }),
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
const file = settledTask({
  id: '20261121T020000Z-3f9a1c07/file',
  subject: { file: EXAMPLE_FILE },
  order: fileOrder(),
  sizeBytes: undefined,
})
const execution = endedExecution({ result: 'PartialSuccess' })

describe('an execution report', () => {
  it('is these bytes', () => {
    expect(renderExecutionReport(execution, [partial, succeeded], 'eu', 'counts').text).toBe(`\
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
    const one = renderExecutionReport(execution, [partial, succeeded], 'eu', 'counts')
    expect(renderExecutionReport(execution, [succeeded, partial], 'eu', 'counts')).toEqual(one)
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
    const report: unknown = parse(renderExecutionReport(ended, [partial, succeeded], 'eu', 'counts').text)
    expect(validate(report), JSON.stringify(validate.errors)).toBe(true)
  })

  it('shows a file by its URL, without size or digest, and names it where it is missing', () => {
    const lost = { ...file, provider: 'dragonfly-us', state: 'Failed', missing: [EXAMPLE_FILE] } as const
    const { text } = renderExecutionReport(execution, [lost, file, succeeded], 'eu', 'counts')
    expect(keepsToSchema(text).spec.tasks.map(({ artifact, file, missing }) => [artifact, file, missing])).toEqual([
      [undefined, EXAMPLE_FILE, undefined],
      [undefined, EXAMPLE_FILE, [EXAMPLE_FILE]],
      [expect.objectContaining({ repository: 'library/app' }), undefined, undefined],
    ])
  })

  it('of a task is of an artifact or of a file, and never of both or none', () => {
    const report = parse(renderExecutionReport(execution, [succeeded, file], 'eu', 'counts').text) as Report
    const [first, second] = report.spec.tasks
    const withTask = (one: object) => validate({ ...report, spec: { ...report.spec, tasks: [one] } })
    expect([first!, second!, { ...first, ...second }, { provider: 'x', state: 'Failed' }].map(withTask)).toEqual([
      true,
      true,
      false,
      false,
    ])
  })

  it('names the tags that point elsewhere by the end, and where, or that they are gone [R6]', () => {
    const movedTags = [
      { artifact: 'library/app:gone', digest: undefined },
      { artifact: 'library/app:latest', digest: digest(2) },
    ]
    const selection = { ...execution.selection!, movedTags }
    const { text } = renderExecutionReport({ ...execution, selection }, [succeeded], 'eu', 'counts')
    expect(keepsToSchema(text).spec.selection).toMatchObject({
      movedTags: [{ artifact: 'library/app:gone' }, { artifact: 'library/app:latest', digest: digest(2) }],
    })
  })

  it('names artifacts that the policy names and the registry does not have', () => {
    const unresolved = [{ artifact: 'nginx:9', code: 'PH8010', message: 'library/nginx has\nno such tag' }] as const
    const selection = { ...execution.selection!, unresolved }
    const { text } = renderExecutionReport({ ...execution, selection }, [succeeded], 'eu', 'counts')
    expect(keepsToSchema(text).spec.selection).toMatchObject({
      unresolved: [{ artifact: 'nginx:9', code: 'PH8010', message: 'library/nginx has no such tag' }],
    })
  })

  it('has what was said of a job that went well, at its last id', () => {
    const message = `preheats are cached by URL, but nodes pulled by digest\u001b[2J ${'x'.repeat(500)}`
    const job = { ...succeeded.jobs[0]!, verdict: { said: 'success', claims: undefined, message } } as const
    const { text } = renderExecutionReport(execution, [{ ...succeeded, jobs: [job] }], 'eu', 'counts')
    const [first, last] = keepsToSchema(text).spec.tasks[0]?.jobs ?? []
    expect(first).toEqual({ id: '16', cluster: 'eu-1' })
    expect(last).toMatchObject({
      id: '17',
      message: expect.stringMatching(/^preheats are cached by URL, [^\p{Cc}]{371}…$/u),
    })
  })

  describe('of an artifact whose holders the engine named', () => {
    const peerNames = ['seed-1 10.0.0.6', 'seed-0 10.0.0.5', `seed-\u001b ${'x'.repeat(300)}`]
    const claims = { kind: 'success_tasks', source: 'claimed-by-engine', cached: [], peers: 3, peerNames } as const
    const [job] = succeeded.jobs
    const verdict = { said: 'success', claims, message: undefined } as const
    const task: SettledTask = {
      ...succeeded,
      jobs: [
        { ...job!, state: 'ended', verdict },
        { ...job!, state: 'ended', verdict },
      ],
    }

    it('says how many, and nothing of who they are', () => {
      expect(renderExecutionReport(execution, [task], 'eu', 'counts').text).not.toMatch(/seed-|10\.0\.0|peerNames/)
    })

    it('names each of them once where reports.peers asks for it', () => {
      const { text } = renderExecutionReport(execution, [task], 'eu', 'names')

      keepsToSchema(text)
      expect(text).toMatch(
        /peerNames:\n {10}- seed- {2}x{192}…\n {10}- seed-0 10\.0\.0\.5\n {10}- seed-1 10\.0\.0\.6\n/,
      )
    })

    it('names nobody where the engine did not', () => {
      expect(renderExecutionReport(execution, [succeeded], 'eu', 'names').text).not.toContain('peerNames')
    })
  })

  it.each<Evidence['kind']>(['success_tasks', 'get_task', 'presence', 'read_through'])(
    'may rest on evidence of the kind %s',
    (kind) => {
      const evidence = { ...succeeded.evidence!, kind }
      keepsToSchema(renderExecutionReport(execution, [{ ...succeeded, evidence }], 'eu', 'counts').text)
    },
  )

  it('says which PreheatRun asked and why', () => {
    const { text } = renderExecutionReport(endedExecution({ cause: runCause() }), [], 'eu', 'counts')
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
          subject: artifact({ tags: [hostile] }),
        }),
      ],
      'eu',
      'counts',
    )
    expect(text).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u)
    expect(text.match(/^ *result:/gm)).toHaveLength(1)
  })

  it('of an execution with an open task is a bug that shows', () => {
    expect(() => renderExecutionReport(execution, [task()], 'eu', 'counts')).toThrow(TypeError)
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

  it.each(['..', 'a/b', '-x', '', 'a\n', 'x'.repeat(129)])('never holds the name %j [P6]', (name) => {
    expect(() => pathOf({ name })).toThrow(TypeError)
    expect(() => pathOf({}, name)).toThrow(TypeError)
  })

  it('never holds an id that is none [P6]', () => {
    expect(() => reportPath(endedExecution({ id: '../../x' }), 'eu')).toThrow(TypeError)
  })
})

/** What a test asks of a report; the schema has the rest. */
interface Report {
  readonly spec: {
    readonly selection?: object
    readonly tasks: readonly {
      readonly artifact?: object
      readonly file?: string
      readonly missing?: readonly string[]
      readonly jobs: readonly object[]
    }[]
  }
}

function keepsToSchema(text: string): Report {
  const report = parse(text) as Report
  expect(validate(report), JSON.stringify(validate.errors)).toBe(true)
  return report
}

function runCause() {
  return { type: 'manual', run: { name: 'hotfix', digest: digest('run'), reason: 'CVE fix' } } as const
}
