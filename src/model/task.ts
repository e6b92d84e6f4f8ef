import type { BlobName, Digest, FileUrl, Platform, PlatformManifest, Subject } from './artifact.ts'
import type { Fault } from './errors.ts'
import type { Instant } from './duration.ts'
import type { Claims, Evidence } from './evidence.ts'
import type { Code } from './codes.ts'
import type { Scope } from './provider.ts'

interface OrderTerms {
  readonly taskId: string
  readonly scope: Scope
  /** The policy's own choice of clusters by name; undefined: the provider's. */
  readonly clusters: readonly string[] | undefined
  readonly timeoutMs: number
}

/** An artifact, as nodes pull it. */
export interface ArtifactOrder extends OrderTerms {
  /** Scheme and host that nodes pull through, no trailing slash. */
  readonly engineEndpoint: string
  readonly repository: string
  readonly digest: Digest
  readonly manifests: readonly PlatformManifest[]
}

/** A file of a host that is none of ours, so that no credential goes with it. */
export interface FileOrder extends OrderTerms {
  readonly file: FileUrl
}

/** All that an engine needs to know of one task; it outlives the policy that caused it. */
export type Order = ArtifactOrder | FileOrder

/** The manifests of an order; a file has none. */
export function manifestsOf(order: Order): readonly PlatformManifest[] {
  return 'file' in order ? [] : order.manifests
}

interface JobIdentity {
  /** Unique within the task and the same for every attempt: manifest digest, or `file`, and cluster. */
  readonly key: string
  /** The manifest that it preheats; undefined: the file. */
  readonly manifest: Digest | undefined
  readonly cluster: { readonly id: string; readonly name: string } | undefined
  /** Ids of every job the engine ever acknowledged for this key, oldest first. */
  readonly ids: readonly string[]
}

/**
 * How a job ended. `gone`: the engine has no record of it any more. `overdue`: it never said. `refused`: it was never
 * taken. `claims` undefined: nothing could be looked at.
 */
export interface Verdict {
  readonly said: 'success' | 'failure' | 'gone' | 'overdue' | 'refused'
  readonly claims: Claims | undefined
  /** The engine's words, and those of a look at its caches; cut and escaped by its driver. */
  readonly message: string | undefined
}

/** How far an engine says that it has come with a job. */
export interface JobProgress {
  /** Of what the job fetches, what is there as a whole. */
  readonly doneBytes: number
  readonly totalBytes: number
}

/**
 * The engine's own record of (a part of) a task.
 *
 *     wanted ──intent is saved──▶ intended ──POST──▶ open ──looks──▶ ended
 *                                                      └─said, not shown─▶ probing ─▶ ended
 *
 * A job found `intended` at a claim was cut off between the save and the answer: the engine is asked for it first. A job
 * whose end shows nothing is probed: its blobs are looked for on the engine.
 */
export type Job = JobIdentity &
  (
    | { readonly state: 'wanted' }
    | { readonly state: 'intended' }
    | {
        readonly state: 'open'
        readonly id: string
        readonly submittedAt: Instant
        readonly lookAt: Instant
        /** As the last look told it that told any; many engines do not tell. */
        readonly progress?: JobProgress
      }
    | {
        readonly state: 'probing'
        /** What the engine said of the job; without claims, or nobody would probe. */
        readonly verdict: Verdict
        /** The driver's own, from its last answer. */
        readonly notes: string | undefined
        readonly lookAt: Instant
      }
    | { readonly state: 'ended'; readonly verdict: Verdict }
  )

interface TaskIdentity {
  readonly id: string
  readonly executionId: string
  readonly provider: string
  readonly registry: string
  readonly subject: Subject
  /** Wanted ones; empty: all of the index, or a file. */
  readonly platforms: readonly Platform[]
  /** Undefined where nobody knows: of a file before it was downloaded, and of content that could not be read. */
  readonly sizeBytes: number | undefined
  readonly order: Order
  /** Under which warmth is remembered. */
  readonly ledgerKey: string
  readonly retry: { readonly attempts: number; readonly backoffMs: number }
  /** `look`: the engine's caches are only looked at. `heal`: they are, and what is missing is submitted. */
  readonly purpose: 'preheat' | 'look' | 'heal'
}

/** Why a task is where it is, for a person and a search. */
export interface TaskError {
  readonly code: Code
  readonly message: string
}

interface Progress {
  /** Rounds of submission begun. */
  readonly attempts: number
  /** Empty until the engine was asked which jobs the order needs. */
  readonly jobs: readonly Job[]
  readonly startedAt: Instant | undefined
  /** The last thing that went wrong on the way, kept for the report. */
  readonly error: TaskError | undefined
  /** Faults in a row on the current step; resets when the engine answers. */
  readonly faults: number
}

/**
 * One artifact or file going to one provider.
 *
 *     Pending ──▶ Submitting ──▶ Running ──▶ Succeeded | Partial | Unverified | Failed | Lost
 *        ▲                          │
 *        └───────── retry ──────────┘
 */
export type Task = TaskIdentity &
  Progress &
  (
    | { readonly state: 'Pending' | 'Submitting' | 'Running'; readonly nextAt: Instant }
    | {
        readonly state: SettledState
        readonly endedAt: Instant
        readonly evidence: Evidence | undefined
        readonly missing: readonly BlobName[]
      }
  )

export type SettledState = 'Succeeded' | 'Partial' | 'Unverified' | 'Failed' | 'Lost' | 'Stopped'
export type OpenTask = Extract<Task, { nextAt: Instant }>
export type SettledTask = Extract<Task, { endedAt: Instant }>

export function isSettled(task: Task): task is SettledTask {
  return 'endedAt' in task
}

/** What a failed step says to {@link Task}. */
export interface StepFault {
  readonly fault: Fault
  readonly code: Code
  readonly message: string
  readonly retryAfterMs: number | undefined
}
