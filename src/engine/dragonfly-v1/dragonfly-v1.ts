import pLimit from 'p-limit'
import { consoleRefusal, isConsole, refusal, type Action } from './refusal.ts'
import { nextLook, overdueAt } from './schedule.ts'
import {
  isTaskId,
  parseTaken,
  parseTask,
  preheatBody,
  taskInTheWay,
  whoseNoSuchTask,
  type Taken,
  type TaskRow,
} from './wire.ts'
import type { Abilities, Engine, Health, Inspection, Observation, Probe, WantedJob } from '../engine.ts'
import { manifestUrl } from '../manifest-url.ts'
import { artifactOrder, refuseExposedToken } from '../refused.ts'
import { waitFor } from '../../deadline.ts'
import { HttpOrigin, retryAfterMs, type HttpAnswer, type HttpRequest, type TlsMaterial } from '../../http.ts'
import { authHeader } from '../../model/auth.ts'
import type { Clock } from '../../model/clock.ts'
import type { Instant } from '../../model/duration.ts'
import { EdgeError, excerpt } from '../../model/errors.ts'
import type { Provider } from '../../model/provider.ts'
import type { ReadSecret, Secret } from '../../model/secret.ts'
import type { Job, Order, Verdict } from '../../model/task.ts'
import { RateLimit } from '../../rate-limit.ts'

/** What the driver needs from its surroundings. */
export interface DragonflyV1Ports {
  readonly read: ReadSecret
  readonly clock: Clock
}

/** A manager reads the manifest before it answers. */
const SUBMIT_TIMEOUT_MS = 130_000
const TIMEOUT_MS = 30_000
const MAX_BYTES = 2 ** 20
/** A pause that everybody waits for; a longer one is the task's own. */
const LONGEST_PAUSE_MS = 30_000
/** A manager's row id that no manager has come to: to be told that there is none proves API and database. */
const NOBODYS_ID = '2147483647'
/** Between the engine's clock and ours. */
const CLOCK_SKEW_MS = 60_000
const NOT_SHOWN = 'this API does not show which blobs were cached'

/**
 * The driver for `/preheats`: a supernode of Dragonfly 1.0.5 or 1.0.6, or a manager from 2.0.1 to 2.4.0;
 * contracts/dragonfly.md §5. Which one it is shows in each answer, and nothing is remembered of it.
 */
export function openDragonflyV1(provider: Provider, tls: TlsMaterial | undefined, ports: DragonflyV1Ports): Engine {
  return new DragonflyV1(provider, tls, ports)
}

class DragonflyV1 implements Engine {
  readonly #provider: Provider
  readonly #who: string
  readonly #read: ReadSecret
  readonly #clock: Clock
  readonly #origin: HttpOrigin
  readonly #requests: RateLimit
  readonly #submits: ReturnType<typeof pLimit>

  constructor(provider: Provider, tls: TlsMaterial | undefined, { read, clock }: DragonflyV1Ports) {
    this.#provider = provider
    this.#who = `provider ${provider.name}`
    this.#read = read
    this.#clock = clock
    const codes = { unreachable: 'PH5001', unintelligible: 'PH5008' } as const
    this.#origin = new HttpOrigin(provider.endpoint, this.#who, codes, tls)
    this.#requests = new RateLimit(clock, provider.limits.requestsPerSecond)
    this.#submits = pLimit(provider.limits.submitsInFlight)
  }

  /** A supernode before 1.0.5 answers a ping and has no `/preheats`: a look at a task that nobody has proves it. */
  async health(signal: AbortSignal): Promise<Health> {
    try {
      const ping = await this.#send({ method: 'GET', url: '/_ping' }, signal)
      // A supernode says OK, a manager the JSON of it.
      if (ping.answer.status !== 200 || !/^"?OK"?\s*$/.test(ping.answer.bytes.toString()))
        throw await this.#refusal('a ping', ping, signal)
      const asked = await this.#send({ method: 'GET', url: `/preheats/${NOBODYS_ID}` }, signal)
      const whose = whoseNoSuchTask(asked.answer)
      if (whose === undefined) throw await this.#refusal('a look at a task', asked, signal)
      return { ok: true, detail: `answers as a ${whose} that has /preheats; ${NOT_SHOWN}` }
    } catch (error) {
      if (error instanceof EdgeError) return { ok: false, code: error.code, detail: error.message }
      throw error
    }
  }

  inspect(): Promise<Inspection> {
    return Promise.resolve({})
  }

  abilities(signal: AbortSignal): Promise<Abilities> {
    return unlessAborted(signal, { evidence: 'none', clusters: [] })
  }

  /** One a platform manifest: this API knows no clusters. */
  async jobs(order: Order, signal: AbortSignal): Promise<WantedJob[]> {
    signal.throwIfAborted()
    const jobs = artifactOrder(order, this.#who).manifests.map(({ digest }): WantedJob => ({
      key: `${digest}@all`,
      manifest: digest,
      cluster: undefined,
      ids: [],
      state: 'wanted',
    }))
    return await Promise.resolve(jobs)
  }

  /**
   * A supernode answers with an earlier task of the same URL where one has ended, and begins nothing. One that failed is
   * removed, which is the only way to have it tried again, and submitted once more.
   */
  async submit(order: Order, job: Job, authorization: Secret | undefined, signal: AbortSignal): Promise<string> {
    const url = manifestUrl(artifactOrder(order, this.#who), job)
    if (url === undefined)
      throw new EdgeError('rejected', 'PH5002', `${this.#who}: the repository’s name has no place in a URL`)
    refuseExposedToken(this.#provider, authorization)
    const turn = this.#submits(async () => {
      signal.throwIfAborted()
      const taken = await this.#post(url, authorization, signal)
      if (!taken.isEarlier || !(await this.#clearFailed(taken.id, signal))) return taken.id
      return (await this.#post(url, authorization, signal)).id
    })
    return await waitFor(turn, signal)
  }

  /**
   * A layer that was preheated before, with another image, fails the image on a supernode. That is no failure: what
   * became of the layer's own task counts.
   */
  async observe(_order: Order, job: Extract<Job, { state: 'open' }>, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted()
    const row = await this.#look(job.id, signal)
    if (row === undefined) {
      return ended(
        'gone',
        `the engine has no record of task ${excerpt(job.id, 64)}; a supernode loses all when it restarts`,
      )
    }
    switch (row.state) {
      case 'open':
        return { kind: 'open' }
      case 'success':
        return ended('success', successMessage(row, job.submittedAt))
      case 'failure':
        return await this.#observeFailure(row, signal)
      default:
        return row.state satisfies never
    }
  }

  async #observeFailure(row: TaskRow, signal: AbortSignal): Promise<Observation> {
    const layerId = layerInTheWay(row)
    if (layerId === undefined) return ended('failure', failureMessage(row))
    const layer = await this.#look(layerId, signal)
    if (layer === undefined)
      return ended('failure', 'one of its layers had been preheated before; the record of that is gone')
    switch (layer.state) {
      case 'open':
        return { kind: 'open' }
      case 'success':
        return ended(
          'success',
          `one of its layers had been preheated before (task ${layerId.slice(0, 12)}), and the supernode did not go on to the layers after it; ${NOT_SHOWN}`,
        )
      case 'failure':
        return ended('failure', `one of its layers had failed before: ${failureMessage(layer)}`)
      default:
        return layer.state satisfies never
    }
  }

  /** A manager keeps no mark of ours; on a supernode the same URL is the same task, so that submitting again finds it. */
  find(_order: Order, _job: Job, signal: AbortSignal): Promise<undefined> {
    return unlessAborted(signal, undefined)
  }

  probe(_order: Order, _job: Job, _notes: string | undefined, signal: AbortSignal): Promise<Probe> {
    return unlessAborted(signal, { kind: 'ended', claims: undefined })
  }

  nextLook(submittedAt: Instant, now: Instant): Instant {
    return nextLook(this.#provider.dragonfly.pollScheduleMs, submittedAt, now)
  }

  overdueAt(order: Order, submittedAt: Instant): Instant {
    return overdueAt(this.#provider.dragonfly.pollScheduleMs, order.timeoutMs, submittedAt)
  }

  async #post(url: string, authorization: Secret | undefined, signal: AbortSignal): Promise<Taken> {
    const asked = await this.#send(
      {
        method: 'POST',
        url: '/preheats',
        headers: { 'content-type': 'application/json' },
        body: preheatBody(url, authorization),
        timeoutMs: SUBMIT_TIMEOUT_MS,
      },
      signal,
    )
    const taken = parseTaken(asked.answer)
    if (taken === undefined) throw await this.#refusal('a submission', asked, signal, authorization)
    return taken
  }

  /**
   * Makes room for a task that ended as failed, and for a failed one of a layer that was in its way. False when there is
   * nothing to be gained: it did not fail, or a layer that is there would fail it again.
   */
  async #clearFailed(id: string, signal: AbortSignal): Promise<boolean> {
    const row = await this.#look(id, signal)
    if (row === undefined) return true
    if (row.state !== 'failure') return false
    const layerId = layerInTheWay(row)
    const layer = layerId === undefined ? undefined : await this.#look(layerId, signal)
    if (layer !== undefined && layer.state !== 'failure') return false
    if (layer !== undefined) await this.#remove(layer.id, signal)
    await this.#remove(id, signal)
    return true
  }

  async #remove(id: string, signal: AbortSignal): Promise<void> {
    const asked = await this.#send({ method: 'DELETE', url: `/preheats/${id}` }, signal)
    if (asked.answer.status !== 200 || asked.answer.bytes.toString().trim() !== 'true')
      throw await this.#refusal('the removal of a failed task', asked, signal)
  }

  /** A task; undefined: the engine has no such task. */
  async #look(id: string, signal: AbortSignal): Promise<TaskRow | undefined> {
    if (!isTaskId(id)) return undefined
    const asked = await this.#send({ method: 'GET', url: `/preheats/${id}` }, signal)
    if (whoseNoSuchTask(asked.answer) !== undefined) return undefined
    const row = parseTask(asked.answer, id)
    if (row === undefined) throw await this.#refusal('a look at a task', asked, signal)
    return row
  }

  /** The credential is read at every request, so that a rotated one is used at the next. */
  async #send(request: Sent, signal: AbortSignal): Promise<Asked> {
    await this.#requests.take(signal)
    const auth = await authHeader(this.#provider.auth, this.#read, new URL(this.#provider.endpoint))
    const whole = { timeoutMs: TIMEOUT_MS, ...request, secretHeader: auth, maxBytes: MAX_BYTES }
    const answer = await this.#origin.send(whole, signal)
    const now = this.#clock.now()
    const pauseMs = answer.status >= 400 ? retryAfterMs(answer.headers, now) : undefined
    if (pauseMs !== undefined) this.#requests.pause(now + Math.min(pauseMs, LONGEST_PAUSE_MS))
    return { answer, auth: auth?.value }
  }

  async #refusal(
    action: Action,
    { answer, auth }: Asked,
    signal: AbortSignal,
    authorization?: Secret,
  ): Promise<EdgeError> {
    if (isConsole(answer))
      return consoleRefusal(this.#who, action, answer, answer.status >= 300 && (await this.#isOldest(signal)))
    const carried = [auth, authorization].flatMap((secret) => (secret ? [secret.reveal()] : []))
    return refusal(this.#who, action, answer, carried, this.#clock.now())
  }

  /**
   * 2.0.0 alone has no `/preheats` and is healthy at `/healthy/`; every later one sends whoever asks for that elsewhere.
   * Where a proxy follows redirects the two look alike.
   */
  async #isOldest(signal: AbortSignal): Promise<boolean> {
    const { answer } = await this.#send({ method: 'GET', url: '/healthy/' }, signal)
    return answer.status === 200 && answer.bytes.toString().trim() === '"OK"'
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#origin[Symbol.asyncDispose]()
  }
}

type Sent = Pick<HttpRequest, 'method' | 'url' | 'headers' | 'body'> & { readonly timeoutMs?: number }

/** An answer, and what was sent to get it. */
interface Asked {
  readonly answer: HttpAnswer
  readonly auth: Secret | undefined
}

/** The task of a layer that kept an image from being preheated; undefined: it failed for another reason. */
function layerInTheWay(row: TaskRow): string | undefined {
  const layer = taskInTheWay(row.errorMsg)
  return layer === row.id ? undefined : layer
}

function ended(said: Verdict['said'], message: string): Observation {
  return { kind: 'ended', verdict: { said, claims: undefined, message } }
}

function successMessage({ finishedAt }: TaskRow, submittedAt: Instant): string {
  if (finishedAt === undefined || finishedAt >= submittedAt - CLOCK_SKEW_MS) return NOT_SHOWN
  return `the supernode answered with an earlier task, which ended ${new Date(finishedAt).toISOString()}, and fetched nothing anew; ${NOT_SHOWN}`
}

function failureMessage({ errorMsg }: TaskRow): string {
  return errorMsg === undefined
    ? 'the engine ended the task as failed and gave no error'
    : excerpt(withoutTokens(errorMsg))
}

// The pull token of that submission is not known any more: what has the shape of one goes.
const TOKEN = /\b(?:bearer|basic)\s+[\w.~+/=-]{8,}|\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?/gi

function withoutTokens(text: string): string {
  return text.replaceAll(TOKEN, '[secret]')
}

async function unlessAborted<T>(signal: AbortSignal, value: T): Promise<T> {
  return await new Promise((resolve) => {
    signal.throwIfAborted()
    resolve(value)
  })
}
