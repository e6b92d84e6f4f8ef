import { isIP } from 'node:net'
import { authHeader } from '../model/auth.ts'
import { EdgeError, excerpt } from '../model/errors.ts'
import { Secret, type ReadSecret } from '../model/secret.ts'
import { field, type RegistryHttp } from './http.ts'
import type { Clock } from '../model/clock.ts'
import type { Instant } from '../model/duration.ts'
import type { Registry } from '../model/registry.ts'

/** One way of authenticating that a 401 offers; scheme and names of parameters in lower case. */
export interface Challenge {
  readonly scheme: string
  readonly params: Readonly<Record<string, string>>
}

/** Where tokens are asked for. */
export interface TokenService {
  readonly realm: URL
  readonly service: string | undefined
}

/** A token that was made for us. */
interface Minted {
  /** The whole `Authorization` value. */
  readonly authorization: Secret
  readonly lifeMs: number
}

// A word with a value is a parameter, one without begins the next challenge. Unclosed quotes, single quotes, no quotes,
// spaces around "=" and missing commas are all met in the field.
const WORD = /([!#$%&*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|'([^']*)'|([^\s,"']*)))?/g

/** Every challenge of a `WWW-Authenticate` header, in its order. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; params: Record<string, string> }[] = []
  for (const [, word, quoted, single, bare] of header.matchAll(WORD)) {
    const value = quoted?.replaceAll(/\\(.)/g, '$1') ?? single ?? bare
    if (value === undefined)
      challenges.push({ scheme: word!.toLowerCase(), params: Object.create(null) as Record<string, string> })
    else {
      const params = challenges.at(-1)?.params
      if (params !== undefined) params[word!.toLowerCase()] ??= value
    }
  }
  return challenges
}

/**
 * The realm as a URL when credentials may go there, else undefined: https to the registry's own host or one of the
 * same domain; http only where the registry itself speaks http, to the same host.
 */
export function trustedRealm(endpoint: URL, realm: string): URL | undefined {
  const url = URL.parse(realm)
  if (url === null || url.username !== '' || url.password !== '') return undefined
  const sameHost = url.hostname === endpoint.hostname
  if (url.protocol === 'https:') return sameHost || isSameDomain(url.hostname, endpoint.hostname) ? url : undefined
  if (url.protocol !== 'http:' || endpoint.protocol !== 'http:') return undefined
  return sameHost || (isLoopback(url.hostname) && isLoopback(endpoint.hostname)) ? url : undefined
}

function isSameDomain(one: string, other: string): boolean {
  const domain = domainOf(one)
  return domain !== undefined && domain === domainOf(other)
}

/** Below a country these are no one's own: `example.co.uk` has three labels that count, `ghcr.io` two. */
const COUNTRY_SECOND = new Set(['ac', 'co', 'com', 'edu', 'gov', 'net', 'or', 'org'])

/** Near enough to "registrable" without a list of suffixes; the secret's own bindings are the second fence. */
function domainOf(host: string): string | undefined {
  const labels = host.split('.')
  if (isIP(host) !== 0 || host.startsWith('[') || labels.length < 2) return undefined
  const ofCountry = labels.at(-1)!.length === 2 && COUNTRY_SECOND.has(labels.at(-2)!)
  return labels.slice(ofCountry ? -3 : -2).join('.')
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

const DEFAULT_LIFE_S = 60
const LONGEST_LIFE_S = 3600
const MAX_TOKENS = 10_000
const MAX_TOKEN_CHARS = 64 * 1024

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

  async #ask(service: TokenService, scope: string, signal: AbortSignal): Promise<Minted> {
    const url = new URL(service.realm)
    if (service.service !== undefined) url.searchParams.set('service', service.service)
    url.searchParams.append('scope', scope)
    const what = `mint a token for ${scope}`
    const answer = await this.#http.send(
      {
        method: 'GET',
        url: url.href,
        kind: 'token',
        credential: () => authHeader(this.#registry.auth, this.#read, service.realm),
      },
      signal,
    )
    return this.#minted(this.#http.json(answer, what, 'the right to pull'))
  }

  #minted(body: unknown): Minted {
    const token = field(body, 'token') ?? field(body, 'access_token')
    if (typeof token !== 'string' || token.length > MAX_TOKEN_CHARS || !/^[\x21-\x7e]+$/.test(token))
      throw new EdgeError(
        'unintelligible',
        'PH6005',
        `${this.#http.who} has a token service that answers without a token`,
      )
    const life = field(body, 'expires_in')
    const lifeS = typeof life === 'number' && life > 0 ? Math.min(life, LONGEST_LIFE_S) : DEFAULT_LIFE_S
    return { authorization: new Secret(`Bearer ${token}`), lifeMs: lifeS * 1000 }
  }
}

function keyOf({ realm, service }: TokenService, scope: string): string {
  return JSON.stringify([realm.href, service, scope])
}
