import { parseChallenges, type TokenService } from '../challenge.ts'
import { authHeader } from '../model/auth.ts'
import { EdgeError, excerpt } from '../model/errors.ts'
import { MANIFEST_TYPES } from '../model/media-types.ts'
import type { Secret, ReadSecret, SecretHeader } from '../model/secret.ts'
import { digestOf, parseManifest, type ImageIndex, type ImageManifest } from './manifest.ts'
import { inParallel, type RegistryHttp, type RegistryRequest } from './http.ts'
import { Tokens } from './token.ts'
import {
  parseDigest,
  type AbsentManifest,
  type Content,
  type Digest,
  type PlatformManifest,
} from '../model/artifact.ts'
import { signatureKindsOf, signaturesOf, type RepositoryReader } from './referrers.ts'
import type { Clock } from '../model/clock.ts'
import type { Instant } from '../model/duration.ts'
import type { HttpAnswer } from '../http.ts'
import type { SignatureKind, SignatureMaterial } from '../model/signature.ts'
import type { Registry } from '../model/registry.ts'

/** An index, and an index in it. */
const MAX_DEPTH = 2
/** Blobs and children; some 30 MB. */
const MAX_KEPT_ENTRIES = 200_000
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
  /** Under way, by digest. */
  readonly #reading = new Map<Digest, Promise<ReadManifest>>()
  readonly #manifests = new ReadManifests()
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
    const checked = checkedTag(tag, this.#http.who)
    const what = `look at ${repository}:${tag}`
    const ask = (method: 'GET' | 'HEAD') => this.#askManifest(method, repository, checked, signal)
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

  /**
   * What stands behind a digest, verified; manifests of an index that the registry does not hold are `absent`.
   * @throws {EdgeError}
   */
  async content(repository: string, digest: Digest, signal: AbortSignal): Promise<Content> {
    const { document, sizeBytes } = await this.#manifest(repository, digest, signal)
    const { mediaType, type } = document
    if (document.kind === 'index') {
      const children = await this.#platforms(repository, document, 1, signal)
      const [manifests, absent] = [children.filter(isThere), children.filter((child) => !isThere(child))]
      return { digest, type, isIndex: true, manifests, absent }
    }
    const manifests = [{ digest, mediaType, platform: undefined, sizeBytes, blobs: document.blobs }]
    return { digest, type, isIndex: false, manifests, absent: [] }
  }

  /** The kinds of signature that stand beside a digest. @throws {EdgeError} */
  async signatureKinds(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly SignatureKind[]> {
    return signatureKindsOf(this.#reader(repository, signal), digest)
  }

  /** All that may be a signature of a digest, at most 100. @throws {EdgeError} */
  async signatures(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly SignatureMaterial[]> {
    return signaturesOf(this.#reader(repository, signal), digest)
  }

  /**
   * Has a registry that is itself a cache fetch a manifest. HEAD first: it costs no pull when there is none.
   * @param reference a tag or a digest
   * @returns the digest of what it serves
   * @throws {EdgeError} PH6003 when neither it nor what is behind it has one
   */
  async pullThrough(repository: string, reference: string, signal: AbortSignal): Promise<Digest> {
    const { who } = this.#http
    const name = `${checkedRepository(repository, who)}:${reference}`
    const isDigest = reference.includes(':')
    const checked = isDigest ? this.#parseDigest(reference, `read ${name}`) : checkedTag(reference, who)
    const what = `have ${name} fetched`
    const ask = (method: 'GET' | 'HEAD') => this.#askManifest(method, repository, checked, signal)
    const head = await ask('HEAD')
    if (head.status !== 200 && head.status !== 405) throw this.#http.refusal(head, what, PULL)
    const whole = await ask('GET')
    if (whole.status !== 200) throw this.#http.refusal(whole, what, PULL)
    const served = digestOf(whole.bytes)
    if (isDigest && served !== checked) throw this.#forged(name)
    return served
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
  ): Promise<(PlatformManifest | AbsentManifest)[]> {
    if (depth > MAX_DEPTH) {
      const why = `${this.#http.who}: an index of ${repository} is nested more than ${MAX_DEPTH} deep`
      throw new EdgeError('unintelligible', 'PH6005', why)
    }
    const width = this.#registry.limits.listConcurrency
    const found = await inParallel(index.children, width, async (child) => {
      const read = await this.#manifest(repository, child.digest, signal).catch(unlessGone)
      if (read === undefined) return [child]
      const { document, sizeBytes } = read
      if (document.kind === 'index') return this.#platforms(repository, document, depth + 1, signal)
      return [{ ...child, mediaType: document.mediaType, sizeBytes, blobs: document.blobs }]
    })
    return found.flat()
  }

  async #manifest(repository: string, digest: Digest, signal: AbortSignal): Promise<ReadManifest> {
    const kept = this.#manifests.get(digest)
    if (kept !== undefined) return kept
    // Two hundred repositories that hold the same image ask for it at once; where one may not read it, another may.
    const asked = this.#reading.get(digest)
    const told = asked && (await asked.catch(() => undefined))
    if (told !== undefined) return told
    const reading = this.#readManifest(repository, digest, signal)
    this.#reading.set(digest, reading)
    try {
      return await reading
    } finally {
      if (this.#reading.get(digest) === reading) this.#reading.delete(digest)
    }
  }

  async #readManifest(repository: string, digest: Digest, signal: AbortSignal): Promise<ReadManifest> {
    const name = `${checkedRepository(repository, this.#http.who)}@${digest}`
    const answer = await this.#askManifest('GET', repository, digest, signal)
    const bytes = this.#verified(answer, digest, name)
    const document = parseManifest(bytes, answer.headers['content-type'], `${this.#http.who}: ${name}`)
    const read = { document, sizeBytes: bytes.length }
    this.#manifests.add(digest, read)
    return read
  }

  #reader(repository: string, signal: AbortSignal): RepositoryReader {
    const below = `/v2/${checkedRepository(repository, this.#http.who)}`
    const ask: RepositoryReader['ask'] = (url, kind, accept) =>
      this.send({ method: 'GET', url, kind, headers: { accept } }, pullScope(repository), signal)
    return {
      http: this.#http,
      repository,
      ask,
      resolve: (tag) => this.resolve(repository, tag, signal),
      read: async (kind, digest) => {
        const answer = await ask(`${below}/${kind}s/${digest}`, kind, kind === 'manifest' ? MANIFEST_TYPES : '*/*')
        return answer.status === 404 ? undefined : this.#verified(answer, digest, `${repository}@${digest}`)
      },
    }
  }

  #askManifest(
    method: 'GET' | 'HEAD',
    repository: string,
    reference: string,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const url = `/v2/${checkedRepository(repository, this.#http.who)}/manifests/${reference}`
    const request = { method, url, kind: 'manifest', headers: { accept: MANIFEST_TYPES } } as const
    return this.send(request, pullScope(repository), signal)
  }

  /** @throws {EdgeError} PH6008 for other bytes than the digest's, and what a refusal means */
  #verified(answer: HttpAnswer, digest: Digest, name: string): Buffer {
    if (answer.status !== 200) throw this.#http.refusal(answer, `read ${name}`, PULL)
    if (digestOf(answer.bytes) !== digest) throw this.#forged(name)
    return answer.bytes
  }

  #forged(name: string): EdgeError {
    return new EdgeError('unintelligible', 'PH6008', `${this.#http.who} serves other bytes as ${name}`)
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

function isThere(child: PlatformManifest | AbsentManifest): child is PlatformManifest {
  return 'blobs' in child
}

function unlessGone(error: unknown): undefined {
  if (!(error instanceof EdgeError) || error.code !== 'PH6003') throw error
}

interface ReadManifest {
  readonly document: ImageManifest | ImageIndex
  readonly sizeBytes: number
}

/** What was read, by digest: it never changes. The least recently used goes first. */
class ReadManifests {
  readonly #kept = new Map<Digest, ReadManifest>()
  #entries = 0

  get(digest: Digest): ReadManifest | undefined {
    const read = this.#kept.get(digest)
    if (read === undefined) return undefined
    this.#kept.delete(digest)
    this.#kept.set(digest, read)
    return read
  }

  add(digest: Digest, read: ReadManifest): void {
    if (this.#kept.has(digest)) return
    this.#kept.set(digest, read)
    this.#entries += weightOf(read)
    for (const [other, oldest] of this.#kept) {
      if (this.#entries <= MAX_KEPT_ENTRIES) return
      this.#kept.delete(other)
      this.#entries -= weightOf(oldest)
    }
  }
}

function weightOf({ document }: ReadManifest): number {
  return 1 + (document.kind === 'index' ? document.children : document.blobs).length
}
