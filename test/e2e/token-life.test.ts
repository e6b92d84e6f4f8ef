import { expect, test } from 'vitest'
import { FakeHarbor } from '../doubles/harbor.ts'
import { cli } from '../support/cli.ts'
import { addHarbor, openSite, policyYaml, providerYaml, reportsOn, runYaml } from '../support/site.ts'

const TASKS = 20
const LIFE_MS = 3000

test(
  'pull tokens that live shorter than the execution are never sent expired, and one that an engine lost is made good by a new one [E13]',
  { timeout: 90_000 },
  async () => {
    await using site = await openSite({ requestsPerSecond: 10_000 })
    await using harbor = await FakeHarbor.start({ tokenTtlSeconds: LIFE_MS / 1000 })
    for (let i = 0; i < TASKS; i++)
      await harbor.push({ project: 'team', repository: `app-${i}`, tags: ['v1'], layers: 1, seed: `${i}` })
    await site.repository.commit({
      'registries/harbor.yaml': await addHarbor(site, harbor),
      'providers/dragonfly-eu.yaml': providerYaml(site, 'dragonfly-eu', {
        limits: { submitsInFlight: 4, requestsPerSecond: 4 },
      }),
      'projects/team/release.yaml': policyYaml('release', { project: 'team' }),
      'projects/team/run.yaml': runYaml('first', 'team/release'),
    })
    await site.configure()
    let lost = 0
    const complete = site.dragonfly.outcome
    site.dragonfly.outcome = (url, cluster) =>
      url.includes('/app-7/') && lost++ === 0
        ? { kind: 'failure', error: 'cluster 1 scheduler 10.0.0.2 get blob: 401 Unauthorized' }
        : complete(url, cluster)

    const ended = await cli(['once', '--config', site.configFile, '--wait'])

    expect(ended, ended.stderr).toMatchObject({ code: 0 })
    const { posts } = site.dragonfly
    expect(posts.at(-1)!.at - posts[0]!.at).toBeGreaterThan(LIFE_MS)
    // The manager reads the manifest with the token that it is given, and the double says no to one that has expired.
    expect(posts.map(({ status, withAuthorization }) => [status, withAuthorization])).toEqual(
      Array.from({ length: TASKS + 1 }, () => [200, true]),
    )
    expect(posts.filter(({ url }) => url?.includes('/app-7/'))).toHaveLength(2)
    const [filed] = await reportsOn(site.repository)
    expect(filed?.report.spec.tasks.map(({ state }) => state)).toEqual(Array.from({ length: TASKS }, () => 'Succeeded'))
  },
)
