import { CannotBegin, causeText } from './begin.ts'
import type { Daemon } from './daemon.ts'
import type { Clock } from './model/clock.ts'
import type { Instant } from './model/duration.ts'
import type { LedgerEntry } from './model/evidence.ts'
import type { Event } from './model/events.ts'
import type { Execution } from './model/execution.ts'
import { findPolicy } from './model/find-policy.ts'
import { policyAddress, type PreheatPolicy } from './model/policy.ts'
import { executables, ofKind, type Located } from './model/resource.ts'
import type { Task } from './model/task.ts'
import type {
  Asked,
  ExecutionView,
  ExplanationView,
  Operations,
  StatusView,
  WarmQuestion,
  WarmthView,
} from './model/operations.ts'
import { executionView, factsOf, nextSlots, standing } from './standing.ts'
import type { Store } from './store/store.ts'
import { version } from './version.ts'

/** What a living daemon answers an operator. */
export class DaemonOperations implements Operations {
  readonly #daemon: Daemon
  readonly #store: Store
  readonly #clock: Clock
  readonly #instance: string

  constructor(daemon: Daemon, store: Store, clock: Clock, instance: string) {
    this.#daemon = daemon
    this.#store = store
    this.#clock = clock
    this.#instance = instance
  }

  async status(): Promise<StatusView> {
    const { applied, trouble, leads } = this.#daemon
    return standing({
      instance: this.#instance,
      version,
      leads,
      now: this.#clock.now(),
      trouble,
      ...(await factsOf(this.#store, applied)),
      silentUntil: this.#daemon.silentUntil(),
      causeText,
    })
  }

  async executions(policy: string | undefined, limit: number): Promise<readonly ExecutionView[]> {
    const key = policy === undefined ? undefined : this.#among(policy, executables(this.#objects())).key
    const views: ExecutionView[] = []
    for (const execution of await this.#store.recent(key, limit))
      views.push(executionView({ execution, tasks: await this.#store.tasks(execution.id) }, causeText))
    return views
  }

  async execution(id: string): Promise<{ execution: Execution; tasks: readonly Task[] } | undefined> {
    const execution = await this.#store.execution(id)
    return execution && { execution, tasks: await this.#store.tasks(id) }
  }

  async begin(policy: string, asked: Asked): Promise<string> {
    const { id } = await this.#daemon.beginManual(policy, asked)
    this.#daemon.selectNow()
    return id
  }

  stop(id: string, asked: Asked): Promise<boolean> {
    return this.#daemon.stopExecution(id, asked)
  }

  async suspend(policy: string | undefined, { by, reason }: Asked): Promise<void> {
    await this.#store.suspend(this.#keyOf(policy), { by, reason, at: this.#clock.now() })
  }

  async resume(policy: string | undefined): Promise<boolean> {
    return await this.#store.resume(this.#keyOf(policy))
  }

  reconcile(): Promise<string | undefined> {
    return this.#daemon.reconcileNow()
  }

  async invalidate(provider: string): Promise<number> {
    const known = ofKind(this.#objects(), 'Provider').map(({ resource }) => resource.name)
    if (!known.includes(provider))
      throw new CannotBegin(
        `no provider is called ${JSON.stringify(provider)}; there are ${known.join(', ') || 'none'}`,
      )
    return this.#store.invalidate(provider)
  }

  schedule(policy: string, count: number): Promise<readonly Instant[]> {
    return new Promise((resolve) => {
      resolve(this.#slots(policy, count))
    })
  }

  #slots(policy: string, count: number): readonly Instant[] {
    const found = this.#policy(policy).resource
    const slots = nextSlots(found, this.#clock.now(), count)
    if (slots.length === 0) throw new CannotBegin(`policy ${policyAddress(found)} has no schedule that fires`)
    return slots
  }

  explain(policy: string, artifact: string | undefined, signal: AbortSignal): Promise<ExplanationView> {
    return this.#daemon.questions.explain(policy, artifact, signal)
  }

  warm(question: WarmQuestion, signal: AbortSignal): Promise<WarmthView> {
    return this.#daemon.questions.warm(question, signal)
  }

  remembered(keys: readonly string[]): Promise<readonly LedgerEntry[]> {
    return this.#store.warm(keys)
  }

  usedRuns(): Promise<ReadonlySet<string>> {
    return this.#store.usedRuns()
  }

  watch(listener: (event: Event) => void): () => void {
    return this.#daemon.watch(listener)
  }

  journal(executionId: string): readonly { readonly at: Instant; readonly event: Event }[] {
    return this.#daemon.journal().filter(({ event }) => isAbout(event, executionId))
  }

  #policy(name: string): Located<PreheatPolicy> {
    return this.#among(name, ofKind(this.#objects(), 'PreheatPolicy'))
  }

  #among(name: string, located: readonly Located<PreheatPolicy>[]): Located<PreheatPolicy> {
    const named = findPolicy(name, located)
    if (!named.ok) throw new CannotBegin(named.message, named.code)
    return named.found
  }

  #objects(): readonly Located[] {
    return this.#daemon.applied?.objects ?? []
  }

  #keyOf(policy: string | undefined): string {
    return policy === undefined ? '*' : this.#policy(policy).key
  }
}

function isAbout(event: Event, executionId: string): boolean {
  if ('execution' in event) return event.execution.id === executionId
  return event.name === 'task.changed' && event.task.executionId === executionId
}
