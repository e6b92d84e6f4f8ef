import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { cli, type Ended } from '../support/cli.ts'
import { git } from '../support/repository.ts'
import { openAppSite, policyYaml, providerYaml, resourceYaml, type HarborSite } from '../support/site.ts'

// Several processes a test.
vi.setConfig({ testTimeout: 90_000 })

interface Place extends HarborSite {
  plan(...args: string[]): Promise<Ended>
}

/** A manager of 2.1.59 that has preheated once, and a commit since then that sets what it does not know. */
async function openPlace(): Promise<Place> {
  const files = { 'projects/team/release.yaml': policyYaml('release', { project: 'team' }) }
  const place = await openAppSite(files, { version: '2.1.59' })
  const { site } = place
  const preheated = await cli(['preheat', 'team/release', '--config', site.configFile, '--wait'])
  expect(preheated, preheated.stderr).toMatchObject({ code: 0 })
  await site.repository.commit({
    'providers/dragonfly-eu.yaml': providerYaml(site, 'dragonfly-eu', {
      dragonfly: { options: { application: 'web', tag: 'v1' } },
    }),
    'providers/off.yaml': resourceYaml('Provider', 'off', {
      vendor: 'dragonfly',
      endpoint: 'http://127.0.0.1:9',
      enabled: false,
    }),
    'projects/team/other.yaml': policyYaml('other', {
      project: 'team',
      providers: [{ name: 'dragonfly-eu', scope: 'all_seed_peers' }, { name: 'off' }],
    }),
  })
  await git(site.root, 'clone', '--quiet', site.repository.dir, 'checkout')
  const dir = join(site.root, 'checkout')
  return { ...place, plan: (...args) => cli(['plan', dir, '--config', site.configFile, ...args]) }
}

test('settings that the manager would ignore are warned of, each manager asked once, and change no exit code', async () => {
  await using place = await openPlace()
  const { requests } = place.site.dragonfly
  const before = requests.length

  const text = await place.plan()
  const asked = requests.slice(before)
  const markdown = await place.plan('-o', 'markdown')
  const json = await place.plan('-o', 'json')

  expect(text, text.stderr).toMatchObject({ code: 0, stderr: '' })
  expect(text.stdout.split('\n')).toContain(
    'warning dragonfly-eu: this manager (>= 2.1.57) ignores options.application (known since 2.2.3)',
  )
  expect(text.stdout.split('\n')).toContain(
    'warning dragonfly-eu: this manager (>= 2.1.57) may refuse the scope all_seed_peers (PH3007), known since 2.1.66',
  )
  expect(asked.filter((line) => line.startsWith('GET /oapi/v1/clusters'))).toHaveLength(1)
  expect(asked.filter((line) => line.startsWith('POST'))).toEqual([])
  expect(markdown.stdout).toMatch(/^- \*\*Warning\*\* dragonfly-eu: this manager .* ignores options\.application /m)
  expect(JSON.parse(json.stdout)).toMatchObject({
    engines: [{ provider: 'dragonfly-eu', version: '>= 2.1.57', error: null }],
  })
})

test('an engine that cannot be asked is a note and no failure of the plan', async () => {
  await using place = await openPlace()
  place.site.dragonfly.tokens = []

  const ended = await place.plan()
  const json = await place.plan('-o', 'json')

  expect(ended, ended.stderr).toMatchObject({ code: 0, stderr: '' })
  expect(ended.stdout).toMatch(/^note dragonfly-eu: could not be asked what it would ignore: PH5007 .*401/m)
  expect(ended.stdout).toMatch(/^Plan: /m)
  expect(JSON.parse(json.stdout)).toMatchObject({
    engines: [{ provider: 'dragonfly-eu', version: null, ignored: [], error: { code: 'PH5007' } }],
  })
})

test('a plan without a daemon’s configuration asks no engine', async () => {
  await using place = await openPlace()
  const before = place.site.dragonfly.requests.length

  const ended = await cli(['plan', join(place.site.root, 'checkout'), '-o', 'json'])

  expect(JSON.parse(ended.stdout)).toMatchObject({ engines: [] })
  expect(place.site.dragonfly.requests).toHaveLength(before)
})
