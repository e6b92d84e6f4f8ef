import { expect, test } from 'vitest'
import { choose, type Choice, type Purpose } from '../../src/execution/choose.ts'
import { EdgeError } from '../../src/model/errors.ts'
import type { Snapshot } from '../../src/model/execution.ts'
import type { LedgerEntry } from '../../src/store/store.ts'
import { MemorySource } from '../support/ports.ts'
import {
  candidate,
  digest,
  EXAMPLE_AT as now,
  manifest,
  policy,
  provider,
  snapshot,
  target,
} from '../support/examples.ts'

const never = new AbortController().signal
const app = candidate()
const web = candidate({ repository: 'library/web', name: 'web', digest: digest(2), tags: ['v2'] })

async function chosen(
  source: MemorySource,
  over: Partial<Snapshot> = {},
  warm: LedgerEntry[] = [],
  purpose: Purpose = 'preheat',
) {
  const ledger = { warm: (keys: readonly string[]) => Promise.resolve(warm.filter(({ key }) => keys.includes(key))) }
  return await choose('20261121T020000Z-3f9a1c07', snapshot(over), purpose, { source, ledger, now }, never)
}

function tasksOf(choice: Choice) {
  if (choice.kind !== 'chosen') throw new Error(`${choice.kind}: ${choice.message}`)
  return choice.tasks
}

function warmAt(ledgerKey: string, at: number): LedgerEntry {
  return {
    key: ledgerKey,
    warmAt: at,
    evidence: { kind: 'success_tasks', source: 'claimed-by-engine', observedAt: at, blobs: 2, of: 2, peers: 1 },
  }
}

test('makes one task per repository, digest and provider, ids in their order', async () => {
  const targets = [target({ provider: provider({ name: 'us' }) }), target({ provider: provider({ name: 'eu' }) })]
  const moved = candidate({ tags: ['latest'] })

  const tasks = tasksOf(await chosen(new MemorySource([web, app, moved]), { targets }))

  expect(tasks.map((task) => [task.id, task.provider, task.artifact.repository, task.artifact.tags])).toEqual([
    ['20261121T020000Z-3f9a1c07-00001', 'eu', 'library/app', ['latest', 'v1']],
    ['20261121T020000Z-3f9a1c07-00002', 'eu', 'library/web', ['v2']],
    ['20261121T020000Z-3f9a1c07-00003', 'us', 'library/app', ['latest', 'v1']],
    ['20261121T020000Z-3f9a1c07-00004', 'us', 'library/web', ['v2']],
  ])
})

test('skips what is known warm for less than the provider’s cacheLifetime, and reads nothing of it', async () => {
  const [first, second] = tasksOf(await chosen(new MemorySource([app, web])))
  const fresh = warmAt(first!.ledgerKey, now - 5 * 3_600_000 + 1)
  const stale = warmAt(second!.ledgerKey, now - 5 * 3_600_000)
  const source = new MemorySource([app, web])

  const choice = await chosen(source, {}, [fresh, stale])

  expect(choice).toMatchObject({ selection: { selected: 2, skipped: 1 }, skips: [{ reason: 'AlreadyWarm' }] })
  expect(tasksOf(choice).map(({ artifact }) => artifact.repository)).toEqual(['library/web'])
  expect(source.read).toEqual([web.digest])
})

test('refresh always sends what is known warm', async () => {
  const [first] = tasksOf(await chosen(new MemorySource([app])))

  expect(
    tasksOf(await chosen(new MemorySource([app]), { refresh: 'always' }, [warmAt(first!.ledgerKey, now)])),
  ).toHaveLength(1)
})

test.each<[string, Partial<Snapshot>]>([
  ['scope', { targets: [target({ scope: 'all_seed_peers' })] }],
  ['clusters', { targets: [target({ clusters: ['eu-1'] })] }],
  ['platforms', { policy: policy({ platforms: ['linux/amd64'] }) }],
  ['engineEndpoint', { registry: { ...snapshot().registry, engineEndpoint: 'https://mirror.example.com' } }],
])('warmth under another %s is not this warmth', async (_what, over) => {
  const [first] = tasksOf(await chosen(new MemorySource([app])))

  expect(tasksOf(await chosen(new MemorySource([app]), over, [warmAt(first!.ledgerKey, now)]))).toHaveLength(1)
})

test('what is kept warm is preheated again in the last quarter of its time; what was never warm is left to the policy', async () => {
  const keeping = { policy: policy({ keepWarmMs: 4 * 3_600_000 }) }
  const [first, second] = tasksOf(await chosen(new MemorySource([app, web]), keeping))
  const old = warmAt(first!.ledgerKey, now - 3 * 3_600_000)
  const young = warmAt(second!.ledgerKey, now - 3 * 3_600_000 + 1)
  const never = candidate({ repository: 'library/new', digest: digest(9) })

  const choice = await chosen(new MemorySource([app, web, never]), keeping, [old, young], 'keep_warm')

  expect(tasksOf(choice).map(({ artifact, purpose }) => [artifact.repository, purpose])).toEqual([
    ['library/app', 'preheat'],
  ])
  expect(choice).toMatchObject({ skips: [{ reason: 'NotWarm' }, { reason: 'AlreadyWarm' }] })
})

test.each([
  ['warn', 'look'],
  ['heal', 'heal'],
] as const)('with drift.mode %s what is known warm is looked at, and nothing else', async (mode, purpose) => {
  const drifting = { policy: policy({ drift: { mode, intervalMs: 1 } }) }
  const [first] = tasksOf(await chosen(new MemorySource([app, web]), drifting))

  const choice = await chosen(new MemorySource([app, web]), drifting, [warmAt(first!.ledgerKey, now - 1)], 'drift')

  expect(tasksOf(choice).map((task) => [task.artifact.repository, task.purpose])).toEqual([['library/app', purpose]])
})

test('a disabled provider’s tasks are skipped, with the reason', async () => {
  const targets = [target({ provider: provider({ enabled: false }) })]

  expect(await chosen(new MemorySource([app]), { targets })).toMatchObject({
    tasks: [],
    selection: { skipped: 1 },
    skips: [{ reason: 'ProviderDisabled' }],
  })
})

test.each([
  { contentTrust: true, preventVulnerable: false },
  { contentTrust: false, preventVulnerable: true },
])(
  'a project that demands what cannot be checked yet blocks the execution before anything is listed: %o',
  async (rules) => {
    const source = new MemorySource([app])
    source.rules = rules

    expect(await chosen(source)).toMatchObject({ kind: 'blocked', code: 'PH8005' })
  },
)

test('over maxArtifacts nothing is submitted; at it everything is', async () => {
  const limited = (maxArtifacts: number) => ({ policy: policy({ limits: { maxArtifacts, maxBytes: undefined } }) })

  expect(await chosen(new MemorySource([app, web]), limited(1))).toMatchObject({
    kind: 'blocked',
    code: 'PH8004',
    selection: { selected: 2 },
  })
  expect(tasksOf(await chosen(new MemorySource([app, web]), limited(2)))).toHaveLength(2)
})

test('maxBytes counts a blob that two artifacts share once', async () => {
  const once = manifest().blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const limited = (maxBytes: number) => ({ policy: policy({ limits: { maxArtifacts: 10, maxBytes } }) })

  expect(await chosen(new MemorySource([app, web]), limited(once))).toMatchObject({ kind: 'chosen', sizeBytes: once })
  expect(await chosen(new MemorySource([app, web]), limited(once - 1))).toMatchObject({
    kind: 'blocked',
    code: 'PH8004',
  })
})

test('of an index only the wanted platforms are ordered, a variant under its architecture', async () => {
  const source = new MemorySource([app])
  const manifests = ['linux/amd64', 'linux/arm64/v8', 'linux/arm/v7'].map((platform) =>
    manifest({ digest: digest(platform), platform }),
  )
  source.contents.set(digest(1), { digest: digest(1), type: 'image', isIndex: true, manifests })

  const [task] = tasksOf(await chosen(source, { policy: policy({ platforms: ['linux/arm64', 'linux/s390x'] }) }))

  expect(task?.order.manifests.map(({ platform }) => platform)).toEqual(['linux/arm64/v8'])
})

test('an index without any wanted platform is left out, with the reason', async () => {
  const source = new MemorySource([app])
  source.contents.set(digest(1), {
    digest: digest(1),
    type: 'image',
    isIndex: true,
    manifests: [manifest({ platform: 'linux/amd64' })],
  })

  expect(await chosen(source, { policy: policy({ platforms: ['linux/s390x'] }) })).toMatchObject({
    tasks: [],
    leftOut: [{ repository: 'library/app', message: 'the index holds none of linux/s390x' }],
  })
})

test('an artifact that cannot be understood, or was deleted meanwhile, fails alone', async () => {
  const source = new MemorySource([app, web, candidate({ repository: 'library/db', digest: digest(3) })])
  source.contents.set(digest(1), new EdgeError('unintelligible', 'PH6005', 'schema1 is not supported'))
  source.contents.set(digest(3), new EdgeError('rejected', 'PH6003', 'gone'))

  expect(tasksOf(await chosen(source)).map((task) => [task.artifact.repository, task.state, task.error?.code])).toEqual(
    [
      ['library/app', 'Failed', 'PH6005'],
      ['library/db', 'Failed', 'PH6003'],
      ['library/web', 'Pending', undefined],
    ],
  )
})

test('a registry that stops answering fails the selection as a whole', async () => {
  const source = new MemorySource([app, web])
  const silence = new EdgeError('unavailable', 'PH6001', 'no answer')
  source.contents.set(digest(2), silence)

  await expect(chosen(source)).rejects.toBe(silence)
})
