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

  it('after a long pause fires once, for the latest slot; the others are missed with the reason [K10]', () => {
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

  it('a clock that goes back, and forward again, never fires a slot twice [P10]', () => {
    const fired: number[] = []
    let until = at('2026-11-21T01:30:00Z')
    for (const now of ['02:00', '01:00', '01:59', '02:00', '02:30', '00:10', '02:59', '03:00', '02:00', '03:30']) {
      const due = dueSlots(hourly, { until }, at(`2026-11-21T${now}:00Z`), false)
      if (due.run !== undefined) fired.push(due.run)
      until = due.until
    }
    expect(fired).toEqual([at('2026-11-21T02:00:00Z'), at('2026-11-21T03:00:00Z')])
  })

  it('a clock ten years ahead names at most 1,000 missed slots and sums up those before them [P10]', () => {
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

describe('slots that came due while nobody looked', () => {
  const down = (catchUp: 'once' | 'skip' | 'all', busy = false, startingDeadlineMs = 10 * HOUR) =>
    dueSlots(
      scheduledPolicy('0 * * * *', {}, { catchUp, startingDeadlineMs }),
      state('2026-11-21T00:30:00Z'),
      at('2026-11-21T03:10:00Z'),
      busy,
    )
  const [one, two, three] = [1, 2, 3].map((hour) => at(`2026-11-21T0${hour}:00:00Z`)) as [number, number, number]

  it('once: the latest runs', () => {
    const later = 'a later slot was due too'
    expect(down('once')).toEqual({
      run: three,
      missed: [
        { slot: one, reason: later },
        { slot: two, reason: later },
      ],
      until: three,
    })
  })

  it('skip: none runs, and all are accounted for; one that is a minute late is on time', () => {
    const skipped = 'nobody was there when it was due, and catchUp is skip'
    expect(down('skip')).toEqual({
      run: undefined,
      missed: [one, two, three].map((slot) => ({ slot, reason: skipped })),
      until: three,
    })
    const skipping = scheduledPolicy('0 * * * *', {}, { catchUp: 'skip' })
    expect(dueSlots(skipping, { until: three - 1 }, three + 60_000, false).run).toBe(three)
    expect(dueSlots(skipping, { until: three - 1 }, three + 60_001, false).run).toBeUndefined()
  })

  it('all: each runs, the oldest first', () => {
    expect(down('all')).toEqual({ run: one, missed: [], until: one })
    const each = scheduledPolicy('0 * * * *', {}, { catchUp: 'all', startingDeadlineMs: 10 * HOUR })
    const runs: number[] = []
    for (let until = one - 1; runs.length < 5;) {
      const due = dueSlots(each, { until }, at('2026-11-21T03:10:00Z'), false)
      if (due.run === undefined) break
      runs.push(due.run)
      until = due.until
    }
    expect(runs).toEqual([one, two, three])
  })

  it('all: waits for the execution before it, and is missed only when its deadline has passed', () => {
    expect(down('all', true)).toEqual({ run: undefined, missed: [], until: at('2026-11-21T00:30:00Z') })
    expect(down('all', true, HOUR)).toEqual({
      run: undefined,
      missed: [one, two].map((slot) => ({ slot, reason: 'its startingDeadline of 1h had passed' })),
      until: two,
    })
  })
})

describe('a slot that comes while the execution before it runs', () => {
  const slot = at('2026-11-21T02:00:00Z')
  const due = (concurrency: 'forbid' | 'replace' | 'allow', busy = true) =>
    dueSlots(scheduledPolicy('0 * * * *', {}, { concurrency }), { until: slot - 1 }, slot, busy)

  it('forbid: is missed', () => {
    expect(due('forbid')).toMatchObject({ run: undefined, missed: [{ slot }] })
  })

  it('replace: runs, and that execution is stopped', () => {
    expect(due('replace')).toEqual({ run: slot, replaces: true, missed: [], until: slot })
    expect(due('replace', false)).toEqual({ run: slot, missed: [], until: slot })
  })

  it('allow: runs beside it', () => {
    expect(due('allow')).toEqual({ run: slot, missed: [], until: slot })
  })
})

describe('spread', () => {
  const SPREAD = 600_000
  const spread = (name: string) => scheduledPolicy('0 2 * * *', { name }, { spreadMs: SPREAD })
  const slot = at('2026-11-21T02:00:00Z')
  const place = (name: string) => nextSlotOf(spread(name), slot - 1)! - slot

  it('begins each policy at its own place after the slot, the same at every slot', () => {
    const places = Array.from({ length: 50 }, (_, n) => place(`policy-${n}`))
    expect(places.every((ms) => ms >= 0 && ms < SPREAD)).toBe(true)
    expect(new Set(places).size).toBe(50)
    expect(nextSlotOf(spread('policy-0'), slot)! - slot - 24 * HOUR).toBe(places[0])
  })

  it('keeps the slot’s own name, and counts its deadline from where it begins', () => {
    const policy = spread('policy-1')
    const begins = slot + place('policy-1')
    expect(dueSlots(policy, { until: slot - 1 }, begins - 1, false).run).toBeUndefined()
    expect(dueSlots(policy, { until: slot - 1 }, begins, false).run).toBe(slot)
    expect(dueSlots(policy, { until: slot - 1 }, begins + HOUR, false).run).toBe(slot)
    expect(dueSlots(policy, { until: slot - 1 }, begins + HOUR + 1, false).missed).toHaveLength(1)
  })
})

describe('a suspended policy', () => {
  const slot = at('2026-11-21T02:00:00Z')
  const frozen = (until: string | undefined, reason = 'freeze') =>
    scheduledPolicy('0 * * * *', { suspend: { until: until === undefined ? undefined : at(until), reason } })

  it('begins nothing, and its slots are accounted for as suspended', () => {
    expect(dueSlots(frozen('2026-11-22T00:00:00Z'), { until: slot - 1 }, slot, true)).toEqual({
      run: undefined,
      missed: [{ slot, reason: 'Suspended: freeze' }],
      until: slot,
    })
    expect(dueSlots(frozen(undefined, ''), { until: slot - 1 }, slot, false).missed).toEqual([
      { slot, reason: 'Suspended' },
    ])
  })

  it('begins again with the slot at its very end, and makes up for none before it', () => {
    const due = dueSlots(frozen('2026-11-21T02:00:00Z'), state('2026-11-21T00:00:00Z'), slot, false)
    expect(due).toEqual({
      run: slot,
      missed: [{ slot: slot - HOUR, reason: 'Suspended: freeze' }],
      until: slot,
    })
    const before = dueSlots(frozen('2026-11-21T02:30:00Z'), { until: slot - 1 }, at('2026-11-21T02:45:00Z'), false)
    expect(before).toMatchObject({ run: undefined, missed: [{ reason: 'Suspended: freeze' }] })
  })

  it('keeps its place in the timetable, so that slots are accounted for as they pass', () => {
    expect(nextSlotOf(frozen(undefined), slot)).toBe(slot + HOUR)
    expect(fingerprintOf(frozen(undefined))).toBe(fingerprintOf(hourly))
  })
})

describe('rearming under a new configuration', () => {
  const now = at('2026-11-21T12:00:00Z')

  it('a schedule that means what it meant goes on where it stands, whatever else changed', () => {
    const before = state('2026-11-21T02:00:00Z')
    const rewritten = located(scheduledPolicy('0 0 * * * *', { description: 'new', labels: { site: 'eu' } }))
    expect(rearm([located(provider()), rewritten], [before], now)).toEqual([before])
  })

  it('a policy that is the very same value goes on where it stands', () => {
    const one = located(scheduledPolicy('0 0 * * * *'))
    const before = { ...state('2026-11-21T02:00:00Z'), fingerprint: 'as an earlier version wrote it' }
    expect(rearm([one], [before], now, new Set([one.resource]))).toEqual([before])
    expect(rearm([one], [], now, new Set([one.resource]))).toMatchObject([{ until: now }])
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
    const moved = scheduledPolicy('0 * * * *', {}, { timeZone: 'Asia/Kolkata' })
    expect(rearm([located(moved)], [state('2026-11-21T02:00:00Z')], now)).toEqual([
      { policyKey: key, fingerprint: 'Asia/Kolkata 0 * * * *', until: now },
    ])
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
