import { once } from 'node:events'
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as nap } from 'node:timers/promises'

/** A personal access token as the manager keeps it; no scopes means all. */
export interface Token {
  readonly token: string
  readonly scopes?: readonly string[]
  readonly state?: 'active' | 'inactive'
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number
}

export interface FakeCluster {
  readonly id: number
  readonly name: string
  /** Has it an active scheduler? Default true. */
  readonly scheduler?: boolean
  /** Default 2. */
  readonly seeds?: number
  /** Default 3. */
  readonly peers?: number
}

/** What becomes of a job in one cluster. */
export type Outcome =
  | { readonly kind: 'complete' }
  /** The last blobs are not fetched. Scope `all_*`: by the last host, which hides what else that host fetched. */
  | { readonly kind: 'partial'; readonly missing: number }
  /** SUCCESS, and nothing is cached or listed. */
  | { readonly kind: 'silent-loss' }
  /** All is cached already: the hosts are told as `unknown`. */
  | { readonly kind: 'repeat' }
  | { readonly kind: 'failure'; readonly error: string }
  /** Never ends; the manager gives up at its last look, without a word. */
  | { readonly kind: 'endless' }
  /** Its manager was restarted: the row stays PENDING for ever, though the blobs are fetched. */
  | { readonly kind: 'stuck' }

/** What goes wrong with one request. */
export type Trouble =
  | {
      readonly kind: 'answer'
      readonly status: number
      readonly body: string
      readonly headers?: Record<string, string>
    }
  | { readonly kind: 'slow'; readonly ms: number }
  /** Is read and never answered. */
  | { readonly kind: 'hang' }
  /** Is carried out, and the connection is cut before the answer. */
  | { readonly kind: 'cut' }

export interface DragonflyOptions {
  /** Default: any. */
  readonly port?: number
  /** Default: {@link TOKEN} with every scope. */
  readonly tokens?: readonly Token[]
  /** Default: id 1, `cluster-1`. */
  readonly clusters?: readonly FakeCluster[]
  /** How long a job really takes; default 0. */
  readonly jobMs?: number
  /** Ages at which the row changes; at the last the manager gives up. Default {@link REAL_LOOKS_MS}. */
  readonly looksMs?: readonly number[]
  /** Instead: a look every so often up to the real last one. */
  readonly lookEveryMs?: number
  /** `job_rate_limit`; default 10. */
  readonly requestsPerSecond?: number
  /** As real managers do since 2.1.1; default false. */
  readonly refusesLoopback?: boolean
  /** By repository; the others are complete. */
  readonly outcomes?: Readonly<Record<string, Outcome>>
  /** Default the system's. */
  now?(): number
}

/** One POST as it arrived, whatever became of it. */
export interface Post {
  readonly at: number
  readonly url: string | undefined
  readonly bio: string | undefined
  readonly clusterIds: readonly number[] | undefined
  /** Was the registry's Authorization handed over? */
  readonly withAuthorization: boolean
  /** Set when it is answered. */
  status: number | undefined
  jobId: number | undefined
}

interface FakeJob {
  readonly id: number
  readonly createdAt: number
  readonly bio: string
  readonly args: Readonly<Record<string, unknown>>
  readonly blobs: readonly string[]
  readonly targets: readonly { readonly cluster: FakeCluster; readonly outcome: Outcome }[]
  /** From then on nobody looks at it. */
  abandonedAt: number
}

export const TOKEN = 'ZHJhZ29uZmx5LXBlcnNvbmFsLWFjY2Vzcy10b2tlbi0wMDAx'
/** 16 looks: 0, 30, 90, 210, 450 s and every 300 s, the last at 3,750 s. */
export const REAL_LOOKS_MS = [0, 30, 90, 210, ...Array.from({ length: 12 }, (_, i) => 450 + 300 * i)].map(
  (s) => s * 1000,
)

const FILTERED_QUERY_PARAMS = 'X-Amz-Algorithm&X-Amz-Credential&X-Amz-Date&X-Amz-Expires&X-Amz-Signature&ns'
const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' }
const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ')

/** Ends a request with this status and body. */
class Answer extends Error {
  readonly status: number
  readonly body: string
  readonly headers: Record<string, string>

  constructor(status: number, body: unknown, headers: Record<string, string> = JSON_TYPE) {
    super(`HTTP ${status}`)
    this.status = status
    this.body = typeof body === 'string' ? body : JSON.stringify(body)
    this.headers = headers
  }
}

/**
 * The manager of Dragonfly 2.5.1 as contracts/dragonfly.md §8 tells it, as far as preheats need it, over real sockets.
 * It reads manifests from the registry that it is told, and "fetches" nothing. It knows no username and password and
 * asks no token service: preheatd sends `headers.Authorization` or nothing.
 */
export class FakeDragonfly implements AsyncDisposable {
  /** Every POST of a job as it arrived, in order. */
  readonly posts: Post[] = []
  /** Every request, in order: `GET /oapi/v1/jobs/1`. */
  readonly requests: string[] = []
  /** Most POSTs that were under way at once. */
  postsAtOnce = 0
  tokens: readonly Token[]
  clusters: readonly FakeCluster[]
  /** What becomes of a job in a cluster, asked when it is created. */
  outcome: (url: string, cluster: number) => Outcome
  /** What goes wrong with a request, `undefined` for nothing. */
  trouble: (request: string) => Trouble | undefined = () => undefined

  readonly #options: DragonflyOptions
  readonly #looksMs: readonly number[]
  readonly #server: Server
  readonly #fullAt = new Map<number, number>()
  readonly #jobs = new Map<number, FakeJob>()
  readonly #lostJobs: FakeJob[] = []
  #lastId = 0
  #postsNow = 0

  private constructor(options: DragonflyOptions) {
    this.#options = options
    this.tokens = options.tokens ?? [{ token: TOKEN }]
    this.clusters = options.clusters ?? [{ id: 1, name: 'cluster-1' }]
    this.outcome = (url) => options.outcomes?.[repositoryOf(url)] ?? { kind: 'complete' }
    const everyMs = options.lookEveryMs
    this.#looksMs =
      options.looksMs ??
      (everyMs === undefined
        ? REAL_LOOKS_MS
        : Array.from({ length: Math.ceil(3_750_000 / everyMs) + 1 }, (_, i) => i * everyMs))
    this.#server = createServer((request, response) => {
      void this.#serve(request, response)
    })
  }

  static async start(options: DragonflyOptions = {}): Promise<FakeDragonfly> {
    const fake = new FakeDragonfly(options)
    fake.#server.listen(options.port ?? 0, '127.0.0.1')
    await once(fake.#server, 'listening')
    return fake
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The next requests whose `METHOD path` begins like this go wrong. */
  troubleNext(times: number, beginning: string, trouble: Trouble): void {
    let left = times
    this.trouble = (request) => (request.startsWith(beginning) && left-- > 0 ? trouble : undefined)
  }

  /** Nobody looks at the jobs that are open; their rows stay as they are. */
  restart(): void {
    for (const job of this.#jobs.values()) job.abandonedAt = Math.min(job.abandonedAt, this.#now())
  }

  /** Deletes every row, as the collector does by their age. */
  collect(): void {
    this.#lostJobs.push(...this.#jobs.values())
    this.#jobs.clear()
  }

  /** A new database: no rows, and ids from 1 again. */
  reset(): void {
    this.collect()
    this.#lastId = 0
  }

  /** The truth, whatever rows say: digests of the blobs that a cluster really holds, wholly or on some host. */
  cached(cluster: number): Set<string> {
    const held = new Set<string>()
    for (const job of [...this.#lostJobs, ...this.#jobs.values()]) {
      if (this.#now() < job.createdAt + this.#jobMs) continue
      for (const target of job.targets) {
        if (target.cluster.id === cluster) for (const url of fetched(job.blobs, target.outcome)) held.add(digestOf(url))
      }
    }
    return held
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: path = '' } = request
    const line = `${method} ${path}`
    if (path === '/__log') {
      const cached = Object.fromEntries(this.clusters.map(({ id }) => [id, [...this.cached(id)].sort()]))
      const log = { posts: this.posts, requests: this.requests, postsAtOnce: this.postsAtOnce, cached }
      response.writeHead(200, JSON_TYPE).end(JSON.stringify(log))
      return
    }
    this.requests.push(line)
    const isPost = method === 'POST'
    if (isPost) this.postsAtOnce = Math.max(this.postsAtOnce, ++this.#postsNow)
    try {
      const trouble = this.trouble(line)
      const body = await text(request)
      if (trouble?.kind === 'hang') return
      if (trouble?.kind === 'slow') await nap(trouble.ms)
      const answer = await this.#answer(
        method,
        new URL(path, 'http://manager'),
        request.headers.authorization,
        body,
        trouble,
      )
      if (trouble?.kind === 'cut') request.socket.destroy()
      else response.writeHead(answer.status, answer.headers).end(answer.body)
    } finally {
      if (isPost) this.#postsNow -= 1
    }
  }

  async #answer(
    method: string,
    url: URL,
    authorization: string | undefined,
    body: string,
    trouble: Trouble | undefined,
  ): Promise<Answer> {
    const post = method === 'POST' && url.pathname === '/oapi/v1/jobs' ? this.#note(body) : undefined
    try {
      if (trouble?.kind === 'answer') throw new Answer(trouble.status, trouble.body, trouble.headers ?? {})
      return await this.#route(method, url, authorization, body, post)
    } catch (error) {
      if (!(error instanceof Answer)) throw error
      if (post) post.status = error.status
      return error
    }
  }

  async #route(
    method: string,
    url: URL,
    authorization: string | undefined,
    body: string,
    post: Post | undefined,
  ): Promise<Answer> {
    const [, resource = '', id] = /^\/oapi\/v1\/(jobs|clusters)(?:\/([^/]+))?$/.exec(url.pathname) ?? []
    if (method === 'GET' && url.pathname === '/healthy') return new Answer(200, '"OK"')
    if (resource === '' || (method !== 'GET' && post === undefined)) throw new Answer(301, '', { location: '/' })
    this.#authenticate(
      url.searchParams.get('access_token') ?? bearer(authorization),
      resource === 'jobs' ? 'job' : 'cluster',
    )
    if (post !== undefined) {
      const job = await this.#create(body, post)
      post.status = 200
      post.jobId = job.id
      return new Answer(200, this.#row(job, { result: null, clusters: job.targets.map(({ cluster }) => cluster) }))
    }
    if (id !== undefined && !/^\d+$/.test(id)) {
      throw new Answer(422, { errors: `strconv.ParseUint: parsing ${JSON.stringify(id)}: invalid syntax` })
    }
    const found = resource === 'jobs' ? this.#jobPages(id, url) : this.#clusterPages(id, url)
    return found ?? new Answer(404, { message: 'record not found' })
  }

  #note(body: string): Post {
    const sent = parse(body)
    const args = record(sent?.['args'])
    const post: Post = {
      at: this.#now(),
      url: string(args?.['url']),
      bio: string(sent?.['bio']),
      clusterIds: Array.isArray(sent?.['scheduler_cluster_ids'])
        ? (sent['scheduler_cluster_ids'] as number[])
        : undefined,
      withAuthorization: record(args?.['headers'])?.['Authorization'] !== undefined,
      status: undefined,
      jobId: undefined,
    }
    this.posts.push(post)
    return post
  }

  #authenticate(token: string | undefined, scope: string): void {
    const known = this.tokens.find((one) => one.token === token)
    if (known === undefined) throw new Answer(401, { message: 'Unauthorized' })
    if (known.state === 'inactive') throw new Answer(403, { message: 'Token is inactive' })
    if (known.expiresAt !== undefined && known.expiresAt <= this.#now())
      throw new Answer(403, { message: 'Token has expired' })
    if (known.scopes !== undefined && known.scopes.length > 0 && !known.scopes.includes(scope)) {
      const message = `Token doesn't have permission to access this resource. Required permission: ${scope}`
      throw new Answer(403, { message })
    }
  }

  /** The order of the steps is the manager's. */
  async #create(body: string, post: Post): Promise<FakeJob> {
    const sent = parse(body)
    const ids = sent?.['scheduler_cluster_ids'] ?? null
    const unbound = envelopeFault(body, sent, ids)
    // The limiter answers and does not stop; the handler answers again.
    if (unbound !== undefined) throw new Answer(422, JSON.stringify({ errors: unbound }).repeat(2))
    const clusterIds = (ids as number[] | null) ?? []
    for (const id of clusterIds) this.#limit(id)
    if (sent!['type'] !== 'preheat') throw new Answer(422, { errors: 'Unknow type' })
    const args = checkedArgs(record(sent!['args']))
    const targets = this.#targets(clusterIds)
    const blobs = await this.#resolve(args)
    const bio = post.bio ?? ''
    if (bio.length > 1024) throw new Answer(500, { message: 'Internal Server Error' })
    const job: FakeJob = {
      id: ++this.#lastId,
      createdAt: this.#now(),
      bio,
      args,
      blobs,
      targets: targets.map((cluster) => ({ cluster, outcome: this.outcome(args['url'] as string, cluster.id) })),
      abandonedAt: Infinity,
    }
    if (job.targets.some(({ outcome }) => outcome.kind === 'stuck')) job.abandonedAt = job.createdAt - 1
    this.#jobs.set(job.id, job)
    return job
  }

  /** GCRA, a burst of one second's worth, a cluster; an unknown one has no limiter and is refused alike. */
  #limit(id: number): void {
    const perSecond = this.#options.requestsPerSecond ?? 10
    const intervalMs = 1000 / perSecond
    const now = this.#now()
    const fullAt = Math.max(this.#fullAt.get(id) ?? 0, now) + intervalMs
    if (!this.clusters.some((cluster) => cluster.id === id) || fullAt - now > intervalMs * perSecond + 0.001)
      throw new Answer(429, 'rate limit exceeded', { 'content-type': 'text/plain; charset=utf-8' })
    this.#fullAt.set(id, fullAt)
  }

  #targets(ids: readonly number[]): FakeCluster[] {
    const wanted = this.clusters.filter(({ id }) => ids.length === 0 || ids.includes(id))
    const found = wanted.filter(({ scheduler }) => scheduler !== false)
    if (found.length === 0 || (ids.length > 0 && found.length < wanted.length))
      throw new Answer(500, { message: 'candidate schedulers not found' })
    return found
  }

  /** Config and layers of every manifest that matches, as blob URLs, duplicates kept. */
  async #resolve(args: Readonly<Record<string, unknown>>): Promise<string[]> {
    const url = args['url'] as string
    const [, base = '', host = ''] = /^(https?:\/\/([^/]+)\/v2\/.+)\/manifests\/[^/]+$/.exec(url) ?? []
    if (base === '') throw new Answer(500, { message: 'parse access url failed' })
    const name = new URL(url).hostname
    if (this.#options.refusesLoopback === true && /^(?:127\.|localhost$|\[::1\]$)/.test(name)) {
      throw new Answer(500, { message: `Get "http://${host}/v2/": dial tcp ${host}: ip ${name} is invalid` })
    }
    const headers = { accept: MANIFEST_TYPES, ...(record(args['headers']) as Record<string, string> | undefined) }
    const root = await manifest(url, headers)
    const children = Array.isArray(root['manifests']) ? (root['manifests'] as IndexEntry[]) : undefined
    if (children === undefined) return blobUrls(base, root)
    // 2.5.1 compares os and architecture and no variant; its own platform where none is given.
    const [os, architecture] = ((args['platform'] as string) || 'linux/amd64').split('/')
    const matching = children.filter(({ platform }) => platform?.os === os && platform?.architecture === architecture)
    if (matching.length === 0) {
      throw new Answer(500, { message: `no matching manifest for platform ${os}/${architecture}` })
    }
    const found = await Promise.all(matching.map(({ digest }) => manifest(`${base}/manifests/${digest}`, headers)))
    return found.flatMap((one) => blobUrls(base, one))
  }

  #jobPages(id: string | undefined, url: URL): Answer | undefined {
    if (id !== undefined) {
      const job = this.#jobs.get(Number(id))
      if (job === undefined) return undefined
      const clusters = job.targets.map(({ cluster }) => cluster)
      return new Answer(200, this.#row(job, { result: this.#look(job).result, clusters }))
    }
    const state = url.searchParams.get('state')
    const type = url.searchParams.get('type')
    const rows = [...this.#jobs.values()]
      .reverse()
      .filter((job) => (state === null || this.#look(job).state === state) && (type === null || type === 'preheat'))
    const page = paged(url, rows)
    return new Answer(
      200,
      page.items.map((job) => this.#row(job, { result: this.#look(job).result, clusters: null })),
      { ...JSON_TYPE, link: page.link },
    )
  }

  #clusterPages(id: string | undefined, url: URL): Answer | undefined {
    if (id !== undefined) {
      const cluster = this.clusters.find((one) => one.id === Number(id))
      return cluster && new Answer(200, clusterRow(cluster))
    }
    const page = paged(url, this.clusters)
    const rows = page.items.length === 0 ? null : page.items.map(clusterRow)
    return new Answer(200, rows === null ? 'null' : rows, { ...JSON_TYPE, link: page.link })
  }

  #row(
    job: FakeJob,
    { result, clusters }: { readonly result: unknown; readonly clusters: readonly FakeCluster[] | null },
  ): unknown {
    const { state, at } = this.#look(job)
    return {
      id: job.id,
      created_at: iso(job.createdAt),
      updated_at: iso(at),
      is_del: 0,
      task_id: `group_${job.id}`,
      bio: job.bio,
      type: 'preheat',
      state,
      args: job.args,
      result,
      user_id: 0,
      user: { id: 0, name: '', state: '' },
      seed_peer_clusters: null,
      scheduler_clusters:
        clusters?.map(({ id, name }) => ({
          id,
          name,
          config: { job_rate_limit: this.#options.requestsPerSecond ?? 10 },
        })) ?? null,
    }
  }

  /** The row as the manager's last look left it; the first terminal look is the last. */
  #look(job: FakeJob): Look {
    const until = Math.min(this.#now(), job.abandonedAt) - job.createdAt
    let look: Look = { state: 'PENDING', result: null, at: job.createdAt }
    for (const ageMs of this.#looksMs) {
      if (ageMs > until) return look
      look = this.#lookAt(job, ageMs)
      if (look.state !== 'PENDING') return look
    }
    return { ...look, state: 'FAILURE' }
  }

  #lookAt(job: FakeJob, ageMs: number): Look {
    const states = job.targets.map((target, index) => {
      const ended = ageMs >= this.#jobMs && target.outcome.kind !== 'endless'
      const said: Told = ended
        ? told(job, target.cluster, target.outcome)
        : { state: 'STARTED', error: '', results: null }
      return {
        task_uuid: `task_${job.id}_${index}`,
        task_name: 'preheat',
        created_at: iso(job.createdAt),
        ttl: 0,
        ...said,
      }
    })
    const failed = states.some(({ state }) => state === 'FAILURE')
    const state = failed ? 'FAILURE' : states.every((one) => one.state === 'SUCCESS') ? 'SUCCESS' : 'PENDING'
    const at = job.createdAt + ageMs
    const times = { created_at: iso(job.createdAt), updated_at: iso(at) }
    return { state, at, result: { group_uuid: `group_${job.id}`, state, ...times, job_states: states } }
  }

  #now(): number {
    return this.#options.now?.() ?? Date.now()
  }

  get #jobMs(): number {
    return this.#options.jobMs ?? 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

interface Look {
  readonly state: 'PENDING' | 'SUCCESS' | 'FAILURE'
  readonly result: unknown
  readonly at: number
}

interface Told {
  readonly state: string
  readonly error: string
  readonly results: readonly unknown[] | null
}

interface Host {
  readonly hostname: string
  readonly ip: string
}

/** An entry of `job_states` for a cluster that has ended. */
function told(job: FakeJob, cluster: FakeCluster, outcome: Outcome): Told {
  const failure = (error: string): Told => ({ state: 'FAILURE', error, results: null })
  const success = (done: readonly unknown[], failed: readonly unknown[]): Told => ({
    state: 'SUCCESS',
    error: '',
    results: [
      {
        scheduler_cluster_id: cluster.id,
        success_tasks: done.length === 0 ? null : done,
        failure_tasks: failed.length === 0 ? null : failed,
      },
    ],
  })
  if (outcome.kind === 'failure') return failure(outcome.error)
  const missing = new Set(outcome.kind === 'partial' ? job.blobs.slice(-outcome.missing) : [])
  const unknown = { hostname: 'unknown', ip: 'unknown' }
  if (job.args['scope'] !== 'all_seed_peers' && job.args['scope'] !== 'all_peers') {
    const seeds = hosts(cluster, 'seed')
    if (seeds.length === 0) return failure(`cluster ${cluster.id} scheduler 10.0.0.2 no available seed peer`)
    const done = fetched(job.blobs, outcome).map((url) => ({
      url,
      ...(outcome.kind === 'repeat'
        ? unknown
        : seeds[Number.parseInt(sha256(digestOf(url)).slice(0, 8), 16) % seeds.length]!),
    }))
    return success(done, [])
  }
  const chosen = hosts(cluster, job.args['scope'] === 'all_peers' ? 'peer' : 'seed')
  if (chosen.length === 0) return failure(`[preheat]: cluster ${cluster.id} scheduler 10.0.0.2 has no available peer`)
  const bad = missing.size > 0 ? chosen.at(-1)! : undefined
  // One failure hides every success of the same address.
  const done = job.blobs.flatMap((url) =>
    outcome.kind === 'silent-loss' ? [] : chosen.filter((host) => host !== bad).map((host) => ({ url, ...host })),
  )
  const description = 'task failed: rpc error: code = Internal desc = 401 Unauthorized'
  const failed = bad === undefined ? [] : [...missing].map((url) => ({ url, ...bad, description }))
  if (done.length > 0) return success(done, failed)
  const host = bad ?? chosen[0]!
  return failure(`all peers preheat failed: group_${job.id} task_${job.id} ${host.ip} ${host.hostname} ${description}`)
}

/** What some host of the cluster really holds when the job is over. */
function fetched(blobs: readonly string[], outcome: Outcome): readonly string[] {
  switch (outcome.kind) {
    case 'complete':
    case 'repeat':
    case 'stuck':
      return blobs
    case 'partial':
      return blobs.slice(0, -outcome.missing)
    case 'silent-loss':
    case 'failure':
    case 'endless':
      return []
    default:
      return outcome satisfies never
  }
}

function hosts(cluster: FakeCluster, kind: 'seed' | 'peer'): Host[] {
  const [count, net] = kind === 'seed' ? [cluster.seeds ?? 2, 0] : [cluster.peers ?? 3, 1]
  return Array.from({ length: count }, (_, i) => ({
    hostname: `${kind}-${cluster.id}-${i}`,
    ip: `10.${cluster.id}.${net}.${i + 1}`,
  }))
}

interface IndexEntry {
  readonly digest: string
  readonly platform?: { readonly os: string; readonly architecture: string }
}

/** @throws {Answer} 500 in the words that the manager takes over from its registry client */
async function manifest(url: string, headers: Record<string, string>): Promise<Record<string, unknown>> {
  let response: Response
  try {
    response = await fetch(url, { headers, redirect: 'manual' })
  } catch {
    const { host, origin } = new URL(url)
    throw new Answer(500, { message: `Get "${origin}/v2/": dial tcp ${host}: connect: connection refused` })
  }
  const body = await response.text()
  if (response.ok) return parse(body) ?? {}
  if (response.status >= 500) {
    throw new Answer(500, { message: `received unexpected HTTP status: ${response.status} ${response.statusText}` })
  }
  const [first] = (parse(body)?.['errors'] ?? []) as { code: string; message?: string }[]
  if (first === undefined) {
    throw new Answer(500, { message: `error parsing HTTP ${response.status} response body: ${body.slice(0, 100)}` })
  }
  const said = `${first.code.toLowerCase().replaceAll('_', ' ')}: ${first.message ?? ''}`
  throw new Answer(500, { message: response.status === 401 ? `Get "${url}": ${said}` : said })
}

function blobUrls(base: string, one: Record<string, unknown>): string[] {
  const layers = (one['layers'] ?? []) as { digest: string }[]
  const config = one['config'] as { digest: string } | undefined
  return [...(config ? [config] : []), ...layers].map(({ digest }) => `${base}/blobs/${digest}`)
}

/** Why a body is no job at all, in the manager's words. */
function envelopeFault(body: string, sent: Record<string, unknown> | undefined, ids: unknown): string | undefined {
  if (body === '') return 'EOF'
  if (sent === undefined) return 'invalid character looking for beginning of value'
  if (typeof sent['type'] !== 'string') {
    return "Key: 'CreateJobRequest.Type' Error:Field validation for 'Type' failed on the 'required' tag"
  }
  if (ids !== null && !(Array.isArray(ids) && ids.every((id) => Number.isSafeInteger(id) && (id as number) >= 0)))
    return 'json: cannot unmarshal value into Go struct field CreateJobRequest.scheduler_cluster_ids of type []uint'
  return undefined
}

/** The args as the manager parses, defaults and echoes them: unknown keys dropped, credentials in clear. */
function checkedArgs(args: Record<string, unknown> | undefined): Record<string, unknown> {
  if (args === undefined) throw new Answer(500, { message: 'unknown preheat type' })
  if (args['type'] !== 'image') {
    const tag = "Key: 'CreatePreheatJobRequest.Args.Type' Error:Field validation for 'Type' failed on the 'oneof' tag"
    throw new Answer(422, { errors: tag })
  }
  const { timeout = 0, url = '' } = args
  if (!Number.isSafeInteger(timeout)) {
    const errors = `json: cannot unmarshal ${typeof timeout} into Go struct field PreheatArgs.args.timeout of type time.Duration`
    throw new Answer(422, { errors })
  }
  if (url === '') throw new Answer(500, { message: 'invalid params: url is required' })
  const [count, percentage, ips] = [args['count'] ?? null, args['percentage'] ?? null, args['ips'] ?? null]
  return {
    type: 'image',
    url,
    urls: null,
    piece_length: args['piece_length'] ?? null,
    tag: args['tag'] ?? '',
    application: args['application'] ?? '',
    filtered_query_params: args['filtered_query_params'] ?? FILTERED_QUERY_PARAMS,
    headers: args['headers'] ?? null,
    username: args['username'] ?? '',
    password: args['password'] ?? '',
    platform: args['platform'] ?? '',
    scope: args['scope'] ?? 'single_seed_peer',
    ips,
    percentage,
    count,
    concurrent_task_count: args['concurrent_task_count'] ?? 8,
    concurrent_peer_count: args['concurrent_peer_count'] ?? 500,
    timeout: timeout === 0 ? 3_600_000_000_000 : timeout,
    object_storage: null,
    hdfs: null,
  }
}

function clusterRow({ id, name }: FakeCluster): unknown {
  return {
    id,
    name,
    bio: '',
    scopes: { idc: '', location: '', cidrs: [], hostnames: [] },
    scheduler_cluster_id: id,
    seed_peer_cluster_id: id,
    scheduler_cluster_config: { candidate_parent_limit: 3, filter_parent_limit: 15, job_rate_limit: 10 },
    is_default: id === 1,
  }
}

/** All four relations always, unquoted; of nothing the last page is 0 and the next 2. */
function paged<T>(url: URL, rows: readonly T[]): { readonly items: readonly T[]; readonly link: string } {
  const page = Number(url.searchParams.get('page') ?? 1)
  const perPage = Number(url.searchParams.get('per_page') ?? 10)
  const last = Math.ceil(rows.length / perPage)
  const at = (n: number, rel: string) => `<${url.pathname}?page=${n}&per_page=${perPage}>;rel=${rel}`
  const next = rows.length === 0 ? 2 : Math.min(page + 1, last)
  const link = [at(Math.max(1, page - 1), 'prev'), at(next, 'next'), at(1, 'first'), at(last, 'last')].join(',')
  return { items: rows.slice((page - 1) * perPage, page * perPage), link }
}

function parse(body: string): Record<string, unknown> | undefined {
  try {
    return record(JSON.parse(body))
  } catch {
    return undefined
  }
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
}

function string(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function bearer(authorization: string | undefined): string | undefined {
  return /^bearer (.+)$/i.exec(authorization ?? '')?.[1]
}

function repositoryOf(url: string): string {
  return /\/v2\/(.+)\/manifests\//.exec(url)?.[1] ?? ''
}

function digestOf(blobUrl: string): string {
  return blobUrl.slice(blobUrl.lastIndexOf('/') + 1)
}

function iso(at: number): string {
  return new Date(at).toISOString()
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
