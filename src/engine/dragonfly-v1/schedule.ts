import type { Instant } from '../../model/duration.ts'

/** As `pollSchedule` goes on after its last age. */
const LATER_EVERY_MS = 300_000
/** What an engine may take beyond a job's own time, queue included. */
const GRACE_MS = 6 * 60_000
/**
 * A supernode gives up after 30 min (dragonflyoss/Dragonfly supernode/daemon/mgr/preheat/base_worker.go, v1.0.6), a
 * manager at its last look after 62.5 min (manager/service/job.go, v2.4.0).
 */
const LONGEST_MS = 70 * 60_000

/** The first look after `now`. @param agesMs `pollSchedule` */
export function nextLook(agesMs: readonly number[], submittedAt: Instant, now: Instant): Instant {
  const age = now - submittedAt
  const last = Math.max(0, ...agesMs)
  const planned = agesMs.filter((one) => one > age)
  if (planned.length > 0) return submittedAt + Math.min(...planned)
  return submittedAt + last + Math.max(1, Math.floor((age - last) / LATER_EVERY_MS) + 1) * LATER_EVERY_MS
}

/** When an open job is overdue: after its own time and the engine's, and never before its last planned look. */
export function overdueAt(agesMs: readonly number[], timeoutMs: number, submittedAt: Instant): Instant {
  return submittedAt + Math.max(Math.min(timeoutMs + GRACE_MS, LONGEST_MS), Math.max(0, ...agesMs) + 1_000)
}
