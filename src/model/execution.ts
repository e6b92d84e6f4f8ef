import type { Instant } from './duration.ts'
import type { PreheatPolicy, Refresh } from './policy.ts'
import type { Provider } from './provider.ts'
import type { Registry } from './registry.ts'
import type { Code } from './codes.ts'
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
  | { readonly type: 'manual'; readonly acceptedAt: Instant; readonly by: string }

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
}

export type Result =
  'Success' | 'PartialSuccess' | 'Unverified' | 'Failed' | 'Stopped' | 'Skipped' | 'Blocked' | 'Missed'

/** What selection came to. */
export interface Selection {
  /** `sha256:` of the sorted `repository@digest#tags` lines: equal selections have equal digests. */
  readonly digest: string
  /** Artifacts that the registry listed. */
  readonly considered: number
  /** Artifacts that the policy covers. */
  readonly selected: number
  /** Tasks not begun because the artifact is known warm or the provider is disabled. */
  readonly skipped: number
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
