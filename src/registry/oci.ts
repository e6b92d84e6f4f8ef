import { EdgeError, excerpt } from '../model/errors.ts'
import type { Candidate, Content, Digest } from '../model/artifact.ts'
import { checkedRepository, checkedTag, Distribution, PULL, pullScope } from './distribution.ts'
import { field, inParallel, parseJson, RegistryHttp } from './http.ts'
import type { ArtifactSource, ListQuery, ProjectRules } from './registry.ts'
import type { Clock } from '../model/clock.ts'
import type { HttpAnswer, TlsMaterial } from '../http.ts'
import type { ReadSecret, Secret } from '../model/secret.ts'
import type { Registry } from '../model/registry.ts'

const MAX_PAGES = 1000
const MAX_ENTRIES = 1_000_000
const CATALOG_SCOPE = 'registry:catalog:*'
const NAME_THEM = 'name the repositories in spec.repositories of the Registry'

/** Signatures, attestations, SBOMs and the fallback of the referrers API (contracts/kraken-and-registries.md §5.1). */
const ACCESSORY_TAG = /^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$/

/** Entries that a registry lists in pages. */
interface Listing {
  readonly url: string
  readonly scope: string
  /** Where the entries stand in the answer. */
  readonly entries: 'repositories' | 'tags'
  readonly what: string
  readonly needs: string
}

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
    const repositories = within(query.project, await this.#repositories(signal))
    const width = this.#registry.limits.listConcurrency
    const lists = await inParallel(repositories, width, async (repository) => {
      const name = repository.slice(prefix.length)
      const tags = await this.#tags(repository, signal)
      return inParallel(tags, width, (tag) => this.#candidate({ repository, name, tag }, query, signal))
    })
    return lists.flat().filter((candidate) => candidate !== undefined)
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
    return Promise.resolve({ contentTrust: false, preventVulnerable: false })
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

  async #candidate(
    { repository, name, tag }: { readonly repository: string; readonly name: string; readonly tag: string },
    query: ListQuery,
    signal: AbortSignal,
  ): Promise<Candidate | undefined> {
    const unresolved = { repository, name, digest: undefined, tags: [tag], labels: undefined, type: undefined }
    if (!query.wants(name, tag)) return unresolved
    const digest = await this.#distribution.resolve(repository, tag, signal)
    return digest && { ...unresolved, digest }
  }

  async #repositories(signal: AbortSignal): Promise<string[]> {
    const declared = this.#registry.repositories
    if (declared.length > 0) return this.#names(declared)
    const listing: Listing = {
      url: '/v2/_catalog',
      scope: CATALOG_SCOPE,
      entries: 'repositories',
      what: `list the repositories; if it has no catalog for this account, ${NAME_THEM}`,
      needs: `${CATALOG_SCOPE}; or ${NAME_THEM}`,
    }
    const listed = this.#names((await this.#walk(listing, signal)).map(String))
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
      scope: pullScope(repository),
      entries: 'tags',
      what: `list the tags of ${repository}`,
      needs: PULL,
    }
    try {
      const tags = (await this.#walk(listing, signal)).map((tag) => checkedTag(tag, this.#http.who))
      return [...new Set(tags)].filter((tag) => !ACCESSORY_TAG.test(tag)).sort()
    } catch (error) {
      const gone = error instanceof EdgeError && error.code === 'PH6003'
      // A catalog goes on listing what was deleted; a person who names a repository means one that is there.
      if (gone && this.#registry.repositories.length === 0) return []
      throw error
    }
  }

  /** All entries, page after page. @throws {EdgeError} PH6004 when it is not whole */
  async #walk(listing: Listing, signal: AbortSignal): Promise<unknown[]> {
    const entries: unknown[] = []
    const seen = new Set<string>()
    let url: string | undefined = listing.url
    while (url !== undefined && !seen.has(url)) {
      if (seen.size === MAX_PAGES) throw this.#torn(listing, `has more than ${MAX_PAGES} pages`)
      seen.add(url)
      const answer = await this.#distribution.send({ method: 'GET', url, kind: 'page' }, listing.scope, signal)
      if (answer.status !== 200) throw this.#http.refusal(answer, listing.what, listing.needs)
      const page = field(parseJson(answer.bytes), listing.entries)
      // Distribution says null for none.
      if (page !== null && !Array.isArray(page)) throw this.#torn(listing, `answers without ${listing.entries}`)
      for (const entry of (page ?? []) as unknown[]) entries.push(entry)
      if (entries.length > MAX_ENTRIES) throw this.#torn(listing, `lists more than ${MAX_ENTRIES}`)
      url = this.#next(listing, answer, url)
    }
    return entries
  }

  #next(listing: Listing, answer: HttpAnswer, current: string): string | undefined {
    const link = nextLink(answer.headers['link'])
    if (link === undefined) return undefined
    const { endpoint } = this.#http
    const to = URL.parse(link, new URL(current, endpoint).href)
    // By host: behind a proxy that ends TLS a registry takes its own scheme for http.
    if (to?.host !== endpoint.host) {
      const host = excerpt(to?.host ?? 'nowhere', 100)
      throw this.#torn(listing, `goes on at another host, ${host}, which is not asked`)
    }
    return endpoint.origin + to.pathname + to.search
  }

  #torn({ what }: Listing, how: string): EdgeError {
    return new EdgeError('rejected', 'PH6004', `${this.#http.who} ${how}: cannot ${what}`)
  }
}

function prefixOf(project: string | undefined): string {
  return project === undefined ? '' : `${project}/`
}

function within(project: string | undefined, repositories: readonly string[]): string[] {
  const prefix = prefixOf(project)
  return repositories.filter((one) => one.startsWith(prefix) && one !== prefix)
}

/** The target of `rel="next"`, also of one without angle brackets or without `rel`; undefined for none. */
export function nextLink(header: string | undefined): string | undefined {
  const links = header?.match(/<[^>]*>[^,]*|[^,]+/g) ?? []
  const next =
    links.find((link) => /;\s*rel\s*=\s*"?next"?/i.test(link)) ?? links.find((link) => !/;\s*rel\s*=/i.test(link))
  const [, bracketed, bare] = /^\s*(?:<([^>]*)>|([^\s;]+))/.exec(next ?? '') ?? []
  return bracketed ?? bare
}
