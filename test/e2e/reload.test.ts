import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startCli, type RunningCli } from '../support/cli.ts'
import { openSite, policyYaml, providerYaml, resourceYaml, type Site } from '../support/site.ts'

async function withPolicies(): Promise<Site> {
  const site = await openSite()
  await site.repository.commit({
    'registries/harbor.yaml': resourceYaml('Registry', 'harbor', { type: 'harbor', endpoint: 'https://127.0.0.1:9' }),
    'providers/dragonfly-eu.yaml': providerYaml(site),
    'projects/team/nightly.yaml': policyYaml('nightly', { project: 'team', trigger: { type: 'manual' } }),
  })
  await site.configure()
  return site
}

const run = (site: Site): RunningCli => startCli(['run', '--config', site.configFile])

async function stop(daemon: RunningCli): Promise<number | null> {
  daemon.process.kill('SIGTERM')
  return (await daemon.ended()).code
}

async function edit(site: Site, from: string | RegExp, to: string): Promise<void> {
  const text = await readFile(site.configFile, 'utf8')
  const after = text.replace(from, to)
  expect(after).not.toBe(text)
  await writeFile(site.configFile, after)
}

test('a changed configuration is taken up without a restart of the process: live, anew, and refused', async () => {
  await using site = await withPolicies()
  const daemon = run(site)
  await daemon.says(/"plan.applied"/)

  await edit(site, 'interval: 1s', 'interval: 2s')
  await daemon.says(
    /"live":\["source.intervalMs"\][^\n]*"config.changed"|"config.changed"[^\n]*"live":\["source.intervalMs"\]/,
  )

  await edit(site, 'interval: 2s', 'interval: soon')
  await daemon.says(/"config.refused"/)
  expect(daemon.process.exitCode).toBeNull()

  await edit(site, 'interval: soon', 'interval: 2s\n  selector: { matchLabels: { site: eu } }')
  await daemon.says(/"needsRestart":\["source.matchLabels"\]/)
  // The same commit, read otherwise: the policy is not one of this site.
  await daemon.says(/"deleted":1/)

  await edit(site, site.stateDir, '/dev/null/data')
  await daemon.says(/"config.refused"[^\n]*PH8003|PH8003[^\n]*"config.refused"/)
  await daemon.says(/(?:"daemon.started"[^]*){3}/)

  expect(await stop(daemon)).toBe(0)
})

test('a state that is corrupt is moved aside and said, and the daemon goes on', async () => {
  await using site = await withPolicies()
  const first = run(site)
  await first.says(/"plan.applied"/)
  expect(await stop(first)).toBe(0)
  await writeFile(join(site.stateDir, 'state.db'), 'no database\n'.repeat(1000))

  const second = run(site)
  await second.says(/"code":"PH8011"/)
  await second.says(/"plan.applied"/)

  expect(await stop(second)).toBe(0)
  expect(await readdir(site.stateDir)).toContainEqual(expect.stringMatching(/^state\.db\.corrupt-/))
})
