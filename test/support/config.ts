import { load, type Config } from '../../src/config/load.ts'
import type { Problem } from '../../src/model/problem.ts'

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

/** What stage 1 makes of a repository. */
export function loadTexts(texts: Texts, problems: readonly Problem[] = []): Config {
  const files = new Map(Object.entries(texts).map(([file, text]) => [file, new TextEncoder().encode(text)]))
  return load({ commit: 'c0ffee', author: 'Ada', subject: 'a change' }, files, problems)
}

/** `file:line:column severity CODE` of every problem. */
export function places(config: Config): string[] {
  return config.problems.map(
    ({ file, line, column, severity, code }) => `${file}:${line}:${column} ${severity} ${code}`,
  )
}
