import pLimit from 'p-limit'
import { answers, askMetainfo, bytesHeld, hasFailed, isPulling, prefetch, provesReady, pulling } from './asks.ts'
import { claimsOf, fewOwners, isCovered, progressOf, shortfallOf, type BlobLook } from './coverage.ts'
import { pastOf, type Past } from './past.ts'
import { nextLook } from './schedule.ts'
import { KrakenServer, type KrakenPorts } from './server.ts'
import {
  NO_EVENTS,
  emptyOf,
  isMetainfoOf,
  isWhole,
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
/** A pull of one blob that failed is begun again so often, and is a failure of the job then. */
const MOST_RESTARTS = 5
/** Jobs of which something is remembered. */
const MOST_REMEMBERED = 10_000
/** Why a look shows nothing where only the proxy is declared. */
const NOBODY_TO_ASK = 'the proxy answers 200 whatever happens, and no origins or tracker are declared to look at'
/** The same where a tracker is: it cannot be asked without effect. */
const TRACKER_PULLS = 'no origins are declared to look at, and the tracker has them pull what it is asked for'
/** No blob has it; whoever it belongs to, an origin tells its owners. */
const NO_BLOB = `sha256:${'0'.repeat(64)}`
/** What `/readiness` tells more than `/health`, and how to mend it. */
const UNREADY = {
  origin: 'a backend of it that is marked must_ready does not answer: see the origin’s backends',
  tracker: 'the tracker reaches no origin: see the addresses of the origins in its configuration',
} as const

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
  /** By job. An origin tells of a failed pull for 15 s, and a job is overdue much later. */
  readonly #past = new Map<string, Past>()
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
      ...(this.#tracker ? [this.#checkTracker(this.#tracker, signal)] : []),
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
    await provesReady(origin, UNREADY.origin, signal)
  }

  async #checkTracker(tracker: KrakenServer, signal: AbortSignal): Promise<void> {
    await answers(tracker, signal)
    await provesReady(tracker, UNREADY.tracker, signal)
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
    const { looks, troubles } = await this.#lookAtOrigins(artifact.repository, wantedOf(manifest), signal)
    const words = [shortfallOf(looks, replicas), troubles[0] ?? fewOwners(looks, replicas)]
    const message = words[0] === undefined ? undefined : words.filter((one) => one !== undefined).join('; ')
    return { kind: 'ended', claims: claimsOf(looks, emptyOf(manifest), replicas, 'observed'), message }
  }

  nextLook(submittedAt: Instant, now: Instant): Instant {
    return nextLook(this.#provider.dragonfly.pollScheduleMs, submittedAt, now)
  }

  overdueAt(order: Order, submittedAt: Instant): Instant {
    return submittedAt + order.timeoutMs
  }

  /**
   * Asks first for what fell short at the last look. Only where nothing of that does any more, and at the end, is
   * everything asked: what was there may be gone.
   */
  async #progress(
    order: ArtifactOrder,
    job: Extract<Job, { state: 'open' }>,
    manifest: PlatformManifest,
    signal: AbortSignal,
  ): Promise<Observation> {
    const { replicas } = this.#settings
    const wanted = wantedOf(manifest)
    const empty = emptyOf(manifest)
    const lookAt = (some: readonly Wanted[]) =>
      this.#origins.size > 0
        ? this.#lookAtOrigins(order.repository, some, signal)
        : this.#askTracker(order.repository, some, signal)
    const memory = `${order.taskId} ${job.key}`
    const past = this.#past.get(memory)
    const again = wanted.filter(({ digest }) => past?.short.has(digest))
    const narrow = again.length > 0 ? await lookAt(again) : undefined
    const isNarrow = narrow?.looks.some((one) => !isCovered(one, replicas)) === true
    const { looks, troubles, failed } = isNarrow ? narrow : await lookAt(wanted)
    if (!isOurs(job)) return gone(job.id)
    const source = this.#evidence() === 'observed' ? 'observed' : 'claimed-by-engine'
    const short = looks.filter((one) => !isCovered(one, replicas))
    if (short.length === 0) {
      this.#past.delete(memory)
      return ended('success', claimsOf(looks, empty, replicas, source), undefined)
    }
    const mayCopy = this.#clock.now() - job.submittedAt < COPY_MS
    const pulls = await all(this.#origins.size > 0 ? short : [], (one) =>
      this.#pullOn(order.repository, one, mayCopy, signal),
    )
    const words = [...pulls.flatMap((one) => one.troubles), ...troubles][0] ?? fewOwners(looks, replicas)
    const failing = new Set([...failed, ...pulls.flatMap((one) => one.failed)])
    const next = pastOf(past, short, failing, words)
    this.#remember(memory, next)
    const failures = Math.max(0, ...[...next.failures.values()].map(({ times }) => times))
    const isOverdue = next.words !== undefined && this.#clock.now() >= this.overdueAt(order, job.submittedAt)
    if (failures <= MOST_RESTARTS && !isOverdue) return { kind: 'open', progress: progressOf(wanted, looks) }
    this.#past.delete(memory)
    const whole = isNarrow ? (await lookAt(wanted)).looks : looks
    const claims = claimsOf(whole, empty, replicas, source)
    const times = failures > 1 ? `; pulling failed ${failures} times` : ''
    const shortfall = shortfallOf(whole, replicas)
    return shortfall === undefined
      ? ended('success', claims, undefined)
      : ended('failure', claims, `${shortfall}${times}; ${next.words}`)
  }

  /** Its answer may be five minutes old: nginx before it keeps a 200 that long. It has the origins pull as well. */
  async #askTracker(repository: string, wanted: readonly Wanted[], signal: AbortSignal): Promise<Look> {
    const tracker = this.#tracker!
    const asked = await all(wanted, async (blob) => {
      const url = paths.relayed(repository, blob.digest)
      const { answer, refused } = await tracker.ask({ method: 'GET', url, action: pulling(blob) }, signal)
      const isHeld = answer.status === 200 && isMetainfoOf(blob, answer.bytes)
      const look = { blob, owners: [tracker.address], holders: isHeld ? [tracker.address] : [] }
      const trouble = isHeld || answer.status === 202 ? [] : [refused().message]
      return { look, trouble, failed: hasFailed(answer) ? [blob.digest] : [] }
    })
    return {
      looks: asked.map(({ look }) => look),
      troubles: asked.flatMap(({ trouble }) => trouble),
      failed: asked.flatMap(({ failed }) => failed),
    }
  }

  /** Asks every owner of each blob whether it holds it; nobody pulls. */
  async #lookAtOrigins(repository: string, wanted: readonly Wanted[], signal: AbortSignal): Promise<Look> {
    const silences: EdgeError[] = []
    const halves: string[] = []
    let said = 0
    const looks = await all(wanted, async (blob): Promise<BlobLook> => {
      const owners = await this.#ownersOf(blob.digest, signal)
      const holders = await all(owners, async (owner) => {
        try {
          const held = await bytesHeld(owner, repository, blob, signal)
          said += 1
          if (isWhole(blob, held)) return [owner.address]
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
    return { looks, troubles: [...silences.map(({ message }) => message), ...halves], failed: [] }
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
  ): Promise<Omit<Look, 'looks'>> {
    const troubles: string[] = []
    const failed: Digest[] = []
    if (holders.length > 0 && mayCopy) return { troubles, failed }
    for (const owner of owners.filter((one) => !holders.includes(one)).map((one) => this.#origins.get(one)!)) {
      try {
        const { answer, refused } = await askMetainfo(owner, repository, blob, signal)
        if (hasFailed(answer)) failed.push(blob.digest)
        if (!isPulling(answer)) troubles.push(refused().message)
        else if (holders.length === 0) break
      } catch (error) {
        if (!(error instanceof EdgeError)) throw error
        troubles.push(error.message)
      }
    }
    return { troubles, failed }
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

  #remember(key: string, past: Past): void {
    this.#past.delete(key)
    this.#past.set(key, past)
    const [oldest] = this.#past.keys()
    if (this.#past.size > MOST_REMEMBERED && oldest !== undefined) this.#past.delete(oldest)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closers[Symbol.asyncDispose]()
  }
}

interface Look {
  readonly looks: readonly BlobLook[]
  /** Of owners that did not say whether they hold a blob, and of those that hold another length of it. */
  readonly troubles: readonly string[]
  /** Blobs that were said not to have arrived. */
  readonly failed: readonly Digest[]
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
