import type { Instant } from './duration.ts'
import type { EventKind, PreheatPolicy, Refresh } from './policy.ts'
import type { Provider } from './provider.ts'
import type { Registry } from './registry.ts'
import type { Code } from './codes.ts'
import type { Digest } from './artifact.ts'
import type { Scope } from './provider.ts'

/** What is done for images that are warm already. `drift`: they are looked at; `keep_warm`: they are preheated again. */
export type Upkeep = 'keep_warm' | 'drift'

/** What made an execution begin. Part of its identity. */
export type Cause =
  | { readonly type: 'scheduled'; readonly slot: Instant }
  | { readonly type: 'scheduled'; readonly upkeep: Upkeep; readonly at: Instant }
  | {
      readonly type: 'manual'
      readonly run: { readonly name: string; readonly digest: string; readonly reason: string }
    }
  | { readonly type: 'manual'; readonly acceptedAt: Instant; readonly by: string; readonly reason?: string }
  | {
      readonly type: 'event_based'
      /** When the first of them came. */
      readonly since: Instant
      readonly events: readonly EventKind[]
      readonly subjects: readonly EventSubject[]
    }

/** What an event was about. */
export interface EventSubject {
  /** With the project. */
  readonly repository: string
  /** A tag, or a digest; perhaps that of a child of an index. */
  readonly reference: string
}

/** A provider as one policy uses it. */
export interface Target {
  readonly provider: Provider
  readonly scope: Scope
  readonly clusters: readonly string[] | undefined
}

/** The commit in force when it began. */
export interface ConfigCommit {
  /** A commit id, or `sha256:…` of a watched folder. */
  readonly commit: string
  readonly author: string
  readonly subject: string
}

/**
 * What an execution keeps for as long as it lives; a change, suspension or deletion affects only the next one.
 */
export interface Snapshot {
  readonly policy: PreheatPolicy
  readonly registry: Registry
  readonly targets: readonly Target[]
  readonly refresh: Refresh
  readonly config: ConfigCommit
  /** Only what these events were about, of what the policy covers; undefined: all of it. */
  readonly subjects?: readonly EventSubject[]
}

export type Result =
  'Success' | 'PartialSuccess' | 'Unverified' | 'Failed' | 'Stopped' | 'Skipped' | 'Blocked' | 'Missed'

/** What selection came to. */
export interface Selection {
  /** `sha256:` of the sorted `repository@digest#tags` and `file URL` lines: equal selections have equal digests. */
  readonly digest: string
  /** Artifacts that the registry listed, and files that the policy names. */
  readonly considered: number
  /** Artifacts that the policy covers, and files. */
  readonly selected: number
  /** Tasks not begun because the artifact or file is known warm or the provider is disabled. */
  readonly skipped: number
  /** Artifacts that the policy names and the registry does not have; absent for none. */
  readonly unresolved?: readonly Unresolved[]
  /** Tags that point elsewhere by the end of the execution; absent: none, or nobody could tell. */
  readonly movedTags?: readonly MovedTag[]
}

/** An artifact that a policy names and the registry does not have, or does not show. */
export interface Unresolved {
  /** As the policy writes it: `nginx:1.27`. */
  readonly artifact: string
  readonly code: Code
  readonly message: string
}

/** A tag that selected an artifact, which was preheated by the digest that it pointed at then. */
export interface MovedTag {
  /** `library/app:latest` */
  readonly artifact: string
  /** Where it points now; undefined: there is no such tag any more. */
  readonly digest: Digest | undefined
}

interface ExecutionIdentity {
  /** `20261121T020000Z-3f9a1c07` */
  readonly id: string
  /** Key of the policy: `PreheatPolicy/harbor/library/release-images`. */
  readonly policyKey: string
  readonly cause: Cause
  /** Slot or acceptance; the time in the id and in the report's folder. */
  readonly at: Instant
  readonly snapshot: Snapshot
  readonly startedAt: Instant
}

/**
 * One run of one policy.
 *
 *     Selecting ──tasks are rows──▶ Running ──all settled──▶ Ended
 *         └──────────nothing to do, Blocked, Failed────────────▲
 *
 * A crash while `Selecting` selects again: nothing was submitted.
 */
export type Execution = ExecutionIdentity &
  (
    | { readonly state: 'Selecting' }
    | { readonly state: 'Running'; readonly selection: Selection }
    | {
        readonly state: 'Ended'
        readonly selection: Selection | undefined
        readonly endedAt: Instant
        readonly result: Result
        /** Why, where the tasks do not say: a limit, a rule, a listing that failed. */
        readonly reason: { readonly code: Code; readonly message: string } | undefined
        /** Equal for equal failures, so that a repeated one is counted and not filed again; undefined: none. */
        readonly failure: string | undefined
      }
  )

export type EndedExecution = Extract<Execution, { state: 'Ended' }>
