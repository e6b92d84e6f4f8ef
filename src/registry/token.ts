import {
  parseToken,
  tokenUrl,
  trustedRealm,
  type Challenge,
  type MintedToken,
  type TokenService,
} from '../challenge.ts'
import { authHeader } from '../model/auth.ts'
import { EdgeError, excerpt } from '../model/errors.ts'
import type { ReadSecret, Secret } from '../model/secret.ts'
import type { RegistryHttp } from './http.ts'
import type { Clock } from '../model/clock.ts'
import type { Instant } from '../model/duration.ts'
import type { Registry } from '../model/registry.ts'

const MAX_TOKENS = 10_000

/** Asks a registry's token service, and remembers what it said until four fifths of a token's life are over. */
export class Tokens {
  readonly #registry: Registry
  readonly #http: RegistryHttp
  readonly #read: ReadSecret
  readonly #clock: Clock
  readonly #kept = new Map<string, { readonly authorization: Secret; readonly until: Instant }>()

  constructor(registry: Registry, http: RegistryHttp, read: ReadSecret, clock: Clock) {
    this.#registry = registry
    this.#http = http
    this.#read = read
    this.#clock = clock
  }

  /**
   * The token service that an answer names; undefined when it names none.
   * @throws {EdgeError} PH6005 for a realm that credentials must not go to
   */
  serviceOf(challenges: readonly Challenge[]): TokenService | undefined {
    const bearer = challenges.find((one) => one.scheme === 'bearer' && one.params['realm'] !== undefined)
    if (bearer === undefined) return undefined
    const realm = trustedRealm(this.#http.endpoint, bearer.params['realm']!)
    if (realm === undefined)
      throw new EdgeError(
        'rejected',
        'PH6005',
        `${this.#http.who} names a token service that is not of its domain: ${excerpt(bearer.params['realm']!, 100)}`,
      )
    return { realm, service: bearer.params['service'] }
  }

  /** The `Authorization` value for a scope, kept or new. @throws {EdgeError} */
  async get(service: TokenService, scope: string, signal: AbortSignal): Promise<Secret> {
    const key = keyOf(service, scope)
    const now = this.#clock.now()
    const kept = this.#kept.get(key)
    if (kept !== undefined && now < kept.until) return kept.authorization
    const { authorization, lifeMs } = await this.#ask(service, scope, signal)
    this.#kept.delete(key)
    this.#kept.set(key, { authorization, until: now + lifeMs * 0.8 })
    if (this.#kept.size > MAX_TOKENS) this.#kept.delete(this.#kept.keys().next().value!)
    return authorization
  }

  /** A new one, its whole life before it. @throws {EdgeError} */
  async mint(service: TokenService, scope: string, signal: AbortSignal): Promise<Secret> {
    return (await this.#ask(service, scope, signal)).authorization
  }

  /** Drops a kept one that the registry does not take any more. */
  forget(service: TokenService, scope: string): void {
    this.#kept.delete(keyOf(service, scope))
  }

  async #ask(service: TokenService, scope: string, signal: AbortSignal): Promise<MintedToken> {
    const what = `mint a token for ${scope}`
    const answer = await this.#http.send(
      {
        method: 'GET',
        url: tokenUrl(service, scope).href,
        kind: 'token',
        credential: () => authHeader(this.#registry.auth, this.#read, service.realm),
      },
      signal,
    )
    const minted = parseToken(this.#http.json(answer, what, 'the right to pull'))
    if (minted !== undefined) return minted
    throw new EdgeError(
      'unintelligible',
      'PH6005',
      `${this.#http.who} has a token service that answers without a token`,
    )
  }
}

function keyOf({ realm, service }: TokenService, scope: string): string {
  return JSON.stringify([realm.href, service, scope])
}
