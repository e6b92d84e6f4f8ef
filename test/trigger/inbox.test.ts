import { expect, test } from 'vitest'
import type { Delivery } from '../../src/model/delivery.ts'
import type { EventKind, PreheatPolicy } from '../../src/model/policy.ts'
import { matching } from '../../src/trigger/inbox.ts'
import { digest, EXAMPLE_AT as now, located, policy } from '../support/examples.ts'

function delivery(overrides: Partial<Delivery> = {}): Delivery {
  return {
    key: 'k1',
    receivedAt: now,
    registry: 'harbor',
    kind: 'push',
    repository: 'library/app',
    tag: 'v1',
    digest: digest(1),
    ...overrides,
  }
}

function waiting(events: readonly EventKind[], overrides: Partial<PreheatPolicy> = {}) {
  return located(
    policy({ trigger: { type: 'event_based', events, pollMs: 600_000, debounceMs: 30_000 }, ...overrides }),
  )
}

test('a delivery concerns the event-based policies of its registry and project that wait for its kind', () => {
  const mine = waiting(['push', 'scan'])
  const other = [
    waiting(['label', 'tag', 'sign'], { name: 'other-kinds' }),
    waiting(['push'], { name: 'other-registry', registry: 'mirror' }),
    waiting(['push'], { name: 'other-project', project: 'lib' }),
    waiting(['push'], { name: 'below', project: 'library/app' }),
    waiting(['push'], { name: 'disabled', enabled: false }),
    located(policy({ name: 'manual' })),
  ]
  const everything = waiting(['push'], { name: 'everything', project: undefined })
  const found = matching([delivery(), delivery({ key: 'k2', kind: 'scan' })], [mine, ...other, everything])

  expect(found.map(({ policyKey, delivery: { key } }) => [policyKey, key])).toEqual([
    [mine.key, 'k1'],
    [everything.key, 'k1'],
    [mine.key, 'k2'],
  ])
})

test('filters of names are left to selection', () => {
  const strict = waiting(['push'])
  const filters = { ...strict.resource.filters, repositories: ['nothing'], tags: ['nothing'] }
  expect(matching([delivery()], [{ ...strict, resource: { ...strict.resource, filters } }])).toHaveLength(1)
})
