import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { readDaemonConfig } from '../../src/config/daemon-config.ts'
import { wantedEntries } from '../../src/config/files.ts'
import { attachmentsOf, wantedAttachments } from '../../src/config/attachments.ts'
import { load, readFile, readFiles } from '../../src/config/load.ts'
import { checkTrust } from '../../src/execution/signature/trust.ts'

const folder = fileURLToPath(new URL('../../policies-example/', import.meta.url))
const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath}/${entry.name}`.slice(folder.length).replace(/^\//, ''))

function contents(entries: readonly { readonly path: string }[]): Map<string, Uint8Array> {
  return new Map(entries.map(({ path }) => [path, readFileSync(`${folder}${path}`)]))
}

test('policies-example has no problem', () => {
  const entries = files.map((path) => ({ path, kind: 'file', sizeBytes: 1, blobId: path }) as const)
  const wanted = wantedEntries(entries, undefined)
  const texts = [...contents(wanted.ok ? wanted.entries : [])].map(([path, bytes]) => [path, readFile(bytes)] as const)
  const read = readFiles(new Map(texts), [])
  const named = wantedAttachments(read.named, entries)
  if (!named.ok) throw new TypeError(named.message)
  const attachments = attachmentsOf(named, contents(named.entries), checkTrust)
  const { config } = load({ commit: 'c0ffee', author: 'Ada', subject: 'a change' }, read, attachments)
  expect(config.problems).toEqual([])
  expect(config.objects.map(({ key }) => key).sort()).toEqual([
    'PreheatPolicy/harbor/dockerhub/upstream',
    'PreheatPolicy/harbor/library/base-images',
    'PreheatPolicy/harbor/library/nightly',
    'PreheatPolicy/harbor/library/release-images',
    'PreheatPolicy/harbor/library/signed-images',
    'PreheatPolicy/harbor/library/tools',
    'PreheatRun/hotfix-2026-11-21',
    'PreheatRun/rollback-2026-11-21',
    'Provider/dragonfly-eu',
    'Provider/dragonfly-us',
    'Registry/harbor',
  ])
})

test('its configuration of the daemon has no problem', () => {
  const bytes = readFileSync(`${folder}.preheatd/preheatd.yaml`)
  expect(readDaemonConfig('preheatd.yaml', bytes)).toMatchObject({ ok: true, document: { metadata: { name: 'eu' } } })
})

test('every file of it names the schema that an editor completes from', () => {
  for (const file of files.filter((path) => path.endsWith('.yaml'))) {
    const [, schema] = /^# yaml-language-server: \$schema=(\S+)\n/.exec(readFileSync(`${folder}${file}`, 'utf8')) ?? []
    expect(schema, file).toBeDefined()
    expect(readFileSync(new URL(schema!, `file://${folder}${file}`), 'utf8')).toContain('"$id"')
  }
})
