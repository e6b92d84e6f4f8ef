import type { Instant } from '../model/duration.ts'

/*
 *     closed ──faults in a row──▶ open ──its time is up──▶ half-open: one question ──answered──▶ closed
 *                                  ▲                                │
 *                                  └──────────not answered──────────┘ (twice as long, five minutes at most)
 */

/** What is known of a provider's willingness to answer. While it is open its tasks wait as rows and spend nothing. */
export interface Breaker {
  /** Silences in a row. */
  readonly faults: number
  /** Undefined: closed. */
  readonly openUntil: Instant | undefined
  readonly openForMs: number
}

const FAULTS = 5
const FIRST_MS = 10_000
const LONGEST_MS = 300_000

export const closed: Breaker = { faults: 0, openUntil: undefined, openForMs: 0 }

/** After a request that nobody answered. */
export function afterSilence(breaker: Breaker, now: Instant): Breaker {
  const faults = breaker.faults + 1
  if (breaker.openUntil === undefined && faults < FAULTS) return { ...breaker, faults }
  // Requests that were under way when it opened say nothing new.
  if (breaker.openUntil !== undefined && now < breaker.openUntil) return breaker
  const openForMs = Math.min(LONGEST_MS, breaker.openForMs === 0 ? FIRST_MS : breaker.openForMs * 2)
  return { faults, openUntil: now + openForMs, openForMs }
}

/** May its tasks be worked on now? `ask`: only once it has answered a question. */
export function passage(breaker: Breaker, now: Instant): 'free' | 'shut' | 'ask' {
  if (breaker.openUntil === undefined) return 'free'
  return now < breaker.openUntil ? 'shut' : 'ask'
}
