import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { describesAnEngine } from '../contract/engine-contract.ts'
import { REAL_LOOKS_MS, TOKEN } from '../doubles/dragonfly.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT, digest, manifest, order, provider } from '../support/examples.ts'
import {
  PULL_TOKEN,
  ScriptedServer,
  blobs,
  dragonflyEngine,
  dragonflyStage,
  never,
  opened,
  type Script,
} from '../support/engine.ts'
import type { Engine, WantedJob } from '../../src/engine/engine.ts'
import type { Provider } from '../../src/model/provider.ts'
import { pumped } from '../support/pump.ts'
import { Secret } from '../../src/model/secret.ts'
import type { Job, Order } from '../../src/model/task.ts'

const DEAD = 'http://127.0.0.1:9'
const secrets = [TOKEN, PULL_TOKEN.reveal().slice('Bearer '.length)]
const authorization = PULL_TOKEN
const job: WantedJob = {
  key: `${digest(1)}@2`,
  manifest: digest(1),
  cluster: { id: '2', name: 'eu-1' },
  ids: [],
  state: 'wanted',
}

/** Submits the one job of an order and looks at it. */
async function preheat(engine: Engine, what: Order, auth: Secret | undefined = authorization) {
  const [first] = await engine.jobs(what, never)
  const id = await engine.submit(what, first!, auth, never)
  return await engine.observe(what, opened(first!, id), never)
}

function limits(submitsInFlight: number, requestsPerSecond: number): Pick<Provider, 'limits'> {
  return { limits: { submitsInFlight, requestsPerSecond } }
}

async function scripted(script: Script): Promise<{ server: ScriptedServer; engine: Engine } & AsyncDisposable> {
  const server = await ScriptedServer.start(script)
  const engine = dragonflyEngine({ endpoint: server.endpoint })
  return {
    server,
    engine,
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

describe('Dragonfly', () => {
  describesAnEngine(
    async () => {
      const stage = await dragonflyStage({}, { dragonfly: { ...provider().dragonfly, pollScheduleMs: [5, 3_600_000] } })
      const settle = () => Promise.resolve()
      return { ...stage, authorization, secrets, settle, [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose]() }
    },
    () => {
      const engine = dragonflyEngine({ endpoint: DEAD })
      const settle = () => Promise.resolve()
      return Promise.resolve({
        engine,
        order: order(),
        authorization,
        secrets,
        settle,
        [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
      })
    },
  )
})

describe('a submission', () => {
  const json = { 'content-type': 'application/json' }

  test('names the platform manifest by digest, its cluster, its time in nanoseconds and the pull token', async () => {
    await using stage = await scripted({ status: 200, body: '{"id":17}', headers: json })
    const what = order({ manifests: [manifest({ platform: 'linux/arm/v7' })], timeoutMs: 90_000, scope: 'all_peers' })

    expect(await stage.engine.submit(what, job, authorization, never)).toBe('17')

    const [seen] = stage.server.seen
    expect(seen?.line).toBe('POST /oapi/v1/jobs')
    expect(seen?.headers).toMatchObject({ authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' })
    expect(JSON.parse(seen!.body)).toEqual({
      type: 'preheat',
      bio: `preheatd/${what.taskId}/${digest(1)}@2`,
      args: {
        type: 'image',
        url: `https://harbor.example.com/v2/library/app/manifests/${digest(1)}`,
        scope: 'all_peers',
        timeout: 90_000_000_000,
        headers: { Authorization: PULL_TOKEN.reveal() },
        platform: 'linux/arm/v7',
      },
      scheduler_cluster_ids: [2],
    })
  })

  test('says nothing of what is not known: no token, no platform, no cluster', async () => {
    await using stage = await scripted({ status: 200, body: '{"id":17}', headers: json })

    await stage.engine.submit(order(), { ...job, cluster: undefined }, undefined, never)

    const sent = JSON.parse(stage.server.seen[0]!.body) as { args: object }
    expect(Object.keys(sent)).toEqual(['type', 'bio', 'args'])
    expect(Object.keys(sent.args)).toEqual(['type', 'url', 'scope', 'timeout'])
  })

  test.each(['../../oapi/v1/jobs', 'a/../b', 'a//b', '/a', 'a?x=', 'a%2fb', 'a b', 'a\nb', '', 'a'.repeat(256)])(
    'a repository called %j gets into no URL',
    async (repository) => {
      await using stage = await scripted({ status: 200, body: '{"id":17}', headers: json })

      await expect(stage.engine.submit(order({ repository }), job, undefined, never)).rejects.toMatchObject({
        fault: 'rejected',
        code: 'PH5002',
      })
      expect(stage.server.seen).toEqual([])
    },
  )

  const html = { 'content-type': 'text/html' }
  const plain = { 'content-type': 'text/plain; charset=utf-8' }
  const says = (message: string) => JSON.stringify({ message })
  test.each<[string, Script, object]>([
    [
      'a token that is not known',
      { status: 401, body: says('Unauthorized') },
      { fault: 'rejected', code: 'PH5007', message: /Unauthorized/ },
    ],
    [
      'a token that is inactive',
      { status: 403, body: says('Token is inactive') },
      { fault: 'rejected', code: 'PH5007', message: /Token is inactive/ },
    ],
    [
      'a console in place of the API',
      { status: 301, headers: { location: '/' } },
      { fault: 'unintelligible', code: 'PH5008', message: /REST address/ },
    ],
    [
      'nobody at this path',
      { status: 404, body: '<html>', headers: html },
      { fault: 'unintelligible', code: 'PH5008', message: /REST address/ },
    ],
    [
      'a page with status 200',
      { status: 200, body: '<html>hello', headers: html },
      { fault: 'unintelligible', code: 'PH5008', message: /REST address/ },
    ],
    [
      'words that are not a manager’s at this path',
      { status: 404, body: says('no Route matched') },
      { fault: 'unintelligible', code: 'PH5008', message: /REST address/ },
    ],
    ['a gateway that waited long enough', { status: 408, body: '' }, { fault: 'unavailable', code: 'PH5001' }],
    [
      'a URL that it does not understand',
      { status: 500, body: says('parse access url failed') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    ['no URL', { status: 500, body: says('invalid params: url is required') }, { fault: 'rejected', code: 'PH5002' }],
    ['args that it does not see', { status: 500, body: says('unknown preheat type') }, { fault: 'rejected' }],
    [
      'a registry that answers 404 without JSON',
      { status: 500, body: says('error parsing HTTP 404 response body: invalid character: "<html>"') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    [
      'a registry that answers 429 without JSON',
      { status: 500, body: says('error parsing HTTP 429 response body: "slow down"') },
      { fault: 'unavailable', code: 'PH5001' },
    ],
    [
      'a manifest that is not there, as managers after 2.5.1 say it',
      { status: 500, body: says('failed to pull image manifest: manifest unknown: manifest unknown') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    [
      'an account that may not pull, as managers after 2.5.1 say it',
      { status: 500, body: says('failed to authenticate with registry: denied: requested access') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    ['an id that is none', { status: 200, body: '{"id":"17"}' }, { fault: 'unintelligible', code: 'PH5008' }],
    ['a fraction for an id', { status: 200, body: '{"id":1.5}' }, { fault: 'unintelligible', code: 'PH5008' }],
    ['null', { status: 200, body: 'null' }, { fault: 'unintelligible', code: 'PH5008' }],
    ['201', { status: 201, body: '{"id":17}' }, { fault: 'unintelligible', code: 'PH5008' }],
    [
      'a body that does not bind',
      { status: 422, body: '{"errors":"EOF"}' },
      { fault: 'rejected', code: 'PH5002', message: /HTTP 422: EOF$/ },
    ],
    [
      'the same, said twice',
      { status: 422, body: '{"errors":"a \\"b\\""}{"errors":"a \\"b\\""}' },
      { fault: 'rejected', code: 'PH5002', message: /HTTP 422: a "b"$/ },
    ],
    [
      'a limit',
      { status: 429, body: 'rate limit exceeded', headers: plain },
      { fault: 'unavailable', code: 'PH5001', retryAfterMs: 1000, message: /rate limit exceeded.*unknown cluster/ },
    ],
    [
      'a limit that names a delay',
      { status: 429, headers: { 'retry-after': '7' } },
      { fault: 'unavailable', retryAfterMs: 7000 },
    ],
    [
      'a limit that names no delay worth the name',
      { status: 429, headers: { 'retry-after': '0' } },
      { fault: 'unavailable', retryAfterMs: 1000 },
    ],
    [
      'a limit that names an hour',
      { status: 429, headers: { 'retry-after': '3600' } },
      { fault: 'unavailable', retryAfterMs: 300_000 },
    ],
    [
      'a limit that names nonsense',
      { status: 429, headers: { 'retry-after': 'soon' } },
      { fault: 'unavailable', retryAfterMs: 1000 },
    ],
    [
      'an error of its own',
      { status: 500, body: says('Internal Server Error') },
      { fault: 'unavailable', code: 'PH5001', message: /Internal Server Error/ },
    ],
    [
      'a registry that is down',
      { status: 500, body: says('received unexpected HTTP status: 502 Bad Gateway') },
      { fault: 'unavailable', code: 'PH5001' },
    ],
    [
      'a registry that cannot be reached',
      { status: 500, body: says('Get "http://r/v2/": dial tcp 10.0.0.1:80: connect: connection refused') },
      { fault: 'unavailable' },
    ],
    [
      'a gateway',
      { status: 502, body: '<html>', headers: html },
      { fault: 'unavailable', code: 'PH5001', message: /HTTP 502$/ },
    ],
    [
      'a gateway that names a delay',
      { status: 503, headers: { 'retry-after': '9' } },
      { fault: 'unavailable', retryAfterMs: 9000 },
    ],
    [
      'a pull token that is refused',
      { status: 500, body: says('Get "https://r/v2/a/manifests/1": unauthorized: nope') },
      { fault: 'rejected', code: 'PH5002', message: /unauthorized: nope/ },
    ],
    [
      'an account that may not pull',
      { status: 500, body: says('denied: requested access to the resource is denied') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    [
      'a certificate of the registry that nobody signed',
      {
        status: 500,
        body: says(
          'Get "https://r/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority',
        ),
      },
      { fault: 'rejected', code: 'PH5002', message: /unknown authority; .*job\.preheat\.tls$/ },
    ],
    [
      'a registry without TLS behind https',
      { status: 500, body: says('Get "https://r/v2/": http: server gave HTTP response to HTTPS client') },
      { fault: 'rejected', code: 'PH5002', message: /scheme of engineEndpoint/ },
    ],
    [
      'a port of a registry that speaks no TLS',
      { status: 500, body: says('Get "https://r/v2/": tls: first record does not look like a TLS handshake') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    [
      'a registry that wants a client certificate',
      { status: 500, body: says('Get "https://r/v2/": remote error: tls: certificate required') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    [
      'a handshake that timed out',
      { status: 500, body: says('Get "https://r/v2/": net/http: TLS handshake timeout') },
      { fault: 'unavailable', code: 'PH5001' },
    ],
    [
      'a handshake that failed inside the registry',
      { status: 500, body: says('Get "https://r/v2/": remote error: tls: internal error') },
      { fault: 'unavailable', code: 'PH5001' },
    ],
    [
      'a manifest that is not there',
      { status: 500, body: says('manifest unknown: manifest unknown') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    [
      'a repository that is not there',
      { status: 500, body: says('name unknown: repository name not known') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    [
      'a platform that is not there',
      { status: 500, body: says('no matching manifest for platform linux/riscv64') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    [
      'a loopback registry',
      { status: 500, body: says('dial tcp 127.0.0.1:5000: ip 127.0.0.1 is invalid') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    [
      'a cluster without scheduler',
      { status: 500, body: says('candidate schedulers not found') },
      { fault: 'rejected', code: 'PH5002' },
    ],
    [
      'no scheduler at all',
      { status: 500, body: says('active schedulers not found') },
      { fault: 'rejected', code: 'PH5002' },
    ],
  ])('answered with %s', async (_, script, { message, ...expected }: { message?: RegExp }) => {
    await using stage = await scripted(script)

    const error: unknown = await stage.engine.submit(order(), job, authorization, never).catch((e: unknown) => e)

    expect(error).toMatchObject({
      name: 'EdgeError',
      message: expect.stringMatching(/^provider dragonfly-eu /),
      ...expected,
    })
    if (message) expect(error).toMatchObject({ message: expect.stringMatching(message) })
    expect(stage.server.seen).toHaveLength(1)
  })

  test('what a manager echoes of a credential is taken out of the message', async () => {
    const password = 'correct horse battery'
    const basic = new Secret(`Basic ${Buffer.from(`robot:${password}`).toString('base64')}`)
    const spellings = [
      TOKEN,
      basic.reveal(),
      password,
      Buffer.from(password).toString('base64'),
      encodeURIComponent(password),
    ]

    for (const spelling of spellings) {
      await using stage = await scripted({ status: 500, body: JSON.stringify({ message: `bad header ${spelling}` }) })
      const error: unknown = await stage.engine.submit(order(), job, basic, never).catch((e: unknown) => e)

      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(spelling)
      expect(error).toMatchObject({ message: expect.stringContaining('bad header [secret]') })
    }
  })

  test('a registry that wants another token, as a manager tells it', async () => {
    await using stage = await dragonflyStage()

    await expect(preheat(stage.engine, stage.order, new Secret('Bearer wrong'))).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH5002',
      message: expect.stringContaining('unauthorized: authentication required'),
    })
  })

  test('a digest that the registry does not have, as a manager tells it', async () => {
    await using stage = await dragonflyStage()

    await expect(preheat(stage.engine, { ...stage.order, manifests: [manifest()] })).rejects.toMatchObject({
      code: 'PH5002',
      message: expect.stringContaining('manifest unknown'),
    })
  })

  test('a manager that refuses loopback registries, as all real ones do', async () => {
    await using stage = await dragonflyStage({ refusesLoopback: true })

    await expect(preheat(stage.engine, stage.order)).rejects.toMatchObject({
      code: 'PH5002',
      message: expect.stringContaining('ip 127.0.0.1 is invalid'),
    })
  })

  test('a manager that takes the job and cuts the connection is unavailable: nobody knows [E4]', async () => {
    await using stage = await dragonflyStage()
    stage.manager.troubleNext(1, 'POST', { kind: 'cut' })

    await expect(preheat(stage.engine, stage.order)).rejects.toMatchObject({ fault: 'unavailable', code: 'PH5001' })
    expect(stage.manager.posts).toMatchObject([{ jobId: 1 }])
  })
})

describe('limits', () => {
  test('no more submissions are in flight at once than the Provider allows', async () => {
    await using stage = await dragonflyStage({ requestsPerSecond: 1000 }, limits(3, 1000))
    const { engine, manager } = stage
    manager.trouble = (request) => (request.startsWith('POST') ? { kind: 'slow', ms: 20 } : undefined)
    const [first] = await engine.jobs(stage.order, never)

    await Promise.all(Array.from({ length: 12 }, () => engine.submit(stage.order, first!, authorization, never)))

    expect(manager.posts).toHaveLength(12)
    expect(manager.postsAtOnce).toBe(3)
  })

  test('a cluster gets so many submissions a second, whatever the other gets, and the manager never says 429', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    const clusters = [
      { id: 1, name: 'eu-1' },
      { id: 2, name: 'us-1' },
    ]
    await using stage = await dragonflyStage({ clusters, now: () => clock.now() }, limits(100, 10), clock)
    const { engine, manager } = stage
    const [eu, us] = await engine.jobs(stage.order, never)
    const submit = (one: Job | undefined) => engine.submit(stage.order, one!, authorization, never)

    const all = Promise.all([
      ...Array.from({ length: 25 }, () => submit(eu)),
      ...Array.from({ length: 12 }, () => submit(us)),
    ])
    await expect.poll(() => manager.posts.filter(({ status }) => status === 200).length).toBe(20)
    clock.advance(500)
    await expect.poll(() => manager.posts.filter(({ status }) => status === 200).length).toBe(27)
    clock.advance(1000)
    await all

    const counts = [1, 2].map((id) => manager.posts.filter(({ clusterIds }) => clusterIds?.[0] === id).length)
    expect(counts).toEqual([25, 12])
    expect(manager.posts.every(({ status }) => status === 200)).toBe(true)
  })

  test('after a 429 the others wait as well [E1]', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await dragonflyStage({ now: () => clock.now() }, limits(1, 10), clock)
    const { engine, manager } = stage
    const [first] = await engine.jobs(stage.order, never)
    const body = 'rate limit exceeded'
    manager.troubleNext(1, 'POST', { kind: 'answer', status: 429, body, headers: { 'retry-after': '5' } })

    await expect(engine.submit(stage.order, first!, authorization, never)).rejects.toMatchObject({ retryAfterMs: 5000 })
    const next = engine.submit(stage.order, first!, authorization, never)
    await expect.poll(() => clock.nextWake).toBe(EXAMPLE_AT + 5000)
    expect(manager.posts).toHaveLength(1)
    clock.advance(5000)

    expect(await next).toBe('1')
  })

  test('while a long pause lasts a submission is told how long, without a request', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await dragonflyStage({ now: () => clock.now() }, {}, clock)
    const { engine, manager } = stage
    const [first] = await engine.jobs(stage.order, never)
    const headers = { 'retry-after': '120' }
    manager.troubleNext(1, 'POST', { kind: 'answer', status: 429, body: '', headers })
    await engine.submit(stage.order, first!, authorization, never).catch(() => undefined)
    clock.advance(20_000)

    const second = engine.submit(stage.order, first!, authorization, never)

    await expect(second).rejects.toMatchObject({ fault: 'unavailable', retryAfterMs: 100_000 })
    expect(manager.posts).toHaveLength(1)
    clock.advance(100_000)
    expect(await engine.submit(stage.order, first!, authorization, never)).toBe('1')
  })

  test('of a long pause nothing is left when the clock is set back', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await dragonflyStage({ now: () => clock.now() }, {}, clock)
    const { engine, manager } = stage
    const [first] = await engine.jobs(stage.order, never)
    const headers = { 'retry-after': '120' }
    manager.troubleNext(1, 'POST', { kind: 'answer', status: 429, body: '', headers })
    await engine.submit(stage.order, first!, authorization, never).catch(() => undefined)
    clock.advance(-7_200_000)

    expect(await engine.submit(stage.order, first!, authorization, never)).toBe('1')
  })

  test('a job that was taken ends a row of refusals: it is not asked whether the cluster is there', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await dragonflyStage({ now: () => clock.now() }, {}, clock)
    const { engine, manager } = stage
    const [first] = await engine.jobs(stage.order, never)
    const submit = () => engine.submit(stage.order, first!, authorization, never).catch(() => undefined)
    const limited = { kind: 'answer', status: 429, body: 'rate limit exceeded' } as const
    manager.requests.length = 0

    for (const refusals of [2, 2]) {
      manager.troubleNext(refusals, 'POST', limited)
      for (let i = 0; i <= refusals; i += 1) await pumped(clock, submit())
    }

    expect(manager.posts.map(({ status }) => status)).toEqual([429, 429, 200, 429, 429, 200])
    expect(manager.requests.filter((line) => line.startsWith('GET'))).toEqual([])
  })

  test('looks for blobs count with the submissions to their cluster, and the manager never says 429', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await dragonflyStage({ now: () => clock.now() }, {}, clock)
    const { engine, manager } = stage
    const [first] = await engine.jobs(stage.order, never)
    for (let i = 0; i < 8; i += 1) await engine.submit(stage.order, first!, authorization, never)

    await pumped(clock, engine.probe(stage.order, first!, undefined, never))

    expect(manager.probes.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
    expect(clock.now()).toBeGreaterThan(EXAMPLE_AT)
  })

  test('questions about the manager itself keep to the rate of looks', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await dragonflyStage({ now: () => clock.now() }, limits(16, 2), clock)
    const asked = Array.from({ length: 3 }, () => stage.engine.health(never))

    await Promise.all(asked.slice(0, 2))
    await expect.poll(() => clock.nextWake).toBe(EXAMPLE_AT + 500)
    clock.advance(500)

    expect(await asked[2]).toMatchObject({ ok: true })
  })

  test('looks have a rate of their own', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await dragonflyStage({ now: () => clock.now() }, limits(16, 2), clock)
    const { engine, manager } = stage
    const looks = Array.from({ length: 3 }, () => engine.observe(stage.order, opened(job, '1'), never))

    await Promise.all(looks.slice(0, 2))
    await expect.poll(() => clock.nextWake).toBe(EXAMPLE_AT + 500)
    expect(manager.requests).toHaveLength(2)
    clock.advance(500)

    await Promise.all(looks)
  })

  test('who stops waiting for a turn gives it back at once', async () => {
    await using stage = await dragonflyStage({}, limits(1, 10))
    const { engine, manager } = stage
    const [first] = await engine.jobs(stage.order, never)
    manager.troubleNext(1, 'POST', { kind: 'hang' })
    const stop = new AbortController()
    const leave = new AbortController()
    const reason = new Error('not wanted any more')
    const hung = engine.submit(stage.order, first!, authorization, stop.signal)
    const queued = engine.submit(stage.order, first!, authorization, leave.signal)
    await expect.poll(() => manager.posts.length + manager.postsAtOnce).toBe(1)

    leave.abort(reason)

    await expect(queued).rejects.toBe(reason)
    stop.abort(reason)
    await expect(hung).rejects.toBe(reason)
    expect(await engine.submit(stage.order, first!, authorization, never)).toBe('1')
  })
})

describe('clusters', () => {
  const clusters = [
    { id: 7, name: 'us-1' },
    { id: 2, name: 'eu-1' },
  ]
  const chosen = (jobs: readonly WantedJob[]) =>
    jobs.map(({ key, cluster }) => [key.replace(/^.*@/, ''), cluster?.name])
  const named = (of: Provider['dragonfly']['clusters']): Partial<Provider> => ({
    dragonfly: { ...provider().dragonfly, clusters: of, timeoutMs: 60_000, pollScheduleMs: [30_000] },
  })

  test('all: one job a platform and cluster, in the order of ids', async () => {
    await using stage = await dragonflyStage({ clusters })
    const manifests = [manifest(), manifest({ digest: digest(2) })]

    const jobs = await stage.engine.jobs({ ...stage.order, manifests }, never)

    expect(jobs.map(({ key }) => key)).toEqual([`${digest(1)}@2`, `${digest(1)}@7`, `${digest(2)}@2`, `${digest(2)}@7`])
  })

  test('all, of more clusters than one page', async () => {
    const many = Array.from({ length: 230 }, (_, i) => ({ id: i + 1, name: `c-${i + 1}` }))
    await using stage = await dragonflyStage({ clusters: many })

    expect(await stage.engine.jobs(stage.order, never)).toHaveLength(230)
    expect(stage.manager.requests).toHaveLength(3)
  })

  test('all, where the manager lists none or the token may not list: one job that names no cluster', async () => {
    await using stage = await dragonflyStage({ clusters: [] })
    expect(chosen(await stage.engine.jobs(stage.order, never))).toEqual([['all', undefined]])

    await using narrow = await dragonflyStage({ clusters, tokens: [{ token: TOKEN, scopes: ['job'] }] })
    expect(chosen(await narrow.engine.jobs(narrow.order, never))).toEqual([['all', undefined]])
    const observation = await preheat(narrow.engine, narrow.order)
    expect(narrow.manager.posts).toMatchObject([{ clusterIds: undefined }])
    expect(observation).toMatchObject({
      verdict: { said: 'success', claims: { cached: blobs, peers: expect.any(Number) } },
    })
  })

  test('a job that names no cluster shows a blob only when every cluster has it', async () => {
    await using stage = await dragonflyStage({ clusters, tokens: [{ token: TOKEN, scopes: ['job'] }] })
    stage.manager.outcome = (_, id) => (id === 7 ? { kind: 'partial', missing: 1 } : { kind: 'complete' })

    expect(await preheat(stage.engine, stage.order)).toMatchObject({
      verdict: { said: 'success', claims: { cached: blobs.slice(0, -1) } },
    })
  })

  test('by name, the policy’s own choice before the Provider’s', async () => {
    await using stage = await dragonflyStage({ clusters }, named({ names: ['us-1', 'us-1'] }))

    expect(chosen(await stage.engine.jobs(stage.order, never))).toEqual([['7', 'us-1']])
    expect(chosen(await stage.engine.jobs({ ...stage.order, clusters: ['eu-1'] }, never))).toEqual([['2', 'eu-1']])
  })

  test('a name that the manager does not list is refused with those that it lists', async () => {
    await using stage = await dragonflyStage({ clusters }, named({ names: ['eu-2'] }))

    await expect(stage.engine.jobs(stage.order, never)).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH5009',
      message: 'provider dragonfly-eu has no cluster eu-2; it lists: eu-1, us-1',
    })
  })

  test('names need a token that may list clusters', async () => {
    await using stage = await dragonflyStage(
      { clusters, tokens: [{ token: TOKEN, scopes: ['job'] }] },
      named({ names: ['eu-1'] }),
    )

    await expect(stage.engine.jobs(stage.order, never)).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH5007',
      message: expect.stringContaining('scope cluster'),
    })
  })

  test('one without exactly one cluster of seed peers keeps all from being listed, and ids are the way out', async () => {
    const broken = [...clusters, { id: 9, name: 'asia-1', seedClusters: 0 }]
    await using stage = await dragonflyStage({ clusters: broken })
    await using byId = await dragonflyStage({ clusters: broken }, named({ ids: [7] }))

    await expect(stage.engine.jobs(stage.order, never)).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH5009',
      message: expect.stringMatching(/invalid number of the seed peer cluster: .* write clusterIds$/),
    })
    expect(await preheat(byId.engine, byId.order)).toMatchObject({ verdict: { said: 'success' } })
  })

  test('a token that has expired is not taken for one without the scope', async () => {
    await using stage = await dragonflyStage({ clusters, tokens: [{ token: TOKEN, expiresAt: 1 }] })

    await expect(stage.engine.jobs(stage.order, never)).rejects.toMatchObject({
      code: 'PH5007',
      message: /Token has expired/,
    })
  })

  test('by id: nothing is asked', async () => {
    await using stage = await dragonflyStage({ clusters }, named({ ids: [7, 9, 7] }))

    expect(chosen(await stage.engine.jobs(stage.order, never))).toEqual([
      ['7', '7'],
      ['9', '9'],
    ])
    expect(stage.manager.requests).toEqual([])
    const reason = new Error('stopping')
    await expect(stage.engine.jobs(stage.order, AbortSignal.abort(reason))).rejects.toBe(reason)
  })

  test('a policy’s own choice by name is looked up where the Provider has ids', async () => {
    await using stage = await dragonflyStage({ clusters }, named({ ids: [7] }))

    expect(chosen(await stage.engine.jobs({ ...stage.order, clusters: ['eu-1'] }, never))).toEqual([['2', 'eu-1']])
  })

  test('one that is listed twice gets one job', async () => {
    const twice = [...clusters, ...clusters].map(({ id, name }) => ({ id, name }))
    await using stage = await scripted({ status: 200, body: JSON.stringify(twice) })

    expect(chosen(await stage.engine.jobs(order({ manifests: [manifest()] }), never))).toEqual([
      ['2', 'eu-1'],
      ['7', 'us-1'],
    ])
  })

  test('an id that the manager does not know is answered like a limit', async () => {
    await using stage = await dragonflyStage({ clusters }, named({ ids: [9] }))

    await expect(preheat(stage.engine, stage.order)).rejects.toMatchObject({ fault: 'unavailable', retryAfterMs: 1000 })
  })

  test('the list is asked for once a minute, however many ask, and again after a failure', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await dragonflyStage({ clusters }, limits(16, 1000), clock)
    const { engine, manager } = stage
    manager.troubleNext(1, 'GET', { kind: 'answer', status: 502, body: '' })
    await expect(engine.jobs(stage.order, never)).rejects.toMatchObject({ fault: 'unavailable' })

    await Promise.all(Array.from({ length: 50 }, () => engine.jobs(stage.order, never)))
    expect(manager.requests).toHaveLength(2)
    clock.advance(59_999)
    await engine.jobs(stage.order, never)
    expect(manager.requests).toHaveLength(2)
    clock.advance(1)
    await engine.jobs(stage.order, never)
    expect(manager.requests).toHaveLength(3)
    expect(await engine.abilities(never)).toMatchObject({ clusters: ['eu-1', 'us-1'] })
    manager.requests.length = 0
    clock.advance(-3_600_000)
    await engine.jobs(stage.order, never)
    expect(manager.requests).toHaveLength(1)
  })

  test('who leaves while the list is on its way does not take it from the others', async () => {
    await using stage = await dragonflyStage({ clusters })
    const { engine, manager } = stage
    manager.troubleNext(1, 'GET', { kind: 'slow', ms: 100 })
    const leave = new AbortController()
    const reason = new Error('not wanted any more')

    const first = engine.jobs(stage.order, leave.signal)
    const second = engine.jobs(stage.order, never)
    leave.abort(reason)

    await expect(first).rejects.toBe(reason)
    expect(await second).toHaveLength(2)
    expect(manager.requests).toHaveLength(1)
  })

  test.each(['{}', '[{"id":1}]', '[{"id":"1","name":"x"}]', '<html>', '"OK"'])(
    'a list like %s is not understood',
    async (body) => {
      await using stage = await scripted({ status: 200, body })

      await expect(stage.engine.jobs(order(), never)).rejects.toMatchObject({ fault: 'unintelligible', code: 'PH5008' })
    },
  )

  test('a list without end is not understood', async () => {
    const page = Array.from({ length: 100 }, (_, i) => ({ id: i + 1, name: `c-${i}` }))
    await using server = await ScriptedServer.start({ status: 200, body: JSON.stringify(page) })
    await using engine = dragonflyEngine({ endpoint: server.endpoint, ...limits(16, 1000) })

    await expect(engine.jobs(order(), never)).rejects.toMatchObject({ code: 'PH5008', message: /without end/ })
    expect(server.seen).toHaveLength(100)
  })
})

describe('a look', () => {
  test('SUCCESS with every blob listed', async () => {
    await using stage = await dragonflyStage()

    expect(await preheat(stage.engine, stage.order)).toEqual({
      kind: 'ended',
      verdict: {
        said: 'success',
        claims: {
          kind: 'success_tasks',
          source: 'claimed-by-engine',
          cached: blobs,
          peers: 2,
          peerNames: ['seed-1-0 10.1.0.1', 'seed-1-1 10.1.0.2'],
        },
        message: undefined,
      },
    })
    expect(stage.manager.cached(1)).toEqual(new Set(blobs))
  })

  test('SUCCESS with nothing cached claims nothing', async () => {
    await using stage = await dragonflyStage({ outcomes: { 'library/app': { kind: 'silent-loss' } } })

    expect(await preheat(stage.engine, stage.order)).toMatchObject({
      verdict: { said: 'success', claims: { cached: [], peers: 0 } },
    })
    expect(stage.manager.cached(1).size).toBe(0)
  })

  test('SUCCESS with fewer blobs claims what it lists [E9]', async () => {
    await using stage = await dragonflyStage({ outcomes: { 'library/app': { kind: 'partial', missing: 2 } } })

    expect(await preheat(stage.engine, stage.order)).toMatchObject({
      verdict: { said: 'success', claims: { cached: blobs.slice(0, 2) } },
    })
  })

  test('SUCCESS of all peers, one of which failed a blob, claims the others and tells why', async () => {
    await using stage = await dragonflyStage({ outcomes: { 'library/app': { kind: 'partial', missing: 1 } } })

    expect(await preheat(stage.engine, { ...stage.order, scope: 'all_peers' })).toMatchObject({
      verdict: { said: 'success', claims: { cached: blobs.slice(0, 3), peers: 2 }, message: /401 Unauthorized/ },
    })
  })

  test('an image that was warm already is told with unknown hosts, and claimed', async () => {
    await using stage = await dragonflyStage({ outcomes: { 'library/app': { kind: 'repeat' } } })

    expect(await preheat(stage.engine, stage.order)).toMatchObject({
      verdict: { said: 'success', claims: { cached: blobs, peers: 0 } },
    })
  })

  test('FAILURE tells the scheduler’s words', async () => {
    const error = 'cluster 1 scheduler 10.0.0.2 no available seed peer'
    await using stage = await dragonflyStage({ outcomes: { 'library/app': { kind: 'failure', error } } })

    expect(await preheat(stage.engine, stage.order)).toEqual({
      kind: 'ended',
      verdict: { said: 'failure', claims: undefined, message: error },
    })
  })

  test('what a scheduler echoes of the pull token is taken out of its words', async () => {
    const error = `401 with ${PULL_TOKEN.reveal()}`
    await using stage = await dragonflyStage({ outcomes: { 'library/app': { kind: 'failure', error } } })

    expect(await preheat(stage.engine, stage.order)).toMatchObject({ verdict: { message: '401 with [secret]' } })
  })

  test('a manager that gives up after its last look has failed the job without a word', async () => {
    await using stage = await dragonflyStage({ outcomes: { 'library/app': { kind: 'endless' } } })

    expect(await preheat(stage.engine, stage.order)).toMatchObject({
      verdict: { said: 'failure', claims: undefined, message: /gave no error/ },
    })
  })

  test('a job is open until the manager looks, though it ended long before', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    const now = () => clock.now()
    await using stage = await dragonflyStage({ looksMs: REAL_LOOKS_MS, jobMs: 2_000, now }, {}, clock)
    const [first] = await stage.engine.jobs(stage.order, never)
    const open = opened(first!, await stage.engine.submit(stage.order, first!, authorization, never))

    clock.advance(29_000)
    expect(stage.manager.cached(1).size).toBe(4)
    expect(await stage.engine.observe(stage.order, open, never)).toEqual({ kind: 'open' })
    clock.advance(1_250)
    expect(await stage.engine.observe(stage.order, open, never)).toMatchObject({ verdict: { said: 'success' } })
  })

  test('after a restart of the manager the row stays open, and after its collection it is gone [E6] [E7]', async () => {
    await using stage = await dragonflyStage({ looksMs: [0, 3_600_000], jobMs: 1_000 })
    const { engine, manager } = stage
    const [first] = await engine.jobs(stage.order, never)
    const open = opened(first!, await engine.submit(stage.order, first!, authorization, never))

    manager.restart()
    expect(await engine.observe(stage.order, open, never)).toEqual({ kind: 'open' })
    manager.collect()

    expect(await engine.observe(stage.order, open, never)).toEqual({
      kind: 'ended',
      verdict: { said: 'gone', claims: undefined, message: 'the manager has no record of job 1' },
    })
  })

  test('an id that a new database gave to another task is no record of ours [E6]', async () => {
    await using stage = await dragonflyStage()
    const { engine, manager, registry } = stage
    const [first] = await engine.jobs(stage.order, never)
    const open = opened(first!, await engine.submit(stage.order, first!, authorization, never))
    const again = async (other: Partial<Order>) => {
      manager.reset()
      await preheat(engine, { ...stage.order, ...other })
      return await engine.observe(stage.order, open, never)
    }

    expect(await again({})).toMatchObject({ verdict: { said: 'success' } })
    expect(await again({ taskId: 'another task' })).toMatchObject({ verdict: { said: 'gone' } })
    const manifests = [registry.add('library/other', blobs)]
    expect(await again({ repository: 'library/other', manifests })).toMatchObject({ verdict: { said: 'gone' } })
  })

  test('an id that no manager gives is not asked about', async () => {
    await using stage = await dragonflyStage()

    expect(await stage.engine.observe(stage.order, opened(job, '../clusters'), never)).toMatchObject({
      verdict: { said: 'gone' },
    })
    expect(stage.manager.requests).toEqual([])
  })

  const row = (more: object) =>
    JSON.stringify({
      id: 17,
      state: 'SUCCESS',
      bio: `preheatd/${order().taskId}/${job.key}`,
      args: { url: `https://harbor.example.com/v2/library/app/manifests/${digest(1)}`, password: 'echoed' },
      result: null,
      ...more,
    })
  test.each<[string, Script, object]>([
    [
      'a state that is none',
      { status: 200, body: row({ state: 'success' }) },
      { fault: 'unintelligible', code: 'PH5008' },
    ],
    ['no state', { status: 200, body: row({ state: null }) }, { fault: 'unintelligible', code: 'PH5008' }],
    ['a row without args', { status: 200, body: row({ args: null }) }, { fault: 'unintelligible', code: 'PH5008' }],
    ['a page', { status: 200, body: '<html>' }, { fault: 'unintelligible', code: 'PH5008' }],
    ['half a row', { status: 200, body: row({}).slice(0, -5) }, { fault: 'unintelligible', code: 'PH5008' }],
    ['brackets without end', { status: 200, body: '['.repeat(5_000_000) }, { fault: 'unintelligible', code: 'PH5008' }],
    ['a page that nobody found', { status: 404, body: '<html>Not Found' }, { fault: 'unintelligible', code: 'PH5008' }],
    [
      'the way to the console',
      { status: 301, headers: { location: '/' } },
      { fault: 'unintelligible', code: 'PH5008' },
    ],
    ['words of a missing record', { status: 500, body: '{"message":"record not found"}' }, { fault: 'unavailable' }],
    [
      'words of a registry',
      { status: 500, body: '{"message":"manifest unknown"}' },
      { fault: 'unavailable', code: 'PH5001' },
    ],
    [
      'a token that is refused',
      { status: 401, body: '{"message":"Unauthorized"}' },
      { fault: 'rejected', code: 'PH5007' },
    ],
    ['a limit', { status: 429, body: 'slow down' }, { fault: 'unavailable', retryAfterMs: 1000 }],
  ])('answered with %s [E10]', async (_, script, expected) => {
    await using stage = await scripted(script)

    const error: unknown = await stage.engine.observe(order(), opened(job, '17'), never).catch((e: unknown) => e)

    expect(error).toMatchObject({ name: 'EdgeError', ...expected })
    expect(inspect(error, { depth: 10 })).not.toContain('echoed')
  })

  test('SUCCESS without a result claims nothing at all [E9]', async () => {
    await using stage = await scripted({ status: 200, body: row({}) })

    expect(await stage.engine.observe(order(), opened(job, '17'), never)).toEqual({
      kind: 'ended',
      verdict: { said: 'success', claims: undefined, message: undefined },
    })
  })

  test('an answer over 32 MiB is refused while it streams', async () => {
    await using stage = await scripted({ status: 200, body: Buffer.alloc(33 * 2 ** 20, ' ') })

    await expect(stage.engine.observe(order(), opened(job, '17'), never)).rejects.toMatchObject({
      fault: 'unintelligible',
      message: /more than 33554432 bytes/,
    })
  })
})

describe('health', () => {
  test.each<[string, Script, RegExp]>([
    ['the console’s page', { status: 200, body: '<html>' }, /whether it is healthy.*REST address/],
    ['OK in other words', { status: 200, body: 'OK' }, /whether it is healthy.*REST address/],
    ['a redirect', { status: 301, headers: { location: '/' } }, /whether it is healthy.*REST address/],
    ['a gateway without a manager', { status: 503 }, /whether it is healthy.*HTTP 503/],
    ['OK with an error', { status: 500, body: '"OK"' }, /whether it is healthy.*HTTP 500/],
    ['OK to everything', { status: 200, body: '"OK"' }, /the list of jobs/],
  ])('%s is not health', async (_, script, detail) => {
    await using stage = await scripted(script)

    expect(await stage.engine.health(never)).toEqual({
      ok: false,
      code: expect.stringMatching(/^PH50/),
      detail: expect.stringMatching(detail),
    })
  })

  test('a manager that lists its jobs as null has none', async () => {
    await using stage = await dragonflyStage()
    stage.manager.troubleNext(2, 'GET /oapi/v1/jobs', { kind: 'answer', status: 200, body: 'null' })

    expect(await stage.engine.health(never)).toMatchObject({ ok: true })
    expect(await stage.engine.abilities(never)).toMatchObject({ version: undefined })
  })

  test('a token that may not submit jobs is not health', async () => {
    await using stage = await dragonflyStage({ tokens: [{ token: TOKEN, scopes: ['cluster'] }] })

    expect(await stage.engine.health(never)).toEqual({
      ok: false,
      code: 'PH5007',
      detail: expect.stringContaining('Required permission: job'),
    })
  })
})

test('a rotated token is used at the next request', async () => {
  let token = 'the-old-token'
  await using stage = await dragonflyStage({ tokens: [{ token: 'the-new-token' }] }, {}, undefined, () => token)
  await expect(stage.engine.jobs(stage.order, never)).rejects.toMatchObject({ code: 'PH5007' })

  token = 'the-new-token'

  expect(await stage.engine.jobs(stage.order, never)).toHaveLength(1)
})

test('an endpoint on a metadata address is refused before anything is sent', async () => {
  await using engine = dragonflyEngine({ endpoint: 'http://169.254.169.254' })

  await expect(engine.submit(order(), job, undefined, never)).rejects.toMatchObject({
    name: 'OperatorError',
    code: 'PH3013',
  })
})

test('a pull token does not go to a manager over plain http', async () => {
  await using engine = dragonflyEngine({ endpoint: 'http://dragonfly.example.com' })

  await expect(engine.submit(order(), job, new Secret('Bearer pull'), never)).rejects.toMatchObject({
    fault: 'rejected',
    code: 'PH3012',
  })
})
