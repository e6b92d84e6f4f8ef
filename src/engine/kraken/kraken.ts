import pLimit from 'p-limit'
import { claimsOf, fewOwners, isCovered, progressOf, shortfallOf, type BlobLook } from './coverage.ts'
import { isRouteMissing, wantsCertificate } from './refusal.ts'
import { nextLook } from './schedule.ts'
import { KrakenServer, type KrakenPorts } from './server.ts'
import {
  NO_EVENTS,
  isMetainfoOf,
  manifestOf,
  notification,
  parseLocations,
  paths,
  refusalOf,
  wantedOf,
  type Wanted,
} from './wire.ts'
import { manifestUrl } from '../manifest-url.ts'
import { artifactOrder } from '../refused.ts'
import type { Abilities, Engine, Health, Inspection, Observation, Probe, WantedJob } from '../engine.ts'
import { Closers } from '../../closers.ts'
import { waitFor } from '../../deadline.ts'
import type { TlsMaterial } from '../../http.ts'
import type { Digest, PlatformManifest } from '../../model/artifact.ts'
import type { Clock } from '../../model/clock.ts'
import type { Instant } from '../../model/duration.ts'
import { EdgeError, excerpt } from '../../model/errors.ts'
import type { Claims } from '../../model/evidence.ts'
import type { KrakenSettings, Provider } from '../../model/provider.ts'
import type { Secret } from '../../model/secret.ts'
import type { ArtifactOrder, Job, Order } from '../../model/task.ts'

/** The proxy reads the manifest before it answers, and an origin may have to pull it first. */
const NOTIFY_TIMEOUT_MS = 240_000
/** What an origin that has pulled a blob may take to copy it to the other owners. */
const COPY_MS = 60_000
/** Jobs whose troubles are remembered. */
const MOST_TROUBLES = 10_000
/** Why a look shows nothing where only the proxy is declared. */
const NOBODY_TO_ASK = 'the proxy answers 200 whatever happens, and no origins or tracker are declared to look at'
/** The same where a tracker is: it cannot be asked without effect. */
const TRACKER_PULLS = 'no origins are declared to look at, and the tracker has them pull what it is asked for'
/** No blob has it; whoever it belongs to, an origin tells its owners. */
const NO_BLOB = `sha256:${'0'.repeat(64)}`

/** The driver for Kraken >= 0.1.3; contracts/kraken-and-registries.md §1 and §2, docs/kraken.md. */
export function openKraken(provider: Provider, tls: TlsMaterial | undefined, ports: KrakenPorts): Engine {
  if (provider.kraken === undefined) throw new TypeError(`provider ${provider.name} is of another vendor`)
  return new Kraken(provider, provider.kraken, tls, ports)
}

class Kraken implements Engine {
  readonly #provider: Provider
  readonly #settings: KrakenSettings
  readonly #who: string
  readonly #clock: Clock
  readonly #proxy: KrakenServer
  /** By `host:port`: all that a blob's owners may be. */
  readonly #origins: ReadonlyMap<string, KrakenServer>
  readonly #tracker: KrakenServer | undefined
  readonly #submits: ReturnType<typeof pLimit>
  /** By job: what an origin last said of a pull that failed. It says so for 15 s, and a job is overdue much later. */
  readonly #troubles = new Map<string, string>()
  readonly #closers = new Closers()

  constructor(provider: Provider, settings: KrakenSettings, tls: TlsMaterial | undefined, ports: KrakenPorts) {
    const server = (url: string, role: 'proxy' | 'origin' | 'tracker') =>
      this.#closers.use(new KrakenServer(url, role, provider, tls, ports))
    this.#provider = provider
    this.#settings = settings
    this.#who = `provider ${provider.name}`
    this.#clock = ports.clock
    this.#proxy = server(provider.endpoint, 'proxy')
    this.#origins = new Map(settings.origins.map((url) => server(url, 'origin')).map((one) => [one.address, one]))
    this.#tracker = settings.tracker === undefined ? undefined : server(settings.tracker, 'tracker')
    this.#submits = pLimit(provider.limits.submitsInFlight)
  }

  /**
   * Whatever mode needs: the proxy's `/health` is answered on its nginx port too, where no notification arrives; an
   * origin proves itself by naming owners.
   */
  async health(signal: AbortSignal): Promise<Health> {
    const trouble = async (check: Promise<void>): Promise<EdgeError | undefined> => {
      try {
        await check
        return undefined
      } catch (error) {
        if (error instanceof EdgeError) return error
        throw error
      }
    }
    const checks = [
      this.#checkProxy(signal),
      ...[...this.#origins.values()].map((origin) => this.#checkOrigin(origin, signal)),
      ...(this.#tracker ? [answers(this.#tracker, signal)] : []),
    ]
    const found = await all(checks, trouble)
    const bad = found.filter((error) => error !== undefined)
    if (bad.length > 0) {
      const known = bad.find(({ code }) => code !== 'PH5001')?.code ?? 'PH5011'
      const code = this.#isDown(found) ? 'PH5001' : known
      return { ok: false, code, detail: bad.map(({ message }) => message).join('; ') }
    }
    const proxy = this.#settings.mode === 'notify' ? 'the proxy takes notifications' : 'the proxy answers'
    const origins = this.#origins.size === 0 ? 'no origins are declared' : `${this.#origins.size} origins name owners`
    return { ok: true, detail: `${proxy}, ${origins}${this.#tracker ? ', the tracker answers' : ''}` }
  }

  /** Is nobody there who takes submissions, or nobody to look at? One server of many is missed by nobody else's tasks. */
  #isDown([proxy, ...others]: readonly (EdgeError | undefined)[]): boolean {
    const origins = others.slice(0, this.#origins.size)
    const isSilent = (error: EdgeError | undefined) => error?.code === 'PH5001'
    return (this.#settings.mode === 'notify' && isSilent(proxy)) || (origins.length > 0 && origins.every(isSilent))
  }

  async #checkProxy(signal: AbortSignal): Promise<void> {
    await answers(this.#proxy, signal)
    if (this.#settings.mode === 'notify') await this.#notify(NO_EVENTS, signal)
  }

  async #checkOrigin(origin: KrakenServer, signal: AbortSignal): Promise<void> {
    await answers(origin, signal)
    await this.#askOwners(origin, NO_BLOB, signal)
  }

  inspect(): Promise<Inspection> {
    return Promise.resolve({})
  }

  abilities(signal: AbortSignal): Promise<Abilities> {
    return settled(signal, () => ({ evidence: this.#evidence(), clusters: [] }))
  }

  /** One a platform manifest: of an index, Kraken pulls the manifests that it lists and none of their layers. */
  jobs(order: Order, signal: AbortSignal): Promise<WantedJob[]> {
    return settled(signal, () => {
      this.#refuseSettings()
      return artifactOrder(order, this.#who).manifests.map((manifest) => {
        const reason = refusalOf(manifest.mediaType, this.#settings)
        if (reason !== undefined)
          throw new EdgeError('rejected', 'PH3007', `${this.#who} cannot preheat ${manifest.digest}: ${reason}`)
        return {
          key: manifest.digest,
          manifest: manifest.digest,
          cluster: undefined,
          ids: [],
          state: 'wanted' as const,
        }
      })
    })
  }

  /** The pull token stays here: origins read with a credential of their own. */
  async submit(order: Order, job: Job, _authorization: Secret | undefined, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted()
    const artifact = artifactOrder(order, this.#who)
    const manifest = this.#manifestOf(artifact, job)
    const turn = this.#submits(async () => {
      signal.throwIfAborted()
      if (this.#settings.mode === 'notify') {
        const id = `preheatd/${order.taskId}/${job.key}`
        await this.#notify(notification(artifact, manifest, id, this.#clock.now()), signal)
      } else {
        // The manifest alone first: where it is refused, its layers are not worth a request.
        const [own, ...blobs] = wantedOf(manifest)
        await this.#trigger(artifact.repository, own, signal)
        await all(blobs, (blob) => this.#trigger(artifact.repository, blob, signal))
      }
      return this.#idOf(manifest.digest)
    })
    return await waitFor(turn, signal)
  }

  async observe(order: Order, job: Extract<Job, { state: 'open' }>, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted()
    const artifact = artifactOrder(order, this.#who)
    const manifest = this.#manifestOf(artifact, job)
    if (this.#evidence() === 'none') {
      if (!isOurs(job)) return gone(job.id)
      return ended('success', undefined, NOBODY_TO_ASK)
    }
    try {
      return await this.#progress(artifact, job, manifest, signal)
    } catch (error) {
      // What is refused at one look is refused at the next.
      if (!(error instanceof EdgeError) || error.fault !== 'rejected') throw error
      return ended('failure', undefined, error.message)
    }
  }

  /** Kraken keeps no mark of who asked; what is asked for twice is pulled once. */
  find(_order: Order, _job: Job, signal: AbortSignal): Promise<undefined> {
    return settled(signal, () => undefined)
  }

  /** What is missing is said with it: of an owner that holds a blob by half, claims tell only that it is not there. */
  async probe(order: Order, job: Job, _notes: string | undefined, signal: AbortSignal): Promise<Probe> {
    signal.throwIfAborted()
    if (this.#origins.size === 0) {
      return { kind: 'ended', claims: undefined, message: this.#tracker ? TRACKER_PULLS : NOBODY_TO_ASK }
    }
    const { replicas } = this.#settings
    const artifact = artifactOrder(order, this.#who)
    const manifest = this.#manifestOf(artifact, job)
    const { looks, troubles } = await this.#lookAtOrigins(artifact.repository, manifest, signal)
    const words = [shortfallOf(looks, replicas), troubles[0] ?? fewOwners(looks, replicas)]
    const message = words[0] === undefined ? undefined : words.filter((one) => one !== undefined).join('; ')
    return { kind: 'ended', claims: claimsOf(looks, replicas, 'observed'), message }
  }

  nextLook(submittedAt: Instant, now: Instant): Instant {
    return nextLook(this.#provider.dragonfly.pollScheduleMs, submittedAt, now)
  }

  overdueAt(order: Order, submittedAt: Instant): Instant {
    return submittedAt + order.timeoutMs
  }

  /** Everything is asked at each look: what was there at the last one may be gone. */
  async #progress(
    order: ArtifactOrder,
    job: Extract<Job, { state: 'open' }>,
    manifest: PlatformManifest,
    signal: AbortSignal,
  ): Promise<Observation> {
    const { replicas } = this.#settings
    const { looks, troubles } =
      this.#origins.size > 0
        ? await this.#lookAtOrigins(order.repository, manifest, signal)
        : await this.#askTracker(order.repository, manifest, signal)
    if (!isOurs(job)) return gone(job.id)
    const source = this.#evidence() === 'observed' ? 'observed' : 'claimed-by-engine'
    const claims = claimsOf(looks, replicas, source)
    const memory = `${order.taskId} ${job.key}`
    const short = shortfallOf(looks, replicas)
    if (short === undefined) {
      this.#troubles.delete(memory)
      return ended('success', claims, undefined)
    }
    const now = this.#clock.now()
    const mayCopy = now - job.submittedAt < COPY_MS
    const pulls = await all(this.#origins.size > 0 ? looks.filter((one) => !isCovered(one, replicas)) : [], (one) =>
      this.#pullOn(order.repository, one, mayCopy, signal),
    )
    const trouble = pulls.flat()[0] ?? troubles[0] ?? fewOwners(looks, replicas)
    if (trouble !== undefined) this.#remember(memory, trouble)
    const last = this.#troubles.get(memory)
    if (last === undefined || now < this.overdueAt(order, job.submittedAt))
      return { kind: 'open', progress: progressOf(looks) }
    this.#troubles.delete(memory)
    return ended('failure', claims, `${short}; ${last}`)
  }

  /** Its answer may be five minutes old: nginx before it keeps a 200 that long. It has the origins pull as well. */
  async #askTracker(repository: string, manifest: PlatformManifest, signal: AbortSignal): Promise<Look> {
    const tracker = this.#tracker!
    const asked = await all(wantedOf(manifest), async (blob) => {
      const url = paths.relayed(repository, blob.digest)
      const { answer, refused } = await tracker.ask({ method: 'GET', url, action: pulling(blob) }, signal)
      const isHeld = answer.status === 200 && isMetainfoOf(blob, answer.bytes)
      const trouble = isHeld || answer.status === 202 ? [] : [refused().message]
      return { look: { blob, owners: [tracker.address], holders: isHeld ? [tracker.address] : [] }, trouble }
    })
    return { looks: asked.map(({ look }) => look), troubles: asked.flatMap(({ trouble }) => trouble) }
  }

  /** Asks every owner of the manifest and of its blobs whether it holds them; nobody pulls. */
  async #lookAtOrigins(repository: string, manifest: PlatformManifest, signal: AbortSignal): Promise<Look> {
    const silences: EdgeError[] = []
    const halves: string[] = []
    let said = 0
    const looks = await all(wantedOf(manifest), async (blob): Promise<BlobLook> => {
      const owners = await this.#ownersOf(blob.digest, signal)
      const holders = await all(owners, async (owner) => {
        try {
          const held = await bytesHeld(owner, repository, blob, signal)
          said += 1
          if (held === blob.sizeBytes) return [owner.address]
          // Presence is not completeness.
          if (held !== undefined) halves.push(`${owner.who} has ${held} bytes of ${blob.digest}, not ${blob.sizeBytes}`)
          return []
        } catch (error) {
          if (!(error instanceof EdgeError)) throw error
          silences.push(error)
          return []
        }
      })
      return { blob, owners: owners.map(({ address }) => address), holders: holders.flat() }
    })
    if (said === 0 && silences[0] !== undefined) throw silences[0]
    return { looks, troubles: [...silences.map(({ message }) => message), ...halves] }
  }

  /**
   * Has a blob pulled that falls short: by the first owner that answers, and where another has had time to copy it and
   * did not, by each that lacks it. Returns what owners said instead.
   */
  async #pullOn(
    repository: string,
    { blob, owners, holders }: BlobLook,
    mayCopy: boolean,
    signal: AbortSignal,
  ): Promise<string[]> {
    if (holders.length > 0 && mayCopy) return []
    const troubles: string[] = []
    for (const owner of owners.filter((one) => !holders.includes(one)).map((one) => this.#origins.get(one)!)) {
      try {
        await metainfo(owner, repository, blob, signal)
        if (holders.length === 0) return troubles
      } catch (error) {
        if (!(error instanceof EdgeError)) throw error
        troubles.push(error.message)
      }
    }
    return troubles
  }

  /**
   * Has the best owner that answers pull a blob. What that one holds already is told the next owners as well: each drops
   * its copy six hours after its own last use.
   * @throws {EdgeError} what the first said, where none answers
   */
  async #trigger(repository: string, blob: Wanted, signal: AbortSignal): Promise<void> {
    const owners = await this.#ownersOf(blob.digest, signal)
    const { replicas = owners.length } = this.#settings
    let first: EdgeError | undefined
    for (const [at, owner] of owners.entries()) {
      try {
        const isHeld = await prefetch(owner, repository, blob, signal)
        if (isHeld) await this.#use(owners.slice(at + 1, at + replicas), repository, blob, signal)
        return
      } catch (error) {
        if (!(error instanceof EdgeError) || error.fault === 'rejected') throw error
        first ??= error
      }
    }
    if (first !== undefined) throw first
  }

  /** Has copies count as just used. Who refuses or is silent is left to the looks. */
  async #use(owners: readonly KrakenServer[], repository: string, blob: Wanted, signal: AbortSignal): Promise<void> {
    await all(owners, async (owner) => {
      try {
        await prefetch(owner, repository, blob, signal)
      } catch (error) {
        if (!(error instanceof EdgeError)) throw error
      }
    })
  }

  /** The declared origins that own a blob, best first; any origin knows. @throws {EdgeError} */
  async #ownersOf(digest: string, signal: AbortSignal): Promise<KrakenServer[]> {
    let first: EdgeError | undefined
    for (const origin of this.#origins.values()) {
      try {
        return await this.#askOwners(origin, digest, signal)
      } catch (error) {
        if (!(error instanceof EdgeError) || error.fault === 'rejected') throw error
        first ??= error
      }
    }
    throw first ?? new EdgeError('rejected', 'PH3007', `${this.#who} declares no origins`)
  }

  async #askOwners(origin: KrakenServer, digest: string, signal: AbortSignal): Promise<KrakenServer[]> {
    const action = `the question who owns ${digest}`
    const { answer, refused } = await origin.ask({ method: 'GET', url: paths.locations(digest), action }, signal)
    const named = answer.status === 200 ? parseLocations(answer.headers['origin-locations']) : undefined
    if (named === undefined) throw refused()
    if (named.length === 0) throw new EdgeError('unavailable', 'PH5001', `${origin.who} names no owner of ${digest}`)
    return named.map((address) => {
      const owner = this.#origins.get(address)
      if (owner !== undefined) return owner
      const message = `${origin.who} names ${address.slice(0, 255)} as an owner, which is not among kraken.origins and is not contacted`
      throw new EdgeError('rejected', 'PH5002', message)
    })
  }

  async #notify(body: string, signal: AbortSignal): Promise<void> {
    const action = 'a notification'
    const timeoutMs = NOTIFY_TIMEOUT_MS
    const { answer, refused } = await this.#proxy.ask(
      { method: 'POST', url: paths.notifications, body, action, timeoutMs },
      signal,
    )
    // The handler writes nothing; a page with status 200 is somebody else's.
    if (answer.status !== 200 || answer.bytes.length > 0) throw refused()
  }

  #evidence(): Abilities['evidence'] {
    if (this.#origins.size > 0) return 'observed'
    return this.#tracker === undefined ? 'none' : 'claimed-by-engine'
  }

  /** What is declared and could not be done is refused. */
  #refuseSettings(): void {
    const { mode, replicas } = this.#settings
    if (this.#origins.size > 0) return
    const lacks = (what: string) => new EdgeError('rejected', 'PH3007', `${this.#who}: ${what} needs kraken.origins`)
    if (mode === 'origins') throw lacks('kraken.mode: origins')
    if (replicas !== undefined) throw lacks('kraken.replicas')
  }

  /** @throws {EdgeError} for a repository that has no place in a path, and for a manifest that is not the order's */
  #manifestOf(order: ArtifactOrder, job: Job): PlatformManifest {
    if (manifestUrl(order, job) === undefined)
      throw new EdgeError('rejected', 'PH5002', `${this.#who}: the repository’s name has no place in a URL`)
    const manifest = manifestOf(order, job)
    if (manifest === undefined)
      throw new EdgeError('rejected', 'PH5002', `${this.#who}: ${job.key} is no manifest of the order`)
    return manifest
  }

  #idOf(manifest: Digest): string {
    return `${this.#settings.mode === 'notify' ? 'notified' : 'origins'}-${manifest}`
  }

  #remember(key: string, trouble: string): void {
    this.#troubles.delete(key)
    this.#troubles.set(key, trouble)
    const [oldest] = this.#troubles.keys()
    if (this.#troubles.size > MOST_TROUBLES && oldest !== undefined) this.#troubles.delete(oldest)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closers[Symbol.asyncDispose]()
  }
}

interface Look {
  /** The manifest first. */
  readonly looks: readonly BlobLook[]
  /** Of owners that did not say whether they hold a blob, and of those that hold another length of it. */
  readonly troubles: readonly string[]
}

/** @throws {EdgeError} */
async function answers(server: KrakenServer, signal: AbortSignal): Promise<void> {
  const action = 'the question whether it is healthy'
  const { answer, refused } = await server.ask({ method: 'GET', url: '/health', action }, signal)
  if (answer.status !== 200) throw refused()
}

/**
 * How many bytes of a blob are there, and not where the origin reads from. Undefined: it is not there.
 * @throws {EdgeError} also for a 200 without a length, which is no origin's: whoever stands before it says more than it
 * knows
 */
async function bytesHeld(
  owner: KrakenServer,
  repository: string,
  blob: Wanted,
  signal: AbortSignal,
): Promise<number | undefined> {
  const action = `the question whether it holds ${blob.digest}`
  const url = paths.presence(repository, blob.digest)
  const { answer, refused } = await owner.ask({ method: 'HEAD', url, action }, signal)
  const length = answer.headers['content-length']
  if (answer.status === 404) return undefined
  if (answer.status !== 200 || length === undefined) throw refused()
  // A descriptor may say nothing of the size; then presence is all there is to see.
  return blob.sizeBytes === 0 ? 0 : Number(length)
}

/**
 * Has an owner pull a blob. Prefetching also counts as use, without which a blob is dropped after six hours.
 * @returns is it there, and was it used?
 * @throws {EdgeError}
 */
async function prefetch(owner: KrakenServer, repository: string, blob: Wanted, signal: AbortSignal): Promise<boolean> {
  const url = paths.prefetch(repository, blob.digest)
  const { answer, refused } = await owner.ask({ method: 'POST', url, action: pulling(blob) }, signal)
  if (answer.status === 200 || answer.status === 202) return answer.status === 200
  // Before v0.1.13 there is no such route, and with mutual TLS only GET and HEAD go without a certificate.
  if (!isRouteMissing(answer) && !wantsCertificate(answer)) throw refused()
  await metainfo(owner, repository, blob, signal)
  return false
}

/** @throws {EdgeError} */
async function metainfo(owner: KrakenServer, repository: string, blob: Wanted, signal: AbortSignal): Promise<void> {
  const url = paths.metainfo(repository, blob.digest)
  const { answer, refused } = await owner.ask({ method: 'GET', url, action: pulling(blob) }, signal)
  if (answer.status !== 200 && answer.status !== 202) throw refused()
}

function pulling({ digest }: Wanted): string {
  return `the request to pull ${digest}`
}

/** An id is what was done and to which manifest: Kraken itself has none. */
function isOurs({ id, manifest }: Extract<Job, { state: 'open' }>): boolean {
  return id === `origins-${manifest}` || id === `notified-${manifest}`
}

function gone(id: string): Observation {
  return ended('gone', undefined, `no job of this driver is called ${excerpt(id, 100)}`)
}

function ended(
  said: 'success' | 'failure' | 'gone',
  claims: Claims | undefined,
  message: string | undefined,
): Observation {
  return { kind: 'ended', verdict: { said, claims, message } }
}

/** The work of all, in their order; nothing of it goes on after the first failure is thrown. */
async function all<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results = await Promise.allSettled(items.map(work))
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}

/** What needs nobody's answer, as a promise that a stopped caller does not get. */
function settled<T>(signal: AbortSignal, value: () => T): Promise<T> {
  return new Promise((resolve) => {
    signal.throwIfAborted()
    resolve(value())
  })
}
