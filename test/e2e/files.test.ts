import { expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { openAppSite, policyYaml, reportsOn, runYaml } from '../support/site.ts'

const MODEL = 'https://models.example.com/llama.gguf'
const LOST = 'https://models.example.com/lost.gguf'

test('files are preheated beside artifacts, reported by their URLs, and left alone while they are warm', async () => {
  await using place = await openAppSite({
    'projects/team/release.yaml': policyYaml('release', {
      project: 'team',
      files: [MODEL, LOST],
      retry: { attempts: 1 },
    }),
    'projects/team/run.yaml': runYaml('first', 'team/release'),
  })
  const { site } = place
  site.dragonfly.outcome = (url) => ({ kind: url === LOST ? 'silent-loss' : 'complete' })

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
