import type { Code } from '../model/codes.ts'
import type { Instant } from '../model/duration.ts'
import type { Claims } from '../model/evidence.ts'
import type { Scope } from '../model/provider.ts'
import type { Job, JobProgress, Order, Verdict } from '../model/task.ts'
import type { Secret } from '../model/secret.ts'

/** A job that an order needs, before it exists on the engine. */
export type WantedJob = Extract<Job, { state: 'wanted' }>

/** An engine's answer to a look at a job. */
export type Observation =
  /** Not ended; `progress` where the engine shows it. */
  { readonly kind: 'open'; readonly progress?: JobProgress } | { readonly kind: 'ended'; readonly verdict: Verdict }

/** How far a look at the engine's caches has come. */
export type Probe =
  /** `notes` are the driver's own, kept in the task's row. */
  | { readonly kind: 'open'; readonly notes: string; readonly lookAt: Instant }
  /**
   * `claims` undefined: this engine does not let itself be looked at. `message`: why, or what is missing where, for the
   * report; cut and escaped by the driver.
   */
  | { readonly kind: 'ended'; readonly claims: Claims | undefined; readonly message?: string | undefined }

/** What an engine can do beyond taking orders; decided by vendor and version, never assumed. */
export interface Abilities {
  /** Can it show which blobs it holds? `none`: every task of it is `Unverified`. */
  readonly evidence: 'claimed-by-engine' | 'observed' | 'none'
  /** In the engine's words: cluster names, empty where it has none. */
  readonly clusters: readonly string[]
  /** As far as it can be told: `>= 2.3.1`. */
  readonly version?: string | undefined
  /** Settings of the Provider that this version would drop without a word, as a person would write them. */
  readonly ignored?: readonly string[]
  /** Scopes that this version may not know; it would refuse the job. */
  readonly doubtfulScopes?: readonly Scope[]
}

/** What only a closer look at an engine shows. */
export interface Inspection {
  /** `by URL, as nodes pull`; undefined where the Provider says it, or where nothing was preheated that could show it. */
  readonly taskIds?: string | undefined
  /** What makes preheating useless although it succeeds, as far as it was seen; a sentence each. */
  readonly warnings?: readonly string[]
}

export type Health =
  /** `answers, and the token may submit jobs` */
  | { readonly ok: true; readonly detail: string }
  /** What is wrong; PH5001 when nobody answers. */
  | { readonly ok: false; readonly code: Code; readonly detail: string }

/**
 * A P2P engine that preheats. One object per declared Provider; safe for concurrent calls; the provider's limits are
 * kept inside. Methods throw {@link EdgeError} for every refusal and every silence, {@link OperatorError} for a secret
 * that cannot be used, and nothing else but the signal's own reason.
 */
export interface Engine extends AsyncDisposable {
  /** Proves that the engine answers and that the credential may do what preheatd does. Never throws an EdgeError. */
  health(signal: AbortSignal): Promise<Health>

  abilities(signal: AbortSignal): Promise<Abilities>

  /** Looks closer than {@link abilities}, for a person who can wait: it may take most of a minute. */
  inspect(signal: AbortSignal): Promise<Inspection>

  /** The jobs that an order needs, in a stable order with stable keys. Submits nothing. */
  jobs(order: Order, signal: AbortSignal): Promise<WantedJob[]>

  /**
   * Submits one job and returns the engine's id of it.
   * @param authorization what the engine pulls with; undefined: anonymously
   */
  submit(order: Order, job: Job, authorization: Secret | undefined, signal: AbortSignal): Promise<string>

  /** Looks at one open job. A job that the engine has no record of is `ended` with `gone`, not an error. */
  observe(order: Order, job: Extract<Job, { state: 'open' }>, signal: AbortSignal): Promise<Observation>

  /**
   * An earlier submission of this very job whose answer never reached us; undefined: the engine has none, or keeps no
   * mark by which it could be told.
   */
  find(order: Order, job: Job, signal: AbortSignal): Promise<string | undefined>

  /**
   * Looks which of the job's blobs the engine holds, whatever became of the job, and has it fetch nothing. An engine may
   * take its time: an open probe is asked on at `lookAt` with the notes that it gave.
   * @param notes undefined: a new probe
   */
  probe(order: Order, job: Job, notes: string | undefined, signal: AbortSignal): Promise<Probe>

  /** When a job submitted at `submittedAt` is worth a look next, after `now`. Pure. */
  nextLook(submittedAt: Instant, now: Instant): Instant

  /** After this instant an open job is overdue. Pure. */
  overdueAt(order: Order, submittedAt: Instant): Instant
}
