import { expect, test } from 'vitest'
import { ManualClock } from './support/clock.ts'
import { never } from './support/engine.ts'
import { RateLimit } from '../src/rate-limit.ts'

/** Takes `times` turns and says, after every step of the clock, how many have passed. */
function takers(clock: ManualClock, limit: RateLimit, times: number): { passed(): Promise<number> } {
  let passed = 0
  for (let i = 0; i < times; i += 1) void limit.take(never).then(() => (passed += 1))
  return {
    passed: async () => {
      await new Promise(setImmediate)
      return passed
    },
  }
}

test('one second’s worth passes at once, the rest evenly', async () => {
  const clock = new ManualClock(1_000_000)
  const all = takers(clock, new RateLimit(clock, 5), 12)

  const counts = [await all.passed()]
  for (let i = 0; i < 7; i += 1) {
    clock.advance(200)
    counts.push(await all.passed())
  }

  expect(counts).toEqual([5, 6, 7, 8, 9, 10, 11, 12])
})

test('a bucket that rested is full again, and no fuller', async () => {
  const clock = new ManualClock(1_000_000)
  const limit = new RateLimit(clock, 5)
  await takers(clock, limit, 5).passed()
  clock.advance(3_600_000)

  expect(await takers(clock, limit, 10).passed()).toBe(5)
})

test('less than one a second lets the first pass at once', async () => {
  const clock = new ManualClock(1_000_000)
  const all = takers(clock, new RateLimit(clock, 0.5), 2)

  expect(await all.passed()).toBe(1)
  clock.advance(1_999)
  expect(await all.passed()).toBe(1)
  clock.advance(1)
  expect(await all.passed()).toBe(2)
})

test.each(['taken', 'paused'] as const)('a clock that was set back keeps nobody waiting: %s', async (what) => {
  const clock = new ManualClock(10_000_000)
  const limit = new RateLimit(clock, 5)
  await takers(clock, limit, 5).passed()
  if (what === 'paused') limit.pause(10_000_400)
  clock.advance(-7_200_000)

  const all = takers(clock, limit, 2)
  expect(await all.passed()).toBe(0)
  clock.advance(what === 'paused' ? 600 : 400)
  expect(await all.passed()).toBe(2)
})

test('a pause after the clock was set back is as long as it says', async () => {
  const clock = new ManualClock(10_000_000)
  const limit = new RateLimit(clock, 5)
  await limit.take(never)
  clock.advance(-7_200_000)
  limit.pause(clock.now() + 1000)

  const one = takers(clock, limit, 1)
  clock.advance(999)
  expect(await one.passed()).toBe(0)
  clock.advance(1)
  expect(await one.passed()).toBe(1)
})

test('who leaves gives back the turn, and is told the reason', async () => {
  const clock = new ManualClock(1_000_000)
  const limit = new RateLimit(clock, 1)
  const stop = new AbortController()
  const reason = new Error('stopping')
  await limit.take(never)
  const leaving = Array.from({ length: 8 }, () => limit.take(stop.signal))

  stop.abort(reason)

  for (const one of leaving) await expect(one).rejects.toBe(reason)
  const next = takers(clock, limit, 1)
  clock.advance(1_000)
  expect(await next.passed()).toBe(1)
})

test('nobody gets a turn during a pause, and there is no burst after it', async () => {
  const clock = new ManualClock(1_000_000)
  const limit = new RateLimit(clock, 5)

  limit.pause(1_000_000 + 3_000)
  const all = takers(clock, limit, 3)

  clock.advance(2_999)
  expect(await all.passed()).toBe(0)
  clock.advance(1)
  expect(await all.passed()).toBe(1)
  clock.advance(200)
  expect(await all.passed()).toBe(2)
})
