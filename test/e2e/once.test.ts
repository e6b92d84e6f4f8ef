import { expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { DockerRegistry, describeWithDockerRegistry, registryAccount } from '../support/docker-registry.ts'
import { pushImage } from '../support/oci-images.ts'
import { openSite, policyYaml, providerYaml, reportsOn, resourceYaml, runYaml, type Site } from '../support/site.ts'

/** A registry that asks for a password, declared so that preheatd and its engines may use it. */
async function declareRegistry(site: Site, registry: DockerRegistry): Promise<string> {
  const { username, password } = registryAccount
  await site.secret('registry', { username, password })
  site.bind('registry', new URL(registry.endpoint).host)
  return resourceYaml('Registry', 'oci', {
    type: 'oci',
    endpoint: registry.endpoint,
    auth: { type: 'basic', secretRef: { name: 'registry' } },
    engineAuth: { type: 'basic', secretRef: { name: 'registry' } },
  })
}

describeWithDockerRegistry('preheatd once --wait, against a real registry', () => {
  test('preheats by digest what the policy covers, proves it, reports it to git, and submits nothing the second time', async () => {
    await using site = await openSite()
    await using registry = await DockerRegistry.start({ htpasswd: true })
    const { authorization } = registryAccount
    const app = await pushImage(registry.endpoint, 'team/app', 'v1', { authorization })
    const index = await pushImage(registry.endpoint, 'team/index', 'v2', {
      authorization,
      platforms: ['linux/amd64', 'linux/arm64'],
    })
    await pushImage(registry.endpoint, 'team/app', 'v2-rc1', { authorization })
    await site.repository.commit({
      'registries/oci.yaml': await declareRegistry(site, registry),
      'providers/dragonfly-eu.yaml': providerYaml(site),
      'projects/team/release.yaml': policyYaml('release', {
        project: 'team',
        filters: { repositories: ['**'], tags: ['v*'], exclude: { tags: ['*-rc*'] } },
      }),
      'projects/team/run.yaml': runYaml('first', 'team/release'),
    })
    await site.configure()

    const first = await cli(['once', '--config', site.configFile, '--wait'])

    expect(first, first.stderr).toMatchObject({ code: 0 })
    const manifests = [...app.manifests, ...index.manifests]
    const repositoryOf = (digest: string) =>
      app.manifests.some((one) => one.digest === digest) ? 'team/app' : 'team/index'
    expect(site.dragonfly.posts.map(({ url }) => url).sort()).toEqual(
      manifests.map(({ digest }) => `${registry.endpoint}/v2/${repositoryOf(digest)}/manifests/${digest}`).sort(),
    )
    expect(site.dragonfly.posts.every(({ withAuthorization }) => withAuthorization)).toBe(true)
    const wanted = new Set(manifests.flatMap(({ blobs }) => blobs.map(({ digest }) => digest)))
    expect(site.dragonfly.cached(1)).toEqual(wanted)

    const files = await site.repository.files('preheat-reports')
    expect(Object.keys(files).sort()).toEqual([
      'README.md',
      expect.stringMatching(/^daily\/\d{4}\/\d\d\/\d\d\/eu\.yaml$/),
      expect.stringMatching(/^executions\/\d{4}\/\d\d\/\d\d\/eu\/team\/release\/\d{8}T\d{6}Z-[0-9a-f]{8}\.yaml$/),
      'runs.yaml',
      'status.yaml',
    ])
    const [filed] = await reportsOn(site.repository)
    expect(filed?.report).toMatchObject({
      kind: 'ExecutionReport',
      spec: {
        policy: 'team/release',
        trigger: { type: 'manual' },
        result: 'Success',
        selection: { selected: 2, skipped: 0 },
      },
    })
    expect(
      filed?.report.spec.tasks.map(({ artifact, state, evidence }) => [
        artifact.digest,
        state,
        evidence?.blobs,
        evidence?.of,
      ]),
    ).toEqual(
      [app, index].map(({ digest, manifests }) => {
        const blobs = new Set(manifests.flatMap(({ blobs }) => blobs.map((blob) => blob.digest))).size
        return [digest, 'Succeeded', blobs, blobs]
      }),
    )

    const second = await cli(['once', '--config', site.configFile, '--wait'])
    const asked = await cli(['preheat', 'team/release', '--config', site.configFile, '--wait'])

    expect(second, second.stderr).toMatchObject({ code: 0, stdout: '' })
    expect(asked, asked.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('Skipped') })
    expect(site.dragonfly.posts).toHaveLength(3)
  })
})
