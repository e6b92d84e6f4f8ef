import { beforeAll, describe, expect, test } from 'vitest'
import { FakeDragonfly, TOKEN, type ManagerVersion, type Outcome } from '../doubles/dragonfly.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT, provider } from '../support/examples.ts'
import { PULL_TOKEN, blobs, dragonflyStage, never, opened, type DragonflyStage } from '../support/engine.ts'
import type { EdgeError } from '../../src/model/errors.ts'
import type { DragonflySettings } from '../../src/model/provider.ts'
import type { ArtifactOrder } from '../../src/model/task.ts'

/** What a client sees of a release; every row differs from the one before it. */
const releases: Readonly<Record<ManagerVersion, object>> = {
  '2.1.59': {
    version: '>= 2.1.57',
    scopes: [422, 422, 200],
    entries: 4,
    partial: 'FAILURE',
    unknownHost: 'unknow',
    ping: 200,
    unknownCluster: 404,
    unbound: 1,
    expired: 200,
    lowerCaseBearer: 401,
    missing: 'Not Found',
    firstLooks: 'within 10 s',
    getTask: 422,
  },
  '2.2.5': {
    version: '>= 2.2.3',
    scopes: [200, 200, 200],
    entries: 4,
    partial: 'FAILURE',
    unknownHost: 'unknow',
    ping: 200,
    unknownCluster: 429,
    unbound: 2,
    expired: 403,
    lowerCaseBearer: 401,
    missing: 'record not found',
    firstLooks: 'uneven',
    getTask: 'presence',
  },
  '2.3.1': {
    version: '>= 2.3.1',
    scopes: [200, 200, 200],
    entries: 1,
    partial: 'SUCCESS',
    unknownHost: 'unknow',
    ping: 200,
    unknownCluster: 429,
    unbound: 2,
    expired: 403,
    lowerCaseBearer: 200,
    missing: 'record not found',
    firstLooks: 'uneven',
    getTask: 'presence',
  },
  '2.4.1': {
    version: '>= 2.3.1',
    scopes: [200, 200, 200],
    entries: 1,
    partial: 'SUCCESS',
    unknownHost: 'unknow',
    ping: 301,
    unknownCluster: 429,
    unbound: 2,
    expired: 403,
    lowerCaseBearer: 200,
    missing: 'record not found',
    firstLooks: '30 s, 90 s',
    getTask: 'IsFinished',
  },
  '2.5.1': {
    version: '>= 2.4.4',
    scopes: [200, 200, 200],
    entries: 1,
    partial: 'SUCCESS',
    unknownHost: 'unknown',
    ping: 301,
    unknownCluster: 429,
    unbound: 2,
    expired: 403,
    lowerCaseBearer: 200,
    missing: 'record not found',
    firstLooks: '30 s, 90 s',
    getTask: 'IsFinished',
  },
  next: {
    version: '> 2.5.1',
    scopes: [200, 200, 200],
    entries: 1,
    partial: 'SUCCESS',
    unknownHost: 'unknown',
    ping: 301,
    unknownCluster: 429,
    unbound: 2,
    expired: 403,
    lowerCaseBearer: 200,
    missing: 'record not found',
    firstLooks: '30 s, 90 s',
    getTask: 'IsFinished',
  },
}

interface Row {
  readonly id: number
  readonly state: string
  readonly updated_at: string
  readonly result: { readonly job_states: readonly { readonly results: readonly Entry[] | null }[] } | null
}

interface Entry {
  readonly success_tasks?: readonly { readonly hostname: string }[]
  readonly peers?: readonly object[]
}

/** What a client sees of the double when it is set to a release. */
async function seenOf(version: ManagerVersion): Promise<Readonly<Record<string, unknown>>> {
  const clock = new ManualClock(EXAMPLE_AT)
  const tokens = [{ token: TOKEN }, { token: 'old', expiresAt: 1 }]
  const outcomes = { 'library/app': { kind: 'repeat' } } as const
  const now = () => clock.now()
  const dragonfly = { ...provider().dragonfly, taskId: 'url' as const }
  await using stage = await dragonflyStage(
    { version, tokens, outcomes, now, requestsPerSecond: 1000 },
    { dragonfly },
    clock,
  )
  await using looks = await FakeDragonfly.start({ version, now, jobMs: 1_000 })
  const { manager, registry, order } = stage
  const url = `${registry.endpoint}/v2/library/app/manifests/${order.manifests[0]!.digest}`
  const args = { type: 'image', url, headers: { Authorization: PULL_TOKEN.reveal() } }
  const call = async (path: string, init: RequestInit = {}, authorization = `Bearer ${TOKEN}`) =>
    await fetch(path.startsWith('http') ? path : manager.endpoint + path, {
      redirect: 'manual',
      ...init,
      headers: { authorization },
    })
  const post = (body: unknown, to = manager.endpoint) =>
    call(`${to}/oapi/v1/jobs`, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) })
  const row = async (response: Response) => (await response.json()) as Row
  const at = async (id: number, on = manager.endpoint) => await row(await call(`${on}/oapi/v1/jobs/${id}`))

  const scopes = ['single_seed_peer', 'all_seed_peers', 'all_peers']
  const statuses = await Promise.all(
    scopes.map(async (scope) => (await post({ type: 'preheat', args: { ...args, scope } })).status),
  )
  const told = await at((await row(await post({ type: 'preheat', args }))).id)
  manager.outcome = () => ({ kind: 'partial', missing: 1 })
  const partial = await at((await row(await post({ type: 'preheat', args }))).id)
  manager.outcome = () => ({ kind: 'complete' })
  await post({ type: 'preheat', args })
  const blob = `${registry.endpoint}/v2/library/app/blobs/${blobs[0]!}`
  const by = version === 'next' ? { task_id: blobs[0]!.slice(7) } : { url: blob }
  const question = await post({ type: 'get_task', args: by })
  const found = question.status === 200 ? await at((await row(question)).id) : undefined
  const peer = found?.result?.job_states[0]?.results?.[0]?.peers?.[0]
  const { id } = await row(await post({ type: 'preheat', args }, looks.endpoint))
  const ages = [0]
  while ((await at(id, looks.endpoint)).state === 'PENDING') {
    clock.advance(1_000)
    const age = Date.parse((await at(id, looks.endpoint)).updated_at) - EXAMPLE_AT
    if (age !== ages.at(-1)) ages.push(age)
  }

  return {
    version: (await stage.engine.abilities(never)).version,
    scopes: statuses,
    entries: told.result?.job_states.length,
    partial: partial.state,
    unknownHost: told.result?.job_states[0]?.results?.[0]?.success_tasks?.[0]?.hostname,
    ping: (await call('/_ping')).status,
    unknownCluster: (await post({ type: 'preheat', args, scheduler_cluster_ids: [99] })).status,
    unbound: (await (await post('')).text()).split('EOF').length - 1,
    expired: (await call('/oapi/v1/jobs', {}, 'Bearer old')).status,
    lowerCaseBearer: (await call('/oapi/v1/jobs', {}, `bearer ${TOKEN}`)).status,
    missing: ((await (await call('/oapi/v1/jobs/99')).json()) as { message: string }).message,
    firstLooks: ages[1]! <= 10_000 ? 'within 10 s' : ages[1] === 30_000 ? '30 s, 90 s' : 'uneven',
    getTask: peer === undefined ? question.status : 'IsFinished' in peer ? 'IsFinished' : 'presence',
  }
}

const versions = Object.keys(releases) as ManagerVersion[]
const neighbours = versions.slice(1).map((version, i) => [versions[i]!, version] as const)

describe('what a client sees of the double', () => {
  const seen = new Map<ManagerVersion, Readonly<Record<string, unknown>>>()
  beforeAll(async () => {
    for (const version of versions) seen.set(version, await seenOf(version))
  })

  test.each(versions)('set to %s it is what that release shows', (version) => {
    expect(seen.get(version)).toEqual(releases[version])
  })

  test.each(neighbours)('set to %s it fails the row of %s, and the other way round', (one, other) => {
    expect(seen.get(one)).not.toEqual(releases[other])
    expect(seen.get(other)).not.toEqual(releases[one])
  })
})

/** A scenario that only one of two neighbouring releases passes: what the driver makes of each. */
interface Difference {
  readonly what: string
  readonly between: readonly [ManagerVersion, ManagerVersion]
  readonly are: readonly [unknown, unknown]
  readonly run: (on: Timed) => Promise<unknown>
  readonly settings?: Partial<DragonflySettings>
  readonly outcome?: Outcome
}

interface Timed {
  readonly clock: ManualClock
  readonly stage: DragonflyStage
}

/** Submits and tells how it ended; a refusal by its code. */
async function ended({ clock, stage }: Timed, more: Partial<ArtifactOrder> = {}): Promise<unknown> {
  const order = { ...stage.order, ...more }
  const [job] = await stage.engine.jobs(order, never)
  try {
    const id = await stage.engine.submit(order, job!, PULL_TOKEN, never)
    clock.advance(3_600_000)
    const look = await stage.engine.observe(order, opened(job!, id), never)
    return look.kind === 'open' ? 'open' : [look.verdict.said, look.verdict.claims?.cached.length]
  } catch (error) {
    return (error as EdgeError).code
  }
}

async function probed({ clock, stage }: Timed): Promise<unknown> {
  const [job] = await stage.engine.jobs(stage.order, never)
  await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)
  let probe = await stage.engine.probe(stage.order, job!, undefined, never)
  while (probe.kind === 'open') {
    clock.set(probe.lookAt)
    probe = await stage.engine.probe(stage.order, job!, probe.notes, never)
  }
  return probe.claims?.cached.length
}

async function versionShown(on: Timed): Promise<unknown> {
  await ended(on)
  return (await on.stage.engine.abilities(never)).version
}

const differences: readonly Difference[] = [
  {
    what: 'a scope that 2.1.59 has no word for',
    between: ['2.1.59', '2.2.5'],
    are: ['PH3007', ['success', 4]],
    run: (on) => ended(on, { scope: 'all_seed_peers' }),
  },
  {
    what: 'a cluster that was deleted, which the limiter hides from 2.1.63 on',
    between: ['2.1.59', '2.2.5'],
    are: ['PH5009', 'PH5001'],
    run: async (on) => {
      const [job] = await on.stage.engine.jobs(on.stage.order, never)
      on.stage.manager.clusters = [{ id: 2, name: 'cluster-2' }]
      const refused = on.stage.engine.submit(on.stage.order, job!, PULL_TOKEN, never)
      return await refused.then(undefined, (error: unknown) => (error as EdgeError).code)
    },
  },
  {
    what: 'a layer that cannot be fetched, which fails the job up to 2.3.0 and is passed over since',
    between: ['2.2.5', '2.3.1'],
    are: [
      ['failure', 3],
      ['success', 3],
    ],
    outcome: { kind: 'partial', missing: 1 },
    run: (on) => ended(on),
  },
  {
    what: 'all peers, which the seeds are among before 2.3.1',
    between: ['2.2.5', '2.3.1'],
    are: [5, 3],
    run: async ({ clock, stage }) => {
      const order = { ...stage.order, scope: 'all_peers' as const }
      const [job] = await stage.engine.jobs(order, never)
      const id = await stage.engine.submit(order, job!, PULL_TOKEN, never)
      clock.advance(3_600_000)
      const look = await stage.engine.observe(order, opened(job!, id), never)
      return look.kind === 'ended' && look.verdict.claims?.peers
    },
  },
  {
    what: 'peers by address, which are dropped before 2.3.1: the second job is refused',
    between: ['2.2.5', '2.3.1'],
    are: ['PH5002', ['success', 4]],
    settings: { peers: { ips: ['10.1.1.1'] } },
    run: async (on) => {
      const [job] = await on.stage.engine.jobs(on.stage.order, never)
      await on.stage.engine.submit({ ...on.stage.order, scope: 'all_peers' }, job!, PULL_TOKEN, never)
      return await ended(on, { scope: 'all_peers' })
    },
  },
  {
    what: 'a look at the caches, which shows what is whole from 2.4.0 on',
    between: ['2.3.1', '2.4.1'],
    are: [undefined, 4],
    run: probed,
  },
  {
    what: 'the version as its echo shows it, by the args of 2.4.4',
    between: ['2.4.1', '2.5.1'],
    are: ['>= 2.3.1', '>= 2.4.4'],
    run: versionShown,
  },
  {
    what: 'ids made of digests, which are wanted and not known before #4975',
    between: ['2.5.1', 'next'],
    are: [
      ['success', undefined],
      ['success', 4],
    ],
    settings: { taskId: 'digest' },
    run: (on) => ended(on),
  },
]

describe('a scenario that tells a release from its neighbour', () => {
  test.each(differences)('$between: $what', async ({ between, are, run, settings, outcome }) => {
    const outcomes = outcome === undefined ? {} : { 'library/app': outcome }
    const seen: unknown[] = []
    for (const version of between) {
      const clock = new ManualClock(EXAMPLE_AT)
      const dragonfly = { ...provider().dragonfly, taskId: 'url' as const, ...settings }
      await using stage = await dragonflyStage({ version, outcomes, now: () => clock.now() }, { dragonfly }, clock)
      seen.push(await run({ clock, stage }))
    }

    expect(seen).toEqual(are)
    expect(seen[0]).not.toEqual(seen[1])
  })

  test('is there for every pair of neighbours', () => {
    const pairs = new Set(differences.map(({ between }) => between.join(' ')))

    expect(pairs).toEqual(new Set(neighbours.map((pair) => pair.join(' '))))
  })
})

describe('what can be proven by release', () => {
  const peerNames = ['seed-1-0 10.1.0.1', 'seed-1-1 10.1.0.2']
  const shown = { kind: 'get_task', source: 'observed', cached: blobs, peers: 2, peerNames }
  test.each<[ManagerVersion, object | undefined, number]>([
    // Accepts ids only, and its own memory is all that it asks: it is not even asked.
    ['2.1.59', undefined, 0],
    ['2.2.5', undefined, 0],
    // Presence is not completeness. One question more: the first blob, by the ids that nodes may use.
    ['2.3.1', undefined, 5],
    ['2.4.1', shown, 5],
    ['2.5.1', shown, 5],
    ['next', shown, 5],
  ])('%s', async (version, claims, questions) => {
    const clock = new ManualClock(EXAMPLE_AT)
    const dragonfly = { ...provider().dragonfly, taskId: 'auto' as const }
    await using stage = await dragonflyStage({ version, now: () => clock.now() }, { dragonfly }, clock)
    const [job] = await stage.engine.jobs(stage.order, never)
    await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)

    let probe = await stage.engine.probe(stage.order, job!, undefined, never)
    if (probe.kind === 'open') {
      clock.set(probe.lookAt)
      probe = await stage.engine.probe(stage.order, job!, probe.notes, never)
    }

    expect(probe).toEqual({ kind: 'ended', claims })
    expect(stage.manager.probes).toHaveLength(questions)
  })

  test('a manager before 2.3.1 that is not known yet and cannot be asked by URL says so itself', async () => {
    await using stage = await dragonflyStage({ version: '2.1.59' })
    const [job] = await stage.engine.jobs(stage.order, never)

    expect(await stage.engine.probe(stage.order, job!, undefined, never)).toEqual({ kind: 'ended', claims: undefined })
    expect(stage.manager.probes.every(({ status }) => status === 422)).toBe(true)
  })
})

test.each<[ManagerVersion, readonly number[]]>([
  ['2.1.59', [10, 20, 30, 40, 90]],
  ['2.2.5', [10, 20, 30, 40, 90]],
  ['2.3.1', [10, 20, 30, 40, 90]],
  // What its echo shows is no more than that of 2.3.1.
  ['2.4.1', [10, 20, 30, 40, 90]],
  ['2.5.1', [30, 90, 210, 450, 750]],
  ['next', [30, 90, 210, 450, 750]],
])(
  'a job of a manager %s is looked at at %j s, early as well where its own looks may be at random ages',
  async (version, ages) => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await dragonflyStage({ version, now: () => clock.now() }, {}, clock)
    const [job] = await stage.engine.jobs(stage.order, never)
    await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)

    const looks: number[] = []
    while (looks.length < ages.length) {
      const next = stage.engine.nextLook(EXAMPLE_AT, EXAMPLE_AT + (looks.at(-1) ?? 0) * 1000 + 999)
      looks.push(Math.floor((next - EXAMPLE_AT) / 1000))
    }

    expect(looks).toEqual(ages)
  },
)

test('a schedule that begins early is kept whatever the manager', async () => {
  const clock = new ManualClock(EXAMPLE_AT)
  const dragonfly = { ...provider().dragonfly, pollScheduleMs: [500, 60_000] }
  await using stage = await dragonflyStage({ version: '2.2.5', now: () => clock.now() }, { dragonfly }, clock)
  const [job] = await stage.engine.jobs(stage.order, never)
  await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)

  expect(stage.engine.nextLook(EXAMPLE_AT, EXAMPLE_AT + 500)).toBe(EXAMPLE_AT + 60_000)
})
