import { expect, test, vi } from 'vitest'
import { EdgeError, OperatorError } from '../../src/model/errors.ts'
import { parseDigest } from '../../src/model/artifact.ts'
import { redirectTarget } from '../../src/http.ts'
import { inParallel, RegistryHttp, retryWaitMs } from '../../src/registry/http.ts'
import { systemClock } from '../../src/clock.ts'
import { ManualClock } from '../support/clock.ts'
import { registry } from '../support/examples.ts'
import { buildImage } from '../support/oci-images.ts'
import { everythingOf, failureOf, listen, never, open, secrets, type Answer } from './fixtures.ts'

const account = { type: 'basic', secret: 'robot' } as const
const robot = secrets({ 'robot/username': 'ada', 'robot/password': 'canary-7781' })
const oneRepository = { type: 'oci', repositories: ['team/app'] } as const

function answered(status: number, headers: Record<string, string> = {}) {
  return { status, headers, bytes: Buffer.alloc(0) }
}

const silence = new EdgeError('unavailable', 'PH6001', 'nobody')

test('silence and a failing gateway are tried again three times, 429 for as long as five minutes', () => {
  expect([1, 2, 3].map((tries) => retryWaitMs(silence, tries, 0, 0, 1))).toEqual([1000, 2000, 4000])
  expect(retryWaitMs(silence, 4, 0, 0, 1)).toBeUndefined()
  expect(retryWaitMs(answered(503), 4, 0, 0, 1)).toBeUndefined()
  expect(retryWaitMs(answered(404), 1, 0, 0, 1)).toBeUndefined()
  expect(retryWaitMs(answered(429), 9, 0, 0, 1)).toBe(30_000)
  expect(retryWaitMs(answered(429, { 'retry-after': '7' }), 1, 0, 0, 0)).toBe(7000)
  expect(retryWaitMs(answered(429, { 'retry-after': '120' }), 3, 200_000, 0, 0)).toBeUndefined()
  expect(retryWaitMs(answered(429, { 'retry-after': '0' }), 20, 0, 0, 0)).toBeUndefined()
})

test('a request that nobody answers succeeds when the registry comes back', async () => {
  let asked = 0
  await using server = await listen(() => (++asked < 3 ? { cut: true } : { body: { tags: [] } }))
  const { source, clock } = await open(server.endpoint, oneRepository)

  expect(await source.list(everythingOf(undefined), never)).toEqual([])
  expect(asked).toBe(3)
  expect(clock.waits).toHaveLength(2)
})

test('a registry that stays silent is unavailable', async () => {
  await using server = await listen(() => ({ cut: true }))
  const { source } = await open(server.endpoint, oneRepository)

  const error = await failureOf(source.list(everythingOf(undefined), never))

  expect(error).toMatchObject({ code: 'PH6001', fault: 'unavailable' })
  expect(server.requests).toHaveLength(4)
})

test.each<[number, Answer['headers'], object]>([
  [401, {}, { code: 'PH6002', fault: 'rejected', message: expect.stringContaining('check the secret robot') }],
  [403, {}, { code: 'PH6002', fault: 'rejected', message: expect.stringContaining('it needs repository:pull') }],
  [404, {}, { code: 'PH6003', fault: 'rejected', message: expect.stringContaining('list the tags of team/app') }],
  [412, {}, { code: 'PH6006', fault: 'rejected', message: expect.stringContaining('rule of the project') }],
  [418, {}, { code: 'PH6006', fault: 'rejected', message: expect.stringContaining('(418: a teapot)') }],
  [422, {}, { code: 'PH6006', fault: 'rejected', message: expect.stringContaining('misspelt') }],
  [429, { 'retry-after': '900' }, { code: 'PH6001', fault: 'unavailable', retryAfterMs: 300_000 }],
  [500, {}, { code: 'PH6001', fault: 'unavailable', message: expect.stringContaining('cannot list the tags') }],
  [
    302,
    { location: 'https://sso.example.net/login' },
    { code: 'PH6005', message: expect.stringContaining('sso.example.net') },
  ],
])('a %i says what to mend', async (status, headers, expected) => {
  const body = { errors: [{ code: 'TEAPOT', message: 'a teapot' }] }
  await using server = await listen(({ pathname }) =>
    pathname === '/v2/' ? {} : { status, headers: headers ?? {}, body },
  )
  const { source } = await open(server.endpoint, { ...oneRepository, auth: account }, robot)

  expect(await failureOf(source.list(everythingOf(undefined), never))).toMatchObject(expected)
})

test('without auth on the Registry a 401 asks for one', async () => {
  await using server = await listen(() => ({ status: 401 }))
  const { source } = await open(server.endpoint, oneRepository)

  const error = await failureOf(source.list(everythingOf(undefined), never))

  expect(error).toMatchObject({ code: 'PH6002', message: expect.stringContaining('set auth on the Registry') })
})

test('a refusal that quotes our credential does not get it into the message', async () => {
  await using server = await listen(({ pathname }, request) =>
    pathname === '/v2/'
      ? {}
      : { status: 403, body: { errors: [{ message: `no: ${request.headers.authorization ?? ''}` }] } },
  )
  const { source } = await open(server.endpoint, { ...oneRepository, auth: account }, robot)

  const error = await failureOf(source.list(everythingOf(undefined), never))

  expect(String(error)).not.toContain(Buffer.from('ada:canary-7781').toString('base64'))
})

test('an answer that is too large is refused while it streams', async () => {
  await using server = await listen(() => ({ body: 'x'.repeat(4 * 1024 * 1024 + 1) }))
  const { source } = await open(server.endpoint, oneRepository)

  const error = await failureOf(source.content('team/app', parseDigest(`sha256:${'a'.repeat(64)}`), never))

  expect(error).toMatchObject({ code: 'PH6005', fault: 'unintelligible' })
})

test('a manifest that a registry keeps elsewhere is read there, without the credential', async () => {
  const image = buildImage()
  const { bytes, mediaType } = image.documents.get(image.digest)!
  await using storage = await listen(() => ({ headers: { 'content-type': mediaType }, body: bytes.toString() }))
  await using server = await listen(({ pathname }) =>
    pathname === '/v2/' ? {} : { status: 307, headers: { location: `${storage.endpoint}/bucket/1?signature=x` } },
  )
  const { source } = await open(server.endpoint, { ...oneRepository, auth: account }, robot)

  const content = await source.content('team/app', parseDigest(image.digest), never)

  expect(content.manifests[0]?.digest).toBe(image.digest)
  expect(server.requests.at(-1)?.headers.authorization).toMatch(/^Basic /)
  expect(storage.requests).toHaveLength(1)
  expect(storage.requests[0]?.headers.authorization).toBeUndefined()
  expect(storage.requests[0]?.headers.cookie).toBeUndefined()
})

test('a host that was left and led back to does not get the credential again', async () => {
  const image = buildImage()
  const { bytes } = image.documents.get(image.digest)!
  await using server = await listen(({ pathname }) => {
    if (pathname === '/v2/') return {}
    return pathname === '/steered'
      ? { body: bytes.toString() }
      : { status: 307, headers: { location: `${other.endpoint}/` } }
  })
  await using other = await listen(() => ({ status: 307, headers: { location: `${server.endpoint}/steered` } }))
  const { source } = await open(server.endpoint, { ...oneRepository, auth: account }, robot)

  await source.content('team/app', parseDigest(image.digest), never)

  expect(server.requests.find(({ url }) => url === '/steered')?.headers.authorization).toBeUndefined()
})

test.each([
  ['https://a.example.com/v2/x', 'https://b.example.com/y?z', 'https://b.example.com/y?z'],
  ['https://a.example.com/v2/x', '/y', 'https://a.example.com/y'],
  ['http://a.example.com/v2/x', 'https://user:pw@a.example.com/y', 'https://a.example.com/y'],
  ['https://a.example.com/v2/x', 'http://a.example.com/y', undefined],
  ['https://a.example.com/v2/x', 'file:///etc/passwd', undefined],
  ['https://a.example.com/v2/x', 'https://', undefined],
])('a redirect from %s to %s goes to %s', (from, location, target) => {
  expect(redirectTarget(new URL(from), location)?.href).toBe(target)
})

test('redirects end after five, and never at a metadata address', async () => {
  const digest = parseDigest(`sha256:${'a'.repeat(64)}`)
  await using circle = await listen(({ pathname }) => ({ status: 307, headers: { location: pathname } }))
  await using metadata = await listen(() => ({ status: 307, headers: { location: 'http://169.254.169.254/latest' } }))
  const { source } = await open(circle.endpoint, oneRepository)
  const { source: lured } = await open(metadata.endpoint, oneRepository)

  expect(await failureOf(source.content('team/app', digest, never))).toMatchObject({ code: 'PH6005' })
  expect(circle.requests).toHaveLength(6)
  const error = await failureOf(lured.content('team/app', digest, never))
  expect(error).toBeInstanceOf(OperatorError)
  expect(error).toMatchObject({ code: 'PH3013' })
})

test('requestsPerSecond is kept, with a burst of one second', async () => {
  await using server = await listen(() => ({}))
  const clock = new ManualClock(0)
  const limits = { requestsPerSecond: 5, listConcurrency: 50, openArtifacts: 1 }
  await using http = new RegistryHttp(registry({ endpoint: server.endpoint, limits }), clock, undefined)
  const answeredAt: number[] = []

  const all = Promise.all(
    Array.from({ length: 15 }, async () => {
      await http.send({ method: 'GET', url: '/', kind: 'detail' }, never)
      answeredAt.push(clock.now())
    }),
  )
  for (const allowed of [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]) {
    await vi.waitUntil(() => answeredAt.length === allowed && (allowed === 15 || clock.nextWake !== undefined))
    if (clock.nextWake !== undefined) clock.set(clock.nextWake)
  }
  await all

  expect(answeredAt.filter((at) => at === 0)).toHaveLength(5)
  expect(Math.max(...answeredAt)).toBe(2000)
})

test('no more than listConcurrency requests are under way at once', async () => {
  let underWay = 0
  let most = 0
  await using server = await listen(async () => {
    most = Math.max(most, ++underWay)
    // Long enough for others to arrive if they may.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    underWay--
    return {}
  })
  const limits = { requestsPerSecond: 1000, listConcurrency: 3, openArtifacts: 1 }
  await using http = new RegistryHttp(registry({ endpoint: server.endpoint, limits }), systemClock, undefined)

  await Promise.all(Array.from({ length: 20 }, () => http.send({ method: 'GET', url: '/', kind: 'page' }, never)))

  expect(most).toBe(3)
})

test('after a failure in parallel work nothing new begins', async () => {
  const begun: number[] = []

  const work = inParallel([1, 2, 3, 4, 5, 6], 2, async (item) => {
    begun.push(item)
    await Promise.resolve()
    if (item === 2) throw new Error('two')
    return item
  })

  await expect(work).rejects.toThrow('two')
  await new Promise((resolve) => setImmediate(resolve))
  expect(begun.length).toBeLessThan(6)
})

test('an aborted listing ends with the reason of its signal', async () => {
  await using server = await listen(() => ({ body: { tags: [] } }))
  const { source } = await open(server.endpoint, oneRepository)
  const stop = new AbortController()
  stop.abort(new Error('shutting down'))

  await expect(source.list(everythingOf(undefined), stop.signal)).rejects.toThrow('shutting down')
})
