import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { FakeCache, orderOf } from './fake-cache.ts'
import { describesAnEngine } from '../../contract/engine-contract.ts'
import { ManualClock } from '../../support/clock.ts'
import { DockerRegistry, describeWithDockerRegistry, registryAccount } from '../../support/docker-registry.ts'
import { never, opened, PULL_TOKEN } from '../../support/engine.ts'
import { EXAMPLE_AT, provider } from '../../support/examples.ts'
import { buildImage, pushImage, type BuiltImage } from '../../support/oci-images.ts'
import { openPullThrough } from '../../../src/engine/pull-through/pull-through.ts'
import type { Engine } from '../../../src/engine/engine.ts'
import { systemClock } from '../../../src/clock.ts'
import { parseDigest } from '../../../src/model/artifact.ts'
import type { Clock } from '../../../src/model/clock.ts'
import type { Provider } from '../../../src/model/provider.ts'
import { Secret, type ReadSecret } from '../../../src/model/secret.ts'
import type { ArtifactOrder } from '../../../src/model/task.ts'

const account = { type: 'basic', secret: 'cache' } as const
const BASIC = `Basic ${Buffer.from('reader:cache-password').toString('base64')}`
const values: Readonly<Record<string, string>> = {
  username: 'reader',
  password: 'cache-password',
  token: 'static-token',
  value: 'key-value',
}
const readSecret: ReadSecret = (_name, key) => Promise.resolve(new Secret(values[key]!))

interface Surroundings {
  readonly clock?: Clock
  readonly read?: ReadSecret
}

/** The driver, closed when the test ends; limits that nobody feels unless the test is about those. */
function engineOf(endpoint: string, overrides: Partial<Provider> = {}, around: Surroundings = {}): Engine {
  const declared = provider({
    name: 'edge-cache',
    vendor: 'pull-through',
    endpoint,
    limits: { submitsInFlight: 16, requestsPerSecond: 100_000 },
    ...overrides,
  })
  const engine = openPullThrough(declared, undefined, {
    read: around.read ?? readSecret,
    clock: around.clock ?? systemClock,
  })
  onTestFinished(() => engine[Symbol.asyncDispose]())
  return engine
}

async function cacheOf(image: BuiltImage): Promise<FakeCache> {
  const cache = await FakeCache.start(image)
  onTestFinished(() => cache[Symbol.asyncDispose]())
  return cache
}

/** Reads every job of an order, one after the other, as the loop does. */
async function readAll(engine: Engine, order: ArtifactOrder): Promise<string[]> {
  const ids: string[] = []
  for (const job of await engine.jobs(order, never)) ids.push(await engine.submit(order, job, PULL_TOKEN, never))
  return ids
}

const json = { 'content-type': 'application/json' }

describe('a pull-through cache', () => {
  describesAnEngine(
    async () => {
      const image = buildImage({ platforms: ['linux/amd64', 'linux/arm64'] })
      const cache = await FakeCache.start(image)
      return {
        engine: engineOf(cache.endpoint, { auth: account }),
        order: orderOf(image),
        authorization: PULL_TOKEN,
        secrets: [BASIC, 'cache-password', PULL_TOKEN.reveal()],
        looks: 'by-id',
        settle: () => Promise.resolve(),
        [Symbol.asyncDispose]: () => cache[Symbol.asyncDispose](),
      }
    },
    () =>
      Promise.resolve({
        engine: engineOf('http://127.0.0.1:9', { auth: account }),
        order: orderOf(buildImage()),
        authorization: PULL_TOKEN,
        secrets: [BASIC, 'cache-password', PULL_TOKEN.reveal()],
        looks: 'by-id',
        settle: () => Promise.resolve(),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
  )
})

describeWithDockerRegistry('a real docker-registry in proxy mode', () => {
  test('serves the whole image by digest after it was read, with the upstream switched off', async () => {
    await using upstream = await DockerRegistry.start()
    await using cache = await DockerRegistry.start({ proxy: { remoteurl: upstream.endpoint } })
    const options = { platforms: ['linux/amd64', 'linux/arm64'], layers: 6, layerBytes: 300_000 }
    const image = await pushImage(upstream.endpoint, 'library/app', 'v1', options)
    const engine = engineOf(cache.endpoint)
    const wanted = [
      image.digest,
      ...image.manifests.flatMap(({ digest, blobs }) => [digest, ...blobs.map((b) => b.digest)]),
    ]
    expect(wanted.some((digest) => cache.stores(digest))).toBe(false)

    expect(await engine.health(never)).toMatchObject({ ok: true })
    const ids = await readAll(engine, orderOf(image))

    expect(ids).toEqual(image.manifests.map(({ digest }) => `read-${digest}`))
    // Distribution 2.8 stores beside the answer, and is not done when that is.
    await vi.waitFor(() => {
      expect(wanted.filter((digest) => !cache.stores(digest))).toEqual([])
    }, 10_000)
    await upstream[Symbol.asyncDispose]()
    const served = engineOf(cache.endpoint)
    expect(await readAll(served, orderOf(image))).toEqual(ids)
  })

  test('lets nobody read who has not the account, and the credential for the upstream is none of its business', async () => {
    await using upstream = await DockerRegistry.start()
    await using cache = await DockerRegistry.start({ htpasswd: true, proxy: { remoteurl: upstream.endpoint } })
    const order = orderOf(await pushImage(upstream.endpoint, 'library/app', 'v1'))
    const read: ReadSecret = (_name, key) =>
      Promise.resolve(new Secret(key === 'username' ? registryAccount.username : registryAccount.password))
    const known = engineOf(cache.endpoint, { auth: account }, { read })
    const stranger = engineOf(cache.endpoint)
    const impostor = engineOf(cache.endpoint, { auth: account })
    const [job] = await known.jobs(order, never)

    expect(await known.health(never)).toMatchObject({ ok: true })
    expect(await known.submit(order, job!, PULL_TOKEN, never)).toBe(`read-${job!.manifest}`)
    for (const engine of [stranger, impostor]) {
      expect(await engine.health(never)).toEqual({
        ok: false,
        code: 'PH5007',
        detail: expect.stringContaining('HTTP 401'),
      })
      await expect(engine.submit(order, job!, PULL_TOKEN, never)).rejects.toMatchObject({
        fault: 'rejected',
        code: 'PH5007',
      })
    }
  })

  test('says when its upstream has no such thing, refuses it, or is gone', async () => {
    await using upstream = await DockerRegistry.start()
    await using closed = await DockerRegistry.start({ htpasswd: true })
    await using cache = await DockerRegistry.start({ proxy: { remoteurl: upstream.endpoint } })
    await using locked = await DockerRegistry.start({ proxy: { remoteurl: closed.endpoint } })
    const { authorization } = registryAccount
    const here = await pushImage(upstream.endpoint, 'library/app', 'v1')
    const there = await pushImage(closed.endpoint, 'library/app', 'v1', { authorization })
    const absent = buildImage()
    const withoutBlob = { ...here, manifests: [{ ...here.manifests[0]!, blobs: absent.manifests[0]!.blobs }] }

    const wants = (image: BuiltImage) => readAll(engineOf(cache.endpoint), orderOf(image))
    await expect(wants(absent)).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH6003',
      message: expect.stringContaining(`read manifest ${absent.digest} of library/app`),
    })
    await expect(wants(withoutBlob)).rejects.toMatchObject({ fault: 'rejected', code: 'PH6003' })
    await expect(readAll(engineOf(locked.endpoint), orderOf(there))).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH6002',
    })
    await upstream[Symbol.asyncDispose]()
    await expect(wants(absent)).rejects.toMatchObject({ fault: 'unavailable', code: 'PH5001' })
  })
})

describe('reading', () => {
  test('is of each platform’s manifest and blobs, and of the index at the very end', async () => {
    const image = buildImage({ platforms: ['linux/amd64', 'linux/arm64'] })
    const cache = await cacheOf(image)
    const engine = engineOf(cache.endpoint)

    await readAll(engine, orderOf(image))

    const [first, second] = image.manifests
    expect(cache.asked.at(-1)).toBe(`manifests/${image.digest}`)
    expect(cache.asked.filter((one) => one.endsWith(image.digest))).toHaveLength(1)
    expect(new Set(cache.asked)).toEqual(
      new Set([
        ...[first!, second!].flatMap(({ digest, blobs }) => [
          `manifests/${digest}`,
          ...blobs.map((blob) => `blobs/${blob.digest}`),
        ]),
        `manifests/${image.digest}`,
      ]),
    )
    for (const { path, headers } of cache.requests)
      if (path.includes('/manifests/')) expect(headers.accept?.split(', ')).toHaveLength(4)
  })

  test('of an index waits for a child that the cache does not give', async () => {
    const image = buildImage({ platforms: ['linux/amd64', 'linux/arm64'] })
    const cache = await cacheOf(image)
    const order = orderOf(image)
    const engine = engineOf(cache.endpoint)
    const [, last] = await engine.jobs(order, never)
    cache.interfere = (request, response) => {
      if (!request.url!.endsWith(image.manifests[0]!.digest)) return false
      response.writeHead(404).end()
      return true
    }

    await expect(engine.submit(order, last!, undefined, never)).rejects.toMatchObject({ code: 'PH6003' })

    expect(cache.asked.some((one) => one.endsWith(image.digest))).toBe(false)
  })

  test('puts the path of the endpoint before the repository', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)

    await readAll(engineOf(`${cache.endpoint}/hub`), orderOf(image))

    expect(cache.requests.map(({ path }) => path)).toEqual(
      expect.arrayContaining([`/v2/hub/library/app/manifests/${image.digest}`]),
    )
    expect(cache.requests.every(({ path }) => path.startsWith('/v2/hub/library/app/'))).toBe(true)
  })

  test('asks for nothing in the name of a repository that is no OCI name', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)

    for (const repository of ['../library', 'a//b', 'a?b', 'a%2fb', 'a'.repeat(256)])
      await expect(readAll(engineOf(cache.endpoint), orderOf(image, { repository }))).rejects.toMatchObject({
        fault: 'rejected',
        code: 'PH5002',
      })

    expect(cache.requests).toEqual([])
  })

  test('is of four blobs at once and no more', async () => {
    const image = buildImage({ layers: 12 })
    const cache = await cacheOf(image)
    const waiting: (() => void)[] = []
    cache.interfere = (request, response) => {
      if (!request.url!.includes('/blobs/')) return false
      waiting.push(() => {
        cache.serve(request.url!, response)
      })
      return true
    }
    const done = readAll(engineOf(cache.endpoint), orderOf(image))
    for (let served = 0; served < 13; served += 1) {
      await vi.waitFor(() => {
        expect(waiting.length).toBe(Math.min(4, 13 - served))
      })
      waiting.shift()!()
    }

    await done
    expect(cache.load.most).toBe(4)
  })

  test('keeps to the provider’s submissions at once', async () => {
    const image = buildImage({ layers: 1 })
    const cache = await cacheOf(image)
    const limits = { submitsInFlight: 1, requestsPerSecond: 100_000 }
    const engine = engineOf(cache.endpoint, { limits })
    const order = orderOf(image)
    const [job] = await engine.jobs(order, never)
    const manifest = `manifests/${image.digest}`

    await Promise.all([engine.submit(order, job!, undefined, never), engine.submit(order, job!, undefined, never)])

    expect(cache.asked.map((one) => one === manifest)).toEqual([true, false, false, true, false, false])
  })

  test('does not keep a large layer: 64 MiB go through where 1 MiB is the most that is kept', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    const piece = Buffer.alloc(65_536, 7)
    const hash = createHash('sha256')
    for (let hashed = 0; hashed < 1024; hashed += 1) hash.update(piece)
    const layer = { digest: parseDigest(`sha256:${hash.digest('hex')}`), sizeBytes: 64 * 2 ** 20 }
    cache.interfere = (request, response) => {
      if (!request.url!.endsWith(layer.digest)) return false
      Readable.from(Array<Buffer>(1024).fill(piece)).pipe(response)
      return true
    }
    const { manifests, ...rest } = orderOf(image)
    const order = { ...rest, manifests: manifests.map((one) => ({ ...one, blobs: [layer] })) }

    expect(await readAll(engineOf(cache.endpoint), order)).toHaveLength(1)
  })

  test('that another restart finds done is believed by its id, and a foreign id is not', async () => {
    const image = buildImage()
    const order = orderOf(image)
    const engine = engineOf('http://127.0.0.1:9')
    const [job] = await engine.jobs(order, never)

    expect(await engine.observe(order, opened(job!, `read-${job!.manifest}`), never)).toEqual({
      kind: 'ended',
      verdict: {
        said: 'success',
        claims: {
          kind: 'read_through',
          source: 'observed',
          cached: image.manifests[0]!.blobs.map(({ digest }) => digest),
          peers: 1,
        },
        message: undefined,
      },
    })
    const foreign = opened(job!, `read-${buildImage().digest}`)
    expect(await engine.observe(order, foreign, never)).toMatchObject({ verdict: { said: 'gone', claims: undefined } })
  })

  test('is the only way to know: a look that has no effect does not exist, and asks for nothing', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    const engine = engineOf(cache.endpoint)
    const [job] = await engine.jobs(orderOf(image), never)

    expect(await engine.probe(orderOf(image), job!, undefined, never)).toEqual({
      kind: 'ended',
      claims: undefined,
      message: 'a pull-through cache cannot be looked at: asked for a blob, it fetches it',
    })
    expect(await engine.find(orderOf(image), job!, never)).toBeUndefined()
    expect(cache.requests).toEqual([])
  })

  test('is looked at at once and overdue after the order’s own time', () => {
    const engine = engineOf('http://127.0.0.1:9')

    expect(engine.nextLook(EXAMPLE_AT, EXAMPLE_AT)).toBe(EXAMPLE_AT + 1)
    expect(engine.overdueAt(orderOf(buildImage(), { timeoutMs: 7_000 }), EXAMPLE_AT)).toBe(EXAMPLE_AT + 7_000)
  })
})

/** What a cache does to the last blob, and what becomes of it. */
const misdeeds: readonly (readonly [
  string,
  (response: ServerResponse, bytes: Buffer) => void,
  { readonly fault: string; readonly code: string; readonly retryAfterMs?: number | undefined },
])[] = [
  ['other bytes', (r, b) => r.end(Buffer.alloc(b.length)), { fault: 'unintelligible', code: 'PH6008' }],
  ['one byte more', (r, b) => r.end(Buffer.concat([b, b.subarray(0, 1)])), { fault: 'unintelligible', code: 'PH6008' }],
  [
    'a whole answer that is too short',
    (r, b) => r.writeHead(200, { 'content-length': 10 }).end(b.subarray(0, 10)),
    { fault: 'unintelligible', code: 'PH6008' },
  ],
  [
    'bytes without end',
    (r, b) => {
      const more = () => {
        while (r.write(b));
        r.once('drain', more)
      }
      more()
    },
    { fault: 'unintelligible', code: 'PH6008' },
  ],
  [
    'a connection cut within the length it named',
    (r, b) => {
      r.writeHead(200, { 'content-length': b.length }).write(b.subarray(0, 10), () => r.destroy())
    },
    { fault: 'unavailable', code: 'PH5001' },
  ],
  [
    'a connection that ends early without a length',
    (r, b) => {
      r.removeHeader('transfer-encoding')
      r.shouldKeepAlive = false
      r.writeHead(200).end(b.subarray(0, 10))
    },
    { fault: 'unavailable', code: 'PH5001' },
  ],
  ['a reset', (r) => r.destroy(), { fault: 'unavailable', code: 'PH5001' }],
  ['nothing', () => undefined, { fault: 'unavailable', code: 'PH5001' }],
  ['half and then nothing', (r, b) => r.write(b.subarray(0, 10)), { fault: 'unavailable', code: 'PH5001' }],
  ['404', (r) => r.writeHead(404).end(), { fault: 'rejected', code: 'PH6003' }],
  ['401', (r) => r.writeHead(401).end(), { fault: 'rejected', code: 'PH5007' }],
  ['403', (r) => r.writeHead(403).end(), { fault: 'rejected', code: 'PH5007' }],
  [
    '429 with a delay',
    (r) => r.writeHead(429, { 'retry-after': '17' }).end(),
    { fault: 'unavailable', code: 'PH5001', retryAfterMs: 17_000 },
  ],
  ['429', (r) => r.writeHead(429).end(), { fault: 'unavailable', code: 'PH5001', retryAfterMs: 5_000 }],
  ['500', (r) => r.writeHead(500).end(), { fault: 'unavailable', code: 'PH5001', retryAfterMs: undefined }],
  [
    '503',
    (r) => r.writeHead(503, { 'retry-after': '2' }).end(),
    { fault: 'unavailable', code: 'PH5001', retryAfterMs: 2_000 },
  ],
  [
    '500 for the rate limit of its upstream',
    (r) =>
      r.writeHead(500, json).end('{"errors":[{"code":"UNKNOWN","detail":{"errors":[{"code":"TOOMANYREQUESTS"}]}}]}'),
    { fault: 'unavailable', code: 'PH5001', retryAfterMs: 5_000 },
  ],
  [
    '500 and words that are none',
    (r) => r.writeHead(500, json).end('{"errors":[null]}'),
    { fault: 'unavailable', code: 'PH5001' },
  ],
  ['418', (r) => r.writeHead(418).end(), { fault: 'rejected', code: 'PH5002' }],
  ['204', (r) => r.writeHead(204).end(), { fault: 'unintelligible', code: 'PH5008' }],
  ['206', (r, b) => r.writeHead(206).end(b), { fault: 'unintelligible', code: 'PH5008' }],
  [
    'an error page of 2 MiB',
    (r) => r.writeHead(500).end(Buffer.alloc(2 ** 21)),
    { fault: 'unintelligible', code: 'PH5008' },
  ],
  [
    'a redirect to itself',
    (r) => r.writeHead(307, { location: r.req.url! }).end(),
    { fault: 'unintelligible', code: 'PH5008' },
  ],
  [
    'a redirect to a file',
    (r) => r.writeHead(307, { location: 'file:///etc/passwd' }).end(),
    { fault: 'unintelligible', code: 'PH5008' },
  ],
  ['a redirect to nowhere', (r) => r.writeHead(307).end(), { fault: 'unintelligible', code: 'PH5008' }],
  [
    'a redirect to a metadata service',
    (r) => r.writeHead(307, { location: 'http://169.254.169.254/latest/' }).end(),
    { fault: 'rejected', code: 'PH3013' },
  ],
]

describe('a cache that answers for a blob with', () => {
  test.each(misdeeds)('%s', async (_name, misdeed, expected) => {
    const image = buildImage({ layers: 3, layerBytes: 50_000 })
    const cache = await cacheOf(image)
    const blob = image.manifests[0]!.blobs.at(-1)!
    cache.interfere = (request, response) => {
      if (!request.url!.endsWith(blob.digest)) return false
      misdeed(response, image.blobs.get(blob.digest)!)
      return true
    }
    const order = orderOf(image, { timeoutMs: 400 })
    const engine = engineOf(cache.endpoint)
    const [job] = await engine.jobs(order, never)

    const failure: unknown = await engine.submit(order, job!, undefined, never).catch((error: unknown) => error)

    expect(failure).toMatchObject({ name: 'EdgeError', ...expected })
    expect(failure).toMatchObject({ message: expect.stringContaining('provider edge-cache') })
  })

  test('an error is asked for nothing more, and what is under way is cut off', async () => {
    const image = buildImage({ layers: 9 })
    const cache = await cacheOf(image)
    const [, second] = image.manifests[0]!.blobs
    let cut = 0
    cache.interfere = (request, response) => {
      if (!request.url!.includes('/blobs/')) return false
      if (request.url!.endsWith(second!.digest)) {
        void vi
          .waitFor(() => {
            expect(cache.load.now).toBe(4)
          })
          .then(() => response.writeHead(404).end())
      } else response.on('close', () => (cut += 1))
      return true
    }

    await expect(readAll(engineOf(cache.endpoint), orderOf(image))).rejects.toMatchObject({
      code: 'PH6003',
      message: expect.stringContaining(second!.digest),
    })

    await vi.waitFor(() => {
      expect(cut).toBe(3)
    })
    expect(cache.asked.filter((one) => one.startsWith('blobs/'))).toHaveLength(4)
  })

  test('429 is left alone for as long as it says', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    const clock = new ManualClock(EXAMPLE_AT)
    const engine = engineOf(cache.endpoint, {}, { clock })
    const order = orderOf(image)
    const [job] = await engine.jobs(order, never)
    cache.interfere = (_request, response) => {
      response.writeHead(429, { 'retry-after': '17' }).end()
      return true
    }
    await expect(engine.submit(order, job!, undefined, never)).rejects.toMatchObject({ retryAfterMs: 17_000 })
    cache.interfere = () => false

    const later = engine.submit(order, job!, undefined, never)
    await vi.waitFor(() => {
      expect(clock.nextWake).toBeGreaterThanOrEqual(EXAMPLE_AT + 17_000)
    })
    expect(cache.requests).toHaveLength(1)
    clock.advance(18_000)

    expect(await later).toBe(`read-${image.digest}`)
  })

  test('our own credential in its words does not get it into the message', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    cache.interfere = (request, response) => {
      const errors = [{ code: 'DENIED', message: `no such user: ${request.headers.authorization!} cache-password` }]
      response.writeHead(403, json).end(JSON.stringify({ errors }))
      return true
    }

    const failure = readAll(engineOf(cache.endpoint, { auth: account }), orderOf(image))

    await expect(failure).rejects.toMatchObject({ message: expect.stringContaining('DENIED: no such user: [secret]') })
    await expect(failure).rejects.toMatchObject({ message: expect.not.stringContaining('cache-password') })
  })
})

describe('a redirect', () => {
  test('to another host is followed without the credential, and back without it too', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    const storage = await cacheOf(image)
    const [, direct, thereAndBack] = image.manifests[0]!.blobs
    cache.interfere = (request, response) => {
      const there = request.url!.endsWith(direct!.digest) || request.url!.endsWith(thereAndBack!.digest)
      if (!there || request.url!.startsWith('/back')) return false
      response.writeHead(307, { location: `${storage.endpoint}${request.url!}` }).end()
      return true
    }
    storage.interfere = (request, response) => {
      if (!request.url!.endsWith(thereAndBack!.digest)) return false
      response.writeHead(302, { location: `${cache.endpoint}/back${request.url!}` }).end()
      return true
    }

    expect(await readAll(engineOf(cache.endpoint, { auth: account }), orderOf(image))).toHaveLength(1)

    expect(storage.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
    for (const { path, headers } of cache.requests)
      expect(headers.authorization).toBe(path.startsWith('/back') ? undefined : BASIC)
    expect(cache.requests.filter(({ path }) => path.startsWith('/back'))).toHaveLength(1)
  })

  test('on the cache itself is followed with it', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    cache.interfere = (request, response) => {
      if (request.url!.startsWith('/v2/library/')) {
        response.writeHead(301, { location: request.url!.replace('/v2/', '/v2/moved/') }).end()
        return true
      }
      return false
    }

    await readAll(engineOf(cache.endpoint, { auth: account }), orderOf(image))

    expect(cache.requests.filter(({ path }) => path.startsWith('/v2/moved/library/app/'))).toHaveLength(4)
    expect(cache.requests.every(({ headers }) => headers.authorization === BASIC)).toBe(true)
  })

  test('to content that was altered there is found out', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    const storage = await cacheOf(image)
    const layer = image.manifests[0]!.blobs[1]!
    cache.interfere = (request, response) => {
      if (!request.url!.endsWith(layer.digest)) return false
      response.writeHead(307, { location: `${storage.endpoint}/x` }).end()
      return true
    }
    storage.interfere = (_request, response) => {
      response.end(Buffer.alloc(layer.sizeBytes))
      return true
    }

    await expect(readAll(engineOf(cache.endpoint), orderOf(image))).rejects.toMatchObject({ code: 'PH6008' })
  })

  test('to a signed address that has expired is no fault of our credential', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    const storage = await cacheOf(image)
    cache.interfere = (request, response) => {
      if (!request.url!.includes('/blobs/')) return false
      response.writeHead(307, { location: `${storage.endpoint}/x` }).end()
      return true
    }
    storage.interfere = (_request, response) => {
      const challenge = { 'www-authenticate': `Bearer realm="${cache.endpoint}/token"` }
      response.writeHead(401, challenge).end()
      return true
    }

    await expect(readAll(engineOf(cache.endpoint, { auth: account }), orderOf(image))).rejects.toMatchObject({
      fault: 'unavailable',
      code: 'PH5001',
    })
    expect(cache.asked).not.toContain('/token')
  })
})

describe('the credential', () => {
  /** Makes a cache want tokens of a service of its own, or of the realm that is given. */
  function wantTokens(cache: FakeCache, accepts: (authorization: string | undefined) => boolean, realm?: string) {
    let minted = 0
    cache.interfere = (request, response) => {
      if (request.url!.startsWith('/token')) {
        minted += 1
        response.writeHead(200, json).end(JSON.stringify({ token: `minted-${minted}`, expires_in: 300 }))
        return true
      }
      if (accepts(request.headers.authorization)) return false
      const challenge = `Bearer realm="${realm ?? `${cache.endpoint}/token`}",service="the cache",scope="ignored"`
      response.writeHead(401, { 'www-authenticate': challenge }).end()
      return true
    }
  }
  const isMinted = (authorization: string | undefined) => authorization?.startsWith('Bearer minted-') === true

  test.each([
    ['an account', account, BASIC],
    ['nobody', { type: 'none' } as const, undefined],
  ])('of %s is exchanged for a token where the cache has a token service, once', async (_who, auth, sent) => {
    const image = buildImage()
    const cache = await cacheOf(image)
    wantTokens(cache, isMinted)
    const engine = engineOf(`${cache.endpoint}/hub`, { auth })

    await readAll(engine, orderOf(image))
    await readAll(engine, orderOf(image))

    const tokens = cache.requests.filter(({ path }) => path.startsWith('/token'))
    expect(tokens.map(({ path }) => path)).toEqual([
      '/token?service=the+cache&scope=repository%3Ahub%2Flibrary%2Fapp%3Apull',
    ])
    expect(tokens[0]!.headers.authorization).toBe(sent)
    expect(cache.requests.filter(({ headers }) => isMinted(headers.authorization))).toHaveLength(8)
  })

  test('is proved by health through the token service too', async () => {
    const cache = await cacheOf(buildImage())
    wantTokens(cache, isMinted)

    expect(await engineOf(cache.endpoint, { auth: account }).health(never)).toMatchObject({ ok: true })
    expect(cache.requests.map(({ path }) => path)).toEqual(['/v2/', '/token?service=the+cache', '/v2/'])
  })

  test('that was minted and is not taken any more is replaced once, and then given up [E11]', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    let taken = 'Bearer minted-1'
    wantTokens(cache, (authorization) => authorization === taken)
    const engine = engineOf(cache.endpoint, { auth: account })
    await readAll(engine, orderOf(image))

    taken = 'Bearer minted-2'
    await readAll(engine, orderOf(image))
    taken = 'none'

    await expect(readAll(engine, orderOf(image))).rejects.toMatchObject({ fault: 'rejected', code: 'PH5007' })
    expect(cache.requests.filter(({ path }) => path.startsWith('/token'))).toHaveLength(3)
  })

  test('that was minted is renewed before its life is over', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    wantTokens(cache, isMinted)
    const clock = new ManualClock(EXAMPLE_AT)
    const engine = engineOf(cache.endpoint, { auth: account }, { clock })
    await readAll(engine, orderOf(image))

    clock.advance(239_000)
    await readAll(engine, orderOf(image))
    expect(cache.requests.filter(({ path }) => path.startsWith('/token'))).toHaveLength(1)
    clock.advance(2_000)
    await readAll(engine, orderOf(image))

    expect(cache.requests.filter(({ path }) => path.startsWith('/token'))).toHaveLength(2)
  })

  test('goes back to the account when the cache lays its token service off', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    wantTokens(cache, isMinted)
    const engine = engineOf(cache.endpoint, { auth: account })
    await readAll(engine, orderOf(image))
    cache.interfere = (request, response) => {
      if (request.headers.authorization === BASIC) return false
      response.writeHead(401, { 'www-authenticate': 'Basic realm="cache"' }).end()
      return true
    }

    expect(await readAll(engine, orderOf(image))).toHaveLength(1)
  })

  test('does not go to a token service of another domain', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    wantTokens(cache, isMinted, 'https://thief.example.net/token')

    await expect(readAll(engineOf(cache.endpoint, { auth: account }), orderOf(image))).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH5008',
      message: expect.stringContaining('thief.example.net'),
    })
  })

  test('that the token service refuses is refused', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    cache.interfere = (request, response) => {
      const challenge = { 'www-authenticate': `Bearer realm="${cache.endpoint}/token"` }
      response.writeHead(401, request.url!.startsWith('/token') ? {} : challenge).end()
      return true
    }

    await expect(readAll(engineOf(cache.endpoint, { auth: account }), orderOf(image))).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH5007',
    })
  })

  test('is not a token that cannot stand in a header', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    cache.interfere = (request, response) => {
      if (request.url!.startsWith('/token')) response.writeHead(200, json).end('{"token":"a\\r\\nb"}')
      else response.writeHead(401, { 'www-authenticate': `Bearer realm="${cache.endpoint}/token"` }).end()
      return true
    }

    await expect(readAll(engineOf(cache.endpoint), orderOf(image))).rejects.toMatchObject({
      fault: 'unintelligible',
      code: 'PH5008',
    })
  })

  test.each([
    ['oauth', { type: 'bearer', secret: 'cache' } as const, 'authorization', 'Bearer static-token'],
    ['custom', { type: 'custom', secret: 'cache', header: 'X-Api-Key' } as const, 'x-api-key', 'key-value'],
  ])('of mode %s is sent as it is and exchanged for nothing', async (_mode, auth, name, value) => {
    const image = buildImage()
    const cache = await cacheOf(image)
    const engine = engineOf(cache.endpoint, { auth })
    await readAll(engine, orderOf(image))
    wantTokens(cache, isMinted)

    await expect(readAll(engine, orderOf(image))).rejects.toMatchObject({ fault: 'rejected', code: 'PH5007' })

    expect(cache.requests.map(({ headers }) => headers[name])).toEqual(Array(5).fill(value))
  })

  test('for the upstream is not shown to the cache', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)

    await readAll(engineOf(cache.endpoint), orderOf(image))

    expect(JSON.stringify(cache.requests)).not.toContain(PULL_TOKEN.reveal().slice('Bearer '.length))
    expect(cache.requests.every(({ headers }) => headers.authorization === undefined)).toBe(true)
  })

  test('that was rotated is used at the next request', async () => {
    const image = buildImage()
    const cache = await cacheOf(image)
    let password = 'old'
    const read: ReadSecret = (_name, key) => Promise.resolve(new Secret(key === 'username' ? 'reader' : password))
    const engine = engineOf(cache.endpoint, { auth: account }, { read })
    await readAll(engine, orderOf(image))
    cache.requests.length = 0
    password = 'new'

    await readAll(engine, orderOf(image))

    const rotated = `Basic ${Buffer.from('reader:new').toString('base64')}`
    expect(cache.requests.every(({ headers }) => headers.authorization === rotated)).toBe(true)
  })
})

describe('health', () => {
  test('tells a web server from a registry', async () => {
    const cache = await cacheOf(buildImage())
    cache.interfere = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>It works!</h1>')
      return true
    }

    expect(await engineOf(cache.endpoint).health(never)).toEqual({
      ok: false,
      code: 'PH5008',
      detail: expect.stringContaining('no registry'),
    })
  })

  test('asks at the root of the host, whatever the endpoint’s path', async () => {
    const cache = await cacheOf(buildImage())

    expect(await engineOf(`${cache.endpoint}/hub`).health(never)).toMatchObject({ ok: true })
    expect(cache.requests.map(({ path }) => path)).toEqual(['/v2/'])
  })
})

test('a job that is not of the order is refused', async () => {
  const order = orderOf(buildImage())
  const engine = engineOf('http://127.0.0.1:9')
  const [job] = await engine.jobs(order, never)
  const foreign = { ...job!, manifest: parseDigest(buildImage().digest) }

  await expect(engine.submit(order, foreign, undefined, never)).rejects.toMatchObject({ code: 'PH5002' })
})
