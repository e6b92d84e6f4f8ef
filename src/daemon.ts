import { setMaxListeners } from 'node:events'
import pLimit, { type LimitFunction } from 'p-limit'
import {
  CannotBegin,
  beginDueDuties,
  beginDueEvents,
  beginDueSlots,
  beginManual,
  beginRuns,
  nextEventsAt,
  type BeginPorts,
  type Selecting,
} from './begin.ts'
import { expire, finish, selectArtifacts, stop } from './fulfil.ts'
import { nextPollAt, poll, polledKey, polledOf, routeDeliveries } from './poll.ts'
import { ASKED, Questions } from './questions.ts'
import { reconcile, type Reconciled } from './reconcile.ts'
import { isUrgent, sendReports, type Sent } from './send-reports.ts'
import type { ConfigReader } from './config/reader.ts'
import { TaskLoop, type Drivers, type Limits } from './execution/loop.ts'
import type { Peers } from './report/execution-report.ts'
import { parseRuns } from './report/runs.ts'
import { Bell } from './bell.ts'
import { Closers } from './closers.ts'
import { Alarms } from './trigger/alarms.ts'
import type { Clock } from './model/clock.ts'
import type { Instant } from './model/duration.ts'
import { EdgeError, OperatorError } from './model/errors.ts'
import type { Emit, Event } from './model/events.ts'
import type { EndedExecution, Execution } from './model/execution.ts'
import { ofKind } from './model/resource.ts'
import { SourceError, type Publisher, type Source } from './model/source.ts'
import type { Asked } from './model/operations.ts'
import type { Applied, Store } from './store/store.ts'

/** One of several daemons on one store leads: it syncs, runs schedules, selects and reports. All of them do tasks. */
interface Election {
  /** Waits until this one leads. */
  lead(signal: AbortSignal): Promise<AsyncDisposable & { readonly lost: AbortSignal }>
  /** Calls back when another one wrote something that may concern this one. */
  listen(changed: () => void): AsyncDisposable
}

/** All that the daemon works with. */
export interface DaemonPorts {
  /** Undefined: it has its store to itself. */
  readonly election: Election | undefined
  /** A loop turned. */
  readonly beat: (loop: Loop) => void
  readonly source: Source
  readonly reader: ConfigReader
  readonly publisher: Publisher
  readonly store: Store
  readonly drivers: Drivers
  readonly clock: Clock
  readonly emit: Emit
  readonly random: () => number
  /** Masks secrets that the other side sent back to us. */
  readonly scrub: (text: string) => string
  readonly settings: DaemonSettings
}

interface DaemonSettings {
  readonly instance: string
  readonly intervalMs: number
  /** How soon reports of manual runs and of changed results are pushed. */
  readonly flushIntervalMs: number
  /** How soon all others are. */
  readonly flushRestMs: number
  readonly maxCommitsPerHour: number
  /** Whether reports name the peers that hold blobs. */
  readonly peers: Peers
  /** Executions that select at once. */
  readonly selections: number
  /** HTTP requests at once. */
  readonly requests: number
  /** From the signal to stop until work under way is cut off. */
  readonly graceMs: number
}

/** What the daemon does all the time. */
export const LOOPS = ['source', 'schedule', 'events', 'tasks', 'reports'] as const
export type Loop = (typeof LOOPS)[number]

/** The longest rest of a loop, so that it is seen to turn. */
const LONGEST_REST_MS = 15_000
/** How long more is waited for when a webhook came in, so that a burst costs one look or one write. */
const GATHER_MS = 200
/** How many announcements are remembered for `logs`. */
const JOURNAL_LENGTH = 10_000

/** How soon a flush is tried again that could not be pushed, or was over its budget. */
const FLUSH_AGAIN_MS = 60_000
/** How soon a slot is looked at again that waits for the execution before it. */
const WAITING_SLOT_MS = 5_000
/** How soon a registry is asked again that could not be listed. */
const POLL_AGAIN_MS = 60_000
/** How soon a loop begins anew that failed: a full disk heals, and so must we. */
const LOOP_AGAIN_MS = 5_000

/**
 * The composition: it knows every stage and every edge, and what one hands to the next. Each method is one part of the
 * walk; {@link once} walks it once, {@link run} for ever.
 */
export class Daemon {
  readonly questions: Questions
  readonly #ports: DaemonPorts
  readonly #tasks: TaskLoop
  readonly #selections: LimitFunction
  /** Executions that are being selected, by id, so that none is selected twice at once. */
  readonly #selecting = new Map<string, Promise<void>>()
  #alarms = new Alarms()
  readonly #abort = new AbortController()
  #applied: Applied | undefined
  #submitsInFlight: ReadonlyMap<string, number> = new Map()
  #openArtifacts: ReadonlyMap<string, number> = new Map()
  #flushAt: Instant | undefined
  readonly #scheduleBell = new Bell()
  readonly #flushBell = new Bell()
  readonly #sourceBell = new Bell(GATHER_MS)
  readonly #eventsBell = new Bell(GATHER_MS)
  #leads = false
  #trouble: { readonly code: string; readonly message: string } | undefined
  readonly #listeners = new Set<(event: Event) => void>()
  readonly #adopted = new Set<() => void>()
  readonly #journal: { readonly at: Instant; readonly event: Event }[] = []
  /** By project, when a look at it failed. */
  readonly #pollFailedAt = new Map<string, Instant>()
  readonly #beginPorts: BeginPorts

  constructor(ports: DaemonPorts) {
    const emit: Emit = (event) => {
      this.#remember(event)
      if (event.name === 'execution.ended') this.#onEnded(event.execution)
      if (event.name === 'source.failed') this.#trouble = { code: event.code, message: event.message }
      if (event.name === 'source.unchanged' || event.name === 'plan.applied') this.#trouble = undefined
      if (event.name === 'provider.circuit') this.#flushWithin(ports.settings.flushIntervalMs)
      ports.emit(event)
    }
    this.#ports = { ...ports, emit }
    this.#beginPorts = {
      ...this.#ports,
      replace: async (id, reason) => {
        await stop(id, { by: 'preheatd', reason }, this.#ports)
      },
    }
    this.#selections = pLimit(ports.settings.selections)
    this.questions = new Questions({
      ...this.#ports,
      selections: this.#selections,
      applied: () => this.#applied,
      silentUntil: () => this.silentUntil(),
    })
    const limits: Limits = {
      requests: Math.max(1, ports.settings.requests - ASKED),
      submitsInFlight: (name) => this.#submitsInFlight.get(name) ?? 16,
      openArtifacts: (name) => this.#openArtifacts.get(name) ?? 300,
    }
    this.#tasks = new TaskLoop({
      ...this.#ports,
      limits,
      onExecutionSettled: (id, signal) => finish(id, this.#ports, signal),
      answers: (provider, signal) => this.#answers(provider, signal),
    })
  }

  /** The source may have moved. */
  nudge(): void {
    this.#sourceBell.ring()
  }

  /** The inbox has something. */
  nudgeEvents(): void {
    this.#eventsBell.ring()
  }

  get applied(): Applied | undefined {
    return this.#applied
  }

  /** Does it sync, run schedules and report? */
  get leads(): boolean {
    return this.#leads
  }

  /** What was wrong with the last look at the source; undefined: nothing. */
  get trouble(): { readonly code: string; readonly message: string } | undefined {
    return this.#trouble
  }

  /** Providers that stopped answering, and until when their tasks wait. */
  silentUntil(): ReadonlyMap<string, Instant> {
    return this.#tasks.silentUntil()
  }

  /** Calls back with every announcement, until the returned function is called. */
  watch(listener: (event: Event) => void): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /** Calls back whenever {@link applied} is another, here or, where several share a store, by whoever leads. */
  onApplied(listener: () => void): void {
    this.#adopted.add(listener)
  }

  /** The last announcements, oldest first. */
  journal(): readonly { readonly at: Instant; readonly event: Event }[] {
    return this.#journal
  }

  /** Has what is open select, in its own time. */
  selectNow(): void {
    this.#selectSoon(this.#abort.signal)
  }

  async stopExecution(id: string, asked: Asked): Promise<boolean> {
    const isStopped = await stop(id, asked, this.#ports)
    this.#tasks.wake()
    return isStopped
  }

  /** Looks at the source now, beside its loop, and waits for what comes of it. @returns the revision in force */
  async reconcileNow(): Promise<string | undefined> {
    const looked = new Promise<string | undefined>((resolve) => {
      const over = this.watch((event) => {
        if (event.name !== 'source.unchanged' && event.name !== 'plan.applied' && event.name !== 'source.failed') return
        over()
        resolve(event.name === 'source.failed' ? this.#applied?.config.commit : event.revision)
      })
    })
    this.#sourceBell.ring()
    return await looked
  }

  /** Takes up what a former life left: its leases, its executions. To be called once, before all else. */
  async recover(): Promise<void> {
    await this.#ports.store.releaseLeases()
    await this.#resume()
  }

  async #resume(): Promise<void> {
    const { store } = this.#ports
    this.#adopt(await store.applied())
    await this.#rearm()
    this.#endSettled(await store.openExecutions())
    if ((await store.unsentReports(1)).length > 0) this.#flushAt = this.#ports.clock.now()
  }

  /** source → config → plan → store. */
  async sync(signal: AbortSignal): Promise<Reconciled> {
    const { store, publisher, emit } = this.#ports
    if ((await store.applied()) === undefined) {
      // A daemon that lost its state must not run again what another life of it has run.
      try {
        await store.adoptUsedRuns(parseRuns((await publisher.read('runs.yaml', signal)) ?? ''))
      } catch (error) {
        if (!(error instanceof SourceError)) throw error
        const { code, message, state } = error
        emit({ name: 'source.failed', state, code, message: `cannot tell which PreheatRuns are used up: ${message}` })
        return { kind: 'failed', applied: undefined, code, message }
      }
    }
    const reconciled = await reconcile(this.#ports, signal)
    this.#adopt(reconciled.applied)
    if (reconciled.kind === 'applied') {
      await this.#rearm()
      this.#flushWithin(this.#ports.settings.flushIntervalMs)
    }
    return reconciled
  }

  /** time × policies → executions. */
  async beginDue(policyKeys: (policyKey: string) => boolean): Promise<void> {
    if (this.#applied === undefined) return
    await beginDueSlots(this.#applied, policyKeys, this.#beginPorts)
    await beginDueDuties(this.#applied, policyKeys, this.#beginPorts)
  }

  /** PreheatRuns → executions. */
  async beginRuns(): Promise<void> {
    if (this.#applied !== undefined) await beginRuns(this.#applied, this.#beginPorts)
  }

  /** A person → one execution. @throws {CannotBegin} */
  async beginManual(policy: string, asked: Asked): Promise<Selecting> {
    if (this.#applied === undefined) throw new CannotBegin('no configuration has been applied yet')
    return await beginManual(policy, asked, this.#applied, this.#beginPorts)
  }

  /** executions → tasks, as many at once as may select; resolves when all that were open have selected. */
  async select(): Promise<void> {
    for (const execution of await this.#ports.store.openExecutions()) {
      if (execution.state !== 'Selecting' || this.#selecting.has(execution.id)) continue
      const selection = this.#selections(() => selectArtifacts(execution, this.#ports, this.#abort.signal)).finally(
        () => {
          this.#selecting.delete(execution.id)
          this.#tasks.wake()
        },
      )
      selection.catch(() => undefined)
      this.#selecting.set(execution.id, selection)
    }
    await Promise.all(this.#selecting.values())
  }

  /** tasks → settled tasks, until `enough`. */
  async drive(enough: (nextDueAt: Instant | undefined) => boolean, stop: AbortSignal): Promise<void> {
    await this.#tasks.run(enough, stop, this.#abort.signal)
  }

  /** settled tasks → reports → git. */
  async send(signal: AbortSignal): Promise<Sent> {
    const { instance, maxCommitsPerHour, peers } = this.#ports.settings
    const silent = this.#tasks.silentProviders()
    return await sendReports({ ...this.#ports, instance, maxCommitsPerHour, peers, silent }, signal)
  }

  /**
   * The walk, once: sync, apply, resume, begin what is due, drive, report. What is not due starts nothing.
   * @param wait until every open execution has ended; otherwise only what is due now is done
   */
  async once(begin: () => Promise<void>, wait: boolean, stop: AbortSignal): Promise<Reconciled> {
    const cutOff = this.#cutOffAfter(stop)
    try {
      await this.recover()
      const reconciled = await this.sync(stop)
      await begin()
      await this.select()
      await this.drive((nextDueAt) => nextDueAt === undefined || (!wait && nextDueAt > this.#ports.clock.now()), stop)
      if (this.#flushAt !== undefined && !stop.aborted) await this.send(stop)
      return reconciled
    } finally {
      cutOff()
    }
  }

  /** The walk, for ever: loops that wake one another. Resolves when `stop` has aborted and all work has ended. */
  async run(stop: AbortSignal): Promise<void> {
    const cutOff = this.#cutOffAfter(stop)
    try {
      await this.recover()
      await Promise.all([this.#forever('tasks', stop, () => this.#taskLoop(stop)), this.#leadLoops(stop)])
      await Promise.allSettled(this.#selecting.values())
      if (this.#flushAt !== undefined && this.#leads) await this.send(this.#abort.signal).catch(() => 'failed')
    } finally {
      cutOff()
    }
  }

  async #taskLoop(stop: AbortSignal): Promise<void> {
    const turning = new AbortController()
    const beating = this.#beatUntil(turning.signal)
    try {
      await this.drive(() => false, stop)
    } finally {
      turning.abort()
      await beating
    }
  }

  /** The task loop has no rest of its own to beat in; while it has not failed, it turns. */
  async #beatUntil(over: AbortSignal): Promise<void> {
    const { clock, beat } = this.#ports
    while (!over.aborted) {
      beat('tasks')
      await clock.sleepUntil(clock.now() + LONGEST_REST_MS, over).catch(() => undefined)
    }
  }

  /** What one daemon does for all. Where there are several, it waits to be elected, and again when it lost the lead. */
  async #leadLoops(stop: AbortSignal): Promise<void> {
    const { election } = this.#ports
    if (election === undefined) {
      this.#leads = true
      await this.#lead(stop)
      return
    }
    await using closers = new Closers()
    closers.use(
      election.listen(() => {
        this.#onChange()
      }),
    )
    while (!stop.aborted) {
      const waiting = this.#follow(stop)
      const leadership = await election.lead(stop).catch(() => undefined)
      waiting.abort()
      if (leadership === undefined) return
      const over = AbortSignal.any([stop, leadership.lost])
      setMaxListeners(0, over)
      try {
        this.#leads = true
        await this.#takeOver()
        await this.#lead(over)
      } finally {
        this.#leads = isStopped(stop)
        await leadership[Symbol.asyncDispose]()
      }
    }
  }

  async #lead(stop: AbortSignal): Promise<void> {
    await Promise.all([
      this.#forever('source', stop, () => this.#sourceLoop(stop)),
      this.#forever('schedule', stop, () => this.#scheduleLoop(stop)),
      this.#forever('events', stop, () => this.#eventLoop(stop)),
      this.#forever('reports', stop, () => this.#reportLoop(stop)),
    ])
  }

  /** What the one before left undone. */
  async #takeOver(): Promise<void> {
    this.#alarms = new Alarms()
    await this.#resume()
  }

  /** Who does not lead works by what the leader applied. */
  #follow(stop: AbortSignal): AbortController {
    const { clock, store, beat } = this.#ports
    const over = new AbortController()
    const signal = AbortSignal.any([stop, over.signal])
    const following = async () => {
      while (!signal.aborted) {
        for (const loop of LOOPS) if (loop !== 'tasks') beat(loop)
        const applied = await store.applied().catch(() => this.#applied)
        if (!isStopped(signal) && applied?.appliedAt !== this.#applied?.appliedAt) this.#adopt(applied)
        await clock.sleepUntil(clock.now() + LONGEST_REST_MS / 3, signal).catch(() => undefined)
      }
    }
    void following()
    return over
  }

  /** Another daemon wrote something. */
  #onChange(): void {
    this.#tasks.wake()
    if (!this.#leads) return
    this.#eventsBell.ring()
    void this.#ports.store.unsentReports(1).then(
      (unsent) => {
        if (unsent.length > 0) this.#flushWithin(this.#ports.settings.flushIntervalMs)
      },
      () => undefined,
    )
  }

  async #sourceLoop(stop: AbortSignal): Promise<void> {
    const { clock, settings, random } = this.#ports
    let isFirst = true
    while (!stop.aborted) {
      this.#ports.beat('source')
      const { kind } = await this.sync(stop)
      if (kind === 'applied' || isFirst) {
        isFirst = false
        await this.beginRuns()
        this.#scheduleBell.ring()
        this.#eventsBell.ring()
        this.#selectSoon(stop)
      }
      // A tenth of spread, so that daemons which started together do not ask the forge together.
      const at = clock.now() + settings.intervalMs * (0.9 + random() / 5)
      let isAwake = false
      while (!isAwake && clock.now() < at && !isStopped(stop)) {
        this.#ports.beat('source')
        isAwake = await this.#rest(at, stop, this.#sourceBell)
      }
    }
  }

  async #scheduleLoop(stop: AbortSignal): Promise<void> {
    const { clock, beat } = this.#ports
    while (!stop.aborted) {
      beat('schedule')
      const due = this.#alarms.takeDue(clock.now())
      if (due.size > 0) {
        await this.beginDue((key) => due.has(key))
        await this.#rearm(due)
        this.#selectSoon(stop)
      }
      const deadline = await this.#tendOpen()
      // A slot that waits for the execution before it is in the past, and asked about again in a while.
      const next = this.#alarms.next() ?? Infinity
      const at = next <= clock.now() ? clock.now() + WAITING_SLOT_MS : next
      await this.#rest(Math.min(at, deadline), stop, this.#scheduleBell)
    }
  }

  /** Who did the last task of an execution may be gone before it ended that. */
  #endSettled(open: readonly Execution[]): void {
    for (const { id, state } of open) if (state === 'Running') this.#tasks.endIfSettled(id, this.#abort.signal)
  }

  /** Ends what is over its deadline, and what nobody ended. @returns the next deadline */
  async #tendOpen(): Promise<Instant> {
    const { clock, store } = this.#ports
    let next = Infinity
    const open = await store.openExecutions()
    this.#endSettled(open)
    for (const { id, startedAt, snapshot } of open) {
      const { deadlineMs } = snapshot.policy
      if (deadlineMs === undefined) continue
      if (startedAt + deadlineMs <= clock.now()) await expire(id, this.#ports)
      else next = Math.min(next, startedAt + deadlineMs)
    }
    return next
  }

  /** Deliveries and looks at registries → events → executions. */
  async #eventLoop(stop: AbortSignal): Promise<void> {
    const { clock, beat } = this.#ports
    while (!stop.aborted) {
      beat('events')
      let next = Infinity
      if (this.#applied !== undefined) {
        await routeDeliveries(this.#applied, this.#ports)
        next = await this.#pollDue(this.#applied, stop)
        if ((await beginDueEvents(this.#applied, this.#beginPorts)).length > 0) this.#selectSoon(stop)
        next = Math.min(next, (await nextEventsAt(this.#applied, this.#ports.store)) ?? Infinity)
      }
      await this.#rest(Math.max(next, clock.now() + 10), stop, this.#eventsBell)
    }
  }

  /** @returns when the next project is to be looked at */
  async #pollDue(applied: Applied, stop: AbortSignal): Promise<Instant> {
    const { clock, emit } = this.#ports
    let next = Infinity
    for (const polled of polledOf(applied.objects)) {
      const key = polledKey(polled)
      const failedAt = this.#pollFailedAt.get(key)
      const dueAt = Math.max(
        await nextPollAt(polled, this.#ports),
        failedAt === undefined ? 0 : failedAt + Math.min(polled.everyMs, POLL_AGAIN_MS),
      )
      if (dueAt > clock.now()) {
        next = Math.min(next, dueAt)
        continue
      }
      try {
        await poll(polled, applied, this.#ports, stop)
        this.#pollFailedAt.delete(key)
        next = Math.min(next, clock.now() + polled.everyMs)
      } catch (error) {
        if (stop.aborted || !(error instanceof EdgeError || error instanceof OperatorError)) throw error
        this.#pollFailedAt.set(key, clock.now())
        next = Math.min(next, clock.now() + POLL_AGAIN_MS)
        const { code, message } = error
        emit({ name: 'poll.failed', registry: polled.registry.name, project: polled.project, code, message })
      }
    }
    return next
  }

  async #reportLoop(stop: AbortSignal): Promise<void> {
    const { clock, beat } = this.#ports
    while (!stop.aborted) {
      beat('reports')
      if (this.#flushAt !== undefined && this.#flushAt <= clock.now()) {
        this.#flushAt = undefined
        const sent = await this.send(stop).catch((error: unknown) => {
          // Cut off by a stop, say: then it is done once all work has ended.
          this.#flushAt = clock.now()
          throw error
        })
        if (sent === 'failed' || sent === 'over-budget') this.#flushWithin(FLUSH_AGAIN_MS)
        else await this.#ports.store.prune(clock.now())
      }
      await this.#rest(this.#flushAt ?? Infinity, stop, this.#flushBell)
    }
  }

  #selectSoon(stop: AbortSignal): void {
    this.select().catch((error: unknown) => {
      if (stop.aborted) return
      this.#ports.emit({ name: 'loop.failed', loop: 'selection', error })
      void this.#ports.clock.sleepUntil(this.#ports.clock.now() + LOOP_AGAIN_MS, stop).then(
        () => {
          this.#selectSoon(stop)
        },
        () => undefined,
      )
    })
  }

  /** Runs a loop again after it failed, until we stop: what it did not do is still in the store. */
  async #forever(loop: string, stop: AbortSignal, body: () => Promise<void>): Promise<void> {
    const { clock, emit } = this.#ports
    while (!stop.aborted) {
      try {
        await body()
      } catch (error) {
        if (isStopped(stop)) return
        emit({ name: 'loop.failed', loop, error })
        await clock.sleepUntil(clock.now() + LOOP_AGAIN_MS, stop).catch(() => undefined)
      }
    }
  }

  /** Waits for an instant, a ring, the stop, or so long that the loop has to beat. @returns whether it was rung */
  #rest(until: Instant, stop: AbortSignal, bell: Bell): Promise<boolean> {
    const { clock } = this.#ports
    return bell.rest(Math.min(until, clock.now() + LONGEST_REST_MS), clock, stop)
  }

  /** @param named those that were due */
  async #rearm(named?: ReadonlySet<string>): Promise<void> {
    this.#alarms.set(this.#applied?.objects ?? [], await this.#ports.store.schedules(), named)
  }

  /** A provider that nobody declares any more is not asked: its last tasks find out for themselves. */
  async #answers(name: string, signal: AbortSignal): Promise<boolean> {
    const providers = ofKind(this.#applied?.objects ?? [], 'Provider')
    const declared = providers.find(({ resource }) => resource.name === name)?.resource
    if (declared === undefined) return true
    const engine = await this.#ports.drivers.engine(declared)
    const health = await engine.health(signal)
    return health.ok || health.code !== 'PH5001'
  }

  /** Forgets the oldest half at once, since moving ten thousand at each announcement would cost more. */
  #remember(event: Event): void {
    this.#journal.push({ at: this.#ports.clock.now(), event })
    if (this.#journal.length > JOURNAL_LENGTH) this.#journal.splice(0, JOURNAL_LENGTH / 2)
    for (const listener of this.#listeners) listener(event)
  }

  #onEnded(execution: EndedExecution): void {
    const { flushIntervalMs, flushRestMs } = this.#ports.settings
    this.#flushWithin(flushRestMs)
    if (flushIntervalMs >= flushRestMs) return
    void this.#ports.store.unsentReports(1000).then(
      (unsent) => {
        if (unsent.some((report) => report.execution.id === execution.id && isUrgent(report)))
          this.#flushWithin(flushIntervalMs)
      },
      () => undefined,
    )
  }

  #flushWithin(ms: number): void {
    this.#flushAt = Math.min(this.#flushAt ?? Infinity, this.#ports.clock.now() + ms)
    this.#flushBell.ring()
  }

  /** What is in force, and what is asked of it at every turn. */
  #adopt(applied: Applied | undefined): void {
    this.#applied = applied
    const objects = applied?.objects ?? []
    this.#submitsInFlight = new Map(
      ofKind(objects, 'Provider').map(({ resource }) => [resource.name, resource.limits.submitsInFlight]),
    )
    this.#openArtifacts = new Map(
      ofKind(objects, 'Registry').map(({ resource }) => [resource.name, resource.limits.openArtifacts]),
    )
    for (const listener of this.#adopted) listener()
  }

  /** Lets work under way end in its own time for as long as the grace lasts, then cuts it off. */
  #cutOffAfter(stop: AbortSignal): () => void {
    // As many listeners as waits under way: that is no leak, and Node warns from the eleventh on.
    setMaxListeners(0, stop, this.#abort.signal)
    let timer: NodeJS.Timeout | undefined
    const begin = () => {
      timer = setTimeout(() => {
        this.#abort.abort(stop.reason)
      }, this.#ports.settings.graceMs)
    }
    if (stop.aborted) begin()
    else stop.addEventListener('abort', begin, { once: true })
    return () => {
      stop.removeEventListener('abort', begin)
      clearTimeout(timer)
    }
  }
}

/** In a function, since the compiler takes it for unchanged across an await. */
function isStopped(stop: AbortSignal): boolean {
  return stop.aborted
}
