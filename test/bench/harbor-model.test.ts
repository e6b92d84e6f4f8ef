import { expect, test } from 'vitest'
import { formulaS, HARBOR, modelHarbor, modelScript, VISIBILITY_S, visibleS, type Work } from './harbor-model.ts'

const LIVE: Work = { n: 1000, jobS: 0.1, visibilityS: undefined, tokenLifeS: undefined }
const DRAGONFLY: Work = { ...LIVE, jobS: 2, visibilityS: VISIBILITY_S }

test.each([
  { name: 'live, 0.1 s', work: LIVE, workers: 10 },
  { name: 'live, 30 s', work: { ...LIVE, jobS: 30 }, workers: 10 },
  { name: 'live, 31 s', work: { ...LIVE, jobS: 31 }, workers: 50 },
  { name: 'Dragonfly', work: DRAGONFLY, workers: 10 },
  { name: 'Dragonfly, 10,000', work: { ...DRAGONFLY, n: 10_000 }, workers: 10 },
  { name: 'Dragonfly, 10,000, 300 workers', work: { ...DRAGONFLY, n: 10_000 }, workers: 300 },
  { name: 'Dragonfly, a job of 40 s', work: { ...DRAGONFLY, jobS: 40 }, workers: 10 },
])('the model of Harbor is within 2 % of the closed formula: $name', ({ work, workers }) => {
  const settings = { ...HARBOR, workers }
  const { makespanS } = modelHarbor(work, settings)
  expect(Math.abs(makespanS / formulaS(work, settings) - 1)).toBeLessThan(0.02)
})

test('ten thousand artifacts take ten workers 2.8 h at 0.1 s each, and 8.4 h behind a Dragonfly', () => {
  expect(modelHarbor({ ...LIVE, n: 10_000 }, HARBOR).makespanS / 3600).toBeCloseTo(2.81, 2)
  expect(modelHarbor({ ...DRAGONFLY, n: 10_000 }, HARBOR).makespanS / 3600).toBeCloseTo(8.4, 1)
})

test('a token that was minted at the queue is dead for whoever waits longer than its life', () => {
  const { succeeded, expired } = modelHarbor({ ...DRAGONFLY, n: 10_000, tokenLifeS: 1860 }, HARBOR)
  expect(succeeded + expired).toBe(10_000)
  expect(succeeded).toBeGreaterThanOrEqual(610)
  expect(succeeded).toBeLessThanOrEqual(660)
})

test('a job that shows its end after half an hour is given up', () => {
  expect(modelHarbor({ ...DRAGONFLY, n: 20, jobS: 2000 }, HARBOR)).toMatchObject({ succeeded: 0, timedOut: 20 })
})

test('a row shows its end at the first look after it', () => {
  expect([0.1, 30, 31, 500].map((jobS) => visibleS({ jobS, visibilityS: VISIBILITY_S }))).toEqual([30, 30, 90, 750])
  expect(visibleS({ jobS: 31, visibilityS: undefined })).toBe(31)
})

test('a script that looks every second waits for whole seconds', () => {
  expect(modelScript(LIVE, 1, 1, 0)).toBe(1000)
  expect(modelScript({ ...DRAGONFLY, n: 10_000 }, 10, 1, 0.2)).toBeCloseTo(30_200)
})
