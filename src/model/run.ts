import type { Instant } from './duration.ts'
import type { Labels } from './registry.ts'
import type { PreheatPolicy, Refresh } from './policy.ts'

/** A manual run asked for by a commit; runs once per name and content, ever. */
export type PreheatRun = PolicyRun | ArtifactRun

/** Runs a policy that is declared. */
export interface PolicyRun extends AnyRun {
  /** As written: `library/release-images`, or a bare name where that is unambiguous. */
  readonly policy: string
  /** Undefined: the policy's. */
  readonly refresh: Refresh | undefined
}

/** Preheats artifacts that no policy has to cover. */
export interface ArtifactRun extends AnyRun {
  /** What it asks for, as the policy that would: called like the run, with named artifacts and without filters. */
  readonly ownPolicy: PreheatPolicy
}

interface AnyRun {
  readonly kind: 'PreheatRun'
  readonly name: string
  readonly labels: Labels
  readonly reason: string
  readonly expiresAt: Instant | undefined
  /** `sha256:` and the hex digest of the canonical spec; with the name, its identity. */
  readonly digest: string
}

/** Does it name its artifacts itself? */
export function isArtifactRun(run: PreheatRun): run is ArtifactRun {
  return 'ownPolicy' in run
}

/** Later than that it does nothing. */
export function isExpired({ expiresAt }: PreheatRun, now: Instant): boolean {
  return expiresAt !== undefined && expiresAt <= now
}
