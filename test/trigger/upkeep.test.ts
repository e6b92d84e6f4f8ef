import { expect, test } from 'vitest'
import type { Upkeep } from '../../src/model/execution.ts'
import { placeIn } from '../../src/trigger/scheduler.ts'
import { dueDuty, dutiesOf, dutyKey, nextDuty, rearmDuties } from '../../src/trigger/upkeep.ts'
import { EXAMPLE_AT as now, located, policy } from '../support/examples.ts'

const HOUR = 3_600_000
const keeping = policy({ keepWarmMs: 4 * HOUR, drift: { mode: 'warn', intervalMs: HOUR } })

/** Before `now`, as if the duty had begun there. */
function placeOf(upkeep: Upkeep, everyMs: number): number {
  return placeIn(everyMs, { ...keeping, name: dutyKey(keeping.name, upkeep) })
}

test('a policy wants what it says, and nothing while it is disabled', () => {
  expect(dutiesOf(keeping)).toEqual([
    { upkeep: 'keep_warm', everyMs: HOUR },
    { upkeep: 'drift', everyMs: HOUR },
  ])
  expect(dutiesOf(policy())).toEqual([])
  expect(dutiesOf({ ...keeping, enabled: false })).toEqual([])
})

test('a duty is due once its time has passed, and once for all the times that were slept through', () => {
  const duty = { upkeep: 'drift', everyMs: HOUR } as const

  expect(nextDuty(duty, now)).toBe(now + HOUR)
  expect(dueDuty(duty, now, now + HOUR - 1)).toBeUndefined()
  expect(dueDuty(duty, now, now + HOUR)).toBe(now + HOUR)
  expect(dueDuty(duty, now, now + 5.5 * HOUR)).toBe(now + 5 * HOUR)
  expect(dueDuty(duty, now, now - HOUR)).toBeUndefined()
})

test('a new configuration leaves a duty where it stood, unless its time changed', () => {
  const one = located(keeping)
  const first = rearmDuties([one], [], now)
  const slower = located({ ...keeping, drift: { mode: 'warn' as const, intervalMs: 2 * HOUR } })
  expect(first.map(({ policyKey, until }) => [policyKey, until])).toEqual([
    [dutyKey(one.key, 'keep_warm'), now - placeOf('keep_warm', HOUR)],
    [dutyKey(one.key, 'drift'), now - placeOf('drift', HOUR)],
  ])
  // Where both are due at once, the second waits for the next time: it would for ever.
  expect(first[0]!.until).not.toBe(first[1]!.until)
  expect(rearmDuties([one], first, now + 5)).toEqual(first)
  expect(rearmDuties([slower], first, now + 5).map(({ until }) => until)).toEqual([
    now - placeOf('keep_warm', HOUR),
    now + 5 - placeOf('drift', 2 * HOUR),
  ])
})

test('a thousand policies of one interval are looked after all through it, none later than it, and stay so', () => {
  const objects = Array.from({ length: 1000 }, (_, i) => located({ ...keeping, name: `nightly-${i}` }))
  const [duty] = dutiesOf(keeping)
  const due = rearmDuties(objects, [], now).map(({ until }) => nextDuty(duty!, until) - now)

  expect(Math.min(...due)).toBeGreaterThan(0)
  expect(Math.max(...due)).toBeLessThanOrEqual(HOUR)
  const minutes = Array.from({ length: 60 }, (_, i) => due.filter((ms) => Math.floor((ms - 1) / 60_000) === i).length)
  expect(Math.min(...minutes)).toBeGreaterThan(0)
  expect(Math.max(...minutes)).toBeLessThan(2 * (due.length / 60))
  expect(rearmDuties(objects, [], now)).toEqual(rearmDuties(objects, [], now))
})

test('the upkeep of a suspended policy rests until the end of it, and then begins at once', () => {
  const resting = { ...keeping, suspend: { until: now + 3 * HOUR, reason: '' } }
  const [duty] = dutiesOf(resting)

  expect(nextDuty(duty!, now)).toBe(now + 3 * HOUR)
  expect(dueDuty(duty!, now, now + 3 * HOUR - 1)).toBeUndefined()
  expect(dueDuty(duty!, now, now + 3 * HOUR)).toBe(now + 3 * HOUR)
  expect(nextDuty(duty!, now + 3 * HOUR)).toBe(now + 4 * HOUR)
})

test('a suspension without an end is over when the policy says so, and counts anew from there', () => {
  const resting = { ...keeping, suspend: { until: undefined, reason: '' } }
  const [duty] = dutiesOf(resting)
  const armed = rearmDuties([located(resting)], rearmDuties([located(keeping)], [], now), now + 5)

  expect(nextDuty(duty!, now)).toBe(Infinity)
  expect(dueDuty(duty!, now, now + 1000 * HOUR)).toBeUndefined()
  expect(rearmDuties([located(keeping)], armed, now + 9).map(({ until }) => until)).toEqual([
    now + 9 - placeOf('keep_warm', HOUR),
    now + 9 - placeOf('drift', HOUR),
  ])
})
