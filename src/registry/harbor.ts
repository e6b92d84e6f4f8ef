import { authHeader } from '../model/auth.ts'
import { EdgeError, excerpt } from '../model/errors.ts'
import { parseDigest, type ArtifactType, type Candidate, type Content, type Digest } from '../model/artifact.ts'
import { checkedRepository, checkedTag, Distribution } from './distribution.ts'
import { field, inParallel, parseJson, RegistryHttp } from './http.ts'
import type { ArtifactSource, ListQuery, ProjectRules } from './registry.ts'
import type { Clock } from '../model/clock.ts'
import type { HttpAnswer, TlsMaterial } from '../http.ts'
import type { ReadSecret, Secret } from '../model/secret.ts'
import type { Registry } from '../model/registry.ts'

/** Harbor's maximum; more is a 422 (contracts/harbor.md §4.3). */
const PAGE_SIZE = 100
const MAX_PAGES = 10_000
/** How often a listing that does not add up is walked, and a page read. */
const PASSES = 3

/** A listing that Harbor serves in pages. */
interface Listing<T> {
  /** With a query, without `page`. */
  readonly url: string
  readonly what: string
  readonly needs: string
  /** @throws {EdgeError} PH6005 */
  parse(item: unknown): T
}

interface Page<T> {
  readonly items: ReadonlyMap<number, T>
  readonly total: number
}

/** A Harbor, through its own API (`/api/v2.0`): one listing a project gives tags and labels of everything. */
export class HarborSource implements ArtifactSource {
  readonly #registry: Registry
  readonly #http: RegistryHttp
  readonly #read: ReadSecret
  readonly #distribution: Distribution

  constructor(registry: Registry, read: ReadSecret, clock: Clock, tls: TlsMaterial | undefined) {
    this.#registry = registry
    this.#read = read
    this.#http = new RegistryHttp(registry, clock, tls)
    this.#distribution = new Distribution(registry, this.#http, read, clock)
  }

  async list(query: ListQuery, signal: AbortSignal): Promise<Candidate[]> {
    const project = this.#named(query.project)
    const artifacts = (await this.#ofProject(project, signal)) ?? (await this.#byRepository(project, signal))
    return artifacts.filter(({ tags }) => tags.length > 0)
  }

  /** Harbor tells its version to whom it knows, and to nobody else (contracts/harbor.md §4.4). */
  async identify(signal: AbortSignal): Promise<string> {
    const answer = await this.#get('/systeminfo', 'detail', signal)
    const info = this.#http.json(answer, 'read the system info', 'a valid account')
    const version = field(info, 'harbor_version')
    if (typeof version === 'string') return `Harbor ${excerpt(version, 60)}`
    const { auth } = this.#registry
    if (field(info, 'auth_mode') === undefined) throw this.#puzzling('answers /systeminfo without auth_mode')
    if (auth.type === 'none') return 'Harbor, asked without a credential'
    const why = `treats us as anonymous: it does not take the credential (check the secret ${auth.secret}: wrong, expired or disabled?)`
    throw new EdgeError('rejected', 'PH6002', `${this.#http.who} ${why}`)
  }

  /** Asks what a listing asks, for one entry. */
  async sample(project: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const name = this.#named(project)
    const below = `/projects/${encodeURIComponent(name)}`
    const listing = this.#artifacts(name, '')
    const tagged = `with_tag=true&with_label=true&page_size=1&page=1&sort=id&q=${encodeURIComponent('tags=*')}`
    const artifacts = await this.#get(`${below}/artifacts?${tagged}`, 'page', signal)
    const found =
      artifacts.status === 404
        ? await this.#firstRepository(name, signal)
        : this.#listed(artifacts, listing.what, listing.needs).map((item) => listing.parse(item).repository)[0]
    if (found !== undefined) await this.#distribution.proveRead(found, signal)
    return found
  }

  resolve(repository: string, tag: string, signal: AbortSignal): Promise<Digest | undefined> {
    return this.#distribution.resolve(repository, tag, signal)
  }

  async projectRules(project: string | undefined, signal: AbortSignal): Promise<ProjectRules> {
    const metadata = field(await this.#project(this.#named(project), signal), 'metadata')
    // All values are strings (contracts/harbor.md §4.4).
    const demands = (name: string) => field(metadata, name) === 'true'
    return {
      contentTrust: demands('enable_content_trust') || demands('enable_content_trust_cosign'),
      preventVulnerable: demands('prevent_vul'),
    }
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

  /** Undefined when this Harbor has no such route: older than 2.12. */
  async #ofProject(project: string, signal: AbortSignal): Promise<Candidate[] | undefined> {
    try {
      return await this.#walk(this.#artifacts(project, `/projects/${encodeURIComponent(project)}/artifacts`), signal)
    } catch (error) {
      if (!(error instanceof EdgeError) || error.code !== 'PH6003') throw error
      // No such route, or no such project? Harbor's own words differ too much between versions to tell.
      await this.#project(project, signal)
      return undefined
    }
  }

  async #byRepository(project: string, signal: AbortSignal): Promise<Candidate[]> {
    const below = `/projects/${encodeURIComponent(project)}/repositories`
    const names = await this.#walk(
      {
        url: `${below}?page_size=${PAGE_SIZE}&sort=id`,
        what: `list the repositories of project ${project}`,
        needs: 'repository:list on the project',
        parse: (item) => this.#nameOf(field(item, 'name'), project),
      },
      signal,
    )
    const lists = await inParallel(names, this.#registry.limits.listConcurrency, async (name) => {
      // Twice: the router in front of Harbor takes the first encoding away (contracts/harbor.md §4.5).
      const repository = encodeURIComponent(encodeURIComponent(name))
      try {
        return await this.#walk(this.#artifacts(project, `${below}/${repository}/artifacts`), signal)
      } catch (error) {
        // Deleted since it was listed.
        if (error instanceof EdgeError && error.code === 'PH6003') return []
        throw error
      }
    })
    return lists.flat()
  }

  /** Of a Harbor before 2.12, which does not list a project's artifacts. */
  async #firstRepository(project: string, signal: AbortSignal): Promise<string | undefined> {
    const path = `/projects/${encodeURIComponent(project)}/repositories?page_size=1&page=1&sort=id`
    const answer = await this.#get(path, 'page', signal)
    const what = `list the repositories of project ${project}`
    const [first] = this.#listed(answer, what, 'repository:list on the project')
    return first === undefined ? undefined : `${project}/${this.#nameOf(field(first, 'name'), project)}`
  }

  #listed(answer: HttpAnswer, what: string, needs: string): unknown[] {
    const items = this.#http.json(answer, what, needs)
    if (!Array.isArray(items)) throw this.#puzzling(`answers with something that is no list: cannot ${what}`)
    return items as unknown[]
  }

  #artifacts(project: string, path: string): Listing<Candidate> {
    // `tags=*`: the tagged ones. Accessories are in no listing (contracts/harbor.md §4.6).
    const query = `with_tag=true&with_label=true&page_size=${PAGE_SIZE}&sort=id&q=${encodeURIComponent('tags=*')}`
    return {
      url: `${path}?${query}`,
      what: `list the artifacts of project ${project}`,
      needs:
        'artifact:list, tag:list and label:list on the project (403 is also what a project that is not there gets)',
      parse: (item) => this.#candidate(item, project),
    }
  }

  /**
   * Everything that is in a listing from the beginning of the walk to its end, by id, each once.
   *
   * Pages are offsets into live data sorted by id, so they are read from the last to the first: a deletion moves what
   * stands behind it to a page that is still to be read, and a push adds to the end. What can still slip through, an
   * old artifact that enters in the middle, shows in the count.
   *
   * @throws {EdgeError} PH6004 when it cannot be made whole
   */
  async #walk<T>(listing: Listing<T>, signal: AbortSignal): Promise<T[]> {
    const seen = new Map<number, T>()
    let total = 0
    const read = async (number: number) => {
      const page = await this.#page(listing, number, signal)
      for (const [id, item] of page.items) seen.set(id, item)
      total = page.total
    }
    for (let pass = 1; pass <= PASSES; pass++) {
      seen.clear()
      await read(1)
      const last = Math.ceil(total / PAGE_SIZE)
      if (last > MAX_PAGES) throw this.#torn(listing, `says that there are ${total}`)
      if (last > 1) for (let number = last; number >= 1; number--) await read(number)
      for (let number = last; seen.size < total && number <= Math.ceil(total / PAGE_SIZE); number++) await read(number)
      if (seen.size >= total) return [...seen].sort(([a], [b]) => a - b).map(([, item]) => item)
    }
    throw this.#torn(listing, `shows ${seen.size} of ${total}, and goes on changing`)
  }

  /** One page, read again while it and its own count disagree: they are two queries to Harbor's database. */
  async #page<T>(listing: Listing<T>, number: number, signal: AbortSignal): Promise<Page<T>> {
    let got = ''
    for (let pass = 1; pass <= PASSES; pass++) {
      const answer = await this.#get(`${listing.url}&page=${number}`, 'page', signal)
      if (answer.status !== 200) throw this.#http.refusal(answer, listing.what, listing.needs)
      const page = this.#parsePage(listing, number, answer)
      const size = Math.min(Math.max(page.total - (number - 1) * PAGE_SIZE, 0), PAGE_SIZE)
      if (page.items.size === size) return page
      got = `answers page ${number} with ${page.items.size} of ${size} entries`
    }
    throw this.#torn(listing, got)
  }

  #parsePage<T>(listing: Listing<T>, number: number, answer: HttpAnswer): Page<T> {
    const items = parseJson(answer.bytes)
    if (!Array.isArray(items)) throw this.#torn(listing, `answers page ${number} with something that is no list`)
    const total = answer.headers['x-total-count'] ?? ''
    if (!/^\d{1,9}$/.test(total)) throw this.#torn(listing, 'does not say how many there are (X-Total-Count)')
    return {
      items: new Map(items.map((item) => [this.#idOf(item), listing.parse(item)])),
      total: Number(total),
    }
  }

  async #project(project: string, signal: AbortSignal): Promise<unknown> {
    // Without the header, a project called 42 is looked up by its number.
    const url = `/projects/${encodeURIComponent(project)}`
    const answer = await this.#get(url, 'detail', signal, { 'x-is-resource-name': 'true' })
    return this.#http.json(answer, `read project ${project}`, 'project:read on it')
  }

  #get(
    path: string,
    kind: 'page' | 'detail',
    signal: AbortSignal,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<HttpAnswer> {
    const credential = () => authHeader(this.#registry.auth, this.#read, this.#http.endpoint)
    return this.#http.send({ method: 'GET', url: `/api/v2.0${path}`, kind, headers, credential }, signal)
  }

  #named(project: string | undefined): string {
    if (project !== undefined && project !== '' && project !== '.' && project !== '..') return project
    throw new EdgeError('rejected', 'PH6003', `${this.#http.who} is a Harbor: its policies need a project`)
  }

  #candidate(item: unknown, project: string): Candidate {
    const name = this.#nameOf(field(item, 'repository_name'), project)
    return {
      repository: `${project}/${name}`,
      name,
      digest: this.#digestOf(item),
      tags: this.#namesIn(field(item, 'tags')).map((tag) => checkedTag(tag, this.#http.who)),
      labels: this.#namesIn(field(item, 'labels')),
      type: typeOf(field(item, 'type')),
    }
  }

  /** Without the project's own name. */
  #nameOf(repository: unknown, project: string): string {
    const prefix = `${project}/`
    if (typeof repository !== 'string' || !repository.startsWith(prefix))
      throw this.#puzzling(`lists a repository without its project ${project}`)
    return checkedRepository(repository.slice(prefix.length), this.#http.who)
  }

  /** `null` and nothing at all are both what an empty list looks like. */
  #namesIn(list: unknown): string[] {
    if (list === undefined || list === null) return []
    const names: unknown[] = Array.isArray(list) ? list.map((one) => field(one, 'name')) : [undefined]
    return names.map((name) => {
      if (typeof name === 'string') return name
      throw this.#puzzling('lists a tag or label without a name')
    })
  }

  #idOf(item: unknown): number {
    const id = field(item, 'id')
    if (Number.isSafeInteger(id)) return id as number
    throw this.#puzzling('lists something without an id')
  }

  #digestOf(item: unknown): Digest {
    try {
      return parseDigest(String(field(item, 'digest')))
    } catch {
      throw this.#puzzling('lists an artifact without a sha256 digest')
    }
  }

  #puzzling(what: string): EdgeError {
    return new EdgeError('unintelligible', 'PH6005', `${this.#http.who} ${what}: is it a Harbor?`)
  }

  #torn({ what }: { readonly what: string }, how: string): EdgeError {
    return new EdgeError('unavailable', 'PH6004', `${this.#http.who} ${how}: cannot ${what}`)
  }
}

function typeOf(type: unknown): ArtifactType {
  if (type === 'IMAGE') return 'image'
  return type === 'CNAI' ? 'cnai' : 'other'
}
