import { mkdir, readdir, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { checkPush } from '../../src/git/check.ts'
import { presentation } from '../../src/git/credentials.ts'
import { remoteBranch } from '../../src/git/remote.ts'
import { keyTrouble, sshCommand, withSshFolder } from '../../src/git/ssh.ts'
import { Secret, type ReadSecret } from '../../src/model/secret.ts'
import { describeWithSshd, sshKey, Sshd } from '../support/sshd.ts'
import { Scene, append, current, failureFrom, never, readFrom, texts } from './support.ts'

const auth = { type: 'ssh', secret: 'git' } as const
const leftBehind = async () => (await readdir(tmpdir())).filter((name) => name.startsWith('preheatd-ssh-'))

describe('an ssh key', () => {
  test.each([
    ['with a passphrase', async () => (await sshKey('ed25519', 'hunter2')).identity, /has a passphrase/],
    ['that is the public half', async () => (await sshKey()).line, /is the public key/],
    ['that is no key', () => 'hello', /is no private key/],
    ['in PEM with a passphrase', () => pem('RSA PRIVATE KEY', 'Proc-Type: 4,ENCRYPTED\n\nAAAA'), /has a passphrase/],
    ['in encrypted PKCS #8', () => pem('ENCRYPTED PRIVATE KEY', 'AAAA'), /has a passphrase/],
  ])('%s is refused before anybody is asked', async (_, identity, message) => {
    await using scene = await Scene.open()
    const read = readFrom({ identity: await identity(), known_hosts: 'host ssh-ed25519 AAAA' })

    const error = await failureFrom(scene.source({ url: 'ssh://git@127.0.0.1:9/r.git', auth, read }).observe(never))

    expect(error).toMatchObject({
      state: 'AuthenticationFailed',
      code: 'PH4001',
      message: expect.stringMatching(message),
    })
    expect(error.message).toContain('secret git/identity')
  })

  test('without a passphrase is taken, with any line ends', async () => {
    const { identity } = await sshKey()

    expect([identity, identity.replaceAll('\n', '\r\n'), identity.trimEnd()].map(keyTrouble)).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })

  test('is in a folder of its own for one operation, readable by nobody else', async () => {
    const before = await leftBehind()
    const mode = async (path: string) => ((await stat(path)).mode & 0o777).toString(8)

    const seen = await withSshFolder(new Secret('key'), new Secret('hosts'), async (folder) => ({
      modes: [await mode(folder), await mode(join(folder, 'identity')), await mode(join(folder, 'known_hosts'))],
      isInTemp: dirname(folder) === tmpdir(),
    }))

    expect(seen).toEqual({ modes: ['700', '600', '600'], isInTemp: true })
    await expect(
      withSshFolder(new Secret('k'), new Secret('h'), () => Promise.reject(new Error('no'))),
    ).rejects.toThrow('no')
    expect(await leftBehind()).toEqual(before)
  })

  test('that a killed process left is removed an hour later', async () => {
    const folder = join(tmpdir(), `preheatd-ssh-test${process.pid}`)
    await mkdir(folder)
    await writeFile(join(folder, 'identity'), 'key')
    const old = Date.now() / 1000 - 3_700
    await utimes(folder, old, old)

    await withSshFolder(new Secret('k'), new Secret('h'), () => Promise.resolve())

    expect(await leftBehind()).not.toContain(`preheatd-ssh-test${process.pid}`)
  })

  test('reaches git by the environment of one process, and no option of ssh is left to its defaults that matters', () => {
    const shown = presentation({ type: 'ssh', folder: '/tmp/preheatd-ssh-x' }, new URL('ssh://git@h/r.git'))

    expect(shown).toMatchObject({ flags: [], config: [] })
    expect(shown.env['GIT_SSH_COMMAND']).toBe(sshCommand('/tmp/preheatd-ssh-x'))
    expect(sshCommand('/tmp/preheatd-ssh-x')).toMatch(
      /^ssh -F \/dev\/null -i \/tmp\/preheatd-ssh-x\/identity (?:-o [A-Za-z]+=[\w./-]+ ?)+$/,
    )
    for (const option of ['IdentitiesOnly=yes', 'StrictHostKeyChecking=yes', 'BatchMode=yes', 'IdentityAgent=none'])
      expect(sshCommand('/f')).toContain(`-o ${option}`)
  })
})

describe('an ssh address', () => {
  test.each([
    ['ssh://git@Example.com/r.git', 'ssh://git@example.com/r.git', 'example.com'],
    ['ssh://git@example.com:2222/r.git', 'ssh://git@example.com:2222/r.git', 'example.com:2222'],
    ['ssh://[::1]:22/r.git', 'ssh://[::1]:22/r.git', '[::1]:22'],
    ['git@Example.com:team/r.git', 'git@Example.com:team/r.git', 'example.com'],
  ])('%s is given to git as %s, and its secret is bound to %s', (text, address, host) => {
    const remote = remoteBranch(text, 'main')

    expect([remote.address, remote.url.host]).toEqual([address, host])
  })

  test('wants a key, and a key wants an ssh address', async () => {
    await using scene = await Scene.open()

    const none = await failureFrom(scene.source({ url: 'git@127.0.0.1:r.git' }).observe(never))
    const key = await failureFrom(scene.source({ auth, read: readFrom({}) }).observe(never))

    expect(none.message).toContain('an ssh address needs auth.type ssh')
    expect(key.message).toContain('auth.type ssh is for ssh addresses')
  })
})

describeWithSshd('git over a real sshd', () => {
  let key: Awaited<ReturnType<typeof sshKey>>
  let other: Awaited<ReturnType<typeof sshKey>>
  beforeAll(async () => {
    ;[key, other] = await Promise.all([sshKey(), sshKey()])
  })

  const open = async () => {
    const sshd = await Sshd.start(key.line)
    const scene = await Scene.open()
    const commit = await scene.repository.commit({ 'a.yaml': 'a' })
    const values: Record<string, string> = { identity: key.identity, known_hosts: sshd.knownHosts }
    const read: ReadSecret = (secret, name, to) => readFrom(values)(secret, name, to)
    return {
      sshd,
      scene,
      commit,
      values,
      via: { url: sshd.url(scene.repository.dir), auth, read },
      async [Symbol.asyncDispose]() {
        await scene[Symbol.asyncDispose]()
        await sshd[Symbol.asyncDispose]()
      },
    }
  }

  test('reads a branch, pushes reports, and leaves no key behind', async () => {
    await using site = await open()
    const { scene, commit, via } = site
    const before = await leftBehind()

    const tree = await current(scene.source(via))
    await scene
      .publisher({ ...via, dir: join(scene.root, 'reports') })
      .publish([append('x.yaml', 'one')], 'Report', never)

    expect(tree.config.commit).toBe(commit)
    expect(await texts(tree)).toEqual({ 'a.yaml': 'a' })
    expect(await scene.repository.files('preheat-reports')).toEqual({ 'x.yaml': 'one\n' })
    expect(await checkPush({ ...via, branch: 'preheat-reports', dir: join(scene.root, 'check') }, never)).toBe(true)
    expect(await leftBehind()).toEqual(before)
  })

  test('a host that known_hosts does not have is not spoken to', async () => {
    await using site = await open()
    site.values['known_hosts'] = `example.com ${other.line}`

    const error = await failureFrom(site.scene.source(site.via).observe(never))

    expect(error).toMatchObject({ state: 'AuthenticationFailed', code: 'PH4008' })
    expect(error.message).toContain('known_hosts has no key of this host')
    expect(error.message).toContain(`No ED25519 host key is known for [127.0.0.1]:${site.sshd.port}`)
  })

  test('a host whose key has changed is not spoken to, and its new fingerprint is said [G2]', async () => {
    await using site = await open()
    const source = site.scene.source(site.via)
    await source.observe(never)
    await site.sshd.changeHostKey()

    const error = await failureFrom(source.observe(never))

    expect(error).toMatchObject({ state: 'AuthenticationFailed', code: 'PH4008' })
    expect(error.message).toContain('the host shows another key than known_hosts has for it')
    expect(error.message).toMatch(/SHA256:[A-Za-z0-9+/]{43}/)

    // The operator looked, and put the new one there: no restart.
    site.values['known_hosts'] = site.sshd.knownHosts
    expect(await source.observe(never)).toBe(site.commit)
  })

  test('a key that the host does not accept is said to be that', async () => {
    await using site = await open()
    site.values['identity'] = other.identity

    const error = await failureFrom(site.scene.source(site.via).observe(never))

    expect(error).toMatchObject({ state: 'AuthenticationFailed', code: 'PH4001' })
    expect(error.message).toContain('the remote does not accept the ssh key')
    expect(error.message).toContain('Permission denied (publickey)')
  })

  test('a damaged key is said to be that', async () => {
    await using site = await open()
    const lines = key.identity.split('\n')
    site.values['identity'] = [lines[0], lines[1], lines.at(-2), ''].join('\n')

    const error = await failureFrom(site.scene.source(site.via).observe(never))

    expect(error).toMatchObject({ state: 'AuthenticationFailed', code: 'PH4001' })
    expect(error.message).toContain('ssh cannot read the key')
  })

  test('a repository that is not there, and a host that is down', async () => {
    await using site = await open()
    const gone = await failureFrom(site.scene.source({ ...site.via, url: site.sshd.url('/gone.git') }).observe(never))
    await site.sshd[Symbol.asyncDispose]()

    expect(gone).toMatchObject({ state: 'Unreachable', code: 'PH4003' })
    expect(await failureFrom(site.scene.source(site.via).observe(never))).toMatchObject({
      state: 'Unreachable',
      code: 'PH4003',
      message: expect.stringContaining('Connection refused'),
    })
  })
})

function pem(label: string, body: string): string {
  return `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`
}
