import { expect, test } from 'vitest'
import { EXAMPLE_AT } from '../support/examples.ts'
import { notice } from '../support/notice.ts'
import { Recent } from '../../src/notify/recent.ts'

const MINUTE = 60_000

test('the same is told once in five minutes, whichever execution says it', () => {
  const recent = new Recent()
  expect(recent.has(notice(), EXAMPLE_AT)).toBe(false)
  expect(recent.has(notice({ executionId: 'other', at: EXAMPLE_AT + 1 }), EXAMPLE_AT + 5 * MINUTE - 1)).toBe(true)
  expect(recent.has(notice(), EXAMPLE_AT + 5 * MINUTE)).toBe(false)
})

test.each([
  ['object', { object: { kind: 'Provider', name: 'a', key: 'Provider/a' } }],
  ['reason', { reason: 'DriftFound' }],
  ['message', { message: 'other' }],
  ['revision', { revision: 'other' }],
] as const)('another %s is another notice', (_, other) => {
  const recent = new Recent()
  recent.has(notice(), EXAMPLE_AT)
  expect(recent.has(notice(other), EXAMPLE_AT)).toBe(false)
})

test('what fails again after it was told to be well is told again', () => {
  const recent = new Recent()
  const failed = notice()
  const well = notice({ severity: 'info', reason: 'ResultChanged', message: 'Success' })
  expect([failed, well, failed, failed, well].map((one) => recent.has(one, EXAMPLE_AT))).toEqual([
    false,
    false,
    false,
    true,
    false,
  ])
})

test('a clock that was set back silences nothing for longer than five minutes', () => {
  const recent = new Recent()
  recent.has(notice(), EXAMPLE_AT)
  expect(recent.has(notice(), EXAMPLE_AT - 60 * MINUTE)).toBe(false)
})

test('at most ten thousand notices are remembered', () => {
  const recent = new Recent()
  for (let i = 0; i <= 10_000; i++) recent.has(notice({ message: `${i}` }), EXAMPLE_AT)
  expect(recent.has(notice({ message: '10000' }), EXAMPLE_AT)).toBe(true)
  expect(recent.has(notice({ message: '0' }), EXAMPLE_AT)).toBe(false)
})
