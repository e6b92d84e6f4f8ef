import { describe, expect, test } from 'vitest'
import type { DragonflyOptions } from '../doubles/dragonfly.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT, provider } from '../support/examples.ts'
import { PULL_TOKEN, blobs, dragonflyStage, never, opened } from '../support/engine.ts'
import type { DragonflySettings } from '../../src/model/provider.ts'
import type { Order } from '../../src/model/task.ts'

async function stageWith(
  options: DragonflyOptions,
  of: Partial<DragonflySettings> = {},
  clock = new ManualClock(EXAMPLE_AT),
) {
  return await dragonflyStage(
    { now: () => clock.now(), ...options },
    { dragonfly: { ...provider().dragonfly, ...of } },
    clock,
  )
}

async function submit({ engine, order }: Awaited<ReturnType<typeof stageWith>>, more: Partial<Order> = {}) {
  const what = { ...order, ...more }
  const [job] = await engine.jobs(what, never)
  const id = await engine.submit(what, job!, PULL_TOKEN, never)
  return { id, look: () => engine.observe(what, opened(job!, id), never) }
}

describe('settings reach the manager', () => {
  test('options as they are, names of query parameters joined', async () => {
    const options = {
      pieceLengthBytes: 8_388_608,
      application: 'shop',
      tag: 'blue',
      filteredQueryParams: ['ns', 'token'],
      concurrentTaskCount: 4,
      concurrentPeerCount: 50,
    }
    await using stage = await stageWith({}, { options })

    await submit(stage)

    expect(stage.manager.posts[0]?.args).toMatchObject({
      piece_length: 8_388_608,
      application: 'shop',
      tag: 'blue',
      filtered_query_params: 'ns&token',
      concurrent_task_count: 4,
      concurrent_peer_count: 50,
    })
  })

  test.each([
    [{ ips: ['10.1.1.2'], count: 2, percentage: 50 }, { ips: ['10.1.1.2'] }, 1],
    [{ count: 2, percentage: 50 }, { count: 2 }, 2],
    [{ percentage: 70 }, { percentage: 70 }, 2],
    [{ ips: [] }, {}, 3],
  ])('of peers %j the most exact is sent, for many hosts only', async (peers, sent, hosts) => {
    await using stage = await stageWith({}, { peers })

    const { look } = await submit(stage, { scope: 'all_peers' })
    await submit(stage, { scope: 'single_seed_peer' })

    const chosen = stage.manager.posts.map(({ args: { ips, count, percentage } }) => ({ ips, count, percentage }))
    const nothing = { ips: undefined, count: undefined, percentage: undefined }
    expect(chosen).toEqual([{ ...nothing, ...sent }, nothing])
    expect(await look()).toMatchObject({ verdict: { claims: { cached: blobs, peers: hosts } } })
  })

  test.each([
    ['digest', true],
    ['url', false],
    ['auto', undefined],
  ] as const)('taskId %s says %s', async (taskId, flag) => {
    await using stage = await stageWith({ version: 'next' }, { taskId })

    await submit(stage)

    expect(stage.manager.posts[0]?.args['enable_task_id_based_blob_digest']).toBe(flag)
  })
})

describe('a setting that the manager drops', () => {
  const peers = { ips: ['10.1.1.1'] }

  test('is told by the first job, which is watched; the next is refused with the version that knows it', async () => {
    await using stage = await stageWith({ version: '2.2.5', looksMs: [0] }, { peers })
    const first = await submit(stage, { scope: 'all_peers' })

    expect(await first.look()).toMatchObject({ kind: 'ended', verdict: { said: 'success', claims: { cached: blobs } } })
    await expect(submit(stage, { scope: 'all_peers' })).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH5002',
      message: expect.stringMatching(/>= 2\.2\.3.*peers\.ips \(known since 2\.3\.1\)/),
    })
    expect(await submit(stage)).toMatchObject({ id: '2' })
    expect(stage.manager.posts).toHaveLength(2)
  })

  test.each([
    ['an hour later', 3_600_000],
    ['when the clock is set back', -1],
  ])('is tried again %s: the manager may be another', async (_, ms) => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await stageWith({ version: '2.2.5' }, { peers }, clock)
    await submit(stage, { scope: 'all_peers' })
    clock.advance(ms)

    expect(await submit(stage, { scope: 'all_peers' })).toMatchObject({ id: '2' })
  })

  test('and that names what is cached leaves nothing to be claimed', async () => {
    await using stage = await stageWith({ version: '2.5.1' }, { taskId: 'digest' })

    expect(await (await submit(stage)).look()).toEqual({
      kind: 'ended',
      verdict: {
        said: 'success',
        claims: undefined,
        message: expect.stringMatching(/other ids than nodes ask for.*taskId: digest \(known since 2\.5\.2\)/),
      },
    })
    await expect(submit(stage)).rejects.toMatchObject({ code: 'PH5002' })
  })

  test('ids made of URLs are no loss where nothing else is known', async () => {
    await using stage = await stageWith({ version: '2.5.1' }, { taskId: 'url' })

    await submit(stage)

    expect(await (await submit(stage)).look()).toMatchObject({ verdict: { claims: { cached: blobs } } })
  })
})

describe('abilities', () => {
  test.each(['all_peers', 'single_seed_peer'] as const)(
    'before anything was submitted they are read from the newest job of anybody, whatever the Provider’s scope: %s',
    async (scope) => {
      const of = {
        taskId: 'url',
        scope,
        peers: { ips: ['10.1.1.1'] },
        options: { application: 'shop' },
      } as const
      await using stage = await stageWith({ version: '2.2.5' })
      await using other = await dragonflyStage(
        {},
        { endpoint: stage.manager.endpoint, dragonfly: { ...provider().dragonfly, ...of } },
      )
      expect(await other.engine.abilities(never)).toMatchObject({ version: undefined, ignored: [] })

      await submit(stage)

      expect(await other.engine.abilities(never)).toEqual({
        evidence: 'claimed-by-engine',
        clusters: ['cluster-1'],
        version: '>= 2.2.3',
        ignored: ['peers.ips (known since 2.3.1)'],
        doubtfulScopes: [],
      })
    },
  )
})

describe('a manager with the scopes of 2.1.57 to 2.1.65', () => {
  test('single_seed_peer is said in its word after it refused ours, once', async () => {
    await using stage = await stageWith({ version: '2.1.59', looksMs: [0] })

    expect(await (await submit(stage)).look()).toMatchObject({
      verdict: { said: 'success', claims: { cached: blobs } },
    })
    await submit(stage)

    expect(stage.manager.posts.map(({ args, status }) => [args['scope'], status])).toEqual([
      ['single_seed_peer', 422],
      ['single_peer', 200],
      ['single_peer', 200],
    ])
  })

  test('a manager that was replaced by a newer one meanwhile is told scopes as it knows them', async () => {
    await using stage = await stageWith({})
    const errors =
      "Key: 'CreatePreheatJobRequest.Args.Scope' Error:Field validation for 'Scope' failed on the 'oneof' tag"
    stage.manager.troubleNext(1, 'POST', { kind: 'answer', status: 422, body: JSON.stringify({ errors }) })

    await submit(stage)
    await submit(stage)

    expect(stage.manager.posts.map(({ args }) => args['scope'])).toEqual([
      'single_seed_peer',
      'single_peer',
      'single_seed_peer',
    ])
  })

  test('a manager that refuses either word is asked twice', async () => {
    await using stage = await stageWith({})
    const errors =
      "Key: 'CreatePreheatJobRequest.Args.Scope' Error:Field validation for 'Scope' failed on the 'oneof' tag"
    stage.manager.trouble = (line) =>
      line.startsWith('POST') ? { kind: 'answer', status: 422, body: JSON.stringify({ errors }) } : undefined

    await expect(submit(stage)).rejects.toMatchObject({ fault: 'rejected', code: 'PH5002' })
    expect(stage.manager.posts).toHaveLength(2)
  })

  test('all_seed_peers cannot be done there; all_peers can', async () => {
    await using stage = await stageWith({ version: '2.1.59' })

    await expect(submit(stage, { scope: 'all_seed_peers' })).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH3007',
      message: expect.stringContaining('before 2.1.66'),
    })
    expect(await submit(stage, { scope: 'all_peers' })).toMatchObject({ id: '1' })
  })
})
