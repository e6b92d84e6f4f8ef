import { describe, expect, test, vi } from 'vitest'
import { inParallel } from '../../src/registry/http.ts'
import { nextLink } from '../../src/registry/pages.ts'
import { parseDigest } from '../../src/model/artifact.ts'
import { FakeHarbor } from '../doubles/harbor.ts'
import { describeWithDockerRegistry, DockerRegistry, registryAccount } from '../support/docker-registry.ts'
import { buildImage, pushBuilt, pushImage } from '../support/oci-images.ts'
import { digest } from '../support/examples.ts'
import { heldBytes } from '../support/heap.ts'
import { everythingOf, failureOf, listen, never, open, secrets, type Answer } from './fixtures.ts'

const account = { type: 'basic', secret: 'robot' } as const

describeWithDockerRegistry('a real docker-registry', () => {
  test('is listed below a prefix, a candidate a tag, accessories left out; a tag is resolved when it is wanted', async () => {
    await using real = await DockerRegistry.start()
    const app = await pushImage(real.endpoint, 'team/sub/app', 'v1', { platforms: ['linux/amd64', 'linux/arm64'] })
    await pushBuilt(real.endpoint, 'team/sub/app', ['old'], app)
    await pushBuilt(real.endpoint, 'team/sub/app', [`${app.digest.replace(':', '-')}.sig`], buildImage())
    await pushImage(real.endpoint, 'elsewhere/app', 'v1')
    const { source } = await open(real.endpoint, { type: 'oci' })

    const common = {
      repository: 'team/sub/app',
      name: 'sub/app',
      digest: undefined,
      labels: undefined,
      type: undefined,
      pushedAt: undefined,
      children: [],
      signatures: undefined,
      scan: undefined,
    }
    expect(await source.list(everythingOf('team'), never)).toEqual([
      { ...common, tags: ['old'] },
      { ...common, tags: ['v1'] },
    ])
    expect(await source.resolve('team/sub/app', 'v1', never)).toBe(app.digest)
    expect(await source.resolve('team/sub/app', 'v2', never)).toBeUndefined()
  })

  test('without a prefix all of it is listed, over every page of the catalog', async () => {
    await using real = await DockerRegistry.start()
    const image = buildImage({ layers: 0 })
    const names = Array.from({ length: 105 }, (_, index) => `r${String(index).padStart(3, '0')}`)
    await inParallel(names, 16, (name) => pushBuilt(real.endpoint, name, ['v1'], image))
    const { source } = await open(real.endpoint, { type: 'oci' })

    const listed = await source.list(everythingOf(undefined), never)

    expect(listed.map(({ repository, name }) => [repository, name])).toEqual(names.map((name) => [name, name]))
  })

  test.each(['oci', 'docker'] as const)(
    'an index in the %s format is followed to its platforms, to the byte',
    async (format) => {
      await using real = await DockerRegistry.start()
      const image = await pushImage(real.endpoint, 'app', 'v1', { format, platforms: ['linux/amd64', 'linux/arm/v7'] })
      const single = await pushImage(real.endpoint, 'app', 'v2', { format })
      const { source } = await open(real.endpoint, { type: 'oci' })

      expect(await source.content('app', parseDigest(image.digest), never)).toEqual({
        digest: image.digest,
        type: 'image',
        isIndex: true,
        manifests: image.manifests,
        absent: [],
      })
      expect(await source.content('app', parseDigest(single.digest), never)).toMatchObject({
        isIndex: false,
        manifests: single.manifests,
      })
    },
  )

  test('with an account wants Basic, and gives engines nothing by default', async () => {
    await using real = await DockerRegistry.start({ htpasswd: true })
    await pushImage(real.endpoint, 'app', 'v1', { authorization: registryAccount.authorization })
    const right = secrets({ 'robot/username': registryAccount.username, 'robot/password': registryAccount.password })
    const { source } = await open(real.endpoint, { type: 'oci', auth: account }, right)
    const { source: wrong } = await open(real.endpoint, { type: 'oci', auth: account })
    const { source: nobody } = await open(real.endpoint, { type: 'oci' })

    expect(await source.list(everythingOf(undefined), never)).toHaveLength(1)
    expect(await source.authorize('app', never)).toBeUndefined()
    expect(await failureOf(wrong.list(everythingOf(undefined), never))).toMatchObject({ code: 'PH6002' })
    expect(await failureOf(nobody.list(everythingOf(undefined), never))).toMatchObject({ code: 'PH6002' })
  })

  test('behind a Harbor it is pulled from with a token', async () => {
    await using real = await DockerRegistry.start()
    await using harbor = await FakeHarbor.start({ upstream: real.endpoint })
    const image = await harbor.push({ project: 'library', repository: 'app', tags: ['v1'], platforms: ['linux/amd64'] })
    const robot = secrets({ 'robot/username': harbor.account.username, 'robot/password': harbor.account.password })
    const { source } = await open(harbor.endpoint, { auth: account }, robot)

    expect((await source.content('library/app', parseDigest(image.digest), never)).manifests).toEqual(image.manifests)
    const authorization = (await source.authorize('library/app', never))!.reveal()
    const layer = image.manifests[0]!.blobs.at(-1)!
    const blob = await fetch(`${harbor.endpoint}/v2/library/app/blobs/${layer.digest}`, { headers: { authorization } })
    expect((await blob.arrayBuffer()).byteLength).toBe(layer.sizeBytes)
  })

  test('an index of which a platform was deleted is what is left of it', async () => {
    await using real = await DockerRegistry.start()
    const image = await pushImage(real.endpoint, 'app', 'v1', { platforms: ['linux/amd64', 'linux/arm64'] })
    const [kept, deleted] = image.manifests
    await fetch(`${real.endpoint}/v2/app/manifests/${deleted!.digest}`, { method: 'DELETE' })
    const { source } = await open(real.endpoint, { type: 'oci' })

    expect(await source.content('app', parseDigest(image.digest), never)).toMatchObject({
      manifests: [kept],
      absent: [{ digest: deleted!.digest, platform: 'linux/arm64' }],
    })
  })

  test('that is a cache fetches what it is asked to pull through', async () => {
    await using upstream = await DockerRegistry.start()
    const image = await pushImage(upstream.endpoint, 'app', 'v1')
    await using cache = await DockerRegistry.start({ proxy: { remoteurl: upstream.endpoint } })
    const { source } = await open(cache.endpoint, { type: 'oci', repositories: ['app'] })

    expect(await source.pullThrough('app', 'v1', never)).toBe(image.digest)
    expect(await source.pullThrough('app', image.digest, never)).toBe(image.digest)
    await vi.waitUntil(() => cache.stores(image.digest))
    expect(await failureOf(source.pullThrough('app', 'v9', never))).toMatchObject({ code: 'PH6003' })
  })

  test('a repository that was named and is not there is an error; one that was emptied is not', async () => {
    await using real = await DockerRegistry.start()
    await pushImage(real.endpoint, 'app', 'v1')
    const gone = await pushImage(real.endpoint, 'gone', 'v1')
    await fetch(`${real.endpoint}/v2/gone/manifests/${gone.digest}`, { method: 'DELETE' })
    const { source } = await open(real.endpoint, { type: 'oci' })
    const { source: named } = await open(real.endpoint, { type: 'oci', repositories: ['app', 'nowhere'] })

    expect((await source.list(everythingOf(undefined), never)).map(({ repository }) => repository)).toEqual(['app'])
    const error = await failureOf(named.list(everythingOf(undefined), never))
    expect(error).toMatchObject({ code: 'PH6003', message: expect.stringContaining('nowhere') })
  })
})

/** Registries whose catalog is of no use, as contracts/kraken-and-registries.md §5.8 tells. */
const quirks: readonly [string, (url: URL, host: string, authorization: string | undefined) => Answer, string][] = [
  ['GHCR has none', () => ({ status: 404, body: '404 page not found' }), 'PH6003'],
  ['Google shows everybody an empty one', () => ({ body: { repositories: [] } }), 'PH6003'],
  [
    'Amazon forbids it',
    () => ({ status: 403, body: { errors: [{ code: 'DENIED', message: 'User is not authorized' }] } }),
    'PH6002',
  ],
  [
    'Docker Hub takes no token for it',
    ({ pathname }, host, authorization) => {
      if (pathname === '/token') return { body: { token: 't' } }
      const challenge = `Bearer realm="http://${host}/token",service="registry.docker.io",scope="registry:catalog:*"`
      const error = authorization === undefined ? '' : ',error="insufficient_scope"'
      return { status: 401, headers: { 'www-authenticate': challenge + error } }
    },
    'PH6002',
  ],
]

describe('the catalog', () => {
  test.each(quirks)('of a registry: %s, which asks for spec.repositories', async (_what, answer, code) => {
    await using server = await listen((url, { headers }) => answer(url, headers.host!, headers.authorization))
    const { source } = await open(server.endpoint, { type: 'oci' })

    const error = await failureOf(source.list(everythingOf(undefined), never))

    expect(error).toMatchObject({ code, message: expect.stringContaining('spec.repositories') })
  })

  test.each(quirks)('is not needed with spec.repositories where %s', async (_what, answer) => {
    await using server = await listen((url, { headers }) =>
      url.pathname === '/v2/team/app/tags/list'
        ? { body: { tags: ['v1'] } }
        : answer(url, headers.host!, headers.authorization),
    )
    const { source } = await open(server.endpoint, { type: 'oci', repositories: ['team/app'] })

    expect(await source.list(everythingOf('team'), never)).toMatchObject([{ name: 'app', tags: ['v1'] }])
  })

  test('is forbidden to a password of Amazon that is older than 12 hours, which says so', async () => {
    const body = { errors: [{ code: 'DENIED', message: 'Your authorization token has expired. Reauthenticate.' }] }
    await using server = await listen(({ pathname }) => (pathname === '/v2/' ? {} : { status: 403, body }))
    const { source } = await open(server.endpoint, { type: 'oci', auth: account, repositories: ['app'] })

    const error = await failureOf(source.list(everythingOf(undefined), never))

    expect(error).toMatchObject({ code: 'PH6002', message: expect.stringMatching(/renew the secret robot.*12 hours/) })
  })

  test('is not asked for repositories that are named', async () => {
    await using server = await listen(() => ({ body: { tags: null } }))
    const { source } = await open(server.endpoint, { type: 'oci', repositories: ['team/b', 'team/a', 'other/c'] })

    expect(await source.list(everythingOf('team'), never)).toEqual([])
    expect(server.requests.map(({ url }) => url).sort()).toEqual(['/v2/team/a/tags/list', '/v2/team/b/tags/list'])
  })

  test('may remember a repository that is gone', async () => {
    await using server = await listen(({ pathname }) => {
      if (pathname === '/v2/_catalog') return { body: { repositories: ['gone', 'here'] } }
      return pathname === '/v2/here/tags/list' ? { body: { tags: ['v1'] } } : { status: 404 }
    })
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(await source.list(everythingOf(undefined), never)).toMatchObject([{ name: 'here' }])
  })

  test('may not hold a name that changes the address', async () => {
    await using server = await listen(() => ({ body: { repositories: ['../admin'] } }))
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(await failureOf(source.list(everythingOf(undefined), never))).toMatchObject({ code: 'PH6005' })
    expect(server.requests).toHaveLength(1)
  })
})

describe('pages of tags', () => {
  const named = { type: 'oci', repositories: ['app'] } as const
  const all = everythingOf(undefined)

  /** A registry of one repository with a page a number; `link` says where a page goes on. */
  function paged(link: (page: number, host: string) => string | undefined) {
    return listen((url, request) => {
      const page = Number(url.searchParams.get('p') ?? 1)
      const next = link(page, request.headers.host!)
      return { headers: next === undefined ? {} : { link: next }, body: { tags: [`v${page}`] } }
    })
  }

  test.each<[string, (page: number, host: string) => string]>([
    ['relative', (page) => `</v2/app/tags/list?p=${page + 1}>; rel="next"`],
    ['absolute', (page, host) => `<http://${host}/v2/app/tags/list?p=${page + 1}>; rel="next"`],
    ['only a query', (page) => `<?p=${page + 1}>;rel=next`],
    ['without brackets', (page) => `/v2/app/tags/list?p=${page + 1}; rel="next"`],
    [
      'of the wrong scheme, from behind a proxy',
      (page, host) => `<https://${host}/v2/app/tags/list?p=${page + 1}>; rel="next"`,
    ],
  ])('are followed by a Link that is %s', async (_what, link) => {
    await using server = await paged((page, host) => (page < 3 ? link(page, host) : undefined))
    const { source } = await open(server.endpoint, named)

    expect((await source.list(all, never)).flatMap(({ tags }) => tags)).toEqual(['v1', 'v2', 'v3'])
  })

  test('that lead to another host end the listing as an error, and the host hears nothing [R7]', async () => {
    await using thief = await listen(() => ({ body: { tags: ['v2'] } }))
    await using server = await paged(() => `<${thief.endpoint}/v2/app/tags/list>; rel="next"`)
    const { source } = await open(server.endpoint, named)

    const error = await failureOf(source.list(all, never))

    expect(error).toMatchObject({ code: 'PH6004', message: expect.stringContaining('another host') })
    expect(thief.requests).toEqual([])
  })

  test('that go in a circle end where they were [R7]', async () => {
    await using server = await paged((page) => `</v2/app/tags/list?p=${(page % 2) + 1}>; rel="next"`)
    const { source } = await open(server.endpoint, named)

    expect(await source.list(all, never)).toHaveLength(2)
    expect(server.requests).toHaveLength(3)
  })

  test(
    'of 5,000 repositories, one of them with 50,000 tags, leave nothing in memory but what they list [R4]',
    { timeout: 120_000 },
    async () => {
      const names = Array.from({ length: 5_000 }, (_, i) => `team/of/app-${String(i).padStart(4, '0')}`)
      const tags = Array.from({ length: 50_000 }, (_, i) => `v${i}`)
      // What a page says beside its entries is to be forgotten with it.
      const padding = 'x'.repeat(100_000)
      await using server = await listen((url) => {
        const [, repository] = /^\/v2\/(.+)\/tags\/list$/.exec(url.pathname) ?? []
        const all = repository === undefined ? names : repository === names[0] ? tags : ['v1']
        const at = Number(url.searchParams.get('from') ?? 0)
        const link = `<${url.pathname}?from=${at + 1_000}>; rel="next"`
        return {
          headers: at + 1_000 < all.length ? { link } : {},
          body: { [repository === undefined ? 'repositories' : 'tags']: all.slice(at, at + 1_000), padding },
        }
      })
      const { source } = await open(server.endpoint, { type: 'oci' })
      const before = await heldBytes()

      const listed = await source.list(everythingOf(undefined), never)

      expect(listed).toHaveLength(tags.length + names.length - 1)
      expect(server.requests).toHaveLength(5 + 50 + 4_999)
      // 500 MB went over the wire; a candidate is some hundred bytes.
      expect((await heldBytes()) - before).toBeLessThan(32e6)
      expect(new Set(listed.map(({ repository }) => repository)).size).toBe(names.length)
    },
  )

  test('that never end are not a listing', async () => {
    await using server = await paged((page) => `</v2/app/tags/list?p=${page + 1}>; rel="next"`)
    const { source } = await open(server.endpoint, named)

    expect(await failureOf(source.list(all, never))).toMatchObject({ code: 'PH6004' })
  })

  test.each(['{"tags":["v1"', '{}', '<html>', '{"tags":"v1"}'])('that read %s are not a listing [R8]', async (body) => {
    await using server = await listen(() => ({ body }))
    const { source } = await open(server.endpoint, named)

    expect(await failureOf(source.list(all, never))).toMatchObject({ code: 'PH6004' })
  })

  test.each([
    ['<a>; rel="next"', 'a'],
    ['<b>; rel="prev", <a>; rel="next"', 'a'],
    ['<a?x=1,2>; rel="next"', 'a?x=1,2'],
    ['<b>; rel="prev"', undefined],
    ['a', 'a'],
    ['', undefined],
    [undefined, undefined],
  ])('Link: %s goes on at %s', (header, target) => {
    expect(nextLink(header)).toBe(target)
  })
})

describe('a tag', () => {
  const image = buildImage()
  const { bytes } = image.documents.get(image.digest)!

  test('costs nothing to list, and one HEAD to resolve', async () => {
    await using server = await listen(({ pathname }) =>
      pathname.endsWith('/tags/list')
        ? { body: { tags: ['v1', 'v1', 'v2'] } }
        : { headers: { 'docker-content-digest': image.digest } },
    )
    const { source } = await open(server.endpoint, { type: 'oci', repositories: ['app'] })

    expect((await source.list(everythingOf(undefined), never)).map(({ tags }) => tags)).toEqual([['v1'], ['v2']])
    expect(server.requests).toHaveLength(1)
    expect(await source.resolve('app', 'v1', never)).toBe(image.digest)
    expect(server.requests.map(({ method }) => method)).toEqual(['GET', 'HEAD'])
  })

  test.each([200, 405])('whose HEAD answers %i without a digest is read and hashed', async (status) => {
    await using server = await listen((_url, { method }) =>
      method === 'HEAD' ? { status } : { body: bytes.toString() },
    )
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(await source.resolve('app', 'v1', never)).toBe(image.digest)
  })

  test.each<[string, Answer, string]>([
    ['a digest of another kind', { headers: { 'docker-content-digest': 'sha512:abc' } }, 'PH6005'],
    ['403', { status: 403 }, 'PH6002'],
    ['503', { status: 503 }, 'PH6001'],
  ])('that is answered with %s is an error', async (_what, answer, code) => {
    await using server = await listen(() => answer)
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(await failureOf(source.resolve('app', 'v1', never))).toMatchObject({ code })
  })

  test('that is pulled through by digest is that digest or an error', async () => {
    await using server = await listen((_url, { method }) => (method === 'HEAD' ? {} : { body: '{"other":1}' }))
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(await failureOf(source.pullThrough('app', image.digest, never))).toMatchObject({ code: 'PH6008' })
    for (const reference of ['../x', 'sha256:abc', 'a b'])
      expect(await failureOf(source.pullThrough('app', reference, never))).toMatchObject({ code: 'PH6005' })
    expect(server.requests).toHaveLength(2)
  })
})

test('an oci registry demands nothing, and has no scanner', async () => {
  const { source } = await open('http://127.0.0.1:1', { type: 'oci' })

  expect(await source.projectRules('team', never)).toEqual({
    signatures: [],
    severity: undefined,
    allowlist: { ids: [], expiresAt: undefined },
    isProxyCache: false,
  })
  expect(await failureOf(source.vulnerabilities('team/app', digest(1), never))).toMatchObject({ code: 'PH6003' })
})

test('a registry with public parts is listed with the account from the first request on', async () => {
  const robot = secrets({ 'robot/username': 'ada', 'robot/password': 'x' })
  await using server = await listen(({ pathname }, request) => {
    if (pathname === '/v2/') return {}
    if (pathname.endsWith('/tags/list')) return { body: { tags: null } }
    return { body: { repositories: request.headers.authorization === undefined ? ['public'] : ['private', 'public'] } }
  })
  const { source } = await open(server.endpoint, { type: 'oci', auth: account }, robot)

  await source.list(everythingOf(undefined), never)

  expect(server.requests.some(({ url }) => url.startsWith('/v2/private/'))).toBe(true)
})
