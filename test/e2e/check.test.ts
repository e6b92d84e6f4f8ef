import { access, rm } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { check as runCheck } from '../../src/commands/check.ts'
import { lifeText } from '../../src/commands/check/registry.ts'
import { harborTraps, providerTraps, versionTraps } from '../../src/commands/check/traps.ts'
import type { Tls } from '../../src/model/auth.ts'
import type { KrakenSettings, Provider } from '../../src/model/provider.ts'
import { Secret } from '../../src/model/secret.ts'
import { TOKEN } from '../doubles/dragonfly.ts'
import { cli, startCli, type Ended } from '../support/cli.ts'
import { EXAMPLE_AT, provider } from '../support/examples.ts'
import { MemoryIo } from '../support/io.ts'
import { GIT_PASSWORD, openAppSite, policyYaml, providerYaml, resourceYaml, type HarborSite } from '../support/site.ts'

interface Row {
  readonly kind: string
  readonly name: string
  readonly ok: boolean
  readonly code: string | null
  readonly detail: string
  readonly warnings: readonly string[]
}

/** A site with a policy, whose reports have a credential of their own. */
async function openPlace(): Promise<HarborSite> {
  const place = await openAppSite({ 'projects/team/release.yaml': policyYaml('release', { project: 'team' }) })
  const { site } = place
  await site.secret('git-reports', { username: 'preheatd', password: GIT_PASSWORD })
  site.bind('git-reports', new URL(site.gitServer.origin).host)
  await site.configure({ reports: { auth: { type: 'basic', secretRef: { name: 'git-reports' } } } })
  return place
}

function check({ site }: HarborSite, ...args: string[]): Promise<Ended> {
  return cli(['check', '--config', site.configFile, ...args])
}

async function rowsOf(place: HarborSite): Promise<readonly Row[]> {
  return JSON.parse((await check(place, '-o', 'json')).stdout) as Row[]
}

function failed(rows: readonly Row[]): unknown[] {
  return rows.filter(({ ok }) => !ok).map(({ kind, name, code }) => [kind, name, code])
}

test('all that the daemon reaches is reached and named, with versions and abilities', async () => {
  await using place = await openPlace()

  const ended = await check(place)

  expect(ended, ended.stderr).toMatchObject({ code: 0, stderr: '' })
  const lines = ended.stdout.split('\n').filter((line) => /^[✔✗]/.test(line))
  expect(lines).toEqual([
    expect.stringMatching(/^✔ source http:\S+ branch main {2}readable, at [0-9a-f]{19}$/),
    expect.stringMatching(/^✔ config [0-9a-f]{19} {2}3 objects$/),
    expect.stringMatching(
      /^✔ reports http:\S+ preheat-reports {2}not there yet: the first report makes it; a push was/,
    ),
    expect.stringMatching(/^✔ registry harbor {2}Harbor v2\.12\.2-0a1b2c3d at http/),
    '✔ project harbor/team  listed, and team/app can be read',
    '✔ pull harbor  engines get a credential for team/app, by engineAuth auto',
    expect.stringMatching(
      /^✔ provider dragonfly-eu {2}answers, .* evidence claimed-by-engine, clusters cluster-1.*; expiry unknown: the token may not read personal access tokens$/,
    ),
  ])
})

test('stopped in the middle it ends with the reason of the stop, and leaves nothing of itself unheard', async () => {
  await using place = await openPlace()
  await place.site.configure()
  const reason = new Error('stopped by SIGINT')

  // What is rejected and heard by nobody fails a test.
  const stopped = runCheck({ config: place.site.configFile, output: 'text' }, new MemoryIo(), AbortSignal.abort(reason))

  await expect(stopped).rejects.toBe(reason)
})

test('it changes nothing: no branch, no state, no job', async () => {
  await using place = await openPlace()

  await check(place)

  expect(await place.site.repository.revision('preheat-reports')).toBeUndefined()
  await expect(access(place.site.stateDir)).rejects.toThrow('ENOENT')
  expect(place.site.dragonfly.posts).toEqual([])
})

test.each<[string, (place: HarborSite) => unknown, unknown[]]>([
  [
    'password of the reports',
    ({ site }) => site.secret('git-reports', { password: 'wrong' }),
    ['reports', expect.stringContaining('preheat-reports'), 'PH4001'],
  ],
  [
    'reports credential, which may only read',
    ({ site }) => (site.gitServer.isReadOnly = true),
    ['reports', expect.stringContaining('preheat-reports'), 'PH4005'],
  ],
  [
    'robot of the registry',
    ({ site }) => site.secret('harbor-robot', { password: 'wrong' }),
    ['registry', 'harbor', 'PH6002'],
  ],
  [
    'token of the engine',
    ({ site }) => site.secret('dragonfly-eu', { token: 'wrong' }),
    ['provider', 'dragonfly-eu', 'PH5007'],
  ],
  [
    'token of the engine, which lacks its scope',
    ({ site }) => (site.dragonfly.tokens = [{ token: TOKEN, scopes: ['cluster'] }]),
    ['provider', 'dragonfly-eu', 'PH5007'],
  ],
  [
    'secret of the engine, which is not there',
    ({ site }) => rm(`${site.root}/secrets/dragonfly-eu/token`),
    ['provider', 'dragonfly-eu', 'PH7001'],
  ],
  [
    'robot, which may not list the artifacts',
    ({ harbor }) => {
      harbor.fail({ path: /\/projects\/team\/artifacts$/, answer: { kind: 'status', status: 403 } })
    },
    ['project', 'harbor/team', 'PH6002'],
  ],
  [
    'robot, which may not pull',
    ({ harbor }) => {
      harbor.fail({ path: /^\/v2\/team\/app\/tags/, answer: { kind: 'status', status: 401 } })
    },
    ['project', 'harbor/team', 'PH6002'],
  ],
])('a wrong %s is named by its code, and nothing else fails with it', async (_what, spoil, expected) => {
  await using place = await openPlace()
  await spoil(place)

  const ended = await check(place, '-o', 'json')

  expect(ended.code).toBe(1)
  expect(failed(JSON.parse(ended.stdout) as Row[])).toEqual([expected])
  for (const secret of [GIT_PASSWORD, TOKEN, 'robot-secret']) expect(ended.stdout + ended.stderr).not.toContain(secret)
})

test('a registry of type oci is asked through its distribution API, and a wrong account is named', async () => {
  await using place = await openPlace()
  const { endpoint } = place.harbor
  await place.site.repository.commit({
    'registries/harbor.yaml': resourceYaml('Registry', 'harbor', {
      type: 'oci',
      endpoint,
      repositories: ['team/app'],
      auth: { type: 'basic', secretRef: { name: 'harbor-robot' } },
    }),
  })

  const well = await rowsOf(place)
  await place.site.secret('harbor-robot', { password: 'wrong' })
  const wrong = await rowsOf(place)

  expect(failed(well)).toEqual([])
  expect(well.find(({ kind }) => kind === 'project')?.detail).toBe('listed, and team/app can be read')
  expect(failed(wrong)).toEqual([['registry', 'harbor', 'PH6002']])
})

test('a registry that only a PreheatRun pulls from is of use, and its project is looked at', async () => {
  await using place = await openPlace()
  await place.site.repository.commit({
    'projects/team/release.yaml': resourceYaml('PreheatRun', 'hotfix', {
      project: 'team',
      artifacts: ['app:v1'],
      reason: 'CVE-2026-1234',
      expiresAt: '2099-01-01T00:00:00Z',
    }),
  })

  const rows = await rowsOf(place)

  expect(rows.find(({ kind }) => kind === 'registry')?.warnings).not.toContain('no policy is about it')
  expect(rows.find(({ kind }) => kind === 'project')).toMatchObject({ name: 'harbor/team', ok: true })
})

test('a person reads what failed, and below it what mends it', async () => {
  await using place = await openPlace()
  await place.site.secret('dragonfly-eu', { token: 'wrong' })

  const ended = await check(place)

  expect(ended.code).toBe(1)
  expect(ended.stdout).toMatch(
    /^✗ provider dragonfly-eu {2}PH5007 provider dragonfly-eu .*\n {4}help: Check the secret/m,
  )
})

test('without its source, check asks the registries and engines that the daemon applied last, and beside it', async () => {
  await using place = await openPlace()
  const daemon = startCli(['run', '--config', place.site.configFile])
  await daemon.says(/"plan.applied"/)
  await place.site.secret('git', { password: 'wrong' })

  const rows = await rowsOf(place)

  daemon.process.kill('SIGTERM')
  await daemon.ended()
  expect(failed(rows)).toEqual([['source', expect.stringContaining('main'), 'PH4001']])
  expect(rows.map(({ kind }) => kind)).toEqual(['source', 'reports', 'registry', 'project', 'pull', 'provider'])
  expect(rows[0]?.warnings).toEqual(['registries and providers are those that the daemon applied last'])
})

test('a cluster that no manager lists fails the check before any task does, whoever names it', async () => {
  await using place = await openPlace()
  await place.site.repository.commit({
    'providers/dragonfly-eu.yaml': providerYaml(place.site, 'dragonfly-eu', { dragonfly: { clusters: ['cluster-1'] } }),
    'projects/team/far.yaml': policyYaml('far', {
      project: 'team',
      providers: [{ name: 'dragonfly-eu', clusters: ['cluster-9'] }],
    }),
  })

  const rows = await rowsOf(place)

  expect(failed(rows)).toEqual([['provider', 'dragonfly-eu', 'PH5009']])
  expect(rows.find(({ kind }) => kind === 'provider')?.detail).toContain('no cluster cluster-9; it lists: cluster-1')
  expect(place.site.dragonfly.posts).toEqual([])
})

test('a file that is broken at the tip fails the check with its place, and the rest is still asked', async () => {
  await using place = await openPlace()
  await place.site.repository.commit({ 'projects/team/broken.yaml': policyYaml('broken', { project: 1 }) })

  const rows = await rowsOf(place)

  expect(failed(rows)).toEqual([['config', expect.anything(), expect.stringMatching(/^PH2/)]])
  expect(rows.find(({ kind }) => kind === 'config')?.detail).toContain('projects/team/broken.yaml:')
  expect(rows.find(({ kind }) => kind === 'provider')).toMatchObject({ ok: true })
})

test('traps are warned of: loopback, a project’s demands, providers that are disabled or unused', async () => {
  await using place = await openPlace()
  await place.site.repository.commit({
    'providers/off.yaml': resourceYaml('Provider', 'off', {
      vendor: 'dragonfly',
      endpoint: place.site.dragonfly.endpoint,
      enabled: false,
    }),
  })
  place.harbor.project('team', { prevent_vul: 'true' })

  const rows = await rowsOf(place)

  const warnings = (kind: string, name: string) =>
    rows.find((row) => row.kind === kind && row.name === name)?.warnings.join('\n')
  expect(failed(rows)).toEqual([])
  expect(warnings('registry', 'harbor')).toContain('is loopback')
  expect(warnings('project', 'harbor/team')).toContain('demands a scan with nothing as severe as')
  expect(rows.find(({ name }) => name === 'off')).toMatchObject({
    detail: 'disabled, so it was not asked',
    warnings: ['no policy uses it'],
  })
})

test.each([
  ['Harbor v2.11.2-0a1b2c3d', '>= 2.4.4', /Harbor 2\.11’s own preheating fails here: .* since 2\.4\.1/],
  ['Harbor v2.11.2-0a1b2c3d', '>= 2.3.1', undefined],
  ['Harbor v2.12.2-0a1b2c3d', '> 2.5.1', undefined],
  ['Harbor v2.13.0', '>= 2.1.57', /Harbor 2\.13’s own preheating may fail here with 422/],
  ['Harbor v2.13.0', '2.1.65', /fails here with 422/],
  ['Harbor v2.13.0', '>= 2.2.1', undefined],
  ['OCI distribution API', '2.1.65', undefined],
])('%s beside a manager %s: what is known between them is said, and nothing else', (harbor, manager, said) => {
  const traps = versionTraps(harbor, manager)

  expect(traps).toHaveLength(said === undefined ? 0 : 1)
  if (said !== undefined) expect(traps[0]).toMatch(said)
})

test.each<[string, Partial<Provider>, string | undefined, readonly RegExp[]]>([
  ['2.1.59', {}, '>= 2.1.57', [/before 2\.2\.2 take any token/, /before 2\.3\.1 do not ask hosts/]],
  ['2.1.59 without a token', { auth: { type: 'none' } }, '>= 2.1.57', [/before 2\.3\.1/]],
  ['2.2.5', {}, '>= 2.2.3', [/before 2\.3\.1 do not ask hosts/]],
  ['2.3.1 or 2.4.1', {}, '>= 2.3.1', [/before 2\.4\.0 tell that a blob is there, not that it is whole/]],
  ['2.5.1', {}, '>= 2.4.4', []],
  ['whose version is not told', {}, undefined, []],
])('a manager %s: its traps are said', (_what, overrides, version, expected) => {
  const declared = provider({ auth: { type: 'bearer', secret: 'dragonfly-eu' }, ...overrides })

  const traps = providerTraps(declared, { version, clusters: ['cluster-1'] })

  expect(traps).toEqual(expected.map((words) => expect.stringMatching(words) as string))
})

test('a manager that lists no clusters hides failures behind the first, unless ids are declared', () => {
  const traps = (clusters: Provider['dragonfly']['clusters']) =>
    providerTraps(provider({ dragonfly: { ...provider().dragonfly, clusters } }), { clusters: [] })

  expect(traps('all')).toEqual([expect.stringMatching(/the first failure hides the others.* scope cluster$/)])
  expect(traps({ ids: [1] })).toEqual([])
})

const KRAKEN: KrakenSettings = {
  mode: 'origins',
  origins: ['http://o:1'],
  tracker: undefined,
  backend: 'other',
  replicas: undefined,
}

test.each([
  ['other', 6, []],
  ['registry', 6, [/OCI manifests.*PH3007/, /^the index .* is not preheated: .*pull by tag.* OCI index/]],
  ['other', 7, [/drop what nobody has read for 6h .*cacheLifetime is 7h$/]],
] as const)('Kraken with backend %s and a cacheLifetime of %d h: its traps are said', (backend, hours, expected) => {
  const kraken = { ...KRAKEN, backend }
  const declared = provider({ vendor: 'kraken', kraken, cacheLifetimeMs: hours * 3_600_000 })

  const traps = providerTraps(declared, { clusters: [] })

  expect(traps).toEqual(expected.map((words) => expect.stringMatching(words) as string))
})

test.each<[string, Partial<KrakenSettings>, Partial<Tls>, RegExp | undefined]>([
  ['by notifications', { mode: 'notify' }, { certFile: 'preheatd.pem' }, /^a notification does not count as use/],
  ['over TLS as nobody', { origins: ['http://a:1', 'https://b:1'] }, {}, /^without tls\.certFile .* keepWarm/],
  ['over TLS with a certificate', { origins: ['https://b:1'] }, { certFile: 'preheatd.pem' }, undefined],
  ['in the open', {}, {}, undefined],
])('Kraken asked %s: whether that keeps what it holds is said', (_how, settings, tls, said) => {
  const kraken = { ...KRAKEN, ...settings }
  const declared = provider({ vendor: 'kraken', kraken, tls: { ...provider().tls, ...tls } })

  expect(providerTraps(declared, { clusters: [] })).toEqual(said === undefined ? [] : [expect.stringMatching(said)])
})

test.each([
  [7, []],
  [8, [expect.stringMatching(/drop what they cached after 7d, and cacheLifetime is 8d$/)]],
])('a cache that is believed for %d days: that it forgets after seven is said', (days, expected) => {
  const declared = provider({ vendor: 'pull-through', cacheLifetimeMs: days * 24 * 3_600_000 })

  expect(providerTraps(declared, { clusters: [] })).toEqual(expected)
})

test.each([
  ['from when it was issued', { iat: 1000, exp: 2800 }, 'which expires 30m after it is minted'],
  ['from now', { exp: EXAMPLE_AT / 1000 + 90 }, 'which expires 1m30s after it is minted'],
  ['and is over', { iat: 2800, exp: 1000 }, 'which has expired'],
  ['that is not told', {}, undefined],
  ['that is no number', { exp: 'soon' }, undefined],
])('the life of a pull token is read from it: one %s', (_what, claims, said) => {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const token = new Secret(`Bearer ${part({ alg: 'RS256' })}.${part(claims)}.c2lnbmF0dXJl`)

  expect(lifeText(token, EXAMPLE_AT)).toEqual(said === undefined ? [] : [said])
})

test.each(['Basic dXNlcjpwYXNz', 'Bearer opaque', 'Bearer a.bm90IGpzb24.c'])('%s tells no life', (value) => {
  expect(lifeText(new Secret(value), EXAMPLE_AT)).toEqual([])
})

test.each([
  ['Harbor v2.11.2-0a1b2c3d', 1],
  ['Harbor v2.12.2-0a1b2c3d', 0],
  ['Harbor v3.0.0', 0],
  ['OCI distribution API', 0],
])('%s: what listing it costs is said where it costs more', (version, count) => {
  expect(harborTraps(version)).toHaveLength(count)
})
