import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { randomBytes } from 'node:crypto'
import { childrenOf, ProxyCache, type ProxyOptions } from './harbor-proxy.ts'
import { buildImage, pushBuilt, type BuiltImage, type ImageOptions } from '../support/oci-images.ts'

/** What came in, in order. */
export interface HarborRequest {
  readonly method: string
  /** Without the query, still encoded. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly at: number
}

export interface FakeHarborOptions {
  /** Accounts; `robot$preheatd` with the password `robot-secret` when left out. */
  readonly accounts?: Readonly<Record<string, string>>
  /** How long a pull token works; default 1,800, as Harbor's. */
  readonly tokenTtlSeconds?: number
  /** False: a Harbor before 2.12, without the project-wide listing of artifacts. */
  readonly projectWideListing?: boolean
  /** A registry that holds blobs and manifests instead of memory: pushes go there, `/v2/` is answered from there. */
  readonly upstream?: string
  /** Default 0: any free one. */
  readonly port?: number
}

/** What to push; the image's own options stand beside its place. */
export interface HarborPush extends ImageOptions {
  readonly project: string
  /** Without the project: `sub/app`. */
  readonly repository: string
  readonly tags?: readonly string[]
  readonly labels?: readonly string[]
}

/** How a request goes wrong. What is left out of a match fits everything. */
export interface HarborFault {
  /** Of the path, without the query. */
  readonly path: RegExp
  /** How many fitting requests are let through first. */
  readonly skip?: number
  /** How often it strikes; default always. */
  readonly times?: number
  readonly answer:
    | {
        readonly kind: 'status'
        readonly status: number
        readonly headers?: Readonly<Record<string, string>>
        readonly body?: string
      }
    /** The right status and headers, and half of the body. */
    | { readonly kind: 'truncated' }
    /** Replaces headers of the right answer; an empty value takes one away. */
    | { readonly kind: 'headers'; readonly headers: Readonly<Record<string, string>> }
    /** The right answer with other bytes. */
    | { readonly kind: 'body'; readonly body: string }
    | { readonly kind: 'slow'; readonly ms: number }
    /** Never answers. */
    | { readonly kind: 'hung' }
    /** Cuts the connection. */
    | { readonly kind: 'cut' }
}

/** Kinds of accessory that matter to anybody. */
export type AccessoryType = 'signature.cosign' | 'signature.notation' | 'sbom.harbor'

/** What Harbor's scanner says of an artifact. */
export interface ScanReport {
  /** Default 1.1. */
  readonly version?: '1.0' | '1.1'
  /** Default `Success`. */
  readonly status?: string
  /** Default: the first vulnerability's, or None. */
  readonly severity?: string
  readonly vulnerabilities?: readonly { readonly id: string; readonly severity: string }[]
}

export interface FakeAllowlist {
  readonly ids: readonly string[]
  /** In seconds since 1970. */
  readonly expiresAt?: number
}

interface Project {
  readonly id: number
  metadata: Record<string, string>
  allowlist: FakeAllowlist
}

const REPORT_TYPES = {
  '1.1': 'application/vnd.security.vulnerability.report; version=1.1',
  '1.0': 'application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0',
}

interface Row {
  readonly id: number
  readonly pushedAt: number
  readonly project: string
  /** Without the project. */
  readonly repository: string
  readonly image: BuiltImage
  readonly tags: Set<string>
  readonly labels: Set<string>
}

interface Answer {
  status: number
  headers: Record<string, string>
  body: Buffer
}

const MAX_PAGE_SIZE = 100

/**
 * A Harbor 2.12 on loopback, as far as a client that lists, reads and pulls can see (contracts/harbor.md §4), over
 * artifacts that are real to the byte.
 */
export class FakeHarbor implements AsyncDisposable {
  readonly requests: HarborRequest[] = []
  /** Called before each answer; awaited. Pushing and deleting in here is how a listing shifts between pages. */
  onRequest: ((request: HarborRequest) => void | Promise<void>) | undefined
  readonly #options: FakeHarborOptions
  readonly #server: Server
  readonly #accounts: Map<string, string>
  /** What proxy caches and push times go by. */
  now: () => number = () => Date.now()
  readonly #projects = new Map<string, Project>()
  readonly #proxies = new Map<string, ProxyCache>()
  readonly #repositoryIds = new Map<string, number>()
  /** By repository with its project and digest. */
  readonly #accessories = new Map<string, AccessoryType[]>()
  readonly #reports = new Map<string, ScanReport>()
  readonly #forbidden = new Set<string>()
  #systemAllowlist: FakeAllowlist = { ids: [] }
  readonly #tokens = new Map<string, { readonly scopes: readonly string[]; readonly until: number }>()
  /** By repository with its project. */
  readonly #rows = new Map<string, Row[]>()
  #faults: { readonly fault: HarborFault; skip: number; left: number }[] = []
  #lastId = 0

  private constructor(options: FakeHarborOptions) {
    this.#options = options
    this.#accounts = new Map(Object.entries(options.accounts ?? { robot$preheatd: 'robot-secret' }))
    this.#server = createServer((request, response) => {
      // A test's own callback or the upstream failed: the client sees a cut connection.
      this.#serve(request, response).catch(() => request.socket.destroy())
    })
  }

  static async start(options: FakeHarborOptions = {}): Promise<FakeHarbor> {
    const harbor = new FakeHarbor(options)
    harbor.#server.listen(options.port ?? 0, '127.0.0.1')
    await once(harbor.#server, 'listening')
    return harbor
  }

  /** `http://127.0.0.1:38123` */
  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The first account. */
  get account(): { readonly username: string; readonly password: string } {
    const [username, password] = [...this.#accounts][0]!
    return { username, password }
  }

  /** Adds a project, or sets the metadata of one. Values are strings, as in Harbor. A push adds its project itself. */
  project(name: string, metadata: Readonly<Record<string, string>> = {}, allowlist: FakeAllowlist = { ids: [] }): void {
    const project = this.#projects.get(name) ?? { id: ++this.#lastId, metadata: {}, allowlist }
    project.metadata = { public: 'false', ...metadata }
    project.allowlist = allowlist
    this.#projects.set(name, project)
  }

  /** Adds a proxy-cache project; what is put upstream is in it once it was pulled through. */
  proxy(name: string, options: ProxyOptions = {}): ProxyCache {
    this.project(name)
    const cache = new ProxyCache(name, ++this.#lastId, options, {
      find: (repository, reference) =>
        this.#here(name, repository).find(({ image, tags }) => image.digest === reference || tags.has(reference))
          ?.image,
      add: (repository, image, tags) => {
        this.add(name, repository, image, tags)
      },
    })
    this.#proxies.set(name, cache)
    return cache
  }

  /** Lays something beside an artifact, also beside a manifest of an index. */
  accessory(repository: string, digest: string, type: AccessoryType): void {
    const key = `${repository}@${digest}`
    this.#accessories.set(key, [...(this.#accessories.get(key) ?? []), type])
  }

  /** Gives an artifact a report; one that has none was never scanned. */
  scan(repository: string, digest: string, report: ScanReport): void {
    this.#reports.set(`${repository}@${digest}`, report)
  }

  /** Sets the system's CVE allowlist. */
  allow(allowlist: FakeAllowlist): void {
    this.#systemAllowlist = allowlist
  }

  /** Takes a permission from every account: `artifact:list`. */
  forbid(permission: string): void {
    this.#forbidden.add(permission)
  }

  /** Builds an artifact and pushes it; a tag that points elsewhere moves. */
  async push({ project, repository, tags = [], labels = [], ...image }: HarborPush): Promise<BuiltImage> {
    const built = buildImage(image)
    if (this.#options.upstream !== undefined)
      await pushBuilt(this.#options.upstream, `${project}/${repository}`, tags, built)
    this.add(project, repository, built, tags, labels)
    return built
  }

  /** Lists an artifact that was built elsewhere; the same digest in the same repository gains the tags and labels. */
  add(
    project: string,
    repository: string,
    image: BuiltImage,
    tags: readonly string[] = [],
    labels: readonly string[] = [],
  ): void {
    if (!this.#projects.has(project)) this.project(project)
    const key = `${project}/${repository}`
    if (!this.#repositoryIds.has(key)) this.#repositoryIds.set(key, ++this.#lastId)
    const here = this.#here(project, repository)
    for (const row of here) for (const tag of tags) row.tags.delete(tag)
    const known = here.find((row) => row.image.digest === image.digest)
    if (known === undefined) {
      here.push({
        id: ++this.#lastId,
        pushedAt: this.now(),
        project,
        repository,
        image,
        tags: new Set(tags),
        labels: new Set(labels),
      })
    } else {
      for (const tag of tags) known.tags.add(tag)
      for (const label of labels) known.labels.add(label)
    }
  }

  /** Deletes an artifact with its tags. */
  delete(project: string, repository: string, digest: string): void {
    const here = this.#here(project, repository)
    const index = here.findIndex(({ image }) => image.digest === digest)
    if (index >= 0) here.splice(index, 1)
  }

  /** Takes a tag away; the artifact stays. */
  untag(project: string, repository: string, tag: string): void {
    for (const row of this.#here(project, repository)) row.tags.delete(tag)
  }

  /** Changes an account's password; the old one stops working at once. */
  rotate(username: string, password: string): void {
    this.#accounts.set(username, password)
  }

  /** Makes matching requests go wrong; the first fault that fits strikes. */
  fail(fault: HarborFault): void {
    this.#faults.push({ fault, skip: fault.skip ?? 0, left: fault.times ?? Infinity })
  }

  /** All faults gone. */
  heal(): void {
    this.#faults = []
  }

  /** Does this token (without `Bearer `) pull the repository now? */
  pulls(token: string, repository: string): boolean {
    const known = this.#tokens.get(token)
    return known !== undefined && Date.now() < known.until && known.scopes.includes(`repository:${repository}:pull`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(incoming.url ?? '/', this.endpoint)
    const request: HarborRequest = {
      method: incoming.method ?? 'GET',
      path: url.pathname,
      query: url.searchParams,
      headers: incoming.headers,
      at: Date.now(),
    }
    this.requests.push(request)
    incoming.resume()
    await this.onRequest?.(request)
    const fault = this.#strike(request)
    if (fault?.kind === 'hung') return
    if (fault?.kind === 'cut') {
      incoming.socket.destroy()
      return
    }
    const answer =
      fault?.kind === 'status'
        ? refusal(fault.status, 'FAULT', 'made to fail', fault.headers, fault.body)
        : await this.#answer(request)
    if (fault?.kind === 'slow') await new Promise((resolve) => setTimeout(resolve, fault.ms))
    if (fault?.kind === 'truncated') answer.body = answer.body.subarray(0, answer.body.length / 2)
    if (fault?.kind === 'body') answer.body = Buffer.from(fault.body)
    if (fault?.kind === 'headers') Object.assign(answer.headers, fault.headers)
    const headers = Object.entries(answer.headers).filter(([, value]) => value !== '')
    response.writeHead(answer.status, { ...Object.fromEntries(headers), 'content-length': answer.body.length })
    response.end(request.method === 'HEAD' ? undefined : answer.body)
  }

  #strike(request: HarborRequest): HarborFault['answer'] | undefined {
    const hit = this.#faults.find(
      (one) => one.left > 0 && one.fault.path.test(request.path) && (one.skip === 0 || one.skip-- === 0),
    )
    if (hit !== undefined) hit.left--
    return hit?.fault.answer
  }

  async #answer(request: HarborRequest): Promise<Answer> {
    if (request.path === '/service/token') return this.#token(request)
    if (request.path.startsWith('/v2/')) return this.#distribution(request)
    if (!request.path.startsWith('/api/v2.0/')) return refusal(404, 'NOT_FOUND', 'page not found')
    return this.#api(request, request.path.slice('/api/v2.0'.length))
  }

  #api(request: HarborRequest, path: string): Answer {
    const account = this.#accountOf(request)
    if (path === '/ping') return text(200, 'Pong')
    if (path === '/systeminfo') return json(this.#systemInfo(account !== undefined))
    if (account === undefined) return refusal(401, 'UNAUTHORIZED', 'unauthorized')
    if (path === '/system/CVEAllowlist') return json(allowlistBody(this.#systemAllowlist))
    const [, registryId] = /^\/registries\/(\d+)$/.exec(path) ?? []
    if (registryId !== undefined) return this.#upstreamBody(Number(registryId))
    const [, project, rest] = /^\/projects\/([^/]+)(\/.*)?$/.exec(path) ?? []
    if (project === undefined) return refusal(404, 'NOT_FOUND', 'path not found')
    const name = decodeURIComponent(project)
    const goesByHeader = rest === undefined || rest === '/artifacts'
    const found = this.#findProject(name, !goesByHeader || request.headers['x-is-resource-name'] === 'true')
    if (found === undefined) return refusal(404, 'NOT_FOUND', `project ${name} not found`)
    this.#proxies.get(found)?.settle(this.now())
    if (rest === undefined) return this.#unless('project:read', () => json(this.#projectBody(found)))
    if (rest === '/artifacts' && this.#options.projectWideListing !== false)
      return this.#unless('artifact:list', () => this.#artifactPage(request, (row) => row.project === found))
    if (rest === '/repositories') return this.#unless('repository:list', () => this.#repositoryPage(request, found))
    const [, repository, below] = /^\/repositories\/([^/]+)\/artifacts(?:\/(.+))?$/.exec(rest) ?? []
    if (repository === undefined) return refusal(404, 'NOT_FOUND', 'path not found')
    // The router takes one encoding away and Harbor the other: `sub%2Fapp` has become two path segments by then.
    const once = decodeURIComponent(repository)
    const wanted = once.includes('/') ? undefined : decodeURIComponent(once)
    if (wanted === undefined || !this.#repositoryIds.has(`${found}/${wanted}`))
      return refusal(404, 'NOT_FOUND', `repository ${found}/${once} not found`)
    if (below !== undefined) return this.#artifact(request, found, wanted, below)
    return this.#unless('artifact:list', () =>
      this.#artifactPage(request, (row) => row.project === found && row.repository === wanted),
    )
  }

  #here(project: string, repository: string): Row[] {
    const key = `${project}/${repository}`
    const here = this.#rows.get(key) ?? []
    this.#rows.set(key, here)
    return here
  }

  #unless(permission: string, answer: () => Answer): Answer {
    return this.#forbidden.has(permission) ? refusal(403, 'FORBIDDEN', 'forbidden') : answer()
  }

  #upstreamBody(id: number): Answer {
    const proxy = [...this.#proxies.values()].find(({ registryId }) => registryId === id)
    if (proxy === undefined) return refusal(404, 'NOT_FOUND', `registry ${id} not found`)
    return this.#unless('registry:read', () => json({ id, name: 'upstream', status: proxy.health }))
  }

  /** One artifact by tag or digest, or its report. A manifest of an index is an artifact too. */
  #artifact(request: HarborRequest, project: string, repository: string, below: string): Answer {
    const [reference = '', ...addition] = below.split('/')
    const rows = this.#here(project, repository)
    const row =
      rows.find(({ image, tags }) => image.digest === reference || tags.has(reference)) ??
      childRow(
        rows.find(({ image }) => image.isIndex && image.documents.has(reference)),
        reference,
      )
    if (row === undefined) return refusal(404, 'NOT_FOUND', `artifact ${project}/${repository}:${reference} not found`)
    if (addition.length === 0) return this.#unless('artifact:read', () => json(this.#artifactBody(row, request)))
    if (addition.join('/') !== 'additions/vulnerabilities') return refusal(404, 'NOT_FOUND', 'path not found')
    return this.#unless('artifact-addition:read', () => {
      const report = this.#reportOf(row, request)
      if (report === undefined) return json({})
      const { vulnerabilities = [] } = report
      return json({ [REPORT_TYPES[report.version ?? '1.1']]: { severity: severityOf(report), vulnerabilities } })
    })
  }

  /** A number is an id, unless the header says that it is a name. */
  #findProject(nameOrId: string, isName: boolean): string | undefined {
    if (isName || !/^\d+$/.test(nameOrId)) return this.#projects.has(nameOrId) ? nameOrId : undefined
    return [...this.#projects].find(([, { id }]) => id === Number(nameOrId))?.[0]
  }

  #projectBody(name: string): unknown {
    const { id, metadata, allowlist } = this.#projects.get(name)!
    const registryId = this.#proxies.get(name)?.registryId ?? 0
    const cve_allowlist = allowlistBody(allowlist)
    return { project_id: id, name, owner_name: 'admin', registry_id: registryId, metadata, cve_allowlist }
  }

  #repositoryPage(request: HarborRequest, project: string): Answer {
    const repositories = [...this.#repositoryIds]
      .filter(([name]) => name.startsWith(`${project}/`) && (this.#rows.get(name)?.length ?? 0) > 0)
      .map(([name, id]) => ({ id, name, artifact_count: 1, pull_count: 0 }))
    return page(request, sorted(request, 'repository_id', within(request, 'repository_id', repositories)))
  }

  #artifactPage(request: HarborRequest, among: (row: Row) => boolean): Answer {
    const all = [...this.#rows.values()].flat().filter(among)
    const children = new Map<string, Set<string>>()
    for (const { project, repository, image } of all)
      if (image.isIndex) {
        const key = `${project}/${repository}`
        const known = children.get(key) ?? new Set()
        for (const child of childrenIn(image)) known.add(child)
        children.set(key, known)
      }
    const isListed = ({ project, repository, image, tags }: Row) =>
      tags.size > 0 ||
      (!filtersOf(request).includes('tags=*') && children.get(`${project}/${repository}`)?.has(image.digest) !== true)
    const rows = sorted(request, 'id', within(request, 'id', all.filter(isListed)))
    return page(request, rows, (row) => this.#artifactBody(row, request))
  }

  #artifactBody(row: Row, request: HarborRequest): unknown {
    const { image } = row
    const asks = (flag: string) => request.query.get(flag) === 'true'
    const named = (names: ReadonlySet<string>, rest: object = {}) =>
      names.size === 0 ? null : [...names].map((name) => ({ id: 1, name, ...rest }))
    const pushed = { push_time: new Date(row.pushedAt).toISOString() }
    const report = asks('with_scan_overview') ? this.#reportOf(row, request) : undefined
    const accessories = this.#accessories.get(`${row.project}/${row.repository}@${image.digest}`)
    return {
      id: row.id,
      type: image.harborType,
      manifest_media_type: image.mediaType,
      repository_name: `${row.project}/${row.repository}`,
      digest: image.digest,
      size: image.manifests.flatMap(({ blobs }) => blobs).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      ...pushed,
      pull_time: '0001-01-01T00:00:00.000Z',
      references: image.isIndex ? childrenIn(image).map((digest) => ({ child_digest: digest })) : null,
      tags: request.query.get('with_tag') === 'false' ? null : named(row.tags, pushed),
      ...(asks('with_label') && { labels: named(row.labels) }),
      accessories: asks('with_accessory') && accessories !== undefined ? accessories.map((type) => ({ type })) : null,
      addition_links: image.harborType === 'IMAGE' ? { vulnerabilities: { href: '/here', absolute: false } } : {},
      ...(report && { scan_overview: { [REPORT_TYPES[report.version ?? '1.1']]: overviewOf(report) } }),
    }
  }

  /** The report, where the client takes its kind. */
  #reportOf({ project, repository, image }: Row, request: HarborRequest): ScanReport | undefined {
    const report = this.#reports.get(`${project}/${repository}@${image.digest}`)
    const taken = String(request.headers['x-accept-vulnerabilities'] ?? REPORT_TYPES['1.0']).split(/,\s*/)
    return report && taken.includes(REPORT_TYPES[report.version ?? '1.1']) ? report : undefined
  }

  #systemInfo(known: boolean): unknown {
    const version = this.#options.projectWideListing === false ? 'v2.11.2-0a1b2c3d' : 'v2.12.2-0a1b2c3d'
    const host = new URL(this.endpoint).host
    return {
      auth_mode: 'db_auth',
      ...(known && { harbor_version: version, registry_url: host, external_url: this.endpoint }),
    }
  }

  /** Anonymous is allowed: the token is for nothing then, as Harbor's. */
  #token(request: HarborRequest): Answer {
    if (request.method !== 'GET') return refusal(405, 'METHOD_NOT_ALLOWED', 'method not allowed')
    const account = this.#accountOf(request)
    if (account === undefined && request.headers.authorization !== undefined)
      return refusal(401, 'UNAUTHORIZED', 'unauthorized')
    const ttl = this.#options.tokenTtlSeconds ?? 1800
    const token = randomBytes(24).toString('base64url')
    const scopes = request.query.getAll('scope').flatMap((scope) => scope.split(' '))
    this.#tokens.set(token, {
      // Actions that the account lacks are dropped, and the answer is 200 all the same.
      scopes: scopes.filter((scope) => account !== undefined || this.#isPublic(scope)),
      until: Date.now() + ttl * 1000,
    })
    return json({ token, access_token: '', expires_in: ttl, issued_at: new Date().toISOString() })
  }

  #isPublic(scope: string): boolean {
    const project = /^repository:([^/]+)\//.exec(scope)?.[1]
    return project !== undefined && this.#projects.get(project)?.metadata['public'] === 'true'
  }

  async #distribution(request: HarborRequest): Promise<Answer> {
    const [, repository, kind, reference] = /^\/v2\/(.+)\/(manifests|blobs|tags)\/([^/]+)$/.exec(request.path) ?? []
    const [, bearer] = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '') ?? []
    const allowed =
      this.#accountOf(request) !== undefined ||
      (bearer !== undefined && (repository === undefined ? this.#tokens.has(bearer) : this.pulls(bearer, repository)))
    if (!allowed) {
      const scope = repository === undefined ? '' : `,scope="repository:${repository}:pull"`
      const challenge = `Bearer realm="${this.endpoint}/service/token",service="harbor-registry"${scope}`
      return refusal(401, 'UNAUTHORIZED', 'unauthorized: unauthorized', { 'www-authenticate': challenge })
    }
    if (repository === undefined || kind === undefined || reference === undefined)
      return request.path === '/v2/' ? json({}) : refusal(404, 'NAME_UNKNOWN', 'unknown')
    const [project = '', ...name] = repository.split('/')
    const proxied = this.#proxied(request, project, name.join('/'), kind, reference)
    if (proxied !== undefined) return proxied
    const rows = this.#here(project, name.join('/'))
    if (kind === 'tags') return json({ name: repository, tags: rows.flatMap((row) => [...row.tags]) })
    if (this.#options.upstream !== undefined) return this.#fromUpstream(this.#options.upstream, request)
    return kind === 'blobs' ? blob(rows, reference) : manifest(rows, reference)
  }

  /** Undefined for what is answered as in every other project. */
  #proxied(
    request: HarborRequest,
    project: string,
    repository: string,
    kind: string,
    reference: string,
  ): Answer | undefined {
    const proxy = this.#proxies.get(project)
    if (proxy === undefined || kind !== 'manifests') return undefined
    proxy.settle(this.now())
    const answer = proxy.manifest(request.method, repository, reference, this.now())
    if (answer.kind === 'local') return undefined
    if (answer.kind === 'missing') return refusal(404, 'NOT_FOUND', `${repository} not found`)
    if (answer.kind === 'moved') return { status: 301, headers: { location: answer.location }, body: Buffer.alloc(0) }
    const headers = { 'content-type': answer.mediaType, 'docker-content-digest': answer.digest }
    return { status: 200, headers, body: answer.bytes }
  }

  async #fromUpstream(upstream: string, request: HarborRequest): Promise<Answer> {
    const { accept } = request.headers
    const answer = await fetch(upstream + request.path, { method: request.method, headers: accept ? { accept } : {} })
    const kept = ['content-type', 'docker-content-digest'].map((name) => [name, answer.headers.get(name) ?? ''])
    const body = Buffer.from(await answer.arrayBuffer())
    return { status: answer.status, headers: Object.fromEntries(kept) as Record<string, string>, body }
  }

  #accountOf(request: HarborRequest): string | undefined {
    const [, encoded] = /^Basic (.+)$/i.exec(request.headers.authorization ?? '') ?? []
    if (encoded === undefined) return undefined
    const [username = '', ...password] = Buffer.from(encoded, 'base64').toString().split(':')
    return this.#accounts.get(username) === password.join(':') ? username : undefined
  }
}

function manifest(rows: readonly Row[], reference: string): Answer {
  const tagged = rows.find((row) => row.tags.has(reference))
  const digest = tagged?.image.digest ?? reference
  const document = rows.map((row) => row.image.documents.get(digest)).find((one) => one !== undefined)
  if (document === undefined) return refusal(404, 'NOT_FOUND', `artifact ${reference} not found`)
  const headers = { 'content-type': document.mediaType, 'docker-content-digest': digest }
  return { status: 200, headers, body: document.bytes }
}

function blob(rows: readonly Row[], digest: string): Answer {
  const bytes = rows.map((row) => row.image.blobs.get(digest)).find((one) => one !== undefined)
  if (bytes === undefined) return refusal(404, 'BLOB_UNKNOWN', 'blob unknown to registry')
  return {
    status: 200,
    headers: { 'content-type': 'application/octet-stream', 'docker-content-digest': digest },
    body: bytes,
  }
}

/** A manifest of an index as a row of its own, as Harbor keeps it. */
function childRow(parent: Row | undefined, digest: string): Row | undefined {
  if (parent === undefined) return undefined
  const image = { ...parent.image, digest, isIndex: false }
  return { ...parent, id: 0, image, tags: new Set(), labels: new Set() }
}

function childrenIn({ documents, digest }: BuiltImage): string[] {
  return childrenOf(documents.get(digest)!.bytes) ?? []
}

function severityOf({ severity, vulnerabilities }: ScanReport): string {
  return severity ?? vulnerabilities?.[0]?.severity ?? 'None'
}

function overviewOf(report: ScanReport): object {
  return { report_id: 'r', scan_status: report.status ?? 'Success', severity: severityOf(report) }
}

function allowlistBody({ ids, expiresAt }: FakeAllowlist): object {
  return { id: 1, items: ids.map((id) => ({ cve_id: id })), expires_at: expiresAt ?? null }
}

function filtersOf(request: HarborRequest): string[] {
  return (request.query.get('q') ?? '').split(',')
}

/** A range of ids in `q`; what is called otherwise is ignored, as Harbor ignores it. */
function within<T extends { readonly id: number }>(request: HarborRequest, column: string, all: readonly T[]): T[] {
  const [range] = filtersOf(request).filter((one) => one.startsWith(`${column}=[`))
  const [, min = '', max = ''] = /\[(\d*)~(\d*)\]$/.exec(range ?? '') ?? []
  return all.filter(({ id }) => (min === '' || id >= Number(min)) && (max === '' || id <= Number(max)))
}

/** By id when asked for by the right name; else newest first, which is Harbor's default. */
function sorted<T extends { readonly id: number }>(request: HarborRequest, column: string, all: readonly T[]): T[] {
  const ascending = request.query.get('sort') === column
  return [...all].sort((a, b) => (ascending ? a.id - b.id : b.id - a.id))
}

/** One page of a listing: default size 10, at most 100, the total in a header (contracts/harbor.md §4.3). */
function page<T>(request: HarborRequest, all: readonly T[], body: (item: T) => unknown = (item) => item): Answer {
  const number = Number(request.query.get('page') ?? 1)
  const size = Number(request.query.get('page_size') ?? 10)
  if (!Number.isInteger(number) || number < 1 || !Number.isInteger(size) || size < 1 || size > MAX_PAGE_SIZE)
    return refusal(422, 'UNPROCESSABLE_ENTITY', `page_size in query should be less than or equal to ${MAX_PAGE_SIZE}`)
  const link = (to: number, rel: string) => {
    const query = new URLSearchParams(request.query)
    query.set('page', String(to))
    // Path-relative and unescaped: not to be used as it is.
    return `<${request.path}?${decodeURIComponent(query.toString())}>; rel="${rel}"`
  }
  const links = [
    ...(number * size < all.length ? [link(number + 1, 'next')] : []),
    ...(number > 1 ? [link(number - 1, 'prev')] : []),
  ]
  const items = all.slice((number - 1) * size, number * size).map(body)
  return json(items, { 'x-total-count': String(all.length), link: links.join(' , ') })
}

function json(value: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  return {
    status: 200,
    headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
    body: Buffer.from(JSON.stringify(value)),
  }
}

function text(status: number, body: string): Answer {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: Buffer.from(body) }
}

function refusal(
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
  body?: string,
): Answer {
  // Harbor says no more than this about its own failures.
  const said = status >= 500 ? 'internal server error' : message
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
    body: Buffer.from(body ?? JSON.stringify({ errors: [{ code, message: said }] })),
  }
}
