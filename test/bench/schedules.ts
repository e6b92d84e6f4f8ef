import type { PreheatPolicy } from '../../src/model/policy.ts'
import { resourceKey, type Located } from '../../src/model/resource.ts'
import { SlotCalculator } from '../../src/model/schedule.ts'
import { byText } from '../../src/plan/order.ts'
import { dueSlots, nextSlotOf, rearm, Timetable } from '../../src/trigger/scheduler.ts'
import { located, scheduledPolicy } from '../support/examples.ts'
import { heapBytes } from '../support/heap.ts'
import { spreadOf, type Spread } from './measure.ts'

/** What many schedules cost a daemon that waits for them. */
export interface MeasuredSchedules {
  readonly runs: number
  /** Of the timetable and of what each schedule means, without the policies themselves. */
  readonly heapBytes: Spread
  /** From the policies to a timetable in which all of them stand. */
  readonly armMs: Spread
  /** Those of one minute, from the timetable to their slots. */
  readonly dueMs: Spread
  /** So many they are. */
  readonly due: number
  readonly aim: { readonly heapBytes: number }
}

const RUNS = 5
const AIM = { heapBytes: 5e6 }
const NOW = Date.parse('2026-11-22T12:00:30Z')
const MINUTE_MS = 60_000
const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe']

/** Arms schedules that are spread over the day in several time zones, waits a minute, and takes what is due. */
export function benchSchedules(n: number): MeasuredSchedules {
  const policies = Array.from({ length: n }, (_, index) =>
    scheduledPolicy(
      `${index % 60} ${Math.floor(index / 60) % 4 === 0 ? '*' : Math.floor(index / 60) % 24} * * *`,
      { name: `policy-${index}` },
      { timeZone: ZONES[index % ZONES.length]! },
    ),
  )
  const objects = policies.map((policy) => located(policy))
  const byKey = new Map(policies.map((policy) => [resourceKey(policy), policy]))
  const runs = Array.from({ length: RUNS }, () => {
    const before = heapBytes()
    const startedAt = performance.now()
    const waiting = arm(objects, byKey)
    const armMs = performance.now() - startedAt
    const heap = heapBytes() - before

    const at = NOW + MINUTE_MS
    const lookedAt = performance.now()
    const slots = new SlotCalculator()
    const due = waiting.timetable.takeDue(at)
    const begun = due.map((key) => dueSlots(byKey.get(key)!, { until: NOW }, at, false, slots))
    const dueMs = performance.now() - lookedAt
    if (waiting.fingerprints.size !== n) throw new Error(`${waiting.fingerprints.size} of ${n} schedules were armed`)
    if (begun.some(({ run }) => run === undefined)) throw new Error('a policy stood in the timetable without a slot')
    return { heap, armMs, dueMs, due: due.length }
  })
  return {
    runs: RUNS,
    heapBytes: spreadOf(runs.map(({ heap }) => heap)),
    armMs: spreadOf(runs.map(({ armMs }) => armMs)),
    dueMs: spreadOf(runs.map(({ dueMs }) => dueMs)),
    due: runs[0]!.due,
    aim: AIM,
  }
}

/** As the daemon does at its start, and what it keeps of it. */
function arm(objects: readonly Located[], policies: ReadonlyMap<string, PreheatPolicy>) {
  const slots = new SlotCalculator()
  const timetable = new Timetable()
  const fingerprints = new Map<string, string>()
  for (const { policyKey, fingerprint, until } of rearm(objects, [], NOW).sort(byText((one) => one.fingerprint))) {
    fingerprints.set(policyKey, fingerprint)
    timetable.set(policyKey, nextSlotOf(policies.get(policyKey)!, until, slots))
  }
  return { timetable, fingerprints }
}
