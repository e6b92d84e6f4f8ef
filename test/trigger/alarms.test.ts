import { expect, test } from 'vitest'
import { Alarms } from '../../src/trigger/alarms.ts'
import { rearm } from '../../src/trigger/scheduler.ts'
import { dutyKey, rearmDuties } from '../../src/trigger/upkeep.ts'
import { EXAMPLE_AT as now, located, policy, scheduledPolicy } from '../support/examples.ts'

const HOUR = 3_600_000
const hourly = (name: string, cron = '0 * * * *') => located(scheduledPolicy(cron, { name }))
const one = hourly('one')
const upkept = located(policy({ name: 'upkept', drift: { mode: 'warn', intervalMs: HOUR / 2 } }))
const objects = [one, upkept]
const states = [
  ...rearm(objects, [], now).filter(({ policyKey }) => policyKey === one.key),
  ...rearmDuties(objects, [], now),
]
const dutyAt = states.find(({ policyKey }) => policyKey === dutyKey(upkept.key, 'drift'))!.until + HOUR / 2
const nextHour = Math.ceil((now + 1) / HOUR) * HOUR

test('slots and duties are due at their times, and once', () => {
  const alarms = new Alarms()
  alarms.set(objects, states)

  expect(alarms.next()).toBe(Math.min(dutyAt, nextHour))
  expect(alarms.takeDue(now + HOUR)).toEqual(new Set([dutyKey(upkept.key, 'drift'), one.key]))
  expect(alarms.next()).toBeUndefined()
})

test('what was due stays out until it is named: then it is set by its new state', () => {
  const alarms = new Alarms()
  alarms.set([one], rearm([one], [], now))
  const after = rearm([one], [], nextHour)
  alarms.takeDue(nextHour)

  alarms.set([one], after)
  expect(alarms.next()).toBeUndefined()
  alarms.set([one], after, new Set([one.key]))
  expect(alarms.next()).toBe(nextHour + HOUR)
})

test('a schedule that means something else is set anew, and one that is gone is due no more', () => {
  const alarms = new Alarms()
  const moved = hourly('one', '30 * * * *')
  alarms.set([one], rearm([one], [], now))

  alarms.set([moved], rearm([moved], [], now))
  expect(new Date(alarms.next()!).getUTCMinutes()).toBe(30)
  alarms.set([], [])
  expect(alarms.next()).toBeUndefined()
})
