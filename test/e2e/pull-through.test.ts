import { expect, test, vi } from 'vitest'
import { cli } from '../support/cli.ts'
import { DockerRegistry, describeWithDockerRegistry, registryAccount } from '../support/docker-registry.ts'
import { pushImage } from '../support/oci-images.ts'
import { openSite, policyYaml, reportsOn, resourceYaml, runYaml, type Site } from '../support/site.ts'

/** A config repository with one registry, one cache in front of it and one policy that has run once. */
async function declare(site: Site, upstream: DockerRegistry, cache: DockerRegistry): Promise<void> {
  const { username, password } = registryAccount
  await site.secret('edge-cache', { username, password })
  site.bind('edge-cache', new URL(cache.endpoint).host)
  await site.repository.commit({
    'registries/oci.yaml': resourceYaml('Registry', 'oci', { type: 'oci', endpoint: upstream.endpoint }),
    'providers/edge-cache.yaml': resourceYaml('Provider', 'edge-cache', {
      vendor: 'pull-through',
      endpoint: cache.endpoint,
      default: true,
      auth: { mode: 'basic', secretRef: { name: 'edge-cache' } },
      limits: { requestsPerSecond: 100 },
    }),
    'projects/team/release.yaml': policyYaml('release', { project: 'team' }),
    'projects/team/run.yaml': runYaml('first', 'team/release'),
  })
  await site.configure()
}

describeWithDockerRegistry('preheatd once --wait, with a real pull-through cache', () => {
  test('warms the cache so that it needs its upstream no more, and proves it by what it read through', async () => {
    await using site = await openSite()
    await using upstream = await DockerRegistry.start()
    await using cache = await DockerRegistry.start({ htpasswd: true, proxy: { remoteurl: upstream.endpoint } })
    const app = await pushImage(upstream.endpoint, 'team/app', 'v1')
    const index = await pushImage(upstream.endpoint, 'team/index', 'v2', { platforms: ['linux/amd64', 'linux/arm64'] })
    await declare(site, upstream, cache)

    const ended = await cli(['once', '--config', site.configFile, '--wait'])

    expect(ended, ended.stderr).toMatchObject({ code: 0 })
    const [filed] = await reportsOn(site.repository)
    expect(filed?.report).toMatchObject({ spec: { policy: 'team/release', result: 'Success' } })
    const { tasks } = filed!.report.spec
    expect(tasks.map(({ artifact }) => artifact.digest)).toEqual([app.digest, index.digest])
    for (const [at, { manifests }] of [app, index].entries()) {
      const blobs = manifests.reduce((sum, manifest) => sum + manifest.blobs.length, 0)
      expect(tasks[at]).toMatchObject({
        state: 'Succeeded',
        evidence: { kind: 'read_through', source: 'observed', blobs, of: blobs, peers: 1 },
      })
    }
    const parts = [app, index].flatMap(({ digest, manifests }) => [
      digest,
      ...manifests.flatMap((one) => [one.digest, ...one.blobs.map((blob) => blob.digest)]),
    ])
    // Distribution 2.8 stores beside the answer, and is not done when that is.
    await vi.waitFor(() => {
      expect(parts.filter((digest) => !cache.stores(digest))).toEqual([])
    }, 10_000)
  })

  test('says which artifact the cache did not give, and never that it is warm', async () => {
    await using site = await openSite()
    await using upstream = await DockerRegistry.start()
    await using other = await DockerRegistry.start()
    await using cache = await DockerRegistry.start({ htpasswd: true, proxy: { remoteurl: other.endpoint } })
    const app = await pushImage(upstream.endpoint, 'team/app', 'v1')
    await declare(site, upstream, cache)

    const ended = await cli(['once', '--config', site.configFile, '--wait'])

    expect(ended.code).not.toBe(0)
    const [filed] = await reportsOn(site.repository)
    expect(filed!.report.spec.tasks).toMatchObject([
      {
        artifact: { digest: app.digest },
        state: 'Failed',
        error: { code: 'PH6003', message: expect.stringContaining(app.digest) },
      },
    ])
  })
})
