import { describe, expect, test } from 'vitest'
import type { DragonflyOptions } from '../doubles/dragonfly.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT, digest, provider } from '../support/examples.ts'
import { PULL_TOKEN, blobs, dragonflyStage, never, opened, type DragonflyStage } from '../support/engine.ts'
import type { Probe, WantedJob } from '../../src/engine/engine.ts'
import type { Digest } from '../../src/model/artifact.ts'
import type { Claims } from '../../src/model/evidence.ts'
import type { DragonflySettings, Provider } from '../../src/model/provider.ts'
import type { ArtifactOrder } from '../../src/model/task.ts'

const settings = (of: Partial<DragonflySettings>): Partial<Provider> => ({
  dragonfly: { ...provider().dragonfly, ...of },
})

interface Timed {
  readonly clock: ManualClock
  readonly stage: DragonflyStage
  readonly job: WantedJob
  readonly order: ArtifactOrder
}

async function timed(
  options: DragonflyOptions = {},
  of: Partial<DragonflySettings> = {},
  more: Partial<ArtifactOrder> = {},
): Promise<Timed & AsyncDisposable> {
  const clock = new ManualClock(EXAMPLE_AT)
  const limits = { submitsInFlight: 100, requestsPerSecond: 1000 }
  const overrides = { ...settings({ taskId: 'url', ...of }), limits }
  const now = () => clock.now()
  const stage = await dragonflyStage({ now, requestsPerSecond: 1000, ...options }, overrides, clock)
  const order = { ...stage.order, ...more }
  const [job] = await stage.engine.jobs(order, never)
  return { clock, stage, job: job!, order, [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose]() }
}

/** Preheats, and then looks until the probe ends; counts the rounds. */
async function probed({ clock, stage, job, order }: Timed): Promise<{ claims: Claims | undefined; rounds: number }> {
  await stage.engine.submit(order, job, PULL_TOKEN, never)
  return await looked({ clock, stage, job, order })
}

async function looked({ clock, stage, job, order }: Timed): Promise<{ claims: Claims | undefined; rounds: number }> {
  let probe: Probe = await stage.engine.probe(order, job, undefined, never)
  for (let rounds = 1; rounds < 50; rounds += 1) {
    if (probe.kind === 'ended') return { claims: probe.claims, rounds }
    expect(probe.lookAt - clock.now()).toBeGreaterThanOrEqual(30_000)
    clock.set(probe.lookAt)
    probe = await stage.engine.probe(order, job, probe.notes, never)
  }
  throw new Error('the probe never ended')
}

describe('a lost answer', () => {
  test('the job is found by its mark, among those of others, whatever page it is on [K3] [E4]', async () => {
    await using site = await timed()
    const { stage, job, order } = site
    stage.manager.troubleNext(1, 'POST', { kind: 'cut' })
    await expect(stage.engine.submit(order, job, PULL_TOKEN, never)).rejects.toMatchObject({ code: 'PH5001' })
    for (let i = 0; i < 300; i += 1)
      await stage.engine.submit({ ...order, taskId: `20261121T020000Z-3f9a1c07/${i + 2}` }, job, PULL_TOKEN, never)

    expect(await stage.engine.find(order, job, never)).toBe('1')
    expect(await stage.engine.observe(order, opened(job, '1'), never)).toMatchObject({ verdict: { said: 'success' } })
    expect(stage.manager.requests.filter((line) => line.includes('page='))).toHaveLength(3)
  })

  test('the newest of several wins, and one that is known already is no find', async () => {
    await using site = await timed()
    const { stage, job, order } = site
    await stage.engine.submit(order, job, PULL_TOKEN, never)
    await stage.engine.submit(order, job, PULL_TOKEN, never)

    expect(await stage.engine.find(order, job, never)).toBe('2')
    expect(await stage.engine.find(order, { ...job, ids: ['1'] }, never)).toBe('2')
    expect(await stage.engine.find(order, { ...job, ids: ['1', '2'] }, never)).toBeUndefined()
  })

  test('the search ends where rows are older than the order', async () => {
    await using site = await timed()
    const { clock, stage, job, order } = site
    clock.advance(-3_600_000)
    for (let i = 0; i < 300; i += 1) await stage.engine.submit({ ...order, taskId: `x/${i}` }, job, PULL_TOKEN, never)
    clock.advance(3_600_000)
    stage.manager.requests.length = 0

    expect(await stage.engine.find(order, job, never)).toBeUndefined()
    expect(stage.manager.requests).toHaveLength(1)
  })

  test('a manager’s clock that is some minutes behind does not end the search', async () => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using site = await timed({ now: () => clock.now() - 300_000 })
    const { stage, job, order } = site
    await stage.engine.submit(order, job, PULL_TOKEN, never)
    for (let i = 0; i < 300; i += 1) await stage.manager.take(`x/${i}`, 'https://models.example.com/x')

    expect(await stage.engine.find(order, job, never)).toBe('1')
  })

  test('a job of the same mark for another repository is not it', async () => {
    await using site = await timed()
    const { stage, job, order } = site
    stage.registry.add('library/other', blobs, 'linux/amd64')
    await stage.engine.submit({ ...order, repository: 'library/other' }, job, PULL_TOKEN, never)

    expect(await stage.engine.find(order, job, never)).toBeUndefined()
  })

  test('a page that is too long is asked for in halves', async () => {
    await using site = await timed()
    const { stage, job, order } = site
    for (let i = 0; i < 6; i += 1) await stage.engine.submit({ ...order, taskId: `x/${i}` }, job, PULL_TOKEN, never)
    await stage.engine.submit(order, job, PULL_TOKEN, never)
    stage.manager.requests.length = 0
    const long = { kind: 'answer', status: 200, body: ' '.repeat(9 * 2 ** 20) } as const
    stage.manager.trouble = (line) => (Number(/per_page=(\d+)/.exec(line)?.[1]) > 2 ? long : undefined)

    expect(await stage.engine.find(order, job, never)).toBe('7')
    const sizes = stage.manager.requests.flatMap((line) => /per_page=(\d+)/.exec(line)?.[1] ?? [])
    expect(sizes).toEqual(['256', '128', '64', '32', '16', '8', '4', '2'])
  })
})

describe('a probe', () => {
  test('asks for each blob once, by URL, in the job’s cluster, and shows what every host has whole', async () => {
    await using site = await timed({ clusters: [{ id: 7, name: 'us-1' }] })

    const { claims, rounds } = await probed(site)

    expect(claims).toEqual({
      kind: 'get_task',
      source: 'observed',
      cached: blobs,
      peers: 2,
      peerNames: ['seed-7-0 10.7.0.1', 'seed-7-1 10.7.0.2'],
    })
    expect(rounds).toBe(2)
    const { probes } = site.stage.manager
    const base = `${site.order.engineEndpoint}/v2/library/app/blobs/`
    expect(probes.map(({ url }) => url)).toEqual(blobs.map((blob) => `${base}${blob}`))
    expect(probes.every(({ clusterIds }) => clusterIds?.[0] === 7)).toBe(true)
    // Five minutes of nanoseconds: hosts fetch nothing.
    expect(probes.every(({ args }) => args['timeout'] === 300_000_000_000)).toBe(true)
  })

  test('a SUCCESS that lies is shown for what it is', async () => {
    for (const outcome of [{ kind: 'silent-loss' }, { kind: 'half', blobs: 4 }] as const) {
      await using site = await timed({ outcomes: { 'library/app': outcome } })

      expect((await probed(site)).claims).toMatchObject({ cached: [], peers: 0 })
    }
    await using site = await timed({ outcomes: { 'library/app': { kind: 'half', blobs: 1 } } })
    expect((await probed(site)).claims?.cached).toEqual(blobs.slice(0, 3))
  })

  test('blobs that were evicted later are missing', async () => {
    await using site = await timed()
    await probed(site)
    site.stage.manager.evict(blobs[2]!)

    expect((await looked(site)).claims?.cached).toEqual(blobs.filter((blob) => blob !== blobs[2]))
  })

  test('an id that a new database gave to a look for another blob answers none of ours', async () => {
    await using site = await timed()
    const { clock, stage, job, order } = site
    const manifests = [stage.registry.add('library/other', [1, 2, 3, 4].map(digest), 'linux/amd64')]
    const other = { ...order, repository: 'library/other', manifests }
    const [otherJob] = await stage.engine.jobs(other, never)
    await stage.engine.submit(order, job, PULL_TOKEN, never)
    const ours = await stage.engine.probe(order, job, undefined, never)
    stage.manager.reset()
    stage.manager.evict(...blobs)
    await stage.engine.submit(other, otherJob!, PULL_TOKEN, never)
    await stage.engine.probe(other, otherJob!, undefined, never)
    if (ours.kind === 'ended') throw new Error('too early')

    let probe: Probe = ours
    for (let i = 0; probe.kind === 'open' && i < 9; i += 1) {
      clock.set(Math.max(clock.now(), probe.lookAt))
      probe = await stage.engine.probe(order, job, probe.notes, never)
    }

    expect(probe).toMatchObject({ kind: 'ended', claims: { cached: [] } })
  })

  test('what goes into task ids is asked with', async () => {
    const options = { pieceLengthBytes: 4_194_304, application: 'app1', tag: 't1', filteredQueryParams: ['a', 'b'] }
    await using site = await timed({}, { options })

    expect((await probed(site)).claims?.cached).toEqual(blobs)
    expect(site.stage.manager.probes[0]?.args).toMatchObject({
      piece_length: 4_194_304,
      application: 'app1',
      tag: 't1',
      filtered_query_params: 'a&b',
    })
  })

  test.each(['digest', 'auto'] as const)(
    'with taskId %s a manager that names blobs by digest is asked by digest',
    async (taskId) => {
      await using site = await timed({ version: 'next' }, { taskId })

      expect((await probed(site)).claims?.cached).toEqual(blobs)
      expect(site.stage.manager.probes.flatMap(({ args }) => args['task_id'] ?? [])).toEqual(
        blobs.map((blob) => blob.slice(7)),
      )
    },
  )

  test('many blobs are asked for a few at a time', async () => {
    await using site = await timed()
    const many: Digest[] = Array.from({ length: 20 }, (_, i) => digest(`layer ${i}`))
    const order = { ...site.order, manifests: [site.stage.registry.add('library/app', many, 'linux/amd64')] }
    const [job] = await site.stage.engine.jobs(order, never)
    await site.stage.engine.submit(order, job!, PULL_TOKEN, never)

    await site.stage.engine.probe(order, job!, undefined, never)
    expect(site.stage.manager.probes).toHaveLength(8)
    const { claims } = await looked({ ...site, order, job: job! })

    expect(claims?.cached).toEqual(many)
  })

  test('what was asked is not asked again after a failure on the way', async () => {
    await using site = await timed()
    const { clock, stage, job, order } = site
    await stage.engine.submit(order, job, PULL_TOKEN, never)
    stage.manager.troubleNext(2, 'POST', { kind: 'answer', status: 502, body: '' })
    const first = await stage.engine.probe(order, job, undefined, never)
    if (first.kind === 'ended') throw new Error('too early')
    clock.set(first.lookAt)

    const second = await stage.engine.probe(order, job, first.notes, never)
    if (second.kind === 'ended') throw new Error('too early')
    clock.set(second.lookAt)

    expect(await stage.engine.probe(order, job, second.notes, never)).toMatchObject({ claims: { cached: blobs } })
    expect(stage.manager.probes.filter(({ status }) => status === 200)).toHaveLength(4)
  })

  test('a manager that refuses all questions is a fault, and nothing is claimed', async () => {
    await using site = await timed()
    site.stage.manager.troubleNext(9, 'POST', { kind: 'answer', status: 502, body: '' })

    await expect(site.stage.engine.probe(site.order, site.job, undefined, never)).rejects.toMatchObject({
      fault: 'unavailable',
      code: 'PH5001',
    })
  })

  test('a cluster that was deleted is named, and nothing is claimed', async () => {
    await using site = await timed()
    const { manager } = site.stage
    manager.limited = manager.clusters
    manager.clusters = [{ id: 2, name: 'cluster-2' }]

    await expect(site.stage.engine.probe(site.order, site.job, undefined, never)).rejects.toMatchObject({
      fault: 'rejected',
      code: 'PH5009',
    })
  })

  test('a question that nobody answers is asked once more, and then nothing is claimed', async () => {
    await using site = await timed({ looksMs: [0] })
    site.stage.manager.outcome = () => ({ kind: 'complete' })
    await site.stage.engine.submit(site.order, site.job, PULL_TOKEN, never)
    let probe = await site.stage.engine.probe(site.order, site.job, undefined, never)
    for (let i = 0; probe.kind === 'open' && i < 9; i += 1) {
      site.stage.manager.collect()
      site.clock.set(probe.lookAt)
      probe = await site.stage.engine.probe(site.order, site.job, probe.notes, never)
    }

    expect(probe).toEqual({ kind: 'ended', claims: undefined })
    expect(site.stage.manager.probes).toHaveLength(8)
  })

  test('a question that is open for ever is asked once more after a quarter of an hour, and then nothing is claimed', async () => {
    await using site = await timed({ looksMs: [36_000_000] })
    await site.stage.engine.submit(site.order, site.job, PULL_TOKEN, never)
    const began = site.clock.now()

    expect((await looked(site)).claims).toBeUndefined()
    expect(site.stage.manager.probes).toHaveLength(8)
    expect(site.clock.now() - began).toBeGreaterThan(2 * 15 * 60_000)
    expect(site.clock.now() - began).toBeLessThan(3 * 15 * 60_000)
  })

  test('a manager that does not know the question shows nothing', async () => {
    await using site = await timed()
    site.stage.manager.troubleNext(9, 'POST', { kind: 'answer', status: 422, body: '{"errors":"Unknow type"}' })

    expect((await looked(site)).claims).toBeUndefined()
  })

  test('notes of another version are no notes', async () => {
    await using site = await timed()

    expect(await site.stage.engine.probe(site.order, site.job, '{"v":0}', never)).toMatchObject({ kind: 'open' })
    expect(site.stage.manager.probes).toHaveLength(4)
  })

  test.each([
    [1, []],
    [0.67, []],
    [0.66, [blobs[3]]],
  ])('of all peers, two of three having the last blob: a share of %d', async (requiredShare, last) => {
    const outcomes = { 'library/app': { kind: 'partial', missing: 1 } } as const
    await using site = await timed({ outcomes }, { requiredShare }, { scope: 'all_peers' })

    expect((await probed(site)).claims?.cached).toEqual([...blobs.slice(0, 3), ...last])
  })

  test('peers that are named are the ones that count, also where they have nothing', async () => {
    const scope = 'all_peers'
    await using site = await timed({}, { peers: { ips: ['10.1.1.1', '10.1.1.2'] } }, { scope })
    expect((await probed(site)).claims).toMatchObject({ cached: blobs, peers: 2 })

    await using other = await timed({}, { peers: { ips: ['10.1.1.1', '10.9.9.9'] } }, { scope })
    expect((await probed(other)).claims).toMatchObject({ cached: [], peers: 1 })
  })
})
