import type { Instant } from './duration.ts'

/** Time as an argument, so that a test can own it. */
export interface Clock {
  now(): Instant
  /** Resolves at `until`, at once when that has passed. @throws the signal's reason when aborted. */
  sleepUntil(until: Instant, signal: AbortSignal): Promise<void>
}
