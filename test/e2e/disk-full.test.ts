import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { OpenTask } from '../../src/model/task.ts'
import { openReadOnly } from '../../src/store/sqlite.ts'
import { FakeHarbor } from '../doubles/harbor.ts'
import { startCli, type RunningCli } from '../support/cli.ts'
import { addHarbor, openSite, policyYaml, providerYaml, reportsOn, runYaml, type Site } from '../support/site.ts'

const TASKS = 12

/** How large a process may make its files; 0: it can write none at all, as on a full disk, and its pipes are left. */
function limitFiles({ process }: RunningCli, bytes: 0 | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', `${process.pid!}`, `--fsize=${bytes}:`])
}

/** Marks of the jobs that the state on the disk knows to have been begun. */
function intentsOf(site: Site): Set<string> {
  const rows = openReadOnly(join(site.stateDir, 'state.db')).prepare('SELECT body FROM tasks').all([])
  const tasks = (rows as { readonly body: string }[]).map(({ body }) => JSON.parse(body) as OpenTask)
  return new Set(
    tasks.flatMap(({ id, jobs }) =>
      jobs.flatMap(({ key, state }) => (state === 'wanted' ? [] : [`preheatd/${id}/${key}`])),
    ),
  )
}

test(
  'while the disk is full nothing is submitted without its intent on it, and the same process goes on when there is space [G6]',
  { timeout: 120_000 },
  async () => {
    await using site = await openSite({ requestsPerSecond: 10_000 })
    await using harbor = await FakeHarbor.start()
    for (let i = 0; i < TASKS; i++)
      await harbor.push({ project: 'team', repository: `app-${i}`, tags: ['v1'], layers: 1, seed: `${i}` })
    await site.repository.commit({
      'registries/harbor.yaml': await addHarbor(site, harbor),
      'providers/dragonfly-eu.yaml': providerYaml(site, 'dragonfly-eu', {
        limits: { submitsInFlight: 2, requestsPerSecond: 1000 },
      }),
      'projects/team/release.yaml': policyYaml('release', { project: 'team', registry: 'harbor' }),
      'projects/team/run.yaml': runYaml('first', 'team/release'),
    })
    await site.configure()
    let isFull = false
    site.dragonfly.onPost = () => {
      if (isFull || site.dragonfly.posts.length < 4) return
      isFull = true
      limitFiles(daemon, 0)
    }
    const daemon = startCli(['run', '--config', site.configFile])

    // It has tried again by itself.
    await daemon.says(/"tasks"[^\n]*PH8003[^]*"tasks"[^\n]*PH8003|PH8003[^\n]*"tasks"[^]*PH8003[^\n]*"tasks"/)
    const submitted = site.dragonfly.posts.map(({ bio }) => bio!)
    expect(submitted.length).toBeLessThan(TASKS)
    expect(submitted.filter((bio) => !intentsOf(site).has(bio))).toEqual([])

    expect(isFull).toBe(true)
    limitFiles(daemon, 'unlimited')
    await daemon.says(/"reports":1/)
    daemon.process.kill('SIGTERM')
    expect((await daemon.ended()).code).toBe(0)
    expect(new Set(site.dragonfly.posts.map(({ bio }) => bio)).size).toBe(TASKS)
    expect(site.dragonfly.posts).toHaveLength(TASKS)
    const reports = await reportsOn(site.repository)
    expect(reports.map(({ report }) => report.spec.result)).toEqual(['Success'])
  },
)
