import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { randomBytes } from 'node:crypto'
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
  readonly page?: number
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

interface Row {
  readonly id: number
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
  readonly #projects = new Map<string, { readonly id: number; metadata: Record<string, string> }>()
  readonly #repositoryIds = new Map<string, number>()
  readonly #tokens = new Map<string, { readonly scopes: readonly string[]; readonly until: number }>()
  #rows: Row[] = []
  #faults: { readonly fault: HarborFault; left: number }[] = []
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
  project(name: string, metadata: Readonly<Record<string, string>> = {}): void {
    const project = this.#projects.get(name) ?? { id: ++this.#lastId, metadata: {} }
    project.metadata = { public: 'false', ...metadata }
    this.#projects.set(name, project)
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
    const here = this.#rows.filter((row) => row.project === project && row.repository === repository)
    for (const row of here) for (const tag of tags) row.tags.delete(tag)
    const known = here.find((row) => row.image.digest === image.digest)
    if (known === undefined) {
      const row = { id: ++this.#lastId, project, repository, image, tags: new Set(tags), labels: new Set(labels) }
      this.#rows.push(row)
    } else {
      for (const tag of tags) known.tags.add(tag)
      for (const label of labels) known.labels.add(label)
    }
  }

  /** Deletes an artifact with its tags. */
  delete(project: string, repository: string, digest: string): void {
    this.#rows = this.#rows.filter(
      (row) => !(row.project === project && row.repository === repository && row.image.digest === digest),
    )
  }

  /** Takes a tag away; the artifact stays. */
  untag(project: string, repository: string, tag: string): void {
    for (const row of this.#rows) if (row.project === project && row.repository === repository) row.tags.delete(tag)
  }

  /** Changes an account's password; the old one stops working at once. */
  rotate(username: string, password: string): void {
    this.#accounts.set(username, password)
  }

  /** Makes matching requests go wrong; the first fault that fits strikes. */
  fail(fault: HarborFault): void {
    this.#faults.push({ fault, left: fault.times ?? Infinity })
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
      ({ fault, left }) =>
        left > 0 &&
        fault.path.test(request.path) &&
        (fault.page === undefined || fault.page === Number(request.query.get('page') ?? 1)),
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
    const [, project, rest] = /^\/projects\/([^/]+)(\/.*)?$/.exec(path) ?? []
    if (project === undefined) return refusal(404, 'NOT_FOUND', 'path not found')
    const name = decodeURIComponent(project)
    const found = this.#findProject(name, rest !== undefined || request.headers['x-is-resource-name'] === 'true')
    if (found === undefined) return refusal(404, 'NOT_FOUND', `project ${name} not found`)
    if (rest === undefined) return json(this.#projectBody(found))
    if (rest === '/artifacts' && this.#options.projectWideListing !== false)
      return this.#artifactPage(request, (row) => row.project === found)
    if (rest === '/repositories') return this.#repositoryPage(request, found)
    const repository = /^\/repositories\/([^/]+)\/artifacts$/.exec(rest)?.[1]
    if (repository === undefined) return refusal(404, 'NOT_FOUND', 'path not found')
    // The router takes one encoding away and Harbor the other: `sub%2Fapp` has become two path segments by then.
    const once = decodeURIComponent(repository)
    const wanted = once.includes('/') ? undefined : decodeURIComponent(once)
    if (wanted === undefined || !this.#repositoryIds.has(`${found}/${wanted}`))
      return refusal(404, 'NOT_FOUND', `repository ${found}/${once} not found`)
    return this.#artifactPage(request, (row) => row.project === found && row.repository === wanted)
  }

  /** A number is an id, unless the header says that it is a name. */
  #findProject(nameOrId: string, isName: boolean): string | undefined {
    if (isName || !/^\d+$/.test(nameOrId)) return this.#projects.has(nameOrId) ? nameOrId : undefined
    return [...this.#projects].find(([, { id }]) => id === Number(nameOrId))?.[0]
  }

  #projectBody(name: string): unknown {
    const { id, metadata } = this.#projects.get(name)!
    return { project_id: id, name, owner_name: 'admin', registry_id: 0, metadata }
  }

  #repositoryPage(request: HarborRequest, project: string): Answer {
    const repositories = [...this.#repositoryIds]
      .filter(
        ([name]) =>
          name.startsWith(`${project}/`) && this.#rows.some((row) => `${row.project}/${row.repository}` === name),
      )
      .map(([name, id]) => ({ id, name, artifact_count: 1, pull_count: 0 }))
    return page(request, repositories)
  }

  #artifactPage(request: HarborRequest, within: (row: Row) => boolean): Answer {
    const q = request.query.get('q') ?? ''
    const rows = this.#rows.filter(within).filter((row) => !q.split(',').includes('tags=*') || row.tags.size > 0)
    // By push time, newest first, is Harbor's default; rows are kept in the order of their ids.
    if (request.query.get('sort') !== 'id') rows.reverse()
    const flags = {
      tags: request.query.get('with_tag') !== 'false',
      labels: request.query.get('with_label') === 'true',
    }
    return page(request, rows, (row) => this.#artifactBody(row, flags))
  }

  #artifactBody(row: Row, flags: { readonly tags: boolean; readonly labels: boolean }): unknown {
    const { image } = row
    const named = (names: ReadonlySet<string>) =>
      names.size === 0 ? null : [...names].map((name) => ({ id: 1, name }))
    return {
      id: row.id,
      type: image.harborType,
      manifest_media_type: image.mediaType,
      repository_name: `${row.project}/${row.repository}`,
      digest: image.digest,
      size: image.manifests.flatMap(({ blobs }) => blobs).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      push_time: '2026-11-20T10:00:00.000Z',
      references: image.isIndex ? image.manifests.map(({ digest }) => ({ child_digest: digest })) : null,
      tags: flags.tags ? named(row.tags) : null,
      ...(flags.labels && { labels: named(row.labels) }),
      accessories: null,
    }
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
    const rows = this.#rows.filter((row) => `${row.project}/${row.repository}` === repository)
    if (kind === 'tags') return json({ name: repository, tags: rows.flatMap((row) => [...row.tags]) })
    if (this.#options.upstream !== undefined) return this.#fromUpstream(this.#options.upstream, request)
    return kind === 'blobs' ? blob(rows, reference) : manifest(rows, reference)
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
