import pLimit, { type LimitFunction } from 'p-limit'
import { HttpOrigin, isRedirect, redirectTarget, retryAfterMs, type HttpAnswer, type TlsMaterial } from '../http.ts'
import { RateLimit } from '../rate-limit.ts'
import { EdgeError, excerpt } from '../model/errors.ts'
import { Quota } from './quota.ts'
import type { Clock } from '../model/clock.ts'
import type { Instant } from '../model/duration.ts'
import type { Registry } from '../model/registry.ts'
import type { SecretHeader } from '../model/secret.ts'

const MIB = 1024 * 1024

/** How long an answer of each kind may take and how large it may be. */
const bounds = {
  page: { timeoutMs: 60_000, maxBytes: 32 * MIB },
  manifest: { timeoutMs: 30_000, maxBytes: 4 * MIB },
  /** A small one: a signature, not a layer. */
  blob: { timeoutMs: 30_000, maxBytes: MIB },
  detail: { timeoutMs: 30_000, maxBytes: MIB },
  /** Does not queue behind listings: a task that is due waits for it. */
  token: { timeoutMs: 30_000, maxBytes: MIB },
}

const FOLLOWS: ReadonlySet<RegistryRequest['kind']> = new Set(['manifest', 'blob'])
const MAX_REDIRECTS = 5
const RETRIES = 3
/** Waits of one request for 429 in all. */
const PATIENCE_MS = 300_000
/** A registry that says "now" with each 429 is still asked a bounded number of times. */
const MAX_TRIES = 20
const FIRST_BACKOFF_MS = 500
const LONGEST_BACKOFF_MS = 30_000
/** One more than a gateway's hiccups: Harbor reduces a lost database connection to 500 (contracts/harbor.md §4.1). */
const PASSING = new Set([500, 502, 503, 504])

export interface RegistryRequest {
  readonly method: 'GET' | 'HEAD'
  /** Path and query below the endpoint, or a whole URL that the caller vouches for. */
  readonly url: string
  /** Only a `manifest` and a `blob` follow redirects. */
  readonly kind: keyof typeof bounds
  readonly headers?: Readonly<Record<string, string>>
  /** Asked anew before each attempt, so that a rotated secret is used at the next one. */
  readonly credential?: (() => Promise<SecretHeader | undefined>) | undefined
}

/**
 * All requests to one registry: paced, queued, bounded, and repeated where that can help. Every request is a GET or a
 * HEAD and carries no cookie.
 */
export class RegistryHttp implements AsyncDisposable {
  /** How messages call it: `registry harbor`. */
  readonly who: string
  readonly endpoint: URL
  readonly #registry: Registry
  readonly #clock: Clock
  readonly #origin: HttpOrigin
  readonly #pace: RateLimit
  readonly #lane: LimitFunction
  readonly #quota: Quota

  constructor(registry: Registry, clock: Clock, tls: TlsMaterial | undefined) {
    this.who = `registry ${registry.name}`
    this.endpoint = new URL(registry.endpoint)
    this.#registry = registry
    this.#clock = clock
    const codes = { unreachable: 'PH6001', unintelligible: 'PH6005' } as const
    this.#origin = new HttpOrigin(registry.endpoint, this.who, codes, tls)
    this.#pace = new RateLimit(clock, registry.limits.requestsPerSecond)
    this.#lane = pLimit(registry.limits.listConcurrency)
    this.#quota = new Quota(this.who, clock)
  }

  /**
   * The answer, whatever its status: silence and 5xx are tried again three times, 429 for five minutes, during which
   * nobody else asks either. A pull where pulls are counted waits for one to be granted.
   * @throws {EdgeError} for silence that lasts, an answer too large, a redirect that is not followed
   * @throws {OperatorError} as `credential` does
   */
  async send(request: RegistryRequest, signal: AbortSignal): Promise<HttpAnswer> {
    let waitedMs = 0
    for (let tries = 1; ; tries++) {
      if (isPull(request)) await this.#quota.take(signal)
      const outcome = await this.#attempt(request, signal)
      const now = this.#clock.now()
      const waitMs = retryWaitMs(outcome, tries, waitedMs, now, Math.random())
      if (waitMs !== undefined) {
        waitedMs += waitMs
        if (!(outcome instanceof EdgeError) && outcome.status === 429) this.#pace.pause(now + waitMs)
        await this.#clock.sleepUntil(now + waitMs, signal)
      } else if (outcome instanceof EdgeError) throw outcome
      else return outcome
    }
  }

  /**
   * What a refusal means, and what mends it.
   * @param what what was asked for, as an infinitive: `list the tags of library/app`
   * @param needs the permission that it takes: `tag:list on the project`
   */
  refusal(answer: HttpAnswer, what: string, needs: string): EdgeError {
    const { status } = answer
    const said = messageOf(answer.bytes)
    const tail = `(${status}${said === '' ? '' : `: ${said}`})`
    const rejected = (code: 'PH6002' | 'PH6003' | 'PH6005' | 'PH6006', message: string) =>
      new EdgeError('rejected', code, `${this.who} ${message}`)
    if ((status === 401 || status === 403) && /\bexpired\b/i.test(said))
      return rejected('PH6002', `takes the credential for expired ${tail}: ${this.#renew()}`)
    if (status === 401) return rejected('PH6002', `${this.#unauthorized()} to ${what} ${tail}`)
    if (status === 403) return rejected('PH6002', `does not let the account ${what} ${tail}: it needs ${needs}`)
    if (status === 404 || status === 405) return rejected('PH6003', `has nothing there: cannot ${what} ${tail}`)
    if (status === 412)
      return rejected('PH6006', `forbids to ${what} ${tail}: a rule of the project, on signatures or vulnerabilities`)
    if (status === 422) return rejected('PH6006', `finds the request to ${what} malformed ${tail}: is a name misspelt?`)
    if (status === 429 || status >= 500) {
      const wait = retryAfterMs(answer.headers, this.#clock.now())
      return new EdgeError('unavailable', 'PH6001', `${this.who} cannot ${what} now ${tail}`, { retryAfterMs: wait })
    }
    if (isRedirect(status)) {
      const host = excerpt(URL.parse(answer.headers['location'] ?? '', this.endpoint.href)?.host ?? 'nowhere', 100)
      return rejected('PH6005', `redirects to ${host} instead of letting us ${what} (${status}): correct endpoint`)
    }
    return rejected('PH6006', `refuses to ${what} ${tail}`)
  }

  /**
   * The JSON of a 200; anything else is an error.
   * @throws {EdgeError} {@link refusal}, or PH6005 for what is not JSON
   */
  json(answer: HttpAnswer, what: string, needs: string): unknown {
    if (answer.status !== 200) throw this.refusal(answer, what, needs)
    const value = parseJson(answer.bytes)
    if (value === undefined)
      throw new EdgeError('unintelligible', 'PH6005', `${this.who} does not answer in JSON: cannot ${what}`)
    return value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#origin[Symbol.asyncDispose]()
  }

  #unauthorized(): string {
    const { auth } = this.#registry
    return auth.type === 'none'
      ? 'wants a credential (set auth on the Registry)'
      : `refuses the credential (check the secret ${auth.secret}: wrong, expired or disabled?)`
  }

  /** A person finds `AWS` and a token in the documentation and not how long it lasts (contracts/kraken-and-registries.md §5.8). */
  #renew(): string {
    const { auth } = this.#registry
    const secret = auth.type === 'none' ? 'set auth on the Registry' : `renew the secret ${auth.secret}`
    return `${secret}; a password from Amazon ECR lasts 12 hours, so something has to renew it more often`
  }

  async #attempt(request: RegistryRequest, signal: AbortSignal): Promise<HttpAnswer | EdgeError> {
    try {
      return request.kind === 'token'
        ? await this.#follow(request, signal)
        : await this.#lane(() => this.#follow(request, signal))
    } catch (error) {
      if (error instanceof EdgeError && error.fault === 'unavailable') return error
      throw error
    }
  }

  async #follow(request: RegistryRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const start = /^https?:/.test(request.url)
      ? new URL(request.url)
      : new URL(this.endpoint.href.replace(/\/$/, '') + request.url)
    let url = start
    // A host that was once left is not trusted again: the other one may have chosen the path.
    let home = true
    for (let hops = 0; ; hops++) {
      if (home) await this.#pace.take(signal)
      const secretHeader = home ? await request.credential?.() : undefined
      const answer = await this.#origin.send(
        {
          method: request.method,
          url: url.href,
          headers: request.headers ?? {},
          secretHeader,
          ...bounds[request.kind],
        },
        signal,
      )
      if (home) this.#quota.learn(answer.headers)
      const location = answer.headers['location']
      if (!FOLLOWS.has(request.kind) || !isRedirect(answer.status) || location === undefined)
        return withoutEcho(answer, secretHeader)
      if (hops === MAX_REDIRECTS) throw this.#lost('redirects more than five times')
      const next = redirectTarget(url, location)
      if (next === undefined) throw this.#lost(`redirects to where we do not follow: ${excerpt(location, 100)}`)
      url = next
      home &&= url.origin === start.origin
    }
  }

  #lost(how: string): EdgeError {
    return new EdgeError('rejected', 'PH6005', `${this.who} ${how}`)
  }
}

/** HEADs do not count where pulls are counted (contracts/kraken-and-registries.md §5.4). */
function isPull({ method, kind }: RegistryRequest): boolean {
  return method === 'GET' && kind === 'manifest'
}

/**
 * How long to wait before the request is sent again; undefined when it is not worth it. Full jitter, so that many who
 * failed together do not come back together.
 * @param random 0 to 1
 */
export function retryWaitMs(
  outcome: HttpAnswer | EdgeError,
  tries: number,
  waitedMs: number,
  now: Instant,
  random: number,
): number | undefined {
  const backoffMs = Math.ceil(random * Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** tries))
  if (outcome instanceof EdgeError || PASSING.has(outcome.status)) return tries <= RETRIES ? backoffMs : undefined
  if (outcome.status !== 429 || tries >= MAX_TRIES) return undefined
  const waitMs = Math.max(backoffMs, retryAfterMs(outcome.headers, now) ?? 0)
  return waitedMs + waitMs <= PATIENCE_MS ? waitMs : undefined
}

/** JSON as a value; undefined for what is not JSON. */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

/** An object's field; undefined for everything that is not an object. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
}

/**
 * The results in the order of the items, at most `width` at work at once. After the first failure nothing new begins.
 * @throws what `work` throws first
 */
export async function inParallel<T, R>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const entries = items.entries()
  let failed = false
  const run = async () => {
    for (const [index, item] of entries) {
      if (failed) return
      try {
        results[index] = await work(item)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, run))
  return results
}

/** `{"errors":[{"code","message"}]}` of the distribution spec and of Harbor; HTML and the like say nothing. */
function messageOf(bytes: Buffer): string {
  const errors = field(parseJson(bytes), 'errors')
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined
  const text = field(first, 'message') ?? field(first, 'code')
  return typeof text === 'string' ? excerpt(text) : ''
}

/** A refusal that quotes our own header loses its body: its text goes into reports. */
function withoutEcho(answer: HttpAnswer, sent: SecretHeader | undefined): HttpAnswer {
  if (answer.status < 400 || sent === undefined) return answer
  const credential = sent.value.reveal().replace(/^\S+ /, '')
  return answer.bytes.includes(credential) ? { ...answer, bytes: Buffer.alloc(0) } : answer
}
