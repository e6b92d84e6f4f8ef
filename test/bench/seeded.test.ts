import { expect, test } from 'vitest'
import { faultsOf, latencyMs, randomOf } from './seeded.ts'

test('the same seed gives the same engine', () => {
  const [one, same, other] = [randomOf(7), randomOf(7), randomOf(8)].map((random) => [latencyMs(random), random()])
  expect(one).toEqual(same)
  expect(one).not.toEqual(other)
})

test('latencies are 50 to 500 ms, with a median near their geometric mean', () => {
  const random = randomOf(1)
  const drawn = Array.from({ length: 2001 }, () => latencyMs(random)).sort((a, b) => a - b)
  expect(drawn[0]).toBeGreaterThanOrEqual(50)
  expect(drawn.at(-1)).toBeLessThanOrEqual(500)
  expect(Math.abs(drawn[1000]! / Math.sqrt(50 * 500) - 1)).toBeLessThan(0.1)
})

test('faults are exactly their share, and no artifact has two', () => {
  const faults = faultsOf(7, 600, 0.05, ['partial', 'gone', 'lying'])
  expect(faults.size).toBe(90)
  expect([...faults.values()].filter((fault) => fault === 'gone')).toHaveLength(30)
})
