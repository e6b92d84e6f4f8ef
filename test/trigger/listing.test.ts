import { expect, test } from 'vitest'
import type { Candidate } from '../../src/model/candidate.ts'
import type { Delivery } from '../../src/model/delivery.ts'
import { changesBetween, condense, deliveriesOf, formatListing, parseListing } from '../../src/trigger/listing.ts'
import { digest, EXAMPLE_AT as now } from '../support/examples.ts'

function candidate(overrides: Partial<Candidate> = {}): Candidate {
  return {
    repository: 'library/app',
    name: 'app',
    digest: digest(1),
    tags: ['v1'],
    labels: [],
    type: 'image',
    pushedAt: undefined,
    children: [],
    signatures: [],
    scan: { state: 'unscanned', reason: 'no report' },
    ...overrides,
  }
}

const scanned = { state: 'scanned', severity: 'None' } as const
const app = { repository: 'library/app', digest: digest(1) }
const next = { repository: 'library/app', digest: digest(2) }

function between(before: readonly Candidate[], after: readonly Candidate[]) {
  return changesBetween(condense(before), condense(after))
}

test('the first listing is what later ones are compared with', () => {
  expect(changesBetween(undefined, condense([candidate({ labels: ['prod'] })]))).toEqual([])
  expect(between([], [candidate()])).toHaveLength(1)
})

test.each([
  ['nothing', {}, {}, []],
  ['a tag moves to a new digest', {}, { digest: digest(2) }, [{ kind: 'push', ...next, tag: 'v1', detail: 'v1' }]],
  ['a tag is added', {}, { tags: ['v1', 'prod'] }, [{ kind: 'tag', ...app, tag: 'prod', detail: 'prod' }]],
  ['a tag is removed', { tags: ['v1', 'prod'] }, {}, []],
  ['a label is added', { labels: ['a'] }, { labels: ['b', 'a', 'c'] }, [{ kind: 'label', ...app, detail: 'b,c' }]],
  ['a label is removed', { labels: ['a', 'b'] }, { labels: ['b'] }, []],
  ['a signature is added', {}, { signatures: ['cosign'] }, [{ kind: 'sign', ...app, detail: 'cosign' }]],
  ['a signature is removed', { signatures: ['cosign'] }, {}, []],
  ['a report is there', {}, { scan: scanned }, [{ kind: 'scan', ...app, detail: '' }]],
  ['a report is gone', { scan: scanned }, {}, []],
  ['signatures were not asked for before', { signatures: undefined }, { signatures: ['cosign'] }, []],
  ['labels were not asked for now', { labels: ['a'] }, { labels: undefined }, []],
  ['reports were not asked for before', { scan: undefined }, { scan: scanned }, []],
] as const)('%s', (_, before, after, changes) => {
  expect(between([candidate(before)], [candidate(after)])).toEqual(changes)
})

test('all of an artifact that was not there is new, so that a policy for labels alone hears of it', () => {
  const arrived = candidate({
    digest: digest(2),
    tags: ['a', 'b'],
    labels: ['x'],
    signatures: ['notation'],
    scan: scanned,
  })

  expect(between([candidate()], [candidate(), arrived])).toEqual([
    { kind: 'push', ...next, tag: 'a', detail: 'a' },
    { kind: 'push', ...next, tag: 'b', detail: 'b' },
    { kind: 'label', ...next, detail: 'x' },
    { kind: 'sign', ...next, detail: 'notation' },
    { kind: 'scan', ...next, detail: '' },
  ])
})

test('a tag that moves between digests that were both there is a tag, not a push', () => {
  const old = candidate({ digest: digest(2), tags: [] })
  expect(between([candidate(), old], [candidate({ tags: [] }), { ...old, tags: ['v1'] }])).toEqual([
    { kind: 'tag', ...next, tag: 'v1', detail: 'v1' },
  ])
})

test('an artifact that nobody tagged, or that is gone, is no event', () => {
  expect(between([candidate()], [candidate(), candidate({ digest: digest(2), tags: [] })])).toEqual([])
  expect(between([candidate()], [])).toEqual([])
})

test('where digests are not listed a new tag is a push, and a digest that becomes known is nothing', () => {
  const listed = (tag: string) => candidate({ digest: undefined, tags: [tag], labels: undefined })
  const repository = 'library/app'

  expect(between([listed('a')], [listed('a'), listed('b')])).toEqual([
    { kind: 'push', repository, tag: 'b', detail: 'b' },
  ])
  expect(between([listed('a')], [candidate({ tags: ['a'], signatures: undefined })])).toEqual([])
  expect(between([candidate({ tags: ['a'] })], [listed('a')])).toEqual([])
})

test('the order in which a registry lists makes no difference', () => {
  const one = candidate({ tags: ['b', 'a'], labels: ['y', 'x'], signatures: ['notation', 'cosign'] })
  const two = candidate({ digest: digest(2), tags: ['c'] })
  const turned = { ...one, tags: ['a', 'b'], labels: ['x', 'y'], signatures: ['cosign', 'notation'] as const }

  expect(formatListing(condense([one, two]))).toBe(formatListing(condense([two, turned])))
})

test('a listing comes out of its text as it went in', () => {
  const listing = condense([
    candidate({ tags: ['v1', 'latest'], labels: ['a'], signatures: ['cosign'], scan: scanned }),
    candidate({ digest: digest(2), labels: undefined, signatures: undefined, scan: undefined }),
    candidate({ digest: digest(3), tags: [] }),
    candidate({ repository: 'library/other', digest: undefined, labels: undefined }),
  ])
  expect(parseListing(formatListing(listing))).toEqual(listing)
  expect(parseListing(formatListing([]))).toEqual([])
})

test('an artifact costs less than 80 characters', () => {
  const many = Array.from({ length: 1000 }, (_, n) => candidate({ digest: digest(n), tags: [`v1.0.${n}`] }))
  expect(formatListing(condense(many)).length).toBeLessThan(80_000)
})

test.each([
  '',
  'null',
  '{}',
  '{"version":2,"rows":[]}',
  '{"version":1,"rows":[["a",[["AA==",[]]]]]}',
  '{"version":1,"rows":1}',
])('the text %s is no listing', (text) => {
  expect(parseListing(text)).toBeUndefined()
})

const changes = between([candidate()], [candidate({ labels: ['x'] }), candidate({ digest: digest(2), tags: ['v2'] })])

test('changes become deliveries that are known when they are found again, and new after the next listing', () => {
  const found = deliveriesOf(changes, 'harbor', now, [], now + 600_000)
  const again = deliveriesOf(changes, 'harbor', now, [], now + 600_001)
  const later = deliveriesOf(changes, 'harbor', now + 600_000, [], now + 1_200_000)

  expect(found).toEqual([
    { ...app, kind: 'label', key: found[0]!.key, receivedAt: now + 600_000, registry: 'harbor' },
    { ...next, kind: 'push', tag: 'v2', key: found[1]!.key, receivedAt: now + 600_000, registry: 'harbor' },
  ])
  expect(again.map(({ key }) => key)).toEqual(found.map(({ key }) => key))
  expect(new Set([...found, ...later].map(({ key }) => key)).size).toBe(4)
})

test('what a webhook has told is not told again', () => {
  const told: Delivery = { ...next, kind: 'push', tag: 'v2', key: 'k', receivedAt: now + 1, registry: 'harbor' }
  const kinds = (heard: Delivery) => deliveriesOf(changes, 'harbor', now, [heard], now).map(({ kind }) => kind)

  expect(kinds(told)).toEqual(['label'])
  expect(kinds({ ...told, registry: 'mirror' })).toEqual(['label', 'push'])
  expect(kinds({ ...told, tag: 'v3' })).toEqual(['label', 'push'])
  expect(kinds({ ...told, kind: 'scan' })).toEqual(['label', 'push'])
})
