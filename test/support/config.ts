import { attachmentsOf, wantedAttachments } from '../../src/config/attachments.ts'
import { load, readFile, readFiles, type Config } from '../../src/config/load.ts'
import { checkTrust } from '../../src/execution/signature/trust.ts'
import type { Problem } from '../../src/model/problem.ts'
import type { SourceEntry, SourceTree } from '../../src/model/source.ts'

/** A config repository as text by path. */
export type Texts = Readonly<Record<string, string>>

/** What stands at the top of a document of ours. */
export function head(kind: string, name: string): string {
  return `apiVersion: preheatd.io/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\n`
}

/** A small repository without a problem: one registry, one provider, one policy. */
export const repository: Texts = {
  'registries/harbor.yaml': `${head('Registry', 'harbor')}spec:\n  type: harbor\n  endpoint: https://harbor.example.com\n`,
  'providers/eu.yaml': `${head('Provider', 'eu')}spec:\n  vendor: dragonfly\n  endpoint: https://eu.example.com\n`,
  'projects/library/web.yaml': policy('web'),
}

/** A policy of the project library; `more` are lines of its spec. */
export function policy(name: string, more = ''): string {
  return `${head('PreheatPolicy', name)}spec:\n  project: library\n  filters: { repositories: ['**'], tags: ['**'] }\n${more}`
}

/** What stage 1 makes of a repository; whatever does not end in `.yaml` is there to be named. */
export function loadTexts(
  texts: Texts,
  problems: readonly Problem[] = [],
  matchLabels: Readonly<Record<string, string>> = {},
): Config {
  const contents = new Map(Object.entries(texts).map(([file, text]) => [file, new TextEncoder().encode(text)]))
  const yaml = [...contents].filter(([file]) => file.endsWith('.yaml'))
  const read = readFiles(new Map(yaml.map(([file, bytes]) => [file, readFile(bytes)])), problems)
  const entries = [...contents].map(([path, { byteLength }]): SourceEntry => ({
    path,
    kind: 'file',
    sizeBytes: byteLength,
    blobId: path,
  }))
  const named = wantedAttachments(read.named, entries)
  if (!named.ok) throw new TypeError(named.message)
  const bytes = new Map(named.entries.map(({ path }) => [path, contents.get(path)!]))
  const attachments = attachmentsOf(named, bytes, checkTrust)
  return load({ commit: 'c0ffee', author: 'Ada', subject: 'a change' }, read, attachments, matchLabels).config
}

/** `file:line:column severity CODE` of every problem. */
export function places(config: Config): string[] {
  return config.problems.map(
    ({ file, line, column, severity, code }) => `${file}:${line}:${column} ${severity} ${code}`,
  )
}

/** A commit of these files, whose blobs are named by their text; it notes what of it is read. */
export function commit(texts: Texts): SourceTree & { readonly taken: string[] } {
  const taken: string[] = []
  return {
    taken,
    config: { commit: JSON.stringify(texts), author: '', subject: '' },
    entries: Object.entries(texts).map(([path, text]) => ({
      path,
      kind: 'file' as const,
      sizeBytes: text.length,
      blobId: text,
    })),
    read: (entries) => {
      taken.push(...entries.map(({ path }) => path))
      return Promise.resolve(new Map(entries.map(({ path }) => [path, new TextEncoder().encode(texts[path])])))
    },
  }
}
