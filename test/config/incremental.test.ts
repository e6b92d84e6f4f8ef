import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { ConfigReader } from '../../src/config/reader.ts'
import { readConfig } from '../../src/reconcile.ts'
import type { Config } from '../../src/config/load.ts'
import { commit, head, policy, repository, type Texts } from '../support/config.ts'

const never = new AbortController().signal
const COMMITS = 60
const SEEDS = 7

/** Numbers that look random and are the same for the same seed (mulberry32). */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

const NAMES = ['a', 'b', 'B', 'web', 'api']
const FILES = [
  'projects/library/x.yaml',
  'projects/library/y.yaml',
  'projects/team/z.yaml',
  'p.yaml',
  'q.yaml',
  'r.yaml',
]
const spec = (kind: string, name: string, lines: string) => `${head(kind, name)}spec:\n  ${lines}\n`

/** What a file may become, good and bad. Policies, runs, registries, providers and keys refer to one another. */
const CONTENTS: readonly ((pick: <T>(of: readonly T[]) => T) => string)[] = [
  (pick) => policy(pick(NAMES)),
  (pick) => policy(pick(NAMES)).replace(' }', `, labels: { site: ${pick(['eu', 'us'])} } }`),
  (pick) => policy(pick(NAMES), `  registry: ${pick(['harbor', 'oci', 'harbour'])}\n`),
  (pick) => policy(pick(NAMES), `  providers: [{ name: ${pick(['eu', 'us', 'ue'])}, scope: all_peers }]\n`),
  (pick) => policy(pick(NAMES), `  providerSelector: { matchLabels: { site: ${pick(['eu', 'us'])} } }\n`),
  (pick) => policy(pick(NAMES), `  artifacts: ['${pick(['app:v1', 'harbor.example.com/library/app:v1'])}']\n`),
  (pick) =>
    policy(
      pick(NAMES),
      `  criteria: { signature: { mode: verified, keys: ['${pick(['keys/a.pub', 'keys/b.pub'])}'] } }\n`,
    ),
  (pick) =>
    policy(pick(NAMES), `  trigger: { type: scheduled, schedule: { cron: '${pick(['0 2 * * *', '0 2 31 2 *'])}' } }\n`),
  (pick) => policy(pick(NAMES)).replace('project: library', pick(['project: team', 'project: a/b', 'enabled: true'])),
  (pick) => policy(pick(NAMES), '  nonsense: 1\n'),
  (pick) => `${policy(pick(NAMES))}---\n${policy(pick(NAMES))}`,
  (pick) => spec('PreheatRun', pick(NAMES), `policy: ${pick(NAMES)}`),
  (pick) => spec('PreheatRun', pick(NAMES), `project: library\n  artifacts: ['${pick(['app:v1', 'app'])}']`),
  (pick) =>
    spec('Registry', pick(['harbor', 'oci']), `type: ${pick(['oci', 'harbor'])}\n  endpoint: https://r.example.com`),
  (pick) => spec('Registry', pick(['harbor', 'oci']), `type: ${pick(['oci', 'other'])}`),
  (pick) =>
    spec(
      'Provider',
      pick(['eu', 'us']),
      `vendor: ${pick(['dragonfly', 'kraken'])}\n  endpoint: https://p.example.com\n  default: ${pick(['true', 'false'])}\n  enabled: ${pick(['true', 'false'])}\n  projects: [${pick(['"**"', 'library', 'team'])}]`,
    ),
  (pick) => spec('Provider', pick(['eu', 'us']), `vendor: ${pick(['dragonfly', 'none'])}`),
  () => 'a: [\n',
  () => 'kind: ConfigMap\napiVersion: v1\n',
  () => `${head('Tenant', 'later')}spec: {}\n`,
]

const KEYS = ['keys/a.pub', 'keys/b.pub']
const PUBLIC_KEYS = [1, 2].map(() =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' }).toString(),
)

/** What a commit is brought back to from time to time: it names a registry, a provider and a key. */
const SOUND: Texts = {
  ...repository,
  'projects/library/named.yaml': policy('named', "  artifacts: ['harbor.example.com/library/app:v1']\n"),
  'projects/library/sent.yaml': policy('sent', '  providers: [{ name: eu }]\n'),
  [KEYS[0]!]: PUBLIC_KEYS[0]!,
  'projects/library/signed.yaml': policy(
    'signed',
    `  criteria: { signature: { mode: verified, keys: ['${KEYS[0]!}'] } }\n`,
  ),
}

/** Changes of one value in what others name. */
const CHANGES: readonly (readonly [path: string, from: string, to: string])[] = [
  ['registries/harbor.yaml', 'harbor.example.com', 'elsewhere.example.com'],
  ['registries/harbor.yaml', 'type: harbor', 'type: oci'],
  ['providers/eu.yaml', 'spec:\n', 'spec:\n  enabled: false\n'],
  ['providers/eu.yaml', 'spec:\n', 'spec:\n  projects: [team]\n'],
  ['providers/eu.yaml', 'dragonfly', 'kraken'],
  [KEYS[0]!, PUBLIC_KEYS[0]!, PUBLIC_KEYS[1]!],
]

/** The next commit: some files written, deleted, moved, copied or brought back. */
function edited(texts: Texts, random: (below: number) => number): Texts {
  const pick = <T>(of: readonly T[]): T => of[random(of.length)]!
  const next = new Map(Object.entries(texts))
  for (let edits = 1 + random(2); edits > 0; edits--) {
    const path = pick([...FILES, ...FILES, ...Object.keys(SOUND), 'providers/eu.yaml', ...KEYS])
    const text = next.get(path)
    const [changed, from, to] = pick(CHANGES)
    switch (random(8)) {
      case 0:
        next.delete(path)
        break
      case 1:
        if (next.has(changed)) next.set(pick(FILES), next.get(changed)!)
        next.delete(changed)
        break
      case 2:
        if (text !== undefined) next.set(pick(FILES), text)
        break
      case 3:
        for (const file of FILES) next.delete(file)
        break
      case 4:
        for (const [file, sound] of Object.entries(SOUND)) next.set(file, sound)
        break
      case 5:
      case 6:
        next.set(changed, next.get(changed)?.replace(from, to) ?? SOUND[changed]!)
        break
      default:
        next.set(path, KEYS.includes(path) ? pick(['no key', ...PUBLIC_KEYS]) : pick(CONTENTS)(pick))
    }
  }
  return Object.fromEntries(next)
}

describe('one commit after the other', () => {
  test('comes to what it comes to for who sees it first, whatever was edited', async () => {
    const codes = new Set<string>()
    let sound = 0
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = randomOf(seed)
      const matchLabels = seed % 4 === 0 ? { site: 'eu' } : {}
      const reader = new ConfigReader(matchLabels)
      let texts = SOUND
      for (let count = 0; count < COMMITS; count++) {
        const config = await readConfig(commit(texts), reader, never)
        expect(config).toEqual(await readConfig(commit(texts), new ConfigReader(matchLabels), never))
        for (const { code } of config.problems) codes.add(code)
        if (config.objects.some(({ resource }) => resource.kind === 'PreheatPolicy')) sound++
        texts = edited(texts, random)
      }
    }
    // What is always right, or always wrong in the same way, would show nothing.
    expect(codes.size).toBeGreaterThan(15)
    expect(sound).toBeGreaterThan((SEEDS * COMMITS) / 4)
  })

  test('what a policy is told about a provider is told of where that stands now', async () => {
    const reader = new ConfigReader()
    const { 'providers/eu.yaml': provider = '', ...rest } = SOUND
    const disabled = provider.replace('spec:\n', 'spec:\n  enabled: false\n')
    await readConfig(commit({ ...rest, 'providers/eu.yaml': disabled }), reader, never)
    const moved = await readConfig(commit({ ...rest, 'providers/moved.yaml': disabled }), reader, never)

    expect(moved.problems.map(({ message }) => message)).toContain('provider eu is disabled in providers/moved.yaml')
  })

  test('what a commit left alone is the very same value, though the file beside it changed', async () => {
    const reader = new ConfigReader()
    const before = { ...repository, 'projects/library/c.yaml': policy('c') }
    const first = await readConfig(commit(before), reader, never)
    const second = await readConfig(
      commit({ ...before, 'projects/library/c.yaml': policy('c', '  enabled: false\n') }),
      reader,
      never,
    )

    const isSame = (key: string) => resource(second, key) === resource(first, key)
    expect(isSame('PreheatPolicy/harbor/library/web')).toBe(true)
    expect(isSame('PreheatPolicy/harbor/library/c')).toBe(false)
  })
})

function resource(config: Config, key: string) {
  const found = config.objects.find((one) => one.key === key)
  expect(found).toBeDefined()
  return found?.resource
}
