import { expect, test } from 'vitest'
import { FakeHarbor } from '../doubles/harbor.ts'
import { cli } from '../support/cli.ts'
import { addHarbor, openSite, policyYaml, providerYaml, reportsOn, runYaml } from '../support/site.ts'

const MODEL = 'https://models.example.com/llama.gguf'
const LOST = 'https://models.example.com/lost.gguf'

test('files are preheated beside artifacts, reported by their URLs, and left alone while they are warm', async () => {
  await using site = await openSite()
  await using harbor = await FakeHarbor.start()
  await harbor.push({ project: 'team', repository: 'app', tags: ['v1'] })
  site.dragonfly.outcome = (url) => ({ kind: url === LOST ? 'silent-loss' : 'complete' })
  await site.repository.commit({
    'registries/harbor.yaml': await addHarbor(site, harbor),
    'providers/dragonfly-eu.yaml': providerYaml(site),
    'projects/team/release.yaml': policyYaml('release', {
      project: 'team',
      files: [MODEL, LOST],
      retry: { attempts: 1 },
    }),
    'projects/team/run.yaml': runYaml('first', 'team/release'),
  })
  await site.configure()

  const first = await cli(['once', '--config', site.configFile, '--wait'])
  const second = await cli(['preheat', 'team/release', '--config', site.configFile, '--wait'])
  const explained = await cli(['explain', 'team/release', MODEL, '--config', site.configFile])

  expect(first, first.stderr).toMatchObject({ code: 1, stdout: expect.stringContaining('PartialSuccess') })
  expect(second.code).toBe(1)
  const reports = await reportsOn(site.repository)
  const [filed] = reports
  expect(filed?.report.spec.tasks).toMatchObject([
    { file: MODEL, state: 'Succeeded', evidence: { blobs: 1, of: 1 } },
    { file: LOST, state: 'Failed', missing: [LOST], error: { code: 'PH5003' } },
    { artifact: { repository: 'team/app' }, state: 'Succeeded' },
  ])
  expect(site.dragonfly.posts.map(({ url, withAuthorization }) => [url?.split('/').at(-1), withAuthorization])).toEqual(
    expect.arrayContaining([
      ['llama.gguf', false],
      ['lost.gguf', false],
      [expect.stringMatching(/^sha256:/), true],
    ]),
  )
  expect(site.dragonfly.posts.slice(3).map(({ url }) => url)).toEqual([LOST])
  expect(explained.stdout).toMatch(/llama\.gguf {2}in\n.*\+ file .*spec\.files\n.*> dragonfly-eu: skip, AlreadyWarm/)
})
