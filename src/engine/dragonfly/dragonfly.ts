import { verdictOf } from './claims.ts'
import { ClusterList, chooseClusters } from './clusters.ts'
import { Gate } from './gate.ts'
import { isRecordMissing, lacksPermission, refusal, type Action } from './refusal.ts'
import { nextLook, overdueAt } from './schedule.ts'
import {
  bioOf,
  isJobList,
  manifestOf,
  manifestUrl,
  parseClusters,
  parseJob,
  parseJobId,
  preheatBody,
  type Cluster,
} from './wire.ts'
import type { Abilities, Engine, Health, Observation, WantedJob } from '../engine.ts'
import { isExposed } from '../../model/address.ts'
import { Closers } from '../../closers.ts'
import { HttpOrigin, type HttpAnswer, type TlsMaterial } from '../../http.ts'
import { RateLimit } from '../../rate-limit.ts'
import { authHeader } from '../../model/auth.ts'
import type { Clock } from '../../model/clock.ts'
import type { Instant } from '../../model/duration.ts'
import { EdgeError } from '../../model/errors.ts'
import type { Provider } from '../../model/provider.ts'
import type { ReadSecret, Secret, SecretHeader } from '../../model/secret.ts'
import type { Job, Order, Verdict } from '../../model/task.ts'

/** What the driver needs from its surroundings. */
export interface DragonflyPorts {
  readonly read: ReadSecret
  readonly clock: Clock
  random(): number
}

/** The manager reads the manifest before it answers, and gives each of its own requests 60 s (manager/job/preheat.go, v2.5.1). */
const SUBMIT_TIMEOUT_MS = 130_000
const TIMEOUT_MS = 30_000
/** 20 layers on 1,000 peers are some 4 MB of result. */
const MAX_BYTES = 32 * 2 ** 20
const PAGE = 100
const MAX_PAGES = 100

/** The driver for the Open API of a Dragonfly manager >= 2.1.59; contracts/dragonfly.md. */
export function openDragonfly(provider: Provider, tls: TlsMaterial | undefined, ports: DragonflyPorts): Engine {
  return new Dragonfly(provider, tls, ports)
}

class Dragonfly implements Engine {
  readonly #provider: Provider
  readonly #who: string
  readonly #read: ReadSecret
  readonly #clock: Clock
  /** Spreads the looks of several daemons at one manager. */
  readonly #phase: number
  readonly #origin: HttpOrigin
  readonly #looks: RateLimit
  readonly #gates = new Map<string, Gate>()
  readonly #clusters: ClusterList
  readonly #closers = new Closers()

  constructor(provider: Provider, tls: TlsMaterial | undefined, ports: DragonflyPorts) {
    const { read, clock } = ports
    this.#provider = provider
    this.#who = `provider ${provider.name}`
    this.#read = read
    this.#clock = clock
    this.#phase = ports.random()
    const codes = { unreachable: 'PH5001', unintelligible: 'PH5008' } as const
    this.#origin = this.#closers.use(new HttpOrigin(provider.endpoint, this.#who, codes, tls))
    this.#looks = new RateLimit(clock, provider.limits.requestsPerSecond)
    this.#clusters = this.#closers.use(new ClusterList((signal) => this.#listClusters(signal), clock))
  }

  /** `/healthy` needs no token and touches no database; the list of jobs proves both. */
  async health(signal: AbortSignal): Promise<Health> {
    try {
      const healthy = await this.#origin.send(
        { method: 'GET', url: '/healthy', timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES },
        signal,
      )
      if (healthy.status !== 200 || healthy.bytes.toString().trim() !== '"OK"') {
        throw this.#refusal('the question whether it is healthy', { answer: healthy, auth: undefined })
      }
      const jobs = await this.#get('/oapi/v1/jobs?per_page=1', signal)
      if (jobs.answer.status !== 200 || !isJobList(jobs.answer.bytes)) throw this.#refusal('the list of jobs', jobs)
      return { ok: true, detail: 'answers, and the token may submit jobs' }
    } catch (error) {
      if (error instanceof EdgeError) return { ok: false, detail: error.message }
      throw error
    }
  }

  async abilities(signal: AbortSignal): Promise<Abilities> {
    const clusters = (await this.#clusters.get(signal)) ?? []
    return { evidence: 'claimed-by-engine', clusters: clusters.map(({ name }) => name) }
  }

  /**
   * One a platform manifest and cluster: of a job for several clusters the first failure hides what the others did.
   * Without a list of clusters `all` is one job that names none, and goes to all.
   */
  async jobs(order: Order, signal: AbortSignal): Promise<WantedJob[]> {
    signal.throwIfAborted()
    const settings = this.#provider.dragonfly.clusters
    const byId = order.clusters === undefined && settings !== 'all' && 'ids' in settings
    const listed = byId ? undefined : await this.#clusters.get(signal)
    const clusters = chooseClusters(order.clusters, settings, listed, this.#who)
    return order.manifests.flatMap(({ digest }) =>
      clusters.map((cluster) => ({
        key: `${digest}@${cluster?.id ?? 'all'}`,
        manifest: digest,
        cluster: cluster && { id: `${cluster.id}`, name: cluster.name },
        ids: [],
        state: 'wanted' as const,
      })),
    )
  }

  async submit(order: Order, job: Job, authorization: Secret | undefined, signal: AbortSignal): Promise<string> {
    const url = manifestUrl(order, job)
    if (url === undefined)
      throw new EdgeError('rejected', 'PH5002', `${this.#who}: the repository’s name has no place in a URL`)
    const { endpoint, allowPlainHttp } = this.#provider
    if (authorization !== undefined && isExposed(new URL(endpoint)) && !allowPlainHttp)
      throw new EdgeError('rejected', 'PH3012', `${this.#who}: a pull token would go to it over plain http`)
    return await this.#gateOf(job).pass(async () => {
      const auth = await this.#authHeader()
      const answer = await this.#origin.send(
        {
          method: 'POST',
          url: '/oapi/v1/jobs',
          headers: { 'content-type': 'application/json' },
          secretHeader: auth,
          body: preheatBody(order, job, url, authorization),
          timeoutMs: SUBMIT_TIMEOUT_MS,
          maxBytes: MAX_BYTES,
        },
        signal,
      )
      const id = answer.status === 200 ? parseJobId(answer.bytes) : undefined
      if (id === undefined) throw this.#refusal('a submission', { answer, auth }, authorization)
      return id
    }, signal)
  }

  async observe(order: Order, job: Extract<Job, { state: 'open' }>, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted()
    if (!/^\d{1,19}$/.test(job.id)) return gone(job.id)
    const asked = await this.#get(`/oapi/v1/jobs/${job.id}`, signal)
    if (isRecordMissing(asked.answer)) return gone(job.id)
    const row = asked.answer.status === 200 ? parseJob(asked.answer.bytes) : undefined
    if (row === undefined) throw this.#refusal('a look at a job', asked)
    // Somebody else's: a manager whose database was made anew counts from 1 again.
    if (row.url !== manifestUrl(order, job) || row.bio !== bioOf(order, job)) return gone(job.id)
    const verdict = verdictOf(row, {
      repository: order.repository,
      scope: order.scope,
      blobs: manifestOf(order, job)?.blobs.map(({ digest }) => digest) ?? [],
      cluster: job.cluster && Number(job.cluster.id),
    })
    if (verdict === undefined) {
      throw new EdgeError('unintelligible', 'PH5008', `${this.#who} tells job ${job.id} in a state that is none`)
    }
    return verdict === 'open' ? { kind: 'open' } : { kind: 'ended', verdict }
  }

  nextLook(submittedAt: Instant, now: Instant): Instant {
    return nextLook(this.#provider.dragonfly.pollScheduleMs, submittedAt, now, this.#phase)
  }

  overdueAt(order: Order, submittedAt: Instant): Instant {
    return overdueAt(this.#provider.dragonfly.pollScheduleMs, order.timeoutMs, submittedAt)
  }

  async #listClusters(signal: AbortSignal): Promise<Cluster[] | undefined> {
    const all = new Map<number, Cluster>()
    for (let page = 1; page <= MAX_PAGES; page += 1) {
      const asked = await this.#get(`/oapi/v1/clusters?page=${page}&per_page=${PAGE}`, signal)
      if (lacksPermission(asked.answer)) return undefined
      const clusters = asked.answer.status === 200 ? parseClusters(asked.answer.bytes) : undefined
      if (clusters === undefined) throw this.#refusal('the list of clusters', asked)
      for (const cluster of clusters) all.set(cluster.id, cluster)
      if (clusters.length < PAGE) return [...all.values()].sort((a, b) => a.id - b.id)
    }
    throw new EdgeError('unintelligible', 'PH5008', `${this.#who} lists clusters without end`)
  }

  async #get(path: string, signal: AbortSignal): Promise<Asked> {
    await this.#looks.take(signal)
    const auth = await this.#authHeader()
    const answer = await this.#origin.send(
      { method: 'GET', url: path, secretHeader: auth, timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES },
      signal,
    )
    return { answer, auth }
  }

  /** Read at every request, so that a rotated token is used at the next. */
  async #authHeader(): Promise<SecretHeader | undefined> {
    return await authHeader(this.#provider.auth, this.#read, new URL(this.#provider.endpoint))
  }

  #refusal(action: Action, { answer, auth }: Asked, authorization?: Secret): EdgeError {
    const carried = [auth?.value, authorization].flatMap((secret) => (secret ? [secret.reveal()] : []))
    return refusal(this.#who, action, answer, carried, this.#clock.now())
  }

  /** A manager counts by cluster, and not at all where none is named. */
  #gateOf({ cluster }: Job): Gate {
    const key = cluster?.id ?? 'all'
    const gate = this.#gates.get(key) ?? new Gate(this.#who, this.#clock, this.#provider.limits)
    this.#gates.set(key, gate)
    return gate
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closers[Symbol.asyncDispose]()
  }
}

/** An answer, and what was sent to get it. */
interface Asked {
  readonly answer: HttpAnswer
  readonly auth: SecretHeader | undefined
}

/** Rows live some hours (manager/gc/job.go, v2.2.3 up: 6 h); that one is gone says nothing about the blobs. */
function gone(id: string): Observation {
  const verdict: Verdict = { said: 'gone', claims: undefined, message: `the manager has no record of job ${id}` }
  return { kind: 'ended', verdict }
}
