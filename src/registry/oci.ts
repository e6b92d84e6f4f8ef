import { EdgeError } from '../model/errors.ts'
import type { Content, Digest } from '../model/artifact.ts'
import type { Candidate } from '../model/candidate.ts'
import { checkedRepository, checkedTag, Distribution, PULL, pullScope } from './distribution.ts'
import { inParallel, RegistryHttp } from './http.ts'
import { pages, torn, type Listing } from './pages.ts'
import type { ArtifactSource, ListQuery, ProjectRules } from './registry.ts'
import type { Clock } from '../model/clock.ts'
import type { TlsMaterial } from '../http.ts'
import type { ReadSecret, Secret } from '../model/secret.ts'
import type { Registry } from '../model/registry.ts'
import type { SignatureKind, SignatureMaterial } from '../model/signature.ts'
import type { Vulnerability } from '../model/vulnerability.ts'

const MAX_ENTRIES = 1_000_000
const CATALOG_SCOPE = 'registry:catalog:*'
const NAME_THEM = 'name the repositories in spec.repositories of the Registry'

/** Signatures, attestations, SBOMs and the fallback of the referrers API (contracts/kraken-and-registries.md §5.1). */
const ACCESSORY_TAG = /^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$/

/** Any registry that speaks the OCI distribution API. */
export class OciSource implements ArtifactSource {
  readonly #registry: Registry
  readonly #http: RegistryHttp
  readonly #distribution: Distribution

  constructor(registry: Registry, read: ReadSecret, clock: Clock, tls: TlsMaterial | undefined) {
    this.#registry = registry
    this.#http = new RegistryHttp(registry, clock, tls)
    this.#distribution = new Distribution(registry, this.#http, read, clock)
  }

  async list(query: ListQuery, signal: AbortSignal): Promise<Candidate[]> {
    const prefix = prefixOf(query.project)
    const declared = this.#registry.repositories
    const all =
      query.repositories === undefined
        ? await this.#repositories(signal)
        : this.#names(query.repositories).filter((name) => declared.length === 0 || declared.includes(name))
    const repositories = within(query.project, all)
    const lists = await inParallel(repositories, this.#registry.limits.listConcurrency, async (repository) => {
      const name = repository.slice(prefix.length)
      return (await this.#tags(repository, signal)).map((tag) => candidateOf(repository, name, tag))
    })
    return lists.flat()
  }

  identify(signal: AbortSignal): Promise<string> {
    return this.#distribution.identify(signal)
  }

  async sample(project: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const [repository] = within(project, await this.#repositories(signal))
    if (repository !== undefined) await this.#distribution.proveRead(repository, signal)
    return repository
  }

  resolve(repository: string, tag: string, signal: AbortSignal): Promise<Digest | undefined> {
    return this.#distribution.resolve(repository, tag, signal)
  }

  projectRules(): Promise<ProjectRules> {
    const allowlist = { ids: [], expiresAt: undefined }
    return Promise.resolve({ signatures: [], severity: undefined, allowlist, isProxyCache: false })
  }

  signatureKinds(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly SignatureKind[]> {
    return this.#distribution.signatureKinds(repository, digest, signal)
  }

  signatures(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly SignatureMaterial[]> {
    return this.#distribution.signatures(repository, digest, signal)
  }

  vulnerabilities(): Promise<readonly Vulnerability[]> {
    const why = `${this.#http.who} is of type oci and has no scanner`
    return Promise.reject(new EdgeError('rejected', 'PH6003', why))
  }

  pullThrough(repository: string, reference: string, signal: AbortSignal): Promise<Digest> {
    return this.#distribution.pullThrough(repository, reference, signal)
  }

  content(repository: string, digest: Digest, signal: AbortSignal): Promise<Content> {
    return this.#distribution.content(repository, digest, signal)
  }

  authorize(repository: string, signal: AbortSignal): Promise<Secret | undefined> {
    return this.#distribution.authorize(repository, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#http[Symbol.asyncDispose]()
  }

  async #repositories(signal: AbortSignal): Promise<string[]> {
    const declared = this.#registry.repositories
    if (declared.length > 0) return this.#names(declared)
    const listing: Listing = {
      url: '/v2/_catalog',
      entries: 'repositories',
      what: `list the repositories; if it has no catalog for this account, ${NAME_THEM}`,
      needs: `${CATALOG_SCOPE}; or ${NAME_THEM}`,
    }
    const listed = this.#names((await this.#walk(listing, CATALOG_SCOPE, signal)).map(String))
    // GAR shows everybody an empty catalog (contracts/kraken-and-registries.md §5.8), and nothing tells it from a
    // registry that is empty: an execution without artifacts would look like success.
    if (listed.length === 0)
      throw new EdgeError('rejected', 'PH6003', `${this.#http.who} shows an empty catalog: ${NAME_THEM}`)
    return listed
  }

  #names(repositories: readonly string[]): string[] {
    return [...new Set(repositories.map((name) => checkedRepository(name, this.#http.who)))].sort()
  }

  async #tags(repository: string, signal: AbortSignal): Promise<string[]> {
    const listing: Listing = {
      url: `/v2/${repository}/tags/list`,
      entries: 'tags',
      what: `list the tags of ${repository}`,
      needs: PULL,
    }
    try {
      const tags = (await this.#walk(listing, pullScope(repository), signal)).map((tag) =>
        checkedTag(tag, this.#http.who),
      )
      return [...new Set(tags)].filter((tag) => !ACCESSORY_TAG.test(tag)).sort()
    } catch (error) {
      const gone = error instanceof EdgeError && error.code === 'PH6003'
      // A catalog goes on listing what was deleted; a person who names a repository means one that is there.
      if (gone && this.#registry.repositories.length === 0) return []
      throw error
    }
  }

  /** All entries. @throws {EdgeError} PH6004 when it is not whole */
  async #walk(listing: Listing, scope: string, signal: AbortSignal): Promise<unknown[]> {
    const entries: unknown[] = []
    const ask = (url: string) => this.#distribution.send({ method: 'GET', url, kind: 'page' }, scope, signal)
    for await (const page of pages(listing, this.#http, ask)) {
      for (const entry of page) entries.push(entry)
      if (entries.length > MAX_ENTRIES) throw torn(this.#http, listing, `lists more than ${MAX_ENTRIES}`)
    }
    return entries
  }
}

function candidateOf(repository: string, name: string, tag: string): Candidate {
  return {
    repository,
    name,
    digest: undefined,
    tags: [tag],
    labels: undefined,
    type: undefined,
    pushedAt: undefined,
    children: [],
    signatures: undefined,
    scan: undefined,
  }
}

function prefixOf(project: string | undefined): string {
  return project === undefined ? '' : `${project}/`
}

function within(project: string | undefined, repositories: readonly string[]): string[] {
  const prefix = prefixOf(project)
  return repositories.filter((one) => one.startsWith(prefix) && one !== prefix)
}
