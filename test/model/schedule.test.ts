import { describe, expect, it } from 'vitest'
import { SlotCalculator, canonicalTiming, checkCron, nextSlot, slotsBetween } from '../../src/model/schedule.ts'

const at = (text: string) => Date.parse(text)
const iso = (instants: readonly number[]) => instants.map((one) => new Date(one).toISOString().replace(':00.000Z', 'Z'))
const next = (cron: string, timeZone: string, after: string, count: number) => {
  const found: number[] = []
  for (let from = at(after); found.length < count; from = found.at(-1)!) found.push(nextSlot({ cron, timeZone }, from)!)
  return iso(found)
}

describe('the grammar', () => {
  it.each([
    '0 2 * * *',
    '0 0 2 * * *',
    '*/15 0 * * *',
    '0 0 */1 * * *',
    '0 0 0 ? * MON',
    '0 0 0 * * mon-fri',
    '0 0 0 1 JAN *',
    '0 5/20 8-18/2 * * *',
    '0 00 02 * * *',
    '0 0 0 29 2 *',
    'CRON_TZ=Asia/Tokyo 0 0 3 * * *',
    'TZ=Europe/Berlin 0 3 * * *',
    '0 * * * * *',
  ])('%j is accepted', (cron) => {
    expect(checkCron(cron, 'UTC')).toBeUndefined()
  })

  it.each([
    ['0 2 * * 7', 'weekday: 7 is refused, Sunday is 0'],
    ['0 2 * * FRI-MON', 'weekday: "FRI-MON" ends before it begins'],
    ['0 2 * * 5L', 'weekday: "5L" is not 0-6 or SUN-SAT'],
    ['0 2 L * *', 'day of month: "L" is not 1-31'],
    ['0 2 15W * *', 'day of month: "15W" is not 1-31'],
    ['0 2 * * MON#2', 'weekday: cannot read "MON#2"'],
    ['0 2 * * +MON', 'weekday: cannot read "+MON"'],
    ['0 0 2 * * * 2027', '7 fields; write five, or six with 0 for the seconds'],
    ['2 * * *', '4 fields; write five, or six with 0 for the seconds'],
    ['@daily', '"@daily": write the fields out, descriptors are refused'],
    ['@every 1h', '"@every 1h": write the fields out, descriptors are refused'],
    ['1 0 0 * * *', 'the seconds must be 0'],
    ['00 0 0 * * *', 'the seconds must be 0'],
    ['*/5 0 0 * * *', 'the seconds must be 0'],
    ['5  0 0 * * *', 'fields are separated by one space each, with none around them'],
    [' 0 2 * * *', 'fields are separated by one space each, with none around them'],
    ['0 2 * * * ', 'fields are separated by one space each, with none around them'],
    ['0 2\t* * *', 'fields are separated by one space each, with none around them'],
    ['CRON_TZ=Asia/Tokyo 5 0 0 3 * *', 'the seconds must be 0'],
    ['CRON_TZ=Asia/Tokyo  0 0 3 * * *', 'fields are separated by one space each, with none around them'],
    ['', 'fields are separated by one space each, with none around them'],
    ['60 * * * *', 'minute: "60" is not 0-59'],
    ['0 24 * * *', 'hour: "24" is not 0-23'],
    ['0 0 0 * *', 'day of month: "0" is not 1-31'],
    ['0 0 * 13 *', 'month: "13" is not 1-12 or JAN-DEC'],
    ['*/0 * * * *', 'minute: a step must be between 1 and 59'],
    ['*/90 * * * *', 'minute: a step must be between 1 and 59'],
    ['1,,2 * * * *', 'minute: cannot read ""'],
    ['*-5 * * * *', 'minute: cannot read "*-5"'],
    ['0 0 31 2 *', 'it never fires: no month of its has such a day'],
    ['0 0 31 4,6,9,11 *', 'it never fires: no month of its has such a day'],
    [`${'0,'.repeat(200)}0 * * * *`, 'longer than 256 characters'],
  ])('%j is refused: %s [P8]', (cron, reason) => {
    expect(checkCron(cron, 'UTC')).toBe(reason)
  })

  it.each(['Mars/Olympus', '+01:00', '', 'Local', 'Europe/Berlin; rm'])('the time zone %j is refused', (timeZone) => {
    const reason = `${JSON.stringify(timeZone)} is not an IANA time zone such as Europe/Berlin`
    expect(checkCron('0 2 * * *', timeZone)).toBe(reason)
    if (!timeZone.includes(' ')) expect(checkCron(`CRON_TZ=${timeZone} 0 2 * * *`, 'UTC')).toBe(reason)
  })
})

describe('slots', () => {
  it('CRON_TZ wins over timeZone', () => {
    expect(next('CRON_TZ=Asia/Tokyo 0 0 3 * * *', 'Europe/Berlin', '2026-11-21T00:00:00Z', 1)).toEqual([
      '2026-11-21T18:00Z',
    ])
  })

  it('day of month and weekday both restricted mean either, as in Harbor', () => {
    // 2026-11-01 is a Sunday.
    expect(next('0 0 0 3 * MON', 'UTC', '2026-11-01T00:00:00Z', 3)).toEqual([
      '2026-11-02T00:00Z',
      '2026-11-03T00:00Z',
      '2026-11-09T00:00Z',
    ])
  })

  it.each(['*', '?', '*/1', '*,3'])('a day of month of %s leaves the weekday alone to decide', (days) => {
    expect(next(`0 0 ${days} * MON`, 'UTC', '2026-11-01T00:00:00Z', 2)).toEqual([
      '2026-11-02T00:00Z',
      '2026-11-09T00:00Z',
    ])
  })

  it('a slot is strictly after the instant that was asked for, to the millisecond', () => {
    const slot = at('2026-11-21T02:00:00Z')
    const daily = { cron: '0 2 * * *', timeZone: 'UTC' }
    expect(nextSlot(daily, slot - 1)).toBe(slot)
    expect(nextSlot(daily, slot)).toBe(slot + 86_400_000)
    expect(nextSlot(daily, slot + 1)).toBe(slot + 86_400_000)
  })

  it('a single minute with a step runs from there to the end of the hour', () => {
    expect(next('5/20 0 * * *', 'UTC', '2026-11-21T00:00:00Z', 4)).toEqual([
      '2026-11-21T00:05Z',
      '2026-11-21T00:25Z',
      '2026-11-21T00:45Z',
      '2026-11-22T00:05Z',
    ])
  })
})

describe('when clocks change', () => {
  it.each([
    ['30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z', ['2026-03-29T01:00Z', '2026-03-30T00:30Z']],
    ['30 2,14 * * *', 'Europe/Berlin', '2026-03-28T14:00:00Z', ['2026-03-29T01:00Z', '2026-03-29T12:30Z']],
    ['0-30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z', ['2026-03-29T01:00Z', '2026-03-30T00:00Z']],
    ['30 2 * * *', 'America/New_York', '2026-03-07T12:00:00Z', ['2026-03-08T07:00Z', '2026-03-09T06:30Z']],
    ['15 2 * * *', 'Australia/Lord_Howe', '2026-10-02T16:00:00Z', ['2026-10-03T15:30Z', '2026-10-04T15:15Z']],
  ])('%s in %s, in the gap in spring, fires once right after it [P9]', (cron, timeZone, after, slots) => {
    expect(next(cron, timeZone, after, 2)).toEqual(slots)
  })

  it.each([
    ['30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z', ['2026-10-25T00:30Z', '2026-10-26T01:30Z']],
    ['30 1,13 * * *', 'America/New_York', '2026-10-31T18:00:00Z', ['2026-11-01T05:30Z', '2026-11-01T18:30Z']],
    ['45 1 * * *', 'Australia/Lord_Howe', '2026-04-03T16:00:00Z', ['2026-04-04T14:45Z', '2026-04-05T15:15Z']],
  ])('%s in %s, which comes twice in autumn, fires the first time only [P9]', (cron, timeZone, after, slots) => {
    expect(next(cron, timeZone, after, 2)).toEqual(slots)
  })

  it('what runs every hour goes on every hour [P9]', () => {
    const hourly = { cron: '0 * * * *', timeZone: 'Europe/Berlin' }
    for (const [from, to] of [
      ['2026-03-28T22:00:00Z', '2026-03-29T04:00:00Z'],
      ['2026-10-24T22:00:00Z', '2026-10-25T04:00:00Z'],
    ] as const) {
      const slots = slotsBetween(hourly, at(from), at(to), 100)
      expect(slots).toEqual(Array.from({ length: 6 }, (_, hour) => at(from) + (hour + 1) * 3_600_000))
    }
  })

  it.each(['30 2 * * *', '*/20 1-3 * * *', '0 0 2,14 1 * MON'])(
    '%s: slots read backwards over a year are those read forwards [P9]',
    (cron) => {
      const timing = { cron, timeZone: 'Europe/Berlin' }
      const [from, until] = [at('2026-01-01T00:00:00Z'), at('2027-01-01T00:00:00Z')]
      const forwards: number[] = []
      for (let slot = nextSlot(timing, from)!; slot <= until; slot = nextSlot(timing, slot)!) forwards.push(slot)
      expect(slotsBetween(timing, from, until, 10_000)).toEqual(forwards)
    },
  )
})

describe('slots between two instants', () => {
  const hourly = { cron: '0 * * * *', timeZone: 'UTC' }

  it('the first instant is left out and the last is in', () => {
    expect(iso(slotsBetween(hourly, at('2026-11-21T02:00:00Z'), at('2026-11-21T04:00:00Z'), 10))).toEqual([
      '2026-11-21T03:00Z',
      '2026-11-21T04:00Z',
    ])
    expect(slotsBetween(hourly, at('2026-11-21T02:00:00.001Z'), at('2026-11-21T02:59:59.999Z'), 10)).toEqual([])
  })

  it('of more than the limit the newest are kept, oldest first', () => {
    const slots = slotsBetween(hourly, at('2000-01-01T00:00:00Z'), at('2026-11-21T04:30:00Z'), 20)
    expect(slots).toHaveLength(20)
    expect(iso(slots.slice(-2))).toEqual(['2026-11-21T03:00Z', '2026-11-21T04:00Z'])
    expect(iso(slots.slice(0, 1))).toEqual(['2026-11-20T09:00Z'])
  })

  it('a span that ends before it begins holds none', () => {
    expect(slotsBetween(hourly, at('2026-11-21T04:00:00Z'), at('2026-11-21T02:00:00Z'), 10)).toEqual([])
  })
})

describe('the calculator for many schedules', () => {
  it('answers as the functions do and keeps 32 compiled patterns, however many schedules ask', () => {
    const slots = new SlotCalculator()
    const now = at('2026-11-21T00:00:30Z')
    for (let policy = 0; policy < 1000; policy++) {
      const timing = { cron: `${policy % 60} ${policy % 24} * * *`, timeZone: 'UTC' }
      const slot = slots.next(timing, now)!
      expect(slot).toBeGreaterThan(now)
      if (policy % 97 === 0) {
        expect(slot).toBe(nextSlot(timing, now))
        expect(slots.between(timing, now, slot, 5)).toEqual([slot])
      }
    }
    expect(slots.size).toBe(32)
  })
})

it('schedules that mean the same have the same canonical form', () => {
  const forms = [
    ['0 2 * * *', 'Europe/Berlin'],
    ['0 0 2 * * *', 'Europe/Berlin'],
    ['0 0 02 ? * */1', 'Europe/Berlin'],
    ['CRON_TZ=Europe/Berlin 0 2 * * *', 'UTC'],
  ].map(([cron, timeZone]) => canonicalTiming({ cron: cron!, timeZone: timeZone! }))
  expect(new Set(forms)).toEqual(new Set(['Europe/Berlin 0 2 * * *']))
  expect(canonicalTiming({ cron: '0 2 * * *', timeZone: 'UTC' })).not.toBe(forms[0])
})
