import { setMaxListeners } from 'node:events'
import { Hono, type Context } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { DeadlineError, withDeadline } from '../deadline.ts'
import type { Clock } from '../model/clock.ts'
import type { Code } from '../model/codes.ts'
import { formatDuration, formatInstant, parseDuration } from '../model/duration.ts'
import { EdgeError, excerpt, OperatorError } from '../model/errors.ts'
import { parseReference } from '../model/reference.ts'
import { SourceError } from '../model/source.ts'
import { admit, type Access } from './access.ts'
import { EventStreams } from './event-stream.ts'
import { openApiDocument } from './openapi.ts'
import type { Asked, Operations } from '../model/operations.ts'
import { answerOf, KNOWN, Refusal, type RefusalStatus } from './refusal.ts'
import {
  executionBody,
  executionDetailBody,
  EXPLAIN_MS,
  MAX_KEYS,
  entryBody,
  statusBody,
  WARM_MS,
  warmthBody,
} from './wire.ts'

export interface ApiPorts {
  readonly access: Access
  readonly clock: Clock
  /** Ends the streams of events, which would last as long as the executions. */
  readonly closing: AbortSignal
  /** Told of what was answered with 500: a bug, or a store that failed. */
  readonly onFailure: (error: unknown) => void
}

const MAX_BODY_BYTES = 1024 * 1024
const MAX_REASON = 500
const MAX_LIST = 1000
const MAX_SLOTS = 100
const LEDGER_KEY = /^[0-9a-f]{64}$/
/** Artifacts that one answer explains. */
const MAX_EXPLAINED = 20_000
/** Questions at once that others have to be asked for. */
const MAX_INQUIRIES = 32
const MAX_WAIT_MS = 24 * 3_600_000
const EXECUTION_ID = /^\d{8}T\d{6}Z-[0-9a-f]{8}$/

/** `/api/v1`: what an operator asks of a living daemon. The same app serves the API's port and the control socket. */
export function apiApp(operations: Operations, { access, clock, closing, onFailure }: ApiPorts) {
  const app = new Hono<{ Variables: { by: string } }>()
  const streams = new EventStreams(operations, clock, closing)
  let inquiries = 0

  app.use(async (c, next) => {
    await next()
    c.header('cache-control', 'no-store')
    c.header('x-content-type-options', 'nosniff')
  })
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) => {
        const allow = methods.join(', ')
        return answerOf(new Refusal(405, 'PH8102', `${c.req.method} is not for ${allow}`, { headers: { allow } }))
      },
    }),
  )
  app.use(async (c, next) => {
    c.set('by', await admit(access, c.req.raw.headers))
    await next()
  })
  app.use(
    bodyLimit({
      maxSize: MAX_BODY_BYTES,
      onError: () => answerOf(new Refusal(413, 'PH8102', `the body is longer than ${MAX_BODY_BYTES} bytes`)),
    }),
  )

  app.get('/api/v1/openapi.json', (c) => c.json(openApiDocument))

  app.get('/api/v1/status', async (c) => {
    query(c, [])
    return c.json(statusBody(await operations.status()))
  })

  app.get('/api/v1/executions', async (c) => {
    const { policy, limit } = query(c, ['policy', 'limit'])
    const found = await operations.executions(policy, count('limit', limit, 50, MAX_LIST))
    return c.json({ executions: found.map(executionBody) })
  })

  app.get('/api/v1/executions/:id', async (c) => {
    query(c, [])
    const id = executionId(c.req.param('id'))
    const found = await operations.execution(id)
    if (found === undefined) throw unknownExecution(id)
    return c.json(executionDetailBody(found))
  })

  app.get('/api/v1/executions/:id/events', async (c) => {
    const { follow = 'true' } = query(c, ['follow'])
    if (follow !== 'true' && follow !== 'false') throw refused('follow is true or false')
    const stream = await streams.open(executionId(c.req.param('id')), follow === 'true')
    return c.body(stream, 200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' })
  })

  app.post('/api/v1/executions/:id/stop', async (c) => {
    const asked = await askedOf(c, 'reason needed')
    const id = executionId(c.req.param('id'))
    if (await operations.stop(id, asked)) return c.json({ stopped: id })
    if ((await operations.execution(id)) === undefined) throw unknownExecution(id)
    throw new Refusal(409, 'PH8105', `execution ${id} has ended`)
  })

  app.post('/api/v1/policies/:policy{.+}/executions', async (c) => {
    const asked = await askedOf(c, 'reason needed')
    const policy = c.req.param('policy')
    const id = await ofPolicy(policy, () => operations.begin(policy, asked))
    return c.json({ execution: id }, 202, { location: `/api/v1/executions/${id}` })
  })

  app.post('/api/v1/policies/:policy{.+}/suspend', async (c) => {
    const asked = await askedOf(c, 'reason needed')
    const policy = c.req.param('policy')
    await ofPolicy(policy, () => operations.suspend(policy, asked))
    return c.json({ suspended: policy })
  })

  app.post('/api/v1/policies/:policy{.+}/resume', async (c) => {
    const asked = await askedOf(c, 'reason or none')
    const policy = c.req.param('policy')
    const changed = await ofPolicy(policy, () => operations.resume(policy, asked))
    return c.json({ resumed: policy, changed })
  })

  app.get('/api/v1/policies/:policy{.+}/schedule', async (c) => {
    const { next } = query(c, ['next'])
    const many = count('next', next, 10, MAX_SLOTS)
    const policy = c.req.param('policy')
    const slots = await ofPolicy(policy, () => operations.schedule(policy, many))
    return c.json({ policy, slots: slots.map(formatInstant) })
  })

  app.get('/api/v1/policies/:policy{.+}/explanation', async (c) => {
    const { artifact } = query(c, ['artifact'])
    const policy = c.req.param('policy')
    const found = await inquire(c, EXPLAIN_MS, (signal) => operations.explain(policy, artifact, signal))
    const { length } = found.artifacts
    if (length > MAX_EXPLAINED)
      throw new Refusal(409, 'PH8101', `${length} artifacts are too many for one answer (${MAX_EXPLAINED}): name one`)
    return c.json(found)
  })

  app.get('/api/v1/warmth', async (c) => {
    const { reference: text = '', provider, wait = '0s' } = query(c, ['reference', 'provider', 'wait'])
    const reference = parseReference(text)
    if (reference === undefined) throw refused('reference is a repository with a tag or a sha256 digest')
    const question = { reference, provider, waitMs: waitOf(wait) }
    const found = await inquire(c, WARM_MS + question.waitMs, (signal) => operations.warm(question, signal))
    return c.json(warmthBody(found))
  })

  app.post('/api/v1/ledger', async (c) => {
    const { keys, ...others } = await objectOf(c)
    knownFields(others)
    const isKey = (one: unknown): one is string => typeof one === 'string' && LEDGER_KEY.test(one)
    if (!Array.isArray(keys) || keys.length > MAX_KEYS || !keys.every(isKey))
      throw refused(`keys are at most ${MAX_KEYS} of the ledger`)
    return c.json({ entries: (await operations.remembered(keys)).map(entryBody) })
  })

  app.get('/api/v1/used-runs', async (c) => {
    query(c, [])
    return c.json({ runs: [...(await operations.usedRuns())] })
  })

  app.post('/api/v1/suspend', async (c) => {
    await operations.suspend(undefined, await askedOf(c, 'reason needed'))
    return c.json({ suspended: 'all' })
  })

  app.post('/api/v1/resume', async (c) => {
    const changed = await operations.resume(undefined, await askedOf(c, 'reason or none'))
    return c.json({ resumed: 'all', changed })
  })

  app.post('/api/v1/reconcile', async (c) => {
    await askedOf(c, 'reason or none')
    return c.json({ revision: await operations.reconcile() })
  })

  app.post('/api/v1/providers/:name/invalidate', async (c) => {
    const asked = await askedOf(c, 'reason or none')
    const name = c.req.param('name')
    const known = (await operations.status()).providers.map(({ provider }) => provider).sort()
    if (!known.includes(name))
      throw new Refusal(404, 'PH3002', `no provider is called ${quoted(name)}${hint(known)}`, { known })
    return c.json({ provider: name, forgotten: await operations.invalidate(name, asked) })
  })

  app.notFound((c) => answerOf(new Refusal(404, 'PH8102', `there is nothing at ${excerpt(c.req.path, 200)}`)))
  // Who went away in the middle of a request is no failure, and hears nothing of it.
  app.onError((error, c) =>
    answerOf(c.req.raw.signal.aborted ? refused('the request broke off') : refusalOf(error, onFailure)),
  )
  return app

  /** Asks others on behalf of somebody, for as long as that one stays and the daemon lives. */
  async function inquire<T>(c: Context, ms: number, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (inquiries >= MAX_INQUIRIES)
      throw new Refusal(503, 'PH8112', `${MAX_INQUIRIES} questions are being answered already`)
    inquiries++
    try {
      return await withDeadline(ms, closing, (open) => {
        const signal = AbortSignal.any([open, c.req.raw.signal])
        // One for each request that the answer takes, and those are bounded.
        setMaxListeners(0, signal)
        return ask(signal)
      })
    } catch (error) {
      if (closing.aborted) throw new Refusal(503, 'PH8107', 'the daemon stopped before it had the answer')
      if (error instanceof DeadlineError)
        throw new Refusal(504, 'PH8113', `there was no answer within ${formatDuration(ms)}`)
      const status = error instanceof OperatorError ? NOT_THERE.get(error.code) : undefined
      if (status === undefined || !(error instanceof OperatorError)) throw error
      throw new Refusal(status, error.code, error.message, { help: error.help })
    } finally {
      inquiries--
    }
  }

  /** A policy that is not there is another answer than one that cannot do it now. */
  async function ofPolicy<T>(name: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (!isCannotBegin(error)) throw error
      const { policies } = await operations.status()
      if (policies.some((one) => namesOf(one).includes(name))) throw error
      const known = policies.map(({ policy }) => policy).sort()
      throw new Refusal(404, 'PH3003', `no policy is called ${quoted(name)}${hint(known)}`, { known })
    }
  }
}

/** What is asked for is not declared, not in the registry, not open, or may be several: nothing of ours failed. */
const NOT_THERE: ReadonlyMap<Code, RefusalStatus> = new Map([
  ['PH3001', 404],
  ['PH3002', 404],
  ['PH6003', 404],
  ['PH3008', 409],
  ['PH3014', 409],
  ['PH3017', 409],
])

/** As a person may write it: `library/release-images`, `release-images`, or with the registry before it. */
function namesOf({ policy, registry }: { readonly policy: string; readonly registry: string }): string[] {
  return [policy, policy.slice(policy.lastIndexOf('/') + 1), `${registry}/${policy}`]
}

/** By its name: the class is the composition's, which nothing below may import. */
function isCannotBegin(error: unknown): error is Error & { readonly code: Code } {
  return error instanceof Error && error.name === 'CannotBegin'
}

function refusalOf(error: unknown, onFailure: (error: unknown) => void): Refusal {
  if (error instanceof Refusal) return error
  if (isCannotBegin(error)) return new Refusal(error.code === 'PH3003' ? 404 : 409, error.code, error.message)
  if (error instanceof SourceError || error instanceof EdgeError) return new Refusal(502, error.code, error.message)
  onFailure(error)
  if (error instanceof OperatorError) return new Refusal(503, error.code, error.message)
  return new Refusal(500, 'PH8109', 'the daemon failed at this; its log says how')
}

/** What a body may say: nothing but a reason. */
async function askedOf(
  c: Context<{ Variables: { by: string } }>,
  wants: 'reason needed' | 'reason or none',
): Promise<Asked> {
  const { reason = '', ...others } = await objectOf(c)
  knownFields(others)
  if (typeof reason !== 'string') throw refused('reason is a text')
  const clean = excerpt(reason, MAX_REASON)
  if (clean === '' && wants === 'reason needed') throw refused('reason is missing: it goes into the report')
  return { by: c.get('by'), reason: clean }
}

/** What a body says. */
async function objectOf(c: Context): Promise<Readonly<Record<string, unknown>>> {
  query(c, [])
  const type = c.req.header('content-type') ?? ''
  if (!/^application\/json *(?:;|$)/i.test(type)) throw new Refusal(415, 'PH8102', 'the body is application/json')
  const body: unknown = await c.req.json().catch(() => {
    throw refused('the body is not JSON')
  })
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw refused('the body is an object')
  return body as Readonly<Record<string, unknown>>
}

/** Nothing of a body is ignored. @param others what nobody asked for */
function knownFields(others: object): void {
  const [stranger] = Object.keys(others)
  if (stranger !== undefined) throw refused(`the body has no field ${quoted(stranger)}`)
}

/** The query, of which nothing is ignored. */
function query<K extends string>(c: Context, names: readonly K[]): Partial<Record<K, string>> {
  const given = c.req.query()
  const stranger = Object.keys(given).find((name) => !(names as readonly string[]).includes(name))
  if (stranger !== undefined) throw refused(`the query has no ${quoted(stranger)} here`)
  return given as Partial<Record<K, string>>
}

function count(name: string, text: string | undefined, usual: number, most: number): number {
  if (text === undefined) return usual
  const value = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (value < 1 || value > most) throw refused(`${name} is a number from 1 to ${most}`)
  return value
}

function waitOf(text: string): number {
  try {
    const waitMs = parseDuration(text)
    if (waitMs <= MAX_WAIT_MS) return waitMs
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
  }
  throw refused('wait is a duration of at most 24h, as 10m')
}

function executionId(text: string): string {
  if (!EXECUTION_ID.test(text)) throw new Refusal(404, 'PH8104', `${quoted(text)} is no id of an execution`)
  return text
}

function unknownExecution(id: string): Refusal {
  return new Refusal(404, 'PH8104', `no execution ${id} is known here`)
}

function refused(message: string): Refusal {
  return new Refusal(400, 'PH8102', message)
}

function hint(known: readonly string[]): string {
  if (known.length === 0) return '; there are none'
  const more = known.length > KNOWN ? `, and ${known.length - KNOWN} more` : ''
  return `; there are ${known.slice(0, KNOWN).join(', ')}${more}`
}

function quoted(text: string): string {
  return JSON.stringify(excerpt(text, 100))
}
