import type { ArtifactSource } from '../registry/registry.ts'
import type { Engine } from '../engine/engine.ts'
import type { DueWork, Store } from '../store/store.ts'
import type { Clock } from '../model/clock.ts'
import type { Instant } from '../model/duration.ts'
import { LeaseLost } from '../model/errors.ts'
import type { Emit } from '../model/events.ts'
import type { Snapshot } from '../model/execution.ts'
import type { Provider } from '../model/provider.ts'
import type { Registry } from '../model/registry.ts'
import { isSettled, type OpenTask, type Task } from '../model/task.ts'
import { afterSilence, closed, passage, type Breaker } from './breaker.ts'
import { step } from './step.ts'

/** Drivers by the settings that an execution keeps. */
export interface Drivers {
  engine(provider: Provider): Promise<Engine>
  source(registry: Registry): Promise<ArtifactSource>
}

/** Limits of what is declared now, by name. */
export interface Limits {
  /** HTTP requests at once, over all providers. */
  readonly requests: number
  submitsInFlight(provider: string): number
  openArtifacts(registry: string): number
}

export interface LoopPorts {
  readonly store: Pick<
    Store,
    'due' | 'nextDueAt' | 'openArtifacts' | 'claim' | 'renew' | 'saveStep' | 'release' | 'execution' | 'hasOpenTasks'
  >
  readonly drivers: Drivers
  readonly limits: Limits
  readonly clock: Clock
  readonly emit: Emit
  readonly random: () => number
  /** Masks secrets that the other side sent back to us. */
  readonly scrub: (text: string) => string
  /** Called when the last task of an execution has settled; again, where several settle at once. */
  readonly onExecutionSettled: (executionId: string, signal: AbortSignal) => Promise<void>
  /** Does a provider answer, whatever it says? */
  readonly answers: (provider: string, signal: AbortSignal) => Promise<boolean>
}

/** Of a worker that is gone, the tasks that it had under way are taken up by another after this. */
const LEASE_MS = 30_000
/** A step may take longer than a lease (130 s for a submission): as long as its worker lives it keeps it. */
const RENEW_EVERY_MS = 10_000
/** How long the store is not asked without a reason; every known reason wakes the loop. */
const IDLE_MS = 5_000
/** How long to wait while work is due that a limit holds back. */
const HELD_BACK_MS = 250
/**
 * How often due work is counted while steps end one after another. Counting reads every open task: at each of 10,000
 * ends it took most of the processor.
 */
const COUNT_EVERY_MS = 200

interface Work {
  readonly provider: string
  readonly registry: string
  readonly kind: Kind
}

/** `pending` and `submitting` submit, `running` looks. */
type Kind = 'pending' | 'submitting' | 'running'

/** In this order, so that looks and what is begun already never wait for what is not. */
const KINDS: readonly Kind[] = ['running', 'submitting', 'pending']

/**
 * Drives every open task: claims what is due, takes it one step, saves it. Tasks are rows, so a hung engine holds a
 * few requests and nothing else, and a restart is the same loop begun again.
 *
 * A provider gets at most its `submitsInFlight` for submissions and as many for looks, and never so much of `requests`
 * that the others starve.
 */
export class TaskLoop {
  readonly #ports: LoopPorts
  /** Steps under way; the size of each set is what limits speak of. */
  readonly #steps = new Map<Promise<void>, Work>()
  /** Tasks of those steps: a lease that runs out under a long step is no reason to take it twice. */
  readonly #tasks = new Set<string>()
  readonly #snapshots = new Map<string, Promise<Snapshot | undefined>>()
  /** Looks at executions of which a task has settled, by execution, until they have ended that are over. */
  readonly #looks = new Map<string, Promise<void>>()
  /** Those of which another one has settled meanwhile. */
  readonly #settledSince = new Set<string>()
  readonly #breakers = new Map<string, Breaker>()
  readonly #questions = new Map<string, Promise<void>>()
  /** Artifacts by registry that engines may be pulling: when it was counted, and what was begun since. */
  readonly #open = new Map<string, number>()
  /** What was due when it was counted, less what was claimed since. */
  #counted: { readonly at: Instant; readonly work: DueWork[]; nextDueAt: Instant | undefined } | undefined
  #rest = new AbortController()
  #failure: { readonly error: unknown } | undefined

  constructor(ports: LoopPorts) {
    this.#ports = ports
  }

  /** Makes the loop look again now: there may be new work. */
  wake(): void {
    this.#counted = undefined
    this.#rest.abort()
  }

  /** Providers that do not answer; their tasks wait. */
  silentProviders(): string[] {
    return [...this.silentUntil().keys()].sort()
  }

  /** Likewise, with when they are asked again. */
  silentUntil(): ReadonlyMap<string, Instant> {
    return new Map(
      [...this.#breakers].flatMap(([provider, { openUntil }]) =>
        openUntil === undefined ? [] : [[provider, openUntil] as const],
      ),
    )
  }

  /**
   * Works until `stop` aborts or `enough` says so; steps under way are finished unless `abort` cuts them off. Resolves
   * when nothing is under way any more.
   *
   * @param enough asked when nothing is under way and nothing due: with the next due instant, undefined when no task
   *   is open
   * @throws what a step threw that is neither the engine's fault nor a shutdown: a bug, or a store that failed
   */
  async run(enough: (nextDueAt: Instant | undefined) => boolean, stop: AbortSignal, abort: AbortSignal): Promise<void> {
    const { clock } = this.#ports
    const over = new AbortController()
    const renewing = this.#renewLeases(over.signal)
    try {
      while (!stop.aborted && this.#failure === undefined) {
        this.#rest = new AbortController()
        const rest = this.#rest.signal
        if ((await this.#claimDue(abort)) > 0) continue
        const nextDueAt = await this.#nextDueAt()
        if (this.#isIdle() && enough(nextDueAt)) return
        const now = clock.now()
        const recountAt = (this.#counted?.at ?? now) + COUNT_EVERY_MS
        await this.#sleepUntil(
          nextDueAt !== undefined && nextDueAt <= now
            ? Math.max(now + 1, Math.min(now + HELD_BACK_MS, recountAt))
            : Math.min(nextDueAt ?? Infinity, now + IDLE_MS),
          rest,
          stop,
        )
      }
    } finally {
      await Promise.allSettled([...this.#steps.keys(), ...this.#questions.values()])
      // A look may be followed by another one.
      while (this.#looks.size > 0) await Promise.allSettled(this.#looks.values())
      over.abort()
      await renewing
    }
    const failure = this.#takeFailure()
    if (failure !== undefined) throw failure.error
  }

  /** Once thrown it is over: the loop may be run again. */
  #takeFailure(): { readonly error: unknown } | undefined {
    const failure = this.#failure
    this.#failure = undefined
    return failure
  }

  /** Keeps the leases of steps under way. */
  async #renewLeases(over: AbortSignal): Promise<void> {
    const { store, clock } = this.#ports
    try {
      for (;;) {
        await clock.sleepUntil(clock.now() + RENEW_EVERY_MS, over)
        if (this.#tasks.size > 0) await store.renew([...this.#tasks], clock.now(), LEASE_MS)
      }
    } catch (error) {
      // Who lost a lease meanwhile is told so when it writes; a store that fails ends the loop.
      if (!over.aborted) this.#failure ??= { error }
    }
  }

  /** By the last count and what was released since, as long as there are steps under way: each end of one asks. */
  async #nextDueAt(): Promise<Instant | undefined> {
    const { store } = this.#ports
    if (this.#isIdle() || this.#counted === undefined) return await store.nextDueAt()
    const counted = this.#counted
    counted.nextDueAt ??= (await store.nextDueAt()) ?? Infinity
    return counted.nextDueAt
  }

  #isIdle(): boolean {
    return this.#steps.size === 0 && this.#looks.size === 0
  }

  /** Claims what is due and may be done now; returns how many steps it began. */
  async #claimDue(abort: AbortSignal): Promise<number> {
    const { store, clock } = this.#ports
    const now = clock.now()
    if (this.#counted === undefined || this.#steps.size === 0 || now - this.#counted.at >= COUNT_EVERY_MS) {
      this.#counted = { at: now, work: await store.due(now), nextDueAt: undefined }
      this.#open.clear()
    }
    const { work } = this.#counted
    const share = this.#share(work)
    let begun = 0
    for (const [index, { provider, registry, ...counts }] of work.entries()) {
      if (!this.#isPassable(provider, abort)) continue
      const left = { ...counts }
      for (const kind of KINDS) {
        if (left[kind] <= 0) continue
        const claimed = await this.#claim({ provider, registry, kind }, share, abort)
        left[kind] -= claimed
        begun += claimed
      }
      work[index] = { provider, registry, ...left }
    }
    return begun
  }

  /** What one provider may have in flight of one kind, so that all fit into `requests`. */
  #share(due: readonly DueWork[]): number {
    const providers = new Set([...due, ...this.#steps.values()].map(({ provider }) => provider))
    return Math.max(1, Math.floor(this.#ports.limits.requests / (2 * Math.max(1, providers.size))))
  }

  async #claim(work: Work, share: number, abort: AbortSignal): Promise<number> {
    const { store, clock, limits } = this.#ports
    const underWay = this.#count(
      (one) => one.provider === work.provider && (one.kind === 'running') === (work.kind === 'running'),
    )
    let room = Math.min(share, limits.submitsInFlight(work.provider)) - underWay
    if (work.kind === 'pending' && room > 0) room = Math.min(room, await this.#registryRoom(work.registry, room))
    if (room <= 0) return 0
    const caps = {
      submitsInFlight: limits.submitsInFlight(work.provider),
      openArtifacts: limits.openArtifacts(work.registry),
    }
    const tasks = await store.claim(work, room, caps, clock.now(), LEASE_MS)
    if (work.kind === 'pending') this.#open.set(work.registry, (this.#open.get(work.registry) ?? 0) + tasks.length)
    const free = tasks.filter(({ id }) => !this.#tasks.has(id))
    for (const task of free) this.#begin(task, work, abort)
    return free.length
  }

  /** How many more artifacts of a registry may be begun; asked for anew where what is known leaves too little. */
  async #registryRoom(registry: string, wanted: number): Promise<number> {
    const { store, limits } = this.#ports
    const limit = limits.openArtifacts(registry)
    const known = this.#open.get(registry)
    if (known !== undefined && limit - known >= wanted) return limit - known
    // A task that is being begun is not in the store's count yet.
    const begun = this.#count((one) => one.registry === registry && one.kind === 'pending')
    const open = begun + (await store.openArtifacts(registry))
    this.#open.set(registry, open)
    return limit - open
  }

  #begin(task: OpenTask, work: Work, abort: AbortSignal): void {
    this.#tasks.add(task.id)
    const done = this.#step(task, abort)
      .catch((error: unknown) => {
        // On shutdown the row stays as it is, and one that was taken over is another's; all else is ours to fail by.
        if (!abort.aborted && !(error instanceof LeaseLost)) this.#failure ??= { error }
      })
      .finally(() => {
        this.#steps.delete(done)
        this.#tasks.delete(task.id)
        this.#rest.abort()
      })
    this.#steps.set(done, work)
  }

  async #step(task: OpenTask, abort: AbortSignal): Promise<void> {
    const { store, drivers, clock, emit, random, scrub } = this.#ports
    const snapshot = await this.#snapshotOf(task.executionId)
    const target = snapshot?.targets.find(({ provider }) => provider.name === task.provider)
    if (snapshot === undefined || target === undefined)
      throw new Error(`task ${task.id} has no execution that knows ${task.provider}`)
    const engine = await drivers.engine(target.provider)
    const source = await drivers.source(snapshot.registry)
    const next = scrubbed(await step(task, { engine, source, store, clock, random }, abort), scrub)
    // A crash between the answer and this write repeats one look, or one submission whose id nobody knew.
    const alongWith = await store.release(next)
    if (!isSettled(next) && this.#counted?.nextDueAt !== undefined)
      this.#counted.nextDueAt = Math.min(this.#counted.nextDueAt, next.nextAt)
    emit({ name: 'task.changed', task: next })
    this.#heed(task, next)
    for (const executionId of isSettled(next) ? [next.executionId, ...alongWith] : alongWith)
      this.endIfSettled(executionId, abort)
  }

  /** What an execution keeps never changes, and every step of its tasks asks for it. */
  #snapshotOf(executionId: string): Promise<Snapshot | undefined> {
    const known = this.#snapshots.get(executionId)
    if (known !== undefined) return known
    const snapshot = this.#ports.store.execution(executionId).then((execution) => execution?.snapshot)
    this.#snapshots.set(executionId, snapshot)
    snapshot.catch(() => this.#snapshots.delete(executionId))
    return snapshot
  }

  /**
   * Ends an execution if none of its tasks is open. Beside the steps, because an execution may take a while to end and
   * no task is to wait for that; tasks that settle during a look are one more look together.
   */
  endIfSettled(executionId: string, abort: AbortSignal): void {
    if (this.#looks.has(executionId)) {
      this.#settledSince.add(executionId)
      return
    }
    const look = this.#end(executionId, abort)
      .catch((error: unknown) => {
        if (!abort.aborted) this.#failure ??= { error }
      })
      .finally(() => {
        this.#looks.delete(executionId)
        if (this.#settledSince.delete(executionId)) this.endIfSettled(executionId, abort)
        this.#rest.abort()
      })
    this.#looks.set(executionId, look)
  }

  async #end(executionId: string, abort: AbortSignal): Promise<void> {
    if (await this.#ports.store.hasOpenTasks(executionId)) return
    try {
      await this.#ports.onExecutionSettled(executionId, abort)
    } finally {
      this.#snapshots.delete(executionId)
    }
  }

  /** While a provider's breaker is open its tasks wait; when its time is up one question decides. */
  #isPassable(provider: string, abort: AbortSignal): boolean {
    const passable = passage(this.#breakers.get(provider) ?? closed, this.#ports.clock.now())
    if (passable === 'ask' && !this.#questions.has(provider)) this.#ask(provider, abort)
    return passable === 'free'
  }

  #ask(provider: string, abort: AbortSignal): void {
    const question = this.#ports
      .answers(provider, abort)
      .catch(() => false)
      .then((isAnswered) => {
        this.#questions.delete(provider)
        if (abort.aborted) return
        if (isAnswered) this.#setBreaker(provider, closed)
        else this.#setBreaker(provider, afterSilence(this.#breakers.get(provider) ?? closed, this.#ports.clock.now()))
        this.wake()
      })
    this.#questions.set(provider, question)
  }

  /** What a step tells of its provider: silence, or anything else. */
  #heed(before: OpenTask, after: Task): void {
    const isSilence = after.error?.code === 'PH5001' && after.error !== before.error && !isAskedToWait(before, after)
    const breaker = this.#breakers.get(before.provider) ?? closed
    if (isSilence) this.#setBreaker(before.provider, afterSilence(breaker, this.#ports.clock.now()))
    else if (breaker.openUntil === undefined) this.#breakers.delete(before.provider)
  }

  #setBreaker(provider: string, next: Breaker): void {
    const before = this.#breakers.get(provider) ?? closed
    if (next === closed) this.#breakers.delete(provider)
    else this.#breakers.set(provider, next)
    if (before.openUntil !== next.openUntil)
      this.#ports.emit({ name: 'provider.circuit', provider, openUntil: next.openUntil })
  }

  #count(which: (work: Work) => boolean): number {
    let count = 0
    for (const work of this.#steps.values()) if (which(work)) count++
    return count
  }

  async #sleepUntil(until: Instant, rest: AbortSignal, stop: AbortSignal): Promise<void> {
    const wake = () => {
      this.wake()
    }
    if (stop.aborted) return
    stop.addEventListener('abort', wake, { once: true })
    try {
      await this.#ports.clock.sleepUntil(until, rest)
    } catch (error) {
      if (!rest.aborted) throw error
    } finally {
      stop.removeEventListener('abort', wake)
    }
  }
}

/** A task without the secrets that an engine or a registry may have put into its words: they go into reports. */
export function scrubbed<T extends Task>(task: T, scrub: (text: string) => string): T {
  const message = (text: string | undefined) => text && scrub(text)
  return {
    ...task,
    error: task.error && { ...task.error, message: scrub(task.error.message) },
    jobs: task.jobs.map((job) =>
      job.state === 'ended' || job.state === 'probing'
        ? { ...job, verdict: { ...job.verdict, message: message(job.verdict.message) } }
        : job,
    ),
  }
}

/** 429 and the like: the provider answered, and named a time. */
function isAskedToWait(before: OpenTask, after: Task): boolean {
  return after.faults <= before.faults && !isSettled(after)
}
