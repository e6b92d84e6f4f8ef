import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { FakeHarbor } from '../doubles/harbor.ts'
import { cli, startCli, type RunningCli } from '../support/cli.ts'
import { git } from '../support/repository.ts'
import { addHarbor, openSite, policyYaml, providerYaml, reportsOn, type Site } from '../support/site.ts'

const HOOK_SECRET = 'hook s3cret'

interface Place extends AsyncDisposable {
  readonly site: Site
  readonly harbor: FakeHarbor
  readonly daemon: RunningCli
  /** Of the image that is there. */
  readonly digest: string
}

/** A daemon that runs as a process, with a policy that waits for pushes. */
async function place(): Promise<Place> {
  const site = await openSite()
  const harbor = await FakeHarbor.start()
  const { digest } = await harbor.push({ project: 'team', repository: 'app', tags: ['v1', 'v2'] })
  await site.secret('hook', { token: HOOK_SECRET })
  await site.repository.commit({
    'registries/harbor.yaml': await addHarbor(site, harbor, { webhook: { secretRef: { name: 'hook' } } }),
    'providers/dragonfly-eu.yaml': providerYaml(site),
    'projects/team/release.yaml': policyYaml('release', {
      project: 'team',
      trigger: { type: 'event_based', debounce: '100ms', poll: '1h' },
    }),
  })
  await site.configure()
  const daemon = startCli(['run', '--config', site.configFile])
  return {
    site,
    harbor,
    daemon,
    digest,
    async [Symbol.asyncDispose]() {
      daemon.process.kill('SIGTERM')
      await daemon.ended()
      await harbor[Symbol.asyncDispose]()
      await site[Symbol.asyncDispose]()
    },
  }
}

/** The configuration of somebody who knows where the daemon lives, and nothing else of it. */
async function askerOf({ root, configFile, stateDir }: Site): Promise<string> {
  const config = parse(await readFile(configFile, 'utf8')) as Record<string, unknown>
  const file = join(root, 'asker.yaml')
  const own = {
    source: { dir: join(root, 'nowhere') },
    secrets: { dir: join(root, 'nothing') },
    state: { dir: stateDir },
  }
  await writeFile(file, stringify({ ...config, ...own }))
  return file
}

async function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await ask()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

test('a living daemon answers its probes, its API, its socket and a webhook', { timeout: 120_000 }, async () => {
  await using one = await place()
  const { site, daemon } = one
  const config = ['--config', site.configFile]
  const [probes, api, webhooks] = [
    await daemon.listens('http.probes'),
    await daemon.listens('http.api'),
    await daemon.listens('http.webhooks'),
  ]
  await daemon.says(/plan\.applied/)

  expect((await fetch(`${probes}/livez`)).status).toBe(200)
  expect((await fetch(`${probes}/readyz`)).status).toBe(200)
  expect((await fetch(`${probes}/startupz`)).status).toBe(200)

  const body = JSON.stringify({
    type: 'PUSH_ARTIFACT',
    occur_at: 1680501893,
    operator: 'admin',
    event_data: {
      resources: [{ digest: one.digest, tag: 'v1', resource_url: 'harbor/team/app:v1' }],
      repository: { name: 'app', namespace: 'team', repo_full_name: 'team/app', repo_type: 'private' },
    },
  })
  const deliver = (authorization: string) =>
    fetch(`${webhooks}/hooks/registries/harbor`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization },
      body,
    })
  expect((await deliver('wrong')).status).toBe(401)
  expect((await deliver(HOOK_SECRET)).status).toBe(202)
  expect((await deliver(HOOK_SECRET)).status).toBe(200)
  const [filed] = await until(async () => {
    const reports = await reportsOn(site.repository).catch(() => [])
    return reports.length > 0 ? reports : undefined
  })
  expect(filed?.report.spec).toMatchObject({
    result: 'Success',
    trigger: { type: 'event_based', cause: { events: ['push'] } },
  })

  const { policies } = (await (await fetch(`${api}/api/v1/status`)).json()) as { policies: { policy: string }[] }
  expect(policies.map(({ policy }) => policy)).toEqual(['team/release'])
  const metrics = await (await fetch(`${probes}/metrics`)).text()
  expect(metrics).toContain('preheatd_execution_total{registry="harbor",policy="team/release",result="Success"} 1')
  expect(metrics).toMatch(/preheatd_webhook_requests_total\{receiver="registries\/harbor",result="unauthorized"\} 1/)

  expect(await cli(['status', ...config])).toMatchObject({ code: 0, stdout: expect.stringContaining('team/release') })
  const preheated = await cli(['preheat', 'team/release', '--wait', '--reason', 'drill', ...config])
  expect(preheated, preheated.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('Skipped') })
  const executions = await cli(['executions', ...config, '-o', 'json'])
  expect(executions, executions.stderr).toMatchObject({ code: 0 })
  expect(await cli(['invalidate', 'dragonfly-eu', ...config])).toMatchObject({ code: 0 })
  expect(await cli(['suspend', 'team/release', '--reason', 'incident', ...config])).toMatchObject({ code: 0 })
  expect(await cli(['status', ...config])).toMatchObject({ stdout: expect.stringContaining('incident') })
  expect(await cli(['resume', 'team/release', ...config])).toMatchObject({
    code: 0,
    stdout: 'Resumed team/release.\n',
  })
  expect(await cli(['resume', 'team/release', ...config])).toMatchObject({
    code: 0,
    stdout: 'Unchanged: nobody suspended team/release by its own name.\n',
  })
  expect(await cli(['reconcile', ...config])).toMatchObject({ code: 0 })
  expect(await cli(['suspend', '--reason', 'x', ...config])).toMatchObject({ code: 64 })
  expect(daemon.stderr()).not.toContain(HOOK_SECRET)
})

test(
  'what is warm and why is asked of the living daemon, by who has none of its secrets',
  { timeout: 120_000 },
  async () => {
    await using one = await place()
    const { site, daemon } = one
    await daemon.says(/plan\.applied/)
    const config = ['--config', site.configFile]
    const preheated = await cli(['preheat', 'team/release', '--wait', '--reason', 'drill', ...config])
    expect(preheated, preheated.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('Success') })
    const folder = join(site.root, 'checkout')
    await git(site.root, 'clone', '--quiet', site.repository.dir, folder)

    const planned = await cli(['plan', folder, ...config])
    const asker = ['--config', await askerOf(site)]
    const warm = await cli(['warm', 'team/app:v1', '-o', 'json', ...asker])
    const cold = await cli(['warm', 'team/app:v9', ...asker])
    const why = await cli(['explain', 'team/release', 'app:v1', ...asker])
    const unknown = await cli(['explain', 'team/nope', ...asker])

    expect(planned, planned.stderr).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('as the daemon that runs here knows'),
    })
    expect(warm, warm.stderr).toMatchObject({ code: 0 })
    expect(JSON.parse(warm.stdout)).toMatchObject({ digest: one.digest, providers: [{ warm: true, from: 'ledger' }] })
    expect(cold).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('PH6003: registry harbor has no team/app:v9'),
    })
    expect(why, why.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('skip, AlreadyWarm') })
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('there are team/release') })
  },
)
