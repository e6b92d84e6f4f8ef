import { describe, expect, it } from 'vitest'
import type { Candidate } from '../../src/model/candidate.ts'
import type { Filters } from '../../src/model/policy.ts'
import { artifactsOf, explainFilters, nameFilter, select, selectionDigest } from '../../src/execution/select.ts'
import { artifact, candidate, digest, policy } from '../support/examples.ts'

const filters = (overrides: Partial<Filters>): Filters => ({ ...policy().filters, ...overrides })
const choose = (candidates: readonly Candidate[], overrides: Partial<Filters> = {}) => {
  const { picked, leftOut } = select(candidates, filters(overrides))
  return { picked, artifacts: artifactsOf(picked), leftOut }
}
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

  it('a tag that was listed without its digest is picked, and no artifact yet', () => {
    const { picked, artifacts } = choose([candidate({ digest: undefined })])
    expect(picked).toHaveLength(1)
    expect(artifacts).toEqual([])
  })

  it.each([
    ['any', 'other', 1],
    ['any', 'chart', 1],
    ['chart', 'chart', 1],
    ['chart', 'image', 0],
    ['image', 'other', 0],
  ] as const)('filters.types %s, listed %s: %i', (wanted, type, count) => {
    expect(choose([candidate({ type })], { types: [wanted] }).artifacts).toHaveLength(count)
  })
})

describe('the newest', () => {
  const pushed = (number: number, at: number | undefined, repository = 'library/app') =>
    candidate({ repository, digest: digest(number), tags: [`t${number}`, `u${number}`], pushedAt: at })

  it('by push counts artifacts of each repository, and not their tags', () => {
    const listed = [pushed(1, 10), pushed(2, 30), pushed(3, 20), pushed(4, 5, 'library/b')]
    const { artifacts, leftOut } = choose(listed, { newest: { count: 2, by: 'pushed' } })
    expect(artifacts.map(({ tags }) => tags)).toEqual(
      expect.arrayContaining([
        ['t2', 'u2'],
        ['t3', 'u3'],
        ['t4', 'u4'],
      ]),
    )
    expect(leftOut.map(({ tag, rule, message }) => [tag, rule, message])).toEqual([
      ['t1', 'newest', 'number 3 of the newest by pushed, and filters.newest.count is 2'],
      ['u1', 'newest', 'number 3 of the newest by pushed, and filters.newest.count is 2'],
    ])
  })

  it('counts only what the other filters want', () => {
    const listed = [pushed(1, 10), pushed(2, 20)]
    const { artifacts } = choose(listed, { newest: { count: 1, by: 'pushed' }, ...excluding([], ['t2', 'u2']) })
    expect(artifacts.map(({ digest }) => digest)).toEqual([digest(1)])
  })

  it('leaves out what nobody knows the push of', () => {
    expect(choose([pushed(1, undefined)], { newest: { count: 9, by: 'pushed' } }).leftOut).toMatchObject([
      { rule: 'newest', message: 'the registry does not say when it was pushed' },
      { rule: 'newest' },
    ])
  })

  it('by semver counts versions in their order, before any digest is known', () => {
    const tags = ['1.9.0', 'v1.10.0', '1.10.0', '1.10.0-rc1', '0.1.0', 'latest', 'v2']
    const listed = tags.map((tag) => candidate({ tags: [tag], digest: undefined }))
    const { picked, leftOut } = choose(listed, { newest: { count: 2, by: 'semver' } })
    expect(picked.map(({ tag }) => tag)).toEqual(['v1.10.0', '1.10.0', '1.10.0-rc1'])
    expect(leftOut.map(({ tag, message }) => [tag, message])).toEqual([
      ['0.1.0', 'number 4 of the newest by semver, and filters.newest.count is 2'],
      ['1.9.0', 'number 3 of the newest by semver, and filters.newest.count is 2'],
      ['latest', 'the tag is no version'],
      ['v2', 'the tag is no version'],
    ])
  })
})

describe('an explanation', () => {
  it('has for every tag what each filter says, those after the one that decided too, and the field', () => {
    const [one] = explainFilters(
      [candidate({ tags: ['v1-rc1'], labels: [] })],
      filters({ tags: ['x', 'v*'], labels: ['prod'], newest: { count: 1, by: 'semver' }, ...excluding([], ['*-rc*']) }),
    )
    expect(one?.verdicts.map(({ rule, says, field }) => [rule, says, field])).toEqual([
      ['repository', 'in', 'spec.filters.repositories[0]'],
      ['tag', 'in', 'spec.filters.tags[1]'],
      ['exclude.tag', 'out', 'spec.filters.exclude.tags[0]'],
      ['label', 'out', 'spec.filters.labels'],
      ['type', 'in', 'spec.filters.types'],
      ['newest', 'out', 'spec.filters.newest'],
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
