import type { BlobLook } from './coverage.ts'
import type { Digest } from '../../model/artifact.ts'

/** What earlier looks at a job have shown. */
export interface Past {
  /** Blobs that fell short at the last look. */
  readonly short: ReadonlySet<Digest>
  /** What was last said of a pull that failed. */
  readonly words: string | undefined
  /** By blob: how often its pull failed, and whether the last look heard of it. */
  readonly failures: ReadonlyMap<Digest, { readonly times: number; readonly isTold: boolean }>
}

/** A failure that is told at several looks is one until the blob was being pulled again. */
export function pastOf(
  past: Past | undefined,
  short: readonly BlobLook[],
  failed: ReadonlySet<Digest>,
  words: string | undefined,
): Past {
  const failures = short.map(({ blob: { digest } }) => {
    const { times, isTold } = past?.failures.get(digest) ?? { times: 0, isTold: false }
    const isFailed = failed.has(digest)
    return [digest, { times: isFailed && !isTold ? times + 1 : times, isTold: isFailed }] as const
  })
  return {
    short: new Set(short.map(({ blob }) => blob.digest)),
    words: words ?? past?.words,
    failures: new Map(failures),
  }
}
