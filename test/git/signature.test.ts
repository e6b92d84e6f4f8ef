import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { SourceRef } from '../../src/model/source-ref.ts'
import { git, gitBinary, logGit } from '../support/repository.ts'
import { describeWithGpg, gpgSigner, sshSigner } from '../support/signer.ts'
import { Scene, current, failureFrom, texts } from './support.ts'

const trusting = (files: Readonly<Record<string, string>>) => () =>
  Promise.resolve({ secret: 'git-keys', files: new Map(Object.entries(files)) })

const leftBehind = async () => (await readdir(tmpdir())).filter((name) => name.startsWith('preheatd-signers-'))

describe('a commit that must be signed', () => {
  test('by an ssh key that allowed_signers names is read, and its keys are gone from the disk', async () => {
    await using scene = await Scene.open()
    const ada = await sshSigner(scene.root)
    await scene.repository.commit({ 'a.yaml': 'a' }, { signer: ada })
    const before = await leftBehind()

    const tree = await current(scene.source({ signers: trusting({ allowed_signers: ada.trust }) }))

    expect(await texts(tree)).toEqual({ 'a.yaml': 'a' })
    expect(await leftBehind()).toEqual(before)
  })

  test('and is not, or by a key that nobody named, is refused, and the message says whose it is', async () => {
    await using scene = await Scene.open()
    const [ada, eve] = [await sshSigner(scene.root), await sshSigner(scene.root)]
    const source = scene.source({ signers: trusting({ allowed_signers: ada.trust }) })

    const plain = (await scene.repository.commit({ 'a.yaml': 'a' })).slice(0, 12)
    const unsigned = await failureFrom(current(source))
    const strange = (await scene.repository.commit({ 'a.yaml': 'b' }, { signer: eve })).slice(0, 12)
    const stranger = await failureFrom(current(source))

    expect(unsigned).toMatchObject({ state: 'VerificationFailed', code: 'PH4010' })
    expect(unsigned.message).toBe(
      `branch main is not trusted: commit ${plain} of Ada Lovelace <ada@example.com> is not signed`,
    )
    expect(stranger).toMatchObject({ state: 'VerificationFailed', code: 'PH4010' })
    expect(stranger.message).toBe(
      `branch main is not trusted: commit ${strange} is signed with the ED25519 key ${eve.fingerprint}, which allowed_signers has for nobody at that time`,
    )
  })

  test('is read once its signer is trusted: the keys are read anew at each look', async () => {
    await using scene = await Scene.open()
    const [ada, eve] = [await sshSigner(scene.root), await sshSigner(scene.root)]
    await scene.repository.commit({ 'a.yaml': 'a' }, { signer: eve })
    let lines = ada.trust
    const source = scene.source({ signers: () => trusting({ allowed_signers: lines })() })
    await failureFrom(current(source))

    lines += eve.trust

    expect(await texts(await current(source))).toEqual({ 'a.yaml': 'a' })
  })

  test('with a signature of another commit is refused', async () => {
    await using scene = await Scene.open()
    const ada = await sshSigner(scene.root)
    const signed = await scene.repository.commit({ 'a.yaml': 'a' }, { signer: ada, message: 'meant' })
    const forged = (await git(scene.repository.dir, 'cat-file', 'commit', signed)).replace(/meant\s*$/, 'forged')
    await writeFile(join(scene.root, 'forged'), forged)
    const stored = await git(scene.repository.dir, 'hash-object', '-w', '-t', 'commit', join(scene.root, 'forged'))
    await git(scene.repository.dir, 'update-ref', 'refs/heads/main', stored.trim())

    const error = await failureFrom(current(scene.source({ signers: trusting({ allowed_signers: ada.trust }) })))

    expect(error.message).toMatch(/: commit \w{12} has a signature that is not one of its content$/)
  })

  test('for another purpose, or for a time that is over, is refused', async () => {
    await using scene = await Scene.open()
    const ada = await sshSigner(scene.root)
    const only = (options: string) => ({ allowed_signers: ada.trust.replace(' ', ` ${options} `) })
    await scene.repository.commit({ 'a.yaml': 'a' }, { signer: ada })

    const purpose = await failureFrom(current(scene.source({ signers: trusting(only('namespaces="file"')) })))
    const time = await failureFrom(current(scene.source({ signers: trusting(only('valid-before="20200101"')) })))

    expect([purpose.code, time.code]).toEqual(['PH4010', 'PH4010'])
    expect(await texts(await current(scene.source({ signers: trusting(only('namespaces="git"')) })))).toEqual({
      'a.yaml': 'a',
    })
  })

  test.each([
    ['SIGNED MESSAGE', 'is signed neither with an ssh key nor with OpenPGP'],
    ['SSH SIGNATURE', 'is signed with an ssh key, and secret git-keys has no allowed_signers'],
    ['PGP SIGNATURE', 'is signed with OpenPGP, and secret git-keys has no .asc file'],
  ])('with a %s and no key for it is refused, and nothing is started', async (armor, message) => {
    await using scene = await Scene.open()
    const plain = await scene.repository.commit({ 'a.yaml': 'a' })
    const text = (await git(scene.repository.dir, 'cat-file', 'commit', plain)).replace(
      '\n\n',
      `\ngpgsig -----BEGIN ${armor}-----\n \n AAAA\n -----END ${armor}-----\n\n`,
    )
    await writeFile(join(scene.root, 'commit'), text)
    const stored = await git(scene.repository.dir, 'hash-object', '-w', '-t', 'commit', join(scene.root, 'commit'))
    await git(scene.repository.dir, 'update-ref', 'refs/heads/main', stored.trim())
    await using log = await logGit()

    const error = await failureFrom(current(scene.source({ signers: trusting({}) })))

    expect(error.message).toContain(message)
    expect((await log.starts()).filter((args) => args.some((arg) => arg.startsWith('verify-')))).toEqual([])
  })

  test('is verified before its folder is looked for, and no key is in an argument', async () => {
    await using scene = await Scene.open()
    const [ada, eve] = [await sshSigner(scene.root), await sshSigner(scene.root)]
    await scene.repository.commit({ 'a.yaml': 'a' }, { signer: eve })
    await using log = await logGit()

    const error = await failureFrom(
      current(scene.source({ path: 'gone', signers: trusting({ allowed_signers: ada.trust }) })),
    )

    expect(error.code).toBe('PH4010')
    expect((await log.starts()).flat().join(' ')).not.toContain('AAAA')
  })

  test('is not helped by what the repository, the user or the mirror configures', async () => {
    await using scene = await Scene.open()
    const [ada, eve] = [await sshSigner(scene.root), await sshSigner(scene.root)]
    await scene.repository.commit({ '.gitconfig': 'x', allowed_signers: eve.trust }, { signer: eve })
    const source = scene.source({ signers: trusting({ allowed_signers: ada.trust }) })
    await failureFrom(current(source))
    await writeFile(join(scene.root, 'eve'), eve.trust)
    await git(scene.mirror, 'config', 'gpg.ssh.allowedSignersFile', join(scene.root, 'eve'))
    await git(scene.mirror, 'config', 'gpg.ssh.program', 'true')

    expect((await failureFrom(current(source))).code).toBe('PH4010')
  })

  test('without ssh-keygen is refused with what to install', async () => {
    await using scene = await Scene.open()
    const ada = await sshSigner(scene.root)
    await scene.repository.commit({ 'a.yaml': 'a' }, { signer: ada })
    const source = scene.source({ signers: trusting({ allowed_signers: ada.trust }) })

    const error = await withOnlyGit(scene.root, () => failureFrom(current(source)))

    expect(error).toMatchObject({
      state: 'Invalid',
      code: 'PH4006',
      message: expect.stringContaining('openssh-client'),
    })
  })
})

describe('a tag that is followed', () => {
  const follow = (ref: SourceRef, trust: string) => ({ ref, signers: trusting({ allowed_signers: trust }) })

  test.each<[string, SourceRef]>([
    ['by its name', { type: 'tag', name: 'v1.0.0' }],
    ['as the highest version', { type: 'semver', range: '1.x' }],
  ])('%s vouches for its commit by its own signature', async (_, ref) => {
    await using scene = await Scene.open()
    const ada = await sshSigner(scene.root)
    const commit = await scene.repository.commit({ 'a.yaml': 'a' })
    await scene.repository.tag('v1.0.0', commit, ada)

    expect(await texts(await current(scene.source(follow(ref, ada.trust))))).toEqual({ 'a.yaml': 'a' })
  })

  test('without a signature is as good as its commit', async () => {
    await using scene = await Scene.open()
    const ada = await sshSigner(scene.root)
    const ref: SourceRef = { type: 'tag', name: 'v1' }
    await scene.repository.tag('v1', await scene.repository.commit({ 'a.yaml': 'a' }, { signer: ada }))
    expect(await texts(await current(scene.source(follow(ref, ada.trust))))).toEqual({ 'a.yaml': 'a' })

    await scene.repository.tag('v1', await scene.repository.commit({ 'a.yaml': 'b' }))
    const error = await failureFrom(current(scene.source(follow(ref, ada.trust))))

    expect(error.message).toMatch(
      /^tag v1 is not trusted: tag \w{12} of Ada Lovelace <ada@example.com> is not signed; commit \w{12} of Ada .* is not signed$/,
    )
  })

  test('with the signed object of another tag is refused: nobody turns an old release into a new one', async () => {
    await using scene = await Scene.open()
    const ada = await sshSigner(scene.root)
    const { repository } = scene
    await repository.tag('v1.0.0', await repository.commit({ 'a.yaml': 'old' }), ada)
    const object = (await repository.revision('refs/tags/v1.0.0'))!
    await git(repository.dir, 'update-ref', 'refs/tags/v1.9.0', object)

    const error = await failureFrom(current(scene.source(follow({ type: 'semver', range: '1.x' }, ada.trust))))

    expect(error.message).toContain(`tag ${object.slice(0, 12)} is the one of v1.0.0`)
  })

  test('is fetched again by a daemon that began anew, since nobody remembers as which one it came', async () => {
    await using scene = await Scene.open()
    const ada = await sshSigner(scene.root)
    await scene.repository.tag('v1.0.0', await scene.repository.commit({ 'a.yaml': 'a' }), ada)
    const options = follow({ type: 'semver', range: '1.x' }, ada.trust)
    await current(scene.source(options))

    expect(await texts(await current(scene.source(options)))).toEqual({ 'a.yaml': 'a' })
  })
})

describeWithGpg('a commit signed with OpenPGP', () => {
  test('by a key of an .asc file is read, however many files and keys there are', async () => {
    await using scene = await Scene.open()
    await using ada = await gpgSigner(scene.root)
    await using bob = await gpgSigner(scene.root)
    await scene.repository.commit({ 'a.yaml': 'a' }, { signer: ada })
    const files = [
      { 'bob.asc': bob.trust, 'ada.asc': ada.trust },
      { 'team.asc': `Our team:\n${bob.trust}\n${ada.trust.replaceAll('\n', '\r\n')}`, allowed_signers: '' },
    ]

    for (const one of files)
      expect(await texts(await current(scene.source({ signers: trusting(one) })))).toEqual({ 'a.yaml': 'a' })
  })

  test('by another one is refused by the name of its key', async () => {
    await using scene = await Scene.open()
    await using ada = await gpgSigner(scene.root)
    await using eve = await gpgSigner(scene.root)
    await scene.repository.commit({ 'a.yaml': 'a' }, { signer: eve })

    const error = await failureFrom(current(scene.source({ signers: trusting({ 'ada.asc': ada.trust }) })))

    expect(error).toMatchObject({ state: 'VerificationFailed', code: 'PH4010' })
    expect(error.message).toContain(`is signed with OpenPGP key ${eve.fingerprint}, which no .asc file holds`)
  })

  test('by a key that has expired, or was revoked, is refused', async () => {
    await using scene = await Scene.open()
    const lastYear = Math.floor(Date.now() / 1000) - 365 * 86_400
    await using old = await gpgSigner(scene.root, { at: lastYear, validFor: 'seconds=86400' })
    await using ada = await gpgSigner(scene.root)
    const { repository } = scene
    await repository.commit({ 'a.yaml': 'a' }, { signer: old })
    const expired = await failureFrom(current(scene.source({ signers: trusting({ 'old.asc': old.trust }) })))
    await repository.commit({ 'a.yaml': 'b' }, { signer: ada })
    const revoked = await failureFrom(current(scene.source({ signers: trusting({ 'a.asc': await ada.revoked() }) })))

    expect(expired.message).toMatch(/is signed by Ada Lovelace .* with a key that has expired$/)
    expect(revoked.message).toContain(
      `is signed by Ada Lovelace <ada@example.com> (OpenPGP key ${ada.fingerprint.slice(-16)}), with a key that was revoked`,
    )
  })

  test('whose content was changed afterwards is refused', async () => {
    await using scene = await Scene.open()
    await using ada = await gpgSigner(scene.root)
    const signed = await scene.repository.commit({ 'a.yaml': 'a' }, { signer: ada, message: 'meant' })
    const forged = (await git(scene.repository.dir, 'cat-file', 'commit', signed)).replace(/meant\s*$/, 'forged')
    await writeFile(join(scene.root, 'forged'), forged)
    const stored = await git(scene.repository.dir, 'hash-object', '-w', '-t', 'commit', join(scene.root, 'forged'))
    await git(scene.repository.dir, 'update-ref', 'refs/heads/main', stored.trim())

    const error = await failureFrom(current(scene.source({ signers: trusting({ 'ada.asc': ada.trust }) })))

    expect(error.message).toMatch(/is signed by Ada Lovelace .*, but the content is another one$/)
  })

  test('is refused without gpg, with what to install', async () => {
    await using scene = await Scene.open()
    await using ada = await gpgSigner(scene.root)
    await scene.repository.commit({ 'a.yaml': 'a' }, { signer: ada })
    const source = scene.source({ signers: trusting({ 'ada.asc': ada.trust }) })

    const error = await withOnlyGit(scene.root, () => failureFrom(current(source)))

    expect(error).toMatchObject({ state: 'Invalid', code: 'PH4006', message: expect.stringContaining('install gnupg') })
  })

  test.each([
    ['a private key', '-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQ==\n-----END PGP PRIVATE KEY BLOCK-----\n'],
    [
      'a private key that calls itself public',
      '-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nlQ==\n-----END PGP PUBLIC KEY BLOCK-----\n',
    ],
    ['no key', 'hello\n'],
  ])('is not verified by a file with %s', async (_, text) => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' })

    const error = await failureFrom(current(scene.source({ signers: trusting({ 'ada.asc': text }) })))

    expect(error).toMatchObject({ state: 'VerificationFailed', code: 'PH7001' })
    expect(error.message).toContain('secret git-keys/ada.asc is no public OpenPGP key')
  })
})

/** While there is nothing but git in this process's PATH. */
async function withOnlyGit<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const bin = join(folder, 'only-git')
  const before = process.env['PATH']
  await mkdir(bin)
  await symlink(await gitBinary(), join(bin, 'git'))
  process.env['PATH'] = bin
  try {
    return await work()
  } finally {
    process.env['PATH'] = before
  }
}
