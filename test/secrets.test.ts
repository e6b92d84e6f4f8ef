import { mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { execFileSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { temporaryFolder } from './support/repository.ts'
import type { SecretKey } from '../src/model/secret.ts'
import { openSecrets, type Binding } from '../src/secrets.ts'

const harbor = new URL('https://harbor.example.com/v2/')
let root: string
let dir: string

beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'preheatd-secrets-')))
  dir = join(root, 'secrets')
  await mkdir(join(dir, 'robot'), { recursive: true })
})
afterEach(async () => {
  await rm(root, { recursive: true })
})

const put = (path: string, text: string | Buffer) => writeFile(join(dir, path), text)
const bound = (binding: Partial<Binding> = {}, env: Record<string, string | undefined> = {}) =>
  openSecrets({ dir, bindings: new Map([['robot', { hosts: ['harbor.example.com'], env: {}, ...binding }]]) }, env)
const reveal = async (secrets = bound(), key: SecretKey = 'token', destination = harbor) =>
  (await secrets.read('robot', key, destination)).reveal()

describe('where a secret is read', () => {
  it('a file a key in a folder a secret, without the one line break that an editor leaves', async () => {
    await put('robot/token', 'a-token\n')
    await put('robot/password', ' päss word\r\n')
    expect(await reveal()).toBe('a-token')
    expect(await reveal(bound(), 'password')).toBe(' päss word')
  })

  it('a rotated secret is used at the next read', async () => {
    const secrets = bound()
    await put('robot/token', 'before')
    expect(await reveal(secrets)).toBe('before')
    await put('robot/token', 'after')
    expect(await reveal(secrets)).toBe('after')
  })

  it('as Kubernetes mounts it, through its swapped links', async () => {
    await mkdir(join(dir, 'robot/..2026_11_21'))
    await mkdir(join(dir, 'robot/..2026_11_22'))
    await put('robot/..2026_11_21/token', 'before')
    await put('robot/..2026_11_22/token', 'after')
    await symlink('..2026_11_21', join(dir, 'robot/..data'))
    await symlink('..data/token', join(dir, 'robot/token'))
    const secrets = bound()
    expect(await reveal(secrets)).toBe('before')
    await symlink('..2026_11_22', join(dir, 'robot/..data_tmp'))
    await rename(join(dir, 'robot/..data_tmp'), join(dir, 'robot/..data'))
    expect(await reveal(secrets)).toBe('after')
  })

  it('a key that is bound to a variable comes from there, at each read, and never from the folder', async () => {
    await put('robot/token', 'in the folder')
    const env: Record<string, string | undefined> = { ROBOT_TOKEN: 'from the environment' }
    const secrets = bound({ env: { token: 'ROBOT_TOKEN' } }, env)
    expect(await reveal(secrets)).toBe('from the environment')
    env['ROBOT_TOKEN'] = undefined
    await expect(reveal(secrets)).rejects.toMatchObject({
      code: 'PH7001',
      message: 'environment variable ROBOT_TOKEN for robot/token is not set',
    })
  })

  it('a secret that is not there is named by its file', async () => {
    const message = `secret robot/token: cannot read ${join(dir, 'robot/token')} (no such file)`
    await expect(reveal()).rejects.toMatchObject({ name: 'OperatorError', code: 'PH7001', message })
  })

  it('without a folder the environment is all there is', async () => {
    const secrets = openSecrets(
      { dir: undefined, bindings: new Map([['robot', { hosts: ['harbor.example.com'], env: {} }]]) },
      {},
    )
    await expect(reveal(secrets)).rejects.toMatchObject({
      code: 'PH7001',
      message: 'secret robot/token: secrets.dir is not set',
    })
  })

  it.each<[string, string | Buffer, RegExp]>([
    ['empty', '', /is empty$/],
    ['an empty line', '\n', /is empty$/],
    ['two lines', 'canary\nX-Injected: 1', /holds a line break or a control character$/],
    ['two line breaks at the end', 'canary\n\n', /holds a line break or a control character$/],
    ['a NUL', 'canary\0', /holds a line break or a control character$/],
    ['not UTF-8', Buffer.from('canary\xff', 'latin1'), /is not UTF-8$/],
    ['too long', `canary${'x'.repeat(64 * 1024)}`, /is larger than 65536 bytes$/],
  ])('a value that is %s is refused, and is not in the message', async (_, text, message) => {
    await put('robot/token', text)
    const error: unknown = await reveal().catch((one: unknown) => one)
    expect(error).toMatchObject({ code: 'PH7001', message: expect.stringMatching(message) })
    expect(inspect(error)).not.toContain('canary')
  })
})

describe('what stays outside', () => {
  it.each([
    '../robot',
    '..',
    '.',
    '',
    'robot/../robot',
    '/etc',
    'ro bot',
    '-robot',
    'robot\n',
    '..data',
    'constructor',
  ])('the name %j reaches no file', async (name) => {
    await put('robot/token', 'canary')
    await put('token', 'canary')
    const secrets = openSecrets({ dir, bindings: new Map([['robot', { hosts: ['harbor.example.com'], env: {} }]]) }, {})
    await expect(secrets.read(name, 'token', harbor)).rejects.toThrow(/is no name of a secret|is not bound to/)
  })

  it('a key that is none of ours reaches no file', async () => {
    await put('key', 'canary')
    await expect(bound().read('robot', '../key' as SecretKey, harbor)).rejects.toMatchObject({ code: 'PH7001' })
  })

  it.each<[string, (outside: string) => Promise<unknown>]>([
    ['key', (outside) => symlink(join(outside, 'token'), join(dir, 'robot/token'))],
    [
      'folder',
      (outside) => rm(join(dir, 'robot'), { recursive: true }).then(() => symlink(outside, join(dir, 'robot'))),
    ],
    ['sibling with the same beginning', (outside) => symlink(join(outside, 'token'), join(dir, 'robot/token'))],
  ])('a link that leads out of the folder is refused: %s', async (what, link) => {
    const outside = what.startsWith('sibling') ? `${dir}-other` : join(root, 'outside')
    await mkdir(outside)
    await writeFile(join(outside, 'token'), 'canary')
    await link(outside)
    await expect(reveal()).rejects.toMatchObject({
      code: 'PH7001',
      message: expect.stringContaining(`leads out of ${dir}`),
    })
  })

  it('a pipe is not waited for', async () => {
    execFileSync('mkfifo', [join(dir, 'robot/token')])
    await expect(reveal()).rejects.toMatchObject({
      code: 'PH7001',
      message: expect.stringContaining('is not a regular file'),
    })
  })
})

describe('where a secret may be sent', () => {
  const goesTo = async (pattern: string, destination: string) => {
    await put('robot/token', 'canary')
    return reveal(bound({ hosts: [pattern] }), 'token', new URL(destination)).then(
      () => true,
      (error: unknown) => {
        expect(error).toMatchObject({ name: 'OperatorError', code: 'PH7002' })
        expect(inspect(error)).not.toContain('canary')
        return false
      },
    )
  }

  it.each([
    ['harbor.example.com', 'https://harbor.example.com/x'],
    ['harbor.example.com', 'https://harbor.example.com:8443/'],
    ['Harbor.Example.COM', 'https://harbor.example.com/'],
    ['harbor.example.com:443', 'https://harbor.example.com/'],
    ['harbor.example.com:80', 'http://harbor.example.com/'],
    ['*.example.com', 'https://harbor.example.com/'],
    ['*.example.com', 'https://a.b.example.com/'],
    ['*.example.com:8080', 'https://a.example.com:8080/'],
    ['127.0.0.1:5000', 'http://127.0.0.1:5000/'],
    ['[::1]:5000', 'http://[::1]:5000/'],
    ['[0:0:0:0:0:0:0:1]', 'http://[::1]:5000/'],
    ['bücher.example', 'https://xn--bcher-kva.example/'],
  ])('%s is a binding for %s', async (pattern, destination) => {
    expect(await goesTo(pattern, destination)).toBe(true)
  })

  it.each([
    ['harbor.example.com', 'https://harbor.example.com.evil.org/'],
    ['harbor.example.com', 'https://evilharbor.example.com/'],
    ['harbor.example.com', 'https://other.example.com/'],
    ['harbor.example.com:8443', 'https://harbor.example.com/'],
    ['harbor.example.com:443', 'http://harbor.example.com/'],
    ['*.example.com', 'https://example.com/'],
    ['*.example.com', 'https://evilexample.com/'],
    ['*.example.com:8080', 'https://a.example.com/'],
    ['*', 'https://harbor.example.com/'],
    ['*.', 'https://harbor.example.com/'],
    ['', 'file:///srv/git/preheat.git'],
    ['harbor.example.com', 'https://harbor.example.com@evil.org/'],
  ])('%s is no binding for %s', async (pattern, destination) => {
    expect(await goesTo(pattern, destination)).toBe(false)
  })

  it('a secret that is not bound at all is refused before it is read', async () => {
    const secrets = openSecrets({ dir, bindings: new Map() }, {})
    await expect(reveal(secrets)).rejects.toMatchObject({
      code: 'PH7002',
      message: 'secret robot is not bound to harbor.example.com',
    })
  })
})

describe('files for tls', () => {
  it('are read below the folder, whole', async () => {
    await put('robot/ca.crt', '-----BEGIN CERTIFICATE-----\n')
    expect(String(await bound().readTlsFile('robot/ca.crt'))).toBe('-----BEGIN CERTIFICATE-----\n')
    expect(await bound().tls({ caFile: 'robot/ca.crt' })).toEqual({
      ca: Buffer.from('-----BEGIN CERTIFICATE-----\n'),
      cert: undefined,
      key: undefined,
      insecureSkipVerify: false,
    })
  })

  it('settings that change nothing need none', async () => {
    expect(await bound().tls({})).toBeUndefined()
    expect(await bound().tls({ insecureSkipVerify: false })).toBeUndefined()
    expect(await bound().tls({ insecureSkipVerify: true })).toMatchObject({ insecureSkipVerify: true })
  })

  it.each(['../ca.crt', '/etc/passwd', 'robot/../../ca.crt', 'robot//ca.crt', '.', '', '-ca.crt', 'robot/ca.crt\n'])(
    'the name %j is refused',
    async (name) => {
      await writeFile(join(root, 'ca.crt'), 'canary')
      await expect(bound().readTlsFile(name)).rejects.toMatchObject({
        code: 'PH7001',
        message: expect.stringContaining('is no file name below secrets.dir'),
      })
    },
  )
})

describe('the scrubber', () => {
  const PASSWORD = 'p/"ä=s+s w\\rd'

  const masked = async (text: string) => {
    await put('robot/username', 'robot$library')
    await put('robot/password', PASSWORD)
    const secrets = bound()
    const scrub = secrets.scrubber()
    await reveal(secrets, 'username')
    await reveal(secrets, 'password')
    return scrub(text)
  }

  it.each([
    ['raw', PASSWORD],
    ['in JSON', JSON.stringify({ PASSWORD }).slice('{"PASSWORD":"'.length, -2)],
    ['URL-encoded', encodeURIComponent(PASSWORD)],
    ['URL-encoded in lower case', encodeURIComponent(PASSWORD).replaceAll(/%../g, (byte) => byte.toLowerCase())],
    ['as a form', new URLSearchParams([['p', PASSWORD]]).toString().slice(2)],
    ['in base64', Buffer.from(PASSWORD).toString('base64')],
    ['in base64url', Buffer.from(PASSWORD).toString('base64url')],
    ['in a basic header', Buffer.from(`robot$library:${PASSWORD}`).toString('base64')],
  ])('masks a value %s [S2]', async (_, form) => {
    expect(await masked(`before ${form} after`)).toBe('before [secret] after')
  })

  it('leaves what it does not know, a short value and a user name that is a word', async () => {
    await put('robot/token', 'abc')
    const secrets = bound()
    await reveal(secrets)
    expect(secrets.scrubber()('abc')).toBe('abc')
    expect(await masked('robot$library logs in')).toBe('robot$library logs in')
  })

  it('masks a token in the place of a user name', async () => {
    await put('robot/username', 'ghp_0123456789abcdef')
    const secrets = bound()
    await reveal(secrets, 'username')
    expect(secrets.scrubber()('user ghp_0123456789abcdef')).toBe('user [secret]')
  })

  it('knows a rotated value and the one before it', async () => {
    const secrets = bound()
    const scrub = secrets.scrubber()
    for (const value of ['first-value', 'second-value']) {
      await put('robot/token', value)
      await reveal(secrets)
      expect(scrub(value)).toBe('[secret]')
    }
    expect(scrub('first-value second-value')).toBe('[secret] [secret]')
  })
})

describe('what changes under way', () => {
  const to = new URL('ssh://git@git.example.com/r.git')

  it('the files of ssh have lines, a token has none, and the port of ssh is 22', async () => {
    const env = { KEY: 'line 1\nline 2\n', NUL: 'a\u0000b' }
    const of = (name: string) =>
      new Map([['git', { hosts: ['git.example.com:22'], env: { identity: name, token: name } }]])

    const secrets = openSecrets({ dir: undefined, bindings: of('KEY') }, env)

    expect((await secrets.read('git', 'identity', to)).reveal()).toBe(env.KEY)
    await expect(secrets.read('git', 'token', to)).rejects.toMatchObject({ code: 'PH7001' })
    secrets.rebind({ dir: undefined, bindings: of('NUL') })
    await expect(secrets.read('git', 'identity', to)).rejects.toMatchObject({ code: 'PH7001' })
    secrets.rebind({ dir: undefined, bindings: new Map() })
    await expect(secrets.read('git', 'identity', to)).rejects.toMatchObject({ code: 'PH7002' })
    expect(secrets.scrubber()(`x ${env.KEY} y`)).toBe('x [secret] y')
  })

  it('another file of a tls is another revision, and the same one is not', async () => {
    await using folder = await temporaryFolder()
    const secrets = openSecrets({ dir: folder.path, bindings: new Map() }, {})
    const revision = () => secrets.tlsRevision({ caFile: 'ca.crt' })

    const absent = await revision()
    await writeFile(join(folder.path, 'ca.crt'), 'one')
    const first = await revision()
    const again = await revision()
    await writeFile(join(folder.path, 'ca.crt'), 'another')

    expect(again).toBe(first)
    expect(new Set([absent, first, await revision()]).size).toBe(3)
    expect(await secrets.tlsRevision({})).toBe('')
  })
})

describe('the keys of who may sign', () => {
  it('are the files allowed_signers and *.asc of a folder, which needs no binding', async () => {
    await put('robot/allowed_signers', 'ada@example.com ssh-ed25519 AAAA\n')
    await put('robot/bob.asc', 'bob')
    await put('robot/README', 'nothing')
    await mkdir(join(dir, 'robot/..2026_11_21'))
    await symlink('..2026_11_21', join(dir, 'robot/..data'))

    expect(await openSecrets({ dir, bindings: new Map() }, {}).signers('robot')).toEqual({
      secret: 'robot',
      files: new Map([
        ['allowed_signers', 'ada@example.com ssh-ed25519 AAAA\n'],
        ['bob.asc', 'bob'],
      ]),
    })
  })

  it.each([
    ['robot', 'secret robot has neither allowed_signers nor a file that ends in .asc'],
    ['gone', 'secret gone: cannot read'],
    ['../robot', '../robot is no name of a secret'],
  ])('that are not there are refused: %s', async (name, message) => {
    await expect(bound().signers(name)).rejects.toMatchObject({
      code: 'PH7001',
      message: expect.stringContaining(message),
    })
  })

  it('that lie outside the folder, or are no text, are refused', async () => {
    await writeFile(join(root, 'outside'), 'ada@example.com ssh-ed25519 AAAA\n')
    await symlink(join(root, 'outside'), join(dir, 'robot/allowed_signers'))
    await expect(bound().signers('robot')).rejects.toThrow('leads out of')

    await rm(join(dir, 'robot/allowed_signers'))
    await put('robot/ada.asc', Buffer.from([0x99, 0x01, 0xff]))
    await expect(bound().signers('robot')).rejects.toThrow('secret robot/ada.asc is not UTF-8')
  })
})
