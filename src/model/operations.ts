import type { Digest } from './artifact.ts'
import type { Instant } from './duration.ts'
import type { Event } from './events.ts'
import type { Evidence, LedgerEntry } from './evidence.ts'
import type { Execution, Unresolved } from './execution.ts'
import type { Problem } from './problem.ts'
import type { Reference } from './reference.ts'
import type { Task } from './task.ts'

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
  /** Ends what {@link suspend} began. @returns false where nothing was suspended by that name */
  resume(policy: string | undefined, asked: Asked): Promise<boolean>
  /** Looks at the source now. @returns the revision in force */
  reconcile(): Promise<string | undefined>
  /** Forgets what a provider is known to hold. @returns how many entries */
  invalidate(provider: string, asked: Asked): Promise<number>
  /** The next slots of a policy. @throws {CannotBegin} for a policy that is not there, or has no schedule */
  schedule(policy: string, count: number): Promise<readonly Instant[]>
  /**
   * Why each artifact of a policy would be preheated now or not, and why the policy does not run by itself.
   * @param artifact `app:v1`, `library/app@sha256:…`, a repository; undefined: all
   * @throws {CannotBegin} for a policy that is not at the tip of the source
   */
  explain(policy: string, artifact: string | undefined, signal: AbortSignal): Promise<ExplanationView>
  /** Is an image warm? Waits for it as long as it is asked to. @throws {CannotBegin} before anything was applied */
  warm(question: WarmQuestion, signal: AbortSignal): Promise<WarmthView>
  /** What is known to be warm of these keys of the ledger. */
  remembered(keys: readonly string[]): Promise<readonly LedgerEntry[]>
  /** PreheatRuns that ran and never run again, each a name and the digest of its content. */
  usedRuns(): Promise<ReadonlySet<string>>
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

/** Why a policy's artifacts are in or out. */
export interface ExplanationView {
  /** `library/release-images` */
  readonly policy: string
  readonly file: string
  readonly line: number
  /** Why the policy does not run by itself, and what became of it the last time. */
  readonly why: readonly string[]
  /** Why a run now would submit nothing at all. */
  readonly blocked: { readonly code: string; readonly message: string } | undefined
  /** Artifacts that the policy names and nobody finds. */
  readonly unresolved: readonly Unresolved[] | undefined
  readonly artifacts: readonly ArtifactView[]
  readonly files: readonly {
    readonly file: string
    /** Of `spec.files`. */
    readonly line: number
    readonly targets: readonly TargetView[]
  }[]
}

interface ArtifactView {
  /** With the project. */
  readonly repository: string
  readonly tag: string | undefined
  readonly digest: string | undefined
  readonly outcome: 'in' | 'out'
  /** The rule that left it out. */
  readonly decidedBy: string | undefined
  readonly verdicts: readonly VerdictView[]
  readonly targets: readonly TargetView[]
}

/** What one rule says, and where it stands. */
export interface VerdictView {
  readonly rule: string
  readonly says: 'in' | 'out' | 'unknown'
  readonly message: string
  /** `spec.filters.tags[0]`; undefined where no field of the policy decides. */
  readonly field: string | undefined
  readonly file: string
  readonly line: number | undefined
}

interface TargetView {
  readonly provider: string
  readonly action: 'preheat' | 'skip'
  readonly reason: string
}

/** Is this image warm? */
export interface WarmQuestion {
  readonly reference: Reference
  /** Only on this provider; undefined: on those of the policies that cover the image. */
  readonly provider: string | undefined
  /** How long to wait for evidence; 0: what is known now. */
  readonly waitMs: number
}

export interface WarmthView {
  readonly registry: string
  readonly repository: string
  readonly tag: string | undefined
  readonly digest: Digest
  /** On every provider that was asked. */
  readonly warm: boolean
  readonly providers: readonly {
    readonly name: string
    readonly warm: boolean
    /** Who said so. */
    readonly from: 'ledger' | 'probe' | undefined
    /** Why it is not known warm. */
    readonly reason: string | undefined
    readonly evidence: Evidence | undefined
    readonly ageMs: number | undefined
  }[]
}
