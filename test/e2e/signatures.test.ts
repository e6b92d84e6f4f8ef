import { expect, test } from 'vitest'
import type { Digest } from '../../src/model/artifact.ts'
import type { SignatureMaterial } from '../../src/model/signature.ts'
import { cli } from '../support/cli.ts'
import { describeWithDockerRegistry, DockerRegistry } from '../support/docker-registry.ts'
import { buildArtifact, buildReferrersIndex, pushBuilt, pushImage } from '../support/oci-images.ts'
import { bundleByKey, digestOf, keyPair, sigstore, simpleSigning } from '../support/signing.ts'
import { openSite, policyYaml, providerYaml, reportsOn, resourceYaml, runYaml } from '../support/site.ts'

const SIMPLE = 'application/vnd.dev.cosign.simplesigning.v1+json'
const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json'
const BOT = { issuer: 'https://issuer.example.com', subject: 'https://git.example.com/acme/app' }

/** Puts a signature where cosign would: beside the tag for the classic form, as a referrer for a bundle. */
async function attach(endpoint: string, repository: string, digest: string, material: SignatureMaterial) {
  const tag = digest.replace(':', '-')
  if (material.kind === 'simple-signing') {
    const layers = [{ mediaType: SIMPLE, bytes: material.payload, annotations: material.annotations }]
    await pushBuilt(endpoint, repository, [`${tag}.sig`], buildArtifact({ layers }))
    return
  }
  const built = buildArtifact({ artifactType: BUNDLE, layers: [{ mediaType: BUNDLE, bytes: material.json }] })
  await pushBuilt(endpoint, repository, [], built)
  await pushBuilt(endpoint, repository, [tag], buildReferrersIndex([{ built, artifactType: BUNDLE }]))
}

describeWithDockerRegistry('criteria.signature verified, against a real registry', () => {
  test('only what is signed by a wanted key or identity for this very digest is preheated; explain has each reason', async () => {
    await using site = await openSite()
    await using registry = await DockerRegistry.start()
    const [release, other] = [keyPair(), keyPair()]
    const authority = await sigstore()
    const signed = async (
      name: string,
      material: (digest: Digest) => SignatureMaterial | Promise<SignatureMaterial>,
    ) => {
      const image = await pushImage(registry.endpoint, `team/${name}`, 'v1')
      const of = image.digest as Digest
      await attach(registry.endpoint, `team/${name}`, of, await material(of))
    }
    await signed('classic', (digest) => simpleSigning(digest, release))
    await signed('bundle', (digest) => bundleByKey(digest, release))
    await signed('keyless', (digest) => authority.bundle(digest, BOT))
    await signed('other-key', (digest) => simpleSigning(digest, other))
    await signed('other-digest', () => simpleSigning(digestOf('another image'), release))
    await signed('other-bundle', () => bundleByKey(digestOf('another image'), release))
    await signed('longer-identity', (digest) => authority.bundle(digest, { ...BOT, subject: `${BOT.subject}-evil` }))
    await signed('tampered', (digest) => {
      const good = simpleSigning(digest, release)
      return { ...good, payload: Buffer.from(Buffer.from(good.payload).toString().replace('null', 'true')) }
    })
    await pushImage(registry.endpoint, 'team/unsigned', 'v1')
    await site.repository.commit({
      'registries/oci.yaml': resourceYaml('Registry', 'oci', { type: 'oci', endpoint: registry.endpoint }),
      'providers/dragonfly-eu.yaml': providerYaml(site),
      'keys/release.pub': release.publicPem,
      'keys/trusted_root.json': authority.trustedRoot(),
      'projects/team/release.yaml': policyYaml('release', {
        project: 'team',
        criteria: {
          signature: {
            mode: 'verified',
            keys: ['keys/release.pub'],
            identities: [BOT],
            trustedRoot: 'keys/trusted_root.json',
          },
        },
      }),
      'projects/team/run.yaml': runYaml('first', 'team/release'),
    })
    await site.configure()

    const ended = await cli(['once', '--config', site.configFile, '--wait'])

    expect(ended, ended.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('Success') })
    const [filed] = await reportsOn(site.repository)
    expect(filed?.report.spec.tasks.map(({ artifact }) => artifact.repository)).toEqual([
      'team/bundle',
      'team/classic',
      'team/keyless',
    ])
    const explained = await cli(['explain', 'team/release', '--config', site.configFile, '-o', 'json'])
    expect(explained, explained.stderr).toMatchObject({ code: 0 })
    const { artifacts } = JSON.parse(explained.stdout) as {
      artifacts: { repository: string; verdicts: { rule: string; message: string; line: number }[] }[]
    }
    const verdicts = artifacts.map(({ repository, verdicts: all }) => {
      const signature = all.find(({ rule }) => rule === 'signature')
      return [repository, signature?.message, signature?.line]
    })
    const identity = `identity ${BOT.subject} (issuer ${BOT.issuer})`
    const another = `signature is for another digest ${digestOf('another image')}`
    const altered = 'signed by a key that the policy does not name, or altered afterwards'
    expect(verdicts).toEqual(
      [
        ['team/bundle', 'the signature of key keys/release.pub holds'],
        ['team/classic', 'the signature of key keys/release.pub holds'],
        ['team/keyless', `the signature of ${identity} holds`],
        ['team/longer-identity', `the certificate is for ${identity.replace('app (', 'app-evil (')}`],
        ['team/other-bundle', another],
        ['team/other-digest', another],
        ['team/other-key', altered],
        ['team/tampered', altered],
        ['team/unsigned', 'is not signed'],
      ].map(([repository, message]) => [repository, message, 19]),
    )
  }, 120_000)
})
