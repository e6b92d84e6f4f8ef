import { Client, type Dispatcher } from 'undici'
import { withDeadline } from '../deadline.ts'
import { codes, type Code } from '../model/codes.ts'
import { formatDuration } from '../model/duration.ts'
import { excerpt, OperatorError } from '../model/errors.ts'
import type { LedgerEntry } from '../model/evidence.ts'
import type { ExplanationView, WarmQuestion } from '../model/operations.ts'
import { referenceText } from '../model/reference.ts'
import { USER_HEADER } from './access.ts'
import { controlPath, fits, isAnswered } from './control.ts'
import {
  EXPLAIN_MS,
  MAX_KEYS,
  entryOf,
  WARM_MS,
  type EventBody,
  type ExecutionBody,
  type ExecutionDetailBody,
  type LedgerEntryBody,
  type StatusBody,
  type WarmthBody,
} from './wire.ts'

const ANSWER_MS = 60_000
/** A look at the source fetches what is new. */
const RECONCILE_MS = 10 * 60_000
/** The daemon says something every 15 s. */
const SILENCE_MS = 60_000
const MAX_ANSWER_BYTES = 256 * 1024 * 1024
const MAX_LINE_BYTES = 1024 * 1024

/**
 * A living daemon, as {@link Operations} has it and as its API says it. Every method throws {OperatorError} with the
 * daemon's own code and message where that refuses.
 */
export interface RemoteOperations extends AsyncDisposable {
  status(signal: AbortSignal): Promise<StatusBody>
  executions(policy: string | undefined, limit: number, signal: AbortSignal): Promise<readonly ExecutionBody[]>
  /** @throws {OperatorError} PH8104 for one that is not there */
  execution(id: string, signal: AbortSignal): Promise<ExecutionDetailBody>
  /** @returns the execution's id */
  begin(policy: string, reason: string, signal: AbortSignal): Promise<string>
  /** @throws {OperatorError} PH8105 for one that has ended */
  stop(id: string, reason: string, signal: AbortSignal): Promise<void>
  /** Undefined: all policies. */
  suspend(policy: string | undefined, reason: string, signal: AbortSignal): Promise<void>
  /** @returns false where nothing was suspended by that name */
  resume(policy: string | undefined, reason: string, signal: AbortSignal): Promise<boolean>
  /** @returns the revision in force */
  reconcile(signal: AbortSignal): Promise<string | undefined>
  /** @returns how many entries were forgotten */
  invalidate(provider: string, reason: string, signal: AbortSignal): Promise<number>
  /** RFC 3339. */
  schedule(policy: string, count: number, signal: AbortSignal): Promise<readonly string[]>
  /** @param artifact undefined: all */
  explain(policy: string, artifact: string | undefined, signal: AbortSignal): Promise<ExplanationView>
  warm(question: WarmQuestion, signal: AbortSignal): Promise<WarmthBody>
  /** What is known to be warm of these keys of the ledger. */
  remembered(keys: readonly string[], signal: AbortSignal): Promise<LedgerEntry[]>
  /** PreheatRuns that ran and never run again, each a name and the digest of its content. */
  usedRuns(signal: AbortSignal): Promise<ReadonlySet<string>>
  /**
   * What the daemon remembers of an execution, oldest first, and until its `end` what happens to it, as long as the
   * daemon lives.
   */
  events(id: string, until: 'now' | 'end', signal: AbortSignal): AsyncIterable<EventBody>
}

/**
 * The daemon that lives in a state folder; undefined: none does.
 * @param user who asks, for its reports
 * @throws {OperatorError} PH8003 when its socket may not be opened
 */
export async function connectControl(stateDir: string, user: string): Promise<RemoteOperations | undefined> {
  const path = controlPath(stateDir)
  if (!fits(path) || !(await isAnswered(path))) return undefined
  return new ControlClient(path, user)
}

class ControlClient implements RemoteOperations {
  readonly #client: Client
  readonly #headers: Readonly<Record<string, string>>

  constructor(socketPath: string, user: string) {
    this.#client = new Client('http://localhost', { socketPath, headersTimeout: 0, bodyTimeout: 0 })
    // Printable ASCII is what a header carries.
    this.#headers = { [USER_HEADER]: user.replaceAll(/[^\x21-\x7e]/g, '?').slice(0, 64) }
  }

  status(signal: AbortSignal): Promise<StatusBody> {
    return this.#get<StatusBody>('status', signal)
  }

  async executions(policy: string | undefined, limit: number, signal: AbortSignal): Promise<readonly ExecutionBody[]> {
    const query = new URLSearchParams({ limit: `${limit}`, ...(policy !== undefined && { policy }) })
    return (await this.#get<{ executions: ExecutionBody[] }>(`executions?${query.toString()}`, signal)).executions
  }

  execution(id: string, signal: AbortSignal): Promise<ExecutionDetailBody> {
    return this.#get<ExecutionDetailBody>(`executions/${encodeURIComponent(id)}`, signal)
  }

  async begin(policy: string, reason: string, signal: AbortSignal): Promise<string> {
    return (await this.#post<{ execution: string }>(`policies/${address(policy)}/executions`, { reason }, signal))
      .execution
  }

  async stop(id: string, reason: string, signal: AbortSignal): Promise<void> {
    await this.#post(`executions/${encodeURIComponent(id)}/stop`, { reason }, signal)
  }

  async suspend(policy: string | undefined, reason: string, signal: AbortSignal): Promise<void> {
    await this.#post(policy === undefined ? 'suspend' : `policies/${address(policy)}/suspend`, { reason }, signal)
  }

  async resume(policy: string | undefined, reason: string, signal: AbortSignal): Promise<boolean> {
    const path = policy === undefined ? 'resume' : `policies/${address(policy)}/resume`
    return (await this.#post<{ changed: boolean }>(path, { reason }, signal)).changed
  }

  async reconcile(signal: AbortSignal): Promise<string | undefined> {
    return (await this.#post<{ revision?: string }>('reconcile', {}, signal, RECONCILE_MS)).revision
  }

  async invalidate(provider: string, reason: string, signal: AbortSignal): Promise<number> {
    const path = `providers/${encodeURIComponent(provider)}/invalidate`
    return (await this.#post<{ forgotten: number }>(path, { reason }, signal)).forgotten
  }

  async schedule(policy: string, count: number, signal: AbortSignal): Promise<readonly string[]> {
    return (await this.#get<{ slots: string[] }>(`policies/${address(policy)}/schedule?next=${count}`, signal)).slots
  }

  explain(policy: string, artifact: string | undefined, signal: AbortSignal): Promise<ExplanationView> {
    const query = artifact === undefined ? '' : `?${new URLSearchParams({ artifact }).toString()}`
    return this.#get<ExplanationView>(`policies/${address(policy)}/explanation${query}`, signal, EXPLAIN_MS + ANSWER_MS)
  }

  warm({ reference, provider, waitMs }: WarmQuestion, signal: AbortSignal): Promise<WarmthBody> {
    const query = new URLSearchParams({
      reference: referenceText(reference),
      ...(provider !== undefined && { provider }),
      wait: formatDuration(waitMs),
    })
    return this.#get<WarmthBody>(`warmth?${query.toString()}`, signal, WARM_MS + waitMs + ANSWER_MS)
  }

  async remembered(keys: readonly string[], signal: AbortSignal): Promise<LedgerEntry[]> {
    const entries: LedgerEntryBody[] = []
    for (let from = 0; from < keys.length; from += MAX_KEYS) {
      const body = { keys: keys.slice(from, from + MAX_KEYS) }
      entries.push(...(await this.#post<{ entries: LedgerEntryBody[] }>('ledger', body, signal)).entries)
    }
    return entries.map(entryOf)
  }

  async usedRuns(signal: AbortSignal): Promise<ReadonlySet<string>> {
    return new Set((await this.#get<{ runs: string[] }>('used-runs', signal)).runs)
  }

  async *events(id: string, until: 'now' | 'end', signal: AbortSignal): AsyncGenerator<EventBody> {
    const path = `executions/${encodeURIComponent(id)}/events?follow=${until === 'end'}`
    const over = new AbortController()
    const leave = () => {
      over.abort(signal.reason)
    }
    signal.throwIfAborted()
    signal.addEventListener('abort', leave, { once: true })
    try {
      const answer = await this.#request('GET', path, undefined, over.signal, { bodyTimeout: SILENCE_MS })
      if (answer.statusCode !== 200) throw await refusalOf(answer)
      yield* eventsIn(answer.body)
    } catch (error) {
      throw signal.aborted ? signal.reason : understood(error)
    } finally {
      signal.removeEventListener('abort', leave)
      over.abort()
    }
  }

  async #get<T>(path: string, signal: AbortSignal, timeoutMs = ANSWER_MS): Promise<T> {
    return await this.#exchange<T>('GET', path, undefined, signal, timeoutMs)
  }

  async #post<T>(path: string, body: object, signal: AbortSignal, timeoutMs = ANSWER_MS): Promise<T> {
    return await this.#exchange<T>('POST', path, JSON.stringify(body), signal, timeoutMs)
  }

  async #exchange<T>(
    method: 'GET' | 'POST',
    path: string,
    body: string | undefined,
    signal: AbortSignal,
    timeoutMs: number,
  ): Promise<T> {
    try {
      return await withDeadline(timeoutMs, signal, async (both) => {
        const answer = await this.#request(method, path, body, both, {})
        if (answer.statusCode >= 300) throw await refusalOf(answer)
        return JSON.parse(await readAll(answer.body)) as T
      })
    } catch (error) {
      throw signal.aborted ? signal.reason : understood(error)
    }
  }

  async #request(
    method: 'GET' | 'POST',
    path: string,
    body: string | undefined,
    signal: AbortSignal,
    timeouts: { readonly bodyTimeout?: number },
  ): Promise<Dispatcher.ResponseData> {
    return await this.#client.request({
      method,
      path: `/api/v1/${path}`,
      headers: { ...this.#headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
      body: body ?? null,
      signal,
      ...timeouts,
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.destroy()
  }
}

/** Its slashes are part of the path. */
function address(policy: string): string {
  return policy.split('/').map(encodeURIComponent).join('/')
}

async function refusalOf({ statusCode, body }: Dispatcher.ResponseData): Promise<OperatorError> {
  const problem = JSON.parse(await readAll(body)) as Readonly<Record<string, unknown>>
  const { code, detail, help } = problem
  if (typeof code !== 'string' || typeof detail !== 'string') throw new SyntaxError('no problem details')
  if (!Object.hasOwn(codes, code)) return new OperatorError('PH8110', `${excerpt(code, 20)}: ${detail}`)
  // It does not know what is asked: we would not ask what we do not know.
  if (statusCode === 404 && code === 'PH8102')
    return new OperatorError('PH8110', `the daemon is of another version: ${detail}`)
  return new OperatorError(code as Code, detail, typeof help === 'string' ? { help } : {})
}

/** What a person can do something about. */
function understood(error: unknown): unknown {
  if (error instanceof OperatorError || !(error instanceof Error)) return error
  const message = `the daemon did not answer as one of this version: ${excerpt(error.message)}`
  return new OperatorError('PH8110', message, { cause: error })
}

async function readAll(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) throw new RangeError(`an answer of more than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** The data of server-sent events; comments and names say nothing that it does not. */
async function* eventsIn(body: AsyncIterable<Buffer>): AsyncGenerator<EventBody> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop()!
    if (rest.length > MAX_LINE_BYTES) throw new RangeError(`an event of more than ${MAX_LINE_BYTES} bytes`)
    for (const line of lines) if (line.startsWith('data: ')) yield JSON.parse(line.slice('data: '.length)) as EventBody
  }
}
