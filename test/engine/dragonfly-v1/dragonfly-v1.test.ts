import { describe, expect, test } from 'vitest'
import { describesAnEngine } from '../../contract/engine-contract.ts'
import { PASSWORD, v1Engine, v1Stage, type V1Stage } from './stage.ts'
import type { DragonflyV1Dialect, DragonflyV1Trouble } from '../../doubles/dragonfly-v1.ts'
import { ManualClock } from '../../support/clock.ts'
import { never, opened } from '../../support/engine.ts'
import { EXAMPLE_AT, digest, order } from '../../support/examples.ts'
import type { Engine, Observation } from '../../../src/engine/engine.ts'
import { Secret } from '../../../src/model/secret.ts'
import type { Job, ArtifactOrder } from '../../../src/model/task.ts'

const DEAD = 'http://127.0.0.1:9'
const AUTHORIZATION = new Secret('Bearer pull-token-of-the-registry')
const DIALECTS = ['1.0.5', '1.0.6', 'compat'] as const
const SUPERNODES = ['1.0.5', '1.0.6'] as const

async function first(engine: Engine, what: ArtifactOrder): Promise<Job> {
  return (await engine.jobs(what, never))[0]!
}

async function submit({ engine, double }: V1Stage, what: ArtifactOrder): Promise<string> {
  const id = await engine.submit(what, await first(engine, what), AUTHORIZATION, never)
  await double.settled()
  return id
}

async function look({ engine }: V1Stage, what: ArtifactOrder, id: string, submittedAt = 0): Promise<Observation> {
  return await engine.observe(what, { ...opened(await first(engine, what), id), submittedAt }, never)
}

async function preheat(on: V1Stage, what: ArtifactOrder): Promise<Observation> {
  return await look(on, what, await submit(on, what))
}

/** What a verdict looks like that claims nothing, which is every verdict of this driver. */
function verdict(said: string, message: RegExp): object {
  return { kind: 'ended', verdict: { said, claims: undefined, message: expect.stringMatching(message) } }
}

function layerUrl(what: ArtifactOrder, name: string): string {
  return `${what.engineEndpoint}/v2/${what.repository}/blobs/${digest(name)}`
}

describe.each(DIALECTS)('/preheats as %s', (dialect) => {
  describesAnEngine(
    async () => {
      const on = await v1Stage({ dialect })
      return {
        engine: on.engine,
        order: on.image('base', 'app'),
        authorization: AUTHORIZATION,
        secrets: [PASSWORD, AUTHORIZATION.reveal().slice('Bearer '.length)],
        settle: () => on.double.settled(),
        [Symbol.asyncDispose]: () => on[Symbol.asyncDispose](),
      }
    },
    () => {
      const engine = v1Engine({ endpoint: DEAD, auth: { type: 'bearer', secret: 'proxy' } })
      return Promise.resolve({
        engine,
        order: order(),
        authorization: AUTHORIZATION,
        secrets: [PASSWORD, AUTHORIZATION.reveal().slice('Bearer '.length)],
        settle: () => Promise.resolve(),
        [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
      })
    },
  )

  test('a submission is the manifest by digest and the pull token, and nothing that this API does not know', async () => {
    await using on = await v1Stage({ dialect })
    const what = on.image('base')

    await submit(on, { ...what, scope: 'all_peers' })

    expect(on.double.posted).toEqual([
      {
        type: 'image',
        url: `${what.engineEndpoint}/v2/library/app/manifests/${what.digest}`,
        headers: { Authorization: AUTHORIZATION.reveal() },
      },
    ])
    expect(on.registry.seen[0]?.headers.authorization).toBe(AUTHORIZATION.reveal())
  })

  test('without a pull token no headers are sent', async () => {
    await using on = await v1Stage({ dialect })
    const what = on.image('base')

    await on.engine.submit(what, await first(on.engine, what), undefined, never)

    expect(on.double.posted).toEqual([{ type: 'image', url: expect.any(String) }])
  })

  test('success claims no blob, and says why', async () => {
    await using on = await v1Stage({ dialect })

    expect(await preheat(on, on.image('base', 'app'))).toEqual(
      verdict('success', /^this API does not show which blobs were cached$/),
    )
    expect(await on.engine.abilities(never)).toEqual({ evidence: 'none', clusters: [] })
  })

  test('a task that is under way is open, until it has ended', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using on = await v1Stage({ dialect, jobMs: 15_000, now: () => clock.now() }, {}, clock)
    const what = on.image('base')
    const id = await submit(on, what)

    clock.advance(14_000)
    expect(await look(on, what, id)).toEqual({ kind: 'open' })
    clock.advance(6_000)
    expect(await look(on, what, id)).toMatchObject({ verdict: { said: 'success' } })
  })

  test('a submission whose answer never came is not found again, and neither are its blobs', async () => {
    await using on = await v1Stage({ dialect })
    const what = on.image('base')
    const job = await first(on.engine, what)
    on.double.troubleNext(1, 'POST', { kind: 'cut' })

    await expect(submit(on, what)).rejects.toMatchObject({ fault: 'unavailable', code: 'PH5001' })

    expect(await on.engine.find(what, job, never)).toBeUndefined()
    expect(await on.engine.probe(what, job, undefined, never)).toEqual({ kind: 'ended', claims: undefined })
    expect(await preheat(on, what)).toMatchObject({ verdict: { said: 'success' } })
  })

  test('an endpoint that hangs is left when the caller leaves', async () => {
    await using on = await v1Stage({ dialect })
    const what = on.image('base')
    const stop = new AbortController()
    const reason = new Error('stopping')
    on.double.troubleNext(1, 'POST', { kind: 'hang' })
    const hung = on.engine.submit(what, await first(on.engine, what), AUTHORIZATION, stop.signal)
    await expect.poll(() => on.double.postsAtOnce).toBe(1)

    stop.abort(reason)

    await expect(hung).rejects.toBe(reason)
  })

  test('a slow answer is waited for', async () => {
    await using on = await v1Stage({ dialect })
    on.double.troubleNext(1, 'POST', { kind: 'slow', ms: 50 })

    expect(await preheat(on, on.image('base'))).toMatchObject({ verdict: { said: 'success' } })
  })

  test('health tells which of the two engines answers, and sees no other client’s credentials', async () => {
    await using on = await v1Stage({ dialect })

    expect(await on.engine.health(never)).toEqual({
      ok: true,
      detail: expect.stringContaining(dialect === 'compat' ? 'as a manager' : 'as a supernode'),
    })
    expect(on.double.requests).toEqual(['GET /_ping', 'GET /preheats/2147483647'])
  })

  test('no more submissions are in flight at once than the Provider allows', async () => {
    await using on = await v1Stage({ dialect }, { limits: { submitsInFlight: 2, requestsPerSecond: 1000 } })
    const what = on.image('base')
    const job = await first(on.engine, what)
    on.double.trouble = () => ({ kind: 'slow', ms: 20 })

    await Promise.all(Array.from({ length: 6 }, () => on.engine.submit(what, job, AUTHORIZATION, never)))

    expect(on.double.postsAtOnce).toBe(2)
  })
})

describe.each(SUPERNODES)('a supernode %s', (dialect) => {
  test('keeps the same id for the same image, so that submitting twice is one task [E11]', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using on = await v1Stage({ dialect, jobMs: 60_000, now: () => clock.now() }, {}, clock)
    const what = on.image('base')

    expect(await submit(on, what)).toMatch(/^[0-9a-f]{64}$/)
    expect(await submit(on, what)).toBe(await submit(on, what))
    expect(on.double.layers).toHaveLength(1)
  })

  test('answers with an earlier success, which says that nothing was fetched anew', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using on = await v1Stage({ dialect, now: () => clock.now() }, {}, clock)
    const what = on.image('base')
    const id = await submit(on, what)
    await look(on, what, id)
    clock.advance(3_600_000)

    expect(await submit(on, what)).toBe(id)

    expect(await look(on, what, id, clock.now())).toEqual(
      verdict('success', /earlier task, which ended 2026-11-21T02:00:00\.000Z, and fetched nothing anew/),
    )
    expect(on.double.requests.filter((line) => line.startsWith('DELETE'))).toEqual([])
  })

  test('whose clock is a little behind has not answered with an earlier task', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using on = await v1Stage({ dialect, now: () => clock.now() - 50_000 }, {}, clock)
    const what = on.image('base')

    const id = await submit(on, what)

    expect(await look(on, what, id, clock.now())).toEqual(verdict('success', /^this API does not show/))
  })

  test('has a failed task removed and tries it again', async () => {
    await using on = await v1Stage({ dialect })
    const what = on.image('base', 'app')
    on.double.failure = (url) => (url === layerUrl(what, 'app') ? 'dfget: exit status 1' : undefined)
    expect(await preheat(on, what)).toEqual(verdict('failure', /blobs\/sha256:.* dfget: exit status 1$/))
    on.double.failure = () => undefined

    const id = await submit(on, what)

    expect(on.double.requests.slice(-4)).toEqual([
      'POST /preheats',
      `GET /preheats/${id}`,
      `DELETE /preheats/${id}`,
      'POST /preheats',
    ])
    expect(await look(on, what, id)).toMatchObject({ verdict: { said: 'success' } })
  })

  test('is asked once more and not for ever', async () => {
    await using on = await v1Stage({ dialect })
    const what = on.image('base')
    on.registry.script = { status: 401, body: 'unauthorized' }
    const id = await submit(on, what)
    on.double.trouble = (line) =>
      line.startsWith('POST')
        ? { kind: 'answer', status: 208, body: JSON.stringify({ message: `preheat task already exists, id:${id}` }) }
        : undefined

    expect(await on.engine.submit(what, await first(on.engine, what), AUTHORIZATION, never)).toBe(id)

    expect(on.double.requests.filter((line) => line.startsWith('POST'))).toHaveLength(3)
  })

  test('fails an image for a layer that is there already, and that is no failure and no claim', async () => {
    await using on = await v1Stage({ dialect })
    await preheat(on, on.image('base', 'one'))
    const second = on.image('two', 'base', 'three')

    const observation = await preheat(on, second)

    expect(observation).toEqual(verdict('success', /preheated before .* did not go on to the layers after it/))
    expect(on.double.layers).toContain(layerUrl(second, 'two'))
    expect(on.double.layers).not.toContain(layerUrl(second, 'three'))
  })

  test('is not asked again where the layer that is there would fail the image again', async () => {
    await using on = await v1Stage({ dialect })
    await preheat(on, on.image('base', 'one'))
    const second = on.image('two', 'base')
    const id = await submit(on, second)

    expect(await submit(on, second)).toBe(id)

    expect(on.double.requests.filter((line) => line.startsWith('DELETE'))).toEqual([])
  })

  test('fails an image whose shared layer failed before, and removes both to try again', async () => {
    await using on = await v1Stage({ dialect })
    const one = on.image('base')
    on.double.failure = (url) => (url === layerUrl(one, 'base') ? 'dfget: no space left' : undefined)
    await preheat(on, one)
    const second = on.image('base', 'two')
    expect(await preheat(on, second)).toEqual(verdict('failure', /layers had failed before: dfget: no space left$/))
    on.double.failure = () => undefined

    expect(await preheat(on, second)).toMatchObject({
      verdict: { said: 'success', message: expect.stringMatching(/^this API/) },
    })

    expect(on.double.requests.filter((line) => line.startsWith('DELETE'))).toHaveLength(2)
  })

  test('whose record of the shared layer is gone leaves a failure, which may be tried again', async () => {
    await using on = await v1Stage({ dialect })
    const one = on.image('base')
    const oneId = await submit(on, one)
    await look(on, one, oneId)
    const second = on.image('base', 'two')
    const secondId = await submit(on, second)
    await fetch(`${on.double.endpoint}/preheats/${oneId}`, { method: 'DELETE' })

    expect(await look(on, second, secondId)).toEqual(verdict('failure', /the record of that is gone/))
    expect(await preheat(on, second)).toMatchObject({ verdict: { said: 'success' } })
  })

  test('that forgot the earlier task meanwhile is asked again', async () => {
    await using on = await v1Stage({ dialect })
    const what = on.image('base')
    const body = JSON.stringify({ code: 208, message: `preheat task already exists, id:${'a'.repeat(64)}` })
    on.double.troubleNext(1, 'POST', { kind: 'answer', status: 208, body })

    const id = await submit(on, what)

    expect(id).not.toBe('a'.repeat(64))
    expect(await look(on, what, id)).toMatchObject({ verdict: { said: 'success' } })
  })

  test('whose task is in its own way has failed, and is not looked at twice', async () => {
    await using on = await v1Stage({ dialect })
    const id = 'a'.repeat(64)
    const errorMsg = `{"Code":208,"Msg":"preheat task already exists, id:${id}"}`
    const body = JSON.stringify({ ID: id, status: 'FAILED', errorMsg })
    on.double.trouble = () => ({ kind: 'answer', status: 200, body })

    expect(await look(on, on.image('base'), id)).toEqual(verdict('failure', /^\{"Code":208/))
    expect(on.double.requests).toHaveLength(1)
  })

  test('forgets everything when it restarts: gone, not failed', async () => {
    await using on = await v1Stage({ dialect })
    const what = on.image('base')
    const id = await submit(on, what)
    on.double.restart()

    expect(await look(on, what, id)).toEqual(verdict('gone', /no record of task [0-9a-f]{64}; .* restarts/))
  })

  test('gives up after half an hour', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using on = await v1Stage({ dialect, now: () => clock.now() }, {}, clock)
    on.double.endless = true
    const what = on.image('base')
    const id = await submit(on, what)

    clock.advance(29 * 60_000)
    expect(await look(on, what, id)).toEqual({ kind: 'open' })
    clock.advance(2 * 60_000)
    expect(await look(on, what, id)).toEqual(verdict('failure', /^timeout$/))
    expect(clock.now()).toBeLessThan(on.engine.overdueAt(what, EXAMPLE_AT))
  })

  test('tells what the registry said, and no token that it echoes', async () => {
    await using on = await v1Stage({ dialect })
    const what = on.image('base')
    const token = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln'
    on.registry.script = { status: 401, body: `denied for Authorization: Bearer ${'x'.repeat(20)} and ${token}` }

    const observation = await preheat(on, what)

    expect(observation).toEqual(
      verdict('failure', /^401 Unauthorized denied for Authorization: \[secret\] and \[secret\]$/),
    )
  })
})

describe('a manager that still has /preheats', () => {
  test('has no record of a job: gone, not failed', async () => {
    await using on = await v1Stage({ dialect: 'compat' })
    const what = on.image('base')
    const id = await submit(on, what)
    expect(id).toBe('1')
    on.double.collect()

    expect(await look(on, what, id)).toEqual(verdict('gone', /no record of task 1;/))
  })

  test('ends a job as FAIL and gives no error', async () => {
    await using on = await v1Stage({ dialect: 'compat' })
    on.double.failure = () => 'never told'

    expect(await preheat(on, on.image('base'))).toEqual(verdict('failure', /gave no error$/))
  })

  test('tells times in Go’s own words, which say nothing', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using on = await v1Stage({ dialect: 'compat', now: () => clock.now() }, {}, clock)
    const what = on.image('base')
    const id = await submit(on, what)

    expect(await look(on, what, id, EXAMPLE_AT + 3_600_000)).toEqual(verdict('success', /^this API does not show/))
  })

  test('is not believed a time that merely looks like one', async () => {
    await using on = await v1Stage({ dialect: 'compat' })
    const finishTime = '2021-11-29 07:57:45 +0000 UTC'
    const body = JSON.stringify({ id: '7', status: 'SUCCESS', startTime: finishTime, finishTime })
    on.double.troubleNext(1, 'GET', { kind: 'answer', status: 200, body })

    expect(await look(on, on.image('base'), '7', EXAMPLE_AT)).toEqual(verdict('success', /^this API does not show/))
  })

  test('never removes anything', async () => {
    await using on = await v1Stage({ dialect: 'compat' })
    on.double.failure = () => 'never told'
    const what = on.image('base')
    await preheat(on, what)

    expect(await submit(on, what)).toBe('2')
    expect(on.double.requests.filter((line) => line.startsWith('DELETE'))).toEqual([])
  })

  test('a registry whose certificate it does not trust is not asked for again and again', async () => {
    await using on = await v1Stage({ dialect: 'compat' })
    const message = 'Get "https://r/v2/": x509: certificate signed by unknown authority'
    on.double.troubleNext(1, 'POST', { kind: 'answer', status: 500, body: JSON.stringify({ message }) })

    await expect(submit(on, on.image('base'))).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH5002',
      message: expect.stringMatching(/unknown authority; .*job\.preheat\.tls$/),
    })
  })

  test.each([
    ['a pull token that is refused', { status: 401, body: 'unauthorized: nope' }, 'rejected', 'PH5002'],
    ['a registry that is down', { status: 502, body: 'bad gateway' }, 'unavailable', 'PH5001'],
  ] as const)('says at once what the registry said: %s', async (_, script, fault, code) => {
    await using on = await v1Stage({ dialect: 'compat' })
    const what = on.image('base')
    on.registry.script = script

    await expect(submit(on, what)).rejects.toMatchObject({
      fault,
      code,
      message: expect.stringContaining(`HTTP 500: ${script.status}`),
    })
  })
})

describe('a manager that no longer has /preheats', () => {
  const removed = {
    fault: 'unintelligible',
    code: 'PH5008',
    message: expect.stringMatching(/>= 2\.4\.1.*vendor: dragonfly/),
  }

  test('is named, with what to write instead', async () => {
    await using on = await v1Stage({ dialect: 'removed' })
    const what = on.image('base')

    expect(await on.engine.health(never)).toEqual({ ok: false, code: 'PH5008', detail: removed.message })
    await expect(submit(on, what)).rejects.toMatchObject(removed)
    await expect(look(on, what, '1')).rejects.toMatchObject(removed)
  })

  test('is told from 2.0.0, which does not have it yet', async () => {
    await using on = await v1Stage({ dialect: '2.0.0' })
    const what = on.image('base')
    const message = expect.stringMatching(/HTTP 301; a manager 2\.0\.0 has only \/api\/v1\/preheats.*upgrade/) as string

    expect(await on.engine.health(never)).toEqual({ ok: false, code: 'PH5008', detail: message })
    const refused = { fault: 'unintelligible', code: 'PH5008', message }
    await expect(submit(on, what)).rejects.toMatchObject(refused)
    await expect(look(on, what, '1')).rejects.toMatchObject(refused)
  })

  test.each([{ 'content-type': 'text/html' }, {}])(
    'is named where a proxy follows its redirect to the console: %j',
    async (headers) => {
      await using on = await v1Stage({ dialect: 'compat' })
      const body = '<!doctype html><title>Dragonfly</title>'
      on.double.trouble = (line) =>
        line === 'GET /healthy/'
          ? { kind: 'answer', status: 200, body: '"OK"' }
          : { kind: 'answer', status: 200, body, headers }
      const what = on.image('base')

      await expect(submit(on, what)).rejects.toMatchObject(removed)
      await expect(look(on, what, '1')).rejects.toMatchObject(removed)
    },
  )

  test('that was upgraded under an open job does not make the job gone', async () => {
    await using on = await v1Stage({ dialect: 'compat' })
    const what = on.image('base')
    const id = await submit(on, what)
    on.double.dialect = 'removed'

    await expect(look(on, what, id)).rejects.toMatchObject(removed)
  })
})

describe('an answer that is not the one wanted', () => {
  const says = (message: string, code?: number) => JSON.stringify({ code, message })
  const id = 'a'.repeat(64)
  type Row = readonly [string, Omit<Extract<DragonflyV1Trouble, { kind: 'answer' }>, 'kind'>, object]
  const refusals: readonly Row[] = [
    ['a proxy that wants a credential', { status: 401, body: '' }, { fault: 'rejected', code: 'PH5007' }],
    ['a proxy that forbids', { status: 403, body: says('no') }, { fault: 'rejected', code: 'PH5007', message: /no$/ }],
    [
      'a proxy’s own 404',
      { status: 404, body: says('no route') },
      { fault: 'unintelligible', code: 'PH5008', message: /2\.0\.1 to 2\.4\.0/ },
    ],
    [
      'a redirect to elsewhere',
      { status: 302, body: '', headers: { location: '/login' } },
      { fault: 'unintelligible', code: 'PH5008', message: /HTTP 302, which/ },
    ],
    [
      'a bad request',
      { status: 400, body: says('empty request', 400) },
      { fault: 'rejected', code: 'PH5002', message: /HTTP 400: empty request$/ },
    ],
    [
      'a body that does not bind',
      { status: 422, body: '{"errors":"EOF"}' },
      { fault: 'rejected', code: 'PH5002', message: /HTTP 422: EOF$/ },
    ],
    [
      'a limit',
      { status: 429, body: 'slow down', headers: { 'retry-after': '7', 'content-type': 'text/plain' } },
      { fault: 'unavailable', code: 'PH5001', retryAfterMs: 7000, message: /slow down/ },
    ],
    [
      'an error of its own',
      { status: 500, body: says('Internal Server Error') },
      { fault: 'unavailable', code: 'PH5001' },
    ],
    ['a gateway', { status: 503, body: '<html>' }, { fault: 'unavailable', code: 'PH5001', message: /HTTP 503$/ }],
    ['half an object', { status: 200, body: '{"id":' }, { fault: 'unintelligible', code: 'PH5008' }],
    ['null', { status: 200, body: 'null' }, { fault: 'unintelligible', code: 'PH5008' }],
    ['nothing', { status: 204, body: '' }, { fault: 'unintelligible', code: 'PH5008' }],
    [
      'more than a MiB',
      { status: 200, body: ' '.repeat(2 ** 20 + 1) },
      { fault: 'unintelligible', code: 'PH5008', message: /more than/ },
    ],
  ]
  const submissions: readonly Row[] = [
    ['an id that is a number', { status: 200, body: '{"id":42}' }, { fault: 'unintelligible', code: 'PH5008' }],
    ['an id that is a path', { status: 201, body: '{"ID":"../../x"}' }, { fault: 'unintelligible', code: 'PH5008' }],
    [
      'a task that is there, without its id',
      { status: 208, body: says('preheat task already exists', 208) },
      { fault: 'unintelligible', code: 'PH5008' },
    ],
    ['a conflict of another kind', { status: 409, body: says('Conflict') }, { fault: 'rejected', code: 'PH5002' }],
    [
      'a manifest that is not there',
      { status: 500, body: says('manifest unknown: manifest unknown') },
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
      'no scheduler',
      { status: 500, body: says('candidate schedulers not found') },
      { fault: 'rejected', code: 'PH5002' },
    ],
  ]
  const looks: readonly Row[] = [
    [
      'a state that is none',
      { status: 200, body: JSON.stringify({ ID: id, status: 'DONE' }) },
      { fault: 'unintelligible', code: 'PH5008' },
    ],
    [
      'another task',
      { status: 200, body: JSON.stringify({ ID: 'b'.repeat(64), status: 'SUCCESS' }) },
      { fault: 'unintelligible', code: 'PH5008' },
    ],
    [
      'a 404 that is not the supernode’s',
      { status: 404, body: says("route doesn't exists") },
      { fault: 'unintelligible', code: 'PH5008' },
    ],
    [
      'a 500 about something else',
      { status: 500, body: says('the record not found page broke') },
      { fault: 'unavailable', code: 'PH5001' },
    ],
    [
      'a manifest in its words',
      { status: 500, body: says('manifest unknown') },
      { fault: 'unavailable', code: 'PH5001' },
    ],
  ]

  const expected = (wanted: object) => ({
    ...wanted,
    name: 'EdgeError',
    message: expect.stringMatching(
      'message' in wanted ? (wanted.message as RegExp) : /^provider dragonfly-old answered /,
    ),
  })

  test.each([...refusals, ...submissions])('to a submission: %s', async (_, answer, wanted) => {
    await using on = await v1Stage({ dialect: 'compat' })
    on.double.trouble = () => ({ kind: 'answer', ...answer })

    await expect(submit(on, on.image('base'))).rejects.toMatchObject(expected(wanted))
  })

  test.each([...refusals, ...looks])('to a look: %s', async (_, answer, wanted) => {
    await using on = await v1Stage({ dialect: '1.0.6' })
    on.double.trouble = () => ({ kind: 'answer', ...answer })

    await expect(look(on, on.image('base'), id)).rejects.toMatchObject(expected(wanted))
  })

  test.each<[string, DragonflyV1Trouble]>([
    ['is cut', { kind: 'cut' }],
    ['is not true', { kind: 'answer', status: 200, body: 'false' }],
  ])('to the removal of a failed task: it %s, and nothing is submitted again', async (_, trouble) => {
    await using on = await v1Stage({ dialect: '1.0.6' })
    const what = on.image('base')
    on.double.failure = () => 'dfget: exit status 1'
    await preheat(on, what)
    on.double.troubleNext(1, 'DELETE', trouble)

    await expect(submit(on, what)).rejects.toMatchObject({ name: 'EdgeError' })

    expect(on.double.posted).toHaveLength(2)
  })

  test('an echo of a credential is not passed on', async () => {
    await using on = await v1Stage({ dialect: 'compat' }, { auth: { type: 'bearer', secret: 'proxy' } })
    const echo = says(`bad ${AUTHORIZATION.reveal()} and Bearer ${PASSWORD}`)
    on.double.trouble = () => ({ kind: 'answer', status: 400, body: echo })

    await expect(submit(on, on.image('base'))).rejects.toMatchObject({
      message: expect.stringMatching(/HTTP 400: bad \[secret\] and \[secret\]$/),
    })
  })

  test.each<[DragonflyV1Dialect, string, RegExp]>([
    ['1.0.4', 'answers pings and has no /preheats', />= 1\.0\.5/],
    ['removed', 'has no /preheats any more', /vendor: dragonfly/],
  ])('health of %s, which %s', async (dialect, _, message) => {
    await using on = await v1Stage({ dialect })

    expect(await on.engine.health(never)).toEqual({
      ok: false,
      code: expect.stringMatching(/^PH50/),
      detail: expect.stringMatching(message),
    })
  })

  test('health of something that answers a ping with something else', async () => {
    await using on = await v1Stage({ dialect: '1.0.6' })
    on.double.trouble = () => ({ kind: 'answer', status: 200, body: 'pong' })

    expect(await on.engine.health(never)).toMatchObject({ ok: false })
  })
})

describe('what is never sent', () => {
  test.each(['../../x', 'a//b', 'a?x=', 'a%2fb', 'a b', '', 'a'.repeat(256)])(
    'a repository called %j gets into no URL',
    async (repository) => {
      await using on = await v1Stage({ dialect: '1.0.6' })

      await expect(submit(on, { ...on.image('base'), repository })).rejects.toMatchObject({
        fault: 'rejected',
        code: 'PH5002',
      })
      expect(on.double.requests).toEqual([])
    },
  )

  test.each(['../jobs', '0', '-1', 'A'.repeat(64), 'a'.repeat(63), '1?x', ''])(
    'an id like %j, which no engine gives, is gone without a question',
    async (id) => {
      await using on = await v1Stage({ dialect: '1.0.6' })

      expect(await look(on, on.image('base'), id)).toMatchObject({ verdict: { said: 'gone' } })
      expect(on.double.requests).toEqual([])
    },
  )

  test('a pull token over plain http, unless the Provider accepts it', async () => {
    await using engine = v1Engine({ endpoint: 'http://supernode.example.com:8002' })
    const what = order()

    await expect(engine.submit(what, await first(engine, what), AUTHORIZATION, never)).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH3012',
    })
  })
})

describe('time', () => {
  const clock = new ManualClock(EXAMPLE_AT)

  test('looks are at the ages of pollSchedule, and every 300 s after them', async () => {
    await using engine = v1Engine({})
    const ages = []
    for (let now = EXAMPLE_AT; ages.length < 7; ages.push((now - EXAMPLE_AT) / 1000)) {
      now = engine.nextLook(EXAMPLE_AT, now)
    }

    expect(ages).toEqual([30, 90, 210, 450, 750, 1050, 1350])
  })

  test.each([
    ['its own time and six minutes', 600_000, 960_000],
    ['what the slowest engine takes at most', 10 * 3_600_000, 70 * 60_000],
    ['its last planned look', 1_000, 451_000],
  ])('a job is overdue after %s', async (_, timeoutMs, ms) => {
    await using engine = v1Engine({})

    expect(engine.overdueAt(order({ timeoutMs }), EXAMPLE_AT)).toBe(EXAMPLE_AT + ms)
  })

  test('requests keep to the Provider’s rate, and to a pause that the other side asks for', async () => {
    await using on = await v1Stage(
      { dialect: '1.0.6' },
      { limits: { submitsInFlight: 4, requestsPerSecond: 1 } },
      clock,
    )
    const what = on.image('base')
    on.double.troubleNext(1, 'GET', { kind: 'answer', status: 503, body: '', headers: { 'retry-after': '20' } })
    await expect(look(on, what, '1')).rejects.toMatchObject({ retryAfterMs: 20_000 })

    const second = look(on, what, '2')
    await expect.poll(() => clock.nextWake).toBe(EXAMPLE_AT + 20_000)
    expect(on.double.requests).toHaveLength(1)

    clock.advance(20_000)
    expect(await second).toMatchObject({ verdict: { said: 'gone' } })
  })
})
