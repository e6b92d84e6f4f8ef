import { generateKeyPairSync } from 'node:crypto'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { wantedAttachments } from '../../src/config/attachments.ts'
import type { Config } from '../../src/config/load.ts'
import { openFolderSource } from '../../src/git/folder.ts'
import { ofKind } from '../../src/model/resource.ts'
import type { SourceEntry } from '../../src/model/source.ts'
import { diff } from '../../src/plan/diff.ts'
import { ConfigReader } from '../../src/config/reader.ts'
import { readConfig } from '../../src/reconcile.ts'
import { loadTexts, places, policy, repository, type Texts } from '../support/config.ts'
import { temporaryFolder } from '../support/repository.ts'

const pair = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
const pem = () => pair().publicKey.export({ type: 'spki', format: 'pem' }).toString()
const key = pem()
const never = new AbortController().signal

const verified = (lines: string) => policy('x', `  criteria: { signature: { mode: verified, ${lines} } }\n`)
const named = (text: string, more: Texts = {}) => ({ ...repository, 'projects/library/x.yaml': text, ...more })
const trustOf = (config: Config) => {
  const x = ofKind(config.objects, 'PreheatPolicy').find(({ resource }) => resource.name === 'x')
  const signature = x?.resource.criteria.signature
  return signature?.mode === 'verified' ? signature.trust : undefined
}

describe('keys are files of the repository', () => {
  test('a policy of a project may name any, and carries its content', () => {
    const config = loadTexts(
      named(verified('keys: [keys/a.pub, keys/b.pem]'), { 'keys/a.pub': key, 'keys/b.pem': key }),
    )
    expect(config.problems).toEqual([])
    expect(trustOf(config)).toEqual({
      keys: [
        { name: 'keys/a.pub', pem: key },
        { name: 'keys/b.pem', pem: key },
      ],
      identities: [],
      trustedRoot: undefined,
    })
  })

  test.each([
    ['is not there', undefined, 'PH3019', 'there is no file keys/b.pub'],
    ['is too large', 'x'.repeat(16 * 1024 + 1), 'PH3020', 'keys/b.pub has 16385 bytes; the limit is 16384'],
    ['is no key', 'ssh-ed25519 AAAA', 'PH3020', /^keys\/b\.pub is not one public key in PEM form/],
    [
      'is a private key',
      pair().privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      'PH3020',
      /^keys\/b\.pub is a private key/,
    ],
  ])('one that %s is an error where it is named, and stalls that policy only', (_, content, code, message) => {
    const files: Texts = { 'keys/a.pub': key, ...(content !== undefined && { 'keys/b.pub': content }) }
    const config = loadTexts(named(verified('keys: [keys/a.pub, keys/b.pub]'), files))
    expect(places(config)).toEqual([`projects/library/x.yaml:7:63 error ${code}`])
    expect(config.problems[0]?.message).toEqual(typeof message === 'string' ? message : expect.stringMatching(message))
    expect(config.stalled).toEqual([{ file: 'projects/library/x.yaml', key: 'PreheatPolicy/harbor/library/x' }])
    expect(config.objects).toHaveLength(3)
    expect(JSON.stringify(config.problems)).not.toContain('BEGIN PRIVATE')
  })

  test('a trusted root that is none is an error where it is named', () => {
    const lines = 'identities: [{ issuer: a, subject: b }], trustedRoot: keys/trusted_root.json'
    const config = loadTexts(named(verified(lines), { 'keys/trusted_root.json': '{}' }))
    expect(places(config)).toEqual(['projects/library/x.yaml:7:98 error PH3020'])
  })

  test('verified by nobody is no mode', () => {
    const text = policy('x', '  criteria: { signature: { mode: verified } }\n')
    expect(places(loadTexts(named(text)))).toEqual(['projects/library/x.yaml:7:34 error PH2003'])
  })

  test('a key that is named twice is reported once, where it is named again', () => {
    const config = loadTexts(named(verified('keys: [a.pub, a.pub]'), { 'a.pub': key }))
    expect(places(config)).toEqual(['projects/library/x.yaml:7:58 error PH3004'])
  })
})

describe('which files are read', () => {
  const entry = (path: string, more: Partial<SourceEntry> = {}): SourceEntry => ({
    path,
    kind: 'file',
    sizeBytes: 100,
    blobId: path,
    ...more,
  })

  test.each(['symlink', 'submodule'] as const)('a %s is not followed', (kind) => {
    const wanted = wantedAttachments(['a.pub'], [entry('a.pub', { kind })])
    expect(wanted).toMatchObject({ ok: true, entries: [] })
    expect(wanted.ok && wanted.refused.get('a.pub')).toMatchObject({ ok: false, code: 'PH1009' })
  })

  test('a trusted root may be larger than a key, and each is read once', () => {
    const entries = [entry('a.pub'), entry('trusted_root.json', { sizeBytes: 2 ** 20 }), entry('b.pub')]
    const wanted = wantedAttachments(['a.pub', 'trusted_root.json', 'a.pub'], entries)
    expect(wanted.ok && wanted.entries.map(({ path }) => path)).toEqual(['a.pub', 'trusted_root.json'])
  })

  test('what all policies together would carry is bounded', () => {
    const entries = [entry('trusted_root.json', { sizeBytes: 2 ** 20 })]
    const paths = (count: number) => Array.from({ length: count }, () => 'trusted_root.json')
    expect(wantedAttachments(paths(256), entries)).toMatchObject({ ok: true })
    expect(wantedAttachments(paths(257), entries)).toMatchObject({ ok: false })
  })
})

describe('a folder with keys', () => {
  const write = async (dir: string, texts: Texts) => {
    for (const [path, text] of Object.entries(texts)) {
      await mkdir(dirname(join(dir, path)), { recursive: true })
      await writeFile(join(dir, path), text)
    }
  }

  test('a key that changed alone is another revision, and a changed policy that shows which key', async () => {
    await using folder = await temporaryFolder()
    await write(folder.path, named(verified('keys: [keys/a.pub]'), { 'keys/a.pub': key }))
    await using source = openFolderSource(folder.path)
    const before = await readConfig(await source.fetch('', never), new ConfigReader(), never)
    const again = await readConfig(await source.fetch('', never), new ConfigReader(), never)
    await write(folder.path, { 'keys/a.pub': pem() })
    const after = await readConfig(await source.fetch('', never), new ConfigReader(), never)

    expect(before.problems).toEqual([])
    expect(diff(before.objects, again.objects)).toEqual([])
    expect(after.config.commit).not.toBe(before.config.commit)
    const fingerprint: unknown = expect.stringMatching(/^keys\/a\.pub \(sha256:[0-9a-f]{64}\)$/)
    expect(diff(before.objects, after.objects)).toMatchObject([
      {
        action: 'update',
        name: 'library/x',
        fields: [{ path: 'spec.criteria.signature.keys[0]', before: fingerprint, after: fingerprint }],
      },
    ])
  })

  test('a link that leads out of it is no key', async () => {
    await using folder = await temporaryFolder()
    await write(folder.path, { 'outside.pub': key })
    const dir = join(folder.path, 'inside')
    await write(dir, named(verified('keys: [a.pub]')))
    await symlink('../outside.pub', join(dir, 'a.pub'))
    await using source = openFolderSource(dir)

    expect(places(await readConfig(await source.fetch('', never), new ConfigReader(), never))).toEqual([
      'projects/library/x.yaml:7:51 error PH1009',
    ])
  })
})
