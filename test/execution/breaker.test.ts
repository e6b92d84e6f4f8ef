import { expect, test } from 'vitest'
import { afterSilence, closed, passage } from '../../src/execution/breaker.ts'
import { EXAMPLE_AT as now } from '../support/examples.ts'

function silences(count: number, start = closed, at = now) {
  let breaker = start
  for (let i = 0; i < count; i++) breaker = afterSilence(breaker, at)
  return breaker
}

test('four silences in a row shut nothing; the fifth does, for ten seconds', () => {
  expect(passage(silences(4), now)).toBe('free')
  expect(passage(silences(5), now)).toBe('shut')
  expect(passage(silences(5), now + 9_999)).toBe('shut')
  expect(passage(silences(5), now + 10_000)).toBe('ask')
})

test('what was under way when it shut says nothing new', () => {
  expect(silences(50)).toEqual(silences(5))
})

test('a question that is not answered shuts it for twice as long, five minutes at most', () => {
  let breaker = silences(5)
  const times: number[] = []
  for (let at = breaker.openUntil!; times.length < 7; at = breaker.openUntil!) {
    breaker = afterSilence(breaker, at)
    times.push(breaker.openUntil! - at)
  }

  expect(times).toEqual([20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000])
})
