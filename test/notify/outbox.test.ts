import { expect, test } from 'vitest'
import { ManualClock } from '../support/clock.ts'
import { pump, pumped, turn, until } from '../support/pump.ts'
import { EdgeError } from '../../src/model/errors.ts'
import { Outbox, type Delivered, type Outcome, type Parcel } from '../../src/notify/outbox.ts'

const START = Date.parse('2026-11-21T02:00:00Z')
const away = (retryAfterMs?: number) => new EdgeError('unavailable', 'PH8031', 'away', { retryAfterMs })
const refused = new EdgeError('rejected', 'PH8032', 'no')

/** An outbox whose deliveries are scripted; each entry is what one attempt comes to. */
function scripted(script: (Error | Delivered | Promise<Delivered>)[], random = 0) {
  const clock = new ManualClock(START)
  const outcomes: Outcome[] = []
  const attempts: { readonly subject: string; readonly at: number }[] = []
  const outbox = new Outbox<Parcel>(
    'on-call',
    async ({ subject }, signal) => {
      attempts.push({ subject, at: clock.now() - START })
      signal.throwIfAborted()
      const next = script.shift() ?? 'delivered'
      if (next instanceof Error) throw next
      return await next
    },
    { clock, random: () => random, onOutcome: (outcome) => outcomes.push(outcome) },
  )
  return { clock, outcomes, attempts, outbox }
}

const parcel = (subject: string, severity: Parcel['severity'] = 'error', key?: string): Parcel => ({
  subject,
  severity,
  key,
})
const kinds = (outcomes: readonly Outcome[]) => outcomes.map(({ subject, kind }) => `${subject} ${kind}`)

test.each([
  [0, [0, 2_000, 4_000, 6_000]],
  [1, [0, 6_000, 24_000, 54_000]],
])('four attempts, with 2 to 30 s in between (jitter %d)', async (random, at) => {
  const { clock, outcomes, attempts, outbox } = scripted([away(), away(), away(), away()], random)
  outbox.put(parcel('a'))
  await pump(clock, () => outcomes.length === 1)

  expect(attempts.map((one) => one.at)).toEqual(at)
  expect(outcomes).toEqual([
    { notification: 'on-call', subject: 'a', kind: 'failed', error: { code: 'PH8031', message: 'away' } },
  ])
})

test('the receiver’s Retry-After is kept to, and the next one in line waits with it', async () => {
  const { clock, outcomes, attempts, outbox } = scripted([away(90_000)])
  outbox.put(parcel('a'))
  outbox.put(parcel('b'))
  await pump(clock, () => outcomes.length === 2)

  expect(attempts).toEqual([
    { subject: 'a', at: 0 },
    { subject: 'a', at: 90_000 },
    { subject: 'b', at: 90_000 },
  ])
})

test('what was refused is not tried again, and a failure of ours ends nothing', async () => {
  const { clock, outcomes, attempts, outbox } = scripted([refused, new TypeError('a bug')])
  for (const subject of ['a', 'b', 'c']) outbox.put(parcel(subject))
  await pump(clock, () => outcomes.length === 3)

  expect(attempts).toHaveLength(3)
  expect(outcomes.map(({ kind, error }) => [kind, error?.code, error?.message])).toEqual([
    ['failed', 'PH8032', 'no'],
    ['failed', undefined, 'a bug'],
    ['delivered', undefined, undefined],
  ])
})

test('of a thousand that wait the oldest info is dropped first, then the oldest error, and each is counted', async () => {
  let open: (delivered: Delivered) => void = () => undefined
  const gate = new Promise<Delivered>((resolve) => (open = resolve))
  const { clock, outcomes, attempts, outbox } = scripted([gate])
  outbox.put(parcel('first'))
  await until(() => attempts.length === 1)
  outbox.put(parcel('e0'))
  outbox.put(parcel('i0', 'info'))
  for (let i = 1; i <= 998; i++) outbox.put(parcel(`e${i}`))
  expect(outcomes).toEqual([])

  outbox.put(parcel('x'))
  outbox.put(parcel('y'))
  outbox.put(parcel('z', 'info'))

  expect(kinds(outcomes)).toEqual(['i0 dropped', 'e0 dropped', 'z dropped'])
  open('delivered')
  await pump(clock, () => outcomes.length === 1004)
  expect(outcomes.slice(3).every(({ kind }) => kind === 'delivered')).toBe(true)
})

test('a younger one with the same key takes the place of one that waits', async () => {
  let open: (delivered: Delivered) => void = () => undefined
  const gate = new Promise<Delivered>((resolve) => (open = resolve))
  const { clock, outcomes, attempts, outbox } = scripted([gate])
  outbox.put(parcel('under way', 'error', 'k'))
  await until(() => attempts.length === 1)
  outbox.put(parcel('old', 'error', 'k'))
  outbox.put(parcel('other', 'error', 'l'))
  outbox.put(parcel('new', 'error', 'k'))
  open('delivered')
  await pump(clock, () => outcomes.length === 3)

  expect(kinds(outcomes)).toEqual(['under way delivered', 'other delivered', 'new delivered'])
})

test('whoever puts something in is never kept by the delivery', () => {
  const { attempts, outbox } = scripted([])
  outbox.put(parcel('a'))
  expect(attempts).toEqual([])
})

test('closing delivers what waits', async () => {
  const { outcomes, outbox } = scripted([])
  outbox.put(parcel('a'))
  outbox.put(parcel('b'))
  await outbox[Symbol.asyncDispose]()
  expect(kinds(outcomes)).toEqual(['a delivered', 'b delivered'])
})

test('closing waits five seconds and no longer; the rest is dropped and counted, and nothing is taken any more', async () => {
  const { clock, outcomes, attempts, outbox } = scripted([away(60_000)])
  outbox.put(parcel('a'))
  outbox.put(parcel('b'))
  await until(() => attempts.length === 1 && clock.nextWake !== undefined)
  const closing = outbox[Symbol.asyncDispose]()
  clock.set(START + 4_999)
  await turn()
  expect(outcomes).toEqual([])

  clock.set(START + 5_000)
  await pumped(clock, closing)

  expect(kinds(outcomes)).toEqual(['a dropped', 'b dropped'])
  expect(clock.now()).toBe(START + 5_000)
  outbox.put(parcel('c'))
  expect(kinds(outcomes)).toEqual(['a dropped', 'b dropped', 'c dropped'])
})
