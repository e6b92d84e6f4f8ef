import { describe, expect, test } from 'vitest'
import { parseChallenges, trustedRealm } from '../../src/challenge.ts'
import { FakeHarbor } from '../doubles/harbor.ts'
import { parseDigest } from '../../src/model/artifact.ts'
import { Secret, type ReadSecret } from '../../src/model/secret.ts'
import { everythingOf, failureOf, listen, never, open, secrets, type Answer } from './fixtures.ts'

const account = { type: 'basic', secret: 'robot' } as const
const robot = secrets({
  'robot/username': 'robot$preheatd',
  'robot/password': 'robot-secret',
  'robot/token': 'static-1',
})

describe('challenges', () => {
  const realm = 'https://auth.example.com/token'

  test.each([
    [`Bearer realm="${realm}",service="registry",scope="repository:a/b:pull,push"`],
    [`bearer Realm = "${realm}" , Service=registry, scope='repository:a/b:pull,push'`],
    [`Bearer realm=${realm},service="registry" scope="repository:a/b:pull,push`],
    [`Negotiate, Bearer realm="${realm}",service="registry",scope="repository:a/b:pull,push", Basic realm="x"`],
  ])('%s is understood', (header) => {
    const bearer = parseChallenges(header).find(({ scheme }) => scheme === 'bearer')

    expect(bearer?.params).toMatchObject({ realm, service: 'registry', scope: 'repository:a/b:pull,push' })
  })

  test('several schemes keep their own parameters, and an escaped quote is one [R1]', () => {
    expect(
      parseChallenges('Basic realm="a \\"b\\"", Bearer realm="c"').map(({ scheme, params }) => [
        scheme,
        params['realm'],
      ]),
    ).toEqual([
      ['basic', 'a "b"'],
      ['bearer', 'c'],
    ])
  })

  test('nothing is nothing', () => {
    expect(parseChallenges('')).toEqual([])
    expect(parseChallenges('realm="x"')).toEqual([])
  })
})

test.each([
  ['https://registry.example.com', 'https://registry.example.com/token', true],
  ['https://registry.example.com', 'https://registry.example.com:8443/token', true],
  ['https://registry-1.docker.io', 'https://auth.docker.io/token', true],
  ['https://registry.gitlab.com', 'https://gitlab.com/jwt/auth', true],
  ['https://registry.example.com', 'http://registry.example.com/token', false],
  ['https://registry.example.com', 'https://example.com.evil.net/token', false],
  ['https://registry.example.com', 'https://example.net/token', false],
  ['https://registry.shop.co.uk', 'https://thief.co.uk/token', false],
  ['https://registry.shop.co.uk', 'https://auth.shop.co.uk/token', true],
  ['https://10.0.0.5', 'https://192.0.0.5/token', false],
  ['https://registry.example.com', 'https://user:pw@registry.example.com/token', false],
  ['https://registry.example.com', 'file:///etc/passwd', false],
  ['http://registry.example.com', 'http://auth.example.com/token', false],
  ['http://registry.example.com:5000', 'http://registry.example.com:5001/token', true],
  ['http://registry.example.com', 'http://127.0.0.1/token', false],
  ['http://localhost:5000', 'http://127.0.0.1:5001/token', true],
])('a registry at %s may name the realm %s: %s [R1]', (endpoint, realm, trusted) => {
  expect(trustedRealm(new URL(endpoint), realm) !== undefined).toBe(trusted)
})

/** A registry that wants a token of a service beside it. */
function tokenRegistry(answers: { readonly token?: () => Answer; readonly realm?: () => string } = {}) {
  let minted = 0
  return listen((url, request) => {
    if (url.pathname === '/token')
      return answers.token?.() ?? { body: { access_token: `t${++minted}`, issued_at: 'now' } }
    if (request.headers.authorization?.startsWith('Bearer t') === true) return { body: { name: 'x', tags: [] } }
    const realm = answers.realm?.() ?? `http://${request.headers.host!}/token?kept=1`
    return { status: 401, headers: { 'www-authenticate': `Bearer realm="${realm}",service="the registry"` } }
  })
}

const twoRepositories = { type: 'oci', repositories: ['a/one', 'b/two'] } as const

test('a token is asked for with service, scope and the account, and kept for four fifths of its 60 seconds [R1]', async () => {
  await using server = await tokenRegistry()
  const { source, clock } = await open(server.endpoint, { ...twoRepositories, auth: account }, robot)
  const asked = () => server.requests.filter(({ url }) => url.startsWith('/token'))

  await source.list(everythingOf('a'), never)
  await source.list(everythingOf('a'), never)
  expect(asked()).toHaveLength(1)
  expect(asked()[0]).toMatchObject({
    url: '/token?kept=1&service=the+registry&scope=repository%3Aa%2Fone%3Apull',
    headers: { authorization: `Basic ${Buffer.from('robot$preheatd:robot-secret').toString('base64')}` },
  })

  await source.list(everythingOf('b'), never)
  expect(asked()).toHaveLength(2)

  clock.advance(48_000)
  await source.list(everythingOf('a'), never)
  expect(asked()).toHaveLength(3)
})

test('without an account the token is asked for anonymously', async () => {
  await using server = await tokenRegistry()
  const { source } = await open(server.endpoint, twoRepositories)

  await source.list(everythingOf('a'), never)

  expect(server.requests.find(({ url }) => url.startsWith('/token'))?.headers.authorization).toBeUndefined()
})

test('a kept token that the registry does not take any more is replaced once [R5]', async () => {
  let revoked = false
  await using server = await listen((url, request) => {
    if (url.pathname === '/token') return { body: { token: revoked ? 'new' : 'old', expires_in: 3600 } }
    if (request.headers.authorization === `Bearer ${revoked ? 'new' : 'old'}`) return { body: { tags: [] } }
    const realm = `http://${request.headers.host!}/token`
    return { status: 401, headers: { 'www-authenticate': `Bearer realm="${realm}",error="insufficient_scope"` } }
  })
  const { source } = await open(server.endpoint, twoRepositories)

  await source.list(everythingOf('a'), never)
  revoked = true

  expect(await source.list(everythingOf('a'), never)).toEqual([])
})

test('a realm on another host gets neither a request nor the credential [R1]', async () => {
  await using thief = await listen(() => ({ body: { token: 't1' } }))
  await using server = await tokenRegistry({
    realm: () => `${thief.endpoint.replace('127.0.0.1', 'localhost.example.net')}/token`,
  })
  const { source } = await open(server.endpoint, { ...twoRepositories, auth: account }, robot)

  const error = await failureOf(source.list(everythingOf('a'), never))

  expect(error).toMatchObject({ code: 'PH6005', message: expect.stringContaining('localhost.example.net') })
  expect(thief.requests).toEqual([])
})

test('a secret is asked for the address that gets it', async () => {
  const destinations: string[] = []
  const read: ReadSecret = (_name, key, destination) => {
    destinations.push(`${key} ${destination.pathname}`)
    return Promise.resolve(new Secret('x'))
  }
  await using server = await tokenRegistry()
  const { source } = await open(server.endpoint, { ...twoRepositories, auth: account }, read)

  await source.list(everythingOf('a'), never)

  expect(destinations).toEqual(['username /token', 'password /token'])
})

test.each([
  ['no token', { body: {} }, { code: 'PH6005' }],
  ['a token that would break the header', { body: { token: 'a\r\nb' } }, { code: 'PH6005' }],
  ['no JSON', { body: '<html>' }, { code: 'PH6005' }],
  ['401', { status: 401 }, { code: 'PH6002', message: expect.stringContaining('secret robot') }],
])('a token service that answers with %s is an error', async (_what, token, expected) => {
  await using server = await tokenRegistry({ token: () => token })
  const { source } = await open(server.endpoint, { ...twoRepositories, auth: account }, robot)

  expect(await failureOf(source.list(everythingOf('a'), never))).toMatchObject(expected)
})

test('a rotated secret is used at the next request [R5]', async () => {
  const values = { 'robot/token': 'first' }
  await using server = await listen(() => ({ body: { tags: [] } }))
  const { source } = await open(
    server.endpoint,
    { ...twoRepositories, auth: { type: 'bearer', secret: 'robot' } },
    secrets(values),
  )

  await source.list(everythingOf('a'), never)
  values['robot/token'] = 'second'
  await source.list(everythingOf('a'), never)

  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer first', 'Bearer second'])
})

describe('what an engine is given', () => {
  test('is a new pull token each time, which pulls this repository and no other [E13]', async () => {
    await using harbor = await FakeHarbor.start()
    const { digest } = await harbor.push({ project: 'library', repository: 'app', tags: ['v1'] })
    const { source } = await open(harbor.endpoint, { auth: account }, robot)
    await source.content('library/app', parseDigest(digest), never)

    const first = (await source.authorize('library/app', never))?.reveal() ?? ''
    const second = (await source.authorize('library/app', never))?.reveal() ?? ''

    expect(first).not.toBe(second)
    const token = second.replace('Bearer ', '')
    expect([harbor.pulls(token, 'library/app'), harbor.pulls(token, 'library/other')]).toEqual([true, false])
    expect(harbor.requests.filter(({ path }) => path === '/service/token')).toHaveLength(3)
  })

  test.each(['auto', 'none'] as const)('is nothing with %s where there is no token service', async (type) => {
    await using server = await listen(() => ({}))
    const { source } = await open(server.endpoint, { ...twoRepositories, auth: account, engineAuth: { type } }, robot)

    expect(await source.authorize('a/one', never)).toBeUndefined()
  })

  test('is an error with token where there is no token service', async () => {
    await using server = await listen(() => ({ status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }))
    const { source } = await open(server.endpoint, { ...twoRepositories, engineAuth: { type: 'token' } })

    const error = await failureOf(source.authorize('a/one', never))

    expect(error).toMatchObject({ code: 'PH6006', message: expect.stringContaining('set engineAuth') })
  })

  test.each([
    ['basic', `Basic ${Buffer.from('robot$preheatd:robot-secret').toString('base64')}`],
    ['bearer', 'Bearer static-1'],
  ] as const)('is the secret itself with %s, for the host that engines pull from', async (type, expected) => {
    const hosts = new Set<string>()
    const read: ReadSecret = (name, key, destination) => {
      hosts.add(destination.host)
      return robot(name, key, destination)
    }
    const engineEndpoint = 'https://pull.example.com'
    const { source } = await open('http://127.0.0.1:1', { engineEndpoint, engineAuth: { type, secret: 'robot' } }, read)

    expect((await source.authorize('a/one', never))?.reveal()).toBe(expected)
    expect([...hosts]).toEqual(['pull.example.com'])
  })
})
