import { describe, expect, test } from 'vitest'
import { TOKEN, type DragonflyOptions, type FakeDragonfly, type Outcome } from '../doubles/dragonfly.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT, provider } from '../support/examples.ts'
import { PULL_TOKEN, blobs, dragonflyStage, never, opened, type DragonflyStage } from '../support/engine.ts'
import { settledTask } from '../support/settled.ts'
import type { Code } from '../../src/model/codes.ts'
import { EdgeError } from '../../src/model/errors.ts'
import type { DragonflySettings } from '../../src/model/provider.ts'
import type { Order, SettledState } from '../../src/model/task.ts'

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
  /** What a task of it ends as, with one retry: its state, and code and message of why it fell short. */
  readonly ends: readonly [SettledState, Code?, RegExp?]
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
  complete: { is: ended('success', blobs), holds: blobs, ends: ['Succeeded'] },
  'complete on all peers': { order: peers, is: ended('success', blobs), holds: blobs, ends: ['Succeeded'] },
  'partial, of which nothing is said': {
    outcome: { kind: 'partial', missing: 1 },
    is: ended('success', blobs.slice(0, 3)),
    holds: blobs.slice(0, 3),
    ends: ['Partial', 'PH5003', /1 of 4 in cluster-1$/],
  },
  'partial on all peers': {
    outcome: { kind: 'partial', missing: 1 },
    order: peers,
    is: ended('success', blobs.slice(0, 3), refused),
    ends: ['Partial', 'PH5003', /1 of 4 in cluster-1; task failed: .* 401 Unauthorized$/],
  },
  'a peer that was named and is not there': {
    settings: { peers: { ips: ['10.1.1.1', '10.9.9.9'] } },
    order: peers,
    is: ended('success', []),
    holds: blobs,
    ends: ['Failed', 'PH5003', /4 of 4 in cluster-1$/],
  },
  'partial before 2.3.1': {
    options: { version: '2.2.5' },
    outcome: { kind: 'partial', missing: 1 },
    is: ended('failure', blobs.slice(0, 3), expect.stringContaining('401 Unauthorized')),
    holds: blobs.slice(0, 3),
    ends: ['Partial', 'PH5006', /^download .* 401 Unauthorized$/],
  },
  'silent loss': {
    outcome: { kind: 'silent-loss' },
    is: ended('success', []),
    holds: [],
    ends: ['Failed', 'PH5003', /said success and did not list every blob as cached: 4 of 4 in cluster-1$/],
  },
  'loss on all peers': {
    outcome: { kind: 'silent-loss' },
    order: peers,
    is: ended('failure', undefined, expect.stringContaining('all peers preheat failed')),
    holds: [],
    ends: ['Failed', 'PH5006', /^all peers preheat failed/],
  },
  'half a blob, told as whole': {
    outcome: { kind: 'half', blobs: 1 },
    // Only a probe tells: see the suite of evidence.
    is: ended('success', blobs),
    holds: blobs.slice(0, 3),
    ends: ['Succeeded'],
  },
  failure: {
    outcome: { kind: 'failure', error: 'boom' },
    is: ended('failure', undefined, 'boom'),
    holds: [],
    ends: ['Failed', 'PH5006', /^boom$/],
  },
  'no seed peer': {
    options: { clusters: [{ id: 1, name: 'cluster-1', seeds: 0 }] },
    is: ended('failure', undefined, 'cluster 1 scheduler 10.0.0.2 no available seed peer'),
    holds: [],
    ends: ['Failed', 'PH5006', /no available seed peer$/],
  },
  'no peer': {
    options: { clusters: [{ id: 1, name: 'cluster-1', peers: 0 }] },
    order: peers,
    is: ended('failure', undefined, expect.stringContaining('no available peer')),
    holds: [],
    ends: ['Failed', 'PH5006', /no available peer$/],
  },
  endless: {
    outcome: { kind: 'endless' },
    is: ended('failure', undefined, expect.stringContaining('gave no error')),
    ends: ['Failed', 'PH5006', /gave no error$/],
  },
  stuck: { outcome: { kind: 'stuck' }, is: { kind: 'open' }, holds: blobs, ends: ['Succeeded'] },
  'repeat, on hosts that are unknown': {
    outcome: { kind: 'repeat' },
    is: ended('success', blobs),
    holds: blobs,
    ends: ['Succeeded'],
  },
  'repeat, on hosts that are unknow': {
    options: { version: '2.4.1' },
    outcome: { kind: 'repeat' },
    is: ended('success', blobs),
    ends: ['Succeeded'],
  },
  collected: {
    after: (manager) => {
      manager.collect()
    },
    is: ended('gone', undefined, expect.stringContaining('no record')),
    holds: blobs,
    ends: ['Succeeded'],
  },
  reset: {
    after: (manager) => {
      manager.reset()
    },
    is: ended('gone', undefined, expect.stringContaining('no record')),
    holds: blobs,
    ends: ['Succeeded'],
  },
  '429: too many': {
    options: { requestsPerSecond: 1 },
    times: 2,
    apartMs: 0,
    is: fault('unavailable', 'PH5001', /rate limit exceeded/, 1000),
    ends: ['Succeeded'],
  },
  '429: a cluster that is not there': {
    settings: { clusters: { ids: [9] } },
    times: 3,
    is: fault('rejected', 'PH5009', /no cluster with id 9/),
    ends: ['Failed', 'PH5009', /no cluster with id 9$/],
  },
  '404: a cluster that is not there, before there was a limiter': {
    options: { version: '2.1.59' },
    settings: { clusters: { ids: [9] } },
    is: fault('rejected', 'PH5009', /HTTP 404: Not Found: it has no such cluster$/),
    ends: ['Failed', 'PH5009', /has no such cluster$/],
  },
  '404: a cluster that was deleted and that the limiter remembers': {
    settings: { clusters: { ids: [1] } },
    before: (manager) => {
      manager.limited = manager.clusters
      manager.clusters = [{ id: 2, name: 'cluster-2' }]
    },
    is: fault('rejected', 'PH5009', /scheduler cluster id 1: record not found: it has no such cluster$/),
    ends: ['Failed', 'PH5009', /has no such cluster$/],
  },
  '429: a cluster that is new': {
    options: { clusters: [young] },
    times: 3,
    is: fault('unavailable', 'PH5001', /cluster 1 yet/, 118_000),
    ends: ['Succeeded'],
  },
  '429: a cluster that is new by a clock that is ahead': {
    options: { clusters: [{ ...young, createdAt: EXAMPLE_AT + 60_000 }] },
    times: 3,
    is: fault('unavailable', 'PH5001', /rate limit exceeded/, 1000),
    ends: ['Succeeded'],
  },
  '429: a limiter that is down': {
    before: (manager) => {
      manager.redisFails = true
    },
    times: 5,
    is: fault('unavailable', 'PH5001', /rate limit exceeded/, 1000),
    ends: ['Failed', 'PH5001', /rate limit exceeded/],
  },
  '422, said twice': {
    before: next('POST', twice),
    is: fault('rejected', 'PH5002', /HTTP 422: EOF$/),
    ends: ['Failed', 'PH5002', /HTTP 422: EOF$/],
  },
  '301 for a submission': {
    before: next('POST', toConsole),
    is: fault('unintelligible', 'PH5008', /REST address/),
    ends: ['Failed', 'PH5008', /HTTP 301.*REST address/],
  },
  '301 for a look': {
    after: next('GET /oapi/v1/jobs', toConsole),
    is: fault('unintelligible', 'PH5008', /REST address/),
    ends: ['Succeeded'],
  },
  'a page for a submission': {
    before: next('POST', html),
    is: fault('unintelligible', 'PH5008', /REST address/),
    ends: ['Failed', 'PH5008', /HTTP 200.*REST address/],
  },
  'a page for a look': {
    after: next('GET /oapi/v1/jobs', html),
    is: fault('unintelligible', 'PH5008', /REST address/),
    ends: ['Succeeded'],
  },
  slow: {
    before: next('POST', { kind: 'slow', ms: 50 }),
    is: ended('success', blobs),
    holds: blobs,
    ends: ['Succeeded'],
  },
  'cut after the job was taken': {
    before: next('POST', { kind: 'cut' }),
    is: fault('unavailable', 'PH5001', /does not answer/),
    holds: blobs,
    ends: ['Succeeded'],
  },
  'cut at a look': {
    after: next('GET /oapi/v1/jobs', { kind: 'cut' }),
    is: fault('unavailable', 'PH5001', /does not answer/),
    holds: blobs,
    ends: ['Succeeded'],
  },
  'a loopback registry': {
    options: { refusesLoopback: true },
    is: fault('rejected', 'PH5002', /ip 127\.0\.0\.1 is invalid/),
    holds: [],
    ends: ['Failed', 'PH5002', /ip 127\.0\.0\.1 is invalid$/],
  },
  'a cluster without scheduler': {
    options: { clusters: [{ id: 1, name: 'cluster-1', scheduler: false }] },
    is: fault('rejected', 'PH5002', /candidate schedulers not found/),
    ends: ['Failed', 'PH5002', /candidate schedulers not found$/],
  },
  'complete on all seed peers': {
    order: { scope: 'all_seed_peers' },
    is: ended('success', blobs),
    holds: blobs,
    ends: ['Succeeded'],
  },
  'no seed peer of all': {
    options: { clusters: [{ id: 1, name: 'cluster-1', seeds: 0 }] },
    order: { scope: 'all_seed_peers' },
    is: ended('failure', undefined, expect.stringContaining('no available seed peer')),
    ends: ['Failed', 'PH5006', /no available seed peer$/],
  },
  'no seed peer of those that were named': {
    settings: { peers: { ips: ['10.9.9.9'] } },
    order: { scope: 'all_seed_peers' },
    is: ended('failure', undefined, 'no seed peer found for ips [10.9.9.9]'),
    ends: ['Failed', 'PH5006', /no seed peer found for ips/],
  },
  'one of two clusters fails while the other is at it': {
    options: {
      clusters: [
        { id: 1, name: 'cluster-1' },
        { id: 2, name: 'cluster-2' },
      ],
      tokens: [{ token: TOKEN, scopes: ['job'] }],
    },
    before: (manager) => {
      manager.outcome = (_, id) => (id === 1 ? { kind: 'failure', error: 'boom' } : { kind: 'endless' })
    },
    is: ended('failure', undefined, 'boom'),
    ends: ['Failed', 'PH5006', /^boom$/],
  },
  'half a blob, of a job whose record is gone': {
    outcome: { kind: 'half', blobs: 1 },
    after: (manager) => {
      manager.collect()
    },
    is: ended('gone', undefined, expect.stringContaining('no record')),
    // The second job is told as whole.
    ends: ['Succeeded'],
  },
  'collected, before 2.3.1': {
    options: { version: '2.2.5' },
    after: (manager) => {
      manager.collect()
    },
    is: ended('gone', undefined, expect.stringContaining('no record')),
    ends: ['Unverified', 'PH5004', /no record of the job any more; nothing could be looked at$/],
  },
  'collected, before 2.1.63': {
    options: { version: '2.1.59' },
    after: (manager) => {
      manager.collect()
    },
    is: ended('gone', undefined, expect.stringContaining('no record')),
    ends: ['Unverified', 'PH5004', /no record of the job any more; /],
  },
  'open for ever, with nothing cached': {
    options: { looksMs: [0, 36_000_000] },
    outcome: { kind: 'endless' },
    is: { kind: 'open' },
    holds: [],
    ends: ['Lost', 'PH5005', /never said how the job ended$/],
  },
  'a list of clusters that cannot be made': {
    options: { clusters: [{ id: 1, name: 'cluster-1', seedClusters: 2 }] },
    is: fault('rejected', 'PH5009', /write clusterIds$/),
    ends: ['Failed', 'PH5009', /write clusterIds$/],
  },
  '401: a token that is not known': {
    options: { tokens: [] },
    is: fault('rejected', 'PH5007', /HTTP 401: Unauthorized$/),
    ends: ['Failed', 'PH5007', /Unauthorized$/],
  },
  '403: a token that is inactive': {
    options: { tokens: [{ token: TOKEN, state: 'inactive' }] },
    is: fault('rejected', 'PH5007', /Token is inactive$/),
    ends: ['Failed', 'PH5007', /Token is inactive$/],
  },
  '403: a token that has expired': {
    options: { tokens: [{ token: TOKEN, expiresAt: EXAMPLE_AT }] },
    is: fault('rejected', 'PH5007', /Token has expired$/),
    ends: ['Failed', 'PH5007', /Token has expired$/],
  },
  '403: a token without the scope job': {
    options: { tokens: [{ token: TOKEN, scopes: ['cluster'] }] },
    is: fault('rejected', 'PH5007', /Required permission: job$/),
    ends: ['Failed', 'PH5007', /Required permission: job$/],
  },
}

type Setting = Pick<Scenario, 'options' | 'outcome' | 'settings'>

async function stageOf(scenario: Setting, clock: ManualClock): Promise<DragonflyStage> {
  const { options, outcome = { kind: 'complete' }, settings } = scenario
  const dragonfly = { ...provider().dragonfly, ...settings }
  const given = { now: () => clock.now(), outcomes: { 'library/app': outcome }, ...options }
  return await dragonflyStage(given, { dragonfly }, clock)
}

describe('what a task of each scenario ends as', () => {
  test.each(Object.entries(scenarios))('%s', async (_, scenario) => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await stageOf(scenario, clock)
    scenario.before?.(stage.manager)

    const { state, error } = await settledTask(
      stage.engine,
      { ...stage.order, ...scenario.order },
      PULL_TOKEN,
      clock,
      () => scenario.after?.(stage.manager),
    )

    const [wanted, code, message = /^$/] = scenario.ends
    expect([state, error?.code]).toEqual([wanted, code])
    expect(error?.message ?? '').toMatch(message)
  })
})

describe('what becomes of each scenario of a manager', () => {
  test.each(Object.entries(scenarios))('%s', async (_, scenario) => {
    const clock = new ManualClock(EXAMPLE_AT)
    const { times = 1, apartMs = 1000 } = scenario
    await using stage = await stageOf(scenario, clock)
    const order = { ...stage.order, ...scenario.order }
    scenario.before?.(stage.manager)

    const attempt = async () => {
      const [job] = await stage.engine.jobs(order, never)
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

  test.each([
    ['a foreign layer alone', 1, 'Succeeded', [], undefined],
    ['a wanted blob besides', 2, 'Partial', [blobs[2]], 'PH5006'],
  ] as const)('a foreign layer, before 2.3.1: what fails is %s', async (_, missing, state, lacking, code) => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await stageOf({ options: { version: '2.2.5' }, outcome: { kind: 'partial', missing } }, clock)
    const manifests = stage.order.manifests.map((one) => ({ ...one, blobs: one.blobs.slice(0, 3) }))

    const settled = await settledTask(stage.engine, { ...stage.order, manifests }, PULL_TOKEN, clock)

    expect([settled.state, settled.missing, settled.error?.code]).toEqual([state, lacking, code])
    expect(settled.evidence).toMatchObject({ blobs: 3 - lacking.length, of: 3 })
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
