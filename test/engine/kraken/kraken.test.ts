import { once } from 'node:events'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { describesAnEngine } from '../../contract/engine-contract.ts'
import { IDLE_MS, type KrakenOptions } from '../../doubles/kraken.ts'
import { ScriptedServer, never, opened, type Script } from '../../support/engine.ts'
import { EXAMPLE_AT, digest, manifest, order } from '../../support/examples.ts'
import { CERT, KEY } from './pems.ts'
import { DOCKER, IMAGE, OCI, TOKEN, krakenEngine, krakenStage, toldBy, wanted, type KrakenStage } from './stage.ts'
import type { KrakenSettings, Provider } from '../../../src/model/provider.ts'
import { Secret } from '../../../src/model/secret.ts'

const DEAD = 'http://127.0.0.1:9'
const PULL_TOKEN = new Secret('Bearer pull-token-of-the-registry')
const [config, layer1, layer2] = IMAGE.blobs.map((blob): string => blob.digest) as [string, string, string]
const everything = [IMAGE.digest, config, layer1, layer2]
const bearer: Partial<Provider> = { auth: { type: 'bearer', secret: 'kraken-eu' } }

function submit({ engine, order, job }: KrakenStage): Promise<string> {
  return engine.submit(order, job, PULL_TOKEN, never)
}

/** Of requests, which began with this. */
function asked({ kraken }: KrakenStage, pattern: RegExp): string[] {
  return kraken.requests.filter((line) => pattern.test(line))
}

describe('Kraken by its origins', () => {
  const secrets = [TOKEN, PULL_TOKEN.reveal().slice('Bearer '.length)]
  describesAnEngine(
    async () => {
      const stage = await krakenStage({}, {}, bearer)
      const settle = () => {
        stage.clock.advance(1000)
        return Promise.resolve()
      }
      const { engine, order } = stage
      const dispose = () => stage[Symbol.asyncDispose]()
      return { engine, order, authorization: PULL_TOKEN, secrets, settle, [Symbol.asyncDispose]: dispose }
    },
    () => {
      const engine = krakenEngine({ endpoint: DEAD, ...bearer }, { origins: [DEAD] })
      const settle = () => Promise.resolve()
      const dispose = () => engine[Symbol.asyncDispose]()
      const docker = order({ manifests: [manifest({ mediaType: DOCKER })] })
      const stage = {
        engine,
        order: docker,
        authorization: PULL_TOKEN,
        secrets,
        settle,
        [Symbol.asyncDispose]: dispose,
      }
      return Promise.resolve(stage)
    },
  )
})

describe('what an order needs', () => {
  test('one job a platform manifest: of an index Kraken pulls no layers', async () => {
    await using engine = krakenEngine({ endpoint: DEAD }, { origins: [DEAD] })
    const arm = manifest({ digest: digest('arm'), mediaType: DOCKER, platform: 'linux/arm64' })

    expect(await engine.jobs(order({ manifests: [IMAGE, arm] }), never)).toEqual([wanted(IMAGE), wanted(arm)])
  })

  test.each([
    [
      'an OCI manifest on a registry',
      OCI,
      {},
      /kraken-eu cannot preheat sha256:\w+: .*without Accept.*Docker schema 2/,
    ],
    ['an OCI index on a registry', 'application/vnd.oci.image.index.v1+json', {}, /backend: other/],
    ['an OCI manifest among others', OCI, { mode: 'notify' as const }, /without Accept/],
    [
      'what the proxy drops in silence',
      'application/vnd.docker.distribution.manifest.list.v2+json',
      { mode: 'notify' as const, backend: 'other' as const },
      /silently drops notifications of application\/vnd\.docker\.distribution\.manifest\.list/,
    ],
  ])('%s is refused before anything is sent', async (_, mediaType, settings, message) => {
    await using stage = await krakenStage({}, settings)
    const manifests = [IMAGE, manifest({ digest: digest('other'), mediaType })]

    await expect(stage.engine.jobs({ ...stage.order, manifests }, never)).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH3007',
      message: expect.stringMatching(message),
    })
    expect(stage.kraken.requests).toEqual([])
  })

  test.each([
    ['mode: origins', { mode: 'origins' as const }],
    ['replicas', { mode: 'notify' as const, replicas: 2, tracker: DEAD }],
  ])('kraken.%s without origins is refused, not ignored', async (field, settings) => {
    await using engine = krakenEngine({ endpoint: DEAD }, settings)

    await expect(engine.jobs(order({ manifests: [IMAGE] }), never)).rejects.toMatchObject({
      code: 'PH3007',
      message: `provider kraken-eu: kraken.${field} needs kraken.origins`,
    })
  })

  test('an OCI image warms where the origins read from something else than a registry', async () => {
    const image = { ...IMAGE, mediaType: OCI }
    await using stage = await krakenStage({ backend: 'other' }, { backend: 'other' }, {}, image)

    expect(await stage.engine.jobs(stage.order, never)).toEqual([wanted(image)])
    await submit(stage)
    expect(toldBy(await stage.look())).toMatchObject({ said: 'success', cached: 3 })
  })

  test.each(['../../x', 'a/../b', 'a//b', 'a?x=', 'a%2fb', 'a b', '', 'a'.repeat(256)])(
    'a repository called %j gets into no path',
    async (repository) => {
      await using stage = await krakenStage()

      await expect(submit({ ...stage, order: { ...stage.order, repository } })).rejects.toMatchObject({
        fault: 'rejected',
        code: 'PH5002',
      })
      expect(stage.kraken.requests).toEqual([])
    },
  )
})

describe('by origins, a submission', () => {
  test('has the best owner of the manifest and of every blob pull it, by full repository name and with no pull token', async () => {
    await using stage = await krakenStage()

    expect(await submit(stage)).toBe(`origins-${IMAGE.digest}`)

    const triggers = asked(stage, /POST/)
    expect(triggers.map((line) => /sha256:\w+/.exec(line)![0]).sort()).toEqual(everything.toSorted())
    for (const line of triggers)
      expect(line).toMatch(/^origin-\d POST \/namespace\/library%2Fapp\/blobs\/sha256:\w{64}\/prefetch$/)
    expect(everything.every((one) => stage.kraken.holders(one).length === 2)).toBe(true)
    expect(asked(stage, /^proxy/)).toEqual([])
  })

  test.each<[string, Partial<KrakenOptions>]>([
    ['an origin before v0.1.13, which knows no prefetch', { version: '0.1.6' }],
    ['mutual TLS without a certificate, which lets only GET and HEAD pass', { wantsCertificates: true }],
  ])('goes by metainfo with %s', async (_, options) => {
    await using stage = await krakenStage(options)

    await submit(stage)

    expect(asked(stage, /GET \/internal\/namespace\/library%2Fapp\/blobs\/sha256:\w{64}\/metainfo$/)).toHaveLength(4)
    expect(toldBy(await stage.look())).toMatchObject({ said: 'success', cached: 3 })
  })

  test('asks the next owner where the best one does not answer', async () => {
    await using stage = await krakenStage()
    const { kraken } = stage
    for (const one of everything) kraken.ownersOf.set(one, ['origin-1', 'origin-2'])
    await kraken.stop('origin-1')

    await submit(stage)

    expect(kraken.holders(layer2)).toContain('origin-2')
  })

  test('asks no server that is not declared, whatever an origin names', async () => {
    await using stage = await krakenStage()
    stage.kraken.ownersOf.set(layer1, ['origin-1', 'metadata.internal:80'])

    const refused = { fault: 'rejected', code: 'PH5002', message: expect.stringContaining('metadata.internal:80') }
    await expect(submit(stage)).rejects.toMatchObject(refused)
    await expect(stage.engine.probe(stage.order, stage.job, undefined, never)).rejects.toMatchObject(refused)
    expect(toldBy(await stage.look())).toMatchObject({
      said: 'failure',
      message: expect.stringContaining('metadata.internal:80 as an owner, which is not among kraken.origins'),
    })
  })

  test('counts an origin as declared whatever the case of its name', async () => {
    await using stage = await krakenStage()
    const { kraken } = stage
    const origins = kraken.origins.map((name) => kraken.endpoint(name).replace('127.0.0.1', 'LOCALHOST'))
    for (const one of everything)
      kraken.ownersOf.set(one, [new URL(kraken.endpoint('origin-1')).host.replace('127.0.0.1', 'LocalHost')])
    await using engine = krakenEngine({ endpoint: DEAD }, { origins })

    expect(await engine.submit(stage.order, stage.job, undefined, never)).toMatch(/^origins-/)
  })

  const text = { 'content-type': 'text/plain' }
  const html = { 'content-type': 'text/html' }
  test.each<[string, RegExp, Exclude<Script, 'hang'>, object]>([
    [
      'nothing behind the blob',
      /POST/,
      { status: 404 },
      { fault: 'rejected', code: 'PH5002', message: /has no such blob/ },
    ],
    [
      'workers that are all busy',
      /POST/,
      { status: 503, body: 'request cache busy', headers: text },
      { fault: 'unavailable', code: 'PH5001', message: /HTTP 503: request cache busy; .*workers are busy/ },
    ],
    [
      'no backend for the repository',
      /POST/,
      { status: 500, body: 'backend manager: no matches for namespace library/app', headers: text },
      { fault: 'rejected', code: 'PH5002', message: /no entry of the origins’ backends/ },
    ],
    [
      'a blob over the limit',
      /POST/,
      { status: 500, body: 'blob of 9 bytes exceeds size limit of 8', headers: text },
      { fault: 'rejected', code: 'PH5002', message: /blobrefresh\.size_limit/ },
    ],
    [
      'a backend that does not answer',
      /POST/,
      { status: 500, body: 'Get "https://r/v2/": net/http: Client.Timeout exceeded', headers: text },
      { fault: 'unavailable', code: 'PH5001', message: /registry_blob\.timeout/ },
    ],
    [
      'an error of its own',
      /POST/,
      { status: 500, body: 'disk full', headers: text },
      { fault: 'unavailable', code: 'PH5001', message: /HTTP 500: disk full$/ },
    ],
    [
      'a limit',
      /POST/,
      { status: 429, headers: { 'retry-after': '7' } },
      { fault: 'unavailable', code: 'PH5001', retryAfterMs: 7000 },
    ],
    ['a credential that is refused', /POST/, { status: 401 }, { fault: 'rejected', code: 'PH5007' }],
    [
      'another server than an origin',
      /locations/,
      { status: 404, body: '<html>', headers: html },
      { fault: 'unintelligible', code: 'PH5008', message: /no origin’s blob server/ },
    ],
    ['no names of owners', /locations/, { status: 200 }, { fault: 'unintelligible', code: 'PH5008' }],
    [
      'names that are none',
      /locations/,
      { status: 200, headers: { 'origin-locations': 'a:1,http://b/' } },
      { fault: 'unintelligible', code: 'PH5008' },
    ],
    [
      'a ring without owners',
      /locations/,
      { status: 200, headers: { 'origin-locations': '' } },
      { fault: 'unavailable', code: 'PH5001', message: /names no owner/ },
    ],
    [
      'a redirect, which is not followed',
      /locations/,
      { status: 302, headers: { location: 'http://127.0.0.1:9/' } },
      { fault: 'unintelligible', code: 'PH5008' },
    ],
    [
      'more than a sane answer',
      /locations/,
      { status: 200, body: 'x'.repeat(5 * 2 ** 20) },
      { fault: 'unintelligible', code: 'PH5008', message: /more than \d+ bytes/ },
    ],
  ])(
    'answered with %s',
    async (_, where, { status, body, headers }, { message, ...expected }: { message?: RegExp }) => {
      await using stage = await krakenStage()
      stage.kraken.trouble = (_server, line) =>
        where.test(line)
          ? {
              kind: 'answer',
              status,
              ...(body !== undefined && { body: body.toString() }),
              ...(headers && { headers }),
            }
          : undefined

      const error: unknown = await submit(stage).catch((e: unknown) => e)

      expect(error).toMatchObject({
        name: 'EdgeError',
        message: expect.stringMatching(/^provider kraken-eu, origin 127\.0\.0\.1:\d+ /),
        ...expected,
      })
      if (message) expect(error).toMatchObject({ message: expect.stringMatching(message) })
    },
  )

  test('is nothing that could be found again after a crash', async () => {
    await using stage = await krakenStage()
    await submit(stage)

    expect(await stage.engine.find(stage.order, stage.job, never)).toBeUndefined()
  })
})

describe('by origins, a look', () => {
  test('sees a pull under way, and its end on every owner', async () => {
    await using stage = await krakenStage()
    const { kraken, clock } = stage
    kraken.contents.set(layer2, { kind: 'blob', sizeBytes: 3000, pullMs: 30_000 })
    await submit(stage)

    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    clock.advance(30_000)
    expect(await stage.look()).toEqual({
      kind: 'ended',
      verdict: {
        said: 'success',
        claims: {
          kind: 'presence',
          source: 'observed',
          cached: [config, layer1, layer2],
          peers: new Set(everything.flatMap((one) => kraken.holders(one))).size,
          peerNames: (['origin-1', 'origin-2', 'origin-3'] as const).map((one) => kraken.address(one)).sort(),
        },
        message: undefined,
      },
    })
  })

  test('asks for presence alone: 200 of an origin that would look behind itself is no evidence', async () => {
    await using stage = await krakenStage()

    await stage.engine.probe(stage.order, stage.job, undefined, never)

    expect(asked(stage, /HEAD/).every((line) => line.endsWith('?local=true'))).toBe(true)
    expect(asked(stage, /HEAD/)).toHaveLength(8)
  })

  test('has pulled again what no owner holds', async () => {
    await using stage = await krakenStage()
    await submit(stage)
    for (const origin of stage.kraken.origins) stage.kraken.drop(origin, layer1)

    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    expect(asked(stage, /metainfo/)).toHaveLength(1)
    expect(toldBy(await stage.look())).toMatchObject({ said: 'success', cached: 3 })
  })

  test('waits for a copy, and then has each owner pull that lacks one', async () => {
    await using stage = await krakenStage({ copyMs: Infinity })
    await submit(stage)

    stage.clock.advance(59_000)
    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    expect(asked(stage, /metainfo/)).toEqual([])
    stage.clock.advance(1_000)
    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    expect(asked(stage, /metainfo/)).toHaveLength(4)
    expect(toldBy(await stage.look())).toMatchObject({ said: 'success', cached: 3 })
  })

  test('is content with as many owners as kraken.replicas says', async () => {
    await using stage = await krakenStage({ copyMs: Infinity }, { replicas: 1 })
    await submit(stage)

    expect(toldBy(await stage.look())).toMatchObject({ said: 'success', cached: 3 })
  })

  test('never ends well where Kraken keeps fewer copies than kraken.replicas asks for, and says so in the end', async () => {
    await using stage = await krakenStage({ replicas: 2 }, { replicas: 3 })
    await submit(stage)

    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    stage.clock.advance(3_600_000)
    expect(toldBy(await stage.look())).toMatchObject({
      said: 'failure',
      cached: 0,
      message: expect.stringMatching(/held by 2 of 3 origins.*name 2 owners of .* kraken\.replicas asks for 3/),
    })
  })

  test('counts a blob of another length as absent', async () => {
    await using stage = await krakenStage()
    await submit(stage)
    stage.kraken.contents.set(layer2, { kind: 'blob', sizeBytes: 2999 })

    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    const probe = await stage.engine.probe(stage.order, stage.job, undefined, never)
    expect(probe).toMatchObject({ claims: { cached: [config, layer1] } })
  })

  test.each<[string, Record<string, string>]>([
    ['no length', { 'transfer-encoding': 'chunked' }],
    ['a page', { 'content-type': 'text/html', 'content-length': '153' }],
    ['another length, which happens to begin alike', { 'content-length': '30000' }],
  ])('takes 200 with %s for no evidence of anything', async (_, headers) => {
    await using stage = await krakenStage()
    await submit(stage)
    const { kraken } = stage
    kraken.trouble = (_server, line) =>
      line.startsWith('HEAD') && line.includes(layer2) ? { kind: 'answer', status: 200, headers } : undefined

    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    expect(await stage.engine.probe(stage.order, stage.job, undefined, never)).toMatchObject({
      kind: 'ended',
      claims: { cached: [config, layer1] },
    })
  })

  test('says of a blob that is there by half that presence is not completeness', async () => {
    await using stage = await krakenStage()
    await submit(stage)
    stage.kraken.contents.set(layer2, { kind: 'blob', sizeBytes: 2999 })

    const probe = await stage.engine.probe(stage.order, stage.job, undefined, never)
    stage.clock.advance(3_600_000)

    const words = new RegExp(
      `${layer2} is held by 0 of 2 origins; .*origin \\S+ has 2999 bytes of ${layer2}, not 3000$`,
    )
    expect(probe).toMatchObject({ kind: 'ended', message: expect.stringMatching(words) })
    expect(toldBy(await stage.look())).toMatchObject({ said: 'failure', message: expect.stringMatching(words) })
  })

  test('says of owners that do not answer which, and what is missing with them', async () => {
    await using stage = await krakenStage()
    await submit(stage)
    stage.kraken.trouble = (name, line) =>
      name === 'origin-1' && line.startsWith('HEAD') ? { kind: 'answer', status: 503 } : undefined

    expect(await stage.engine.probe(stage.order, stage.job, undefined, never)).toMatchObject({
      kind: 'ended',
      message: expect.stringMatching(
        / is held by 1 of 2 origins.*; provider kraken-eu, origin \S+ answered .* HTTP 503/,
      ),
    })
  })

  test('tells the bytes that some owner holds, and copies only once', async () => {
    await using stage = await krakenStage({ copyMs: Infinity })
    const { kraken, clock } = stage
    kraken.contents.set(layer1, { kind: 'blob', sizeBytes: 2000, pullMs: 20_000 })
    kraken.contents.set(layer2, { kind: 'blob', sizeBytes: 3000, pullMs: 40_000 })
    await submit(stage)

    const doneAfter = async (ms: number) => {
      clock.advance(ms)
      return await stage.look()
    }
    // The manifest's 500 bytes are among them: nodes read it first.
    for (const [ms, doneBytes] of [
      [0, 1500],
      [20_000, 3500],
      [20_000, 6500],
    ] as const)
      expect(await doneAfter(ms)).toEqual({ kind: 'open', progress: { doneBytes, totalBytes: 6500 } })
  })

  test('counts nothing as cached without the manifest, because no node could pull the image', async () => {
    await using stage = await krakenStage()
    await submit(stage)
    for (const origin of stage.kraken.origins) stage.kraken.drop(origin, IMAGE.digest)

    const probe = await stage.engine.probe(stage.order, stage.job, undefined, never)

    expect(probe).toMatchObject({ kind: 'ended', claims: { cached: [] } })
  })

  test('remembers the words of a pull that failed, which an origin says for 15 s, until the job is overdue', async () => {
    await using stage = await krakenStage()
    const { kraken, clock } = stage
    const words = 'Get "https://r/v2/library/app/blobs/x": Client.Timeout exceeded while reading body'
    kraken.contents.set(layer2, { kind: 'failing', afterMs: 60_000, text: words })
    await submit(stage)

    let now = clock.now()
    let last = toldBy(await stage.look())
    while (now < EXAMPLE_AT + 3_600_000) {
      expect(last).toEqual({ said: 'open' })
      now = stage.engine.nextLook(EXAMPLE_AT, now)
      // Its trouble is over when the job has most of an hour left: the origin itself has long forgotten it.
      if (now > EXAMPLE_AT + 200_000) kraken.contents.set(layer2, { kind: 'failing', afterMs: 1e9, text: 'unseen' })
      clock.set(now)
      last = toldBy(await stage.look())
    }

    expect(last).toMatchObject({
      said: 'failure',
      cached: 2,
      message: expect.stringMatching(/held by 0 of 2 origins; .*Client\.Timeout.*registry_blob\.timeout/),
    })
  })

  test('a blob whose pull fails again and again is a failure long before the job is overdue, and says how often', async () => {
    await using stage = await krakenStage()
    const { kraken, clock } = stage
    kraken.contents.set(layer2, { kind: 'failing', afterMs: 60_000, text: 'unexpected EOF' })
    await submit(stage)

    let now = clock.now()
    let last = toldBy(await stage.look())
    while (now < EXAMPLE_AT + 600_000) {
      if ('message' in last) break
      now = stage.engine.nextLook(EXAMPLE_AT, now)
      clock.set(now)
      last = toldBy(await stage.look())
    }

    // An origin tells of each failure for 15 s, and begins again at the look after that.
    expect(now).toBe(EXAMPLE_AT + 60_000 + 5 * 80_000)
    expect(last).toMatchObject({
      said: 'failure',
      cached: 2,
      message: expect.stringMatching(/held by 0 of 2 origins; pulling failed 6 times; .*unexpected EOF/),
    })
  })

  const nothing = { digest: digest(''), sizeBytes: 0 }
  test('asks nobody for an empty blob, which is never missing', async () => {
    const image = { ...IMAGE, blobs: [...IMAGE.blobs, nothing] }
    await using stage = await krakenStage({}, {}, {}, image)
    stage.kraken.contents.delete(nothing.digest)
    await submit(stage)

    expect(toldBy(await stage.look())).toMatchObject({ said: 'success', cached: 4 })
    expect(await stage.engine.probe(stage.order, stage.job, undefined, never)).toMatchObject({
      claims: { cached: [config, layer1, layer2, nothing.digest] },
      message: undefined,
    })
    expect(asked(stage, new RegExp(nothing.digest))).toEqual([])
    for (const origin of stage.kraken.origins) stage.kraken.drop(origin, IMAGE.digest)
    expect(await stage.engine.probe(stage.order, stage.job, undefined, never)).toMatchObject({ claims: { cached: [] } })
  })

  test.each([
    [0, [config, layer1]],
    [3000, [config, layer1, layer2]],
  ])(
    'a blob that is declared empty and is not counts with %i bytes of it as far as they show',
    async (sizeBytes, cached) => {
      const blobs = IMAGE.blobs.map((blob) => (blob.digest === layer2 ? { ...blob, sizeBytes: 0 } : blob))
      await using stage = await krakenStage({}, {}, {}, { ...IMAGE, blobs })
      stage.kraken.contents.set(layer2, { kind: 'blob', sizeBytes })
      await submit(stage)

      expect(await stage.engine.probe(stage.order, stage.job, undefined, never)).toMatchObject({ claims: { cached } })
      expect(asked(stage, new RegExp(`HEAD.*${layer2}`))).toHaveLength(2)
    },
  )

  test('asks again only for what fell short, and ends well only when everything was seen', async () => {
    await using stage = await krakenStage()
    const { kraken, clock } = stage
    kraken.contents.set(layer2, { kind: 'blob', sizeBytes: 3000, pullMs: 30_000 })
    await submit(stage)
    await stage.look()
    const before = kraken.requests.length

    expect(await stage.look()).toEqual({ kind: 'open', progress: { doneBytes: 3500, totalBytes: 6500 } })
    expect(kraken.requests.slice(before).every((line) => line.includes(layer2))).toBe(true)
    clock.advance(30_000)
    for (const origin of kraken.origins) kraken.drop(origin, layer1)
    expect(await stage.look()).toEqual({ kind: 'open', progress: { doneBytes: 4500, totalBytes: 6500 } })
    expect(toldBy(await stage.look())).toMatchObject({ said: 'success', cached: 3 })
  })

  test.each<[string, number, string, RegExp]>([
    ['that the backend has it no more', 404, '', /has no such blob/],
    ['an error', 500, 'disk full', /HTTP 500: disk full/],
    ['that it is busy', 503, 'busy', /workers are busy/],
  ])('told time and again %s ends as failed when the job is overdue', async (_, status, text, message) => {
    await using stage = await krakenStage()
    await submit(stage)
    stage.kraken.contents.set(layer2, { kind: 'error', status, text })
    for (const origin of stage.kraken.origins) stage.kraken.drop(origin, layer2)

    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    stage.clock.advance(3_599_999)
    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    stage.clock.advance(1)
    expect(toldBy(await stage.look())).toMatchObject({
      said: 'failure',
      cached: 2,
      message: expect.stringMatching(message),
    })
  })

  test('a pull that is under way when the job is overdue is nobody’s failure', async () => {
    await using stage = await krakenStage()
    stage.kraken.contents.set(layer2, { kind: 'blob', sizeBytes: 3000, pullMs: 1e9 })
    await submit(stage)

    stage.clock.advance(3_600_000)
    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
  })

  test('a failure that went by leaves no trace on the success', async () => {
    await using stage = await krakenStage()
    stage.kraken.contents.set(layer2, { kind: 'failing', afterMs: 0, text: 'unlucky' })
    await submit(stage)
    await stage.look()
    stage.kraken.contents.set(layer2, { kind: 'blob', sizeBytes: 3000 })
    stage.clock.advance(15_000)

    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    expect(toldBy(await stage.look())).toMatchObject({ said: 'success', cached: 3, message: undefined })

    stage.kraken.contents.set(layer2, { kind: 'blob', sizeBytes: 3000, pullMs: 1e9 })
    for (const origin of stage.kraken.origins) stage.kraken.drop(origin, layer2)
    stage.clock.set(EXAMPLE_AT + 3_600_000)
    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
  })

  test('an owner that does not answer is not counted as one that holds, and is named in the end', async () => {
    await using stage = await krakenStage()
    for (const one of everything) stage.kraken.ownersOf.set(one, ['origin-1', 'origin-2'])
    const address = stage.kraken.address('origin-2')
    await submit(stage)
    await stage.kraken.stop('origin-2')

    expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    stage.clock.advance(3_600_000)
    expect(toldBy(await stage.look())).toMatchObject({
      said: 'failure',
      cached: 0,
      peers: 1,
      message: expect.stringMatching(new RegExp(`held by 1 of 2 origins.*origin ${address} does not answer`)),
    })
  })

  test('silence of all origins is a fault, and nothing is concluded from it', async () => {
    await using stage = await krakenStage()
    await submit(stage)
    for (const origin of stage.kraken.origins) await stage.kraken.stop(origin)

    await expect(stage.look()).rejects.toMatchObject({ fault: 'unavailable', code: 'PH5001' })
    await expect(stage.engine.probe(stage.order, stage.job, undefined, never)).rejects.toMatchObject({ code: 'PH5001' })
  })

  test('nothing is concluded from owners of whom none says whether it holds anything', async () => {
    await using stage = await krakenStage()
    await submit(stage)
    stage.kraken.trouble = (_, line) => (line.startsWith('HEAD') ? { kind: 'answer', status: 503 } : undefined)

    await expect(stage.look()).rejects.toMatchObject({ fault: 'unavailable', code: 'PH5001' })
    await expect(stage.engine.probe(stage.order, stage.job, undefined, never)).rejects.toMatchObject({ code: 'PH5001' })
  })

  test('a probe sees what the clean-up has dropped, and has nothing pulled', async () => {
    await using stage = await krakenStage()
    await submit(stage)
    const probe = () => stage.engine.probe(stage.order, stage.job, undefined, never)
    expect(await probe()).toMatchObject({
      kind: 'ended',
      claims: { cached: [config, layer1, layer2] },
      message: undefined,
    })

    stage.clock.advance(IDLE_MS)
    const before = stage.kraken.requests.length

    expect(await probe()).toEqual({
      kind: 'ended',
      claims: { kind: 'presence', source: 'observed', cached: [], peers: 0, peerNames: [] },
      message: `${IMAGE.digest} is held by 0 of 2 origins, and 3 more of 4 blobs fall short`,
    })
    expect(stage.kraken.requests.slice(before).filter((line) => !/locations$|local=true$/.test(line))).toEqual([])
  })

  test('submitting again what is held keeps every copy of it for another six hours', async () => {
    await using stage = await krakenStage({ replicas: 3 })
    await submit(stage)
    stage.clock.advance(IDLE_MS - 1)
    await submit(stage)
    stage.clock.advance(IDLE_MS - 1)

    expect(toldBy(await stage.look())).toMatchObject({ said: 'success', cached: 3 })
  })

  test('submitting again uses no more copies than kraken.replicas asks for', async () => {
    await using stage = await krakenStage({ replicas: 3 }, { replicas: 2 })
    await submit(stage)
    expect(asked(stage, /POST/)).toHaveLength(4)
    await submit(stage)

    expect(asked(stage, /POST/)).toHaveLength(4 + 8)
  })

  test('submitting again is not refused where the owner of a copy does not answer', async () => {
    await using stage = await krakenStage()
    for (const one of everything) stage.kraken.ownersOf.set(one, ['origin-1', 'origin-2'])
    await submit(stage)
    await stage.kraken.stop('origin-2')

    expect(await submit(stage)).toBe(`origins-${IMAGE.digest}`)
  })
})

describe('by notifications', () => {
  const notify = { mode: 'notify' } as const
  const blind = { mode: 'notify', origins: [] } as const

  test('a submission is one push event with the manifest’s own digest and media type, and no pull token', async () => {
    await using stage = await krakenStage({ version: '0.1.6' }, notify)

    expect(await submit(stage)).toBe(`notified-${IMAGE.digest}`)

    expect(stage.kraken.notifications).toEqual([
      {
        events: [
          {
            id: `preheatd/${stage.order.taskId}/${IMAGE.digest}`,
            timestamp: '2026-11-21T02:00:00.000Z',
            action: 'push',
            target: { mediaType: DOCKER, digest: IMAGE.digest, repository: 'library/app' },
          },
        ],
      },
    ])
    expect(toldBy(await stage.look())).toMatchObject({ said: 'success', cached: 3 })
  })

  test.each<[string, (stage: KrakenStage) => void]>([
    ['everything cached', () => undefined],
    [
      'nothing cached',
      ({ kraken }) => {
        kraken.contents.clear()
      },
    ],
  ])('200 with %s yields no claims where nobody can be looked at', async (_, prepare) => {
    await using stage = await krakenStage({}, blind)
    prepare(stage)
    await submit(stage)

    expect(await stage.look()).toEqual({
      kind: 'ended',
      verdict: { said: 'success', claims: undefined, message: expect.stringContaining('answers 200 whatever happens') },
    })
    expect(await stage.engine.probe(stage.order, stage.job, undefined, never)).toEqual({
      kind: 'ended',
      claims: undefined,
      message: expect.stringContaining('no origins or tracker are declared'),
    })
    expect(await stage.engine.abilities(never)).toEqual({ evidence: 'none', clusters: [] })
    expect(await stage.engine.find(stage.order, stage.job, never)).toBeUndefined()
    expect(toldBy(await stage.look('4242'))).toMatchObject({ said: 'gone', cached: undefined })
  })

  test('200 with nothing cached is never a success where origins can be looked at', async () => {
    await using stage = await krakenStage({}, notify)
    stage.kraken.contents.clear()
    await submit(stage)

    for (const ms of [0, 10_000, 3_589_999]) {
      stage.clock.advance(ms)
      expect(toldBy(await stage.look())).toEqual({ said: 'open' })
    }
    stage.clock.advance(1)
    expect(toldBy(await stage.look())).toMatchObject({
      said: 'failure',
      cached: 0,
      peers: 0,
      message: expect.stringMatching(/has no such blob/),
    })
    expect(await stage.engine.abilities(never)).toEqual({ evidence: 'observed', clusters: [] })
  })

  test('nor where only the tracker can be asked', async () => {
    await using stage = await krakenStage()
    const tracker = stage.kraken.endpoint('tracker')
    const { order, job, kraken, clock } = stage
    await using engine = krakenEngine({ endpoint: kraken.endpoint('proxy') }, { ...blind, tracker }, clock)
    const id = await engine.submit(order, job, undefined, never)
    const look = (at: number) => engine.observe(order, { ...job, state: 'open', id, submittedAt: at, lookAt: 0 }, never)

    expect(await look(EXAMPLE_AT)).toMatchObject({
      verdict: {
        said: 'success',
        claims: { kind: 'presence', source: 'claimed-by-engine', cached: [config, layer1, layer2] },
      },
    })
    expect(await engine.abilities(never)).toEqual({ evidence: 'claimed-by-engine', clusters: [] })
    expect(await engine.probe(order, job, undefined, never)).toEqual({
      kind: 'ended',
      claims: undefined,
      message: expect.stringContaining('the tracker has them pull'),
    })

    kraken.contents.clear()
    clock.advance(IDLE_MS)
    expect(await look(clock.now())).toEqual({ kind: 'open', progress: { doneBytes: 0, totalBytes: 6500 } })
    expect(toldBy(await look(0))).toMatchObject({ said: 'failure', cached: 0, message: /no such blob/ })
  })

  test.each<[string, string]>([
    ['a page for people', '<html>welcome</html>'],
    ['nothing', ''],
    ['JSON that is something else', '{"status":"ok"}'],
    ['JSON that is nothing', 'null'],
    ['no text for a name', JSON.stringify({ Info: { Name: [layer1.slice(7)], Length: 2000 } })],
    ['the metainfo of another blob', JSON.stringify({ Info: { Name: layer2.slice(7), Length: 2000 } })],
    ['a blob of another length', JSON.stringify({ Info: { Name: layer1.slice(7), Length: 1999 } })],
    ['a length in words', JSON.stringify({ Info: { Name: layer1.slice(7), Length: '2000' } })],
  ])('200 of a tracker with %s is no blob that an origin holds', async (_, body) => {
    await using stage = await krakenStage()
    const { order, job, kraken } = stage
    const tracker = kraken.endpoint('tracker')
    await using engine = krakenEngine({ endpoint: kraken.endpoint('proxy') }, { ...blind, tracker })
    const id = await engine.submit(order, job, undefined, never)
    kraken.trouble = (server, line) =>
      server === 'tracker' && line.includes(layer1) ? { kind: 'answer', status: 200, body } : undefined

    expect(toldBy(await engine.observe(order, opened(job, id), never))).toMatchObject({
      said: 'failure',
      cached: 2,
      message: expect.stringMatching(new RegExp(`${layer1} is held by 0 of 1 origins; .*this is no tracker`)),
    })
  })

  test('what the origins dropped is held in the tracker’s word for as long as nginx before it keeps that', async () => {
    await using stage = await krakenStage()
    const { order, job, kraken, clock } = stage
    const tracker = kraken.endpoint('tracker')
    await using engine = krakenEngine({ endpoint: kraken.endpoint('proxy') }, { ...blind, tracker }, clock)
    const id = await engine.submit(order, job, undefined, never)
    const look = () => engine.observe(order, { ...opened(job, id), submittedAt: EXAMPLE_AT }, never)
    await look()
    for (const origin of kraken.origins) for (const one of everything) kraken.drop(origin, one)

    clock.advance(299_999)
    expect(toldBy(await look())).toMatchObject({ said: 'success', cached: 3 })
    clock.advance(1)
    expect(toldBy(await look())).toEqual({ said: 'open' })
  })

  test('two platforms are two requests: of two events in one, a proxy up to v0.1.6 sees the last twice', async () => {
    await using stage = await krakenStage({ version: '0.1.6' }, notify)
    const { kraken, engine } = stage
    const arm = { ...IMAGE, digest: digest('arm'), blobs: [{ digest: digest('arm layer'), sizeBytes: 7 }] }
    kraken.add(arm.digest, DOCKER, arm.sizeBytes, [[digest('arm layer'), 7]])
    const both = { ...stage.order, manifests: [IMAGE, arm] }

    for (const job of await engine.jobs(both, never)) await engine.submit(both, job, undefined, never)

    expect(kraken.notifications.map(({ events }) => events.length)).toEqual([1, 1])
    expect(kraken.holders(layer1)).toHaveLength(2)
    expect(kraken.holders(digest('arm layer'))).toHaveLength(2)
  })

  const html = { 'content-type': 'text/html' }
  test.each<[string, Script, object]>([
    [
      'nginx’s 404',
      { status: 404, body: '404 page not found\n', headers: { 'content-type': 'text/plain' } },
      { fault: 'unintelligible', code: 'PH5008', message: /this is Kraken’s nginx port; name the proxy server’s own/ },
    ],
    [
      'a bare 404',
      { status: 404 },
      { fault: 'unintelligible', code: 'PH5008', message: /this is Kraken’s nginx port/ },
    ],
    [
      'a page with status 200',
      { status: 200, body: '<html>', headers: html },
      { fault: 'unintelligible', code: 'PH5008', message: /not Kraken’s answer/ },
    ],
    ['a redirect', { status: 301, headers: { location: '/' } }, { fault: 'unintelligible', code: 'PH5008' }],
    [
      'a body that it cannot decode',
      { status: 500, body: 'decode body: parsing time "x"' },
      { fault: 'rejected', code: 'PH5002', message: /decode body/ },
    ],
    ['an error', { status: 500, body: 'oops' }, { fault: 'unavailable', code: 'PH5001', message: /HTTP 500: oops$/ }],
    [
      'a gateway without a proxy behind it',
      { status: 503, body: '<html>', headers: { ...html, 'retry-after': '9' } },
      { fault: 'unavailable', code: 'PH5001', message: /a notification with HTTP 503$/, retryAfterMs: 9000 },
    ],
    ['403', { status: 403 }, { fault: 'rejected', code: 'PH5002', message: /client certificate.*tls\.certFile/ }],
    [
      'nginx that wants a certificate from all',
      { status: 400, body: '<html><center>No required SSL certificate was sent</center>', headers: html },
      { fault: 'rejected', code: 'PH5002', message: /client certificate/ },
    ],
    ['401', { status: 401 }, { fault: 'rejected', code: 'PH5007' }],
  ])('a submission answered with %s', async (_, script, { message, ...expected }: { message?: RegExp }) => {
    await using server = await ScriptedServer.start(script)
    await using engine = krakenEngine({ endpoint: server.endpoint }, blind)

    const error: unknown = await engine
      .submit(order({ manifests: [IMAGE] }), wanted(IMAGE), undefined, never)
      .catch((e: unknown) => e)

    expect(error).toMatchObject({ name: 'EdgeError', ...expected })
    if (message) expect(error).toMatchObject({ message: expect.stringMatching(message) })
  })

  test('a proxy that listens on its unix socket alone is told from one that is down', async () => {
    await using engine = krakenEngine({ endpoint: DEAD }, blind)

    await expect(engine.submit(order({ manifests: [IMAGE] }), wanted(IMAGE), undefined, never)).rejects.toMatchObject({
      fault: 'unavailable',
      code: 'PH5001',
      message: expect.stringMatching(/does not answer: .*ECONNREFUSED.*unix socket until server\.listener/),
    })
  })

  test('a handler that crashes on an event is a silence', async () => {
    await using stage = await krakenStage({}, notify)
    stage.kraken.trouble = (server) => (server === 'proxy' ? { kind: 'cut' } : undefined)

    await expect(submit(stage)).rejects.toMatchObject({ fault: 'unavailable', code: 'PH5001' })
  })
})

describe('health', () => {
  test('is what the mode needs, on every server', async () => {
    await using stage = await krakenStage({}, { mode: 'notify' })

    expect(await stage.engine.health(never)).toEqual({
      ok: true,
      detail: 'the proxy takes notifications, 3 origins name owners',
    })
    expect(stage.kraken.notifications).toEqual([{ events: [] }])
    expect(everything.every((one) => stage.kraken.holders(one).length === 0)).toBe(true)
  })

  test('/health of the nginx port is no readiness: no notification arrives there', async () => {
    await using stage = await krakenStage({ proxyPort: 'nginx' }, { mode: 'notify', origins: [] })

    expect(await stage.engine.health(never)).toEqual({
      ok: false,
      code: 'PH5008',
      detail: expect.stringContaining('this is Kraken’s nginx port; name the proxy server’s own listener'),
    })
  })

  test('by origins needs no notifications', async () => {
    await using stage = await krakenStage({ proxyPort: 'nginx' }, { tracker: undefined })

    expect(await stage.engine.health(never)).toEqual({ ok: true, detail: 'the proxy answers, 3 origins name owners' })
    expect(asked(stage, /notifications/)).toEqual([])
  })

  test('names every server that is amiss', async () => {
    await using stage = await krakenStage()
    const { kraken } = stage
    const [first, second] = [kraken.address('origin-1'), kraken.address('origin-2')]
    const wrong = kraken.endpoint('tracker')
    await using engine = krakenEngine(
      { endpoint: kraken.endpoint('proxy') },
      { origins: [`http://${first}`, `http://${second}`, wrong], tracker: DEAD },
    )
    await kraken.stop('origin-1')
    kraken.trouble = (server, line) =>
      server === 'origin-2' && line.endsWith('/health') ? { kind: 'answer', status: 503, body: 'x' } : undefined

    const { ok, detail } = await engine.health(never)

    expect(ok).toBe(false)
    expect(detail).toMatch(new RegExp(`origin ${first} does not answer`))
    expect(detail).toMatch(new RegExp(`origin ${second} answered .* with HTTP 503`))
    expect(detail).toMatch(new RegExp(`origin ${new URL(wrong).host} answered .* no origin’s blob server`))
    expect(detail).toMatch(/tracker 127\.0\.0\.1:9 does not answer/)
  })

  test.each<[string, Partial<KrakenSettings>, (name: string) => boolean, string]>([
    ['one origin of three', {}, (name) => name === 'origin-2', 'PH5011'],
    ['the proxy, which origins do not need', {}, (name) => name === 'proxy', 'PH5011'],
    ['all origins', {}, (name) => name.startsWith('origin'), 'PH5001'],
    ['the proxy of notifications', { mode: 'notify' }, (name) => name === 'proxy', 'PH5001'],
    ['one origin behind notifications', { mode: 'notify' }, (name) => name === 'origin-1', 'PH5011'],
    ['all origins behind notifications', { mode: 'notify' }, (name) => name.startsWith('origin'), 'PH5001'],
  ])('tells where %s does not answer whether the provider does', async (_, settings, isSilent, code) => {
    await using stage = await krakenStage({}, settings)
    stage.kraken.trouble = (server) => (isSilent(server) ? { kind: 'cut' } : undefined)

    expect(await stage.engine.health(never)).toEqual({
      ok: false,
      code,
      detail: expect.stringContaining('does not answer'),
    })
  })

  test.each<[string, RegExp]>([
    ['origin-1', /origin \S+ answered the question whether it is ready with HTTP 503: s3: no route.*must_ready/],
    ['tracker', /tracker \S+ answered the question whether it is ready with HTTP 503: s3: no route.*reaches no origin/],
  ])('%s that answers and is not ready says which setting of Kraken to see, and is not down', async (server, words) => {
    await using stage = await krakenStage()
    const { kraken } = stage
    const origins = kraken.origins.map((name) => kraken.endpoint(name))
    await using engine = krakenEngine(
      { endpoint: kraken.endpoint('proxy') },
      { origins, tracker: kraken.endpoint('tracker') },
    )
    expect(await engine.health(never)).toMatchObject({ ok: true })
    kraken.trouble = (name, line) =>
      name === server && line === 'GET /readiness' ? { kind: 'answer', status: 503, body: 's3: no route' } : undefined

    expect(await engine.health(never)).toEqual({ ok: false, code: 'PH5011', detail: expect.stringMatching(words) })
  })

  test('an origin and a tracker before v0.1.6 have no readiness to ask for', async () => {
    await using stage = await krakenStage()
    const { kraken } = stage
    const origins = kraken.origins.map((name) => kraken.endpoint(name))
    const tracker = kraken.endpoint('tracker')
    await using engine = krakenEngine({ endpoint: kraken.endpoint('proxy') }, { origins, tracker })
    kraken.trouble = (_, line) =>
      line === 'GET /readiness' ? { kind: 'answer', status: 404, body: '404 page not found\n' } : undefined

    expect(await engine.health(never)).toMatchObject({ ok: true })
  })

  test('an owner that is not declared is noticed before anything is submitted', async () => {
    await using stage = await krakenStage({ origins: 2, replicas: 2 })
    const { kraken } = stage
    await using engine = krakenEngine(
      { endpoint: kraken.endpoint('proxy') },
      { origins: [kraken.endpoint('origin-1')] },
    )

    expect(await engine.health(never)).toEqual({
      ok: false,
      code: 'PH5002',
      detail: expect.stringContaining(`${kraken.address('origin-2')} as an owner, which is not among kraken.origins`),
    })
  })
})

describe('TLS and credentials', () => {
  test('a server that wants a client certificate, and one whose own is not trusted, say which setting mends it', async () => {
    const pems = { key: Buffer.from(KEY), cert: Buffer.from(CERT) }
    const mutual = {
      ...pems,
      ca: pems.cert,
      requestCert: true,
      rejectUnauthorized: true,
      maxVersion: 'TLSv1.2',
    } as const
    const server = createTlsServer(mutual, (_, response) => response.end())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const endpoint = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    const health = async (tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer }) => {
      await using engine = krakenEngine({ endpoint }, { mode: 'notify' }, undefined, tls)
      return (await engine.health(never)).detail
    }

    try {
      expect(await health(pems)).toMatch(/certificate that is not trusted \(\w+\): set tls\.caFile/)
      expect(await health({ ca: pems.cert })).toMatch(
        /ended the TLS handshake \([\w/]+\); .*tls\.certFile and tls\.keyFile/,
      )
      expect(await health({ ca: pems.cert, ...pems })).toMatch(/takes notifications/)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  test('https to a port that speaks http is told as that', async () => {
    await using stage = await krakenStage()
    const endpoint = stage.kraken.endpoint('proxy').replace('http:', 'https:')
    await using engine = krakenEngine({ endpoint }, { mode: 'notify' })

    expect((await engine.health(never)).detail).toMatch(/does not speak TLS/)
  })

  test('the Provider’s credential goes to declared servers and is taken out of what they echo', async () => {
    await using server = await ScriptedServer.start({ status: 500, body: `bad header Bearer ${TOKEN}` })
    await using engine = krakenEngine({ endpoint: server.endpoint, ...bearer }, { mode: 'notify' })

    const error: unknown = await engine
      .submit(order({ manifests: [IMAGE] }), wanted(IMAGE), PULL_TOKEN, never)
      .catch((e: unknown) => e)

    expect(server.seen[0]?.headers.authorization).toBe(`Bearer ${TOKEN}`)
    expect(error).toMatchObject({ message: expect.stringContaining('bad header [secret]') })
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(TOKEN)
    expect(JSON.stringify(server.seen)).not.toContain('pull-token')
  })

  test('a credential does not go over plain http unless the Provider allows it', async () => {
    await using engine = krakenEngine({ endpoint: 'http://kraken.invalid', ...bearer }, { mode: 'notify' })

    expect(await engine.health(never)).toEqual({
      ok: false,
      code: expect.stringMatching(/^PH/),
      detail: expect.stringContaining('plain http'),
    })
  })
})

describe('limits', () => {
  test('every server gets so many requests a second, whatever the others get', async () => {
    await using stage = await krakenStage(
      { origins: 1, replicas: 1 },
      {},
      {
        limits: { submitsInFlight: 16, requestsPerSecond: 2 },
      },
    )
    const done = submit(stage)

    await expect.poll(() => stage.kraken.requests.length).toBe(2)
    expect(stage.clock.nextWake).toBe(EXAMPLE_AT + 500)
    while (stage.kraken.requests.length < 8) {
      const before = stage.kraken.requests.length
      await expect.poll(() => stage.clock.nextWake).toBeDefined()
      stage.clock.set(stage.clock.nextWake!)
      await expect.poll(() => stage.kraken.requests.length).toBe(before + 1)
    }
    await done
    expect(stage.clock.now() - EXAMPLE_AT).toBe(3000)
  })

  test('after a 429 the others wait as well', async () => {
    await using stage = await krakenStage({}, { mode: 'notify' })
    const headers = { 'retry-after': '5' }
    stage.kraken.trouble = () => ({ kind: 'answer', status: 429, headers })
    await expect(submit(stage)).rejects.toMatchObject({ retryAfterMs: 5000 })
    stage.kraken.trouble = () => undefined

    const next = submit(stage)
    await expect.poll(() => stage.clock.nextWake).toBe(EXAMPLE_AT + 5000)
    expect(stage.kraken.requests).toHaveLength(1)
    stage.clock.advance(5000)

    expect(await next).toBe(`notified-${IMAGE.digest}`)
  })

  test('no more submissions are under way at once than the Provider allows', async () => {
    await using stage = await krakenStage(
      {},
      { mode: 'notify' },
      {
        limits: { submitsInFlight: 2, requestsPerSecond: 1_000_000 },
      },
    )
    const stop = new AbortController()
    stage.kraken.trouble = () => ({ kind: 'hang' })
    const reason = new Error('stopping')
    const all = Array.from({ length: 5 }, () => stage.engine.submit(stage.order, stage.job, undefined, stop.signal))
    const ends = Promise.allSettled(all)

    await expect.poll(() => stage.kraken.requests.length).toBe(2)
    stop.abort(reason)

    expect(await ends).toEqual(all.map(() => ({ status: 'rejected', reason })))
    expect(stage.kraken.requests).toHaveLength(2)
  })
})

test('looks come soon enough to hear of a pull that failed, however long the job runs, and sooner by pollSchedule', async () => {
  await using engine = krakenEngine({ endpoint: DEAD }, { mode: 'notify' })
  for (let now = 0; now < 7_200_000; now = engine.nextLook(0, now)) expect(engine.nextLook(0, now)).toBe(now + 10_000)
  expect(engine.nextLook(0, 205_000)).toBe(210_000)
  await using quick = krakenEngine({ endpoint: DEAD, dragonfly: { ...quickPace } }, { mode: 'notify' })
  expect(quick.nextLook(0, 0)).toBe(500)
})

const quickPace: Provider['dragonfly'] = {
  clusters: 'all',
  scope: 'single_seed_peer',
  timeoutMs: 60_000,
  pollScheduleMs: [500],
  peers: {},
  requiredShare: 1,
  taskId: 'auto',
  options: {},
}
