import { verdictOf, type Question } from './claims.ts'
import { ClusterList, chooseClusters } from './clusters.ts'
import {
  asksHosts,
  doubtfulScopes,
  ignoredSettings,
  looksAtKnownAges,
  settingText,
  versionOf,
  type Echo,
  type IdForm,
} from './features.ts'
import { Gate } from './gate.ts'
import { Looks } from './looks.ts'
import { Manager, type Asked } from './manager.ts'
import { claimsUnderBoth, emptyNotes, holdersOf, parseNotes, probedClaims, type ProbeNotes } from './probe.ts'
import { bothRound } from './prober.ts'
import { cannotProbe, isRecordMissing, refusesScope } from './refusal.ts'
import { Remembered } from './remembered.ts'
import { sampledPulls } from './sampler.ts'
import { nextLook, overdueAt, withEarlyLooks } from './schedule.ts'
import { formsOfPulls, heldOtherwise, idsText, mismatch, otherForm, preheatForm } from './task-ids.ts'
import {
  bioOf,
  blobQuestion,
  getTaskBody,
  manifestOf,
  orderArgs,
  parseClusterAge,
  parseJobs,
  parseTaken,
  preheatBody,
  probeBioOf,
  settingArgs,
  urlOf,
  type BlobQuestion,
  type JobRow,
} from './wire.ts'
import { refuseExposedToken } from '../refused.ts'
import type { Abilities, Engine, Health, Inspection, Observation, Probe, WantedJob } from '../engine.ts'
import { Closers } from '../../closers.ts'
import type { TlsMaterial } from '../../http.ts'
import type { Clock } from '../../model/clock.ts'
import type { Instant } from '../../model/duration.ts'
import { EdgeError } from '../../model/errors.ts'
import type { Provider, Scope } from '../../model/provider.ts'
import type { ReadSecret, Secret } from '../../model/secret.ts'
import type { Job, Order, Verdict } from '../../model/task.ts'

/** What the driver needs from its surroundings. */
export interface DragonflyPorts {
  readonly read: ReadSecret
  readonly clock: Clock
  random(): number
}

/** So many in a row are no burst: it is asked whether the cluster is there. */
const LIMITED_OFTEN = 3
/** The limiter learns of a new cluster when it reads them all again (manager/middlewares/ratelimiter.go, v2.2.3 up). */
const YOUNG_MS = 180_000
/** Between our clock and the manager's. */
const SKEW_MS = 600_000

/** The driver for the Open API of a Dragonfly manager >= 2.1.59; contracts/dragonfly.md. */
export function openDragonfly(provider: Provider, tls: TlsMaterial | undefined, ports: DragonflyPorts): Engine {
  return new Dragonfly(provider, tls, ports)
}

class Dragonfly implements Engine {
  readonly #provider: Provider
  readonly #clock: Clock
  /** Spreads the looks of several daemons at one manager. */
  readonly #phase: number
  readonly #manager: Manager
  readonly #preheats: Looks
  readonly #questions: Looks
  readonly #gates = new Map<string, Gate>()
  readonly #clusters: ClusterList
  readonly #closers = new Closers()
  /** What it echoed of our last submission. */
  readonly #echo: Remembered<Echo>
  /** The forms of the ids by which nodes were last seen to pull. */
  readonly #pulls: Remembered<readonly IdForm[]>
  /** A probe took it on itself to find these out. */
  readonly #sampled: Remembered<true>
  /** It refused a scope of today. */
  readonly #oldScopes: Remembered<true>
  /** By cluster: refusals by its limiter since it last took something. */
  readonly #limited = new Map<string, number>()

  constructor(provider: Provider, tls: TlsMaterial | undefined, ports: DragonflyPorts) {
    const { read, clock } = ports
    this.#provider = provider
    this.#clock = clock
    this.#phase = ports.random()
    this.#echo = new Remembered(clock)
    this.#pulls = new Remembered(clock)
    this.#sampled = new Remembered(clock)
    this.#oldScopes = new Remembered(clock)
    this.#manager = this.#closers.use(new Manager(provider, tls, read, clock))
    this.#preheats = this.#closers.use(new Looks('preheat', this.#manager, clock))
    this.#questions = this.#closers.use(new Looks('get_task', this.#manager, clock))
    this.#clusters = this.#closers.use(new ClusterList(this.#manager, clock))
  }

  /** Whether it is there, and, by the list of jobs, its database and our token. */
  async health(signal: AbortSignal): Promise<Health> {
    try {
      await this.#manager.healthy(signal)
      await this.#newestPreheat(signal)
      return { ok: true, detail: 'answers, and the token may submit jobs' }
    } catch (error) {
      if (error instanceof EdgeError) return { ok: false, code: error.code, detail: error.message }
      throw error
    }
  }

  async abilities(signal: AbortSignal): Promise<Abilities> {
    const clusters = (await this.#clusters.get(signal)) ?? []
    // A policy may have a scope of its own, so that what only the `all_*` scopes send counts whatever the Provider's is.
    const sent = settingArgs(this.#provider.dragonfly, 'all_peers')
    const echo = await this.#lastEcho(signal)
    return {
      evidence: 'claimed-by-engine',
      clusters: clusters.map(({ name }) => name),
      version: echo && versionOf(echo),
      ignored: echo ? ignoredSettings(echo, sent).map(settingText) : [],
      doubtfulScopes: echo ? doubtfulScopes(echo) : [],
    }
  }

  /** By which ids nodes pull, where the Provider does not say, as far as the manager has preheats to show. */
  async inspect(signal: AbortSignal): Promise<Inspection> {
    if (this.#provider.dragonfly.taskId !== 'auto') return {}
    const rows = await this.#newestPreheats(signal)
    const echo = this.#echo.value ?? rows[0]?.echo
    return echo === undefined ? {} : await this.#idAbilities(rows, echo, signal)
  }

  async #idAbilities(rows: readonly JobRow[], echo: Echo, signal: AbortSignal): Promise<Inspection> {
    const own = preheatForm('auto', echo)
    try {
      const pulls = this.#pulls.value ?? (await this.#samplePulls(rows, own, signal))
      const warning = mismatch(own, pulls, echo.byDigest !== undefined)
      return { taskIds: idsText(own, pulls), warnings: warning === undefined ? [] : [warning] }
    } catch (error) {
      if (!(error instanceof EdgeError)) throw error
      return { warnings: [`it could not be found out by which ids nodes pull: ${error.message}`] }
    }
  }

  async #samplePulls(rows: readonly JobRow[], own: IdForm, signal: AbortSignal): Promise<readonly IdForm[]> {
    const ports = {
      who: this.#manager.who,
      clock: this.#clock,
      submit: (question: BlobQuestion, by: IdForm) => this.#askForBlob(question, by, signal),
      look: (id: string) => this.#questions.ask(id, signal),
      nextLook: (submittedAt: Instant, now: Instant) => this.nextLook(submittedAt, now),
    }
    return this.#notePulls(await sampledPulls(rows, own, this.#provider.dragonfly.scope, ports, signal))
  }

  /** What was seen now, or else what was seen last. */
  #notePulls(forms: readonly IdForm[]): readonly IdForm[] {
    if (forms.length > 0) this.#pulls.show(forms)
    return this.#pulls.value ?? []
  }

  /**
   * One a platform manifest, or the file, and cluster: of a job for several clusters the first failure hides what the others did.
   * Without a list of clusters `all` is one job that names none, and goes to all.
   */
  async jobs(order: Order, signal: AbortSignal): Promise<WantedJob[]> {
    signal.throwIfAborted()
    const settings = this.#provider.dragonfly.clusters
    const byId = order.clusters === undefined && settings !== 'all' && 'ids' in settings
    const listed = byId ? undefined : await this.#clusters.get(signal)
    const clusters = chooseClusters(order.clusters, settings, listed, this.#manager.who)
    const parts = 'file' in order ? [undefined] : order.manifests.map(({ digest }) => digest)
    return parts.flatMap((manifest) =>
      clusters.map((cluster) => ({
        key: `${manifest ?? 'file'}@${cluster?.id ?? 'all'}`,
        manifest,
        cluster: cluster && { id: `${cluster.id}`, name: cluster.name },
        ids: [],
        state: 'wanted' as const,
      })),
    )
  }

  async submit(order: Order, job: Job, authorization: Secret | undefined, signal: AbortSignal): Promise<string> {
    const url = urlOf(order, job)
    if (url === undefined)
      throw new EdgeError('rejected', 'PH5002', `${this.#manager.who}: the repository’s name has no place in a URL`)
    // A file is another host's, which gets nothing that is the registry's.
    const own = 'file' in order ? undefined : authorization
    refuseExposedToken(this.#provider, own)
    this.#refuseWhatIsIgnored(order)
    return await this.#gateOf(job.cluster?.id).pass(() => this.#preheat(order, job, url, own, signal), signal)
  }

  async #preheat(
    order: Order,
    job: Job,
    url: string,
    authorization: Secret | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const scope = this.#oldScopes.value ? oldScope(order.scope) : order.scope
    if (scope === undefined) throw this.#scopeRefusal(order)
    const settings = this.#provider.dragonfly
    const body = preheatBody(order, job, { url, scope, settings }, authorization)
    const asked = await this.#manager.postJob(body, authorization, signal)
    const taken = asked.answer.status === 200 ? parseTaken(asked.answer.bytes) : undefined
    if (taken !== undefined) {
      this.#limited.delete(keyOf(job))
      this.#remember(taken.echo)
      return taken.id
    }
    if (!this.#oldScopes.value && refusesScope(asked.answer)) {
      this.#oldScopes.show(true)
      return await this.#preheat(order, job, url, authorization, signal)
    }
    throw await this.#refusedSubmission(job, asked, signal)
  }

  async observe(order: Order, job: Extract<Job, { state: 'open' }>, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted()
    if (!/^\d{1,19}$/.test(job.id)) return gone(job.id)
    const row = await this.#preheatRow(job, signal)
    // Somebody else's: a manager whose database was made anew counts from 1 again.
    if (row === undefined || row.url !== urlOf(order, job) || row.bio !== bioOf(order, job)) return gone(job.id)
    const verdict = verdictOf(row, this.#question(order, job))
    if (verdict === undefined) {
      throw new EdgeError(
        'unintelligible',
        'PH5008',
        `${this.#manager.who} tells job ${job.id} in a state that is none`,
      )
    }
    return verdict === 'open'
      ? { kind: 'open' }
      : { kind: 'ended', verdict: this.#withMismatch(order, row, this.#withoutWrongIds(order, row, verdict)) }
  }

  /** Of a job that names no cluster, a row that has ended is asked for by itself: lists do not tell clusters. */
  async #preheatRow(job: Extract<Job, { state: 'open' }>, signal: AbortSignal): Promise<JobRow | undefined> {
    const row = await this.#preheats.look(job.id, job.lookAt, signal)
    const needsClusters = job.cluster === undefined && row?.state !== 'PENDING' && row?.clusters.length === 0
    return needsClusters ? await this.#preheats.ask(job.id, signal) : row
  }

  /** What was cached under ids that the Provider's settings do not lead to is nothing that nodes will find. */
  #withoutWrongIds(order: Order, row: JobRow, verdict: Verdict): Verdict {
    const ignored = ignoredSettings(row.echo, orderArgs(this.#provider.dragonfly, order))
    const wrong = ignored.filter(({ inTaskId }) => inTaskId).map(settingText)
    if (wrong.length === 0 || verdict.claims === undefined) return verdict
    const message = `cached under other ids than nodes ask for: the manager does not know ${wrong.join(', ')}`
    return { ...verdict, claims: undefined, message: verdict.message ?? message }
  }

  /** What is cached is cached, also where nodes were seen to pull by other ids: that is said with it. */
  #withMismatch(order: Order, { echo }: JobRow, verdict: Verdict): Verdict {
    const mayDiffer = this.#provider.dragonfly.taskId === 'auto' && !('file' in order)
    if (!mayDiffer || verdict.claims === undefined) return verdict
    const warning = mismatch(preheatForm('auto', echo), this.#pulls.value ?? [], echo.byDigest !== undefined)
    return { ...verdict, message: joined([verdict.message, warning]) }
  }

  /** By the mark in `bio`, from the newest job back to the order's own beginning. */
  async find(order: Order, job: Job, signal: AbortSignal): Promise<string | undefined> {
    signal.throwIfAborted()
    const [bio, url, since] = [bioOf(order, job), urlOf(order, job), begunAt(order) - SKEW_MS]
    if (url === undefined) return undefined
    for await (const { rows } of this.#preheats.pages(false, signal)) {
      const found = rows.find((row) => row.bio === bio && row.url === url)
      // Every attempt has the same mark: one that is known already is not the one whose answer was lost.
      if (found !== undefined) return job.ids.includes(`${found.id}`) ? undefined : `${found.id}`
      if (rows.some(({ createdAt }) => createdAt !== undefined && createdAt < since)) return undefined
    }
    return undefined
  }

  async probe(order: Order, job: Job, text: string | undefined, signal: AbortSignal): Promise<Probe> {
    signal.throwIfAborted()
    const question = this.#question(order, job)
    const notes = (text === undefined ? undefined : parseNotes(text)) ?? (await this.#newNotes(question, signal))
    if (notes === undefined || urlOf(order, job) === undefined) return { kind: 'ended', claims: undefined }
    const short = (own: ProbeNotes['own']) => {
      const shown = probedClaims(own, question)?.cached
      return shown === undefined ? [] : question.blobs.filter((blob) => !shown.includes(blob))
    }
    const round = await bothRound(notes, question.blobs, short, {
      submit: (blob, by) => this.#askForBlob(blobQuestion(order, job, blob), by, signal),
      look: async (blob, { id, lookAt }) => {
        const row = await this.#questions.look(id, lookAt, signal)
        return row?.bio === probeBioOf(order, job, blob) ? row : undefined
      },
      nextLook: (submittedAt, now) => this.nextLook(submittedAt, now),
      now: () => this.#clock.now(),
    })
    if (round.kind === 'open') return { ...round, notes: JSON.stringify(round.notes) }
    const shown = round.kind === 'blind' ? undefined : claimsUnderBoth(round.notes, question)
    if (round.kind === 'blind' || shown === undefined) return { kind: 'ended', claims: undefined }
    const { own, other } = round.notes
    if (other === undefined) return { kind: 'ended', claims: shown.claims }
    const seen = Object.keys(other.blobs).length > 0
    const holders = {
      url: holdersOf(own.by === 'url' ? own : other),
      digest: holdersOf(own.by === 'url' ? other : own),
    }
    const pulls = this.#notePulls(seen ? formsOfPulls(holders, own.by, order.scope) : [])
    const { length } = shown.otherwise
    const message = joined([
      length === 0 ? undefined : heldOtherwise(length, question.blobs.length, own.by),
      mismatch(own.by, pulls, this.#echo.value?.byDigest !== undefined),
    ])
    return { kind: 'ended', claims: shown.claims, ...(message !== undefined && { message }) }
  }

  /**
   * Undefined for a manager that is known to ask no hosts. With `taskId: auto` it is asked as it caches by itself, and
   * once an hour one probe asks for a blob under the other ids as well, even if all is there. A file has one id.
   */
  async #newNotes({ repository, blobs }: Question, signal: AbortSignal): Promise<ProbeNotes | undefined> {
    const echo = await this.#lastEcho(signal)
    if (echo !== undefined && !asksHosts(echo)) return undefined
    const isFile = repository === undefined
    const { taskId } = this.#provider.dragonfly
    const own = isFile ? 'url' : preheatForm(taskId, echo)
    const notes = { v: 2, own: emptyNotes(own), other: undefined, sample: [] } as const
    if (isFile || taskId !== 'auto') return notes
    const isKnown = this.#sampled.value === true
    if (!isKnown) this.#sampled.show(true)
    return { ...notes, other: emptyNotes(otherForm(own)), sample: isKnown ? [] : blobs.slice(0, 1) }
  }

  /** Undefined: this manager cannot be asked so. @throws {EdgeError} */
  async #askForBlob(question: BlobQuestion, by: IdForm, signal: AbortSignal): Promise<string | undefined> {
    return await this.#gateOf(question.clusterId).pass(async () => {
      const body = getTaskBody(question, by, this.#provider.dragonfly)
      const asked = await this.#manager.postJob(body, undefined, signal)
      const taken = asked.answer.status === 200 ? parseTaken(asked.answer.bytes) : undefined
      if (taken !== undefined) return taken.id
      if (cannotProbe(asked.answer)) return undefined
      throw asked.refusal('a look for a blob')
    }, signal)
  }

  #question(order: Order, job: Job): Question {
    return {
      repository: 'file' in order ? undefined : order.repository,
      scope: order.scope,
      blobs: 'file' in order ? [order.file] : (manifestOf(order, job)?.blobs.map(({ digest }) => digest) ?? []),
      cluster: job.cluster && Number(job.cluster.id),
      requiredShare: this.#provider.dragonfly.requiredShare,
      peers: this.#provider.dragonfly.peers,
    }
  }

  nextLook(submittedAt: Instant, now: Instant): Instant {
    const { pollScheduleMs } = this.#provider.dragonfly
    const echo = this.#echo.value
    const ages = echo === undefined || looksAtKnownAges(echo) ? pollScheduleMs : withEarlyLooks(pollScheduleMs)
    return nextLook(ages, submittedAt, now, this.#phase)
  }

  overdueAt(order: Order, submittedAt: Instant): Instant {
    return overdueAt(this.#provider.dragonfly.pollScheduleMs, order.timeoutMs, submittedAt)
  }

  /** A page of them, newest first. */
  async #newestPreheats(signal: AbortSignal): Promise<readonly JobRow[]> {
    for await (const { rows } of this.#preheats.pages(false, signal)) return rows
    return []
  }

  /** Proves database and token, and shows what this manager knows. */
  async #newestPreheat(signal: AbortSignal): Promise<JobRow | undefined> {
    const asked = await this.#manager.getInTurn('/oapi/v1/jobs?type=preheat&page=1&per_page=1', signal)
    const rows = asked.answer.status === 200 ? parseJobs(asked.answer.bytes) : undefined
    if (rows === undefined) throw asked.refusal('the list of jobs')
    return rows[0]
  }

  /**
   * What the manager last showed of itself: to this driver, otherwise to anybody, as far as it remembers. Undefined on
   * one that nobody has given a preheat for hours.
   */
  async #lastEcho(signal: AbortSignal): Promise<Echo | undefined> {
    return this.#echo.value ?? (await this.#newestPreheat(signal))?.echo
  }

  #remember(echo: Echo | undefined): void {
    if (echo === undefined) return
    this.#echo.show(echo)
    // Since 2.1.66 any word is taken, so that the old one is refused by nobody; what is newer shows in the echo.
    if (echo.keys.has('piece_length')) this.#oldScopes.forget()
  }

  /** The first job of a Provider shows what its manager drops; a second is not sent to be half of what was asked. */
  #refuseWhatIsIgnored(order: Order): void {
    const echo = this.#echo.value
    if (echo === undefined) return
    const ignored = ignoredSettings(echo, orderArgs(this.#provider.dragonfly, order)).map(settingText)
    if (ignored.length === 0) return
    const version = versionOf(echo) ?? 'of an unknown version'
    throw new EdgeError(
      'rejected',
      'PH5002',
      `${this.#manager.who} is a manager ${version}, which drops without a word: ${ignored.join(', ')}`,
    )
  }

  #scopeRefusal({ scope }: Order): EdgeError {
    const message = `${this.#manager.who} is a manager before 2.1.66, which has no scope ${scope}: use single_seed_peer or all_peers`
    return new EdgeError('rejected', 'PH3007', message)
  }

  /** A cluster that the limiter does not know is answered like a limit; after a few of these its record is looked for. */
  async #refusedSubmission(job: Job, asked: Asked, signal: AbortSignal): Promise<EdgeError> {
    const error = asked.refusal('a submission')
    if (asked.answer.status !== 429 || job.cluster === undefined) return error
    const times = (this.#limited.get(keyOf(job)) ?? 0) + 1
    this.#limited.set(keyOf(job), times)
    if (times < LIMITED_OFTEN) return error
    const { id } = job.cluster
    const { answer } = await this.#manager.getInTurn(`/oapi/v1/clusters/${id}`, signal)
    if (isRecordMissing(answer))
      return new EdgeError('rejected', 'PH5009', `${this.#manager.who} has no cluster with id ${id}`)
    const age = answer.status === 200 ? parseClusterAge(answer.bytes, this.#clock.now()) : undefined
    if (age === undefined || age < 0 || age >= YOUNG_MS) return error
    return new EdgeError(
      'unavailable',
      'PH5001',
      `${this.#manager.who} does not take jobs for cluster ${id} yet: it is new`,
      {
        retryAfterMs: YOUNG_MS - age,
      },
    )
  }

  /** A manager counts by cluster, and not at all where none is named. */
  #gateOf(clusterId: string | number | undefined): Gate {
    const key = `${clusterId ?? 'all'}`
    const gate = this.#gates.get(key) ?? new Gate(this.#manager.who, this.#clock, this.#provider.limits)
    this.#gates.set(key, gate)
    return gate
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closers[Symbol.asyncDispose]()
  }
}

/** What there is to say, in one line; undefined for nothing. */
function joined(words: readonly (string | undefined)[]): string | undefined {
  const said = words.filter((one) => one !== undefined)
  return said.length === 0 ? undefined : said.join('; ')
}

function keyOf({ cluster }: Job): string {
  return cluster?.id ?? 'all'
}

/** The word of managers 2.1.57 to 2.1.65; undefined where they have none. */
function oldScope(scope: Scope): string | undefined {
  return { single_seed_peer: 'single_peer', all_seed_peers: undefined, all_peers: 'all_peers' }[scope]
}

/** When the order's execution was due, as its id begins; long ago where it does not. */
function begunAt({ taskId }: Order): Instant {
  const [, ...parts] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/.exec(taskId) ?? []
  const [year = '', month = '', day = '', hour = '', minute = '', second = ''] = parts
  return year === '' ? 0 : Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
}

/** Rows live some hours (manager/gc/job.go, v2.2.3 up: 6 h); that one is gone says nothing about the blobs. */
function gone(id: string): Observation {
  const verdict: Verdict = { said: 'gone', claims: undefined, message: `the manager has no record of job ${id}` }
  return { kind: 'ended', verdict }
}
