import { isDeepStrictEqual } from 'node:util'
import type { Settings } from './settings.ts'

/** What of a changed configuration a living daemon takes as it is, and what it has to be composed anew for. */
export interface Changes {
  /** Paths of {@link Settings}: `source.intervalMs`. */
  readonly live: readonly string[]
  readonly needsRestart: readonly string[]
}

/** Asked for at every use, so that the next one has what is new. All else is asked for once, when a daemon is composed. */
const LIVE: readonly RegExp[] = [
  /^source\.intervalMs$/,
  /^reports\.(?:flushIntervalMs|flushRestMs|maxCommitsPerHour|peers)$/,
  /^secrets\./,
  /^log\./,
]

/** Field by field, in order. A field that nobody thought of needs a restart. */
export function changesOf(before: Settings, after: Settings): Changes {
  const changed = differences('', before, after)
  const isLive = (path: string) => LIVE.some((pattern) => pattern.test(path))
  return { live: changed.filter(isLive), needsRestart: changed.filter((path) => !isLive(path)) }
}

/** Sections are looked into; what is in one is compared as a whole. */
function differences(path: string, before: object, after: object): string[] {
  const fields = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  return fields.flatMap((field) => {
    const [was, is] = [before, after].map((one) => (one as Readonly<Record<string, unknown>>)[field])
    if (isDeepStrictEqual(was, is)) return []
    const isSection =
      path === '' && [was, is].every((one) => typeof one === 'object' && one !== null && !Array.isArray(one))
    return isSection ? differences(`${field}.`, was as object, is as object) : [`${path}${field}`]
  })
}
