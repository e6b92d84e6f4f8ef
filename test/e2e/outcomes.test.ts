import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { DragonflyOptions } from '../doubles/dragonfly.ts'
import { cli, startCli } from '../support/cli.ts'
import { git } from '../support/repository.ts'
import { openHarborSite, policyYaml, reportsOn, runYaml, type HarborSite } from '../support/site.ts'

function place(dragonfly: DragonflyOptions, policy: Readonly<Record<string, unknown>> = {}): Promise<HarborSite> {
  const files = {
    'projects/team/release.yaml': policyYaml('release', { project: 'team', retry: { attempts: 1 }, ...policy }),
    'projects/team/run.yaml': runYaml('first', 'team/release'),
  }
  return openHarborSite(files, dragonfly)
}

test('every way in which an engine can end a job is reported as what it is, and only evidence makes an image warm [E9] [I4]', async () => {
  await using one = await place({
    outcomes: {
      'team/partial': { kind: 'partial', missing: 1 },
      'team/silent': { kind: 'silent-loss' },
      'team/failing': { kind: 'failure', error: 'no available seed peer' },
    },
  })
  for (const repository of ['well', 'partial', 'silent', 'failing'])
    await one.harbor.push({ project: 'team', repository, tags: ['v1'] })

  const first = await cli(['once', '--config', one.site.configFile, '--wait'])
  const second = await cli(['preheat', 'team/release', '--config', one.site.configFile, '--wait'])

  expect(first).toMatchObject({ code: 1, stdout: expect.stringContaining('PartialSuccess') })
  const [filed] = await reportsOn(one.site.repository)
  expect(
    filed?.report.spec.tasks.map(({ artifact, state, error }) => [artifact.repository, state, error?.code]),
  ).toEqual([
    ['team/failing', 'Failed', 'PH5006'],
    ['team/partial', 'Partial', 'PH5003'],
    ['team/silent', 'Failed', 'PH5003'],
    ['team/well', 'Succeeded', undefined],
  ])
  expect(second.stdout).not.toContain('Success')
  const again = one.site.dragonfly.posts.slice(4).map(({ url }) => new URL(url ?? '').pathname.split('/')[3])
  expect(again.sort()).toEqual(['failing', 'partial', 'silent'])
})

test('a limited engine fails nothing: 429 is waited for [E1]', async () => {
  await using one = await place({})
  for (let i = 0; i < 5; i++) await one.harbor.push({ project: 'team', repository: `app-${i}`, tags: ['v1'] })
  one.site.dragonfly.troubleNext(4, 'POST', { kind: 'answer', status: 429, body: 'rate limit exceeded' })

  const ended = await cli(['once', '--config', one.site.configFile, '--wait'])

  expect(ended, ended.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('Success') })
})

test('labels, excludes and types choose in a Harbor project; accessories and other tags stay out', async () => {
  await using one = await place(
    {},
    { filters: { repositories: ['app', 'model'], tags: ['v*'], labels: ['prod'], exclude: { tags: ['*-rc*'] } } },
  )
  const push = (repository: string, tag: string, labels: string[], type: 'image' | 'cnai' | 'chart' = 'image') =>
    one.harbor.push({ project: 'team', repository, tags: [tag], labels, type })
  const app = await push('app', 'v1', ['prod', 'approved'])
  const model = await push('model', 'v1', ['prod'], 'cnai')
  await push('app', 'v2', ['approved'])
  await push('app', 'v3-rc1', ['prod'])
  await push('app', 'latest', ['prod'])
  await push('app', 'v4', ['prod'], 'chart')
  await push('other', 'v1', ['prod'])

  const ended = await cli(['once', '--config', one.site.configFile, '--wait'])

  expect(ended, ended.stderr).toMatchObject({ code: 0 })
  const [filed] = await reportsOn(one.site.repository)
  expect(filed?.report.spec.tasks.map(({ artifact }) => artifact.digest)).toEqual([app.digest, model.digest])
})

test.each([
  ['content trust', { enable_content_trust: 'true' }],
  ['cosign signatures', { enable_content_trust_cosign: 'true' }],
  ['no vulnerabilities', { prevent_vul: 'true', severity: 'high' }],
])('of a project that demands %s nothing is sent that has none, and explain says why', async (_what, metadata) => {
  await using one = await place({})
  await one.harbor.push({ project: 'team', repository: 'app', tags: ['v1'] })
  one.harbor.project('team', metadata)

  const ended = await cli(['once', '--config', one.site.configFile, '--wait'])

  expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('Skipped') })
  expect(one.site.dragonfly.posts).toEqual([])
  const explained = await cli(['explain', 'team/release', 'app:v1', '--config', one.site.configFile])
  expect(explained).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/app:v1.*out, by the rule (signature|vulnerability)/),
  })
})

test('SIGTERM ends a daemon whose engine has hung, and the next one goes on [K9]', async () => {
  await using one = await place({})
  await one.harbor.push({ project: 'team', repository: 'app', tags: ['v1'] })
  const asked = new Promise<void>((resolve) => {
    one.site.dragonfly.trouble = (request) => {
      if (!request.startsWith('POST')) return undefined
      resolve()
      return { kind: 'hang' }
    }
  })
  const daemon = startCli(['run', '--config', one.site.configFile])
  await asked
  daemon.process.kill('SIGTERM')
  expect((await daemon.ended()).code).toBe(0)
  one.site.dragonfly.trouble = () => undefined

  const next = await cli(['once', '--config', one.site.configFile, '--wait'])

  expect(next, next.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('Success') })
})

test('plan says in which line stands what leaves an artifact out, and explain which PreheatRun waits', async () => {
  await using one = await place({}, { enabled: false, filters: { repositories: ['**'], tags: ['v*'] } })
  await one.harbor.push({ project: 'team', repository: 'app', tags: ['latest'] })

  const explained = await cli(['explain', 'team/release', '--config', one.site.configFile])

  expect(explained.stdout).toMatch(/it is disabled: nothing runs/)
  expect(explained.stdout).toMatch(/PreheatRun\/first: it waits: policy team\/release is disabled/)

  const folder = join(one.site.root, 'checkout')
  const file = join(folder, 'projects/team/release.yaml')
  await git(one.site.root, 'clone', '--quiet', one.site.repository.dir, 'checkout')
  await writeFile(file, (await readFile(file, 'utf8')).replace('enabled: false', 'enabled: true'))
  const planned = await cli(['plan', folder, '--config', one.site.configFile])

  const [, written] = /(\d+):/.exec(
    (await readFile(file, 'utf8'))
      .split('\n')
      .flatMap((text, index) => (/^\s+tags:/.test(text) ? `${index + 1}:` : []))
      .join(''),
  )!
  expect(planned.stdout, planned.stderr).toMatch(
    /no pattern of filters\.tags matches \(projects\/team\/release\.yaml:\d+\)/,
  )
  const [, said] = /release\.yaml:(\d+)\)/.exec(planned.stdout)!
  // The value of the list stands on the key's line or on the next.
  expect([Number(written), Number(written) + 1]).toContain(Number(said))
})
