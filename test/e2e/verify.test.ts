import { expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { sshSigner } from '../support/signer.ts'
import { openSite, policyYaml, providerYaml, resourceYaml, type Site } from '../support/site.ts'

async function configureVerified(site: Site): Promise<void> {
  await site.configure({
    source: {
      url: site.gitServer.url('config.git'),
      auth: { type: 'basic', secretRef: { name: 'git' } },
      verify: { mode: 'head', secretRef: { name: 'git-keys' } },
    },
  })
}

test('a commit that nobody trusted has signed is not applied, what was applied stays, and every command says who signed it', async () => {
  await using site = await openSite()
  const [ada, eve] = [await sshSigner(site.root), await sshSigner(site.root)]
  await site.secret('git-keys', { allowed_signers: ada.trust })
  await configureVerified(site)
  const once = () => cli(['once', '--config', site.configFile, '-o', 'json'])
  const signed = await site.repository.commit(
    {
      'registries/oci.yaml': resourceYaml('Registry', 'oci', { type: 'oci', endpoint: 'https://127.0.0.1:9' }),
      'providers/dragonfly-eu.yaml': providerYaml(site),
      'projects/team/release.yaml': policyYaml('release', { project: 'team' }),
    },
    { signer: ada },
  )
  const first = await once()

  await site.repository.commit({ 'projects/team/release.yaml': 'kind: Nonsense' }, { signer: eve })
  const [second, check] = await Promise.all([once(), cli(['check', '--config', site.configFile])])

  expect(first, first.stderr).toMatchObject({ code: 0 })
  expect(JSON.parse(first.stdout)).toMatchObject({ commit: signed })
  expect(second).toMatchObject({ code: 1 })
  expect(JSON.parse(second.stdout)).toMatchObject({ commit: signed, invalid: false })
  for (const { stdout, stderr } of [second, check]) {
    expect(stdout + stderr).toContain('PH4010')
    expect(stdout + stderr).toContain(`is signed with the ED25519 key ${eve.fingerprint}`)
  }
  expect(check.code).toBe(1)
})

test('a commit in force that nobody signed is a trouble as soon as it has to be signed', async () => {
  await using site = await openSite()
  const ada = await sshSigner(site.root)
  await site.secret('git-keys', { allowed_signers: ada.trust })
  await site.repository.commit({ 'providers/dragonfly-eu.yaml': providerYaml(site) })
  await site.configure()
  const before = await cli(['once', '--config', site.configFile])

  await configureVerified(site)
  const after = await cli(['once', '--config', site.configFile])

  expect(before, before.stderr).toMatchObject({ code: 0 })
  expect(after).toMatchObject({ code: 1, stderr: expect.stringContaining('PH4010') })
})
