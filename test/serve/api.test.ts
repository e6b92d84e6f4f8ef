import { describe, expect, test, vi } from 'vitest'
import { CannotBegin } from '../../src/begin.ts'
import { codes } from '../../src/model/codes.ts'
import { EdgeError, OperatorError } from '../../src/model/errors.ts'
import { Secret } from '../../src/model/secret.ts'
import type { Access } from '../../src/serve/access.ts'
import { apiApp } from '../../src/serve/api.ts'
import { WARM_MS } from '../../src/serve/wire.ts'
import { ManualClock } from '../support/clock.ts'
import { endedExecution as ended } from '../support/ended.ts'
import { EXAMPLE_AT, execution, task } from '../support/examples.ts'
import { EVIDENCE, executionView, MemoryOperations } from '../support/operations.ts'

const ID = '20261121T020000Z-3f9a1c07'

function open(access: Access = { type: 'socket' }) {
  const operations = new MemoryOperations()
  const clock = new ManualClock(EXAMPLE_AT)
  const closing = new AbortController()
  const failures: unknown[] = []
  const app = apiApp(operations, {
    access,
    clock,
    closing: closing.signal,
    onFailure: (error) => failures.push(error),
  })
  const ask = async (method: string, path: string, init: RequestInit = {}) => {
    const answer = await app.request(`http://localhost/api/v1/${path}`, { method, ...init })
    return { answer, status: answer.status, body: (await answer.json()) as Record<string, unknown> }
  }
  const post = (path: string, body: unknown = {}, headers: Record<string, string> = {}) =>
    ask('POST', path, {
      body: typeof body === 'string' ? body : JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    })
  return { operations, clock, closing, failures, app, ask, post }
}

describe('questions', () => {
  test('the status has its instants as RFC 3339, as the reports do', async () => {
    const { ask } = open()

    const { status, body, answer } = await ask('GET', 'status')

    expect(status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(body).toMatchObject({
      source: { revision: '4f2c', appliedAt: '2026-11-21T02:00:00.000Z' },
      policies: [{ nextSlot: '2026-11-22T02:00:00.000Z', last: { endedAt: '2026-11-21T02:01:00.000Z' } }],
    })
  })

  test('executions are those of a policy, as many as asked for', async () => {
    const { operations, ask } = open()
    operations.listed = [executionView({ id: 'a' }), executionView({ id: 'b' }), executionView({ policy: 'team/x' })]

    const { body } = await ask('GET', 'executions?policy=library/release-images&limit=1')

    expect(body['executions']).toEqual([expect.objectContaining({ id: 'a', policy: 'library/release-images' })])
  })

  test('an execution comes with its tasks, but without their blobs', async () => {
    const { operations, ask } = open()
    operations.known.set(ID, { execution: execution(), tasks: [task()] })

    const { body } = await ask('GET', `executions/${ID}`)

    expect(body).toMatchObject({ id: ID, policy: 'library/release-images', state: 'Selecting' })
    expect(body['tasks']).toEqual([
      expect.objectContaining({ id: `${ID}/1`, state: 'Pending', artifact: expect.objectContaining({ tags: ['v1'] }) }),
    ])
    expect(JSON.stringify(body)).not.toContain('manifests')
  })

  test.each(['executions?limit=0', 'executions?limit=1001', 'executions?limit=x', 'executions?size=3', 'status?x=1'])(
    '%s is refused, for nothing of a query is ignored',
    async (path) => {
      const { status, body } = await open().ask('GET', path)

      expect(status).toBe(400)
      expect(body['code']).toBe('PH8102')
    },
  )

  test('the next slots of a policy whose address has slashes', async () => {
    const { operations, ask } = open()
    operations.slots = [EXAMPLE_AT, EXAMPLE_AT + 1000]

    const { body } = await ask('GET', 'policies/harbor/library/release-images/schedule?next=1')

    expect(body).toEqual({ policy: 'harbor/library/release-images', slots: ['2026-11-21T02:00:00.000Z'] })
  })
})

describe('changes', () => {
  test('a policy begun is accepted, with the place of its execution and who asked why', async () => {
    const { operations, post } = open()

    const { status, answer, body } = await post(
      'policies/library/release-images/executions',
      { reason: 'CVE-2026-1234' },
      { 'preheatd-user': 'ada' },
    )

    expect(status).toBe(202)
    expect(answer.headers.get('location')).toBe(`/api/v1/executions/${ID}`)
    expect(body).toEqual({ execution: ID })
    expect(operations.asked).toEqual([['begin', 'library/release-images', { by: 'ada', reason: 'CVE-2026-1234' }]])
  })

  test('an unknown policy is 404 with the names that are known', async () => {
    const { operations, post } = open()
    operations.refusal = new CannotBegin('no policy is called "release"')

    const { status, body, answer } = await post('policies/library/release/executions', { reason: 'now' })

    expect(status).toBe(404)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(body).toMatchObject({
      type: 'about:blank',
      title: codes.PH3003.title,
      status: 404,
      code: 'PH3003',
      known: ['library/release-images'],
    })
    expect(body['detail']).toContain('library/release-images')
  })

  test.each(['library/release-images', 'release-images', 'harbor/library/release-images'])(
    '%s, which cannot begin, is 409 with the reason',
    async (name) => {
      const { operations, post } = open()
      operations.refusal = new CannotBegin('policy library/release-images is disabled')

      const { status, body } = await post(`policies/${name}/executions`, { reason: 'now' })

      expect(status).toBe(409)
      expect(body).toMatchObject({ code: 'PH8101', detail: 'policy library/release-images is disabled' })
    },
  )

  test('one that is in force and not at the tip of the source any more is not there', async () => {
    const { operations, ask } = open()
    operations.refusal = new CannotBegin('no policy is called "release-images"', 'PH3003')

    const { status, body } = await ask('GET', 'policies/release-images/explanation')

    expect([status, body['code']]).toEqual([404, 'PH3003'])
  })

  test('suspending and resuming is for one policy, or for all', async () => {
    const { operations, post } = open()

    await post('policies/library/release-images/suspend', { reason: 'freeze' })
    await post('suspend', { reason: 'freeze' })
    await post('policies/library/release-images/resume')
    await post('resume')

    expect(operations.asked.map(([what, of]) => [what, of])).toEqual([
      ['suspend', 'library/release-images'],
      ['suspend', undefined],
      ['resume', 'library/release-images'],
      ['resume', undefined],
    ])
  })

  test('an execution is stopped; one that has ended is 409, and one that never was 404', async () => {
    const { operations, post } = open()
    operations.known.set(ID, { execution: execution(), tasks: [] })
    operations.known.set('20261121T020000Z-00000000', { execution: ended(), tasks: [] })

    const stop = (id: string) => post(`executions/${id}/stop`, { reason: 'wrong tag' })

    expect((await stop(ID)).status).toBe(200)
    expect((await stop('20261121T020000Z-00000000')).body).toMatchObject({ status: 409, code: 'PH8105' })
    expect((await stop('20261121T020000Z-ffffffff')).body).toMatchObject({ status: 404, code: 'PH8104' })
    expect((await stop('..')).status).toBe(404)
  })

  test('what a declared provider holds is forgotten; one that is not declared is 404', async () => {
    const { post } = open()

    expect((await post('providers/dragonfly-eu/invalidate')).body).toEqual({ provider: 'dragonfly-eu', forgotten: 7 })
    expect((await post('providers/dragonfly-us/invalidate')).body).toMatchObject({
      status: 404,
      code: 'PH3002',
      known: ['dragonfly-eu'],
    })
  })

  test('reconcile says what is in force', async () => {
    expect((await open().post('reconcile')).body).toEqual({ revision: '4f2c' })
  })

  test.each([
    ['no JSON', '{', 'application/json', 400],
    ['a list', '[]', 'application/json', 400],
    ['a field too many', '{"reason":"x","force":true}', 'application/json', 400],
    ['a reason that is no text', '{"reason":1}', 'application/json', 400],
    ['no reason', '{}', 'application/json', 400],
    ['nothing but white space', '{"reason":" \\n"}', 'application/json', 400],
    ['a form, as a page of another site may send it', '{"reason":"x"}', 'text/plain', 415],
    ['JSON by half a name', '{"reason":"x"}', 'application/jsonp', 415],
  ])('a body of %s changes nothing', async (_, body, type, wanted) => {
    const { operations, post } = open()

    const { status } = await post('policies/library/release-images/executions', body, { 'content-type': type })

    expect(status).toBe(wanted)
    expect(operations.asked).toEqual([])
  })

  test('a body over 1 MiB is 413, whether it says so or not', async () => {
    const { operations, ask } = open()
    const body = JSON.stringify({ reason: 'x'.repeat(1024 * 1024) })
    const headers = { 'content-type': 'application/json' }
    const stream = new Blob([body]).stream()

    const told = await ask('POST', 'suspend', { body, headers: { ...headers, 'content-length': `${body.length}` } })
    const untold = await ask('POST', 'suspend', { body: stream, headers, duplex: 'half' })

    expect([told.status, untold.status]).toEqual([413, 413])
    expect(told.body['code']).toBe('PH8102')
    expect(operations.asked).toEqual([])
  })

  test('a reason keeps to one line of 500 characters', async () => {
    const { operations, post } = open()

    await post('suspend', { reason: `first\u001b[31m\nsecond${'x'.repeat(600)}` })

    const reason = operations.asked[0]?.[2].reason
    expect(reason).toHaveLength(500)
    expect(reason).toMatch(/^first \[31m second/)
  })
})

describe('refusals', () => {
  test('a method that a path does not have is 405 with those that it has', async () => {
    const { status, answer, body } = await open().post('status')

    expect(status).toBe(405)
    expect(answer.headers.get('allow')).toBe('GET, HEAD')
    expect(body['code']).toBe('PH8102')
  })

  test('what is nowhere is 404', async () => {
    expect((await open().ask('GET', 'nothing')).body).toMatchObject({ status: 404, code: 'PH8102' })
  })

  test('a source or an engine that failed is 502 with its code', async () => {
    const { operations, failures, post } = open()
    operations.refusal = new EdgeError('unavailable', 'PH5001', 'provider dragonfly-eu does not answer')

    const { body } = await post('providers/dragonfly-eu/invalidate')

    expect(body).toMatchObject({ status: 502, code: 'PH5001', detail: 'provider dragonfly-eu does not answer' })
    expect(failures).toEqual([])
  })

  test('a bug of ours is told to the log, and nothing of it to who asked', async () => {
    const { operations, failures, post } = open()
    operations.refusal = new Error('secret-in-a-stack')

    const { status, body } = await post('suspend', { reason: 'x' })

    expect(status).toBe(500)
    expect(body['code']).toBe('PH8109')
    expect(JSON.stringify(body)).not.toContain('secret-in-a-stack')
    expect(failures).toEqual([operations.refusal])
  })
})

describe('who may ask', () => {
  test('whoever has the token, under its name, and nobody else', async () => {
    const { operations, ask, post } = open({
      type: 'token',
      name: 'api-token',
      read: () => Promise.resolve(new Secret('s3cret')),
    })
    const reason = { reason: 'x' }

    const none = await ask('GET', 'status')
    const wrong = await post('suspend', reason, { authorization: 'Bearer s3cre' })
    const longer = await post('suspend', reason, { authorization: 'Bearer s3crets' })
    const basic = await post('suspend', reason, { authorization: 'Basic s3cret' })
    const described = await ask('GET', 'openapi.json')
    expect([none, wrong, longer, basic, described].map(({ status }) => status)).toEqual([401, 401, 401, 401, 401])
    expect(none.answer.headers.get('www-authenticate')).toMatch(/^Bearer/)
    expect(operations.asked).toEqual([])

    const right = await post('suspend', reason, { authorization: 'Bearer s3cret', 'preheatd-user': 'mallory' })
    expect(right.status).toBe(200)
    expect(operations.asked[0]?.[2].by).toBe('api-token')
  })

  test('a rotated token is in force at the next request', async () => {
    let token = 'old'
    const { ask } = open({ type: 'token', name: 'api', read: () => Promise.resolve(new Secret(token)) })
    const withOld = { headers: { authorization: 'Bearer old' } }
    expect((await ask('GET', 'status', withOld)).status).toBe(200)

    token = 'new'

    expect((await ask('GET', 'status', withOld)).status).toBe(401)
  })

  test('a web page whose name was made to lead to loopback is not on loopback', async () => {
    const { app, operations } = open({ type: 'loopback' })
    const headers = { 'content-type': 'application/json', 'preheatd-user': 'mallory' }
    const post = (host: string) =>
      app.request('http://127.0.0.1/api/v1/suspend', {
        method: 'POST',
        headers: { ...headers, host },
        body: '{"reason":"x"}',
      })

    expect((await post('evil.example.com')).status).toBe(421)
    expect((await post('127.0.0.1.evil.example.com:8081')).status).toBe(421)
    expect(operations.asked).toEqual([])
    for (const host of ['localhost:8081', '127.0.0.1:8081', '[::1]:8081']) expect((await post(host)).status).toBe(200)
    expect(operations.asked[0]?.[2].by).toBe('loopback')
  })

  test('no page of another site is allowed to ask', async () => {
    const { app } = open()

    const answer = await app.request('http://localhost/api/v1/suspend', {
      method: 'OPTIONS',
      headers: { origin: 'https://evil.example.com', 'access-control-request-method': 'POST' },
    })

    expect(answer.status).toBe(405)
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
  })
})

describe('the stream of events', () => {
  const started = { name: 'execution.started', execution: execution() } as const

  test('has what is remembered, then what happens, and ends with the execution', async () => {
    const { operations, app } = open()
    operations.known.set(ID, { execution: execution(), tasks: [] })
    operations.announced.push({ at: EXAMPLE_AT - 5000, event: started })

    const answer = await app.request(`http://localhost/api/v1/executions/${ID}/events`)
    operations.announce({ name: 'task.changed', task: task() })
    operations.announce({ name: 'task.changed', task: task({ id: 'other/1', executionId: 'other' }) })
    operations.announce({ name: 'source.unchanged', revision: '4f2c' })
    operations.announce({ name: 'execution.ended', execution: ended() })

    expect(answer.headers.get('content-type')).toBe('text/event-stream')
    const events = eventsOf(await answer.text())
    expect(events.map(({ name }) => name)).toEqual(['execution.started', 'task.changed', 'execution.ended'])
    expect(events[0]).toMatchObject({ at: '2026-11-21T01:59:55.000Z', execution: ID })
    expect(events[1]).toMatchObject({ task: { id: `${ID}/1`, provider: 'dragonfly-eu' } })
    expect(operations.listeners.size).toBe(0)
  })

  test('of an execution that has ended is what is remembered, and no more', async () => {
    const { operations, app } = open()
    operations.known.set(ID, { execution: ended(), tasks: [] })
    operations.announced.push({ at: EXAMPLE_AT, event: started })

    const answer = await app.request(`http://localhost/api/v1/executions/${ID}/events`)

    expect(eventsOf(await answer.text())).toHaveLength(1)
    expect(operations.listeners.size).toBe(0)
  })

  test('ends at once where nobody wants to follow', async () => {
    const { operations, app } = open()
    operations.known.set(ID, { execution: execution(), tasks: [] })
    operations.announced.push({ at: EXAMPLE_AT, event: started })

    const answer = await app.request(`http://localhost/api/v1/executions/${ID}/events?follow=false`)

    expect(eventsOf(await answer.text())).toHaveLength(1)
  })

  test('gives a sign of life every 15 s, and then sees an end that another replica announced', async () => {
    const { operations, app, clock } = open()
    operations.known.set(ID, { execution: execution(), tasks: [] })
    const answer = await app.request(`http://localhost/api/v1/executions/${ID}/events`)
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader.read()).value).toBe(': preheatd\n\n')
    expect(clock.nextWake).toBe(EXAMPLE_AT + 15_000)

    clock.advance(15_000)
    expect((await reader.read()).value).toBe(': still here\n\n')
    operations.known.set(ID, { execution: ended(), tasks: [] })
    await expect.poll(() => clock.nextWake).toBe(EXAMPLE_AT + 30_000)
    clock.advance(15_000)
    expect((await reader.read()).value).toBe(': still here\n\n')

    expect((await reader.read()).done).toBe(true)
    expect(operations.listeners.size).toBe(0)
  })

  test('leaves nothing behind when its reader goes away, and ends when the daemon does', async () => {
    const { operations, app, clock, closing } = open()
    operations.known.set(ID, { execution: execution(), tasks: [] })
    const left = await app.request(`http://localhost/api/v1/executions/${ID}/events`)
    const stays = await app.request(`http://localhost/api/v1/executions/${ID}/events`)
    expect(operations.listeners.size).toBe(2)

    await left.body!.cancel()
    expect(operations.listeners.size).toBe(1)
    closing.abort()

    expect(await stays.text()).toBe(': preheatd\n\n')
    expect(operations.listeners.size).toBe(0)
    expect(clock.nextWake).toBeUndefined()
  })

  test('of an execution that is not there is 404', async () => {
    const { operations, ask } = open()

    expect((await ask('GET', `executions/${ID}/events`)).body).toMatchObject({ status: 404, code: 'PH8104' })
    expect(operations.listeners.size).toBe(0)
  })

  test('the 65th at once is refused, and one that ends makes room', async () => {
    const { operations, app, ask } = open()
    operations.known.set(ID, { execution: execution(), tasks: [] })
    const path = `http://localhost/api/v1/executions/${ID}/events`
    const first = await app.request(path)
    for (let index = 1; index < 64; index++) await app.request(path)

    expect((await ask('GET', `executions/${ID}/events`)).body).toMatchObject({ status: 503, code: 'PH8106' })
    await first.body!.cancel()

    expect((await app.request(path)).status).toBe(200)
  })

  test('lets a reader go who takes nothing while 10,000 events wait', async () => {
    const { operations, app } = open()
    operations.known.set(ID, { execution: execution(), tasks: [] })
    await app.request(`http://localhost/api/v1/executions/${ID}/events`)
    const event = { name: 'task.changed', task: task() } as const

    for (let index = 0; index < 10_100; index++) operations.announce(event)

    expect(operations.listeners.size).toBe(0)
  })
})

function eventsOf(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => JSON.parse(line.slice(6)) as Record<string, unknown>)
}

describe('questions that others have to be asked for', () => {
  const WARMTH = 'warmth?reference=library/app:v1'

  /** Every question is thought about until the asker goes, and `signals` has who has gone. */
  function pondering(operations: MemoryOperations): AbortSignal[] {
    const signals: AbortSignal[] = []
    operations.thinking = (signal) => {
      signals.push(signal)
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          reject(signal.reason as Error)
        })
      })
    }
    return signals
  }

  test('an explanation is of a policy, or of one artifact of it', async () => {
    const { operations, ask } = open()

    const { status, body } = await ask('GET', 'policies/library/release-images/explanation?artifact=app:v1')
    await ask('GET', 'policies/release-images/explanation')

    expect([status, body]).toEqual([200, JSON.parse(JSON.stringify(operations.explanation))])
    expect(operations.questions).toEqual([
      ['explain', 'library/release-images', 'app:v1'],
      ['explain', 'release-images', undefined],
    ])
  })

  test('one that is too long for an answer says how to ask', async () => {
    const { operations, ask } = open()
    const [artifact] = operations.explanation.artifacts
    operations.explanation = { ...operations.explanation, artifacts: Array.from({ length: 20_001 }, () => artifact!) }

    const { status, body } = await ask('GET', 'policies/release-images/explanation')

    expect([status, body['code']]).toEqual([409, 'PH8101'])
    expect(body['detail']).toContain('name one')
  })

  test('warmth is of a reference, on one provider if need be, and is waited for', async () => {
    const { operations, ask } = open()

    const { status, body } = await ask('GET', `${WARMTH}&provider=dragonfly-eu&wait=1m30s`)

    expect(status).toBe(200)
    expect(body).toMatchObject({
      warm: true,
      providers: [{ from: 'ledger', evidence: { observedAt: '2026-11-21T02:00:00.000Z' } }],
    })
    expect(operations.questions).toEqual([
      [
        'warm',
        {
          reference: { name: 'library/app', tag: 'v1', digest: undefined },
          provider: 'dragonfly-eu',
          waitMs: 90_000,
        },
      ],
    ])
  })

  test.each([
    ['warmth', 'reference is'],
    ['warmth?reference=library/app', 'reference is'],
    [`${WARMTH}&wait=25h`, 'wait is a duration of at most 24h'],
    [`${WARMTH}&wait=soon`, 'wait is a duration'],
    [`${WARMTH}&force=true`, 'the query has no "force"'],
  ])('%s is refused, and nobody is asked', async (path, reason) => {
    const { operations, ask } = open()

    const { status, body } = await ask('GET', path)

    expect([status, body['code'], operations.questions]).toEqual([400, 'PH8102', []])
    expect(body['detail']).toContain(reason)
  })

  test.each([
    [new OperatorError('PH6003', 'no such tag'), 404],
    [new OperatorError('PH3002', 'no such provider'), 404],
    [new OperatorError('PH3017', 'may be two', { help: 'Write the host.' }), 409],
    [new CannotBegin('it is Stalled'), 409],
    [new CannotBegin('no policy is called "nope"', 'PH3003'), 404],
    [new EdgeError('unavailable', 'PH6001', 'no answer'), 502],
  ])('%o is the asker’s to mend, and no failure of the daemon', async (refusal, status) => {
    const { operations, ask, failures } = open()
    operations.refusal = refusal

    const answer = await ask('GET', WARMTH)

    expect(answer.status).toBe(status)
    expect(answer.body).toMatchObject({
      detail: refusal.message,
      ...(refusal instanceof OperatorError && refusal.help !== undefined && { help: refusal.help }),
    })
    expect(failures).toEqual([])
  })

  test('at most 32 are answered at once; who goes away makes room, and nothing is asked for them any more', async () => {
    const { operations, app, ask } = open()
    const signals = pondering(operations)
    const leave = new AbortController()
    const asked = Array.from(
      { length: 32 },
      async () => await app.request(new Request(`http://localhost/api/v1/${WARMTH}`, { signal: leave.signal })),
    )
    await expect.poll(() => signals.length).toBe(32)

    const refused = await ask('GET', WARMTH)
    const other = await ask('GET', 'status')
    leave.abort(new Error('gone'))
    await Promise.all(asked)
    operations.thinking = (_signal, answer) => Promise.resolve(answer)

    expect([refused.status, refused.body['code'], other.status]).toEqual([503, 'PH8112', 200])
    expect(signals.every(({ aborted }) => aborted)).toBe(true)
    expect((await ask('GET', WARMTH)).status).toBe(200)
  })

  test('what takes too long is given up, and says so', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const { operations, ask } = open()
      const signals = pondering(operations)
      const answer = ask('GET', `${WARMTH}&wait=10m`)
      await vi.advanceTimersByTimeAsync(WARM_MS + 599_000)
      expect(signals.map(({ aborted }) => aborted)).toEqual([false])
      await vi.advanceTimersByTimeAsync(1_000)

      const { status, body } = await answer

      expect([status, body['code'], body['detail']]).toEqual([504, 'PH8113', 'there was no answer within 12m'])
    } finally {
      vi.useRealTimers()
    }
  })

  test('a daemon that stops says so to who still waits', async () => {
    const { operations, ask, closing } = open()
    const signals = pondering(operations)
    const answer = ask('GET', WARMTH)
    await expect.poll(() => signals.length).toBe(1)

    closing.abort(new Error('the daemon stops'))

    expect(await answer).toMatchObject({ status: 503, body: { code: 'PH8107' } })
  })

  test('of the ledger is told what is known of the keys asked for, at most a thousand', async () => {
    const { operations, post } = open()
    const key = 'a'.repeat(64)
    operations.ledger = [{ key, warmAt: EXAMPLE_AT, evidence: EVIDENCE }]

    const { body } = await post('ledger', { keys: [key, 'b'.repeat(64)] })

    expect(body).toMatchObject({ entries: [{ key, warmAt: '2026-11-21T02:00:00.000Z', evidence: { blobs: 3 } }] })
    for (const keys of [undefined, 'a', [7], ['x'], Array.from({ length: 1001 }, () => key)])
      expect(await post('ledger', { keys })).toMatchObject({ status: 400, body: { code: 'PH8102' } })
    expect(await post('ledger', { keys: [], force: true })).toMatchObject({ status: 400 })
  })
})
