import { describe, expect, it } from 'vitest'
import type { Candidate } from '../../src/model/artifact.ts'
import type { Filters } from '../../src/model/policy.ts'
import { nameFilter, select, selectionDigest } from '../../src/execution/select.ts'
import { artifact, candidate, digest, policy } from '../support/examples.ts'

const filters = (overrides: Partial<Filters>): Filters => ({ ...policy().filters, ...overrides })
const choose = (candidates: readonly Candidate[], overrides: Partial<Filters> = {}) =>
  select(candidates, { filters: filters(overrides) })
const excluding = (repositories: string[], tags: string[] = []) => ({ exclude: { repositories, tags } })

describe('selection', () => {
  it('one digest under five tags is one artifact with those that selected it, sorted', () => {
    const { artifacts, leftOut } = choose([candidate({ tags: ['v1.2', 'edge', 'latest', 'v1', 'nightly'] })], {
      tags: ['v*', 'latest'],
    })
    expect(artifacts).toEqual([artifact({ tags: ['latest', 'v1', 'v1.2'] })])
    expect(leftOut.map(({ tag, rule }) => [tag, rule])).toEqual([
      ['edge', 'tag'],
      ['nightly', 'tag'],
    ])
  })

  it('tags that an oci registry lists one by one meet again at their digest', () => {
    const listed = ['v1', 'latest', 'v1'].map((tag) => candidate({ tags: [tag], labels: undefined, type: undefined }))
    expect(choose(listed).artifacts).toEqual([artifact({ tags: ['latest', 'v1'] })])
  })

  it('the same digest in two repositories is two artifacts, by repository and then digest', () => {
    const [low, high] = [digest(1), digest(2)].sort()
    const { artifacts } = choose([
      candidate({ repository: 'library/app-b', name: 'app-b', digest: high }),
      candidate({ digest: high }),
      candidate({ digest: low }),
    ])
    expect(artifacts.map((one) => `${one.repository}@${one.digest}`)).toEqual([
      `library/app@${low!}`,
      `library/app@${high!}`,
      `library/app-b@${high!}`,
    ])
  })

  it('an artifact whose type is not known yet passes; its content will tell', () => {
    expect(choose([candidate({ type: undefined })], { types: ['image'] }).artifacts).toHaveLength(1)
  })

  it('patterns see the repository without its project', () => {
    expect(choose([candidate()], { repositories: ['app'] }).artifacts).toHaveLength(1)
    expect(choose([candidate()], { repositories: ['library/app'] }).artifacts).toHaveLength(0)
  })

  it('labels are all of, exact, and case-sensitive', () => {
    const labelled = (...labels: string[]) =>
      choose([candidate({ labels })], { labels: ['prod', 'approved'] }).artifacts.length
    expect(labelled('approved', 'other', 'prod')).toBe(1)
    expect(labelled('prod')).toBe(0)
    expect(labelled('Prod', 'approved')).toBe(0)
    expect(labelled('prod-eu', 'approved')).toBe(0)
  })

  it('a listing that names a wanted tag without its digest is not taken for a short selection', () => {
    expect(() => choose([candidate({ digest: undefined })])).toThrow(
      'library/app:v1 is wanted and was listed without its digest',
    )
    expect(choose([candidate({ digest: undefined })], { tags: ['x'] }).leftOut).toMatchObject([
      { rule: 'tag', digest: undefined },
    ])
  })
})

describe('every tag left out has the rule that decided, the first in order', () => {
  it.each<[string, Partial<Candidate>, Partial<Filters>, string, string]>([
    ['nothing but labels', { tags: [] }, {}, 'untagged', 'has no tag'],
    [
      'repository',
      {},
      { repositories: ['nginx', 'redis'] },
      'repository',
      'no pattern of filters.repositories matches',
    ],
    ['excluded repository', {}, excluding(['x', 'a*']), 'exclude.repository', 'filters.exclude.repositories has "a*"'],
    ['tag', {}, { tags: ['latest'] }, 'tag', 'no pattern of filters.tags matches'],
    ['excluded tag', { tags: ['v1-rc1'] }, excluding([], ['*-rc*']), 'exclude.tag', 'filters.exclude.tags has "*-rc*"'],
    ['labels', { labels: ['prod'] }, { labels: ['prod', 'a', 'b'] }, 'label', 'lacks the label a, b'],
    ['no labels at all', { labels: undefined }, { labels: ['prod'] }, 'label', 'lacks the label prod'],
    ['type', { type: 'other' }, {}, 'type', 'is of type other, and filters.types has image, cnai'],
    [
      'type not asked for',
      { type: 'cnai' },
      { types: ['image'] },
      'type',
      'is of type cnai, and filters.types has image',
    ],
  ])('%s', (_, listed, wanted, rule, message) => {
    const one = candidate(listed)
    const { artifacts, leftOut } = choose([one], wanted)
    expect(artifacts).toEqual([])
    expect(leftOut).toEqual([{ repository: 'library/app', tag: one.tags[0], digest: digest(1), rule, message }])
  })

  it('names are looked at before labels, and labels before types', () => {
    const wanted = { repositories: ['b'], tags: ['w*'], labels: ['prod'], ...excluding(['b'], ['w-rc']) }
    const rules = [
      candidate({ type: 'other' }),
      candidate({ name: 'b', tags: ['x'], type: 'other' }),
      candidate({ repository: 'library/c', tags: ['w'] }),
    ].flatMap((one) => choose([one], wanted).leftOut.map(({ rule }) => rule))
    expect(rules).toEqual(['repository', 'exclude.repository', 'repository'])
    const inOrder = { repositories: ['**'], tags: ['w*'], labels: ['prod'], ...excluding([], ['w-rc']) }
    const tags = choose([candidate({ tags: ['x', 'w-rc', 'w'], type: 'other' })], inOrder).leftOut
    expect(tags.map(({ tag, rule }) => [tag, rule])).toEqual([
      ['w', 'label'],
      ['w-rc', 'exclude.tag'],
      ['x', 'tag'],
    ])
  })

  it.each(['', '.sig', '.att', '.sbom'])('a tag sha256-<hex>%s is that of a signature, never an image', (suffix) => {
    const tag = `sha256-${'ab'.repeat(32)}${suffix}`
    expect(choose([candidate({ tags: [tag] })]).leftOut).toMatchObject([{ tag, rule: 'signature-tag' }])
    expect(nameFilter(filters({}))('app', tag)).toBe(false)
  })

  it('a tag that only looks like one is a tag', () => {
    const tags = [`sha256-${'ab'.repeat(31)}`, `sha256-${'ab'.repeat(32)}.sigs`, `x-sha256-${'ab'.repeat(32)}`]
    expect(choose([candidate({ tags })]).artifacts[0]?.tags).toHaveLength(3)
  })
})

describe('the name filter that a registry is given', () => {
  it('wants what selection would look at, and knows nothing of labels and types', () => {
    const wants = nameFilter(
      filters({ repositories: ['app/**', 'nginx'], tags: ['v*'], labels: ['prod'], ...excluding(['app/x'], ['*-rc']) }),
    )
    expect(
      [
        ['nginx', 'v1'],
        ['app/y', 'v1'],
        ['app/x', 'v1'],
        ['nginx', 'latest'],
        ['nginx', 'v1-rc'],
        ['redis', 'v1'],
        ['', 'v1'],
      ].map(([name, tag]) => wants(name!, tag!)),
    ).toEqual([true, true, false, false, false, false, false])
  })

  it('a repository without a name matches no pattern, not even **', () => {
    expect(nameFilter(filters({}))('', 'v1')).toBe(false)
  })
})

describe('the digest of a selection', () => {
  const [a, b] = [artifact(), artifact({ repository: 'library/b', tags: ['x', 'y'] })]

  it('is the same in any order', () => {
    expect(selectionDigest([a, b])).toBe(selectionDigest([{ ...b, tags: ['y', 'x'] }, a]))
    expect(selectionDigest([a, b])).toMatch(/^sha256:[0-9a-f]{64}$/)
  })

  it.each([
    ['content', [a, { ...b, digest: digest(2) }]],
    ['a tag', [a, { ...b, tags: ['x'] }]],
    ['a repository', [a, { ...b, repository: 'library/c' }]],
    ['the number of artifacts', [a]],
  ])('changes with %s', (_, other) => {
    expect(selectionDigest(other)).not.toBe(selectionDigest([a, b]))
  })
})
