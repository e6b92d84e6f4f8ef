import { expect, test } from 'vitest'
import { cli, startCli } from '../support/cli.ts'
import { Witness } from '../support/history.ts'
import { boundedDuplicates, intentFirst } from '../support/invariants.ts'
import { crashingAt, killRun, RUN_SIZES } from '../support/kill-run.ts'
import { openAppSite, policyYaml, reportsOn, runYaml } from '../support/site.ts'

const { images, kills } = RUN_SIZES.long

test(
  `killed ${kills} times at named places under ${images} tasks and a schedule, nothing is lost, nothing repeated, and what is reported is so [K2] [K3] [K4] [K6] [I1] [I2] [I3] [I4] [I5] [I6] [I7]`,
  { timeout: 300_000 },
  async () => {
    const run = await killRun(20261121, RUN_SIZES.long)

    expect(run).toMatchObject({ violations: [] })
    expect(run.kills).toHaveLength(kills)
  },
)

test.each([1, 2, 3])(
  'nor in a short run, of which `npm run faults` makes any number: seed %i',
  { timeout: 60_000 },
  async (seed) => {
    const run = await killRun(seed, RUN_SIZES.short)

    expect(run).toMatchObject({ violations: [] })
    expect(run.kills).toHaveLength(RUN_SIZES.short.kills)
  },
)

test.each<[string, string, { posts: number; jobs: string[] }]>([
  ['after an artifact was selected, before that is on the disk', 'before selected 1', { posts: 0, jobs: [] }],
  ['after the intent, before the POST', 'after saveStep 1', { posts: 0, jobs: ['intended'] }],
  ['after the answer, before it is on the disk', 'before release 1', { posts: 1, jobs: ['intended'] }],
])(
  'killed %s, it submits the artifact once in the end [K1] [K2] [K4]',
  { timeout: 60_000 },
  async (_when, point, left) => {
    await using place = await openAppSite({
      'projects/team/release.yaml': policyYaml('release', { project: 'team' }),
      'projects/team/run.yaml': runYaml('first', 'team/release'),
    })
    const { site } = place
    const witness = await Witness.of(site)
    const args = ['once', '--config', site.configFile, '--wait']

    const killed = await startCli(args, crashingAt(point)).ended()
    const found = { posts: site.dragonfly.posts.length, jobs: witness.jobStates() }
    const last = await cli(args)

    expect(killed.signal, killed.stderr).toBe('SIGKILL')
    expect(found).toEqual(left)
    expect(last.code, last.stderr).toBe(0)
    expect(site.dragonfly.posts.map(({ status }) => status)).toEqual([200])
    const history = await witness.history()
    expect([...intentFirst(history), ...boundedDuplicates(history)]).toEqual([])
    expect((await reportsOn(site.repository)).map(({ report }) => report.spec.result)).toEqual(['Success'])
  },
)
