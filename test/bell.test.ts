import { expect, test } from 'vitest'
import { Bell } from '../src/bell.ts'
import { ManualClock } from './support/clock.ts'
import { never } from './support/engine.ts'
import { turn } from './support/pump.ts'

test('a ring ends the rest that is under way', async () => {
  const clock = new ManualClock(0)
  const bell = new Bell()
  const rest = bell.rest(1000, clock, never)

  bell.ring()

  expect(await rest).toBe(true)
  expect(clock.now()).toBe(0)
})

test('a ring while the loop works ends its next rest, and only that one', async () => {
  const clock = new ManualClock(0)
  const bell = new Bell()

  bell.ring()
  bell.ring()

  expect(await bell.rest(1000, clock, never)).toBe(true)
  const second = bell.rest(1000, clock, never)
  clock.set(1000)
  expect(await second).toBe(false)
})

test('a burst of rings wakes once', async () => {
  const clock = new ManualClock(0)
  const bell = new Bell(200)
  let woken = 0
  const looping = (async () => {
    while (clock.now() < 1000) if (await bell.rest(1000, clock, never)) woken += 1
  })()

  for (let at = 0; at < 200; at += 20) {
    clock.set(at)
    bell.ring()
    await turn()
  }
  clock.set(200)
  await turn()
  expect(woken).toBe(1)
  clock.set(1000)
  await looping
  expect(woken).toBe(1)
})

test('a stop ends the rest, and is no ring', async () => {
  const clock = new ManualClock(0)
  const stop = new AbortController()
  const rest = new Bell(200).rest(1000, clock, stop.signal)

  stop.abort()

  expect(await rest).toBe(false)
})
