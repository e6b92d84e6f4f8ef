import { expect, test } from 'vitest'
import { cli, startCli } from '../support/cli.ts'
import { git } from '../support/repository.ts'
import { openAppSite, policyYaml, reportsOn, runYaml, type Site } from '../support/site.ts'

/** Kills, and answers nothing any more, so that a git which outlives its daemon does not get through either. */
const killed = (kill: () => void) => () => {
  kill()
  return Promise.reject(new Error('nobody is there'))
}

async function untilReported({ repository }: Site): Promise<void> {
  while ((await reportsOn(repository)).length === 0) await new Promise(setImmediate)
}

test.each<[string, (site: Site, kill: () => void) => void]>([
  [
    'before its push is asked for',
    (site, kill) => {
      site.gitServer.next({ does: 'wait', for: killed(kill) }, /service=git-receive-pack$/, 9)
    },
  ],
  [
    'in the middle of its push',
    (site, kill) => {
      site.gitServer.next({ does: 'wait', for: killed(kill) }, /\/git-receive-pack$/, 9)
    },
  ],
  [
    'after its push and before the answer to it',
    (site, kill) => {
      // More than once, as curl tries again by itself.
      site.gitServer.next({ does: 'cut-after' }, /\/git-receive-pack$/, 9)
      void untilReported(site).then(kill)
    },
  ],
])(
  'a daemon that is killed with a report, %s, has it in git once in the end [K6] [I5]',
  { timeout: 60_000 },
  async (_when, arm) => {
    await using place = await openAppSite({
      'projects/team/release.yaml': policyYaml('release', { project: 'team' }),
    })
    const { site } = place
    expect(await cli(['once', '--config', site.configFile])).toMatchObject({ code: 0 })
    await site.repository.commit({ 'projects/team/run.yaml': runYaml('first', 'team/release') })
    const daemon = startCli(['run', '--config', site.configFile])
    await daemon.says(/execution.ended/)
    arm(site, () => daemon.process.kill('SIGKILL'))
    expect((await daemon.ended()).signal).toBe('SIGKILL')
    site.gitServer.calm()

    const first = await cli(['once', '--config', site.configFile])
    const again = await cli(['once', '--config', site.configFile])

    expect([first.code, again.code], first.stderr + again.stderr).toEqual([0, 0])
    expect((await reportsOn(site.repository)).map(({ report }) => report.spec.result)).toEqual(['Success'])
    const filings = await git(site.repository.dir, 'log', '--format=%H', 'preheat-reports', '--', 'executions')
    expect(filings.trim().split('\n')).toHaveLength(1)
    expect(site.dragonfly.posts).toHaveLength(1)
  },
)
