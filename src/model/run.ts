import type { Instant } from './duration.ts'
import type { Labels } from './registry.ts'
import type { Refresh } from './policy.ts'

/** A manual run asked for by a commit; runs once per name and content, ever. */
export interface PreheatRun {
  readonly kind: 'PreheatRun'
  readonly name: string
  readonly labels: Labels
  /** As written: `library/release-images`, or a bare name where that is unambiguous. */
  readonly policy: string
  readonly reason: string
  /** Undefined: the policy's. */
  readonly refresh: Refresh | undefined
  readonly expiresAt: Instant | undefined
  /** `sha256:` and the hex digest of the canonical spec; with the name, its identity. */
  readonly digest: string
}
