import { describe, expect, test } from 'vitest'
import type { DragonflyOptions, FakeDragonfly, Outcome } from '../doubles/dragonfly.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT, provider } from '../support/examples.ts'
import { PULL_TOKEN, blobs, dragonflyStage, never, opened } from '../support/engine.ts'
import { EdgeError } from '../../src/model/errors.ts'
import type { DragonflySettings } from '../../src/model/provider.ts'
import type { Order } from '../../src/model/task.ts'

interface Scenario {
  readonly options?: DragonflyOptions
  readonly outcome?: Outcome
  readonly order?: Partial<Order>
  readonly settings?: Partial<DragonflySettings>
  /** Before the submission. */
  readonly before?: (manager: FakeDragonfly) => void
  /** After it. */
  readonly after?: (manager: FakeDragonfly) => void
  /** Submissions; what the last one brings counts. Default 1. */
  readonly times?: number
  /** Between them; default a second. */
  readonly apartMs?: number
  /** What the driver makes of it: of the submission when that fails, otherwise of the look. */
  readonly is: object
  /** What the cluster really holds in the end. */
  readonly holds?: readonly string[]
}

const peers: Partial<Order> = { scope: 'all_peers' }
const ended = (said: string, cached: readonly string[] | undefined, message?: unknown): object => ({
  kind: 'ended',
  verdict: {
    said,
    claims: cached === undefined ? undefined : expect.objectContaining({ kind: 'success_tasks', cached }),
    message,
  },
})
const fault = (kind: string, code: string, message: RegExp, retryAfterMs?: number): object =>
  expect.objectContaining({ fault: kind, code, message: expect.stringMatching(message), retryAfterMs }) as object
const html = { kind: 'answer', status: 200, body: '<html>', headers: { 'content-type': 'text/html' } } as const
const toConsole = { kind: 'answer', status: 301, body: '', headers: { location: '/' } } as const
const twice = { kind: 'answer', status: 422, body: '{"errors":"EOF"}{"errors":"EOF"}' } as const
const next = (method: string, trouble: Parameters<FakeDragonfly['troubleNext']>[2]) => (manager: FakeDragonfly) => {
  manager.troubleNext(1, method, trouble)
}
const young = { id: 1, name: 'cluster-1', createdAt: EXAMPLE_AT - 60_000 }
const refused = 'task failed: rpc error: code = Internal desc = 401 Unauthorized'

const scenarios: Readonly<Record<string, Scenario>> = {
  complete: { is: ended('success', blobs), holds: blobs },
  'complete on all peers': { order: peers, is: ended('success', blobs), holds: blobs },
  'partial, of which nothing is said': {
    outcome: { kind: 'partial', missing: 1 },
    is: ended('success', blobs.slice(0, 3)),
    holds: blobs.slice(0, 3),
  },
  'partial on all peers': {
    outcome: { kind: 'partial', missing: 1 },
    order: peers,
    is: ended('success', blobs.slice(0, 3), refused),
  },
  'a peer that was named and is not there': {
    settings: { peers: { ips: ['10.1.1.1', '10.9.9.9'] } },
    order: peers,
    is: ended('success', []),
    holds: blobs,
  },
  'partial before 2.3.1': {
    options: { version: '2.2.5' },
    outcome: { kind: 'partial', missing: 1 },
    is: ended('failure', blobs.slice(0, 3), expect.stringContaining('401 Unauthorized')),
    holds: blobs.slice(0, 3),
  },
  'silent loss': { outcome: { kind: 'silent-loss' }, is: ended('success', []), holds: [] },
  'loss on all peers': {
    outcome: { kind: 'silent-loss' },
    order: peers,
    is: ended('failure', undefined, expect.stringContaining('all peers preheat failed')),
    holds: [],
  },
  'half a blob, told as whole': {
    outcome: { kind: 'half', blobs: 1 },
    // Only a probe tells: see the suite of evidence.
    is: ended('success', blobs),
    holds: blobs.slice(0, 3),
  },
  failure: { outcome: { kind: 'failure', error: 'boom' }, is: ended('failure', undefined, 'boom'), holds: [] },
  'no seed peer': {
    options: { clusters: [{ id: 1, name: 'cluster-1', seeds: 0 }] },
    is: ended('failure', undefined, 'cluster 1 scheduler 10.0.0.2 no available seed peer'),
    holds: [],
  },
  'no peer': {
    options: { clusters: [{ id: 1, name: 'cluster-1', peers: 0 }] },
    order: peers,
    is: ended('failure', undefined, expect.stringContaining('no available peer')),
    holds: [],
  },
  endless: { outcome: { kind: 'endless' }, is: ended('failure', undefined, expect.stringContaining('gave no error')) },
  stuck: { outcome: { kind: 'stuck' }, is: { kind: 'open' }, holds: blobs },
  'repeat, on hosts that are unknown': { outcome: { kind: 'repeat' }, is: ended('success', blobs), holds: blobs },
  'repeat, on hosts that are unknow': {
    options: { version: '2.4.1' },
    outcome: { kind: 'repeat' },
    is: ended('success', blobs),
  },
  collected: {
    after: (manager) => {
      manager.collect()
    },
    is: ended('gone', undefined, expect.stringContaining('no record')),
    holds: blobs,
  },
  reset: {
    after: (manager) => {
      manager.reset()
    },
    is: ended('gone', undefined, expect.stringContaining('no record')),
    holds: blobs,
  },
  '429: too many': {
    options: { requestsPerSecond: 1 },
    times: 2,
    apartMs: 0,
    is: fault('unavailable', 'PH5001', /rate limit exceeded/, 1000),
  },
  '429: a cluster that is not there': {
    settings: { clusters: { ids: [9] } },
    times: 3,
    is: fault('rejected', 'PH5009', /no cluster with id 9/),
  },
  '404: a cluster that is not there, before there was a limiter': {
    options: { version: '2.1.59' },
    settings: { clusters: { ids: [9] } },
    is: fault('rejected', 'PH5009', /HTTP 404: Not Found: it has no such cluster$/),
  },
  '404: a cluster that was deleted and that the limiter remembers': {
    before: (manager) => {
      manager.limited = manager.clusters
      manager.clusters = [{ id: 2, name: 'cluster-2' }]
    },
    is: fault('rejected', 'PH5009', /scheduler cluster id 1: record not found: it has no such cluster$/),
  },
  '429: a cluster that is new': {
    options: { clusters: [young] },
    times: 3,
    is: fault('unavailable', 'PH5001', /cluster 1 yet/, 118_000),
  },
  '429: a limiter that is down': {
    before: (manager) => {
      manager.redisFails = true
    },
    times: 5,
    is: fault('unavailable', 'PH5001', /rate limit exceeded/, 1000),
  },
  '422, said twice': { before: next('POST', twice), is: fault('rejected', 'PH5002', /HTTP 422: EOF$/) },
  '301 for a submission': { before: next('POST', toConsole), is: fault('unintelligible', 'PH5008', /REST address/) },
  '301 for a look': {
    after: next('GET /oapi/v1/jobs', toConsole),
    is: fault('unintelligible', 'PH5008', /REST address/),
  },
  'a page for a submission': { before: next('POST', html), is: fault('unintelligible', 'PH5008', /REST address/) },
  'a page for a look': {
    after: next('GET /oapi/v1/jobs', html),
    is: fault('unintelligible', 'PH5008', /REST address/),
  },
  slow: { before: next('POST', { kind: 'slow', ms: 50 }), is: ended('success', blobs), holds: blobs },
  'cut after the job was taken': {
    before: next('POST', { kind: 'cut' }),
    is: fault('unavailable', 'PH5001', /does not answer/),
    holds: blobs,
  },
  'cut at a look': {
    after: next('GET /oapi/v1/jobs', { kind: 'cut' }),
    is: fault('unavailable', 'PH5001', /does not answer/),
    holds: blobs,
  },
  'a loopback registry': {
    options: { refusesLoopback: true },
    is: fault('rejected', 'PH5002', /ip 127\.0\.0\.1 is invalid/),
    holds: [],
  },
  'a cluster without scheduler': {
    options: { clusters: [{ id: 1, name: 'cluster-1', scheduler: false }] },
    is: fault('rejected', 'PH5002', /candidate schedulers not found/),
  },
}

describe('what becomes of each scenario of a manager', () => {
  test.each(Object.entries(scenarios))('%s', async (_, scenario) => {
    const clock = new ManualClock(EXAMPLE_AT)
    const { options = {}, outcome = { kind: 'complete' }, settings, times = 1, apartMs = 1000 } = scenario
    const dragonfly = { ...provider().dragonfly, ...settings }
    const given = { now: () => clock.now(), outcomes: { 'library/app': outcome }, ...options }
    await using stage = await dragonflyStage(given, { dragonfly }, clock)
    const order = { ...stage.order, ...scenario.order }
    const [job] = await stage.engine.jobs(order, never)
    scenario.before?.(stage.manager)

    const attempt = async () => {
      const id = await stage.engine.submit(order, job!, PULL_TOKEN, never)
      scenario.after?.(stage.manager)
      return await stage.engine.observe(order, opened(job!, id), never)
    }
    let seen: unknown
    for (let i = 0; i < times; i += 1) {
      seen = await attempt().catch((error: unknown) => error)
      if (i < times - 1) clock.advance(apartMs)
    }

    expect(seen).toEqual(scenario.is)
    if (seen instanceof Error) expect(seen).toBeInstanceOf(EdgeError)
    if (scenario.holds !== undefined) expect(stage.manager.cached(1)).toEqual(new Set(scenario.holds))
  })

  test('hung: one look that hangs keeps no other from its answer, and ends with its caller', async () => {
    await using stage = await dragonflyStage()
    const [job] = await stage.engine.jobs(stage.order, never)
    const id = await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)
    stage.manager.troubleNext(1, 'GET /oapi/v1/jobs', { kind: 'hang' })
    const stop = new AbortController()
    const reason = new Error('stopping')
    const hung = stage.engine.observe(stage.order, opened(job!, id), stop.signal)
    await expect.poll(() => stage.manager.requests.at(-1)).toBe(`GET /oapi/v1/jobs/${id}`)

    expect(await stage.engine.observe(stage.order, opened(job!, id), never)).toEqual(ended('success', blobs))
    stop.abort(reason)

    await expect(hung).rejects.toBe(reason)
  })
})
