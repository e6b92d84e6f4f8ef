import { describe, expect, test } from 'vitest'
import type { DragonflyOptions } from '../doubles/dragonfly.ts'
import { ManualClock } from '../support/clock.ts'
import { dragonflyEngine, dragonflyStage, never, opened, PULL_TOKEN, ScriptedServer } from '../support/engine.ts'
import { EXAMPLE_AT, EXAMPLE_FILE, fileOrder, provider } from '../support/examples.ts'
import { krakenEngine } from './kraken/stage.ts'
import { openDragonflyV1 } from '../../src/engine/dragonfly-v1/dragonfly-v1.ts'
import type { Engine, Probe } from '../../src/engine/engine.ts'
import { openPullThrough } from '../../src/engine/pull-through/pull-through.ts'
import { parseFileUrl } from '../../src/model/artifact.ts'
import type { DragonflySettings } from '../../src/model/provider.ts'
import { Secret } from '../../src/model/secret.ts'

const ports = { read: () => Promise.resolve(new Secret('x')), clock: new ManualClock(EXAMPLE_AT), random: () => 0 }
const order = fileOrder()

async function stageOf(options: DragonflyOptions = {}, settings: Partial<DragonflySettings> = {}) {
  const clock = new ManualClock(EXAMPLE_AT)
  const stage = await dragonflyStage(
    { now: () => clock.now(), ...options },
    { dragonfly: { ...provider().dragonfly, ...settings } },
    clock,
  )
  const [job] = await stage.engine.jobs(order, never)
  return {
    ...stage,
    clock,
    job: job!,
    preheat: async () => {
      const id = await stage.engine.submit(order, job!, PULL_TOKEN, never)
      return await stage.engine.observe(order, opened(job!, id), never)
    },
    probe: async () => {
      let probe: Probe = await stage.engine.probe(order, job!, undefined, never)
      for (let rounds = 0; probe.kind === 'open' && rounds < 20; rounds++) {
        clock.set(probe.lookAt)
        probe = await stage.engine.probe(order, job!, probe.notes, never)
      }
      return probe
    },
  }
}

describe('a file is preheated by Dragonfly’s manager', () => {
  test('as a job of type file with its URL, and cached by the evidence of that URL alone', async () => {
    await using stage = await stageOf()

    expect(await stage.preheat()).toEqual({
      kind: 'ended',
      verdict: {
        said: 'success',
        claims: {
          kind: 'success_tasks',
          source: 'claimed-by-engine',
          cached: [EXAMPLE_FILE],
          peers: 1,
          peerNames: ['seed-1-1 10.1.0.2'],
        },
        message: undefined,
      },
    })
    expect(stage.manager.posts).toMatchObject([
      { args: { type: 'file', url: EXAMPLE_FILE, scope: 'single_seed_peer' }, clusterIds: [1], status: 200 },
    ])
    expect(stage.manager.posts[0]?.args).not.toHaveProperty('platform')
  })

  test('without any credential of the registry, which is not the file’s host', async () => {
    await using manager = await ScriptedServer.start({ status: 500, body: '{"message":"no"}' })
    await using engine = dragonflyEngine({
      endpoint: manager.endpoint,
      dragonfly: { ...provider().dragonfly, clusters: { ids: [1] } },
    })
    const [job] = await engine.jobs(order, never)
    await engine.submit(order, job!, PULL_TOKEN, never).catch(() => undefined)

    const posted = manager.seen.find(({ line }) => line.startsWith('POST'))
    expect(JSON.parse(posted!.body)).toMatchObject({ args: { url: EXAMPLE_FILE } })
    expect(posted!.body).not.toMatch(/headers|authorization|pull-token/i)
  })

  test('once a cluster, under keys of their own', async () => {
    await using stage = await stageOf({ clusters: [1, 2].map((id) => ({ id, name: `cluster-${id}` })) })
    const jobs = await stage.engine.jobs(order, never)
    expect(jobs.map(({ key, manifest, cluster }) => [key, manifest, cluster?.name])).toEqual([
      ['file@1', undefined, 'cluster-1'],
      ['file@2', undefined, 'cluster-2'],
    ])
  })

  test('and SUCCESS with nothing cached shows that it is not', async () => {
    await using stage = await stageOf()
    stage.manager.outcome = () => ({ kind: 'silent-loss' })
    expect(await stage.preheat()).toMatchObject({ verdict: { said: 'success', claims: { cached: [] } } })
  })

  test('another file’s success is none of its own', async () => {
    await using stage = await stageOf()
    const id = await stage.engine.submit(order, stage.job, undefined, never)
    const other = fileOrder({ file: parseFileUrl('https://models.example.com/other.gguf') })
    expect(await stage.engine.observe(other, opened(stage.job, id), never)).toMatchObject({ verdict: { said: 'gone' } })
  })

  test('under the id of its URL, whatever nodes do with blobs', async () => {
    await using stage = await stageOf({}, { taskId: 'digest' })

    expect(await stage.preheat()).toMatchObject({ verdict: { said: 'success', claims: { cached: [EXAMPLE_FILE] } } })
    // A manager that does not know the flag is no reason to refuse the second file.
    expect(await stage.preheat()).toMatchObject({ verdict: { claims: { cached: [EXAMPLE_FILE] } } })
    expect(stage.manager.posts[0]?.args).not.toHaveProperty('enable_task_id_based_blob_digest')
    expect(await stage.probe()).toMatchObject({ claims: { kind: 'get_task', cached: [EXAMPLE_FILE] } })
    expect(stage.manager.probes.map(({ args }) => args['url'])).toEqual([EXAMPLE_FILE])
  })

  test.each(['auto', 'url'] as const)('and is looked for by its URL, and once only, with taskId %s', async (taskId) => {
    await using stage = await stageOf({ nodeIds: 'digest' }, { taskId })
    await stage.preheat()
    expect(await stage.probe()).toMatchObject({ claims: { source: 'observed', cached: [EXAMPLE_FILE] } })
    stage.manager.evict('llama.gguf')
    expect(await stage.probe()).toMatchObject({ claims: { cached: [] } })
    expect(stage.manager.probes.map(({ args }) => args['url'])).toEqual([EXAMPLE_FILE, EXAMPLE_FILE])
  })

  test('and found again by its mark after a lost answer', async () => {
    await using stage = await stageOf()
    stage.manager.troubleNext(1, 'POST', { kind: 'cut' })
    await expect(stage.engine.submit(order, stage.job, undefined, never)).rejects.toMatchObject({ code: 'PH5001' })
    expect(await stage.engine.find(order, stage.job, never)).toBe('1')
  })
})

test.each<[string, () => Engine]>([
  ['Kraken', () => krakenEngine({}, { origins: ['https://origin.example.com'] })],
  ['a pull-through cache', () => openPullThrough(provider({ vendor: 'pull-through' }), undefined, ports)],
  ['/preheats', () => openDragonflyV1(provider({ vendor: 'dragonfly-v1' }), undefined, ports)],
])('%s refuses a file before anything is sent', async (_, open) => {
  await using engine = open()
  const refused = { fault: 'rejected', code: 'PH3007', message: expect.stringContaining('preheats no files') }
  const job = { key: 'file@all', manifest: undefined, cluster: undefined, ids: [], state: 'wanted' as const }
  await expect(engine.jobs(order, never)).rejects.toMatchObject(refused)
  await expect(engine.submit(order, job, undefined, never)).rejects.toMatchObject(refused)
})
