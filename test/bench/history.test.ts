import { expect, test } from 'vitest'
import { historyOf } from './history.ts'

const post = (at: number, index: number, status = 200) => ({ kind: 'post', at, index, status }) as const
const told = (at: number, index: number, end: 'success' | 'expired' = 'success') =>
  ({ kind: 'told', at, index, end }) as const

test('a run lasts from the first POST that was taken to the last end that was shown', () => {
  const log = [
    post(90, 0, 429),
    post(100, 0),
    { kind: 'get', at: 110 } as const,
    told(110, 0),
    post(120, 1),
    told(150, 1),
  ]
  expect(historyOf(log)).toMatchObject({ firstPostAt: 100, makespanMs: 50, doneP50Ms: 10, doneP95Ms: 50, taken: 2 })
})

test('a POST over the limit is none that was taken, and one taken twice is counted again', () => {
  const log = [post(1, 0), post(2, 1, 429), post(3, 1), post(4, 1)]
  expect(historyOf(log)).toMatchObject({ taken: 3, again: 1, http: { post: 4, s429: 1, get: 0 } })
})

test('where no end was shown a run lasts to its last POST', () => {
  expect(historyOf([post(10, 0), post(35, 1)])).toMatchObject({ makespanMs: 25, doneP95Ms: 0 })
})

test('jobs that ended with a dead token are counted', () => {
  expect(historyOf([post(0, 0), post(0, 1), told(5, 0, 'expired'), told(5, 1)]).expired).toBe(1)
})
