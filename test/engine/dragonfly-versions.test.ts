import { describe, expect, test } from 'vitest'
import { FakeDragonfly, TOKEN, type ManagerVersion } from '../doubles/dragonfly.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT, provider } from '../support/examples.ts'
import { PULL_TOKEN, blobs, dragonflyStage, never } from '../support/engine.ts'

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

describe.each(Object.entries(releases) as [ManagerVersion, object][])('the manager of %s', (version, expected) => {
  test('shows itself as that release does', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    const tokens = [{ token: TOKEN }, { token: 'old', expiresAt: 1 }]
    const outcomes = { 'library/app': { kind: 'repeat' } } as const
    const now = () => clock.now()
    await using stage = await dragonflyStage({ version, tokens, outcomes, now, requestsPerSecond: 1000 }, {}, clock)
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

    expect({
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
    }).toEqual(expected)
  })
})

test('no release of the table could pass for its neighbour', () => {
  const rows = Object.values(releases).map((one) => JSON.stringify(one))

  expect(new Set(rows).size).toBe(rows.length)
})

describe('what can be proven by release', () => {
  test.each<[ManagerVersion, object | undefined, number]>([
    // Accepts ids only, and its own memory is all that it asks: it is not even asked.
    ['2.1.59', undefined, 0],
    ['2.2.5', undefined, 0],
    // Presence is not completeness.
    ['2.3.1', undefined, 4],
    ['2.4.1', { kind: 'get_task', source: 'observed', cached: blobs, peers: 2 }, 4],
    ['2.5.1', { kind: 'get_task', source: 'observed', cached: blobs, peers: 2 }, 4],
    ['next', { kind: 'get_task', source: 'observed', cached: blobs, peers: 2 }, 4],
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

test('a manager before 2.3.1 is looked at early as well, because its own looks are at random ages', async () => {
  for (const [version, first] of [
    ['2.2.5', 10_000],
    ['2.3.1', 30_000],
  ] as const) {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await dragonflyStage({ version, now: () => clock.now() }, {}, clock)
    const [job] = await stage.engine.jobs(stage.order, never)
    await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)

    const waits = stage.engine.nextLook(EXAMPLE_AT, EXAMPLE_AT) - EXAMPLE_AT
    expect([waits >= first, waits < first + 1_000]).toEqual([true, true])
  }
})
