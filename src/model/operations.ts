import type { Instant } from '../model/duration.ts'
import type { Event } from '../model/events.ts'
import type { Execution } from '../model/execution.ts'
import type { Problem } from '../model/problem.ts'
import type { Task } from '../model/task.ts'

/** Who asks and why; it goes into the report. */
export interface Asked {
  readonly by: string
  readonly reason: string
}

/** What an operator asks a living daemon, over the API and the control socket alike. */
export interface Operations {
  status(): Promise<StatusView>
  /** The newest first. @param policy `library/release-images`; undefined: all */
  executions(policy: string | undefined, limit: number): Promise<readonly ExecutionView[]>
  execution(id: string): Promise<{ readonly execution: Execution; readonly tasks: readonly Task[] } | undefined>
  /** Begins a policy now. @returns the execution's id @throws {CannotBegin} saying why not */
  begin(policy: string, asked: Asked): Promise<string>
  /** Stops what an execution has not done yet; engines go on with what they were given. @returns false when it has ended, or never was */
  stop(id: string, asked: Asked): Promise<boolean>
  /** Lets schedules and events rest until {@link resume}; undefined: of all policies. @throws {CannotBegin} for a policy that is not there */
  suspend(policy: string | undefined, asked: Asked): Promise<void>
  resume(policy: string | undefined, asked: Asked): Promise<void>
  /** Looks at the source now. @returns the revision in force */
  reconcile(): Promise<string | undefined>
  /** Forgets what a provider is known to hold. @returns how many entries */
  invalidate(provider: string, asked: Asked): Promise<number>
  /** The next slots of a policy. @throws {CannotBegin} for a policy that is not there, or has no schedule */
  schedule(policy: string, count: number): Promise<readonly Instant[]>
  /** Calls back with everything that the daemon announces, until the returned function is called. */
  watch(listener: (event: Event) => void): () => void
  /** What it announced of an execution since it was started, oldest first, as far as it remembers. */
  journal(executionId: string): readonly { readonly at: Instant; readonly event: Event }[]
}

export interface StatusView {
  readonly instance: string
  readonly version: string
  /** Does this replica sync, run schedules and send reports? */
  readonly leads: boolean
  readonly source: {
    readonly revision: string | undefined
    readonly appliedAt: Instant | undefined
    /** Undefined: the last look at it succeeded. */
    readonly trouble: { readonly code: string; readonly message: string } | undefined
  }
  readonly policies: readonly PolicyView[]
  readonly providers: readonly ProviderView[]
  readonly waitingReports: number
  readonly problems: readonly Problem[]
}

/** kstatus' three; each is there once, true or false, with a reason in CamelCase. */
export interface ConditionView {
  readonly type: 'Ready' | 'Reconciling' | 'Stalled'
  readonly status: boolean
  readonly reason: string
  readonly message: string
}

export interface PolicyView {
  /** `library/release-images` */
  readonly policy: string
  readonly registry: string
  readonly conditions: readonly ConditionView[]
  readonly suspended: string | undefined
  readonly nextSlot: Instant | undefined
  readonly last: ExecutionView | undefined
}

interface ProviderView {
  readonly provider: string
  readonly vendor: string
  readonly enabled: boolean
  /** It stopped answering, and its tasks wait until then. */
  readonly silentUntil: Instant | undefined
  readonly openTasks: number
}

export interface ExecutionView {
  readonly id: string
  readonly policy: string
  readonly state: Execution['state']
  /** Undefined until it has ended. */
  readonly result: string | undefined
  readonly startedAt: Instant
  readonly endedAt: Instant | undefined
  /** In a few words: `slot 2026-11-21T02:00:00.000Z`. */
  readonly cause: string
  /** By state. */
  readonly tasks: Readonly<Record<string, number>>
}
