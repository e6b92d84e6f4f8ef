import type { Instant } from '../../model/duration.ts'

/**
 * An origin tells of a failed pull for 15 s and forgets it (uber/kraken utils/dedup/request_cache.go, v0.1.27), and a
 * pull may fail whenever its backend's timeout is over: looks this close hear of each.
 */
const EVERY_MS = 10_000

/**
 * The first look after `now`: at the next age of the schedule, after 10 s at the latest.
 * @param agesMs `pollSchedule`
 */
export function nextLook(agesMs: readonly number[], submittedAt: Instant, now: Instant): Instant {
  const age = now - submittedAt
  return submittedAt + Math.min(age + EVERY_MS, ...agesMs.filter((one) => one > age))
}
