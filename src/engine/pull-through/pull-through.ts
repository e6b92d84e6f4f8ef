import { createHash } from 'node:crypto'
import pLimit from 'p-limit'
import { Cache, type Reading } from './cache.ts'
import { isPlainRepository } from '../manifest-url.ts'
import { artifactOrder } from '../refused.ts'
import type { Abilities, Engine, Health, Inspection, Observation, Probe, WantedJob } from '../engine.ts'
import { DeadlineError, waitFor, withDeadline } from '../../deadline.ts'
import type { HttpAnswer, TlsMaterial } from '../../http.ts'
import type { Digest, PlatformManifest } from '../../model/artifact.ts'
import type { Clock } from '../../model/clock.ts'
import type { Instant } from '../../model/duration.ts'
import { EdgeError } from '../../model/errors.ts'
import { MANIFEST_TYPES } from '../../model/media-types.ts'
import type { Provider } from '../../model/provider.ts'
import type { ReadSecret, Secret } from '../../model/secret.ts'
import type { ArtifactOrder, Job, Order } from '../../model/task.ts'

/** What the driver needs from its surroundings. */
export interface PullThroughPorts {
  readonly read: ReadSecret
  readonly clock: Clock
}

/** Blobs of one job that are read at once. */
const WIDTH = 4
const HEALTH_TIMEOUT_MS = 30_000
/** As the registry's side reads them. */
const MAX_MANIFEST_BYTES = 4 * 2 ** 20
/** There is never a second look; this is for one that was asked all the same. */
const LOOK_AGAIN_MS = 60_000
/** Node's timers overflow beyond. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * The driver for any OCI pull-through cache: distribution in proxy mode, Harbor's proxy-cache projects, zot. To preheat
 * is to read through it: contracts/kraken-and-registries.md §4.5 and §4.7.
 *
 * A path of the Provider's endpoint is what the cache puts before the upstream's names: with
 * `https://harbor.example.com/hub` the repository `library/app` is read below
 * `https://harbor.example.com/v2/hub/library/app/`.
 */
export function openPullThrough(provider: Provider, tls: TlsMaterial | undefined, ports: PullThroughPorts): Engine {
  return new PullThrough(provider, tls, ports)
}

/** A manifest or a blob, and what it must turn out to be. */
interface Part {
  readonly kind: 'manifest' | 'blob'
  readonly digest: Digest
  /** Undefined: an index, whose size the order does not tell. */
  readonly sizeBytes: number | undefined
}

class PullThrough implements Engine {
  readonly #cache: Cache
  /** `hub/`, or nothing. */
  readonly #prefix: string
  readonly #submits: ReturnType<typeof pLimit>

  constructor(provider: Provider, tls: TlsMaterial | undefined, { read, clock }: PullThroughPorts) {
    this.#cache = new Cache(provider, tls, read, clock)
    const path = new URL(provider.endpoint).pathname.replaceAll(/^\/+|\/+$/g, '')
    this.#prefix = path === '' ? '' : `${path}/`
    this.#submits = pLimit(provider.limits.submitsInFlight)
  }

  async health(signal: AbortSignal): Promise<Health> {
    const what = 'use the distribution API at /v2/'
    const reading = { what, path: '/v2/', scope: undefined, headers: {}, timeoutMs: HEALTH_TIMEOUT_MS }
    try {
      const headers = await this.#cache.read(reading, () => undefined, signal)
      if (headers['content-type']?.includes('html') !== true)
        return { ok: true, detail: 'answers at /v2/ as a registry, and lets us in' }
      return {
        ok: false,
        code: 'PH5008',
        detail: `${this.#cache.who} answers at /v2/ with a page for people: it is no registry`,
      }
    } catch (error) {
      if (error instanceof EdgeError) return { ok: false, code: error.code, detail: error.message }
      throw error
    }
  }

  inspect(): Promise<Inspection> {
    return Promise.resolve({})
  }

  async abilities(signal: AbortSignal): Promise<Abilities> {
    signal.throwIfAborted()
    return await Promise.resolve({ evidence: 'observed', clusters: [] })
  }

  /** One a platform manifest. The last one reads the index too, when there is one. */
  async jobs(order: Order, signal: AbortSignal): Promise<WantedJob[]> {
    signal.throwIfAborted()
    const jobs = artifactOrder(order, this.#cache.who).manifests.map(({ digest }) => ({
      key: `${digest}@cache`,
      manifest: digest,
      cluster: undefined,
      ids: [],
      state: 'wanted' as const,
    }))
    return await Promise.resolve(jobs)
  }

  /**
   * Reads the job's manifest and blobs through the cache, and answers when all of them were whole. What the order pulls
   * with is for the upstream and is not the cache's business.
   */
  async submit(order: Order, job: Job, _authorization: Secret | undefined, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted()
    const { who } = this.#cache
    const artifact = artifactOrder(order, who)
    const manifest = manifestOf(artifact, job, who)
    if (!isPlainRepository(artifact.repository))
      throw new EdgeError('rejected', 'PH5002', `${who}: the repository’s name has no place in a URL`)
    const turn = this.#submits(async () => {
      try {
        await withDeadline(Math.min(order.timeoutMs, LONGEST_TIMER_MS), signal, (both) =>
          this.#readJob(artifact, manifest, both),
        )
      } catch (error) {
        if (!(error instanceof DeadlineError)) throw error
        const late = `${who} did not let ${artifact.repository}@${manifest.digest} be read within ${order.timeoutMs} ms`
        throw new EdgeError('unavailable', 'PH5001', late, { cause: error })
      }
    })
    await waitFor(turn, signal)
    return idOf(manifest.digest)
  }

  /** An id was given only after everything had been read. */
  async observe(order: Order, job: Extract<Job, { state: 'open' }>, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted()
    const { manifests } = artifactOrder(order, this.#cache.who)
    const manifest = manifests.find(({ digest }) => digest === job.manifest)
    if (manifest === undefined || job.id !== idOf(manifest.digest)) {
      const message = `${job.id} is not the id of a reading`
      return await Promise.resolve({ kind: 'ended', verdict: { said: 'gone', claims: undefined, message } })
    }
    const cached = manifest.blobs.map(({ digest }) => digest)
    const claims = { kind: 'read_through', source: 'observed', cached, peers: 1 } as const
    return await Promise.resolve({ kind: 'ended', verdict: { said: 'success', claims, message: undefined } })
  }

  /** A reading leaves no mark by which it could be told from a node's. */
  async find(_order: Order, _job: Job, signal: AbortSignal): Promise<undefined> {
    signal.throwIfAborted()
    await Promise.resolve()
  }

  /** There is no look without effect: asked for a blob, even by HEAD, a cache fetches it. */
  async probe(_order: Order, _job: Job, _notes: string | undefined, signal: AbortSignal): Promise<Probe> {
    signal.throwIfAborted()
    const message = 'a pull-through cache cannot be looked at: asked for a blob, it fetches it'
    return await Promise.resolve({ kind: 'ended', claims: undefined, message })
  }

  /** At once: there is nothing to wait for. */
  nextLook(submittedAt: Instant, now: Instant): Instant {
    return now <= submittedAt ? now + 1 : now + LOOK_AGAIN_MS
  }

  overdueAt(order: Order, submittedAt: Instant): Instant {
    return submittedAt + order.timeoutMs
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cache[Symbol.asyncDispose]()
  }

  async #readJob(order: ArtifactOrder, manifest: PlatformManifest, signal: AbortSignal): Promise<void> {
    await this.#readPart(order, { kind: 'manifest', ...manifest }, signal)
    await forEach(manifest.blobs, signal, (blob, both) => this.#readPart(order, { kind: 'blob', ...blob }, both))
    const isLast = manifest.digest === order.manifests.at(-1)?.digest
    if (!isLast || order.manifests.some(({ digest }) => digest === order.digest)) return
    // Harbor keeps of an index only the children that it has by then (contracts/kraken-and-registries.md §4.5). What an
    // earlier job read may have been forgotten or refused since: they are asked for again, and an index never without.
    await forEach(order.manifests, signal, (child, both) => this.#readPart(order, { kind: 'manifest', ...child }, both))
    await this.#readPart(order, { kind: 'manifest', digest: order.digest, sizeBytes: undefined }, signal)
  }

  /** Reads one part to nowhere. @throws {EdgeError} unless it is what its digest says */
  async #readPart({ repository, timeoutMs }: ArtifactOrder, part: Part, signal: AbortSignal): Promise<void> {
    const name = `${this.#prefix}${repository}`
    const reading: Reading = {
      what: `read ${part.kind} ${part.digest} of ${name}`,
      path: `/v2/${name}/${part.kind}s/${part.digest}`,
      scope: `repository:${name}:pull`,
      headers: { accept: part.kind === 'manifest' ? MANIFEST_TYPES : '*/*', 'accept-encoding': 'identity' },
      timeoutMs: Math.min(timeoutMs, LONGEST_TIMER_MS),
    }
    const hash = createHash('sha256')
    const atMost = part.sizeBytes ?? MAX_MANIFEST_BYTES
    let size = 0
    const headers = await this.#cache.read(
      reading,
      (chunk) => {
        size += chunk.length
        if (size > atMost) throw this.#altered(part, name)
        hash.update(chunk)
      },
      signal,
    )
    if (`sha256:${hash.digest('hex')}` === part.digest) return
    if (wasCut(part, size, headers))
      throw new EdgeError('unavailable', 'PH5001', `${this.#cache.who} cannot ${reading.what}: cut after ${size} bytes`)
    throw this.#altered(part, name)
  }

  #altered({ kind, digest }: Part, name: string): EdgeError {
    return new EdgeError(
      'unintelligible',
      'PH6008',
      `${this.#cache.who} serves other bytes as ${kind} ${digest} of ${name}`,
    )
  }
}

/** Nothing but the end of the connection says that such a body is over, and a broken one ends likewise. */
function wasCut({ sizeBytes }: Part, size: number, headers: HttpAnswer['headers']): boolean {
  const isFramed = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
  return !isFramed && sizeBytes !== undefined && size < sizeBytes
}

/** @throws {EdgeError} for a job that is none of the order's */
function manifestOf({ manifests }: ArtifactOrder, job: Job, who: string): PlatformManifest {
  const manifest = manifests.find(({ digest }) => digest === job.manifest)
  if (manifest !== undefined) return manifest
  throw new EdgeError('rejected', 'PH5002', `${who}: the order has no manifest of the job ${job.key}`)
}

function idOf(manifest: Digest): string {
  return `read-${manifest}`
}

/**
 * Does `work` for each item, a few at once. After the first failure nothing new begins, and what is under way is
 * aborted.
 * @throws what `work` throws first
 */
async function forEach<T>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController()
  const pass = () => {
    stop.abort(signal.reason)
  }
  signal.throwIfAborted()
  signal.addEventListener('abort', pass, { once: true })
  const limit = pLimit(WIDTH)
  const one = async (item: T): Promise<void> => {
    try {
      await work(item, stop.signal)
    } catch (error) {
      stop.abort(error)
    }
  }
  try {
    await Promise.all(items.map((item) => limit(one, item)))
  } finally {
    signal.removeEventListener('abort', pass)
  }
  stop.signal.throwIfAborted()
}
