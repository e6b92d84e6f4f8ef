import { codes } from '../model/codes.ts'
import { MAX_KEYS } from './wire.ts'

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })
const text = { type: 'string' } as const
const time = { type: 'string', format: 'date-time' } as const
const natural = { type: 'integer', minimum: 0 } as const
const key = { type: 'string', pattern: '^[0-9a-f]{64}$' } as const
const line = { type: 'integer', minimum: 1 } as const
const list = (items: object) => ({ type: 'array', items })

/** An object of which nothing else may be there; `required` of it always is. */
function shape(required: Readonly<Record<string, object>>, optional: Readonly<Record<string, object>> = {}): object {
  return {
    type: 'object',
    properties: { ...required, ...optional },
    required: Object.keys(required),
    additionalProperties: false,
  }
}

const CHANGED = { type: 'boolean', description: 'False: nobody had suspended that.' }

const said = shape({ code: text, message: text })

const schemas = {
  Status: shape(
    {
      instance: text,
      version: text,
      leads: { type: 'boolean', description: 'Does this replica sync, run schedules and send reports?' },
      source: shape({}, { revision: text, appliedAt: time, trouble: said }),
      policies: list(ref('Policy')),
      providers: list(ref('Provider')),
      waitingReports: natural,
      problems: list(ref('Finding')),
    },
    {},
  ),
  Condition: shape({
    type: { enum: ['Ready', 'Reconciling', 'Stalled'] },
    status: { type: 'boolean' },
    reason: text,
    message: text,
  }),
  Policy: shape(
    { policy: text, registry: text, conditions: list(ref('Condition')) },
    {
      suspended: { ...text, description: 'Why; absent: it is not.' },
      nextSlot: time,
      last: ref('Execution'),
    },
  ),
  Provider: shape(
    { provider: text, vendor: text, enabled: { type: 'boolean' }, openTasks: natural },
    { silentUntil: { ...time, description: 'It stopped answering, and its tasks wait until then.' } },
  ),
  Finding: shape(
    {
      severity: { enum: ['error', 'warning'] },
      code: text,
      file: text,
      line,
      column: { type: 'integer', minimum: 1 },
      message: text,
    },
    { help: text, key: text },
  ),
  Execution: shape(
    {
      id: text,
      policy: text,
      state: { enum: ['Selecting', 'Running', 'Ended'] },
      startedAt: time,
      cause: text,
      tasks: { type: 'object', description: 'How many, by state.', additionalProperties: natural },
    },
    { result: ref('Result'), endedAt: time },
  ),
  Result: {
    enum: ['Success', 'PartialSuccess', 'Unverified', 'Failed', 'Stopped', 'Skipped', 'Blocked', 'Missed'],
  },
  ExecutionDetail: shape(
    {
      id: text,
      policy: text,
      state: { enum: ['Selecting', 'Running', 'Ended'] },
      cause: text,
      at: time,
      startedAt: time,
      commit: text,
      tasks: list(ref('Task')),
    },
    {
      result: ref('Result'),
      reason: said,
      endedAt: time,
      selection: shape({ considered: natural, selected: natural, skipped: natural }),
    },
  ),
  Task: shape(
    {
      id: text,
      provider: text,
      state: {
        enum: ['Pending', 'Submitting', 'Running', 'Succeeded', 'Partial', 'Unverified', 'Failed', 'Lost', 'Stopped'],
      },
      attempts: natural,
      jobs: list(ref('Job')),
    },
    {
      artifact: shape({ repository: text, tags: list(text), digest: text }),
      file: text,
      sizeBytes: natural,
      evidence: ref('Evidence'),
      missing: { ...natural, description: 'Blobs that are known to be absent.' },
      error: said,
      startedAt: time,
      nextAt: { ...time, description: 'When something is done for it next.' },
      endedAt: time,
    },
  ),
  Evidence: shape({
    kind: text,
    source: { enum: ['claimed-by-engine', 'observed'] },
    observedAt: time,
    blobs: natural,
    of: natural,
    peers: natural,
  }),
  Job: shape(
    { state: { enum: ['wanted', 'intended', 'open', 'probing', 'ended'] } },
    { id: text, cluster: text, doneBytes: natural, totalBytes: natural },
  ),
  Explanation: shape(
    {
      policy: text,
      file: text,
      line,
      why: { ...list(text), description: 'Why the policy does not run by itself, and what became of it.' },
      artifacts: list(
        shape(
          {
            repository: text,
            outcome: { enum: ['in', 'out'] },
            verdicts: list(
              shape(
                { rule: text, says: { enum: ['in', 'out', 'unknown'] }, message: text, file: text },
                { field: { ...text, description: 'Absent: no field of the policy decides.' }, line },
              ),
            ),
            targets: list(ref('Target')),
          },
          { tag: text, digest: text, decidedBy: { ...text, description: 'The rule that left it out.' } },
        ),
      ),
      files: list(shape({ file: text, line, targets: list(ref('Target')) })),
    },
    {
      blocked: { ...said, description: 'Why a run now would submit nothing at all.' },
      unresolved: { ...list(shape({ artifact: text, code: text, message: text })), description: 'Nobody finds them.' },
    },
  ),
  Target: shape({ provider: text, action: { enum: ['preheat', 'skip'] }, reason: text }),
  Warmth: shape(
    {
      registry: text,
      repository: text,
      digest: text,
      warm: { type: 'boolean', description: 'On every provider that was asked.' },
      providers: list(
        shape(
          { name: text, warm: { type: 'boolean' } },
          {
            from: { enum: ['ledger', 'probe'] },
            reason: { ...text, description: 'Why it is not known warm.' },
            evidence: ref('Evidence'),
            ageMs: { type: 'number' },
          },
        ),
      ),
    },
    { tag: text },
  ),
  Event: {
    description: 'The data of a server-sent event; its name is that of the event.',
    oneOf: [
      shape({ name: { const: 'execution.started' }, at: time, execution: text, policy: text }),
      shape({
        name: { const: 'execution.selected' },
        at: time,
        execution: text,
        tasks: natural,
        sizeBytes: natural,
        unsized: natural,
      }),
      shape({ name: { const: 'task.changed' }, at: time, execution: text, task: ref('Task') }),
      shape({ name: { const: 'execution.ended' }, at: time, execution: text, result: ref('Result') }, { reason: said }),
    ],
  },
  Reason: shape({}, { reason: { ...text, description: 'Goes into the report; the first 500 characters count.' } }),
  NeededReason: shape({ reason: { ...text, minLength: 1, description: 'Goes into the report.' } }),
  Problem: shape(
    {
      type: text,
      title: text,
      status: { type: 'integer' },
      detail: text,
      code: { enum: Object.keys(codes) },
      help: text,
    },
    { known: { ...list(text), description: 'Names that would have been known.' } },
  ),
}

const json = (schema: object) => ({ 'application/json': { schema } })

/** What an answer is, and that everything else is a problem. */
function answers(status: 200 | 202, description: string, content: object, headers?: object): object {
  return {
    [status]: { description, content, ...(headers && { headers }) },
    default: {
      description: 'A problem (RFC 9457)',
      content: { 'application/problem+json': { schema: ref('Problem') } },
    },
  }
}

const inPath = (name: string, description: string) => ({ name, in: 'path', required: true, schema: text, description })
const inQuery = (name: string, schema: object) => ({ name, in: 'query', schema })
const POLICY = inPath('policy', '`library/release-images`, or its bare name; slashes need no escape')
const EXECUTION = inPath('id', '`20261121T020000Z-3f9a1c07`')
const body = (schema: object) => ({ requestBody: { required: true, content: json(schema) } })

/** `GET /api/v1/openapi.json`. */
export const openApiDocument = {
  openapi: '3.1.0',
  info: {
    title: 'preheatd',
    version: '1.0.0',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    description: 'What an operator asks of a living daemon.',
  },
  servers: [{ url: '/api/v1' }],
  security: [{ token: [] }, {}],
  paths: {
    '/openapi.json': {
      get: { operationId: 'describe', responses: answers(200, 'This document', json({ type: 'object' })) },
    },
    '/status': {
      get: { operationId: 'status', responses: answers(200, 'How everything stands', json(ref('Status'))) },
    },
    '/executions': {
      get: {
        operationId: 'executions',
        parameters: [
          inQuery('policy', text),
          inQuery('limit', { type: 'integer', minimum: 1, maximum: 1000, default: 50 }),
        ],
        responses: answers(200, 'The newest first', json(shape({ executions: list(ref('Execution')) }))),
      },
    },
    '/executions/{id}': {
      get: {
        operationId: 'execution',
        parameters: [EXECUTION],
        responses: answers(200, 'It and its tasks', json(ref('ExecutionDetail'))),
      },
    },
    '/executions/{id}/events': {
      get: {
        operationId: 'events',
        description:
          'What the daemon remembers of the execution and then what happens, until it has ended. A comment every 15 s. `Last-Event-ID` means nothing here.',
        parameters: [EXECUTION, inQuery('follow', { type: 'boolean', default: true })],
        responses: answers(200, 'Server-sent events', { 'text/event-stream': { schema: ref('Event') } }),
      },
    },
    '/executions/{id}/stop': {
      post: {
        operationId: 'stop',
        description: 'Engines go on with what they were given.',
        parameters: [EXECUTION],
        ...body(ref('NeededReason')),
        responses: answers(200, 'What is not done yet is not begun', json(shape({ stopped: text }))),
      },
    },
    '/policies/{policy}/executions': {
      post: {
        operationId: 'begin',
        parameters: [POLICY],
        ...body(ref('NeededReason')),
        responses: answers(202, 'It began', json(shape({ execution: text })), {
          Location: { description: 'The execution', schema: text },
        }),
      },
    },
    '/policies/{policy}/suspend': {
      post: {
        operationId: 'suspend',
        description: 'Schedule and events rest; manual runs go on.',
        parameters: [POLICY],
        ...body(ref('NeededReason')),
        responses: answers(200, 'It rests', json(shape({ suspended: text }))),
      },
    },
    '/policies/{policy}/resume': {
      post: {
        operationId: 'resume',
        parameters: [POLICY],
        ...body(ref('Reason')),
        responses: answers(200, 'It rests no more by its own name', json(shape({ resumed: text, changed: CHANGED }))),
      },
    },
    '/policies/{policy}/schedule': {
      get: {
        operationId: 'schedule',
        parameters: [POLICY, inQuery('next', { type: 'integer', minimum: 1, maximum: 100, default: 10 })],
        responses: answers(200, 'Its next slots', json(shape({ policy: text, slots: list(time) }))),
      },
    },
    '/policies/{policy}/explanation': {
      get: {
        operationId: 'explain',
        description:
          'For every artifact the rules that take it in or leave it out, as the policy stands at the tip of the source. Submits nothing. Takes its turn among the executions that select, and ends when nobody waits for it any more.',
        parameters: [POLICY, { ...inQuery('artifact', text), description: '`app`, `app:v1`, `library/app@sha256:…`' }],
        responses: answers(200, 'Why', json(ref('Explanation'))),
      },
    },
    '/warmth': {
      get: {
        operationId: 'warm',
        description:
          'Is an image warm, by what evidence, how old? By the ledger and, where that knows nothing fresh, by a look at the engine. Submits nothing, and ends when nobody waits for it any more.',
        parameters: [
          {
            ...inQuery('reference', text),
            required: true,
            description: '`library/app:v1`, the registry’s host before it',
          },
          inQuery('provider', text),
          { ...inQuery('wait', { ...text, default: '0s' }), description: 'For evidence, at most 24h: `10m`' },
        ],
        responses: answers(200, 'Whether it is', json(ref('Warmth'))),
      },
    },
    '/ledger': {
      post: {
        operationId: 'remembered',
        description: 'What is known to be warm of these keys; changes nothing.',
        ...body(shape({ keys: { ...list(key), maxItems: MAX_KEYS } })),
        responses: answers(
          200,
          'Of which something is known',
          json(shape({ entries: list(shape({ key, warmAt: time, evidence: ref('Evidence') })) })),
        ),
      },
    },
    '/used-runs': {
      get: {
        operationId: 'usedRuns',
        description: 'PreheatRuns that ran and never run again, each a name and the digest of its content.',
        responses: answers(200, 'All of them', json(shape({ runs: list(text) }))),
      },
    },
    '/suspend': {
      post: {
        operationId: 'suspendAll',
        ...body(ref('NeededReason')),
        responses: answers(200, 'All policies rest', json(shape({ suspended: text }))),
      },
    },
    '/resume': {
      post: {
        operationId: 'resumeAll',
        ...body(ref('Reason')),
        responses: answers(200, 'Not all rest any more', json(shape({ resumed: text, changed: CHANGED }))),
      },
    },
    '/reconcile': {
      post: {
        operationId: 'reconcile',
        ...body(ref('Reason')),
        responses: answers(200, 'The revision in force; absent: none', json(shape({}, { revision: text }))),
      },
    },
    '/providers/{name}/invalidate': {
      post: {
        operationId: 'invalidate',
        parameters: [inPath('name', 'A declared provider')],
        ...body(ref('Reason')),
        responses: answers(
          200,
          'What it was known to hold is forgotten',
          json(shape({ provider: text, forgotten: natural })),
        ),
      },
    },
  },
  components: { schemas, securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
}
