import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { Closers } from '../../src/closers.ts'
import { openPostgresStore } from '../../src/store/postgres.ts'
import { FakeHarbor } from '../doubles/harbor.ts'
import { startCli, type RunningCli } from '../support/cli.ts'
import { describeWithPostgres } from '../support/postgres.ts'
import { addHarbor, openSite, policyYaml, providerYaml, reportsOn, runYaml, type Site } from '../support/site.ts'

const REPLICAS = 3
/** `PREHEATD_TEST_TASKS=2000` is issue D's size. */
const TASKS = Number(process.env['PREHEATD_TEST_TASKS'] ?? 150)
const SUBMITS_IN_FLIGHT = 4

/** A replica's own configuration: the same but for its state folder, where its mirrors and its socket are. */
async function configOf(site: Site, replica: number): Promise<string> {
  const config = parse(await readFile(site.configFile, 'utf8')) as Record<string, unknown>
  const file = join(site.root, `replica-${replica}.yaml`)
  const state = { dir: join(site.root, `data-${replica}`), databaseUrlEnv: 'PREHEATD_DATABASE_URL' }
  await writeFile(file, stringify({ ...config, state }))
  return file
}

describeWithPostgres('three replicas on one PostgreSQL, as processes', (newUrl) => {
  test(
    `each killed once under ${TASKS} tasks: no task lost, no known job again, one report, no limit exceeded`,
    { timeout: 600_000 },
    async () => {
      await using site = await openSite({ requestsPerSecond: 10_000, jobMs: 300 })
      await using harbor = await FakeHarbor.start()
      for (let i = 0; i < TASKS; i++)
        await harbor.push({ project: 'team', repository: `app-${i}`, tags: ['v1'], layers: 1, seed: `${i}` })
      await site.repository.commit({
        'registries/harbor.yaml': await addHarbor(site, harbor),
        'providers/dragonfly-eu.yaml': providerYaml(site, 'dragonfly-eu', {
          limits: { submitsInFlight: SUBMITS_IN_FLIGHT, requestsPerSecond: 60 },
        }),
        'projects/team/release.yaml': policyYaml('release', {
          project: 'team',
          registry: 'harbor',
          limits: { maxArtifacts: TASKS },
        }),
        'projects/team/run.yaml': runYaml('first', 'team/release'),
      })
      await site.configure()
      const url = await newUrl()
      const files = await Promise.all(Array.from({ length: REPLICAS }, (_, n) => configOf(site, n)))
      const start = (file: string) => startCli(['run', '--config', file], { PREHEATD_DATABASE_URL: url })
      const running: RunningCli[] = []
      for (const file of files) running.push(start(file))

      // Each is killed once a further part of the work was submitted, while it may have any of it in hand.
      for (const [n, file] of files.entries()) {
        const share = Math.floor(((n + 1) * TASKS) / (REPLICAS + 2))
        await new Promise<void>((resolve) => {
          site.dragonfly.trouble = () => {
            if (site.dragonfly.posts.length >= share) resolve()
            return undefined
          }
        })
        running[n]!.process.kill('SIGKILL')
        await running[n]!.ended()
        running[n] = start(file)
      }
      site.dragonfly.trouble = () => undefined
      let reports = await reportsOn(site.repository).catch(() => [])
      while (reports.length === 0) {
        await new Promise((resolve) => setTimeout(resolve, 500))
        reports = await reportsOn(site.repository).catch(() => [])
      }
      for (const { process } of running) process.kill('SIGTERM')
      await Promise.all(running.map((one) => one.ended()))

      expect(reports).toHaveLength(1)
      const { spec } = reports[0]!.report
      expect(spec.result).toBe('Success')
      expect(new Set(spec.tasks.map(({ artifact }) => artifact.repository)).size).toBe(TASKS)
      expect(spec.tasks.every(({ state }) => state === 'Succeeded')).toBe(true)
      await using closers = new Closers()
      const store = closers.use((await openPostgresStore(url)).store)
      const [execution] = await store.recent(undefined, 9)
      const tasks = await store.tasks(execution!.id)
      expect(tasks).toHaveLength(TASKS)
      // Every id that the engine ever acknowledged to somebody who could write it down.
      expect(tasks.filter(({ jobs }) => jobs.some(({ ids }) => ids.length !== 1))).toEqual([])
      // A worker that was killed with its POST under way still counts at the engine while another takes its place.
      expect(site.dragonfly.postsAtOnce).toBeLessThanOrEqual(SUBMITS_IN_FLIGHT + REPLICAS)
    },
  )
})
