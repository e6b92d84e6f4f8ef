import type { Instant } from '../model/duration.ts'
import type { Delivery } from '../model/delivery.ts'
import type { EventKind } from '../model/policy.ts'
import type { LedgerEntry } from '../model/evidence.ts'
import type { ConfigCommit, EndedExecution, Execution, Result } from '../model/execution.ts'
import type { Located } from '../model/resource.ts'
import type { Problem } from '../model/problem.ts'
import type { OpenTask, SettledTask, Task } from '../model/task.ts'

/** The configuration in force. */
export interface Applied {
  readonly config: ConfigCommit
  readonly appliedAt: Instant
  readonly objects: readonly AppliedObject[]
  /** Every finding of the commit, those about objects that never had a good version included. */
  readonly problems: readonly Problem[]
  /** How the commit was read, as {@link ConfigReader.view} has it: read otherwise, it may say something else. */
  readonly view?: string
}

/** One object in force; with problems it is Stalled at its last good version. */
export interface AppliedObject extends Located {
  readonly problems: readonly Problem[]
}

/** Where a policy's schedule stands: slots up to and including `until` are accounted for. */
export interface ScheduleState {
  readonly policyKey: string
  /** Changes when the schedule's meaning changes; the count then starts anew. */
  readonly fingerprint: string
  readonly until: Instant
}

/** A slot that did not run. */
export interface MissedSlot {
  readonly policyKey: string
  /** `library/release-images` */
  readonly policy: string
  readonly slot: Instant
  readonly reason: string
}

/** A PreheatRun that was used up. */
export interface UsedRun {
  readonly name: string
  readonly digest: string
  readonly executionId: string
  readonly policy: string
  readonly usedAt: Instant
}

/** Work that is due at one provider for one registry. */
export interface DueWork {
  readonly provider: string
  readonly registry: string
  /** Tasks to begin, due now. */
  readonly pending: number
  /** Tasks that are begun and have more to submit, due now. */
  readonly submitting: number
  /** Tasks to look at, due now. */
  readonly running: number
}

/** Tasks of one state, provider and registry. */
export interface Claimable {
  readonly provider: string
  readonly registry: string
  readonly kind: 'pending' | 'submitting' | 'running'
}

/** Limits of the Provider and the Registry that a claim is about. */
export interface Caps {
  readonly submitsInFlight: number
  readonly openArtifacts: number
}

/** An event that a policy waits to act on. */
export interface PendingEvent {
  readonly policyKey: string
  /** With the project. */
  readonly repository: string
  /** A tag, or a digest. */
  readonly reference: string
  readonly kinds: readonly EventKind[]
  /** When the first event of this subject came. */
  readonly since: Instant
}

/** Somebody let a policy rest, beside what its file says. */
export interface OperatorSuspension {
  readonly by: string
  readonly reason: string
  readonly at: Instant
}

/** An ended execution whose report is not in git yet. */
export interface UnsentReport {
  readonly execution: EndedExecution
  /** In the order of their ids. */
  readonly tasks: readonly Task[]
  /** Of the policy's execution before this one; undefined for its first. */
  readonly previous:
    | { readonly result: Result; readonly selectionDigest: string | undefined; readonly failure: string | undefined }
    | undefined
}

/**
 * The daemon's memory: what git cannot hold. Losing it costs repeated looks and no truth. Every method that writes is
 * one transaction and durable when it resolves.
 */
export interface Store extends AsyncDisposable {
  /** Whose state this is; undefined while it is nobody's. */
  instance(): Promise<string | undefined>

  /** Makes it this instance's where it is nobody's, for ever. @returns whose it is */
  take(instance: string): Promise<string>

  /**
   * Undefined before the first apply. The very same values as before while nobody applied another configuration:
   * nothing of it may be changed.
   */
  applied(): Promise<Applied | undefined>

  /**
   * Replaces the configuration in force; an object that is the very value that {@link applied} gave is not looked at.
   * @param armed schedules that begin to count, or count anew; the others stay where they are
   * @param disarmed keys of schedules that are no more
   */
  apply(applied: Applied, armed: readonly ScheduleState[], disarmed: readonly string[]): Promise<void>

  schedules(): Promise<ScheduleState[]>

  /**
   * Begins an execution and, in the same transaction, accounts for what caused it: the slot (with the slots before it
   * that were missed), or the PreheatRun.
   * @returns false, with nothing written, when its id exists or the run is used up: someone else has it.
   */
  begin(
    execution: Extract<Execution, { state: 'Selecting' }>,
    cause: {
      readonly schedule?: ScheduleState
      readonly missed?: readonly MissedSlot[]
      readonly run?: UsedRun
      /** Forgotten with it. */
      readonly events?: readonly PendingEvent[]
    },
  ): Promise<boolean>

  /** Accounts for slots that are not run. */
  miss(schedule: ScheduleState, missed: readonly MissedSlot[]): Promise<void>

  /** Executions that have not ended, oldest first. */
  openExecutions(): Promise<Execution[]>

  execution(id: string): Promise<Execution | undefined>

  /**
   * Freezes the candidate list: the tasks become rows and the execution `Running`. Only from `Selecting`. A task whose
   * content could not be read comes in settled.
   * @returns false, with nothing written, when the execution is not `Selecting`: it was stopped
   */
  selected(execution: Extract<Execution, { state: 'Running' }>, tasks: readonly Task[]): Promise<boolean>

  /** Ends an execution and puts its report on the spool. A second call for the same id changes nothing. @returns whether it was this call */
  end(execution: EndedExecution): Promise<boolean>

  /** What is due at `now`, one row per provider and registry. */
  due(now: Instant): Promise<DueWork[]>

  /** The next instant at which a task is due; undefined when none is open. Leased tasks count at their lease's end. */
  nextDueAt(): Promise<Instant | undefined>

  /** Tasks of a registry that engines may be pulling now: state `Submitting` or `Running`. */
  openArtifacts(registry: string): Promise<number>

  /**
   * Takes due tasks of one state for `leaseMs`: nobody else gets them until then. Oldest `nextAt` first.
   * @param limit what this worker has room for
   * @param caps what all workers of the store together keep to; a store of one worker leaves that to it
   */
  claim(which: Claimable, limit: number, caps: Caps, now: Instant, leaseMs: number): Promise<OpenTask[]>

  /** Keeps claimed tasks for `leaseMs` more; those that somebody else has taken over stay theirs. */
  renew(taskIds: readonly string[], now: Instant, leaseMs: number): Promise<void>

  /** Saves a step of a claimed task and keeps the lease. @throws {LeaseLost} */
  saveStep(task: OpenTask): Promise<void>

  /**
   * Saves where a claimed task got to and gives it back. In the same transaction a settled task that is `Succeeded`
   * enters the ledger, and one whose blobs are known to be missing leaves it; tasks that wait for one that has
   * `Succeeded`, because they would do the same, settle with its evidence.
   * @returns the executions of those
   * @throws {LeaseLost} with nothing written
   */
  release(task: Task): Promise<readonly string[]>

  /**
   * Settles every open task of an execution, whoever has it: a worker that has one loses it.
   * @param settle as what
   */
  giveUp(executionId: string, settle: (task: OpenTask) => SettledTask): Promise<void>

  /** Gives back every task that a former life of this worker had claimed. To be called at its start. */
  releaseLeases(): Promise<void>

  /** Has an execution a task that has not settled? */
  hasOpenTasks(executionId: string): Promise<boolean>

  /** All tasks of an execution in the order of their ids. */
  tasks(executionId: string): Promise<Task[]>

  /** Knowledge of warmth for these keys, those that have any. */
  warm(keys: readonly string[]): Promise<LedgerEntry[]>

  /** Ended executions whose reports are unsent, oldest first, at most `limit`. */
  unsentReports(limit: number): Promise<UnsentReport[]>
  unsentMissed(): Promise<MissedSlot[]>
  unsentRuns(): Promise<UsedRun[]>

  /** The last ended execution of every policy that is declared or has one; for status.yaml. */
  lastExecutions(): Promise<{ readonly execution: EndedExecution; readonly tasks: readonly Task[] }[]>

  /** Notes that these are in git. */
  markSent(sent: {
    readonly executions: readonly string[]
    readonly missed: readonly MissedSlot[]
    readonly runs: readonly UsedRun[]
  }): Promise<void>

  /** PreheatRuns that were used up, as `name digest` pairs. */
  usedRuns(): Promise<ReadonlySet<string>>

  /** Takes over what another life of this daemon used up, from the reports branch. */
  adoptUsedRuns(runs: readonly UsedRun[]): Promise<void>

  /** Puts deliveries on the inbox. @returns how many of them were new */
  deliver(deliveries: readonly Delivery[]): Promise<number>

  /** Deliveries that nobody has routed yet, oldest first, at most `limit`. */
  undelivered(limit: number): Promise<Delivery[]>

  /** Deliveries that came at `since` or later, routed or not. */
  delivered(since: Instant): Promise<Delivery[]>

  /** Makes deliveries events that policies wait to act on; an event of the same subject joins the one that waits. */
  route(deliveries: readonly Delivery[], events: readonly PendingEvent[]): Promise<void>

  /** By policy, oldest first. */
  pendingEvents(): Promise<PendingEvent[]>

  /** Forgets events that nobody acts on. */
  dropEvents(events: readonly PendingEvent[]): Promise<void>

  /** What a project looked like when it was last compared; undefined: it never was. */
  listing(registry: string, project: string): Promise<{ readonly at: Instant; readonly body: string } | undefined>

  /** Keeps what it looks like now, together with the events that the comparison gave. */
  saveListing(
    registry: string,
    project: string,
    listing: { readonly at: Instant; readonly body: string },
    events: readonly PendingEvent[],
  ): Promise<void>

  /** What operators let rest, by policy key; `*`: everything. */
  suspensions(): Promise<ReadonlyMap<string, OperatorSuspension>>
  suspend(policyKey: string, suspension: OperatorSuspension): Promise<void>
  /** @returns whether it rested */
  resume(policyKey: string): Promise<boolean>

  /** Forgets what a provider is known to hold. @returns how many entries */
  invalidate(provider: string): Promise<number>

  /** The newest executions first. @param policyKey undefined: of all policies */
  recent(policyKey: string | undefined, limit: number): Promise<Execution[]>

  /** How many report commits were pushed at `since` or later, at most a day back; for the hourly budget. */
  pushes(since: Instant): Promise<number>
  recordPush(at: Instant): Promise<void>

  /**
   * Forgets what nobody will ask for again, a bounded part of it at each call: executions in git that ended 30 days ago
   * and are not their policy's last, warmth that is 90 days old, pushes of yesterday.
   */
  prune(now: Instant): Promise<void>
}

/** What can be asked of the state while daemons live by it. */
export type Ledger = Pick<
  Store,
  | 'instance'
  | 'applied'
  | 'schedules'
  | 'usedRuns'
  | 'warm'
  | 'suspensions'
  | 'lastExecutions'
  | 'openExecutions'
  | 'tasks'
  | 'unsentMissed'
  | 'unsentReports'
> &
  AsyncDisposable
