import type { Instant } from '../../model/duration.ts'

/**
 * An origin tells of a failed pull for 15 s and forgets it, and gives a blob 60 s unless configured (uber/kraken
 * utils/dedup/request_cache.go, lib/backend/registrybackend, v0.1.27): looks this close see the failure of a first pull.
 */
const EARLY_EVERY_MS = 10_000
const EARLY_MS = 120_000
const LATER_EVERY_MS = 300_000

/**
 * The first look after `now`: at the next age of the schedule, in the first two minutes after 10 s at the latest.
 * @param agesMs `pollSchedule`
 */
export function nextLook(agesMs: readonly number[], submittedAt: Instant, now: Instant): Instant {
  const age = now - submittedAt
  const ages = agesMs.toSorted((a, b) => a - b)
  const last = ages.at(-1) ?? 0
  const rounds = Math.max(1, Math.floor((age - last) / LATER_EVERY_MS) + 1)
  const next = ages.find((one) => one > age) ?? last + rounds * LATER_EVERY_MS
  return submittedAt + (age < EARLY_MS ? Math.min(next, age + EARLY_EVERY_MS) : next)
}
