import type { Instant } from '../model/duration.ts'
import type { Job, Order, Verdict } from '../model/task.ts'
import type { Secret } from '../model/secret.ts'

/** A job that an order needs, before it exists on the engine. */
export type WantedJob = Extract<Job, { state: 'wanted' }>

/** An engine's answer to a look at a job. */
export type Observation =
  /** Not ended. */
  { readonly kind: 'open' } | { readonly kind: 'ended'; readonly verdict: Verdict }

/** What an engine can do beyond taking orders; decided by vendor and version, never assumed. */
export interface Abilities {
  /** Can it show which blobs it holds? `none`: every task of it is `Unverified`. */
  readonly evidence: 'claimed-by-engine' | 'observed' | 'none'
  /** In the engine's words: cluster names, empty where it has none. */
  readonly clusters: readonly string[]
}

export interface Health {
  readonly ok: boolean
  /** `answers, and the token may submit jobs`; or what is wrong. */
  readonly detail: string
}

/**
 * A P2P engine that preheats. One object per declared Provider; safe for concurrent calls; the provider's limits are
 * kept inside. Methods throw {@link EdgeError} for every refusal and every silence, {@link OperatorError} for a secret
 * that cannot be used, and nothing else but the signal's own reason.
 */
export interface Engine extends AsyncDisposable {
  /** Proves that the engine answers and that the credential may do what preheatd does. Never throws an EdgeError. */
  health(signal: AbortSignal): Promise<Health>

  abilities(signal: AbortSignal): Promise<Abilities>

  /** The jobs that an order needs, in a stable order with stable keys. Submits nothing. */
  jobs(order: Order, signal: AbortSignal): Promise<WantedJob[]>

  /**
   * Submits one job and returns the engine's id of it.
   * @param authorization what the engine pulls with; undefined: anonymously
   */
  submit(order: Order, job: Job, authorization: Secret | undefined, signal: AbortSignal): Promise<string>

  /** Looks at one open job. A job that the engine has no record of is `ended` with `gone`, not an error. */
  observe(order: Order, job: Extract<Job, { state: 'open' }>, signal: AbortSignal): Promise<Observation>

  /** When a job submitted at `submittedAt` is worth a look next, after `now`. Pure. */
  nextLook(submittedAt: Instant, now: Instant): Instant

  /** After this instant an open job is overdue. Pure. */
  overdueAt(order: Order, submittedAt: Instant): Instant
}
