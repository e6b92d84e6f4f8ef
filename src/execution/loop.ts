import type { ArtifactSource } from '../registry/registry.ts'
import type { Engine } from '../engine/engine.ts'
import type { DueWork, Store } from '../store/store.ts'
import type { Clock } from '../model/clock.ts'
import type { Instant } from '../model/duration.ts'
import type { Emit } from '../model/events.ts'
import type { Provider } from '../model/provider.ts'
import type { Registry } from '../model/registry.ts'
import { isSettled, type OpenTask, type Task } from '../model/task.ts'
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
    'due' | 'nextDueAt' | 'openArtifacts' | 'claim' | 'saveStep' | 'release' | 'execution' | 'openTasks'
  >
  readonly drivers: Drivers
  readonly limits: Limits
  readonly clock: Clock
  readonly emit: Emit
  readonly random: () => number
  /** Masks secrets that the other side sent back to us. */
  readonly scrub: (text: string) => string
  /** Called when the last task of an execution has settled; again, where several settle at once. */
  readonly onExecutionSettled: (executionId: string) => Promise<void>
}

/** Longer than the longest request of a step (130 s for a submission), so that nobody takes over a step under way. */
const LEASE_MS = 300_000
/** How long the store is not asked without a reason; every known reason wakes the loop. */
const IDLE_MS = 5_000
/** How long to wait while work is due that a limit holds back. */
const HELD_BACK_MS = 250

type Work = { readonly provider: string; readonly registry: string; readonly kind: 'pending' | 'open' }

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
  #rest = new AbortController()
  #failure: { readonly error: unknown } | undefined

  constructor(ports: LoopPorts) {
    this.#ports = ports
  }

  /** Makes the loop look again now. */
  wake(): void {
    this.#rest.abort()
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
    const { store, clock } = this.#ports
    try {
      while (!stop.aborted && this.#failure === undefined) {
        this.#rest = new AbortController()
        const rest = this.#rest.signal
        if ((await this.#claimDue(abort)) > 0) continue
        const nextDueAt = await store.nextDueAt()
        if (this.#steps.size === 0 && enough(nextDueAt)) return
        const now = clock.now()
        await this.#sleepUntil(
          nextDueAt !== undefined && nextDueAt <= now
            ? now + HELD_BACK_MS
            : Math.min(nextDueAt ?? Infinity, now + IDLE_MS),
          rest,
          stop,
        )
      }
    } finally {
      await Promise.allSettled(this.#steps.keys())
    }
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** Claims what is due and may be done now; returns how many steps it began. */
  async #claimDue(abort: AbortSignal): Promise<number> {
    const { store, clock } = this.#ports
    const due = await store.due(clock.now())
    const share = this.#share(due)
    let begun = 0
    for (const { provider, registry, pending, open } of due) {
      if (open > 0) begun += await this.#claim({ provider, registry, kind: 'open' }, share, abort)
      if (pending > 0) begun += await this.#claim({ provider, registry, kind: 'pending' }, share, abort)
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
    const underWay = this.#count((one) => one.provider === work.provider && one.kind === work.kind)
    let room = Math.min(share, limits.submitsInFlight(work.provider)) - underWay
    if (work.kind === 'pending' && room > 0) {
      // A task that is being begun is not in the store's count yet.
      const begun = this.#count((one) => one.registry === work.registry && one.kind === 'pending')
      room = Math.min(room, limits.openArtifacts(work.registry) - begun - (await store.openArtifacts(work.registry)))
    }
    if (room <= 0) return 0
    const tasks = await store.claim(work, room, clock.now(), LEASE_MS)
    for (const task of tasks) this.#begin(task, work, abort)
    return tasks.length
  }

  #begin(task: OpenTask, work: Work, abort: AbortSignal): void {
    const done = this.#step(task, abort)
      .catch((error: unknown) => {
        // On shutdown the row stays as it is; anything else is ours to fail by.
        if (!abort.aborted) this.#failure ??= { error }
      })
      .finally(() => {
        this.#steps.delete(done)
        this.wake()
      })
    this.#steps.set(done, work)
  }

  async #step(task: OpenTask, abort: AbortSignal): Promise<void> {
    const { store, drivers, clock, emit, random, scrub, onExecutionSettled } = this.#ports
    const execution = await store.execution(task.executionId)
    const target = execution?.snapshot.targets.find(({ provider }) => provider.name === task.provider)
    if (execution === undefined || target === undefined)
      throw new Error(`task ${task.id} has no execution that knows ${task.provider}`)
    const engine = await drivers.engine(target.provider)
    const source = await drivers.source(execution.snapshot.registry)
    const next = scrubbed(await step(task, { engine, source, store, clock, random }, abort), scrub)
    // A crash between the answer and this write repeats one look, or one submission whose id nobody knew.
    await store.release(next)
    emit({ name: 'task.changed', task: next })
    if (isSettled(next) && (await store.openTasks(next.executionId)) === 0) await onExecutionSettled(next.executionId)
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
      job.state === 'ended' ? { ...job, verdict: { ...job.verdict, message: message(job.verdict.message) } } : job,
    ),
  }
}
