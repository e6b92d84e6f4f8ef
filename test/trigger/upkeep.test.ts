import { expect, test } from 'vitest'
import { dueDuty, dutiesOf, dutyKey, nextDuty, rearmDuties } from '../../src/trigger/upkeep.ts'
import { EXAMPLE_AT as now, located, policy } from '../support/examples.ts'

const HOUR = 3_600_000
const keeping = policy({ keepWarmMs: 4 * HOUR, drift: { mode: 'warn', intervalMs: HOUR } })

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
    [dutyKey(one.key, 'keep_warm'), now],
    [dutyKey(one.key, 'drift'), now],
  ])
  expect(rearmDuties([one], first, now + 5)).toEqual(first)
  expect(rearmDuties([slower], first, now + 5).map(({ until }) => until)).toEqual([now, now + 5])
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
  expect(rearmDuties([located(keeping)], armed, now + 9).map(({ until }) => until)).toEqual([now + 9, now + 9])
})
