import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { expect, test } from 'vitest'
import { apiApp } from '../../src/serve/api.ts'
import { openApiDocument } from '../../src/serve/openapi.ts'
import { eventBody } from '../../src/serve/wire.ts'
import { ManualClock } from '../support/clock.ts'
import { endedExecution, settledTask } from '../support/ended.ts'
import { EXAMPLE_AT, EXAMPLE_FILE, execution, task } from '../support/examples.ts'
import { EVIDENCE, executionView, MemoryOperations } from '../support/operations.ts'

function open() {
  const operations = new MemoryOperations()
  const app = apiApp(operations, {
    access: { type: 'socket' },
    clock: new ManualClock(EXAMPLE_AT),
    closing: new AbortController().signal,
    onFailure: () => undefined,
  })
  return { operations, app }
}

/** Whether a value, as it is sent, is what the document says of it. */
function isDescribed(schema: object, value: unknown): true | string {
  const ajv = new Ajv2020({ strict: false })
  addFormats.default(ajv)
  const validate = ajv.compile({ ...schema, components: openApiDocument.components })
  return validate(JSON.parse(JSON.stringify(value))) || ajv.errorsText(validate.errors)
}

const component = (name: string) => ({ $ref: `#/components/schemas/${name}` })

test('the document has every route of the app and no other', () => {
  const routes = open()
    .app.routes.filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)(?:\{[^}]*\})?/g, '{$1}')}`)
  const documented = Object.entries(openApiDocument.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method.toUpperCase()} ${openApiDocument.servers[0]!.url}${path}`),
  )

  expect(documented.sort()).toEqual(routes.sort())
})

test('every variable of a path is a parameter of it', () => {
  for (const [path, item] of Object.entries(openApiDocument.paths)) {
    for (const operation of Object.values(item as Record<string, { parameters?: { name: string; in: string }[] }>)) {
      const named = (operation.parameters ?? []).flatMap((one) => (one.in === 'path' ? [one.name] : []))
      expect([path, named]).toEqual([path, [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)])
    }
  }
})

test('it is what GET openapi.json answers', async () => {
  const answer = await open().app.request('http://localhost/api/v1/openapi.json')

  expect(await answer.json()).toEqual(JSON.parse(JSON.stringify(openApiDocument)))
})

test('the answers are as it describes them', async () => {
  const { operations, app } = open()
  const [running, done] = ['20261121T020000Z-3f9a1c07', '20261121T020000Z-00000000']
  operations.listed = [executionView(), executionView({ state: 'Running', result: undefined, endedAt: undefined })]
  operations.slots = [EXAMPLE_AT]
  operations.used = ['hotfix sha256:abc']
  operations.ledger = [{ key: 'a'.repeat(64), warmAt: EXAMPLE_AT, evidence: EVIDENCE }]
  operations.view = {
    ...operations.view,
    source: { revision: undefined, appliedAt: undefined, trouble: { code: 'PH4003', message: 'no answer' } },
    providers: [{ ...operations.view.providers[0]!, silentUntil: EXAMPLE_AT }],
    problems: [
      { severity: 'error', code: 'PH2001', file: 'a.yaml', line: 1, column: 1, message: 'x', help: 'y', key: 'z' },
    ],
  }
  operations.known.set(running, { execution: execution(), tasks: [task({ subject: { file: EXAMPLE_FILE } })] })
  operations.known.set(done, {
    execution: endedExecution({ reason: { code: 'PH8004', message: 'too many' } }),
    tasks: [
      settledTask(),
      settledTask({
        state: 'Partial',
        error: { code: 'PH5003', message: 'blobs missing' },
        jobs: [
          {
            key: 'a',
            manifest: undefined,
            cluster: { id: '1', name: 'eu-1' },
            ids: ['17'],
            state: 'open',
            id: '17',
            submittedAt: EXAMPLE_AT,
            lookAt: EXAMPLE_AT,
            progress: { doneBytes: 1, totalBytes: 2 },
          },
        ],
      }),
    ],
  })
  const reason = { method: 'POST', body: '{"reason":"x"}', headers: { 'content-type': 'application/json' } }
  const asked: [path: string, of: keyof typeof openApiDocument.paths, init?: RequestInit][] = [
    ['status', '/status'],
    ['executions', '/executions'],
    ['used-runs', '/used-runs'],
    [`executions/${running}`, '/executions/{id}'],
    [`executions/${done}`, '/executions/{id}'],
    ['policies/library/release-images/schedule', '/policies/{policy}/schedule'],
    [`executions/${running}/stop`, '/executions/{id}/stop', reason],
    ['policies/library/release-images/executions', '/policies/{policy}/executions', reason],
    ['policies/library/release-images/suspend', '/policies/{policy}/suspend', reason],
    ['policies/library/release-images/resume', '/policies/{policy}/resume', reason],
    ['policies/library/release-images/explanation', '/policies/{policy}/explanation'],
    ['warmth?reference=library/app:v1', '/warmth'],
    ['ledger', '/ledger', { ...reason, body: JSON.stringify({ keys: [operations.ledger[0]!.key] }) }],
    ['suspend', '/suspend', reason],
    ['resume', '/resume', reason],
    ['reconcile', '/reconcile', reason],
    ['providers/dragonfly-eu/invalidate', '/providers/{name}/invalidate', reason],
  ]

  for (const [path, of, init] of asked) {
    const answer = await app.request(`http://localhost/api/v1/${path}`, init)
    const [operation] = Object.values(openApiDocument.paths[of]) as {
      responses: Record<string, { content: Record<string, { schema: object }> }>
    }[]
    const schema = operation?.responses[answer.status]?.content['application/json']?.schema
    expect([path, schema && isDescribed(schema, await answer.json())]).toEqual([path, true])
  }
})

test('a problem and the events are as it describes them', async () => {
  const { app } = open()
  const id = execution().id

  const problem = await app.request('http://localhost/api/v1/providers/none/invalidate', {
    method: 'POST',
    body: '{}',
    headers: { 'content-type': 'application/json' },
  })

  expect(isDescribed(component('Problem'), await problem.json())).toBe(true)
  for (const event of [
    { name: 'execution.started', execution: execution() },
    { name: 'execution.selected', execution: execution(), tasks: 1, sizeBytes: 2, unsized: 0 },
    { name: 'task.changed', task: task() },
    { name: 'execution.ended', execution: endedExecution() },
  ] as const) {
    expect([event.name, isDescribed(component('Event'), eventBody(EXAMPLE_AT, event, id))]).toEqual([event.name, true])
  }
})
