import { parseChallenges, type TokenService } from '../challenge.ts'
import { authHeader } from '../model/auth.ts'
import { EdgeError, excerpt } from '../model/errors.ts'
import { MANIFEST_TYPES } from '../model/media-types.ts'
import type { Secret, ReadSecret, SecretHeader } from '../model/secret.ts'
import { digestOf, parseManifest, type ImageIndex, type ImageManifest } from './manifest.ts'
import { inParallel, type RegistryHttp, type RegistryRequest } from './http.ts'
import { Tokens } from './token.ts'
import { parseDigest, type Content, type Digest, type PlatformManifest } from '../model/artifact.ts'
import type { Clock } from '../model/clock.ts'
import type { Instant } from '../model/duration.ts'
import type { HttpAnswer } from '../http.ts'
import type { Registry } from '../model/registry.ts'

/** An index, and an index in it. */
const MAX_DEPTH = 2
/** Some 30 MB. */
const MAX_KEPT_BLOBS = 200_000
const REMEMBER_SCHEME_MS = 300_000

// The distribution spec's grammar; what does not match it must not become part of a URL.
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^\w[\w.-]{0,127}$/

/** How a registry wants to be asked. */
type Scheme =
  /** With the Registry's own `auth`, or anonymously. */
  { readonly kind: 'direct' } | ({ readonly kind: 'token' } & TokenService)

/** The distribution API (`/v2/`) of a registry: its challenges, manifests and pull tokens. */
export class Distribution {
  readonly #registry: Registry
  readonly #http: RegistryHttp
  readonly #read: ReadSecret
  readonly #clock: Clock
  readonly #tokens: Tokens
  readonly #contents = new Contents()
  /** From the last 401, or the last look at `/v2/`. */
  #learnt: Scheme | undefined
  #probed: { readonly scheme: Scheme; readonly until: Instant } | undefined

  constructor(registry: Registry, http: RegistryHttp, read: ReadSecret, clock: Clock) {
    this.#registry = registry
    this.#http = http
    this.#read = read
    this.#clock = clock
    this.#tokens = new Tokens(registry, http, read, clock)
  }

  /**
   * Sends a request with what the registry asks for, and once more when a 401 asks for something else.
   * @param scope what a token has to be for: `repository:library/app:pull`
   * @throws {EdgeError} as {@link RegistryHttp.send}
   */
  async send(request: Omit<RegistryRequest, 'credential'>, scope: string, signal: AbortSignal): Promise<HttpAnswer> {
    const scheme = await this.#scheme(signal)
    const first = await this.#sendAs(scheme, request, scope, signal)
    if (first.status !== 401 || !this.#followsChallenges()) return first
    if (scheme.kind === 'token') this.#tokens.forget(scheme, scope)
    const asked = this.#schemeOf(first)
    if (asked.kind === 'direct') return first
    this.#learnt = asked
    return this.#sendAs(asked, request, scope, signal)
  }

  /** Proves that `/v2/` takes the credential. @throws {EdgeError} */
  async identify(signal: AbortSignal): Promise<string> {
    const answer = await this.send({ method: 'GET', url: '/v2/', kind: 'detail' }, '', signal)
    if (answer.status !== 200) throw this.#http.refusal(answer, 'use the distribution API at /v2/', PULL)
    return 'OCI distribution API'
  }

  /** Proves that the credential may read a repository: the same scope as a pull of it. @throws {EdgeError} */
  async proveRead(repository: string, signal: AbortSignal): Promise<void> {
    const url = `/v2/${checkedRepository(repository, this.#http.who)}/tags/list?n=1`
    const answer = await this.send({ method: 'GET', url, kind: 'page' }, pullScope(repository), signal)
    if (answer.status !== 200) throw this.#http.refusal(answer, `list the tags of ${repository}`, PULL)
  }

  /** What a tag points at now; undefined when there is no such tag. @throws {EdgeError} */
  async resolve(repository: string, tag: string, signal: AbortSignal): Promise<Digest | undefined> {
    const { who } = this.#http
    const url = `/v2/${checkedRepository(repository, who)}/manifests/${checkedTag(tag, who)}`
    const what = `look at ${repository}:${tag}`
    const ask = (method: 'GET' | 'HEAD') =>
      this.send({ method, url, kind: 'manifest', headers: { accept: MANIFEST_TYPES } }, pullScope(repository), signal)
    // HEAD first: it does not count as a pull where pulls are counted (contracts/kraken-and-registries.md §5.4).
    const head = await ask('HEAD')
    if (head.status === 404) return undefined
    if (head.status !== 200 && head.status !== 405) throw this.#http.refusal(head, what, PULL)
    const said = head.headers['docker-content-digest']
    if (head.status === 200 && said !== undefined) return this.#parseDigest(said, what)
    const whole = await ask('GET')
    if (whole.status === 404) return undefined
    if (whole.status !== 200) throw this.#http.refusal(whole, what, PULL)
    return digestOf(whole.bytes)
  }

  /** What stands behind a digest, verified. @throws {EdgeError} */
  async content(repository: string, digest: Digest, signal: AbortSignal): Promise<Content> {
    const kept = this.#contents.get(digest)
    if (kept !== undefined) return kept
    const { document, sizeBytes } = await this.#manifest(repository, digest, signal)
    const { mediaType, type } = document
    const content: Content =
      document.kind === 'index'
        ? { digest, type, isIndex: true, manifests: await this.#platforms(repository, document, 1, signal) }
        : {
            digest,
            type,
            isIndex: false,
            manifests: [{ digest, mediaType, platform: undefined, sizeBytes, blobs: document.blobs }],
          }
    this.#contents.add(content)
    return content
  }

  /** What an engine pulls a repository with. @throws {EdgeError} */
  async authorize(repository: string, signal: AbortSignal): Promise<Secret | undefined> {
    const { engineAuth, engineEndpoint } = this.#registry
    switch (engineAuth.type) {
      case 'none':
        return undefined
      case 'basic':
      case 'bearer':
        return (await authHeader(engineAuth, this.#read, new URL(engineEndpoint)))?.value
      case 'token':
      case 'auto': {
        const scheme = await this.#probe(signal)
        if (scheme.kind === 'token') return this.#tokens.mint(scheme, pullScope(repository), signal)
        if (engineAuth.type === 'auto') return undefined
        const why = `${this.#http.who} has no token service: set engineAuth to basic, bearer or none`
        throw new EdgeError('rejected', 'PH6006', why)
      }
      default:
        return engineAuth satisfies never
    }
  }

  #parseDigest(text: string, what: string): Digest {
    try {
      return parseDigest(text)
    } catch {
      const why = `${this.#http.who} names no sha256 digest: cannot ${what}: ${excerpt(text, 100)}`
      throw new EdgeError('unintelligible', 'PH6005', why)
    }
  }

  async #platforms(
    repository: string,
    index: ImageIndex,
    depth: number,
    signal: AbortSignal,
  ): Promise<PlatformManifest[]> {
    if (depth > MAX_DEPTH) {
      const why = `${this.#http.who}: an index of ${repository} is nested more than ${MAX_DEPTH} deep`
      throw new EdgeError('unintelligible', 'PH6005', why)
    }
    const width = this.#registry.limits.listConcurrency
    const found = await inParallel(index.children, width, async ({ digest, platform }) => {
      const { document, sizeBytes } = await this.#manifest(repository, digest, signal)
      if (document.kind === 'index') return this.#platforms(repository, document, depth + 1, signal)
      return [{ digest, mediaType: document.mediaType, platform, sizeBytes, blobs: document.blobs }]
    })
    return found.flat()
  }

  async #manifest(
    repository: string,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<{ readonly document: ImageManifest | ImageIndex; readonly sizeBytes: number }> {
    const name = `${checkedRepository(repository, this.#http.who)}@${digest}`
    const url = `/v2/${repository}/manifests/${digest}`
    const request = { method: 'GET', url, kind: 'manifest', headers: { accept: MANIFEST_TYPES } } as const
    const answer = await this.send(request, pullScope(repository), signal)
    if (answer.status !== 200) throw this.#http.refusal(answer, `read ${name}`, PULL)
    if (digestOf(answer.bytes) !== digest) {
      const why = `${this.#http.who} serves other bytes as ${name}`
      throw new EdgeError('unintelligible', 'PH6008', why)
    }
    const document = parseManifest(answer.bytes, answer.headers['content-type'], `${this.#http.who}: ${name}`)
    return { document, sizeBytes: answer.bytes.length }
  }

  #sendAs(
    scheme: Scheme,
    request: Omit<RegistryRequest, 'credential'>,
    scope: string,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const credential = async (): Promise<SecretHeader | undefined> =>
      scheme.kind === 'token'
        ? { name: 'authorization', value: await this.#tokens.get(scheme, scope, signal) }
        : authHeader(this.#registry.auth, this.#read, this.#http.endpoint)
    return this.#http.send({ ...request, credential }, signal)
  }

  /** A static token is sent as it is; an account and nobody go by what the registry asks for. */
  #followsChallenges(): boolean {
    const { type } = this.#registry.auth
    return type === 'basic' || type === 'none'
  }

  async #scheme(signal: AbortSignal): Promise<Scheme> {
    if (this.#learnt !== undefined) return this.#learnt
    // An account has to be known from the first request on: a registry with public parts answers nobody with a listing
    // of those, which looks whole.
    return this.#registry.auth.type === 'basic' ? this.#probe(signal) : { kind: 'direct' }
  }

  /** Asks `/v2/` without a credential how it wants to be asked. */
  async #probe(signal: AbortSignal): Promise<Scheme> {
    if (this.#probed !== undefined && this.#clock.now() < this.#probed.until) return this.#probed.scheme
    const answer = await this.#http.send({ method: 'GET', url: '/v2/', kind: 'token' }, signal)
    if (answer.status !== 200 && answer.status !== 401)
      throw this.#http.refusal(answer, 'use the distribution API at /v2/', PULL)
    const scheme = this.#schemeOf(answer)
    this.#probed = { scheme, until: this.#clock.now() + REMEMBER_SCHEME_MS }
    return scheme
  }

  #schemeOf(answer: HttpAnswer): Scheme {
    const service = this.#tokens.serviceOf(parseChallenges(answer.headers['www-authenticate'] ?? ''))
    return service === undefined ? { kind: 'direct' } : { kind: 'token', ...service }
  }
}

/** What reading a repository takes, in the words of a robot account. */
export const PULL = 'repository:pull on the project'

/** The scope of a token that reads one repository. */
export function pullScope(repository: string): string {
  return `repository:${repository}:pull`
}

/**
 * The name itself, when it may stand in a URL.
 * @throws {EdgeError} PH6005
 */
export function checkedRepository(name: string, who: string): string {
  if (name.length <= 255 && REPOSITORY.test(name)) return name
  throw new EdgeError('unintelligible', 'PH6005', `${who}: not a repository name: ${excerpt(name, 100)}`)
}

/**
 * The tag itself, when it may stand in a URL.
 * @throws {EdgeError} PH6005
 */
export function checkedTag(tag: unknown, who: string): string {
  if (typeof tag === 'string' && TAG.test(tag)) return tag
  throw new EdgeError('unintelligible', 'PH6005', `${who}: not a tag: ${excerpt(String(tag), 100)}`)
}

/** What was read, by digest: it never changes. The least recently used goes first. */
class Contents {
  readonly #kept = new Map<Digest, Content>()
  #blobs = 0

  get(digest: Digest): Content | undefined {
    const content = this.#kept.get(digest)
    if (content === undefined) return undefined
    this.#kept.delete(digest)
    this.#kept.set(digest, content)
    return content
  }

  add(content: Content): void {
    if (this.#kept.has(content.digest)) return
    this.#kept.set(content.digest, content)
    this.#blobs += weightOf(content)
    for (const [digest, oldest] of this.#kept) {
      if (this.#blobs <= MAX_KEPT_BLOBS) return
      this.#kept.delete(digest)
      this.#blobs -= weightOf(oldest)
    }
  }
}

function weightOf({ manifests }: Content): number {
  return manifests.reduce((sum, { blobs }) => sum + blobs.length, 1)
}
