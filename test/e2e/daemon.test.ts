import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { GitServer } from '../doubles/git-server.ts'
import { cli, startCli, type RunningCli } from '../support/cli.ts'
import { git, logGit } from '../support/repository.ts'
import { openAppSite, policyYaml, reportsOn, runYaml, type Site } from '../support/site.ts'

function run(site: Site): RunningCli {
  return startCli(['run', '--config', site.configFile])
}

async function stop(daemon: RunningCli): Promise<number | null> {
  daemon.process.kill('SIGTERM')
  return (await daemon.ended()).code
}

const scheduled = (cron: string) =>
  policyYaml('nightly', { project: 'team', trigger: { type: 'scheduled', schedule: { cron } } })

test('the daemon follows the branch: a merged run is preheated and reported, a merged schedule re-armed', async () => {
  await using place = await openAppSite()
  const { site } = place
  await site.repository.commit({ 'projects/team/nightly.yaml': scheduled('0 3 * * *') })
  const daemon = run(site)
  await daemon.says(/"plan.applied"/)

  await site.repository.commit({ 'projects/team/nightly.yaml': scheduled('30 4 * * *') })
  await daemon.says(/"plan.applied"[^\n]*"updated":1|"updated":1[^\n]*"plan.applied"/)
  await site.repository.commit({ 'projects/team/hotfix.yaml': runYaml('hotfix', 'team/nightly') })
  await daemon.says(/"reports":1/)

  expect(await stop(daemon)).toBe(0)
  const [filed] = await reportsOn(site.repository)
  expect(filed?.report.spec).toMatchObject({ policy: 'team/nightly', result: 'Success' })
  expect(site.dragonfly.posts).toHaveLength(1)
})

test('a stopped daemon leaves its jobs to the engine, and the next one asks about them by id instead of submitting again [K9]', async () => {
  await using place = await openAppSite({}, { jobMs: 3000 })
  const { site } = place
  await site.repository.commit({
    'projects/team/nightly.yaml': scheduled('0 3 * * *'),
    'projects/team/hotfix.yaml': runYaml('hotfix', 'team/nightly'),
  })
  const first = run(site)
  await until(() => site.dragonfly.requests.some((request) => request.startsWith('GET /oapi/v1/jobs/')))
  expect(await stop(first)).toBe(0)
  expect(site.dragonfly.posts).toHaveLength(1)

  const second = run(site)
  await second.says(/execution.ended/)

  expect(await stop(second)).toBe(0)
  expect(site.dragonfly.posts).toHaveLength(1)
  expect((await reportsOn(site.repository)).map(({ report }) => report.spec.result)).toEqual(['Success'])
})

test('while the source stands still a reconcile is one ls-remote and no other git', async () => {
  await using place = await openAppSite()
  const { site } = place
  await cli(['once', '--config', site.configFile])
  await using log = await logGit()

  const again = await cli(['once', '--config', site.configFile], { PATH: `${log.bin}:${process.env['PATH'] ?? ''}` })

  expect(again, again.stderr).toMatchObject({ code: 0 })
  const starts = await log.starts()
  expect(starts).toHaveLength(1)
  expect(starts[0]).toContain('ls-remote')
})

test('of three files one broken stalls alone: two are applied, and it keeps its last good version with its position [P1]', async () => {
  await using place = await openAppSite()
  const { site } = place
  const file = (name: string) => `projects/team/${name}.yaml`
  const policy = (name: string) => policyYaml(name, { project: 'team' })
  await site.repository.commit({ [file('a')]: policy('a'), [file('b')]: policy('b'), [file('c')]: policy('c') })
  expect(await cli(['once', '--config', site.configFile])).toMatchObject({ code: 0 })

  const broken = policy('b').replace('type: manual', 'type: manaul')
  await site.repository.commit({
    [file('a')]: policyYaml('a', { project: 'team', description: 'changed' }),
    [file('b')]: broken,
    [file('c')]: policyYaml('c', { project: 'team', description: 'changed' }),
  })
  const once = await cli(['once', '--config', site.configFile])
  const again = await cli(['once', '--config', site.configFile])

  const line = broken.split('\n').findIndex((text) => text.includes('manaul')) + 1
  expect(once).toMatchObject({ code: 3 })
  expect(once.stderr).toContain(`projects/team/b.yaml:${line}:`)
  expect(once.stderr).toContain('2 updated')
  expect(once.stderr).toContain('1 stalled')
  expect(again).toMatchObject({ code: 3 })
  const status = parse((await site.repository.files('preheat-reports'))['status.yaml']!) as {
    instances: [{ objects: { name: string; state: string; problem?: { file: string; line: number } }[] }]
  }
  expect(status.instances[0].objects).toEqual([
    expect.objectContaining({
      name: 'team/b',
      state: 'Stalled',
      problem: expect.objectContaining({ file: 'projects/team/b.yaml', line }),
    }),
  ])
  const manual = await cli(['preheat', 'team/b', '--config', site.configFile, '--wait'])
  expect(manual.stdout).toContain('Success')
})

test('a run whose policy is disabled waits, visibly, and begins once it is enabled', async () => {
  await using place = await openAppSite()
  const { site } = place
  const release = (enabled: boolean) => ({
    'projects/team/release.yaml': policyYaml('release', { project: 'team', enabled }),
  })
  await site.repository.commit({ ...release(false), 'projects/team/hotfix.yaml': runYaml('hotfix', 'team/release') })

  const waiting = await cli(['once', '--config', site.configFile, '--wait'])
  const status = (await site.repository.files('preheat-reports'))['status.yaml']
  await site.repository.commit(release(true))
  const begun = await cli(['once', '--config', site.configFile, '--wait'])

  expect(waiting).toMatchObject({ code: 0, stdout: '' })
  expect(waiting.stderr).toContain('PreheatRun hotfix waits: policy team/release is disabled')
  expect(status).toContain('it waits: policy team/release is disabled')
  expect(begun.stdout).toContain('Success')
  expect((await site.repository.files('preheat-reports'))['status.yaml']).not.toContain('it waits')
})

test('while git is away preheating goes on, and the reports follow when it is back [G1]', async () => {
  await using place = await openAppSite()
  const { site } = place
  await site.repository.commit({
    'projects/team/nightly.yaml': scheduled('0 3 * * *'),
    'projects/team/hotfix.yaml': runYaml('hotfix', 'team/nightly'),
  })
  site.gitServer.next({ does: 'answer', status: 503 }, /git-receive-pack/, 3)

  const away = await cli(['once', '--config', site.configFile, '--wait'])
  expect(away.stderr).toContain('1 report waiting PH4003')
  expect(away.stdout).toContain('Success')
  expect(await site.repository.revision('refs/heads/preheat-reports')).toBeUndefined()

  site.gitServer.calm()
  const back = await cli(['once', '--config', site.configFile])
  expect(back, back.stderr).toMatchObject({ code: 0 })
  expect(await reportsOn(site.repository)).toHaveLength(1)
  expect(site.dragonfly.posts).toHaveLength(1)
})

test('a wrong password and a deleted branch each say what they are, and what was applied stays in force [G2] [G5]', async () => {
  await using place = await openAppSite()
  const { site } = place
  await site.repository.commit({ 'projects/team/nightly.yaml': scheduled('0 3 * * *') })
  expect(await cli(['once', '--config', site.configFile])).toMatchObject({ code: 0 })

  await site.secret('git', { password: 'wrong-canary' })
  const refused = await cli(['once', '--config', site.configFile])
  await site.secret('git', { password: (site.gitServer.auth as { password: string }).password })
  const commit = (await site.repository.revision('refs/heads/main'))!
  await site.repository.rename('main', 'elsewhere')
  const gone = await cli(['preheat', 'team/nightly', '--config', site.configFile, '--wait'])

  expect(refused).toMatchObject({ code: 1 })
  expect(refused.stderr).toContain('AuthenticationFailed PH4001')
  expect(refused.stderr).not.toContain('wrong-canary')
  expect(gone.stderr).toContain('RefNotFound PH4002')
  expect(gone.stdout).toContain('Success')
  expect((await reportsOn(site.repository))[0]?.text).toContain(commit)
})

test('a force-pushed branch is followed, and said to be one; a branch that moved on is not [G3]', async () => {
  await using place = await openAppSite()
  const { site } = place
  const first = await site.repository.commit({ 'projects/team/nightly.yaml': scheduled('0 3 * * *') })
  await cli(['once', '--config', site.configFile])
  await site.repository.commit({ 'projects/team/nightly.yaml': scheduled('0 4 * * *') })

  const moved = await cli(['once', '--config', site.configFile])
  await git(site.repository.dir, 'update-ref', 'refs/heads/main', first)
  await site.repository.commit({ 'projects/team/nightly.yaml': scheduled('0 5 * * *') })
  const rewritten = await cli(['once', '--config', site.configFile])

  expect(moved.stderr).not.toContain('rewritten')
  expect(rewritten.stderr).toContain('the branch was rewritten')
  expect(rewritten.stderr).toContain('1 updated')
  expect(rewritten).toMatchObject({ code: 0 })
})

test('two workers never share a state folder: the second is told so and changes nothing [K12]', async () => {
  await using place = await openAppSite()
  const daemon = run(place.site)
  await daemon.says(/plan.applied/)

  const second = await cli(['once', '--config', place.site.configFile])

  expect(second).toMatchObject({ code: 1 })
  expect(second.stderr).toContain('PH8002')
  expect(await stop(daemon)).toBe(0)
})

test('a daemon that lost its state does not run again what the reports branch says was run', async () => {
  await using place = await openAppSite()
  const { site } = place
  await site.repository.commit({
    'projects/team/nightly.yaml': scheduled('0 3 * * *'),
    'projects/team/hotfix.yaml': runYaml('hotfix', 'team/nightly'),
  })
  await cli(['once', '--config', site.configFile, '--wait'])
  await site.configure({ state: { dir: join(site.root, 'another') } })

  const fresh = await cli(['once', '--config', site.configFile, '--wait'])

  expect(fresh, fresh.stderr).toMatchObject({ code: 0, stdout: '' })
  expect(site.dragonfly.posts).toHaveLength(1)
})

test('a remote that comes back at its address is followed again [G1]', async () => {
  await using place = await openAppSite()
  const { site } = place
  const daemon = run(site)
  await daemon.says(/plan.applied/)
  const { port, auth } = site.gitServer
  await site.gitServer[Symbol.asyncDispose]()
  await daemon.says(/"state":"Unreachable"/)

  await using back = await GitServer.start(join(site.root, 'git'), port)
  back.auth = auth
  await site.repository.commit({ 'projects/team/nightly.yaml': scheduled('0 3 * * *') })
  await daemon.says(/"created":1[^\n]*/)

  expect(await stop(daemon)).toBe(0)
})

/** Waits until it is so, turn by turn of the event loop that the doubles live in. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(setImmediate)
}
