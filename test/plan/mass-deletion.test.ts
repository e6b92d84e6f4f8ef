import { expect, test } from 'vitest'
import type { Applied, AppliedObject } from '../../src/store/store.ts'
import { ACKNOWLEDGED, massDeletion } from '../../src/plan/mass-deletion.ts'
import { plan } from '../../src/plan/plan.ts'
import { EXAMPLE_AT, located, policy } from '../support/examples.ts'

const objects = (count: number): AppliedObject[] =>
  Array.from({ length: count }, (_, n) => ({ ...located(policy({ name: `p${n}` })), problems: [] }))

function verdict(before: number, after: number, subject = 'tidy up') {
  const config = { commit: 'c'.repeat(40), author: 'Ada', subject }
  const current: Applied = { config, appliedAt: EXAMPLE_AT, objects: objects(before), problems: [] }
  const desired = { config, objects: objects(after), stalled: [], problems: [], ignored: 0 }
  return massDeletion(plan(desired, before === 0 ? undefined : current, EXAMPLE_AT), current)
}

test.each([
  [1, 0],
  [30, 0],
  [30, 14],
  [19, 9],
])('of %i objects %i would be left: it is not applied until somebody says so [P11]', (before, after) => {
  expect(verdict(before, after)).toContain(`would leave ${after} of ${before} objects`)
  expect(verdict(before, after, `Remove the old site ${ACKNOWLEDGED}`)).toBeUndefined()
})

test.each([
  [0, 0],
  [0, 5],
  [30, 15],
  [18, 9],
  [9, 1],
  [5, 40],
])('of %i objects %i would be left: it is applied', (before, after) => {
  expect(verdict(before, after)).toBeUndefined()
})
