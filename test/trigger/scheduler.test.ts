import { describe, expect, it } from 'vitest'
import { SlotCalculator } from '../../src/model/schedule.ts'
import { Timetable, dueSlots, fingerprintOf, nextSlotOf, rearm } from '../../src/trigger/scheduler.ts'
import { located, policy, provider, scheduledPolicy } from '../support/examples.ts'

const at = (text: string) => Date.parse(text)
const HOUR = 3_600_000
const hourly = scheduledPolicy('0 * * * *')
const key = 'PreheatPolicy/harbor/library/release-images'
const state = (until: string) => ({ policyKey: key, fingerprint: fingerprintOf(hourly)!, until: at(until) })

describe('due slots', () => {
  it('a slot that came due runs once, and then nothing is due until the next', () => {
    const first = dueSlots(hourly, state('2026-11-21T01:30:00Z'), at('2026-11-21T02:00:00Z'), false)
    expect(first).toEqual({ run: at('2026-11-21T02:00:00Z'), missed: [], until: at('2026-11-21T02:00:00Z') })
    const again = dueSlots(hourly, { until: first.until }, at('2026-11-21T02:59:59.999Z'), false)
    expect(again).toEqual({ run: undefined, missed: [], until: first.until })
  })

  it('after a long pause fires once, for the latest slot; the others are missed with the reason', () => {
    const due = dueSlots(hourly, state('2026-11-21T01:00:00Z'), at('2026-11-21T04:10:00Z'), false)
    expect(due).toEqual({
      run: at('2026-11-21T04:00:00Z'),
      missed: [
        { slot: at('2026-11-21T02:00:00Z'), reason: 'its startingDeadline of 1h had passed' },
        { slot: at('2026-11-21T03:00:00Z'), reason: 'its startingDeadline of 1h had passed' },
      ],
      until: at('2026-11-21T04:00:00Z'),
    })
  })

  it('a slot that a later one overtook within the deadline says so', () => {
    const often = scheduledPolicy('*/20 * * * *')
    const due = dueSlots(often, state('2026-11-21T02:00:00Z'), at('2026-11-21T02:40:00Z'), false)
    expect(due.missed).toEqual([{ slot: at('2026-11-21T02:20:00Z'), reason: 'a later slot was due too' }])
  })

  it('the latest slot is missed when it is older than its startingDeadline, and not before', () => {
    const daily = scheduledPolicy('0 2 * * *')
    const slot = at('2026-11-21T02:00:00Z')
    expect(dueSlots(daily, { until: slot - HOUR }, slot + HOUR, false).run).toBe(slot)
    expect(dueSlots(daily, { until: slot - HOUR }, slot + HOUR + 1, false)).toEqual({
      run: undefined,
      missed: [{ slot, reason: 'its startingDeadline of 1h had passed' }],
      until: slot,
    })
  })

  it('a slot is missed while the execution before it still runs', () => {
    const slot = at('2026-11-21T02:00:00Z')
    expect(dueSlots(hourly, { until: slot - 1 }, slot, true)).toEqual({
      run: undefined,
      missed: [{ slot, reason: 'the previous execution was still running' }],
      until: slot,
    })
  })

  it('a clock that goes back, and forward again, never fires a slot twice', () => {
    const fired: number[] = []
    let until = at('2026-11-21T01:30:00Z')
    for (const now of ['02:00', '01:00', '01:59', '02:00', '02:30', '00:10', '02:59', '03:00', '02:00', '03:30']) {
      const due = dueSlots(hourly, { until }, at(`2026-11-21T${now}:00Z`), false)
      if (due.run !== undefined) fired.push(due.run)
      until = due.until
    }
    expect(fired).toEqual([at('2026-11-21T02:00:00Z'), at('2026-11-21T03:00:00Z')])
  })

  it('a clock ten years ahead names at most 1,000 missed slots and sums up those before them', () => {
    const everyMinute = scheduledPolicy('* * * * *')
    const now = at('2036-11-21T02:00:00Z')
    const due = dueSlots(everyMinute, { until: at('2026-11-21T02:00:00Z') }, now, false)
    expect(due.run).toBe(now)
    expect(due.missed).toHaveLength(1001)
    expect(due.missed[0]).toEqual({
      slot: now - 1001 * 60_000,
      reason: 'this one and all slots before it: too many to name',
    })
    expect(due.missed[1]!.slot).toBe(now - 1000 * 60_000)
    expect(due.missed.filter(({ reason }) => reason.includes('too many'))).toHaveLength(1)
  })

  it.each([
    ['disabled', scheduledPolicy('0 * * * *', { enabled: false })],
    ['manual', policy()],
  ])('a %s policy has no slots', (_, quiet) => {
    const now = at('2026-11-21T04:00:00Z')
    expect(dueSlots(quiet, { until: 0 }, now, false)).toEqual({ run: undefined, missed: [], until: 0 })
    expect(nextSlotOf(quiet, now)).toBeUndefined()
    expect(fingerprintOf(quiet)).toBeUndefined()
  })
})

describe('rearming under a new configuration', () => {
  const now = at('2026-11-21T12:00:00Z')

  it('a schedule that means what it meant goes on where it stands, whatever else changed', () => {
    const before = state('2026-11-21T02:00:00Z')
    const rewritten = located(scheduledPolicy('0 0 * * * *', { description: 'new', labels: { site: 'eu' } }))
    expect(rearm([located(provider()), rewritten], [before], now)).toEqual([before])
  })

  it('a new schedule, and one that changed, count from now: no slot before the change fires', () => {
    const other = located(scheduledPolicy('30 * * * *', { name: 'other' }))
    const changed = located(scheduledPolicy('0 3 * * *'))
    const states = rearm([changed, other], [state('2026-11-21T02:00:00Z')], now)
    expect(states).toEqual([
      { policyKey: key, fingerprint: 'UTC 0 3 * * *', until: now },
      { policyKey: 'PreheatPolicy/harbor/library/other', fingerprint: 'UTC 30 * * * *', until: now },
    ])
  })

  it('a schedule in another time zone is another schedule', () => {
    const schedule = { cron: '0 * * * *', timeZone: 'Asia/Kolkata', startingDeadlineMs: HOUR }
    expect(
      rearm([located(policy({ trigger: { type: 'scheduled', schedule } }))], [state('2026-11-21T02:00:00Z')], now),
    ).toEqual([{ policyKey: key, fingerprint: 'Asia/Kolkata 0 * * * *', until: now }])
  })

  it('deleted, disabled and manual policies have no state', () => {
    const quiet = [located(scheduledPolicy('0 * * * *', { enabled: false })), located(policy({ name: 'by-hand' }))]
    expect(rearm(quiet, [state('2026-11-21T02:00:00Z')], now)).toEqual([])
  })
})

describe('the timetable', () => {
  it('gives the earliest first, and equal ones by name', () => {
    const table = new Timetable()
    table.set('c', 30)
    table.set('b', 10)
    table.set('a', 10)
    table.set('d', 20)
    expect(table.next()).toEqual({ policyKey: 'a', at: 10 })
    expect(table.takeDue(9)).toEqual([])
    expect(table.takeDue(20)).toEqual(['a', 'b', 'd'])
    expect(table.next()).toEqual({ policyKey: 'c', at: 30 })
  })

  it('arming one policy anew moves it and nobody else', () => {
    const table = new Timetable()
    for (const [index, name] of ['a', 'b', 'c', 'd', 'e'].entries()) table.set(name, index)
    table.set('a', 10)
    table.set('e', 1.5)
    table.set('c', undefined)
    table.set('unknown', undefined)
    expect(table.takeDue(100)).toEqual(['b', 'e', 'd', 'a'])
    expect(table.next()).toBeUndefined()
  })

  it('agrees with sorting through thousands of changes', () => {
    const table = new Timetable()
    const model = new Map<string, number>()
    let random = 7
    const draw = (below: number) => (random = (random * 48_271) % 2_147_483_647) % below
    for (let step = 0; step < 20_000; step++) {
      const name = `p${draw(300)}`
      if (draw(3) === 0) {
        table.set(name, undefined)
        model.delete(name)
      } else {
        const when = draw(1000)
        table.set(name, when)
        model.set(name, when)
      }
      if (step % 500 !== 0) continue
      const now = draw(300)
      const due = [...model].filter(([, when]) => when <= now).sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1))
      expect(table.takeDue(now)).toEqual(due.map(([one]) => one))
      for (const [one] of due) model.delete(one)
    }
  })

  it('10,000 policies are served by one table and 32 compiled patterns', () => {
    const table = new Timetable()
    const slots = new SlotCalculator()
    const policies = Array.from({ length: 10_000 }, (_, index) =>
      scheduledPolicy(`${index % 60} ${(index * 7) % 24} * * *`),
    )
    let now = at('2026-11-21T00:00:00Z')
    for (const [index, one] of policies.entries()) table.set(`${index}`, nextSlotOf(one, now, slots))
    let fired = 0
    for (let next = table.next(); next !== undefined && fired < 10_000; next = table.next()) {
      expect(next.at).toBeGreaterThan(now)
      now = next.at
      for (const name of table.takeDue(now)) {
        fired++
        table.set(name, nextSlotOf(policies[Number(name)]!, now, slots))
      }
    }
    expect(fired).toBe(10_000)
    expect(now).toBe(at('2026-11-22T00:00:00Z'))
    expect(slots.size).toBeLessThanOrEqual(32)
  })
})
