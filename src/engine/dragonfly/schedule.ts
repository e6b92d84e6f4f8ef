import type { Instant } from '../../model/duration.ts'

// The manager rewrites a row 0, 30, 90, 210 and 450 s after its creation and then every 300 s, 16 times in all, and
// gives up at 3,750 s (dragonflyoss/dragonfly manager/service/job.go `pollingJob`, v2.4.0 to v2.5.1).
const LATER_EVERY_MS = 300_000
/** What the scheduler may take beyond the job's own time, queue included. */
const GRACE_MS = 6 * 60_000
/** The manager gave up at 62.5 min; a row that is open after this is one that nobody will ever write again. */
const LONGEST_MS = 70 * 60_000
/** A schedule that begins earlier is one that a test wrote; its looks are not spread. */
const SPREAD_FROM_MS = 10_000

/**
 * The first look after `now`: just after the next age at which the manager rewrites the row, so that its own look is
 * over, and spread by at most a second, the same for the same job.
 * @param agesMs `pollSchedule`
 * @param phase from 0 to below 1, one for an engine
 */
export function nextLook(agesMs: readonly number[], submittedAt: Instant, now: Instant, phase: number): Instant {
  const age = now - submittedAt
  const ages = agesMs.toSorted((a, b) => a - b)
  const last = ages.at(-1) ?? 0
  const rounds = Math.max(1, Math.floor((age - last) / LATER_EVERY_MS) + 1)
  const next = ages.find((one) => one > age) ?? last + rounds * LATER_EVERY_MS
  return submittedAt + next + ((ages[0] ?? LATER_EVERY_MS) >= SPREAD_FROM_MS ? offsetMs(submittedAt, phase) : 0)
}

/**
 * The ages for a manager that may be one before 2.4.0, which rewrites rows at random ages, up to 2.1.59 every 5 to 10 s
 * (manager/service/job.go `pollingJob`). A schedule that begins earlier is left alone.
 */
export function withEarlyLooks(agesMs: readonly number[]): number[] {
  return (agesMs[0] ?? 0) < SPREAD_FROM_MS ? [...agesMs] : [...agesMs, 10_000, 20_000, 30_000, 40_000]
}

/** From 250 ms to below 1 s. Multiples of the golden ratio spread jobs that were submitted in even steps. */
function offsetMs(submittedAt: Instant, phase: number): number {
  const spread = ((submittedAt % 1_000_000) * 0.6180339887498949 + phase) % 1
  return 250 + Math.floor(spread * 750)
}

/** When an open job is overdue: after its own time and the scheduler's, and never before its last planned look. */
export function overdueAt(agesMs: readonly number[], timeoutMs: number, submittedAt: Instant): Instant {
  return submittedAt + Math.max(Math.min(timeoutMs + GRACE_MS, LONGEST_MS), Math.max(0, ...agesMs) + 1_000)
}
