import { expect, test } from 'vitest'
import { nextLook, overdueAt } from '../../../src/engine/dragonfly/schedule.ts'

const SCHEDULE = [30_000, 90_000, 210_000, 450_000]
const at = Date.parse('2026-11-21T02:00:00Z')

/** Ages of the looks at one job until `untilMs`. */
function looks(schedule: readonly number[], untilMs: number, phase = 0): number[] {
  const ages: number[] = []
  for (let now = at; ;) {
    now = nextLook(schedule, at, now, phase)
    if (now - at > untilMs) return ages
    ages.push(now - at)
  }
}

test('a job is looked at just after each age at which the manager rewrites it, then every 300 s', () => {
  const ages = looks(SCHEDULE, 1_100_000)

  expect(ages.map((age) => Math.floor(age / 1000))).toEqual([30, 90, 210, 450, 750, 1050])
  expect(ages.every((age) => age % 1000 >= 250)).toBe(true)
})

test('a schedule is read in order, however it is written', () => {
  expect(looks([210_000, 30_000], 600_000)).toEqual(looks([30_000, 210_000], 600_000))
})

test('a job that was not looked at for a while is looked at at the next age, not at those that passed', () => {
  expect(Math.floor((nextLook(SCHEDULE, at, at + 211_500, 0) - at) / 1000)).toBe(450)
  expect(Math.floor((nextLook(SCHEDULE, at, at + 1_000_000, 0) - at) / 1000)).toBe(1050)
})

test('looks are spread over a second, and no look comes before its age', () => {
  const offsets = Array.from(
    { length: 100 },
    (_, i) => nextLook(SCHEDULE, at + i * 100, at + i * 100, 0.3) - at - i * 100 - 30_000,
  )

  expect(Math.min(...offsets)).toBeGreaterThanOrEqual(250)
  expect(Math.max(...offsets)).toBeLessThan(1_000)
  expect(new Set(offsets.map((ms) => Math.floor(ms / 100))).size).toBeGreaterThan(5)
})

test('two daemons with the same schedule do not look in the same millisecond', () => {
  expect(nextLook(SCHEDULE, at, at, 0.1)).not.toBe(nextLook(SCHEDULE, at, at, 0.6))
})

test('a short schedule is kept to the millisecond', () => {
  expect(looks([500, 1_000], 1_500)).toEqual([500, 1_000])
})

test('a job is overdue six minutes after its own time, at the latest after 70 minutes [E5] [E7]', () => {
  expect(overdueAt(SCHEDULE, 10 * 60_000, at) - at).toBe(16 * 60_000)
  expect(overdueAt(SCHEDULE, 3 * 3_600_000, at) - at).toBe(70 * 60_000)
})

test('a job is not overdue before its last planned look', () => {
  expect(overdueAt([30_000, 3_600_000 * 2], 60_000, at)).toBeGreaterThan(
    nextLook([30_000, 3_600_000 * 2], at, at + 40_000, 0.999),
  )
})
