import { expect, test } from 'vitest'
import { FakeHarbor } from '../doubles/harbor.ts'
import { cli } from '../support/cli.ts'
import { addHarbor, openSite, policyYaml, providerYaml, reportsOn, runYaml, type Site } from '../support/site.ts'

interface Place extends AsyncDisposable {
  readonly site: Site
  readonly harbor: FakeHarbor
}

/** An image that is warm already, of a policy with this upkeep. */
async function warmPlace(
  policy: Readonly<Record<string, unknown>>,
): Promise<Place & { readonly blobs: readonly string[] }> {
  const site = await openSite()
  const harbor = await FakeHarbor.start()
  const image = await harbor.push({ project: 'team', repository: 'app', tags: ['v1'] })
  await site.repository.commit({
    'registries/harbor.yaml': await addHarbor(site, harbor),
    'providers/dragonfly-eu.yaml': providerYaml(site),
    'projects/team/release.yaml': policyYaml('release', { project: 'team', ...policy }),
    'projects/team/run.yaml': runYaml('first', 'team/release'),
  })
  await site.configure()
  const first = await cli(['once', '--config', site.configFile, '--wait'])
  expect(first, first.stderr).toMatchObject({ code: 0 })
  return {
    site,
    harbor,
    blobs: image.manifests.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)),
    async [Symbol.asyncDispose]() {
      await harbor[Symbol.asyncDispose]()
      await site[Symbol.asyncDispose]()
    },
  }
}

async function reportOf(site: Site, cause: string): Promise<string | undefined> {
  return (await reportsOn(site.repository)).map(({ text }) => text).find((text) => text.includes(`${cause}: `))
}

test('healing looks at what is warm, submits nothing while it is, and what was evicted when it is not', async () => {
  await using one = await warmPlace({ drift: { mode: 'heal', interval: '100ms' } })
  const { site } = one

  const warm = await cli(['once', '--config', site.configFile, '--wait'])
  expect(warm, warm.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('Success (drift') })
  expect(site.dragonfly.posts).toHaveLength(1)
  expect(await reportOf(site, 'drift')).toContain('kind: get_task')

  site.dragonfly.evict(one.blobs[0]!)
  const healed = await cli(['once', '--config', site.configFile, '--wait'])
  expect(healed, healed.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('Success (drift') })
  expect(site.dragonfly.posts).toHaveLength(2)
})

test('a warning says what was evicted and submits nothing; the next run knows that it is not warm', async () => {
  await using one = await warmPlace({ drift: { mode: 'warn', interval: '100ms' } })
  const { site } = one
  site.dragonfly.evict(one.blobs[0]!)

  const warned = await cli(['once', '--config', site.configFile, '--wait'])

  expect(warned).toMatchObject({ code: 1 })
  expect(warned.stderr).toContain('PH5010')
  expect(await reportOf(site, 'drift')).toContain(one.blobs[0])
  expect(site.dragonfly.posts).toHaveLength(1)
  await cli(['preheat', 'team/release', '--config', site.configFile, '--wait'])
  expect(site.dragonfly.posts).toHaveLength(2)
})

test('what is kept warm is preheated again before it is too old', async () => {
  await using one = await warmPlace({ refresh: { keepWarm: '100ms' } })
  const { site } = one

  const kept = await cli(['once', '--config', site.configFile, '--wait'])

  expect(kept, kept.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('Success (keepWarm') })
  expect(site.dragonfly.posts).toHaveLength(2)
})

test('a job whose record expired before it was seen to end is looked for on the engine, and proven [E6]', async () => {
  await using site = await openSite({ jobMs: 400 })
  await using harbor = await FakeHarbor.start()
  await harbor.push({ project: 'team', repository: 'app', tags: ['v1'] })
  await site.repository.commit({
    'registries/harbor.yaml': await addHarbor(site, harbor),
    'providers/dragonfly-eu.yaml': providerYaml(site),
    'projects/team/release.yaml': policyYaml('release', { project: 'team' }),
    'projects/team/run.yaml': runYaml('first', 'team/release'),
  })
  await site.configure()
  site.dragonfly.trouble = (request) => {
    if (request.startsWith('GET /oapi/v1/jobs') && site.dragonfly.probes.length === 0) site.dragonfly.collect()
    return undefined
  }

  const ended = await cli(['once', '--config', site.configFile, '--wait'])

  expect(ended, ended.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('Success') })
  const [filed] = await reportsOn(site.repository)
  expect(filed?.text).toContain('source: observed')
  expect(site.dragonfly.posts).toHaveLength(1)
})
