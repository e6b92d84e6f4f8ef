import { rm } from 'node:fs/promises'
import { expect, test } from 'vitest'
import type { DragonflyOptions } from '../doubles/dragonfly.ts'
import { cli, startCli } from '../support/cli.ts'
import { openAppSite, policyYaml, providerYaml, runYaml, type HarborSite } from '../support/site.ts'

interface Place extends HarborSite {
  /** Digest of `team/app:v1`. */
  readonly digest: string
  warm(...args: string[]): ReturnType<typeof cli>
}

/** A site with `team/app:v1` and a policy that nobody has run yet. */
async function openPlace(dragonfly: DragonflyOptions = {}): Promise<Place> {
  const policy = policyYaml('release', { project: 'team', retry: { attempts: 1 } })
  const place = await openAppSite({ 'projects/team/release.yaml': policy }, dragonfly)
  return {
    ...place,
    digest: place.app.digest,
    warm: (...args) => cli(['warm', ...args, '--config', place.site.configFile]),
  }
}

async function preheat({ site }: Place): Promise<void> {
  const ended = await cli(['preheat', 'team/release', '--config', site.configFile, '--wait'])
  expect(ended, ended.stderr).toMatchObject({ code: 0 })
}

test('an image is not warm before it was preheated, and warm by evidence with its age afterwards', async () => {
  await using place = await openPlace()

  const before = await place.warm('team/app:v1')
  await preheat(place)
  const after = await place.warm('team/app:v1')

  expect(before, before.stderr).toMatchObject({ code: 1 })
  expect(before.stdout).toContain(`✗ team/app@${place.digest} is not known warm on dragonfly-eu: `)
  expect(after, after.stderr).toMatchObject({ code: 0 })
  expect(after.stdout).toMatch(
    /^✔ team\/app@sha256:[0-9a-f]{64} is warm on dragonfly-eu: success_tasks, (\d+) of \1 blobs, \d+s ago \(claimed-by-engine\)\n$/,
  )
})

test('asking preheats nothing', async () => {
  await using place = await openPlace()

  await place.warm('team/app:v1')

  expect(place.site.dragonfly.cached(1)).toEqual(new Set())
})

test('a reference may be a digest and may begin with the registry’s host', async () => {
  await using place = await openPlace()
  await preheat(place)
  const { host } = new URL(place.harbor.endpoint)

  const byDigest = await place.warm(`team/app@${place.digest}`)
  const byHost = await place.warm(`${host}/team/app:v1`, '-o', 'json')
  const elsewhere = await place.warm('ghcr.io/team/app:v1')

  expect(byDigest, byDigest.stderr).toMatchObject({ code: 0 })
  expect(byHost, byHost.stderr).toMatchObject({ code: 0 })
  expect(JSON.parse(byHost.stdout)).toMatchObject({
    registry: 'harbor',
    repository: 'team/app',
    tag: 'v1',
    digest: place.digest,
    warm: true,
    providers: [{ name: 'dragonfly-eu', warm: true, from: 'ledger', evidence: { kind: 'success_tasks' } }],
  })
  expect(elsewhere).toMatchObject({ code: 1, stderr: expect.stringContaining(`no declared Registry is at ghcr.io`) })
})

test('a tag that is not there, a provider that is not there and a reference without a tag are told apart', async () => {
  await using place = await openPlace()

  const tag = await place.warm('team/app:v9')
  const provider = await place.warm('team/app:v1', '--provider', 'kraken-us')
  const nothing = await place.warm('team/app')

  expect(tag).toMatchObject({ code: 1, stdout: '' })
  expect(tag.stderr).toContain('error PH6003: registry harbor has no team/app:v9\n')
  expect(provider).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('PH3002: no provider is called kraken-us'),
  })
  expect(nothing).toMatchObject({ code: 64, stderr: expect.stringContaining('a tag or a sha256 digest') })
})

test('a tag that moved since it was preheated is not warm', async () => {
  await using place = await openPlace()
  await preheat(place)
  const moved = await place.harbor.push({ project: 'team', repository: 'app', tags: ['v1'], layers: 3 })

  const ended = await place.warm('team/app:v1')

  expect(ended, ended.stderr).toMatchObject({ code: 1 })
  expect(ended.stdout).toContain(moved.digest)
})

test('evidence that is older than cacheLifetime is none', async () => {
  await using place = await openPlace()
  await place.site.repository.commit({
    'providers/dragonfly-eu.yaml': providerYaml(place.site, 'dragonfly-eu', { cacheLifetime: '1ms' }),
  })
  await preheat(place)
  await place.site.dragonfly[Symbol.asyncDispose]()

  const ended = await place.warm('team/app:v1', '--wait', '2s')

  expect(ended, ended.stderr).toMatchObject({ code: 1, stdout: expect.stringContaining('old, over cacheLifetime') })
})

test('without a ledger the engine itself is asked, and a look submits no preheat', async () => {
  await using place = await openPlace()
  await preheat(place)
  await rm(place.site.stateDir, { recursive: true })

  const ended = await place.warm('team/app:v1', '-o', 'json')

  expect(ended, ended.stderr).toMatchObject({ code: 0 })
  expect(JSON.parse(ended.stdout)).toMatchObject({ providers: [{ warm: true, from: 'probe' }] })
  expect(place.site.dragonfly.posts.filter(({ url }) => url?.includes('/manifests/') === true)).toHaveLength(1)
})

test('an engine that says SUCCESS and has cached nothing never makes an image warm', async () => {
  await using place = await openPlace({ outcomes: { 'team/app': { kind: 'silent-loss' } } })
  await cli(['preheat', 'team/release', '--config', place.site.configFile, '--wait'])

  const ended = await place.warm('team/app:v1', '--wait', '2s')

  expect(ended, ended.stderr).toMatchObject({ code: 1, stdout: expect.stringContaining('✗ team/app@') })
})

test('every provider that the policies name has to have it; --provider asks one', async () => {
  await using place = await openPlace()
  await place.site.repository.commit({
    'providers/dragonfly-us.yaml': providerYaml(place.site, 'dragonfly-us', { default: false }),
    'projects/team/later.yaml': policyYaml('later', { project: 'team', providers: [{ name: 'dragonfly-us' }] }),
  })
  await preheat(place)
  // Nobody can look at an engine that is not there: what is in the ledger has to do.
  await place.site.dragonfly[Symbol.asyncDispose]()

  const both = await place.warm('team/app:v1')
  const one = await place.warm('team/app:v1', '--provider', 'dragonfly-eu')

  expect(both, both.stderr).toMatchObject({ code: 1 })
  expect(both.stdout).toMatch(/✔ .* is warm on dragonfly-eu.*\n✗ .* is not known warm on dragonfly-us: PH5001 /)
  expect(one, one.stderr).toMatchObject({ code: 0 })
})

test('--wait lasts until a daemon has made the image warm', async () => {
  await using place = await openPlace({ jobMs: 1500 })
  const daemon = startCli(['run', '--config', place.site.configFile])
  await daemon.says(/"plan.applied"/)
  const gate = startCli(['warm', 'team/app:v1', '--wait', '25s', '--config', place.site.configFile])
  await place.site.repository.commit({ 'projects/team/run.yaml': runYaml('first', 'team/release') })

  const ended = await gate.ended()

  daemon.process.kill('SIGTERM')
  await daemon.ended()
  expect(ended, ended.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('is warm on dragonfly-eu') })
})

test('--wait ends when its time is up', async () => {
  await using place = await openPlace()
  await place.site.dragonfly[Symbol.asyncDispose]()
  const before = Date.now()

  const ended = await place.warm('team/app:v1', '--wait', '2s')

  expect(ended).toMatchObject({ code: 1, stdout: expect.stringContaining('PH5001') })
  expect(Date.now() - before).toBeGreaterThanOrEqual(2000)
})
