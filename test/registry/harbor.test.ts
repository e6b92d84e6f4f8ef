import { describe, expect, test } from 'vitest'
import { parseDigest, sizeOf } from '../../src/model/artifact.ts'
import { FakeHarbor, type HarborFault, type HarborRequest } from '../doubles/harbor.ts'
import { buildImage } from '../support/oci-images.ts'
import { everythingOf, failureOf, never, open, secrets } from './fixtures.ts'
import type { Candidate } from '../../src/model/artifact.ts'
import type { Registry } from '../../src/model/registry.ts'

const robot = secrets({ 'robot/username': 'robot$preheatd', 'robot/password': 'robot-secret' })

async function openHarbor(harbor: FakeHarbor, overrides: Partial<Registry> = {}) {
  return open(harbor.endpoint, { auth: { type: 'basic', secret: 'robot' }, ...overrides }, robot)
}

/** Artifacts `app:1` to `app:<count>`, spread over three repositories. */
function fill(harbor: FakeHarbor, count: number, project = 'library'): void {
  for (let number = 1; number <= count; number++) {
    const image = buildImage({ seed: String(number), layers: 0 })
    harbor.add(project, ['app', 'sub/app', 'tool'][number % 3]!, image, [String(number)])
  }
}

function tagsOf(candidates: readonly Candidate[]): number[] {
  return candidates.flatMap(({ tags }) => tags.map(Number)).sort((a, b) => a - b)
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1)
}

function pagesAsked(harbor: FakeHarbor): number[] {
  return harbor.requests.filter(({ path }) => path.endsWith('/artifacts')).map(({ query }) => Number(query.get('page')))
}

/** Does something between the answers to the first and the second request for a page. */
function between(harbor: FakeHarbor, requestNumber: number, shift: () => void): void {
  let listed = 0
  harbor.onRequest = (request: HarborRequest) => {
    if (request.path.endsWith('/artifacts') && ++listed === requestNumber) shift()
  }
}

test('a listing has names, tags, labels and types; what has no tag is left out', async () => {
  await using harbor = await FakeHarbor.start()
  const app = await harbor.push({ project: 'library', repository: 'sub/app', tags: ['v1', 'latest'], labels: ['prod'] })
  const model = await harbor.push({ project: 'library', repository: 'llama', tags: ['7b'], type: 'cnai' })
  const chart = await harbor.push({ project: 'library', repository: 'charts', tags: ['1'], type: 'chart' })
  await harbor.push({ project: 'library', repository: 'untagged' })
  await harbor.push({ project: 'other', repository: 'app', tags: ['v1'] })
  const { source } = await openHarbor(harbor)

  const listed = await source.list(everythingOf('library'), never)

  const common = { labels: [], type: 'image' }
  expect(listed).toEqual([
    {
      ...common,
      repository: 'library/sub/app',
      name: 'sub/app',
      digest: app.digest,
      tags: ['v1', 'latest'],
      labels: ['prod'],
    },
    { ...common, repository: 'library/llama', name: 'llama', digest: model.digest, tags: ['7b'], type: 'cnai' },
    { ...common, repository: 'library/charts', name: 'charts', digest: chart.digest, tags: ['1'], type: 'other' },
  ])
})

test('250 artifacts take one request a page and one more', async () => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 250)
  const { source } = await openHarbor(harbor)

  expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual(upTo(250))
  expect(pagesAsked(harbor)).toEqual([1, 3, 2, 1])
  expect(harbor.requests.every(({ headers }) => headers.cookie === undefined)).toBe(true)
})

test('a project without artifacts is an empty listing', async () => {
  await using harbor = await FakeHarbor.start()
  harbor.project('library')
  const { source } = await openHarbor(harbor)

  expect(await source.list(everythingOf('library'), never)).toEqual([])
})

describe('while artifacts come and go', () => {
  test.each([1, 2, 3, 4])('a deletion before request %i leaves nothing out that stays', async (requestNumber) => {
    await using harbor = await FakeHarbor.start()
    fill(harbor, 250)
    between(harbor, requestNumber, () => {
      for (const number of [3, 6, 101, 205]) {
        const repository = ['app', 'sub/app', 'tool'][number % 3]!
        harbor.delete('library', repository, buildImage({ seed: String(number), layers: 0 }).digest)
      }
    })
    const { source } = await openHarbor(harbor)

    const tags = tagsOf(await source.list(everythingOf('library'), never))

    expect(tags).toEqual(expect.arrayContaining(upTo(250).filter((number) => ![3, 6, 101, 205].includes(number))))
  })

  test.each([2, 3, 4])('a push and a deletion at once, before request %i, leave nothing out', async (requestNumber) => {
    await using harbor = await FakeHarbor.start()
    fill(harbor, 250)
    between(harbor, requestNumber, () => {
      harbor.delete('library', 'sub/app', buildImage({ seed: '1', layers: 0 }).digest)
      harbor.add('library', 'app', buildImage({ seed: 'new' }), ['251'])
    })
    const { source } = await openHarbor(harbor)

    const tags = tagsOf(await source.list(everythingOf('library'), never))

    expect(tags).toEqual(expect.arrayContaining(upTo(250).slice(1)))
  })

  test('an old artifact that is tagged meanwhile pushes nothing out', async () => {
    await using harbor = await FakeHarbor.start()
    const untagged = buildImage({ seed: 'untagged' })
    harbor.add('library', 'app', untagged)
    fill(harbor, 350)
    // Page 3 has been read, and number 200 moves there.
    between(harbor, 4, () => {
      harbor.add('library', 'app', untagged, ['0'])
    })
    const { source } = await openHarbor(harbor)

    expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual([0, ...upTo(350)])
  })

  test('a listing that never stands still is an error in the end', async () => {
    await using harbor = await FakeHarbor.start()
    const untagged = Array.from({ length: 20 }, () => buildImage())
    for (const image of untagged) harbor.add('library', 'old', image)
    fill(harbor, 350)
    harbor.onRequest = ({ query }) => {
      if (query.get('page') === '2') harbor.add('library', 'old', untagged.pop()!, [`0${untagged.length}`])
    }
    const { source } = await openHarbor(harbor)

    const error = await failureOf(source.list(everythingOf('library'), never))

    expect(error).toMatchObject({ code: 'PH6004', message: expect.stringContaining('goes on changing') })
  })

  test('pushes during the walk are followed as far as they are needed', async () => {
    await using harbor = await FakeHarbor.start()
    fill(harbor, 200)
    between(harbor, 3, () => {
      for (const number of [201, 202, 203]) harbor.add('library', 'new', buildImage(), [String(number)])
    })
    const { source } = await openHarbor(harbor)

    expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual(upTo(203))
    expect(pagesAsked(harbor)).toEqual([1, 2, 1, 2, 3])
  })
})

describe('a listing that is not whole is an error', () => {
  const cases: [string, Pick<HarborFault, 'answer' | 'page'>][] = [
    ['truncated JSON', { answer: { kind: 'truncated' }, page: 2 }],
    ['an object instead of a list', { answer: { kind: 'body', body: '{}' } }],
    ['HTML', { answer: { kind: 'body', body: '<html>' } }],
    ['an empty page in the middle', { answer: { kind: 'body', body: '[]' }, page: 2 }],
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

test('a 429 on page 2 costs the wait that it asks for, and no page that was read', async () => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 250)
  harbor.fail({
    path: /artifacts$/,
    page: 2,
    times: 2,
    answer: { kind: 'status', status: 429, headers: { 'retry-after': '60' } },
  })
  const { source, clock } = await openHarbor(harbor)

  expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual(upTo(250))
  expect(pagesAsked(harbor)).toEqual([1, 3, 2, 2, 2, 1])
  expect(clock.waits).toEqual([60_000, 60_000])
})

test('a 500 on one page is tried again', async () => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 150)
  harbor.fail({ path: /artifacts$/, page: 2, times: 1, answer: { kind: 'status', status: 500 } })
  const { source } = await openHarbor(harbor)

  expect(tagsOf(await source.list(everythingOf('library'), never))).toEqual(upTo(150))
})

test.each([
  [401, 'PH6002', 'check the secret robot'],
  [403, 'PH6002', 'artifact:list, tag:list and label:list'],
  [422, 'PH6006', 'malformed'],
])('a %i of the listing names the fix', async (status, code, message) => {
  await using harbor = await FakeHarbor.start()
  fill(harbor, 1)
  harbor.fail({ path: /artifacts$/, answer: { kind: 'status', status } })
  const { source } = await openHarbor(harbor)

  const error = await failureOf(source.list(everythingOf('library'), never))

  expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
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

test.each([
  [{}, { contentTrust: false, preventVulnerable: false }],
  [{ enable_content_trust: 'true' }, { contentTrust: true, preventVulnerable: false }],
  [
    { enable_content_trust: 'false', enable_content_trust_cosign: 'true' },
    { contentTrust: true, preventVulnerable: false },
  ],
  [
    { prevent_vul: 'true', severity: 'high' },
    { contentTrust: false, preventVulnerable: true },
  ],
  [{ prevent_vul: 'false' }, { contentTrust: false, preventVulnerable: false }],
])('a project with %j demands %j', async (metadata, rules) => {
  await using harbor = await FakeHarbor.start()
  // A name that Harbor would take for an id.
  harbor.project('42', metadata)
  const { source } = await openHarbor(harbor)

  expect(await source.projectRules('42', never)).toEqual(rules)
})

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

  expect(content).toEqual({ digest: image.digest, type: 'image', isIndex: true, manifests: image.manifests })
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
