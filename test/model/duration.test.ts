import { expect, it } from 'vitest'
import { compactInstant, formatDuration, formatInstant, parseDuration } from '../../src/model/duration.ts'

it.each([
  ['500ms', 500],
  ['30s', 30_000],
  ['5m', 300_000],
  ['1h30m', 5_400_000],
  ['2d', 172_800_000],
  ['0s', 0],
  ['1h1h', 7_200_000],
])('%s is %d milliseconds', (text, ms) => {
  expect(parseDuration(text)).toBe(ms)
})

it.each(['', '30', '1.5h', '-5m', '5 m', ' 5m', '5M', '5m\n', '1w', 'PT5M', '99999999999999999d'])(
  '%j is not a duration',
  (text) => {
    expect(() => parseDuration(text)).toThrow(TypeError)
  },
)

it.each([0, 1, 500, 1000, 61_001, 5_400_000, 90_061_001])(
  '%d milliseconds are written so that they read back',
  (ms) => {
    expect(parseDuration(formatDuration(ms))).toBe(ms)
  },
)

it('durations are written in their shortest form', () => {
  expect([5_400_000, 0, 90_000, 86_400_000].map(formatDuration)).toEqual(['1h30m', '0s', '1m30s', '1d'])
})

it('an instant has one spelling in reports, and one without colons for file names', () => {
  const at = Date.UTC(2026, 10, 21, 2, 0, 0, 7)
  expect(formatInstant(at)).toBe('2026-11-21T02:00:00.007Z')
  expect(compactInstant(at)).toBe('20261121T020000Z')
})
