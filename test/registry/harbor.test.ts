import { describe, expect, test } from 'vitest'
import { parseDigest, sizeOf } from '../../src/model/artifact.ts'
import { FakeHarbor, type HarborFault, type HarborRequest } from '../doubles/harbor.ts'
import { buildImage } from '../support/oci-images.ts'
import { everythingOf, failureOf, never, openHarbor } from './fixtures.ts'
import type { Candidate } from '../../src/model/candidate.ts'

const REPOSITORIES = ['app', 'sub/app', 'tool']

function numbered(number: number) {
  return buildImage({ seed: String(number), layers: 0 })
}

/** Artifacts `app:1` to `app:<count>`, spread over three repositories. */
function fill(harbor: FakeHarbor, count: number, project = 'library'): void {
  for (let number = 1; number <= count; number++)
    harbor.add(project, REPOSITORIES[number % 3]!, numbered(number), [String(number)])
}

function drop(harbor: FakeHarbor, number: number): void {
  harbor.delete('library', REPOSITORIES[number % 3]!, numbered(number).digest)
}

function tagsOf(candidates: readonly Candidate[]): number[] {
  return candidates.flatMap(({ tags }) => tags.map(Number)).sort((a, b) => a - b)
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1)
}

function listings(harbor: FakeHarbor): readonly HarborRequest[] {
  return harbor.requests.filter(({ path }) => path.endsWith('/artifacts'))
}

/** Does something before a listing's request is answered. */
function before(harbor: FakeHarbor, requestNumber: number, shift: () => void): void {
  let listed = 0
  harbor.onRequest = (request: HarborRequest) => {
    if (request.path.endsWith('/artifacts') && ++listed === requestNumber) shift()
  }
}

test('a listing has names, tags, labels, types and push times; what has no tag is left out', async () => {
  await using harbor = await FakeHarbor.start()
  harbor.now = () => Date.parse('2026-11-20T10:00:00Z')
  const app = await harbor.push({ project: 'library', repository: 'sub/app', tags: ['v1', 'latest'], labels: ['prod'] })
  const model = await harbor.push({ project: 'library', repository: 'llama', tags: ['7b'], type: 'cnai' })
  const chart = await harbor.push({ project: 'library', repository: 'charts', tags: ['1'], type: 'chart' })
  await harbor.push({ project: 'library', repository: 'untagged' })
  await harbor.push({ project: 'other', repository: 'app', tags: ['v1'] })
  const { source } = await openHarbor(harbor)

  const listed = await source.list(everythingOf('library'), never)

  const common = {
    labels: [],
    pushedAt: Date.parse('2026-11-20T10:00:00Z'),
    children: [],
    signatures: undefined,
    scan: undefined,
  }
  expect(listed).toEqual([
    {
      ...common,
      repository: 'library/sub/app',
      name: 'sub/app',
      digest: app.digest,
      tags: ['v1', 'latest'],
      labels: ['prod'],
      type: 'image',
    },
    { ...common, repository: 'library/llama', name: 'llama', digest: model.digest, tags: ['7b'], type: 'cnai' },
    { ...common, repository: 'library/charts', name: 'charts', digest: chart.digest, tags: ['1'], type: 'chart' },
  ])
})

test('an index names what it lists, attestations too', async () => {
  await using harbor = await FakeHarbor.start()
  const platforms = ['linux/amd64', 'linux/arm64']
  const { manifests } = await harbor.push({ project: 'library', repository: 'app', tags: ['v1'], platforms })
  const { source } = await openHarbor(harbor)

  const [index] = await source.list(everythingOf('library'), never)

  expect(index?.children.slice(0, 2)).toEqual(manifests.map(({ digest }) => digest))
  expect(index?.children).toHaveLength(3)
})

describe('a push time', () => {
  const never1 = '0001-01-01T00:00:00.000Z'
  test.each([
    [
      'is that of the youngest tag',
      '2026-11-01T00:00:00Z',
      ['2026-11-03T00:00:00Z', '2026-11-02T00:00:00Z'],
      '2026-11-03',
    ],
    ['is the artifact’s own where the tags are older', '2026-11-04T00:00:00Z', ['2026-11-03T00:00:00Z'], '2026-11-04'],
    ['of the year 1 is none', never1, [never1], undefined],
    ['that is no time is none', 'soon', [], undefined],
  ])('%s', async (_what, own, tags, expected) => {
    await using harbor = await FakeHarbor.start()
    fill(harbor, 1)
    const body = JSON.stringify([
      {
        id: 1,
        type: 'IMAGE',
        repository_name: 'library/app',
        digest: `sha256:${'a'.repeat(64)}`,
        push_time: own,
        tags: [{ name: 'v0' }, ...tags.map((push_time, index) => ({ name: `v${index + 1}`, push_time }))],
      },
    ])
    harbor.fail({ path: /\/artifacts$/, answer: { kind: 'body', body } })
    const { source } = await openHarbor(harbor)

    const [listed] = await source.list(everythingOf('library'), never)

    expect(listed?.pushedAt).toBe(expected === undefined ? undefined : Date.parse(expected))
  })
})

test('250 artifacts take three requests, each for what comes after the last one', async () => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 250)
  const { source } = await openHarbor(harbor)

  expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual(upTo(250))
  expect(listings(harbor)).toHaveLength(3)
  expect(harbor.requests.every(({ headers }) => headers.cookie === undefined)).toBe(true)
})

test.each([
  [[], []],
  [['scan'], ['with_scan_overview']],
  [['signatures'], ['with_accessory']],
  [
    ['scan', 'signatures'],
    ['with_scan_overview', 'with_accessory'],
  ],
] as const)('a listing with the details %j asks for %j', async (details, asked) => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 101)
  const { source } = await openHarbor(harbor)

  await source.list({ ...everythingOf('library'), details }, never)

  const costly = ['with_scan_overview', 'with_accessory', 'with_sbom_overview', 'with_immutable_status']
  for (const { query } of listings(harbor)) expect(costly.filter((flag) => query.has(flag))).toEqual(asked)
  expect(listings(harbor)).toHaveLength(2)
})

test('10,000 artifacts take a request a hundred while others are pushed and deleted [R3]', async () => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 10_000)
  const deleted = new Set<number>()
  let peakBytes = 0
  let pushed = 10_000
  harbor.onRequest = ({ path }) => {
    if (!path.endsWith('/artifacts')) return
    peakBytes = Math.max(peakBytes, process.memoryUsage().rss)
    // One of those that were listed, one of those that were not, and one that is new.
    for (const number of [deleted.size + 1, 10_000 - deleted.size]) {
      deleted.add(number)
      drop(harbor, number)
    }
    pushed++
    harbor.add('library', 'app', numbered(pushed), [String(pushed)])
  }
  const { source } = await openHarbor(harbor)

  const listed = new Set(tagsOf(await source.list({ ...everythingOf('library'), details: ['signatures'] }, never)))

  expect(upTo(10_000).filter((number) => !deleted.has(number) && !listed.has(number))).toEqual([])
  expect(listings(harbor).length).toBeLessThanOrEqual(10_000 / 100 + 2)
  process.stdout.write(
    `10,000 artifacts: ${listings(harbor).length} requests, ${Math.round(peakBytes / 2 ** 20)} MiB at most, the double's included\n`,
  )
})

test('a project without artifacts is an empty listing [R9]', async () => {
  await using harbor = await FakeHarbor.start()
  harbor.project('library')
  const { source } = await openHarbor(harbor)

  expect(await source.list(everythingOf('library'), never)).toEqual([])
})

describe('while artifacts come and go', () => {
  const old = buildImage({ seed: 'old' })
  const changes: [string, (harbor: FakeHarbor) => void, number[]][] = [
    [
      'deletions',
      (harbor) => {
        ;[3, 6, 101, 205].forEach((number) => {
          drop(harbor, number)
        })
      },
      [3, 6, 101, 205],
    ],
    [
      'a push and a deletion',
      (harbor) => {
        drop(harbor, 1)
        harbor.add('library', 'app', buildImage({ seed: 'new' }), ['999'])
      },
      [1],
    ],
    [
      'a tag for an old artifact',
      (harbor) => {
        harbor.add('library', 'app', old, ['0'])
      },
      [],
    ],
    // `249` is in `app` too.
    [
      'a tag that moves back to an old artifact',
      (harbor) => {
        harbor.add('library', 'app', old, ['249'])
      },
      [249],
    ],
  ]
  const cases = changes.flatMap((change) => [1, 2, 3].map((number) => [change[0], number, change] as const))

  test.each(cases)(
    '%s before request %i leave nothing out that stays [R3]',
    async (_what, requestNumber, [, change, gone]) => {
      await using harbor = await FakeHarbor.start()
      harbor.add('library', 'app', old)
      fill(harbor, 250)
      before(harbor, requestNumber, () => {
        change(harbor)
      })
      const { source } = await openHarbor(harbor)

      const tags = tagsOf(await source.list(everythingOf('library'), never))

      expect(tags).toEqual(expect.arrayContaining(upTo(250).filter((number) => !gone.includes(number))))
      expect(listings(harbor)).toHaveLength(3)
    },
  )

  test('pushes during the walk are followed [R3]', async () => {
    await using harbor = await FakeHarbor.start()
    fill(harbor, 200)
    before(harbor, 2, () => {
      for (const number of [201, 202, 203]) harbor.add('library', 'new', buildImage(), [String(number)])
    })
    const { source } = await openHarbor(harbor)

    expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual(upTo(203))
    expect(listings(harbor)).toHaveLength(3)
  })
})

describe('a listing that is not whole is an error [R8]', () => {
  const cases: [string, Pick<HarborFault, 'answer'> & { skip?: number }][] = [
    ['truncated JSON', { answer: { kind: 'truncated' }, skip: 1 }],
    ['an object instead of a list', { answer: { kind: 'body', body: '{}' } }],
    ['HTML', { answer: { kind: 'body', body: '<html>' } }],
    ['an empty page in the middle', { answer: { kind: 'body', body: '[]' }, skip: 1 }],
    ['a page that was asked for before', { answer: { kind: 'body', body: '[{"id":1}]' }, skip: 1 }],
    ['a page in another order', { answer: { kind: 'body', body: '[{"id":2},{"id":1}]' } }],
    ['a total that is too high', { answer: { kind: 'headers', headers: { 'x-total-count': '9999' } } }],
    ['a total that is too low', { answer: { kind: 'headers', headers: { 'x-total-count': '5' } } }],
    ['no total', { answer: { kind: 'headers', headers: { 'x-total-count': '' } } }],
  ]
  test.each(cases)('%s', async (_what, fault) => {
    await using harbor = await FakeHarbor.start()
    fill(harbor, 250)
    harbor.fail({ path: /\/artifacts$/, ...fault })
    const { source } = await openHarbor(harbor)

    const error = await failureOf(source.list(everythingOf('library'), never))

    expect(error).toMatchObject({ code: 'PH6004', message: expect.stringContaining('project library') })
  })

  test('nor can an entry have no repository of the project, no digest, or a tag that is a path', async () => {
    await using harbor = await FakeHarbor.start()
    fill(harbor, 1)
    const { source } = await openHarbor(harbor)
    const good = {
      id: 1,
      type: 'IMAGE',
      repository_name: 'library/app',
      digest: `sha256:${'a'.repeat(64)}`,
      tags: null,
    }
    for (const bad of [
      { repository_name: 'other/app' },
      { repository_name: 'library/../app' },
      { digest: 'sha256:short' },
      { tags: [{ name: '../x' }] },
      { labels: [{}] },
      { labels: 'prod' },
      { references: [{ child_digest: 'latest' }] },
      { id: '1' },
    ]) {
      harbor.fail({
        path: /\/artifacts$/,
        times: 1,
        answer: { kind: 'body', body: JSON.stringify([{ ...good, ...bad }]) },
      })
      expect(await failureOf(source.list(everythingOf('library'), never))).toMatchObject({ code: 'PH6005' })
    }
  })
})

test('a 429 on page 2 costs the wait that it asks for, and no page that was read [R2]', async () => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 250)
  harbor.fail({
    path: /artifacts$/,
    skip: 1,
    times: 2,
    answer: { kind: 'status', status: 429, headers: { 'retry-after': '60' } },
  })
  const { source, clock } = await openHarbor(harbor)

  expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual(upTo(250))
  expect(listings(harbor)).toHaveLength(5)
  // Without those of the client’s own pace.
  expect(clock.waits.filter((ms) => ms > 1000)).toEqual([60_000, 60_000])
})

test('a 500 on one page is tried again', async () => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 150)
  harbor.fail({ path: /artifacts$/, skip: 1, times: 1, answer: { kind: 'status', status: 500 } })
  const { source } = await openHarbor(harbor)

  expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual(upTo(150))
})

test.each([
  [401, {}, 'PH6002', 'check the secret robot'],
  [403, {}, 'PH6002', 'artifact:list, tag:list and label:list'],
  [412, {}, 'PH6006', 'a rule of the project'],
  [422, {}, 'PH6006', 'malformed'],
  [429, { 'retry-after': '200' }, 'PH6001', 'cannot list the artifacts of project library now (429'],
  [500, {}, 'PH6001', 'cannot list the artifacts of project library now (500'],
  [503, {}, 'PH6001', 'cannot list the artifacts of project library now (503'],
])('a %i of the listing names the fix', async (status, headers, code, message) => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 1)
  harbor.fail({ path: /artifacts$/, answer: { kind: 'status', status, headers } })
  const { source } = await openHarbor(harbor)

  const error = await failureOf(source.list(everythingOf('library'), never))

  expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
  if (status === 429) expect(error).toMatchObject({ retryAfterMs: 200_000 })
})

test('a project that is called by a number is listed by its name', async () => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 3, '42')
  const { source } = await openHarbor(harbor)

  expect(tagsOf(await source.list(everythingOf('42'), never))).toEqual(upTo(3))
})

test('a wrong password is a refused credential', async () => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 1)
  harbor.rotate('robot$preheatd', 'another')
  const { source } = await openHarbor(harbor)

  expect(await failureOf(source.list(everythingOf('library'), never))).toMatchObject({ code: 'PH6002' })
})

describe('a Harbor before 2.12', () => {
  test('is listed repository by repository', async () => {
    await using harbor = await FakeHarbor.start({ projectWideListing: false })
    fill(harbor, 250)
    const { source } = await openHarbor(harbor)

    expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual(upTo(250))
    expect(harbor.requests.some(({ path }) => path.endsWith('/repositories/sub%252Fapp/artifacts'))).toBe(true)
  })

  test('is listed with all of its repositories', async () => {
    await using harbor = await FakeHarbor.start({ projectWideListing: false })
    for (const number of upTo(150)) harbor.add('library', `app${number}`, numbered(number), [String(number)])
    const { source } = await openHarbor(harbor)

    expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual(upTo(150))
    expect(harbor.requests.filter(({ path }) => path.endsWith('/repositories'))).toHaveLength(2)
  })

  test('may lose a repository between its listing and its artifacts', async () => {
    await using harbor = await FakeHarbor.start({ projectWideListing: false })
    fill(harbor, 3)
    harbor.fail({ path: /\/repositories\/tool\//, answer: { kind: 'status', status: 404 } })
    const { source } = await openHarbor(harbor)

    expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual([1, 3])
  })
})

test.each([true, false])(
  'a project that is not there is not found (project-wide listing: %s)',
  async (projectWideListing) => {
    await using harbor = await FakeHarbor.start({ projectWideListing })
    const { source } = await openHarbor(harbor)

    const error = await failureOf(source.list(everythingOf('nowhere'), never))

    expect(error).toMatchObject({
      code: 'PH6003',
      fault: 'rejected',
      message: expect.stringContaining('read project nowhere'),
    })
    expect(await failureOf(source.projectRules('nowhere', never))).toMatchObject({ code: 'PH6003' })
  },
)

test('the content of an index is its platforms and their bytes', async () => {
  await using harbor = await FakeHarbor.start()
  const image = await harbor.push({
    project: 'library',
    repository: 'app',
    tags: ['v1'],
    platforms: ['linux/amd64', 'linux/arm64'],
  })
  const { source } = await openHarbor(harbor)

  const content = await source.content('library/app', parseDigest(image.digest), never)

  expect(content).toEqual({
    digest: image.digest,
    type: 'image',
    isIndex: true,
    manifests: image.manifests,
    absent: [],
  })
  expect(sizeOf(content.manifests)).toBe(
    image.manifests.flatMap(({ blobs }) => blobs).reduce((sum, blob) => sum + blob.sizeBytes, 0),
  )
})

test('a manifest that the project forbids to pull says so', async () => {
  await using harbor = await FakeHarbor.start()
  const image = await harbor.push({ project: 'library', repository: 'app', tags: ['v1'] })
  harbor.fail({ path: /\/manifests\//, answer: { kind: 'status', status: 412 } })
  const { source } = await openHarbor(harbor)

  const error = await failureOf(source.content('library/app', parseDigest(image.digest), never))

  expect(error).toMatchObject({ code: 'PH6006', message: expect.stringContaining('signatures or vulnerabilities') })
})
