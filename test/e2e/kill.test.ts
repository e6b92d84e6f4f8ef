import { expect, test } from 'vitest'
import { openEmbeddedStore } from '../../src/store/embedded.ts'
import { FakeHarbor } from '../doubles/harbor.ts'
import { cli, startCli } from '../support/cli.ts'
import { addHarbor, openSite, policyYaml, providerYaml, reportsOn, runYaml, type Site } from '../support/site.ts'

const TASKS = 60
const KILLS = 20

/** Numbers that look random and are the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Idempotency keys of jobs whose ids the store knows, read while nobody works in it. */
async function knownJobs(site: Site): Promise<Set<string>> {
  await using store = await openEmbeddedStore(site.stateDir)
  const known = new Set<string>()
  for (const { id } of await store.openExecutions()) {
    for (const task of await store.tasks(id)) {
      for (const job of task.jobs) if (job.ids.length > 0) known.add(`preheatd/${task.id}/${job.key}`)
    }
  }
  return known
}

/** Starts `once --wait` and kills it when the engine has been asked `requests` more times, before it is answered. */
async function killAfter(site: Site, requests: number): Promise<boolean> {
  const running = startCli(['once', '--config', site.configFile, '--wait'])
  let left = requests
  site.dragonfly.trouble = () => {
    if (--left > 0) return undefined
    running.process.kill('SIGKILL')
    // Whether the engine still does what it was asked is left to chance: half the time nobody ever hears of it.
    return left % 2 === 0 ? undefined : { kind: 'cut' }
  }
  const { signal } = await running.ended()
  site.dragonfly.trouble = () => undefined
  return signal === 'SIGKILL'
}

test(
  `killed ${KILLS} times at random points of ${TASKS} tasks, every task ends once, in one report, and no known job is submitted again [K3]`,
  { timeout: 300_000 },
  async () => {
    await using site = await openSite({ requestsPerSecond: 10_000 })
    await using harbor = await FakeHarbor.start()
    for (let i = 0; i < TASKS; i++)
      await harbor.push({ project: 'team', repository: `app-${i}`, tags: ['v1'], layers: 1, seed: `${i}` })
    await site.repository.commit({
      'registries/harbor.yaml': await addHarbor(site, harbor),
      'providers/dragonfly-eu.yaml': providerYaml(site, 'dragonfly-eu', {
        limits: { submitsInFlight: 4, requestsPerSecond: 1000 },
      }),
      'projects/team/release.yaml': policyYaml('release', { project: 'team', registry: 'harbor' }),
      'projects/team/run.yaml': runYaml('first', 'team/release'),
    })
    await site.configure()
    const random = randomOf(Number(process.env['PREHEATD_TEST_SEED'] ?? 20261121))

    const submittedAgain: string[] = []
    let kills = 0
    for (let round = 0; round < KILLS; round++) {
      const known = await knownJobs(site)
      const before = site.dragonfly.posts.length
      if (await killAfter(site, 1 + Math.floor(random() * 8))) kills++
      submittedAgain.push(
        ...site.dragonfly.posts.slice(before).flatMap(({ bio }) => (known.has(bio ?? '') ? [bio!] : [])),
      )
    }
    const known = await knownJobs(site)
    const before = site.dragonfly.posts.length
    const last = await cli(['once', '--config', site.configFile, '--wait'])

    submittedAgain.push(
      ...site.dragonfly.posts.slice(before).flatMap(({ bio }) => (known.has(bio ?? '') ? [bio!] : [])),
    )
    expect(last, last.stderr).toMatchObject({ code: 0 })
    expect(kills).toBe(KILLS)
    expect(submittedAgain).toEqual([])
    const reports = await reportsOn(site.repository)
    expect(reports).toHaveLength(1)
    const tasks = reports[0]!.report.spec.tasks
    expect(tasks.map(({ artifact, state }) => `${artifact.repository} ${state}`).sort()).toEqual(
      Array.from({ length: TASKS }, (_, i) => `team/app-${i} Succeeded`).sort(),
    )
  },
)
