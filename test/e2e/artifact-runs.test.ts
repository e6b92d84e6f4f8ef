import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { cli, startCli } from '../support/cli.ts'
import { DockerRegistry, describeWithDockerRegistry } from '../support/docker-registry.ts'
import { pushImage } from '../support/oci-images.ts'
import { git } from '../support/repository.ts'
import { openAppSite, openSite, providerYaml, reportsOn, resourceYaml, type Site } from '../support/site.ts'

/** A run of these artifacts of the project team that never expires in a test's life. */
function artifactRunYaml(
  name: string,
  artifacts: readonly string[],
  spec: Readonly<Record<string, unknown>> = {},
): string {
  return resourceYaml('PreheatRun', name, {
    project: 'team',
    artifacts,
    reason: 'CVE-2026-1234',
    expiresAt: '2099-01-01T00:00:00Z',
    ...spec,
  })
}

/** What `status.yaml` says of everything. */
async function statusOf(site: Site): Promise<unknown> {
  const text = (await site.repository.files('preheat-reports'))['status.yaml'] ?? ''
  return (parse(text) as { instances: { objects: unknown }[] }).instances[0]?.objects
}

describeWithDockerRegistry('a PreheatRun with artifacts of its own, against a real registry', () => {
  test(
    'preheats what it names and nothing else, with evidence in its report, and not again after a restart',
    { timeout: 60_000 },
    async () => {
      await using site = await openSite()
      await using registry = await DockerRegistry.start()
      const app = await pushImage(registry.endpoint, 'team/app', 'v1')
      const web = await pushImage(registry.endpoint, 'team/web', 'v1')
      await pushImage(registry.endpoint, 'team/app', 'v2')
      await site.repository.commit({
        'registries/oci.yaml': resourceYaml('Registry', 'oci', { type: 'oci', endpoint: registry.endpoint }),
        'providers/dragonfly-eu.yaml': providerYaml(site),
        'projects/team/expired.yaml': artifactRunYaml('expired', ['app:v2'], { expiresAt: '2026-01-01T00:00:00Z' }),
      })
      await site.configure()
      const first = startCli(['run', '--config', site.configFile])
      await first.says(/"plan.applied"/)

      const artifacts = ['app:v1', `web@${web.digest}`]
      await site.repository.commit({ 'projects/team/hotfix.yaml': artifactRunYaml('hotfix', artifacts) })
      await first.says(/"reports":1/)
      const listed = await cli(['executions', 'team/hotfix', '--config', site.configFile])
      first.process.kill('SIGTERM')
      expect((await first.ended()).code).toBe(0)

      const manifests = [...app.manifests, ...web.manifests].map(({ digest }) => digest)
      expect(site.dragonfly.posts.map(({ url }) => url?.split('/').at(-1)).sort()).toEqual(manifests.sort())
      const filed = await reportsOn(site.repository)
      expect(filed).toHaveLength(1)
      expect(filed[0]?.path).toMatch(
        /^executions\/\d{4}\/\d\d\/\d\d\/eu\/team\/hotfix\/\d{8}T\d{6}Z-[0-9a-f]{8}\.yaml$/,
      )
      expect(filed[0]?.report).toMatchObject({
        spec: {
          policy: 'team/hotfix',
          trigger: { type: 'manual', cause: { run: { name: 'hotfix', reason: 'CVE-2026-1234' } } },
          result: 'Success',
          selection: { selected: 2, skipped: 0 },
        },
      })
      expect(
        filed[0]?.report.spec.tasks.map(({ artifact, state, evidence }) => [
          artifact.repository,
          artifact.digest,
          state,
          evidence?.blobs === evidence?.of,
        ]),
      ).toEqual([
        ['team/app', app.digest, 'Succeeded', true],
        ['team/web', web.digest, 'Succeeded', true],
      ])
      expect(listed.stdout, listed.stderr).toMatch(/team\/hotfix.*Success/)
      expect(await statusOf(site)).toMatchObject([
        { kind: 'PreheatRun', name: 'hotfix', provider: 'dragonfly-eu', state: 'Ready', result: 'Success' },
      ])

      const again = await cli(['once', '--config', site.configFile, '--wait'])
      expect(again).toMatchObject({ code: 0, stdout: '' })
      expect(site.dragonfly.posts).toHaveLength(manifests.length)
    },
  )
})

test(
  'a run that was used up stays so where the state is lost, and its status goes with its file',
  { timeout: 60_000 },
  async () => {
    await using place = await openAppSite()
    const { site } = place
    const file = 'projects/team/hotfix.yaml'
    const once = () => cli(['once', '--config', site.configFile, '--wait'])
    await site.repository.commit({ [file]: artifactRunYaml('hotfix', ['app:v1']) })
    expect(await once()).toMatchObject({ code: 0, stdout: expect.stringContaining('Success') })

    await rm(site.stateDir, { recursive: true })
    expect(await once()).toMatchObject({ code: 0, stdout: '' })
    expect(await statusOf(site)).toMatchObject([{ name: 'hotfix', result: 'Success' }])
    expect(site.dragonfly.posts).toHaveLength(1)

    await site.repository.commit({ [file]: undefined })
    expect(await once()).toMatchObject({ code: 0 })
    expect(await statusOf(site)).toEqual([])
  },
)

test('a run that is edited is another one, with a refresh of its own', { timeout: 60_000 }, async () => {
  await using place = await openAppSite()
  const { site } = place
  const edits = [
    ['one reason', 'missing', 'Success'],
    ['another', 'missing', 'Skipped'],
    ['another', 'always', 'Success'],
  ] as const
  for (const [reason, mode, result] of edits) {
    const text = artifactRunYaml('hotfix', ['app:v1'], { reason, refresh: { mode } })
    await site.repository.commit({ 'projects/team/hotfix.yaml': text })
    const ended = await cli(['once', '--config', site.configFile, '--wait'])
    expect(ended.stdout, ended.stderr).toContain(result)
  }
  expect(site.dragonfly.posts).toHaveLength(2)
})

test('a run is no way around what a Harbor project demands, and explain says why nothing is sent', async () => {
  await using place = await openAppSite()
  const { site } = place
  await place.harbor.push({ project: 'team', repository: 'other', tags: ['v1'] })
  place.harbor.project('team', { enable_content_trust_cosign: 'true' })
  await site.repository.commit({ 'projects/team/hotfix.yaml': artifactRunYaml('hotfix', ['app:v1']) })

  const before = await cli(['explain', 'hotfix', '--config', site.configFile])
  const ended = await cli(['once', '--config', site.configFile, '--wait'])
  const after = await cli(['explain', 'team/hotfix', '--config', site.configFile])

  expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('Skipped') })
  expect(site.dragonfly.posts).toEqual([])
  expect(before, before.stderr).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/app:v1.*out, by the rule signature/),
  })
  expect(before.stdout).toContain('it is a PreheatRun, which runs once per name and content')
  expect(before.stdout).not.toContain('used up')
  expect(before.stdout).not.toContain('other')
  expect(after.stdout).toContain('it is used up')
  expect(after.stdout).toMatch(/its last execution \S+ was Skipped/)
})

test('a run that names what is not there fails and says so', async () => {
  await using place = await openAppSite()
  const { site } = place
  await site.repository.commit({ 'projects/team/hotfix.yaml': artifactRunYaml('hotfix', ['app:v2', 'gone:v1']) })

  const ended = await cli(['once', '--config', site.configFile, '--wait'])

  expect(ended).toMatchObject({ code: 1, stdout: expect.stringContaining('Failed') })
  const [filed] = await reportsOn(site.repository)
  expect(filed?.report.spec).toMatchObject({
    result: 'Failed',
    selection: {
      selected: 0,
      unresolved: [
        { artifact: 'app:v2', code: 'PH8010' },
        { artifact: 'gone:v1', code: 'PH8010' },
      ],
    },
  })
})

test('plan lists what a run would preheat, and nothing once it has expired', async () => {
  await using place = await openAppSite()
  const { site } = place
  const checkout = join(site.root, 'checkout')
  await git(site.root, 'clone', '--quiet', site.repository.dir, 'checkout')
  await mkdir(join(checkout, 'projects/team'), { recursive: true })
  const plan = async (spec: Readonly<Record<string, unknown>> = {}) => {
    await writeFile(join(checkout, 'projects/team/hotfix.yaml'), artifactRunYaml('hotfix', ['app:v1'], spec))
    return await cli(['plan', checkout, '--config', site.configFile])
  }

  const open = await plan()
  const expired = await plan({ expiresAt: '2026-01-01T00:00:00Z' })

  expect(open, open.stderr).toMatchObject({ code: 0, stdout: expect.stringMatching(/team\/app.*v1/) })
  expect(expired, expired.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('hotfix') })
  expect(expired.stdout).not.toMatch(/team\/app.*v1/)
})
