import type { EngineEvent } from './stub-engine.ts'

/** What an engine's log says of one run; times in milliseconds, by the engine's own clock. */
export interface History {
  /** When the first POST was taken, since the epoch; undefined: none was. */
  readonly firstPostAt: number | undefined
  /** From the first POST to the last end that was shown to somebody; to the last POST where none was. */
  readonly makespanMs: number
  /** From the first POST to when so many ends had been shown. */
  readonly doneP50Ms: number
  readonly doneP95Ms: number
  /** POSTs that were taken. */
  readonly taken: number
  /** Artifacts whose POST was taken more than once, counted without the first. */
  readonly again: number
  /** Jobs whose pull token was dead. */
  readonly expired: number
  readonly http: {
    readonly post: number
    readonly get: number
    readonly list: number
    readonly probe: number
    readonly health: number
    readonly s429: number
  }
}

/** Reads a log; nothing else of a run is believed. */
export function historyOf(log: readonly EngineEvent[]): History {
  const posts = log.filter((event) => event.kind === 'post')
  const taken = posts.filter(({ status }) => status === 200)
  const told = log.filter((event) => event.kind === 'told')
  const ends = told.map(({ at }) => at).sort((a, b) => a - b)
  const first = Math.min(...taken.map(({ at }) => at))
  const since = (share: number) => (ends.length === 0 ? 0 : ends[Math.ceil(share * ends.length) - 1]! - first)
  const count = (kind: EngineEvent['kind']) => log.filter((event) => event.kind === kind).length
  return {
    firstPostAt: taken.length === 0 ? undefined : first,
    makespanMs: ends.length > 0 ? since(1) : Math.max(0, ...taken.map(({ at }) => at - first)),
    doneP50Ms: since(0.5),
    doneP95Ms: since(0.95),
    taken: taken.length,
    again: taken.length - new Set(taken.map(({ index }) => index)).size,
    expired: told.filter(({ end }) => end === 'expired').length,
    http: {
      post: posts.length,
      get: count('get'),
      list: count('list'),
      probe: count('probe'),
      health: count('health'),
      s429: posts.filter(({ status }) => status === 429).length,
    },
  }
}
