import { isIP } from 'node:net'
import { Secret } from './model/secret.ts'

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
export interface MintedToken {
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

/** What is asked of a token service; without a scope the token proves only who asks. */
export function tokenUrl({ realm, service }: TokenService, scope: string | undefined): URL {
  const url = new URL(realm)
  if (service !== undefined) url.searchParams.set('service', service)
  if (scope !== undefined) url.searchParams.append('scope', scope)
  return url
}

const DEFAULT_LIFE_S = 60
const LONGEST_LIFE_S = 3600
const MAX_TOKEN_CHARS = 64 * 1024

/** The token in a token service's JSON; undefined when there is none that may stand in a header. */
export function parseToken(body: unknown): MintedToken | undefined {
  const fields = (typeof body === 'object' ? body : undefined) as Record<string, unknown> | null | undefined
  const token = fields?.['token'] ?? fields?.['access_token']
  if (typeof token !== 'string' || token.length > MAX_TOKEN_CHARS || !/^[\x21-\x7e]+$/.test(token)) return undefined
  const life = fields?.['expires_in']
  const lifeS = typeof life === 'number' && life > 0 ? Math.min(life, LONGEST_LIFE_S) : DEFAULT_LIFE_S
  return { authorization: new Secret(`Bearer ${token}`), lifeMs: lifeS * 1000 }
}
