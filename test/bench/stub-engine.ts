import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as nap } from 'node:timers/promises'
import { artifactsOf, type BenchArtifact } from './artifacts.ts'
import { faultsOf, latencyMs, randomOf, type Fault } from './seeded.ts'
import { listenAsStub, mintedAt } from './stub.ts'

/** What an engine of the bench is; all times as they are on the wall, already divided by the scale. */
export interface EngineOptions {
  readonly n: number
  readonly seed: number
  /** How long a job really takes. */
  readonly jobMs: number
  /** Ages at which a row is rewritten; undefined: it is true at once. */
  readonly visibilityMs: readonly number[] | undefined
  /** POSTs a second and cluster; undefined: any number. */
  readonly perSecond: number | undefined
  /** By how much the latency of POSTs is divided; undefined: there is none. */
  readonly latencyScale: number | undefined
  /** How old a pull token may be at the end of the pull; undefined: no token is wanted. */
  readonly tokenLifeMs: number | undefined
  readonly faults: { readonly share: number; readonly kinds: readonly Fault[] } | undefined
}

/** A line of the engine's log, in the order in which things happened. `at` is monotonic, in milliseconds since the epoch. */
export type EngineEvent =
  /** `index` is the artifact's; -1 for none that exists. */
  | { readonly kind: 'post'; readonly at: number; readonly index: number; readonly status: number }
  | { readonly kind: 'get'; readonly at: number }
  | { readonly kind: 'list'; readonly at: number }
  | { readonly kind: 'probe'; readonly at: number }
  | { readonly kind: 'health'; readonly at: number }
  /** A client was shown for the first time how a job ended. */
  | { readonly kind: 'told'; readonly at: number; readonly index: number; readonly end: End }

/** `SUCCESS`, `FAILURE`, that its pull token was dead, or that there is no such row any more. */
export type End = 'success' | 'failure' | 'expired' | 'gone'

interface Job {
  readonly id: number
  readonly index: number
  readonly createdAt: number
  readonly bio: string
  readonly args: Readonly<Record<string, unknown>>
  /** Of a question for a blob; a preheat has none. */
  readonly peers: readonly unknown[] | undefined
  readonly type: string
  isExpired: boolean
  told: boolean
}

const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' }
const CLUSTER = { id: 1, name: 'cluster-1' }
const HOST = { hostname: 'seed-1', ip: '10.1.0.1' }
// A manager 2.5.1 echoes every field that it knows (contracts/dragonfly.md §3.4).
const DEFAULT_ARGS = {
  type: 'image',
  url: '',
  urls: null,
  piece_length: null,
  tag: '',
  application: '',
  filtered_query_params: 'X-Amz-Algorithm&X-Amz-Credential&X-Amz-Date&X-Amz-Expires&X-Amz-Signature&ns',
  headers: null,
  username: '',
  password: '',
  platform: '',
  scope: 'single_seed_peer',
  ips: null,
  percentage: null,
  count: null,
  concurrent_task_count: 8,
  concurrent_peer_count: 500,
  timeout: 3_600_000_000_000,
  object_storage: null,
  hdfs: null,
}

/** A Dragonfly manager that reads no manifest: it knows what the registry of the bench holds. */
class StubEngine {
  readonly log: EngineEvent[] = []
  readonly #options: EngineOptions
  readonly #artifacts: readonly BenchArtifact[]
  readonly #byDigest: ReadonlyMap<string, number>
  readonly #byBlob: ReadonlyMap<string, number>
  readonly #faults: ReadonlyMap<number, Fault>
  readonly #random: () => number
  /** By position: id - 1. */
  readonly #jobs: Job[] = []
  #fullAt = 0

  constructor(options: EngineOptions) {
    this.#options = options
    this.#artifacts = artifactsOf(options.n)
    this.#byDigest = new Map(this.#artifacts.map(({ digest }, index) => [digest, index]))
    this.#byBlob = new Map(this.#artifacts.flatMap(({ blobs }, index) => blobs.map((blob) => [blob, index] as const)))
    const { seed, n, faults } = options
    this.#faults = faultsOf(seed, n, faults?.share ?? 0, faults?.kinds ?? [])
    this.#random = randomOf(seed + 1)
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = '', query = ''] = (request.url ?? '').split('?')
    const id = /^\/oapi\/v1\/jobs\/(\d+)$/.exec(path)?.[1]
    if (request.method === 'POST') {
      await this.#post(JSON.parse(await text(request)) as Sent, response)
    } else if (id !== undefined) {
      this.#note('get')
      const job = this.#jobs[Number(id) - 1]
      if (job === undefined || this.#isGone(job)) answer(response, 404, { message: 'record not found' })
      else answer(response, 200, this.#row(job, [CLUSTER]))
    } else if (path === '/oapi/v1/jobs') {
      this.#note('list')
      this.#list(new URLSearchParams(query), response)
    } else if (path === '/oapi/v1/clusters') {
      const row = { ...CLUSTER, bio: '', scheduler_cluster_config: { job_rate_limit: 10 }, is_default: true }
      answer(response, 200, [row])
    } else {
      this.#note('health')
      answer(response, path === '/healthy' ? 200 : 404, 'OK')
    }
  }

  async #post({ type, bio = '', args, scheduler_cluster_ids: clusters }: Sent, response: ServerResponse) {
    if (type !== 'preheat') {
      this.#note('probe')
      if (type === 'get_image_distribution') answer(response, 200, this.#distribution(args))
      else answer(response, 200, this.#row(this.#create(-1, type, bio, args, this.#peersOf(args)), [CLUSTER]))
      return
    }
    const index = this.#byDigest.get(/sha256:[0-9a-f]{64}$/.exec(String(args['url']))?.[0] ?? '') ?? -1
    const at = now()
    const refuse = (status: number, body: unknown) => {
      this.log.push({ kind: 'post', at, index, status })
      answer(response, status, body)
    }
    // A manager limits by cluster, and not at all where none is named.
    if (clusters !== undefined && !this.#takeTurn()) {
      refuse(429, 'rate limit exceeded')
      return
    }
    const { latencyScale, tokenLifeMs } = this.#options
    if (latencyScale !== undefined) await nap(latencyMs(this.#random) / latencyScale)
    if (index < 0) {
      refuse(500, { message: 'manifest unknown: manifest unknown' })
      return
    }
    const job = this.#create(index, type, bio, args, undefined)
    if (tokenLifeMs !== undefined) this.#pullLater(job, tokenLifeMs)
    this.log.push({ kind: 'post', at, index, status: 200 })
    answer(response, 200, this.#row(job, [CLUSTER]))
  }

  #create(
    index: number,
    type: string,
    bio: string,
    args: Readonly<Record<string, unknown>>,
    peers: readonly unknown[] | undefined,
  ): Job {
    const id = this.#jobs.length + 1
    const same = { id, index, type, bio, peers, args: { ...DEFAULT_ARGS, ...args } }
    const job = { ...same, createdAt: now(), isExpired: false, told: false }
    this.#jobs.push(job)
    return job
  }

  /** The last blob is asked for at the end of the job, with the token that came with it. */
  #pullLater(job: Job, tokenLifeMs: number): void {
    const authorization = (job.args['headers'] as Record<string, string> | null)?.['Authorization'] ?? ''
    const expiresAt = (mintedAt(authorization) ?? -Infinity) + tokenLifeMs
    job.isExpired = Date.now() + this.#options.jobMs > expiresAt
  }

  /** GCRA with a burst of one second's worth. */
  #takeTurn(): boolean {
    const { perSecond } = this.#options
    if (perSecond === undefined) return true
    const at = now()
    const fullAt = Math.max(this.#fullAt, at) + 1000 / perSecond
    if (fullAt - at > 1000.001) return false
    this.#fullAt = fullAt
    return true
  }

  #list(query: URLSearchParams, response: ServerResponse): void {
    const [page, perPage] = [Number(query.get('page') ?? 1), Number(query.get('per_page') ?? 10)]
    const state = query.get('state')
    const type = query.get('type')
    const rows: unknown[] = []
    let before = (page - 1) * perPage
    for (let i = this.#jobs.length - 1; i >= 0 && rows.length < perPage; i--) {
      const job = this.#jobs[i]!
      if (this.#isGone(job) || (type !== null && job.type !== type)) continue
      if (state !== null && this.#stateOf(job) !== state) continue
      if (before-- <= 0) rows.push(this.#row(job, null))
    }
    answer(response, 200, rows)
  }

  #ageMs(job: Job): number {
    return now() - job.createdAt
  }

  /** Does the row show the end? */
  #hasEnded(job: Job): boolean {
    const { jobMs, visibilityMs } = this.#options
    const age = this.#ageMs(job)
    return visibilityMs === undefined ? age >= jobMs : visibilityMs.some((look) => look >= jobMs && look <= age)
  }

  #isGone(job: Job): boolean {
    const gone = this.#faults.get(job.index) === 'gone' && this.#hasEnded(job)
    if (gone) this.#tell(job, 'gone')
    return gone
  }

  #stateOf(job: Job): 'PENDING' | 'SUCCESS' | 'FAILURE' {
    if (this.#faults.get(job.index) === 'stuck' || !this.#hasEnded(job)) return 'PENDING'
    return job.isExpired ? 'FAILURE' : 'SUCCESS'
  }

  #row(job: Job, clusters: readonly unknown[] | null): unknown {
    const state = this.#stateOf(job)
    if (state !== 'PENDING') {
      this.#tell(job, job.isExpired ? 'expired' : state === 'SUCCESS' ? 'success' : 'failure')
    }
    return {
      id: job.id,
      created_at: new Date(job.createdAt).toISOString(),
      updated_at: new Date(job.createdAt).toISOString(),
      is_del: 0,
      task_id: `group_${job.id}`,
      bio: job.bio,
      type: job.type,
      state,
      args: job.args,
      result: state === 'PENDING' ? null : this.#result(job, state),
      user_id: 0,
      user: { id: 0, name: '', state: '' },
      seed_peer_clusters: null,
      scheduler_clusters: clusters,
    }
  }

  #result(job: Job, state: string): unknown {
    const one = { task_uuid: `task_${job.id}`, task_name: job.type, ttl: 0, state }
    const failed = { ...one, error: 'rpc error: code = Internal desc = 401 Unauthorized', results: null }
    const results =
      job.peers === undefined
        ? [{ scheduler_cluster_id: 1, success_tasks: this.#successTasks(job), failure_tasks: null }]
        : [{ scheduler_cluster_id: 1, peers: job.peers.length === 0 ? null : job.peers }]
    const states = [job.isExpired ? failed : { ...one, error: '', results }]
    return { group_uuid: `group_${job.id}`, state, job_states: states }
  }

  #successTasks(job: Job): unknown[] | null {
    const base = String(job.args['url']).replace(/\/manifests\/.*/, '/blobs/')
    const held = this.#heldOf(job.index)
    return held.length === 0 ? null : held.map((blob) => ({ url: base + blob, ...HOST }))
  }

  /** The truth of an artifact whose job has ended. */
  #heldOf(index: number): readonly string[] {
    const { blobs } = this.#artifacts[index]!
    const fault = this.#faults.get(index)
    return fault === undefined ? blobs : fault === 'partial' ? blobs.slice(0, -1) : []
  }

  #peersOf(args: Readonly<Record<string, unknown>>): unknown[] {
    const hex = /[0-9a-f]{64}$/.exec(String(args['url'] ?? args['task_id']))?.[0] ?? ''
    const index = this.#byBlob.get(`sha256:${hex}`)
    if (index === undefined || !this.#heldOf(index).includes(`sha256:${hex}`)) return []
    return [{ id: 'seed-1', ...HOST, host_type: 'super', created_at: '', updated_at: '', IsFinished: true }]
  }

  #distribution(args: Readonly<Record<string, unknown>>): unknown {
    const url = String(args['url'])
    const index = this.#byDigest.get(/sha256:[0-9a-f]{64}$/.exec(url)?.[0] ?? '')
    const urls = (blobs: readonly string[]) =>
      blobs.map((one) => ({ url: url.replace(/\/manifests\/.*/, `/blobs/${one}`) }))
    if (index === undefined) return { image: { layers: null }, peers: null }
    const peer = { ...HOST, cached_layers: urls(this.#heldOf(index)), scheduler_cluster_id: 1 }
    return { image: { layers: urls(this.#artifacts[index]!.blobs) }, peers: [peer] }
  }

  #tell(job: Job, end: End): void {
    if (job.told || job.index < 0) return
    job.told = true
    this.log.push({ kind: 'told', at: now(), index: job.index, end })
  }

  #note(kind: 'get' | 'list' | 'probe' | 'health'): void {
    this.log.push({ kind, at: now() })
  }
}

/** Body of a POST. */
interface Sent {
  readonly type: string
  readonly bio?: string
  readonly args: Readonly<Record<string, unknown>>
  readonly scheduler_cluster_ids?: readonly number[]
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  if (status === 429) response.writeHead(429, { 'content-type': 'text/plain; charset=utf-8' }).end(body)
  else response.writeHead(status, JSON_TYPE).end(JSON.stringify(body))
}

function now(): number {
  return performance.timeOrigin + performance.now()
}

const engine = new StubEngine(JSON.parse(process.argv[2] ?? '') as EngineOptions)
await listenAsStub(
  createServer((request, response) => {
    engine.serve(request, response).catch(() => response.destroy())
  }),
  () => engine.log,
)
