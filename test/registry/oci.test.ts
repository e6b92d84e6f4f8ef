import { describe, expect, test } from 'vitest'
import { inParallel } from '../../src/registry/http.ts'
import { nextLink } from '../../src/registry/oci.ts'
import { parseDigest } from '../../src/model/artifact.ts'
import { FakeHarbor } from '../doubles/harbor.ts'
import { describeWithDockerRegistry, DockerRegistry, registryAccount } from '../support/docker-registry.ts'
import { buildImage, pushBuilt, pushImage } from '../support/oci-images.ts'
import { everythingOf, failureOf, listen, never, open, secrets, type Answer } from './fixtures.ts'

const account = { type: 'basic', secret: 'robot' } as const

describeWithDockerRegistry('a real docker-registry', () => {
  test('is listed below a prefix; only wanted tags are resolved, accessories are no tags', async () => {
    await using real = await DockerRegistry.start()
    const app = await pushImage(real.endpoint, 'team/sub/app', 'v1', { platforms: ['linux/amd64', 'linux/arm64'] })
    await pushBuilt(real.endpoint, 'team/sub/app', ['old'], app)
    await pushBuilt(real.endpoint, 'team/sub/app', [`${app.digest.replace(':', '-')}.sig`], buildImage())
    await pushImage(real.endpoint, 'elsewhere/app', 'v1')
    const { source } = await open(real.endpoint, { type: 'oci' })

    const listed = await source.list(
      { project: 'team', wants: (name, tag) => name === 'sub/app' && tag === 'v1' },
      never,
    )

    const common = { repository: 'team/sub/app', name: 'sub/app', labels: undefined, type: undefined }
    expect(listed).toEqual([
      { ...common, tags: ['old'], digest: undefined },
      { ...common, tags: ['v1'], digest: app.digest },
    ])
  })

  test('without a prefix all of it is listed, over every page of the catalog', async () => {
    await using real = await DockerRegistry.start()
    const image = buildImage({ layers: 0 })
    const names = Array.from({ length: 105 }, (_, index) => `r${String(index).padStart(3, '0')}`)
    await inParallel(names, 16, (name) => pushBuilt(real.endpoint, name, ['v1'], image))
    const { source } = await open(real.endpoint, { type: 'oci' })

    const listed = await source.list({ project: undefined, wants: () => false }, never)

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

describe('the catalog', () => {
  test.each<[string, Answer, string]>([
    ['is not there', { status: 404, body: '404 page not found' }, 'PH6003'],
    ['is empty', { body: { repositories: [] } }, 'PH6003'],
    ['is forbidden', { status: 403 }, 'PH6002'],
    ['wants a credential', { status: 401 }, 'PH6002'],
  ])('that %s asks for spec.repositories', async (_what, answer, code) => {
    await using server = await listen(() => answer)
    const { source } = await open(server.endpoint, { type: 'oci' })

    const error = await failureOf(source.list(everythingOf(undefined), never))

    expect(error).toMatchObject({ code, message: expect.stringContaining('spec.repositories') })
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

    expect(await source.list({ project: undefined, wants: () => false }, never)).toMatchObject([{ name: 'here' }])
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
  const noTag = { project: undefined, wants: () => false }

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

    expect((await source.list(noTag, never)).flatMap(({ tags }) => tags)).toEqual(['v1', 'v2', 'v3'])
  })

  test('that lead to another host end the listing as an error, and the host hears nothing', async () => {
    await using thief = await listen(() => ({ body: { tags: ['v2'] } }))
    await using server = await paged(() => `<${thief.endpoint}/v2/app/tags/list>; rel="next"`)
    const { source } = await open(server.endpoint, named)

    const error = await failureOf(source.list(noTag, never))

    expect(error).toMatchObject({ code: 'PH6004', message: expect.stringContaining('another host') })
    expect(thief.requests).toEqual([])
  })

  test('that go in a circle end where they were', async () => {
    await using server = await paged((page) => `</v2/app/tags/list?p=${(page % 2) + 1}>; rel="next"`)
    const { source } = await open(server.endpoint, named)

    expect(await source.list(noTag, never)).toHaveLength(2)
    expect(server.requests).toHaveLength(3)
  })

  test('that never end are not a listing', async () => {
    await using server = await paged((page) => `</v2/app/tags/list?p=${page + 1}>; rel="next"`)
    const { source } = await open(server.endpoint, named)

    expect(await failureOf(source.list(noTag, never))).toMatchObject({ code: 'PH6004' })
  })

  test.each(['{"tags":["v1"', '{}', '<html>', '{"tags":"v1"}'])('that read %s are not a listing', async (body) => {
    await using server = await listen(() => ({ body }))
    const { source } = await open(server.endpoint, named)

    expect(await failureOf(source.list(noTag, never))).toMatchObject({ code: 'PH6004' })
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

describe('a wanted tag', () => {
  const named = { type: 'oci', repositories: ['app'] } as const
  const image = buildImage()
  const { bytes } = image.documents.get(image.digest)!

  function tagged(answer: (method: string) => Answer) {
    return listen(({ pathname }, request) =>
      pathname.endsWith('/tags/list') ? { body: { tags: ['v1', 'v1'] } } : answer(request.method!),
    )
  }

  test('is resolved by one HEAD', async () => {
    await using server = await tagged(() => ({ headers: { 'docker-content-digest': image.digest } }))
    const { source } = await open(server.endpoint, named)

    expect(await source.list(everythingOf(undefined), never)).toMatchObject([{ digest: image.digest, tags: ['v1'] }])
    expect(server.requests.map(({ method }) => method)).toEqual(['GET', 'HEAD'])
  })

  test.each([200, 405])('whose HEAD answers %i without a digest is read and hashed', async (status) => {
    await using server = await tagged((method) => (method === 'HEAD' ? { status } : { body: bytes.toString() }))
    const { source } = await open(server.endpoint, named)

    expect(await source.list(everythingOf(undefined), never)).toMatchObject([{ digest: image.digest }])
  })

  test('that was deleted since it was listed is gone', async () => {
    await using server = await tagged(() => ({ status: 404 }))
    const { source } = await open(server.endpoint, named)

    expect(await source.list(everythingOf(undefined), never)).toEqual([])
  })

  test.each<[string, Answer, string]>([
    ['a digest of another kind', { headers: { 'docker-content-digest': 'sha512:abc' } }, 'PH6005'],
    ['403', { status: 403 }, 'PH6002'],
    ['503', { status: 503 }, 'PH6001'],
  ])('that is answered with %s fails the listing', async (_what, answer, code) => {
    await using server = await tagged(() => answer)
    const { source } = await open(server.endpoint, named)

    expect(await failureOf(source.list(everythingOf(undefined), never))).toMatchObject({ code })
  })
})

test('an oci registry demands nothing', async () => {
  const { source } = await open('http://127.0.0.1:1', { type: 'oci' })

  expect(await source.projectRules('team', never)).toEqual({ contentTrust: false, preventVulnerable: false })
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
