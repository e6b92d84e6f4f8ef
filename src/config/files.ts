import ignore from 'ignore'
import { byPlace, type Problem } from '../model/problem.ts'
import type { SourceEntry } from '../model/source.ts'
import { MAX_FILE_BYTES } from './guard.ts'

/** YAML files below `source.path`. */
const MAX_FILES = 50_000

/** Bytes of all of them. */
export const MAX_TOTAL_BYTES = 256 * 2 ** 20

/** The one file below `source.path` that says what is left out, in the syntax of .gitignore. */
export const IGNORE_FILE = '.preheatdignore'

export type Wanted =
  | { readonly ok: true; readonly entries: readonly SourceEntry[]; readonly problems: readonly Problem[] }
  /** Too much to read any of it: nothing may be concluded about what is declared. */
  | { readonly ok: false; readonly problem: Problem }

/**
 * Which entries are read, decided on the listing alone: YAML files that neither they nor a folder above begin with a
 * dot, that `.preheatdignore` does not name, and that are not reports.
 * @param ignoreText content of {@link IGNORE_FILE}; undefined: there is none
 * @param reportsDir where reports stand below `source.path`; undefined: not there
 */
export function wantedEntries(
  entries: readonly SourceEntry[],
  ignoreText: string | undefined,
  reportsDir?: string,
): Wanted {
  const rules = ignoreText === undefined ? undefined : ignore().add(ignoreText)
  const named = entries.filter(
    ({ path }) =>
      /\.ya?ml$/.test(path) &&
      !/(?:^|\/)\./.test(path) &&
      !(reportsDir !== undefined && path.startsWith(`${reportsDir}/`)) &&
      rules?.ignores(path) !== true,
  )
  const total = named.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  if (named.length > MAX_FILES) return tooLarge(`${named.length} files; the limit is ${MAX_FILES}`)
  if (total > MAX_TOTAL_BYTES) return tooLarge(`${total} bytes; the limit is ${MAX_TOTAL_BYTES}`)

  const wanted: SourceEntry[] = []
  const problems: Problem[] = []
  for (const entry of named) {
    const problem = problemOf(entry)
    if (problem === undefined) wanted.push(entry)
    else problems.push(problem)
  }
  return { ok: true, entries: wanted, problems: problems.sort(byPlace) }
}

function problemOf({ path, kind, sizeBytes }: SourceEntry): Problem | undefined {
  const place = { severity: 'error', file: path, line: 1, column: 1 } as const
  if (kind !== 'file') return { ...place, code: 'PH1009', message: `a ${kind} is not followed` }
  if (sizeBytes > MAX_FILE_BYTES)
    return { ...place, code: 'PH1001', message: `${sizeBytes} bytes; the limit is ${MAX_FILE_BYTES}` }
  return undefined
}

function tooLarge(message: string): Wanted {
  return { ok: false, problem: { severity: 'error', code: 'PH1008', file: '.', line: 1, column: 1, message } }
}
