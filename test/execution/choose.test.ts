import { describe, expect, test } from 'vitest'
import { choose, type Choice, type Purpose } from '../../src/execution/choose.ts'
import { EdgeError } from '../../src/model/errors.ts'
import type { Snapshot } from '../../src/model/execution.ts'
import type { NamedArtifact, PreheatPolicy } from '../../src/model/policy.ts'
import type { LedgerEntry } from '../../src/model/evidence.ts'
import { MemorySource } from '../support/ports.ts'
import {
  artifactOf,
  artifactOrderOf,
  artifactRun,
  candidate,
  content,
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
  return await choose('20261121T020000Z-3f9a1c07', snapshot(over), purpose, { source, ledger, since: now, now }, never)
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

  expect(tasks.map((task) => [task.id, task.provider, artifactOf(task).repository, artifactOf(task).tags])).toEqual([
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
  expect(tasksOf(choice).map((task) => artifactOf(task).repository)).toEqual(['library/web'])
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

  expect(tasksOf(choice).map((task) => [artifactOf(task).repository, task.purpose])).toEqual([
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

  expect(tasksOf(choice).map((task) => [artifactOf(task).repository, task.purpose])).toEqual([['library/app', purpose]])
})

test('a disabled provider’s tasks are skipped, with the reason', async () => {
  const targets = [target({ provider: provider({ enabled: false }) })]

  expect(await chosen(new MemorySource([app]), { targets })).toMatchObject({
    tasks: [],
    selection: { skipped: 1 },
    skips: [{ reason: 'ProviderDisabled' }],
  })
})

test('a project that demands signatures leaves out what carries none, and asks only where the listing does not say', async () => {
  const signed = candidate({ signatures: ['cosign'] })
  const unsigned = candidate({ repository: 'library/web', digest: digest(2), signatures: [] })
  const unsaid = candidate({ repository: 'library/db', digest: digest(3) })
  const source = new MemorySource([signed, unsigned, unsaid])
  source.rules = { ...source.rules, signatures: ['cosign'] }
  source.kinds.set(digest(3), ['notation'])

  const choice = await chosen(source)

  expect(tasksOf(choice).map((task) => artifactOf(task).repository)).toEqual(['library/app'])
  expect(choice).toMatchObject({
    selection: { selected: 1 },
    leftOut: [
      { repository: 'library/db', rule: 'signature' },
      { repository: 'library/web', rule: 'signature' },
    ],
  })
  expect(source.asked).toEqual([`kinds library/db@${digest(3)}`])
})

test('the whole report is read only of what the CVE allowlist may save', async () => {
  const scanned = (number: number, severity: string) =>
    candidate({ repository: `library/${number}`, digest: digest(number), scan: { state: 'scanned', severity } })
  const unscanned = candidate({
    repository: 'library/4',
    digest: digest(4),
    scan: { state: 'unscanned', reason: 'never' },
  })
  const source = new MemorySource([scanned(1, 'Low'), scanned(2, 'High'), scanned(3, 'Critical'), unscanned])
  source.rules = { ...source.rules, severity: 'high', allowlist: { ids: ['CVE-1'], expiresAt: undefined } }
  source.reports.set(digest(2), [
    { id: 'CVE-1', severity: 'High' },
    { id: 'CVE-2', severity: 'Medium' },
  ])
  source.reports.set(digest(3), [
    { id: 'CVE-1', severity: 'High' },
    { id: 'CVE-3', severity: 'Critical' },
  ])

  const choice = await chosen(source)

  expect(tasksOf(choice).map((task) => artifactOf(task).repository)).toEqual(['library/1', 'library/2'])
  expect(source.asked).toEqual([`report library/2@${digest(2)}`, `report library/3@${digest(3)}`])
})

describe('Harbor’s gates look at each manifest that an engine pulls', () => {
  const index = candidate({ signatures: ['cosign'], scan: { state: 'scanned', severity: 'Low' } })
  const [amd, arm] = ['linux/amd64', 'linux/arm64'].map((platform) => manifest({ digest: digest(platform), platform }))
  const harbor = (rules: object) => {
    const source = new MemorySource([index])
    source.rules = { ...source.rules, ...rules }
    source.contents.set(digest(1), content({ isIndex: true, manifests: [amd!, arm!] }))
    return source
  }
  const outOf = (choice: Choice) =>
    choice.kind === 'chosen' ? choice.leftOut.map(({ rule, message }) => [rule, message]) : choice.message

  test('so one that is not signed itself leaves the index out, unless nobody wants it', async () => {
    const source = harbor({ signatures: ['cosign'] })
    source.kinds.set(amd!.digest, ['cosign'])

    expect(outOf(await chosen(source))).toEqual([
      ['signature', expect.stringMatching(/^its manifest linux\/arm64: .*cosign sign --recursive$/)],
    ])
    expect(tasksOf(await chosen(source, { policy: policy({ platforms: ['linux/amd64'] }) }))).toHaveLength(1)
  })

  test('and so does one that was not scanned, or is worse than the index’s summary', async () => {
    const source = harbor({ severity: 'high' })
    source.reports.set(amd!.digest, [{ id: 'CVE-1', severity: 'Low' }])
    expect(outOf(await chosen(source))).toEqual([
      ['vulnerability', expect.stringMatching(/linux\/arm64: was not scanned/)],
    ])

    source.reports.set(arm!.digest, [{ id: 'CVE-2', severity: 'High' }])
    expect(outOf(await chosen(source))).toEqual([['vulnerability', expect.stringMatching(/linux\/arm64: is High/)]])

    source.reports.set(arm!.digest, [])
    expect(tasksOf(await chosen(source))).toHaveLength(1)
  })
})

test('the digest that a tag has at selection is what is preheated [R6]', async () => {
  const source = new MemorySource([candidate({ digest: undefined, labels: undefined, type: undefined })])
  source.tags.set('library/app:v1', digest(7))

  const [task] = tasksOf(await chosen(source))

  expect(artifactOrderOf(task!).digest).toBe(digest(7))
})

test('a tag that is gone by the time it is asked for is left out, with the reason', async () => {
  const source = new MemorySource([candidate({ digest: undefined })])
  source.tags.set('library/app:v1', undefined)

  expect(await chosen(source)).toMatchObject({ tasks: [], leftOut: [{ tag: 'v1', rule: 'gone' }] })
})

describe('an artifact that the policy names', () => {
  const naming = (...artifacts: NamedArtifact[]) => ({
    policy: policy({ artifacts, filters: { ...policy().filters, tags: ['none'] } }),
  })

  test('is preheated whatever the filters want, its type included', async () => {
    const source = new MemorySource([candidate({ type: 'chart' })])
    source.contents.set(digest(1), content({ type: 'chart' }))
    const choice = await chosen(source, naming({ name: 'app', reference: { tag: 'v1' } }))
    expect(tasksOf(choice).map((task) => [artifactOf(task).tags, task.state])).toEqual([[['v1'], 'Pending']])
  })

  test('has to meet the criteria like any other', async () => {
    const source = new MemorySource([candidate({ signatures: [] })])
    source.rules = { ...source.rules, signatures: ['cosign'] }
    const choice = await chosen(source, naming({ name: 'app', reference: { tag: 'v1' } }))
    expect(choice).toMatchObject({
      tasks: [],
      leftOut: [
        { tag: 'v1', rule: 'tag' },
        { tag: 'v1', rule: 'signature' },
      ],
    })
  })

  test('goes by the digest that a proxy cache ended up with', async () => {
    const source = new MemorySource([])
    source.rules = { ...source.rules, isProxyCache: true }
    source.upstream.set('library/nginx:1.27', digest(5))
    const choice = await chosen(source, naming({ name: 'nginx', reference: { tag: '1.27' } }))
    expect(tasksOf(choice).map((task) => artifactOrderOf(task).digest)).toEqual([digest(5)])
  })

  test('and that is not there is named, while the others are preheated', async () => {
    const choice = await chosen(
      new MemorySource([app]),
      naming({ name: 'app', reference: { tag: 'v1' } }, { name: 'nginx', reference: { tag: '9' } }),
    )
    expect(tasksOf(choice)).toHaveLength(1)
    expect(choice).toMatchObject({ selection: { unresolved: [{ artifact: 'nginx:9', code: 'PH8010' }] } })
  })
})

describe('a policy that only names artifacts, as a run of its own does', () => {
  test('has nothing but their repositories listed, and leaves nothing out of them', async () => {
    const source = new MemorySource([app, candidate({ digest: digest(3), tags: ['v0'] }), web])
    const choice = await chosen(source, { policy: artifactRun().ownPolicy })
    expect(tasksOf(choice).map(({ subject }) => subject)).toMatchObject([
      { repository: 'library/app', digest: digest(1), tags: ['v1'] },
    ])
    expect(choice).toMatchObject({ leftOut: [], selection: { considered: 2, selected: 1 } })
  })

  test('is held to what the project demands', async () => {
    const source = new MemorySource([candidate({ signatures: [] })])
    source.rules = { ...source.rules, signatures: ['cosign'] }
    const choice = await chosen(source, { policy: artifactRun().ownPolicy })
    expect(choice).toMatchObject({ tasks: [], leftOut: [{ tag: 'v1', rule: 'signature' }] })
  })

  test('has fetched through a proxy cache what that does not hold', async () => {
    const source = new MemorySource([])
    source.rules = { ...source.rules, isProxyCache: true }
    source.upstream.set('library/app:v1', digest(5))
    const choice = await chosen(source, { policy: artifactRun().ownPolicy })
    expect(tasksOf(choice).map((task) => artifactOrderOf(task).digest)).toEqual([digest(5)])
  })
})

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
  source.contents.set(digest(1), { digest: digest(1), type: 'image', isIndex: true, manifests, absent: [] })

  const [task] = tasksOf(await chosen(source, { policy: policy({ platforms: ['linux/arm64', 'linux/s390x'] }) }))

  expect(artifactOrderOf(task!).manifests.map(({ platform }) => platform)).toEqual(['linux/arm64/v8'])
})

test('an index without any wanted platform is left out, with the reason', async () => {
  const source = new MemorySource([app])
  source.contents.set(digest(1), {
    digest: digest(1),
    type: 'image',
    isIndex: true,
    manifests: [manifest({ platform: 'linux/amd64' })],
    absent: [],
  })

  expect(await chosen(source, { policy: policy({ platforms: ['linux/s390x'] }) })).toMatchObject({
    tasks: [],
    leftOut: [{ repository: 'library/app', message: 'the index holds none of linux/s390x' }],
  })
})

test('a wanted platform that the index lists and the registry does not hold fails the artifact [R9]', async () => {
  const source = new MemorySource([app])
  source.contents.set(
    digest(1),
    content({
      isIndex: true,
      manifests: [manifest({ platform: 'linux/amd64' })],
      absent: [{ digest: digest(8), platform: 'linux/arm64' }],
    }),
  )

  const of = async (platforms: string[]) =>
    tasksOf(await chosen(source, { policy: policy({ platforms }) })).map(({ state, error }) => [state, error?.code])

  expect(await of(['linux/amd64'])).toEqual([['Pending', undefined]])
  expect(await of(['linux/amd64', 'linux/arm64'])).toEqual([['Failed', 'PH6007']])
  expect(await of([])).toEqual([['Failed', 'PH6007']])
})

test('an artifact that cannot be understood, or was deleted meanwhile, fails alone', async () => {
  const source = new MemorySource([app, web, candidate({ repository: 'library/db', digest: digest(3) })])
  source.contents.set(digest(1), new EdgeError('unintelligible', 'PH6005', 'schema1 is not supported'))
  source.contents.set(digest(3), new EdgeError('rejected', 'PH6003', 'gone'))

  expect(
    tasksOf(await chosen(source)).map((task) => [artifactOf(task).repository, task.state, task.error?.code]),
  ).toEqual([
    ['library/app', 'Failed', 'PH6005'],
    ['library/db', 'Failed', 'PH6003'],
    ['library/web', 'Pending', undefined],
  ])
})

test('a registry that stops answering fails the selection as a whole', async () => {
  const source = new MemorySource([app, web])
  const silence = new EdgeError('unavailable', 'PH6001', 'no answer')
  source.contents.set(digest(2), silence)

  await expect(chosen(source)).rejects.toBe(silence)
})

describe('a file that the policy names', () => {
  const urls = ['https://models.example.com/b.gguf', 'https://Models.example.com:443/a.gguf']
  const naming = (over: Partial<PreheatPolicy> = {}) => ({ policy: policy({ files: urls, ...over }) })
  const filesOf = (choice: Choice) =>
    tasksOf(choice).flatMap(({ subject }) => ('file' in subject ? [subject.file as string] : []))

  test('is one task a provider, after its artifacts, with neither size nor registry', async () => {
    const targets = [target({ provider: provider({ name: 'us' }) }), target({ provider: provider({ name: 'eu' }) })]

    const choice = await chosen(new MemorySource([app]), { ...naming(), targets })

    expect(tasksOf(choice).map(({ id, provider, subject }) => [id.slice(-5), provider, subject])).toEqual(
      ['eu', 'us'].flatMap((name, index) => [
        [`0000${index * 3 + 1}`, name, { repository: 'library/app', digest: digest(1), tags: ['v1'] }],
        [`0000${index * 3 + 2}`, name, { file: 'https://models.example.com/a.gguf' }],
        [`0000${index * 3 + 3}`, name, { file: 'https://models.example.com/b.gguf' }],
      ]),
    )
    expect(tasksOf(choice)[1]).toMatchObject({ state: 'Pending', platforms: [], sizeBytes: undefined })
    expect(tasksOf(choice)[1]?.order).toEqual({
      taskId: tasksOf(choice)[1]?.id,
      file: 'https://models.example.com/a.gguf',
      scope: 'single_seed_peer',
      clusters: undefined,
      timeoutMs: 3_600_000,
    })
    expect(choice).toMatchObject({ selection: { considered: 3, selected: 3 }, sizeBytes: 2 * 30_001_500 })
  })

  test('is left alone while it is known warm at that provider, under that scope and in these clusters', async () => {
    const [first] = tasksOf(await chosen(new MemorySource([]), naming()))
    const warm = [warmAt(first!.ledgerKey, now)]

    const again = await chosen(new MemorySource([]), naming(), warm)
    expect(filesOf(again)).toEqual(['https://models.example.com/b.gguf'])
    expect(again).toMatchObject({ selection: { selected: 2, skipped: 1 }, skips: [{ reason: 'AlreadyWarm' }] })
    expect(filesOf(await chosen(new MemorySource([]), { ...naming(), refresh: 'always' }, warm))).toHaveLength(2)
    for (const other of [
      target({ scope: 'all_peers' }),
      target({ clusters: ['eu-1'] }),
      target({ provider: provider({ name: 'us' }) }),
    ])
      expect(filesOf(await chosen(new MemorySource([]), { ...naming(), targets: [other] }, warm))).toHaveLength(2)
  })

  test.each<[Purpose, Partial<PreheatPolicy>, number, string]>([
    ['drift', { drift: { mode: 'warn', intervalMs: 1 } }, now, 'look'],
    ['drift', { drift: { mode: 'heal', intervalMs: 1 } }, now, 'heal'],
    ['keep_warm', { keepWarmMs: 4 * 3_600_000 }, now - 3 * 3_600_000, 'preheat'],
  ])('is kept up as artifacts are: %s, %j', async (purpose, over, at, expected) => {
    const [first] = tasksOf(await chosen(new MemorySource([]), naming()))
    const choice = await chosen(new MemorySource([]), naming(over), [warmAt(first!.ledgerKey, at)], purpose)
    expect(filesOf(choice)).toEqual(['https://models.example.com/a.gguf'])
    expect(tasksOf(choice)[0]?.purpose).toBe(expected)
  })

  test('counts in maxArtifacts, and where bytes are limited nothing is sent, because its size is not known', async () => {
    const limited = (maxArtifacts: number, maxBytes?: number) => naming({ limits: { maxArtifacts, maxBytes } })

    expect(await chosen(new MemorySource([app]), limited(2))).toMatchObject({
      kind: 'blocked',
      code: 'PH8004',
      message: expect.stringContaining('3 artifacts and files'),
    })
    expect(tasksOf(await chosen(new MemorySource([app]), limited(3)))).toHaveLength(3)
    expect(await chosen(new MemorySource([app]), limited(3, 2 ** 50))).toMatchObject({
      kind: 'blocked',
      code: 'PH8004',
      message: expect.stringContaining('sizes nobody knows'),
    })
  })

  test('makes another selection, in whatever order and spelling the files stand', async () => {
    const of = async (...files: string[]) =>
      (await chosen(new MemorySource([app]), naming({ files }))).selection?.digest
    const [both, turned, one, none] = [
      await of(...urls),
      await of('https://models.example.com/a.gguf', urls[0]!),
      await of(urls[0]!),
      await of(),
    ]
    expect(turned).toBe(both)
    expect(new Set([both, one, none]).size).toBe(3)
  })
})

test('of an artifact whose content cannot be read no size is claimed', async () => {
  const source = new MemorySource([app])
  source.contents.set(digest(1), new EdgeError('rejected', 'PH6003', 'gone'))
  expect(tasksOf(await chosen(source))).toMatchObject([{ state: 'Failed', sizeBytes: undefined }])
})
