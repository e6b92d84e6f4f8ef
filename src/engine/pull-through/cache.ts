import { jsonOf, refusal } from './refusal.ts'
import {
  parseChallenges,
  parseToken,
  tokenUrl,
  trustedRealm,
  type MintedToken,
  type TokenService,
} from '../../challenge.ts'
import { HttpOrigin, isRedirect, redirectTarget, type HttpAnswer, type TlsMaterial } from '../../http.ts'
import { RateLimit } from '../../rate-limit.ts'
import { authHeader } from '../../model/auth.ts'
import type { Clock } from '../../model/clock.ts'
import type { Instant } from '../../model/duration.ts'
import { EdgeError, excerpt, OperatorError } from '../../model/errors.ts'
import type { Provider } from '../../model/provider.ts'
import type { ReadSecret, SecretHeader } from '../../model/secret.ts'

const MAX_REDIRECTS = 5
const TOKEN_TIMEOUT_MS = 30_000
/** Of an answer that is not the content asked for. */
const MAX_BYTES = 2 ** 20
/** One a repository. */
const MAX_TOKENS = 10_000

/** One thing to read. */
export interface Reading {
  /** As an infinitive, for messages: `read blob sha256:… of library/app`. */
  readonly what: string
  /** Below the endpoint's origin. */
  readonly path: string
  /** What a token has to be for; undefined: only for who we are. */
  readonly scope: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly timeoutMs: number
}

/** An answer, who gave it, and what was sent to get it. */
interface Asked {
  readonly answer: HttpAnswer
  readonly elsewhere: string | undefined
  readonly credential: SecretHeader | undefined
}

/**
 * All requests to one pull-through cache: paced, with what the cache asks for, through its redirects. What it sends is
 * handed on piece by piece and kept nowhere.
 */
export class Cache implements AsyncDisposable {
  readonly #provider: Provider
  /** How messages call it: `provider edge-cache`. */
  readonly who: string
  readonly #endpoint: URL
  readonly #read: ReadSecret
  readonly #clock: Clock
  readonly #origin: HttpOrigin
  readonly #pace: RateLimit
  /** From the last 401. */
  #service: TokenService | undefined
  readonly #tokens = new Map<string, { readonly header: SecretHeader; readonly until: Instant }>()

  constructor(provider: Provider, tls: TlsMaterial | undefined, read: ReadSecret, clock: Clock) {
    this.#provider = provider
    this.who = `provider ${provider.name}`
    this.#endpoint = new URL(provider.endpoint)
    this.#read = read
    this.#clock = clock
    const codes = { unreachable: 'PH5001', unintelligible: 'PH5008' } as const
    this.#origin = new HttpOrigin(provider.endpoint, this.who, codes, tls)
    this.#pace = new RateLimit(clock, provider.limits.requestsPerSecond)
  }

  /**
   * Reads the body of a 200 to its end, piece by piece.
   * @returns the answer's headers
   * @throws {EdgeError} for anything but a 200
   * @throws what `onChunk` throws; the rest is not read
   */
  async read(reading: Reading, onChunk: (chunk: Buffer) => void, signal: AbortSignal): Promise<HttpAnswer['headers']> {
    let asked = await this.#follow(reading, await this.#credential(reading.scope, signal), onChunk, signal)
    if (asked.elsewhere === undefined && asked.answer.status === 401 && this.#learn(asked.answer, reading.scope))
      asked = await this.#follow(reading, await this.#credential(reading.scope, signal), onChunk, signal)
    if (asked.answer.status !== 200) throw this.#refusal(reading.what, asked)
    return asked.answer.headers
  }

  async #follow(
    reading: Reading,
    credential: SecretHeader | undefined,
    onChunk: (chunk: Buffer) => void,
    signal: AbortSignal,
  ): Promise<Asked> {
    let url = new URL(this.#endpoint.origin + reading.path)
    // A host that was once left is not trusted again: the other one may have chosen the path.
    let home = true
    for (let hops = 0; ; hops += 1) {
      const answer = await this.#ask(reading, url, home ? credential : undefined, onChunk, signal)
      const location = answer.headers['location']
      if (!isRedirect(answer.status) || location === undefined)
        return { answer, elsewhere: home ? undefined : url.host, credential }
      if (hops === MAX_REDIRECTS) throw this.#astray(reading, `redirects more than ${MAX_REDIRECTS} times`)
      const next = redirectTarget(url, location)
      if (next === undefined)
        throw this.#astray(reading, `redirects to where we do not follow: ${excerpt(location, 100)}`)
      home &&= next.origin === this.#endpoint.origin
      url = next
    }
  }

  async #ask(
    { headers, timeoutMs, what }: Reading,
    url: URL,
    secretHeader: SecretHeader | undefined,
    onChunk: (chunk: Buffer) => void,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    if (url.origin === this.#endpoint.origin) await this.#pace.take(signal)
    const request = { method: 'GET', url: url.href, headers, secretHeader, timeoutMs, maxBytes: MAX_BYTES } as const
    try {
      return await this.#origin.stream(request, onChunk, signal)
    } catch (error) {
      // The operator wrote another address; this one is the cache's doing.
      if (error instanceof OperatorError && url.origin !== this.#endpoint.origin)
        throw new EdgeError('rejected', error.code, `${this.who} redirects to ${error.message}: cannot ${what}`)
      throw error
    }
  }

  #astray({ what }: Reading, how: string): EdgeError {
    return new EdgeError('unintelligible', 'PH5008', `${this.who} ${how}: cannot ${what}`)
  }

  #refusal(what: string, { answer, elsewhere, credential }: Asked): EdgeError {
    const now = this.#clock.now()
    const secrets = credential === undefined ? [] : [credential.value.reveal()]
    const error = refusal({ who: this.who, what, elsewhere, secrets }, answer, now)
    if (answer.status === 429 && error.retryAfterMs !== undefined) this.#pace.pause(now + error.retryAfterMs)
    return error
  }

  /**
   * Takes a 401 for what the cache wants now. A static token and a header of its own are sent as they are; an account
   * and nobody go by what it asks for.
   * @returns whether there is another way to ask
   * @throws {EdgeError} PH5008 for a token service that credentials must not go to
   */
  #learn({ headers }: HttpAnswer, scope: string | undefined): boolean {
    const { type } = this.#provider.auth
    if (type !== 'basic' && type !== 'none') return false
    const before = this.#service
    this.#service = this.#serviceOf(headers['www-authenticate'] ?? '')
    if (this.#service !== undefined) this.#tokens.delete(keyOf(this.#service, scope))
    return this.#service !== undefined || before !== undefined
  }

  /** The account is read at every request, so that a rotated secret is used at the next. */
  async #credential(scope: string | undefined, signal: AbortSignal): Promise<SecretHeader | undefined> {
    if (this.#service !== undefined) return await this.#token(this.#service, scope, signal)
    return await authHeader(this.#provider.auth, this.#read, this.#endpoint)
  }

  #serviceOf(challenge: string): TokenService | undefined {
    const bearer = parseChallenges(challenge).find((one) => one.scheme === 'bearer')
    const named = bearer?.params['realm']
    if (bearer === undefined || named === undefined) return undefined
    const realm = trustedRealm(this.#endpoint, named)
    if (realm !== undefined) return { realm, service: bearer.params['service'] }
    const what = `names a token service that is not of its domain: ${excerpt(named, 100)}`
    throw new EdgeError('rejected', 'PH5008', `${this.who} ${what}`)
  }

  /** Kept until four fifths of its life are over. */
  async #token(service: TokenService, scope: string | undefined, signal: AbortSignal): Promise<SecretHeader> {
    const key = keyOf(service, scope)
    const now = this.#clock.now()
    const kept = this.#tokens.get(key)
    if (kept !== undefined && now < kept.until) return kept.header
    const { authorization, lifeMs } = await this.#mint(service, scope, signal)
    const header = { name: 'authorization', value: authorization }
    this.#tokens.delete(key)
    this.#tokens.set(key, { header, until: now + lifeMs * 0.8 })
    if (this.#tokens.size > MAX_TOKENS) this.#tokens.delete(this.#tokens.keys().next().value!)
    return header
  }

  async #mint(service: TokenService, scope: string | undefined, signal: AbortSignal): Promise<MintedToken> {
    await this.#pace.take(signal)
    const credential = await authHeader(this.#provider.auth, this.#read, service.realm)
    const answer = await this.#origin.send(
      {
        method: 'GET',
        url: tokenUrl(service, scope).href,
        secretHeader: credential,
        timeoutMs: TOKEN_TIMEOUT_MS,
        maxBytes: MAX_BYTES,
      },
      signal,
    )
    const what = `get a token${scope === undefined ? '' : ` for ${scope}`}`
    if (answer.status !== 200) throw this.#refusal(what, { answer, elsewhere: undefined, credential })
    const minted = parseToken(jsonOf(answer.bytes))
    if (minted !== undefined) return minted
    throw new EdgeError('unintelligible', 'PH5008', `${this.who} has a token service that answers without a token`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#origin[Symbol.asyncDispose]()
  }
}

function keyOf({ realm, service }: TokenService, scope: string | undefined): string {
  return JSON.stringify([realm.href, service, scope])
}
