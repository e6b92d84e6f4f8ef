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

/** Releases that differ in what a client sees; `next` is what was merged after 2.5.1. */
export type ManagerVersion = '2.1.59' | '2.2.5' | '2.3.1' | '2.4.1' | '2.5.1' | 'next'

export interface FakeCluster {
  readonly id: number
  readonly name: string
  /** Has it an active scheduler? Default true. */
  readonly scheduler?: boolean
  /** Default 2. */
  readonly seeds?: number
  /** Clusters of seed peers that belong to it; any number but 1 fails the list of all clusters. Default 1. */
  readonly seedClusters?: number
  /** Default 3. */
  readonly peers?: number
  /** Milliseconds since the epoch; its limiter is there 3 min later. Default: long ago. */
  readonly createdAt?: number
}

/** What becomes of a job in one cluster. */
export type Outcome =
  | { readonly kind: 'complete' }
  /** The last blobs are not fetched. Scope `all_*`: by the last host, which hides what else that host fetched. */
  | { readonly kind: 'partial'; readonly missing: number }
  /** SUCCESS, and nothing is cached or listed. */
  | { readonly kind: 'silent-loss' }
  /** All is told as fetched, and of the last blobs every host has but a half. */
  | { readonly kind: 'half'; readonly blobs: number }
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
  /** Default 2.5.1. */
  readonly version?: ManagerVersion
  /** Default: any. */
  readonly port?: number
  /** Default: {@link TOKEN} with every scope. */
  readonly tokens?: readonly Token[]
  /** Default: id 1, `cluster-1`. */
  readonly clusters?: readonly FakeCluster[]
  /** How long a job really takes; default 0. */
  readonly jobMs?: number
  /** Ages at which the row changes; at the last the manager gives up. Default: as the version does. */
  readonly looksMs?: readonly number[]
  /** Instead: a look every so often up to the real last one. */
  readonly lookEveryMs?: number
  /** `job_rate_limit`; default 10. */
  readonly requestsPerSecond?: number
  /** As real managers do since 2.1.1; default false. */
  readonly refusesLoopback?: boolean
  /** By what nodes name what they pull, whatever the manager does: `digest` is the Helm chart's default. Default `url`. */
  readonly nodeIds?: 'url' | 'digest'
  /** By repository; the others are complete. */
  readonly outcomes?: Readonly<Record<string, Outcome>>
  /** Default the system's. */
  now?(): number
}

/** One POST as it arrived, whatever became of it. */
export interface Post {
  readonly at: number
  /** Its args as sent, without credentials. */
  readonly args: Readonly<Record<string, unknown>>
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
  readonly type: 'preheat' | 'get_task'
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
/** ≤ 2.1.59: every 5 to 10 s, 480 times. */
const OLD_LOOKS_MS = uneven(480, () => [5_000, 10_000])
/** 2.1.60 to 2.3.4: 16 looks, each at least 30 s and at most 30·2^i s, and never 300 s, after the one before. */
const RANDOM_LOOKS_MS = uneven(16, (i) => [30_000, Math.min(30_000 * 2 ** i, 300_000)])

/** What a release knows; each takes over what the one before knew, but for what it names. */
interface Profile {
  readonly looksMs: readonly number[]
  readonly scopes: readonly string[] | undefined
  readonly timeoutNs: number
  /** Args that it has beyond {@link commonArgs}, with their defaults. */
  readonly args: Readonly<Record<string, unknown>>
  /** One entry of `job_states` a scheduler, or one a layer. */
  readonly entry: 'scheduler' | 'layer'
  readonly unknownHost: 'unknown' | 'unknow'
  /** Does `all_peers` reach seeds as well? */
  readonly peersAreSeedsToo: boolean
  readonly hasPing: boolean
  readonly hasLimiter: boolean
  /** Only that the token is there. */
  readonly checksTokens: boolean
  /** `?access_token=`, and "bearer" in any case. */
  readonly lenientBearer: boolean
  readonly getTask: {
    readonly byUrl: boolean
    readonly sees: 'memory' | 'presence' | 'IsFinished'
    readonly args: Readonly<Record<string, unknown>>
  }
  readonly missing: string
}

const BY_DIGEST = 'enable_task_id_based_blob_digest'
const LATEST_ARGS = { ips: null, concurrent_task_count: 8, concurrent_peer_count: 500 }
const SELECTING_ARGS = { urls: null, piece_length: null, application: '', count: null, percentage: null }
const GET_TASK_ARGS = {
  url: '',
  tag: '',
  application: '',
  filtered_query_params: FILTERED_QUERY_PARAMS,
  piece_length: null,
}
const V2_3_1: Profile = {
  looksMs: RANDOM_LOOKS_MS,
  scopes: undefined,
  timeoutNs: 3_600_000_000_000,
  args: { ...SELECTING_ARGS, ...LATEST_ARGS },
  entry: 'scheduler',
  unknownHost: 'unknow',
  peersAreSeedsToo: false,
  hasPing: true,
  hasLimiter: true,
  checksTokens: true,
  lenientBearer: true,
  getTask: {
    byUrl: true,
    sees: 'presence',
    args: { ...GET_TASK_ARGS, content_for_calculating_task_id: null, concurrent_peer_count: 500, timeout: 0 },
  },
  missing: 'record not found',
}
const V2_4_1: Profile = {
  ...V2_3_1,
  looksMs: REAL_LOOKS_MS,
  hasPing: false,
  getTask: { ...V2_3_1.getTask, sees: 'IsFinished' },
}
const V2_5_1: Profile = {
  ...V2_4_1,
  args: { ...V2_4_1.args, object_storage: null, hdfs: null },
  unknownHost: 'unknown',
}
const V2_2_5: Profile = {
  ...V2_3_1,
  timeoutNs: 1_800_000_000_000,
  args: { ...SELECTING_ARGS, content_for_calculating_task_id: null, load_to_cache: false, concurrent_count: 50 },
  entry: 'layer',
  peersAreSeedsToo: true,
  lenientBearer: false,
  getTask: { byUrl: true, sees: 'memory', args: { ...GET_TASK_ARGS, content_for_calculating_task_id: null } },
}
const PROFILES: Readonly<Record<ManagerVersion, Profile>> = {
  '2.1.59': {
    ...V2_2_5,
    looksMs: OLD_LOOKS_MS,
    scopes: ['single_peer', 'all_peers'],
    args: { concurrent_count: 50 },
    hasLimiter: false,
    checksTokens: false,
    getTask: { byUrl: false, sees: 'memory', args: {} },
    missing: 'Not Found',
  },
  '2.2.5': V2_2_5,
  '2.3.1': V2_3_1,
  '2.4.1': V2_4_1,
  '2.5.1': V2_5_1,
  // The contract leaves the default open; the issue behind it asked for true.
  next: { ...V2_5_1, args: { ...V2_5_1.args, [BY_DIGEST]: true } },
}

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
 * The manager of Dragonfly as contracts/dragonfly.md §8 tells it, in several releases, as far as preheats and looks at
 * caches need it, over real sockets.
 * It reads manifests from the registry that it is told, and "fetches" nothing. It knows no username and password and
 * asks no token service: preheatd sends `headers.Authorization` or nothing.
 */
export class FakeDragonfly implements AsyncDisposable {
  /** Every POST of a preheat as it arrived, in order. */
  readonly posts: Post[] = []
  /** Every POST of a get_task likewise. */
  readonly probes: Post[] = []
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
  /** Told of each POST of a preheat as it arrives, before anything becomes of it. */
  onPost: (post: Post) => void = () => undefined

  /** The limiter's own list, which it reads every few minutes; undefined: it has just read it. */
  limited: readonly FakeCluster[] | undefined
  /** Does the limiter's Redis fail? Then it refuses everything that names a cluster. */
  redisFails = false

  readonly #options: DragonflyOptions
  readonly #profile: Profile
  readonly #looksMs: readonly number[]
  readonly #server: Server
  readonly #fullAt = new Map<number, number>()
  readonly #jobs = new Map<number, FakeJob>()
  readonly #lostJobs: FakeJob[] = []
  readonly #evicted = new Set<string>()
  readonly #pulled = new Set<string>()
  #lastId = 0
  #postsNow = 0

  private constructor(options: DragonflyOptions) {
    this.#options = options
    this.#profile = PROFILES[options.version ?? '2.5.1']
    this.tokens = options.tokens ?? [{ token: TOKEN }]
    this.clusters = options.clusters ?? [{ id: 1, name: 'cluster-1' }]
    this.outcome = (url) => options.outcomes?.[repositoryOf(url)] ?? { kind: 'complete' }
    const everyMs = options.lookEveryMs
    this.#looksMs =
      options.looksMs ??
      (everyMs === undefined
        ? this.#profile.looksMs
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

  /** Has a preheat of a file as a POST would have brought it, but by the thousand. @returns its id */
  async take(bio: string, url: string): Promise<number> {
    const job = await this.#create(JSON.stringify({ type: 'preheat', args: { type: 'file', url } }), { bio })
    return job.id
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

  /** Every host loses these blobs, as by its disk's limit. */
  evict(...digests: readonly string[]): void {
    for (const digest of digests) this.#evicted.add(digest)
  }

  /** A node of every cluster pulls these, through a seed: both hold them, under the ids that nodes use. */
  pull(...urls: readonly string[]): void {
    for (const url of urls) this.#pulled.add(url)
  }

  /**
   * The truth, whatever rows say: digests of the blobs, and last parts of the files, that a cluster really holds, wholly
   * or on some host.
   * @param at of what was preheated by then
   */
  cached(cluster: number, at = this.#now()): Set<string> {
    return new Set(this.#holdings(cluster, at).flatMap(({ url, isWhole }) => (isWhole ? [digestOf(url)] : [])))
  }

  #holdings(cluster: number, at = this.#now()): Holding[] {
    const preheated = [...this.#lostJobs, ...this.#jobs.values()].flatMap((job) => {
      if (job.type !== 'preheat' || at < job.createdAt + this.#jobMs) return []
      const inCluster = job.targets.filter((target) => target.cluster.id === cluster)
      return inCluster.flatMap((target) => holdings(job, target.cluster, target.outcome, this.#profile))
    })
    const nodes = this.clusters.filter(({ id }) => id === cluster)
    const pulled = nodes.flatMap((one) => [...this.#pulled].flatMap((url) => this.#pulledBy(one, url)))
    return [...preheated, ...pulled].filter(({ url }) => !this.#evicted.has(digestOf(url)))
  }

  #pulledBy(cluster: FakeCluster, url: string): Holding[] {
    const taskId = taskIdOf(url, { [BY_DIGEST]: this.#options.nodeIds === 'digest' })
    const seeds = hosts(cluster, 'seed')
    const through = seeds.length === 0 ? [] : [seedFor(url, seeds)]
    return [...hosts(cluster, 'peer').slice(0, 1), ...through].map((host) => ({ url, host, isWhole: true, taskId }))
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
    if (method === 'GET' && url.pathname === '/_ping' && this.#profile.hasPing) return new Answer(200, '"OK"')
    const isRemoval = method === 'DELETE' && resource === 'jobs' && id !== undefined
    if (resource === '' || (method !== 'GET' && post === undefined && !isRemoval))
      throw new Answer(301, '', { location: '/' })
    this.#authenticate(
      (this.#profile.lenientBearer ? url.searchParams.get('access_token') : null) ??
        bearer(authorization, this.#profile.lenientBearer),
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
    if (isRemoval) return this.#remove(Number(id))
    const found = resource === 'jobs' ? this.#jobPages(id, url) : this.#clusterPages(id, url)
    return found ?? new Answer(404, { message: this.#profile.missing })
  }

  /** The row goes, and what the job does goes on. */
  #remove(id: number): Answer {
    const job = this.#jobs.get(id)
    if (job === undefined) return new Answer(404, { message: this.#profile.missing })
    this.#lostJobs.push(job)
    this.#jobs.delete(id)
    return new Answer(200, '', {})
  }

  #note(body: string): Post {
    const sent = parse(body)
    const args = record(sent?.['args'])
    const { headers, password, ...open } = args ?? {}
    const post: Post = {
      at: this.#now(),
      args: open,
      url: string(args?.['url']),
      bio: string(sent?.['bio']),
      clusterIds: Array.isArray(sent?.['scheduler_cluster_ids'])
        ? (sent['scheduler_cluster_ids'] as number[])
        : undefined,
      withAuthorization: record(headers)?.['Authorization'] !== undefined,
      status: undefined,
      jobId: undefined,
    }
    if (sent?.['type'] === 'get_task') this.probes.push(post)
    else {
      this.posts.push(post)
      this.onPost(post)
    }
    return post
  }

  #authenticate(token: string | undefined, scope: string): void {
    const known = this.tokens.find((one) => one.token === token)
    if (known === undefined) throw new Answer(401, { message: 'Unauthorized' })
    if (!this.#profile.checksTokens) return
    if (known.state === 'inactive') throw new Answer(403, { message: 'Token is inactive' })
    if (known.expiresAt !== undefined && known.expiresAt <= this.#now())
      throw new Answer(403, { message: 'Token has expired' })
    if (known.scopes !== undefined && known.scopes.length > 0 && !known.scopes.includes(scope)) {
      const message = `Token doesn't have permission to access this resource. Required permission: ${scope}`
      throw new Answer(403, { message })
    }
  }

  /** The order of the steps is the manager's. */
  async #create(body: string, post: Pick<Post, 'bio'>): Promise<FakeJob> {
    const sent = parse(body)
    const ids = sent?.['scheduler_cluster_ids'] ?? null
    const unbound = envelopeFault(body, sent, ids)
    // The limiter answers and does not stop; the handler answers again.
    if (unbound !== undefined)
      throw new Answer(422, JSON.stringify({ errors: unbound }).repeat(this.#profile.hasLimiter ? 2 : 1))
    const clusterIds = (ids as number[] | null) ?? []
    if (this.#profile.hasLimiter) for (const id of clusterIds) this.#limit(id)
    const type = sent!['type']
    if (type !== 'preheat' && type !== 'get_task') throw new Answer(422, { errors: 'Unknow type' })
    const args =
      type === 'preheat'
        ? preheatArgs(record(sent!['args']), this.#profile)
        : getTaskArgs(record(sent!['args']), this.#profile)
    const targets = this.#targets(clusterIds, type)
    const blobs = type !== 'preheat' ? [] : args['type'] === 'file' ? filesOf(args) : await this.#resolve(args)
    const bio = post.bio ?? ''
    if (bio.length > 1024) throw new Answer(500, { message: 'Internal Server Error' })
    const job: FakeJob = {
      id: ++this.#lastId,
      type,
      createdAt: this.#now(),
      bio,
      args,
      blobs,
      targets: targets.map((cluster) => ({
        cluster,
        outcome: type === 'preheat' ? this.outcome(args['url'] as string, cluster.id) : { kind: 'complete' },
      })),
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
    const cluster = (this.limited ?? this.clusters).find((one) => one.id === id)
    const isKnown = cluster !== undefined && now >= (cluster.createdAt ?? -Infinity) + 180_000
    if (!isKnown || this.redisFails || fullAt - now > intervalMs * perSecond + 0.001)
      throw new Answer(429, 'rate limit exceeded', { 'content-type': 'text/plain; charset=utf-8' })
    this.#fullAt.set(id, fullAt)
  }

  /** Clusters without a scheduler are left out, as long as there are others. */
  #targets(ids: readonly number[], type: FakeJob['type']): FakeCluster[] {
    const unknown = ids.find((id) => !this.clusters.some((cluster) => cluster.id === id))
    if (unknown !== undefined) {
      const { missing, hasLimiter } = this.#profile
      throw new Answer(404, { message: hasLimiter ? `scheduler cluster id ${unknown}: ${missing}` : missing })
    }
    const wanted = this.clusters.filter(({ id }) => ids.length === 0 || ids.includes(id))
    const found = wanted.filter(({ scheduler }) => scheduler !== false)
    if (found.length > 0) return found
    throw new Answer(500, { message: `${type === 'preheat' ? 'candidate' : 'active'} schedulers not found` })
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
      .filter((job) => (state === null || this.#look(job).state === state) && (type === null || type === job.type))
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
    if (page.items.some(({ seedClusters = 1 }) => seedClusters !== 1))
      throw new Answer(500, { message: 'invalid number of the seed peer cluster' })
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
      type: job.type,
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
    const entries = job.targets.flatMap((target): Told[] => {
      // Nobody fetches anything for a get_task: it ends at once.
      const ended = job.type === 'get_task' || (ageMs >= this.#jobMs && target.outcome.kind !== 'endless')
      if (!ended) return [{ state: 'STARTED', error: '', results: null }]
      if (job.type === 'get_task') return [this.#peersOf(job, target.cluster)]
      return told(job, target.cluster, target.outcome, this.#profile)
    })
    const states = entries.map((entry, index) => ({
      task_uuid: `task_${job.id}_${index}`,
      task_name: job.type,
      created_at: iso(job.createdAt),
      ttl: 0,
      ...entry,
    }))
    const failed = states.some(({ state }) => state === 'FAILURE')
    const state = failed ? 'FAILURE' : states.every((one) => one.state === 'SUCCESS') ? 'SUCCESS' : 'PENDING'
    const at = job.createdAt + ageMs
    const times = { created_at: iso(job.createdAt), updated_at: iso(at) }
    return { state, at, result: { group_uuid: `group_${job.id}`, state, ...times, job_states: states } }
  }

  /** Who has the blob that a get_task names, as this release tells it. */
  #peersOf(job: FakeJob, cluster: FakeCluster): Told {
    const { args } = job
    const named =
      args['url'] === '' || args['url'] === undefined ? args['task_id'] : taskIdOf(args['url'] as string, args)
    const found = new Map<string, Host & { readonly isWhole: boolean }>()
    for (const { host, isWhole, taskId } of this.#holdings(cluster.id)) {
      if (taskId !== named) continue
      const known = found.get(host.hostname)
      found.set(host.hostname, { ...host, isWhole: isWhole || known?.isWhole === true })
    }
    const { sees } = this.#profile.getTask
    const peers = [...found.values()].map(({ hostname, ip, isWhole }) => ({
      id: `${ip}-${hostname}`,
      hostname,
      ip,
      host_type: hostname.startsWith('seed') ? 'super' : 'normal',
      created_at: iso(job.createdAt),
      updated_at: iso(job.createdAt),
      ...(sees === 'IsFinished' && { IsFinished: isWhole }),
    }))
    const results = [{ scheduler_cluster_id: cluster.id, peers: peers.length === 0 ? null : peers }]
    return { state: 'SUCCESS', error: '', results }
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

/** A blob on a host. */
interface Holding {
  readonly url: string
  readonly host: Host
  readonly isWhole: boolean
  readonly taskId: string
}

/** Entries of `job_states` for a cluster that has ended: one, or before 2.3.1 one a layer. */
function told(job: FakeJob, cluster: FakeCluster, outcome: Outcome, profile: Profile): Told[] {
  if (profile.entry === 'scheduler') return [toldBlobs(job, job.blobs, cluster, outcome, profile)]
  return job.blobs.map((url): Told => {
    if (outcome.kind === 'silent-loss' || (outcome.kind === 'partial' && !fetched(job.blobs, outcome).includes(url)))
      return { state: 'FAILURE', error: `download ${url}: 401 Unauthorized`, results: null }
    return toldBlobs(job, [url], cluster, outcome.kind === 'partial' ? { kind: 'complete' } : outcome, profile)
  })
}

function toldBlobs(
  job: FakeJob,
  blobs: readonly string[],
  cluster: FakeCluster,
  outcome: Outcome,
  profile: Profile,
): Told {
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
  const missing = new Set(outcome.kind === 'partial' ? blobs.slice(-outcome.missing) : [])
  const unknown = { hostname: profile.unknownHost, ip: profile.unknownHost }
  const isSingle = job.args['scope'] !== 'all_seed_peers' && job.args['scope'] !== 'all_peers'
  const chosen = chosenHosts(job, cluster, profile)
  if (isSingle) {
    if (chosen.length === 0) return failure(`cluster ${cluster.id} scheduler 10.0.0.2 no available seed peer`)
    const listed = outcome.kind === 'half' ? blobs : fetched(blobs, outcome)
    const done = listed.map((url) => ({ url, ...(outcome.kind === 'repeat' ? unknown : seedFor(url, chosen)) }))
    return success(done, [])
  }
  if (chosen.length === 0) {
    const ips = job.args['ips'] as readonly string[] | null | undefined
    const [kind, none] =
      job.args['scope'] === 'all_peers'
        ? ['peer', `[preheat]: cluster ${cluster.id} scheduler 10.0.0.2 has no available peer`]
        : ['seed peer', `cluster ${cluster.id} scheduler 10.0.0.2 no available seed peer`]
    return failure(ips === null || ips === undefined ? none : `no ${kind} found for ips [${ips.join(' ')}]`)
  }
  const bad = missing.size > 0 ? chosen.at(-1)! : undefined
  // One failure hides every success of the same address.
  const done = blobs.flatMap((url) =>
    outcome.kind === 'silent-loss' ? [] : chosen.filter((host) => host !== bad).map((host) => ({ url, ...host })),
  )
  const description = 'task failed: rpc error: code = Internal desc = 401 Unauthorized'
  const failed = bad === undefined ? [] : [...missing].map((url) => ({ url, ...bad, description }))
  if (done.length > 0) return success(done, failed)
  const host = bad ?? chosen[0]!
  return failure(`all peers preheat failed: group_${job.id} task_${job.id} ${host.ip} ${host.hostname} ${description}`)
}

/** Whom a job reaches: `ips` before `count` before `percentage`; for a single seed peer those among which it is chosen. */
function chosenHosts({ args }: FakeJob, cluster: FakeCluster, { peersAreSeedsToo }: Profile): readonly Host[] {
  const seeds = hosts(cluster, 'seed')
  if (args['scope'] !== 'all_seed_peers' && args['scope'] !== 'all_peers') return seeds
  const all =
    args['scope'] === 'all_seed_peers' ? seeds : [...(peersAreSeedsToo ? seeds : []), ...hosts(cluster, 'peer')]
  const [ips, count, percentage] = [args['ips'], args['count'], args['percentage']]
  if (Array.isArray(ips)) return all.filter(({ ip }) => ips.includes(ip))
  if (typeof count === 'number') return all.slice(0, count)
  return typeof percentage === 'number' ? all.slice(0, Math.max(1, Math.floor((all.length * percentage) / 100))) : all
}

/** By consistent hash of the blob. */
function seedFor(url: string, seeds: readonly Host[]): Host {
  return seeds[Number.parseInt(sha256(digestOf(url)).slice(0, 8), 16) % seeds.length]!
}

/** What is on which host when the job is over. */
function holdings(job: FakeJob, cluster: FakeCluster, outcome: Outcome, profile: Profile): Holding[] {
  const chosen = chosenHosts(job, cluster, profile)
  const isSingle = job.args['scope'] !== 'all_seed_peers' && job.args['scope'] !== 'all_peers'
  const whole = new Set(fetched(job.blobs, outcome))
  return job.blobs.flatMap((url) => {
    if (chosen.length === 0 || (!whole.has(url) && outcome.kind !== 'half' && outcome.kind !== 'partial')) return []
    const taskId = taskIdOf(url, job.args)
    if (isSingle) {
      const isWhole = whole.has(url)
      return isWhole || outcome.kind === 'half' ? [{ url, host: seedFor(url, chosen), isWhole, taskId }] : []
    }
    // A blob that is short is short on the last host alone.
    const having = whole.has(url) || outcome.kind === 'half' ? chosen : chosen.slice(0, -1)
    return having.map((host) => ({ url, host, isWhole: whole.has(url) || outcome.kind === 'partial', taskId }))
  })
}

/** As contracts/dragonfly.md §1.5 tells it since 2.2.3; by digest where the flag is there and set. */
export function taskIdOf(url: string, args: Readonly<Record<string, unknown>>): string {
  // Only of a URL that ends in the digest of a blob: a file’s id is made of its URL whatever the flag says.
  if (args[BY_DIGEST] === true && /\/blobs\/sha256:/.test(url)) return digestOf(url).replace(/^sha256:/, '')
  const piece = typeof args['piece_length'] === 'number' ? `${args['piece_length']}` : ''
  return sha256(
    `${filtered(url, args['filtered_query_params'])}${(args['tag'] as string | undefined) ?? ''}${(args['application'] as string | undefined) ?? ''}${piece}STANDARD`,
  )
}

/** Without the query parameters that signatures and mirrors add. */
function filtered(url: string, names: unknown): string {
  const left = new URL(url)
  if (left.search === '') return url
  for (const name of (string(names) ?? FILTERED_QUERY_PARAMS).split('&')) left.searchParams.delete(name)
  left.searchParams.sort()
  return left.href
}

/** What some host of the cluster really holds wholly when the job is over. */
function fetched(blobs: readonly string[], outcome: Outcome): readonly string[] {
  switch (outcome.kind) {
    case 'complete':
    case 'repeat':
    case 'stuck':
      return blobs
    case 'partial':
      return blobs.slice(0, -outcome.missing)
    case 'half':
      return blobs.slice(0, -outcome.blobs)
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

/** A manager dials none of them (contracts/dragonfly.md §1.2, §1.4). */
function filesOf({ urls, url }: Readonly<Record<string, unknown>>): string[] {
  return [...(Array.isArray(urls) ? (urls as string[]) : []), ...(typeof url === 'string' && url !== '' ? [url] : [])]
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
function preheatArgs(args: Record<string, unknown> | undefined, profile: Profile): Record<string, unknown> {
  // Args that are empty are not validated.
  if (args === undefined || Object.keys(args).length === 0) throw new Answer(500, { message: 'unknown preheat type' })
  const invalid = (field: string, tag: string) => {
    const errors = `Key: 'CreatePreheatJobRequest.Args.${field}' Error:Field validation for '${field}' failed on the '${tag}' tag`
    return new Answer(422, { errors })
  }
  if (args['type'] !== 'image' && args['type'] !== 'file') throw invalid('Type', 'oneof')
  const { timeout = 0, url = '' } = args
  const scope = (args['scope'] as string | undefined) ?? ''
  if (profile.scopes !== undefined && scope !== '' && !profile.scopes.includes(scope)) throw invalid('Scope', 'oneof')
  if (!Number.isSafeInteger(timeout)) {
    const errors = `json: cannot unmarshal ${typeof timeout} into Go struct field PreheatArgs.args.timeout of type time.Duration`
    throw new Answer(422, { errors })
  }
  const ranges = [
    ['piece_length', 'PieceLength', 4_194_304, 67_108_864],
    ['count', 'Count', 1, 200],
    ['percentage', 'Percentage', 1, 100],
    ['concurrent_task_count', 'ConcurrentTaskCount', 1, 100],
    ['concurrent_peer_count', 'ConcurrentPeerCount', 1, 1000],
  ] as const
  for (const [key, field, least, most] of ranges) {
    const value = key in profile.args ? args[key] : undefined
    // Zero is no value where the field is no pointer.
    if (typeof value !== 'number' || (value === 0 && key.startsWith('concurrent'))) continue
    if (value < least) throw invalid(field, 'gte')
    if (value > most) throw invalid(field, 'lte')
  }
  const ips = 'ips' in profile.args && Array.isArray(args['ips']) ? args['ips'].length : 1
  if (ips < 1) throw invalid('IPs', 'gte')
  if (ips > 100) throw invalid('IPs', 'lte')
  const isFile = args['type'] === 'file'
  if (url === '' && !(isFile && filesOf(args).length > 0)) {
    throw new Answer(500, { message: `invalid params: ${isFile ? 'url or urls' : 'url'} is required` })
  }
  return {
    type: args['type'],
    url,
    tag: args['tag'] ?? '',
    filtered_query_params: args['filtered_query_params'] || FILTERED_QUERY_PARAMS,
    headers: args['headers'] ?? null,
    username: args['username'] ?? '',
    password: args['password'] ?? '',
    platform: args['platform'] ?? '',
    scope: scope === '' ? (profile.scopes?.[0] ?? 'single_seed_peer') : scope,
    timeout: timeout === 0 ? profile.timeoutNs : timeout,
    ...known(args, profile.args),
  }
}

function getTaskArgs(args: Record<string, unknown> | undefined, { getTask }: Profile): Record<string, unknown> {
  const { task_id: taskId = '', url = '' } = args ?? {}
  if (taskId === '' && !getTask.byUrl) {
    const errors =
      "Key: 'CreateGetTaskJobRequest.Args.TaskID' Error:Field validation for 'TaskID' failed on the 'required' tag"
    throw new Answer(422, { errors })
  }
  if (taskId === '' && url === '') {
    throw new Answer(422, { errors: 'invalid params: task_id, content_for_calculating_task_id or url is required' })
  }
  return { task_id: taskId, ...known(args ?? {}, getTask.args) }
}

/** What was sent of these, and the defaults of the others. */
function known(args: Record<string, unknown>, defaults: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(defaults).map(([key, value]) => [key, args[key] ?? value]))
}

/** Ages of so many looks; the same at every start, and uneven. */
function uneven(looks: number, between: (i: number) => readonly [number, number]): number[] {
  const ages = [0]
  for (let i = 1; i < looks; i += 1) {
    const [least, most] = between(i)
    ages.push(Math.round(ages.at(-1)! + least + (most - least) * ((i * 0.6180339887498949) % 1)))
  }
  return ages
}

function clusterRow({ id, name, createdAt }: FakeCluster): unknown {
  return {
    id,
    name,
    created_at: iso(createdAt ?? 0),
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
  const number = (key: string, byDefault: number, most: number): number => {
    const given = url.searchParams.get(key) ?? `${byDefault}`
    if (!/^\d+$/.test(given)) throw new Answer(422, { errors: `strconv.ParseInt: parsing "${given}": invalid syntax` })
    if (Number(given) >= 1 && Number(given) <= most) return Number(given)
    throw new Answer(422, {
      errors: `Field validation for '${key}' failed on the '${given === '0' ? 'gte' : 'lte'}' tag`,
    })
  }
  const page = number('page', 1, Infinity)
  const perPage = number('per_page', 10, 10_000_000)
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

function bearer(authorization: string | undefined, isLenient: boolean): string | undefined {
  return (isLenient ? /^bearer (.+)$/i : /^Bearer (.+)$/).exec(authorization ?? '')?.[1]
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
