import { describe, expect, test } from 'vitest'
import { FakeHarbor } from '../doubles/harbor.ts'
import { buildImage, type BuiltImage, type ImageOptions } from '../support/oci-images.ts'
import { failureOf, never, openHarbor } from './fixtures.ts'
import { parseDigest } from '../../src/model/artifact.ts'
import { writtenFor } from '../../src/registry/harbor/proxy.ts'
import type { ProxyOptions } from '../doubles/harbor-proxy.ts'

const MULTI: ImageOptions = { platforms: ['linux/amd64', 'linux/arm64'] }

/** A proxy-cache project `hub` with one image upstream, `app:v1`, and a registry on the double's clock. */
async function setUp(harbor: FakeHarbor, image: BuiltImage, options: ProxyOptions = {}, repository = 'team/app') {
  const proxy = harbor.proxy('hub', options)
  proxy.put(repository, image, ['v1'])
  const { source, clock } = await openHarbor(harbor)
  harbor.now = () => clock.now()
  return { proxy, source, clock, begunAt: clock.now() }
}

/** Manifests that were asked for, by HEAD or GET. */
function asked(harbor: FakeHarbor, method: string): string[] {
  return harbor.requests
    .filter((request) => request.method === method && request.path.includes('/manifests/'))
    .map(({ path }) => path)
}

describe('what a proxy cache does not hold', () => {
  test('is fetched by its digest, and there when the wait is over', async () => {
    await using harbor = await FakeHarbor.start()
    const image = buildImage()
    const { source, clock, begunAt } = await setUp(harbor, image)

    expect(await source.pullThrough('hub/team/app', 'v1', never)).toBe(image.digest)

    expect(clock.now() - begunAt).toBeGreaterThanOrEqual(200_000)
    expect(clock.now() - begunAt).toBeLessThan(220_000)
    expect(asked(harbor, 'HEAD')).toEqual(['/v2/hub/team/app/manifests/v1'])
    expect(asked(harbor, 'GET')).toEqual([`/v2/hub/team/app/manifests/${image.digest}`])
    clock.advance(10_000)
    const [listed] = await source.list({ project: 'hub', details: [], since: 0 }, never)
    expect(listed).toMatchObject({ digest: image.digest, tags: ['v1'] })
  })

  test('is never asked for by HEAD when a digest is wanted: Harbor would attach an empty tag', async () => {
    await using harbor = await FakeHarbor.start()
    const image = buildImage()
    const { source } = await setUp(harbor, image)

    expect(await source.pullThrough('hub/team/app', image.digest, never)).toBe(image.digest)
    expect(asked(harbor, 'HEAD')).toEqual([])
  })

  test('is fetched with all that an index lists, its tag first', async () => {
    await using harbor = await FakeHarbor.start()
    const image = buildImage(MULTI)
    const { source, clock } = await setUp(harbor, image)

    expect(await source.pullThrough('hub/team/app', 'v1', never)).toBe(image.digest)

    expect(asked(harbor, 'HEAD')).toHaveLength(1)
    const digests = asked(harbor, 'GET').map((path) => path.replace(/.*\//, ''))
    expect(digests.toSorted()).toEqual([...image.documents.keys()].toSorted())
    expect(digests[0]).toBe(image.digest)
    clock.advance(10_000)
    const listed = await source.list({ project: 'hub', details: [], since: 0 }, never)
    expect(listed.map(({ digest, tags }) => ({ digest, tags }))).toEqual([{ digest: image.digest, tags: ['v1'] }])
  })

  test.each(['v1', 'digest'])('has the digest that Harbor wrote it by when asked for by %s', async (reference) => {
    await using harbor = await FakeHarbor.start()
    const image = buildImage(MULTI)
    const { source, clock } = await setUp(harbor, image, { rewritesIndexes: true })

    const named = reference === 'digest' ? image.digest : reference
    const digest = await source.pullThrough('hub/team/app', named, never)

    expect(digest).not.toBe(image.digest)
    clock.advance(10_000)
    const content = await source.content('hub/team/app', digest, never)
    expect(content.manifests.map((one) => one.digest)).toEqual(image.manifests.map((one) => one.digest))
  })

  test('is trimmed to what upstream has', async () => {
    await using harbor = await FakeHarbor.start()
    const image = buildImage({ ...MULTI, attestation: false })
    const [amd64, arm64] = image.manifests
    const documents = new Map([...image.documents].filter(([digest]) => digest !== arm64!.digest))
    const { source, clock, begunAt } = await setUp(harbor, { ...image, documents })

    const digest = await source.pullThrough('hub/team/app', 'v1', never)

    expect(digest).not.toBe(image.digest)
    // As long as Harbor itself waits.
    expect(clock.now() - begunAt).toBeGreaterThanOrEqual(400_000)
    const content = await source.content('hub/team/app', digest, never)
    expect(content.manifests.map((one) => one.digest)).toEqual([amd64!.digest])
  })

  test('is found where it was trimmed before, for Harbor does not write it again', async () => {
    await using harbor = await FakeHarbor.start()
    const image = buildImage(MULTI)
    const { source, clock, begunAt } = await setUp(harbor, image, { storeAfterMs: 500_000 })
    // Somebody pulls the index, and one manifest in time; the others are stored too late.
    const [first] = image.manifests
    const headers = { authorization: `Basic ${Buffer.from('robot$preheatd:robot-secret').toString('base64')}` }
    await fetch(`${harbor.endpoint}/v2/hub/team/app/manifests/${image.digest}`, { headers })
    const only: BuiltImage = { ...image, digest: first!.digest, isIndex: false, manifests: [first!] }
    harbor.add('hub', 'team/app', only)
    clock.advance(450_000)

    const digest = await source.pullThrough('hub/team/app', 'v1', never)

    expect(digest).not.toBe(image.digest)
    expect(clock.now() - begunAt).toBeGreaterThanOrEqual(900_000)
    const [listed] = await source.list({ project: 'hub', details: [], since: 0 }, never)
    expect(listed).toBeUndefined()
  })

  test('costs no manifest when it is there under another digest', async () => {
    await using harbor = await FakeHarbor.start()
    const image = buildImage(MULTI)
    const { source, clock } = await setUp(harbor, image, { rewritesIndexes: true })
    const digest = await source.pullThrough('hub/team/app', 'v1', never)
    const { length } = asked(harbor, 'GET')
    const at = clock.now()

    expect(await source.pullThrough('hub/team/app', 'v1', never)).toBe(digest)

    expect(asked(harbor, 'GET').length - length).toBe(1)
    expect(clock.now()).toBeLessThan(at + 1000)
  })
})

test('what a proxy cache holds costs a HEAD and a look', async () => {
  await using harbor = await FakeHarbor.start()
  const image = buildImage()
  const { source } = await setUp(harbor, image)
  harbor.add('hub', 'team/app', image, ['v1'])

  expect(await source.pullThrough('hub/team/app', 'v1', never)).toBe(image.digest)

  expect(asked(harbor, 'GET')).toEqual([])
})

test('a name without a slash is looked for where Docker Hub keeps it', async () => {
  await using harbor = await FakeHarbor.start()
  const image = buildImage(MULTI)
  const { source } = await setUp(harbor, image, { isDockerHub: true }, 'library/nginx')

  expect(await source.pullThrough('hub/nginx', 'v1', never)).toBe(image.digest)
  expect(await source.pullThrough('hub/nginx', image.digest, never)).toBe(image.digest)
})

test.each(['https://elsewhere.example.com/v2/other/library/nginx/manifests/v1', '/v2/hub/library/redis/manifests/v1'])(
  'a redirect to %s is not followed',
  async (location) => {
    await using harbor = await FakeHarbor.start()
    const { source } = await setUp(harbor, buildImage())
    harbor.fail({ path: /\/manifests\//, answer: { kind: 'status', status: 301, headers: { location } } })

    expect(await failureOf(source.pullThrough('hub/nginx', 'v1', never))).toMatchObject({ code: 'PH6005' })
    expect(asked(harbor, 'HEAD')).toEqual(['/v2/hub/nginx/manifests/v1'])
  },
)

describe('a pull-through that fails', () => {
  test.each<[string, (harbor: FakeHarbor, proxy: { health: string }) => void, string, string]>([
    [
      '429',
      (harbor) => {
        harbor.fail({ path: /manifests/, answer: { kind: 'status', status: 429, headers: { 'retry-after': '400' } } })
      },
      'PH6001',
      'max_upstream_conn of project hub',
    ],
    ['an unhealthy upstream', (_harbor, proxy) => void (proxy.health = 'unhealthy'), 'PH6001', 'for unhealthy'],
    [
      'an unhealthy upstream that a robot may not see',
      (harbor, proxy) => {
        proxy.health = 'unhealthy'
        harbor.forbid('registry:read')
      },
      'PH6003',
      'Harbor does not reach upstream',
    ],
    [
      'what upstream does not have',
      (harbor) => {
        harbor.fail({ path: /manifests/, answer: { kind: 'status', status: 404 } })
      },
      'PH6003',
      'the filter of project hub leaves it out',
    ],
    [
      'other bytes',
      (harbor) => {
        harbor.fail({ path: /manifests\/sha256/, answer: { kind: 'body', body: '{}' } })
      },
      'PH6008',
      'serves other bytes',
    ],
    [
      'a robot that may not look',
      (harbor) => {
        harbor.forbid('artifact:read')
      },
      'PH6002',
      'artifact:read',
    ],
  ])('says what to do about %s', async (_what, spoil, code, message) => {
    await using harbor = await FakeHarbor.start()
    const { source, proxy } = await setUp(harbor, buildImage())
    spoil(harbor, proxy)

    const error = await failureOf(source.pullThrough('hub/team/app', 'v1', never))

    expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
  })

  test('ends after ten minutes, and says how much is there', async () => {
    await using harbor = await FakeHarbor.start()
    const { source, clock, begunAt } = await setUp(harbor, buildImage(MULTI), { storeAfterMs: 3_600_000 })

    const error = await failureOf(source.pullThrough('hub/team/app', 'v1', never))

    expect(error).toMatchObject({ code: 'PH6009', fault: 'unavailable' })
    expect(error).toMatchObject({ message: expect.stringContaining('0 of the 3 manifests of its index are there') })
    expect(clock.now() - begunAt).toBeLessThan(620_000)
  })

  test('ends when it is aborted', async () => {
    await using harbor = await FakeHarbor.start()
    const { source } = await setUp(harbor, buildImage())
    const stop = new AbortController()
    harbor.onRequest = ({ path }) => {
      if (path.includes('/artifacts/')) stop.abort(new Error('enough'))
    }

    expect(await failureOf(source.pullThrough('hub/team/app', 'v1', stop.signal))).toMatchObject({ message: 'enough' })
  })
})

describe('the index that Harbor wrote for another', () => {
  const [a, b, c, x, y, z] = ['a', 'b', 'c', 'd', 'e', 'f'].map((digit) => parseDigest(`sha256:${digit.repeat(64)}`))
  test.each([
    ['lists all of it, though it was there before', [[x, [a, b]]], [x], x],
    ['lists part of it and is new', [[x, [a]]], [], x],
    ['is not one that lists part of it and was there before', [[x, [a]]], [x], undefined],
    [
      'lists the most',
      [
        [x, [a]],
        [y, [b, a]],
      ],
      [],
      y,
    ],
    ['lists nothing else', [[x, [a, c]]], [], undefined],
    ['is no single manifest', [[z, []]], [], undefined],
  ] as const)('%s', (_what, stored, before, expected) => {
    const indexes = stored.map(([digest, children]) => ({ digest: digest!, children: children.map((one) => one!) }))
    const known = indexes.filter(({ digest }) => before.some((one) => one === digest))

    expect(writtenFor([a!, b!], indexes, known)).toBe(expected)
  })
})
