import { describe, expect, test } from 'vitest'
import type { DragonflyOptions } from '../doubles/dragonfly.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT, provider } from '../support/examples.ts'
import { PULL_TOKEN, blobs, dragonflyStage, never, opened, type DragonflyStage } from '../support/engine.ts'
import type { Inspection, Observation, Probe } from '../../src/engine/engine.ts'
import { formsOfPulls, mismatch } from '../../src/engine/dragonfly/task-ids.ts'
import type { DragonflySettings } from '../../src/model/provider.ts'

interface Site extends AsyncDisposable {
  readonly clock: ManualClock
  readonly stage: DragonflyStage
  /** URLs of the image's blobs. */
  readonly urls: readonly string[]
}

async function openSite(options: DragonflyOptions = {}, of: Partial<DragonflySettings> = {}): Promise<Site> {
  const clock = new ManualClock(EXAMPLE_AT)
  const dragonfly = { ...provider().dragonfly, ...of }
  const stage = await dragonflyStage({ now: () => clock.now(), ...options }, { dragonfly }, clock)
  const urls = blobs.map((blob) => `${stage.registry.endpoint}/v2/library/app/blobs/${blob}`)
  return { clock, stage, urls, [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose]() }
}

/** Preheats and looks at the end. */
async function preheat({ clock, stage }: Site): Promise<Observation> {
  const [job] = await stage.engine.jobs(stage.order, never)
  const id = await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)
  clock.advance(1_000)
  return await stage.engine.observe(stage.order, opened(job!, id), never)
}

async function probe({ clock, stage }: Site): Promise<Extract<Probe, { kind: 'ended' }>> {
  const [job] = await stage.engine.jobs(stage.order, never)
  let found = await stage.engine.probe(stage.order, job!, undefined, never)
  while (found.kind === 'open') {
    clock.set(found.lookAt)
    found = await stage.engine.probe(stage.order, job!, found.notes, never)
  }
  return found
}

/** As `check` asks, with time going on. */
async function abilities({ clock, stage }: Site): Promise<Inspection> {
  const asked = stage.engine.inspect(never)
  const done = asked.then(
    () => true,
    () => true,
  )
  const tick = () => new Promise<false>((resolve) => setImmediate(resolve, false))
  while (!(await Promise.race([done, tick()]))) {
    if (clock.nextWake !== undefined) clock.set(clock.nextWake)
  }
  return await asked
}

const byDigest = (site: Site) => site.stage.manager.probes.filter(({ args }) => 'task_id' in args)
const MISMATCH = /cached by URL, but nodes pulled by digest.*enableTaskIDBasedBlobDigest: false.*manager after 2\.5\.1/

describe('nodes that pull by digest from a manager that preheats by URL', () => {
  test('are named to check, which looks for a preheated blob under either id', async () => {
    await using site = await openSite({ nodeIds: 'digest' })
    await preheat(site)
    site.stage.manager.pull(...site.urls)

    const shown = await abilities(site)

    expect(shown).toMatchObject({ taskIds: 'by URL, nodes by digest', warnings: [expect.stringMatching(MISMATCH)] })
    expect(site.stage.manager.probes.map(({ args }) => [args['url'], args['task_id']])).toEqual([
      [site.urls[0], undefined],
      [undefined, blobs[0]!.slice(7)],
    ])
  })

  test('and those that pull by URL are what check expects', async () => {
    await using site = await openSite({ nodeIds: 'url' })
    await preheat(site)
    site.stage.manager.pull(...site.urls)

    expect(await abilities(site)).toMatchObject({ taskIds: 'by URL, as nodes pull', warnings: [] })
  })

  test('show blobs that no preheat cached: these are cached, and the end of the look says under which id', async () => {
    await using site = await openSite({ nodeIds: 'digest', outcomes: { 'library/app': { kind: 'silent-loss' } } })
    await preheat(site)
    site.stage.manager.pull(...site.urls.slice(1))

    const { claims, message } = await probe(site)

    expect(claims).toMatchObject({ kind: 'get_task', source: 'observed', cached: blobs.slice(1), peers: 2 })
    expect(message).toMatch(/^3 of 4 blobs are held by digest only.*; preheats are cached by URL, but nodes pulled/)
  })

  test('and what is held under neither id is missing', async () => {
    await using site = await openSite({ nodeIds: 'digest' })
    await preheat(site)
    site.stage.manager.evict(...blobs)

    expect(await probe(site)).toMatchObject({ claims: { cached: [] } })
    expect(byDigest(site)).toHaveLength(4)
  })

  test('of an image that is there under both ids, the look names the mismatch, and so do preheats after it', async () => {
    await using site = await openSite({ nodeIds: 'digest' })
    const first = await preheat(site)
    site.stage.manager.pull(...site.urls)

    const { claims, message } = await probe(site)
    const second = await preheat(site)

    expect(first).toMatchObject({ verdict: { claims: { cached: blobs }, message: undefined } })
    expect(claims?.cached).toEqual(blobs)
    expect(message).toMatch(MISMATCH)
    expect(second).toMatchObject({
      verdict: { said: 'success', claims: { cached: blobs }, message: expect.stringMatching(MISMATCH) },
    })
  })

  test('are asked about once an hour, and not by every look', async () => {
    await using site = await openSite({ nodeIds: 'digest' })
    await preheat(site)
    await probe(site)
    await probe(site)
    expect(byDigest(site)).toHaveLength(1)

    site.clock.advance(3_600_000)
    await preheat(site)
    await probe(site)

    expect(byDigest(site)).toHaveLength(2)
  })

  test('where a manager knows digests, taskId is the remedy', async () => {
    await using site = await openSite({ version: 'next', nodeIds: 'url' })
    await preheat(site)
    site.stage.manager.pull(...site.urls)

    expect(await abilities(site)).toMatchObject({
      taskIds: 'by digest, nodes by URL',
      warnings: [expect.stringMatching(/cached by digest, but nodes pulled by URL.*write taskId: url$/)],
    })
  })
})

describe('what shows nothing', () => {
  test('no pull yet: nothing is warned of', async () => {
    await using site = await openSite({ nodeIds: 'digest' })
    await preheat(site)

    expect(await abilities(site)).toMatchObject({ taskIds: 'by URL, with no pull seen to compare with', warnings: [] })
    expect((await probe(site)).message).toBeUndefined()
  })

  test('nothing preheated yet: nobody is asked', async () => {
    await using site = await openSite()

    expect(await abilities(site)).not.toHaveProperty('taskIds')
    expect(site.stage.manager.probes).toEqual([])
  })

  test('a manager that refuses the questions, or leaves them open, leaves check to go on', async () => {
    await using site = await openSite()
    await preheat(site)
    site.stage.manager.troubleNext(9, 'POST', { kind: 'answer', status: 502, body: '' })
    expect((await abilities(site)).warnings).toEqual([expect.stringMatching(/could not be found out.*HTTP 502/)])

    await using slow = await openSite({ looksMs: [120_000] })
    await preheat(slow)
    slow.clock.advance(120_000)
    expect((await abilities(slow)).warnings).toEqual([expect.stringMatching(/could not be found out.*after 40 s/)])
  })

  test.each(['url', 'digest'] as const)('taskId %s is believed: no other id is asked for', async (taskId) => {
    await using site = await openSite({ version: 'next', nodeIds: taskId === 'url' ? 'digest' : 'url' }, { taskId })
    await preheat(site)
    site.stage.manager.pull(...site.urls)
    site.stage.manager.evict(blobs[0]!)

    expect(await probe(site)).toEqual({
      kind: 'ended',
      claims: expect.objectContaining({ cached: blobs.slice(1) }) as unknown,
    })
    expect(await abilities(site)).not.toHaveProperty('taskIds')
    const forms = new Set(site.stage.manager.probes.map(({ args }) => ('task_id' in args ? 'digest' : 'url')))
    expect(forms).toEqual(new Set([taskId]))
  })
})

describe('who holds what tells of a pull', () => {
  const [seed, peer] = [{ isSeed: true }, { isSeed: false }]

  test.each([
    ['a seed by digest, where preheats are by URL', { url: [], digest: [seed] }, 'url', 'single_seed_peer', ['digest']],
    ['the same where preheats reach all peers', { url: [peer], digest: [peer] }, 'url', 'all_peers', ['digest']],
    ['a seed by URL: a preheat', { url: [seed], digest: [] }, 'url', 'single_seed_peer', []],
    ['a peer by URL', { url: [seed, peer], digest: [] }, 'url', 'all_seed_peers', ['url']],
    ['peers by both', { url: [peer], digest: [peer] }, 'url', 'single_seed_peer', ['url', 'digest']],
    ['a seed by URL: an older manager’s preheat', { url: [seed], digest: [seed] }, 'digest', 'single_seed_peer', []],
    [
      'a peer by URL, where preheats are by digest',
      { url: [peer], digest: [seed] },
      'digest',
      'all_seed_peers',
      ['url'],
    ],
    ['a peer by URL that a preheat may have reached', { url: [peer], digest: [] }, 'digest', 'all_peers', []],
  ] as const)('%s', (_, holders, own, scope, expected) => {
    expect(formsOfPulls(holders, own, scope)).toEqual(expected)
  })
})

test('of nodes that pull by either id only some miss what is preheated', () => {
  expect(mismatch('url', ['url', 'digest'], true)).toMatch(/but some nodes pulled by digest.*: write taskId: digest$/)
  expect(mismatch('url', ['url'], true)).toBeUndefined()
})
