import { expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { openAppSite, policyYaml, reportsOn, runYaml, type HarborSite, type Site } from '../support/site.ts'

/** An image that is warm already, of a policy with this upkeep. */
async function warmPlace(
  policy: Readonly<Record<string, unknown>>,
): Promise<HarborSite & { readonly blobs: readonly string[] }> {
  const place = await openAppSite({
    'projects/team/release.yaml': policyYaml('release', { project: 'team', ...policy }),
    'projects/team/run.yaml': runYaml('first', 'team/release'),
  })
  const first = await cli(['once', '--config', place.site.configFile, '--wait'])
  expect(first, first.stderr).toMatchObject({ code: 0 })
  return { ...place, blobs: place.app.manifests.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)) }
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
  const files = {
    'projects/team/release.yaml': policyYaml('release', { project: 'team' }),
    'projects/team/run.yaml': runYaml('first', 'team/release'),
  }
  await using place = await openAppSite(files, { jobMs: 400 })
  const { site } = place
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
