import { beforeAll, describe, expect, test } from 'vitest'
import { checkTrust, verifySignatures } from '../../src/execution/verify-signature.ts'
import type { SignatureMaterial, Trust } from '../../src/model/signature.ts'
import {
  bundleByKey,
  changed,
  digestOf,
  keyPair,
  messageBundle,
  sigstore,
  simpleSigning,
  type CertificateContent,
  type KeylessOptions,
  type KeyPair,
  type Sigstore,
} from '../support/signing.ts'

const image = digestOf('image')
const other = digestOf('other')
const release = keyPair()
const stranger = keyPair()

const identity = {
  issuer: 'https://token.actions.githubusercontent.com',
  subject: 'https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main',
}
const unlike = `the certificate is for identity ${identity.subject} (issuer ${identity.issuer})`
const byIdentity = { ok: true, by: `identity ${identity.subject} (issuer ${identity.issuer})` }
const unknownKey = { ok: false, reason: 'signed by a key that the policy does not name, or altered afterwards' }
const otherDigest = { ok: false, reason: `signature is for another digest ${other}` }

function trustIn(pair: KeyPair, name = 'keys/release.pub'): Trust {
  return { keys: [{ name, pem: pair.publicPem }], identities: [], trustedRoot: undefined }
}

const verify = (material: SignatureMaterial, trust = trustIn(release)) => verifySignatures(image, [material], trust)

describe('by key', () => {
  test.each([
    ['P-256', 'sha256'],
    ['P-384', 'sha256'],
    ['P-384', 'sha384'],
    ['P-521', 'sha512'],
    ['RSA', 'sha256'],
    ['Ed25519', null],
  ] as const)('a signature by a key of type %s with hash %s holds in both forms', (kind, hash) => {
    const pair = keyPair(kind, hash)
    const verdict = { ok: true, by: 'key keys/release.pub' }
    expect(verify(simpleSigning(image, pair), trustIn(pair))).toEqual(verdict)
    expect(verify(bundleByKey(image, pair), trustIn(pair))).toEqual(verdict)
  })

  test.each([
    ['simple-signing', simpleSigning(image, stranger)],
    ['bundle', bundleByKey(image, stranger)],
  ])('a %s by a key that the policy does not name does not count', (_, material) => {
    expect(verify(material)).toEqual(unknownKey)
  })

  test.each([
    ['simple-signing', simpleSigning(other, release)],
    ['bundle', bundleByKey(other, release)],
  ])('a good %s of another digest does not count', (_, material) => {
    expect(verify(material)).toEqual(otherDigest)
  })

  test('a payload that was changed to name the image does not count', () => {
    const { payload } = simpleSigning(image, stranger)
    expect(verify({ ...simpleSigning(other, release), payload })).toEqual(unknownKey)
    const path = ['dsseEnvelope', 'payload']
    const statement = JSON.parse(Buffer.from(bundleByKey(image, stranger).json).toString()).dsseEnvelope.payload
    expect(verify(changed(bundleByKey(other, release), path, statement))).toEqual(unknownKey)
  })

  test('a signature with one bit turned does not count', () => {
    const material = simpleSigning(image, release)
    const bytes = Buffer.from(material.annotations['dev.cosignproject.cosign/signature'] ?? '', 'base64')
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1)
    const annotations = { 'dev.cosignproject.cosign/signature': bytes.toString('base64') }
    expect(verify({ ...material, annotations })).toEqual(unknownKey)
    const path = ['dsseEnvelope', 'signatures', 0, 'sig']
    expect(verify(changed(bundleByKey(image, release), path, bytes.toString('base64')))).toEqual(unknownKey)
    expect(verify({ ...material, annotations: {} })).toEqual(unknownKey)
  })

  test('a payload of another type is no signature of an image', () => {
    const reason = 'the signed payload is not about a container image'
    expect(verify(simpleSigning(image, release, 'something else'))).toEqual({ ok: false, reason })
  })

  test('an attestation is not a signature, though the key is right', () => {
    const predicateType = 'https://slsa.dev/provenance/v1'
    expect(verify(bundleByKey(image, release, { predicateType }))).toEqual({
      ok: false,
      reason: 'an attestation (https://slsa.dev/provenance/v1) is not a signature',
    })
  })

  test('a statement with another payload type does not count', () => {
    expect(verify(bundleByKey(image, release, { payloadType: 'text/plain' }))).toEqual({
      ok: false,
      reason: 'the bundle signs text/plain, not an in-toto statement',
    })
  })

  test('a statement of another form does not count, and one of the older form does', () => {
    expect(verify(bundleByKey(image, release, { statementType: 'https://example.com/Statement/v1' })).ok).toBe(false)
    expect(verify(bundleByKey(image, release, { statementType: 'https://in-toto.io/Statement/v0.1' })).ok).toBe(true)
  })

  test('a statement about several digests counts for each of them, and one about none for none', () => {
    expect(verify(bundleByKey(image, release, { subjects: [other, image] })).ok).toBe(true)
    expect(verify(bundleByKey(image, release, { subjects: [] })).ok).toBe(false)
  })

  test('an envelope with a second signature does not count', () => {
    const material = bundleByKey(image, release)
    const [first] = JSON.parse(Buffer.from(material.json).toString()).dsseEnvelope.signatures
    for (const signatures of [[], [first, first]])
      expect(verify(changed(material, ['dsseEnvelope', 'signatures'], signatures))).toEqual({
        ok: false,
        reason: `what ${material.foundIn} holds cannot be read as a signature: Error: invalid bundle`,
      })
  })

  test('a bundle that signs a file says that it is not about an image', () => {
    expect(verify(messageBundle(Buffer.from(image), release))).toEqual({
      ok: false,
      reason: 'the bundle signs a file that is not beside it; cosign’s bundles for images hold a statement',
    })
  })

  test('one good signature is enough, whatever else stands beside the image', () => {
    const junk: SignatureMaterial = { kind: 'bundle', foundIn: other, json: Buffer.from('{') }
    const materials = [junk, simpleSigning(other, release), bundleByKey(image, stranger), bundleByKey(image, release)]
    expect(verifySignatures(image, materials, trustIn(release)).ok).toBe(true)
  })

  test('each of several keys may sign, and the one that did is named', () => {
    const [first] = trustIn(stranger, 'keys/old.pub').keys
    const [second] = trustIn(release).keys
    const trust = { ...trustIn(release), keys: [first!, second!] }
    expect(verify(bundleByKey(image, release), trust)).toEqual({ ok: true, by: 'key keys/release.pub' })
  })

  test('of several misses the nearest is told', () => {
    const materials = [simpleSigning(image, stranger), simpleSigning(other, release)]
    expect(verifySignatures(image, materials, trustIn(release))).toEqual(unknownKey)
    expect(verifySignatures(image, materials.reverse(), trustIn(release))).toEqual(unknownKey)
    expect(verifySignatures(image, [], trustIn(release))).toEqual({ ok: false, reason: 'is not signed' })
  })

  test('no more than a hundred materials are looked at, and the answer says so', () => {
    const materials = [...Array<SignatureMaterial>(100).fill(simpleSigning(other, release))]
    expect(verifySignatures(image, [...materials.slice(1), bundleByKey(image, release)], trustIn(release)).ok).toBe(
      true,
    )
    expect(verifySignatures(image, [...materials, bundleByKey(image, release)], trustIn(release))).toEqual({
      ok: false,
      reason: `${otherDigest.reason}; 1 more were not looked at`,
    })
  })

  test('a payload or bundle over 1 MiB is not read', () => {
    const pad = (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.alloc(1024 * 1024, ' ')])
    const simple = simpleSigning(image, release)
    const payload = pad(simple.payload)
    const annotations = { 'dev.cosignproject.cosign/signature': release.sign(payload).toString('base64') }
    expect(verify({ ...simple, payload, annotations })).toEqual({
      ok: false,
      reason: 'the signed payload is over 1 MiB',
    })
    const bundle = bundleByKey(image, release)
    expect(verify({ ...bundle, json: pad(bundle.json) })).toEqual({ ok: false, reason: 'the bundle is over 1 MiB' })
  })

  test.each(['', '{', 'null', '[]', '"text"', '{"critical":null}', '{"mediaType":5}', '\u0000', '{"__proto__":{}}'])(
    'garbage is no signature and no crash: %j',
    (text) => {
      const bytes = Buffer.from(text)
      const simple: SignatureMaterial = { kind: 'simple-signing', foundIn: other, payload: bytes, annotations: {} }
      expect(verify(simple).ok).toBe(false)
      expect(verify({ kind: 'bundle', foundIn: other, json: bytes }).ok).toBe(false)
    },
  )

  test('text from outside reaches the reason in one short line', () => {
    const predicateType = `evil\n\u001b[31m${'x'.repeat(5000)}`
    const verdict = verify(bundleByKey(image, release, { predicateType }))
    expect(verdict).toMatchObject({ ok: false, reason: expect.stringMatching(/^an attestation \(evil \[31mx+…\) is/) })
    expect(JSON.stringify(verdict).length).toBeLessThan(250)
  })

  test('a private key in the policy trusts nobody', () => {
    const trust: Trust = { ...trustIn(release), keys: [{ name: 'keys/release.key', pem: release.privatePem }] }
    expect(verify(simpleSigning(image, release), trust)).toEqual({
      ok: false,
      reason: 'signed by a key, and the policy names no key that can be used',
    })
  })
})

describe('by identity', () => {
  let instance: Sigstore
  let trust: Trust

  beforeAll(async () => {
    instance = await sigstore()
    trust = trusting(instance.trustedRoot())
  })

  const trusting = (json: string, identities: Trust['identities'] = [identity]): Trust => ({
    keys: [],
    identities,
    trustedRoot: { name: 'keys/trusted_root.json', json },
  })

  const later = () => new Date(Date.now() + 60 * 60 * 1000)

  test.each<KeylessOptions>([{ version: '0.1' }, { version: '0.2' }, { version: '0.3' }, { proof: 'log v2' }])(
    'a bundle by the identity holds: %j',
    async (options) => {
      expect(verify(await instance.bundle(image, identity, options), trust)).toEqual(byIdentity)
    },
  )

  test('a classic signature with a certificate and a log entry holds', async () => {
    expect(verify(await instance.simpleSigning(image, identity), trust)).toEqual(byIdentity)
  })

  test('a timestamp is enough where the root names no log, and not enough where it does', async () => {
    const without = trusting(instance.trustedRoot(['certificateAuthorities', 'ctlogs', 'timestampAuthorities']))
    for (const material of [
      await instance.bundle(image, identity, { proof: 'timestamp authority' }),
      await instance.simpleSigning(image, identity, { proof: 'timestamp authority' }),
    ]) {
      expect(verify(material, without)).toEqual(byIdentity)
      expect(verify(material, trust)).toEqual({
        ok: false,
        reason: 'the certificate does not hold: expected 1 tlog entries, got 0',
      })
    }
  })

  test.each([
    ['longer at its end', { ...identity, subject: `${identity.subject}-evil` }],
    ['longer at its beginning', { ...identity, subject: `https://evil.example.com/?${identity.subject}` }],
    ['shorter', { ...identity, subject: identity.subject.slice(0, -1) }],
    [
      'alike but for a character that a pattern would take',
      { ...identity, subject: identity.subject.replace('.', 'x') },
    ],
    ['of another case', { ...identity, subject: identity.subject.toUpperCase() }],
    ['from another issuer', { ...identity, issuer: 'https://accounts.google.com' }],
    ['from an issuer with a longer name', { ...identity, issuer: `${identity.issuer}.evil.example.com` }],
  ])('an identity that is %s does not count, in either direction', async (_, near) => {
    const reason = `the certificate is for identity ${near.subject} (issuer ${near.issuer})`
    for (const material of [await instance.bundle(image, near), await instance.simpleSigning(image, near)])
      expect(verify(material, trust)).toEqual({ ok: false, reason })
    const wantsNear = trusting(instance.trustedRoot(), [near])
    expect(verify(await instance.bundle(image, identity), wantsNear)).toEqual({ ok: false, reason: unlike })
  })

  test('a pattern in the policy matches nothing but itself', async () => {
    for (const subject of ['.*', 'https://github.com/acme/.*', '', '*'])
      expect(
        verify(await instance.bundle(image, identity), trusting(instance.trustedRoot(), [{ ...identity, subject }])).ok,
      ).toBe(false)
  })

  test('issuer and subject of two different identities do not make a third', async () => {
    const [one, two] = [
      { ...identity, subject: 'https://example.com/other' },
      { ...identity, issuer: 'https://accounts.google.com' },
    ]
    const both = trusting(instance.trustedRoot(), [one, two])
    expect(verify(await instance.bundle(image, identity), both)).toEqual({ ok: false, reason: unlike })
  })

  test('a signature of another digest does not count, though the identity is right', async () => {
    expect(verify(await instance.bundle(other, identity), trust)).toEqual(otherDigest)
    expect(verify(await instance.simpleSigning(other, identity), trust)).toEqual(otherDigest)
  })

  test('an attestation by the right identity is not a signature', async () => {
    const material = await instance.bundle(image, identity, { predicateType: 'https://slsa.dev/provenance/v1' })
    expect(verify(material, trust)).toMatchObject({ ok: false, reason: expect.stringContaining('is not a signature') })
  })

  test('a statement or payload that was swapped below a good certificate does not count', async () => {
    const material = await instance.bundle(other, identity)
    const { payload } = JSON.parse(Buffer.from(bundleByKey(image, stranger).json).toString()).dsseEnvelope
    expect(verify(changed(material, ['dsseEnvelope', 'payload'], payload), trust)).toMatchObject({
      ok: false,
      reason: expect.stringContaining('payload hash mismatch'),
    })
    const swapped = {
      ...(await instance.simpleSigning(other, identity)),
      payload: simpleSigning(image, stranger).payload,
    }
    expect(verify(swapped, trust)).toEqual({ ok: false, reason: 'the certificate does not hold: digest mismatch' })
  })

  test('a signature that the certificate’s key did not make does not count, whatever the log says', async () => {
    const root = instance.trustedRoot(['certificateAuthorities', 'ctlogs', 'timestampAuthorities'])
    const stolen = await instance.bundle(image, identity, { proof: 'timestamp authority' })
    const own = await instance.bundle(
      image,
      { ...identity, subject: 'https://evil.example.com' },
      {
        proof: 'timestamp authority',
      },
    )
    const certificate = JSON.parse(Buffer.from(stolen.json).toString()).verificationMaterial.certificate
    expect(verify(changed(own, ['verificationMaterial', 'certificate'], certificate), trusting(root))).toEqual({
      ok: false,
      reason: 'the certificate does not hold: signature verification failed',
    })
  })

  test('a certificate without a proven signing time does not count', async () => {
    for (const parts of [undefined, ['certificateAuthorities', 'timestampAuthorities'] as const]) {
      const material = await instance.bundle(image, identity, { proof: 'nothing' })
      expect(verify(material, trusting(instance.trustedRoot(parts)))).toEqual({
        ok: false,
        reason: 'the certificate does not hold: expected 1 timestamps, got 0',
      })
    }
    expect(verify(await instance.simpleSigning(image, identity, { proof: 'nothing' }), trust).ok).toBe(false)
  })

  test('a time that only the bundle states proves nothing', async () => {
    const material = await instance.bundle(image, identity, { proof: 'log v2' })
    const untimed = changed(material, ['verificationMaterial', 'timestampVerificationData'], {})
    const stated = changed(
      untimed,
      ['verificationMaterial', 'tlogEntries', 0, 'integratedTime'],
      `${(Date.now() / 1000) | 0}`,
    )
    expect(verify(stated, trust)).toEqual({
      ok: false,
      reason: 'the certificate does not hold: expected 1 timestamps, got 0',
    })
  })

  test('a signature that the log saw after the certificate had expired does not count', async () => {
    const reason = 'the certificate does not hold: Failed to verify certificate chain'
    expect(verify(await instance.bundle(image, identity, { seenAt: later() }), trust)).toEqual({ ok: false, reason })
    expect(verify(await instance.simpleSigning(image, identity, { seenAt: later() }), trust).ok).toBe(false)
    const atAuthority = await instance.bundle(image, identity, { seenAt: later(), proof: 'log v2' })
    expect(verify(atAuthority, trust)).toEqual({ ok: false, reason })
  })

  test('a certificate of another Fulcio, and an entry of another log, do not count', async () => {
    const elsewhere = await sigstore()
    expect(verify(await elsewhere.bundle(image, identity), trust).ok).toBe(false)
    const { tlogs } = JSON.parse(elsewhere.trustedRoot()) as { tlogs: unknown }
    const otherLog = JSON.stringify({ ...(JSON.parse(instance.trustedRoot()) as object), tlogs })
    expect(verify(await instance.bundle(image, identity), trusting(otherLog)).ok).toBe(false)
  })

  test('a checkpoint whose signer’s name is a pattern is refused before it can hold the process', async () => {
    const material = await instance.bundle(image, identity)
    const path = ['verificationMaterial', 'tlogEntries', 0, 'inclusionProof', 'checkpoint', 'envelope']
    const envelope = JSON.parse(Buffer.from(material.json).toString()).verificationMaterial.tlogEntries[0]
      .inclusionProof.checkpoint.envelope as string
    const evil = changed(material, path, envelope.replace('\u2014 rekor.example.com', '\u2014 (.|.|.)*X'))
    expect(verify(evil, trust)).toMatchObject({ ok: false, reason: expect.stringContaining('malformed name') })
  })

  test('a signature by a trusted key counts, whatever certificate or broken log entry stands beside it', async () => {
    const { annotations } = await instance.simpleSigning(image, identity)
    const material = simpleSigning(image, release)
    const beside = { ...annotations, ...material.annotations, 'dev.sigstore.cosign/bundle': '{' }
    expect(verify({ ...material, annotations: beside }).ok).toBe(true)
  })

  test('what is missing in the policy is named', async () => {
    const material = await instance.bundle(image, identity)
    expect(verify(material)).toEqual({
      ok: false,
      reason: 'signed with a certificate, and the policy names keys only',
    })
    expect(verify(material, { ...trust, trustedRoot: undefined })).toEqual({
      ok: false,
      reason: 'no trusted root, so certificates cannot be checked',
    })
    expect(verify(material, trusting('{}'))).toEqual({
      ok: false,
      reason:
        'certificates cannot be checked: keys/trusted_root.json is no Sigstore trusted root: it names no certificate authority',
    })
    expect(verify(bundleByKey(image, release), trust)).toEqual({
      ok: false,
      reason: 'signed by a key, and the policy names no key that can be used',
    })
  })

  describe('with certificates that Fulcio does not issue', () => {
    const email = { issuer: 'https://accounts.google.com', subject: 'release@acme.example.com' }

    async function judged(content: Partial<CertificateContent>, identities: Trust['identities'] = [email]) {
      const certify = instance.authority.certify({
        issuer: email.issuer,
        names: [{ type: 'email', value: email.subject }],
        ...content,
      })
      const root = instance.trustedRoot(['certificateAuthorities', 'tlogs'])
      return verify(await instance.bundle(image, email, { certify }), trusting(root, identities))
    }

    test('an address counts, with the issuer in either of Fulcio’s extensions', async () => {
      const by = 'identity release@acme.example.com (issuer https://accounts.google.com)'
      expect(await judged({})).toEqual({ ok: true, by })
      expect(await judged({ issuerExtension: 1 })).toEqual({ ok: true, by })
      for (const issuer of ['https://accounts.google.com.evil', 'https://accounts.google'])
        expect((await judged({ issuerExtension: 1, issuer })).ok).toBe(false)
      expect(await judged({ issuerExtension: 8, issuer: 'https://accounts.google.com.evil' })).toMatchObject({
        ok: false,
      })
    })

    test('a name that is longer than 127 bytes counts', async () => {
      for (const length of [120, 127, 128, 255, 256, 300]) {
        const subject = `https://example.com/${'x'.repeat(length)}`
        const names = [{ type: 'uri', value: subject }] as const
        expect((await judged({ names }, [{ ...email, subject }])).ok).toBe(true)
      }
    })

    test('a second name beside the wanted one does not count', async () => {
      const wanted = { type: 'email', value: email.subject } as const
      const evil = { type: 'email', value: 'evil@example.com' } as const
      expect((await judged({ names: [wanted, evil] })).ok).toBe(false)
      expect((await judged({ names: [evil, wanted] })).ok).toBe(false)
      expect((await judged({ names: [] })).ok).toBe(false)
    })

    test('a name that is the wanted one only as ASCII does not count', async () => {
      const value = Buffer.from(email.subject)
      value.writeUInt8(value.readUInt8(0) | 0x80, 0)
      expect(await judged({ names: [{ type: 'email', value }] })).toMatchObject({
        ok: false,
        reason: expect.stringContaining('the certificate is for identity'),
      })
    })

    test('a certificate for servers does not count', async () => {
      expect(await judged({ usage: 'server' })).toEqual({
        ok: false,
        reason: 'the certificate is not one for code signing',
      })
    })

    test('where the root names certificate logs, a certificate in none of them does not count', async () => {
      const certify = instance.authority.certify({
        issuer: email.issuer,
        names: [{ type: 'email', value: email.subject }],
      })
      const material = await instance.bundle(image, email, { certify })
      expect(verify(material, trusting(instance.trustedRoot(), [email]))).toEqual({
        ok: false,
        reason: 'the certificate does not hold: expected 1 SCTs, got 0',
      })
    })
  })
})

describe('what a policy trusts', () => {
  const withKey = (pem: string): Trust => ({ ...trustIn(release), keys: [{ name: 'keys/it', pem }] })

  test('keys and a root that can be used are no problem', async () => {
    const json = (await sigstore()).trustedRoot()
    const keys = (['P-256', 'P-384', 'P-521', 'RSA', 'Ed25519'] as const).flatMap((kind) => trustIn(keyPair(kind)).keys)
    expect(checkTrust({ keys, identities: [identity], trustedRoot: { name: 'root', json } })).toEqual([])
  })

  test.each([
    ['a private key', release.privatePem, /^keys\/it is a private key: remove it/],
    ['an encrypted private key of cosign', pemOf('ENCRYPTED SIGSTORE PRIVATE KEY'), /^keys\/it is a private key/],
    ['a private key behind a public one', release.publicPem + release.privatePem, /^keys\/it is a private key/],
    ['two keys', release.publicPem + stranger.publicPem, /^keys\/it is not one public key/],
    ['a certificate', pemOf('CERTIFICATE'), /^keys\/it is not one public key/],
    ['nothing', '', /^keys\/it is not one public key/],
    ['a broken key', pemOf('PUBLIC KEY'), /^keys\/it is not a public key that can be read/],
    ['a short RSA key', keyPair('RSA-1024').publicPem, /RSA key of 1024 bits/],
    ['a key on another curve', keyPair('secp256k1').publicPem, /is a key of type secp256k1/],
  ])('%s is refused with the name of its file and none of its content', (_, pem, message) => {
    const problems = checkTrust(withKey(pem))
    expect(problems).toEqual([expect.stringMatching(message)])
    expect(problems[0]).not.toContain(pem.split('\n')[1] || 'BEGIN PRIVATE')
  })

  test('a signature by a short key does not count', () => {
    const short = keyPair('RSA-1024')
    expect(verify(simpleSigning(image, short), trustIn(short)).ok).toBe(false)
  })

  test.each([
    ['text', /is no Sigstore trusted root: SyntaxError/],
    ['null', /is no Sigstore trusted root/],
    ['{}', /it names no certificate authority/],
    ['{"certificateAuthorities":[{}],"tlogs":[{}]}', /is no Sigstore trusted root: TypeError/],
    [`"${'x'.repeat(1024 * 1024)}"`, /is larger than 1 MiB/],
  ])('a trusted root that is none is refused (%#)', (json, message) => {
    const trust: Trust = { keys: [], identities: [identity], trustedRoot: { name: 'keys/trusted_root.json', json } }
    expect(checkTrust(trust)).toEqual([expect.stringMatching(message)])
    expect(checkTrust(trust)[0]).toMatch(/^keys\/trusted_root.json /)
  })

  test('a root that can prove no signing time is refused', async () => {
    const json = (await sigstore()).trustedRoot(['certificateAuthorities', 'ctlogs'])
    const trust: Trust = { keys: [], identities: [identity], trustedRoot: { name: 'root', json } }
    expect(checkTrust(trust)).toEqual([expect.stringContaining('no signing time can be proven')])
  })

  test('identities without a trusted root are a problem', () => {
    expect(checkTrust({ keys: [], identities: [identity], trustedRoot: undefined })).toEqual([
      'identities need a trusted root, because certificates cannot be checked without one',
    ])
  })
})

function pemOf(label: string): string {
  return `-----BEGIN ${label}-----\n${Buffer.from('no key at all').toString('base64')}\n-----END ${label}-----\n`
}
