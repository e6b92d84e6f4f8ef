import type { Platform } from './artifact.ts'
import type { Labels } from './registry.ts'
import type { Scope } from './provider.ts'

/** A provider as a policy names it; what it says wins over the provider's own settings. */
export interface ProviderRef {
  readonly name: string
  readonly scope?: Scope
  readonly clusters?: readonly string[]
}

/** What starts an execution. `event_based` comes with the receivers. */
export type Trigger = { readonly type: 'manual' } | { readonly type: 'scheduled'; readonly schedule: Schedule }

export interface Schedule {
  /** As written, `CRON_TZ=` included. */
  readonly cron: string
  /** IANA name. */
  readonly timeZone: string
  /** A slot that is older than this when the daemon gets to it is `Missed`. */
  readonly startingDeadlineMs: number
}

export interface Filters {
  /** doublestar without the project prefix, any of. */
  readonly repositories: readonly string[]
  readonly tags: readonly string[]
  /** All of. */
  readonly labels: readonly string[]
  readonly exclude: { readonly repositories: readonly string[]; readonly tags: readonly string[] }
  readonly types: readonly ('image' | 'cnai')[]
}

export type Refresh = 'missing' | 'always'

/** A standing order: which artifacts, to which providers, when. */
export interface PreheatPolicy {
  readonly kind: 'PreheatPolicy'
  readonly name: string
  readonly labels: Labels
  readonly description: string
  readonly enabled: boolean
  /** Resolved: the only Registry where the file names none. */
  readonly registry: string
  /** Harbor project, or the repository prefix of an `oci` registry; undefined only there. */
  readonly project: string | undefined
  /** None and no selector: the default provider, else the only one. */
  readonly providers: readonly ProviderRef[]
  readonly providerSelector: Labels | undefined
  readonly filters: Filters
  readonly trigger: Trigger
  /** Empty: the provider's. */
  readonly platforms: readonly Platform[]
  readonly refresh: Refresh
  /** What was preheated is preheated again before it is this old; undefined: it is not. */
  readonly keepWarmMs: number | undefined
  /** What was warm and is not any more: nobody looks, it is said, or it is preheated again. */
  readonly drift: { readonly mode: 'off' | 'warn' | 'heal'; readonly intervalMs: number }
  /** Over a limit nothing is submitted and the result is `Blocked`. */
  readonly limits: { readonly maxArtifacts: number; readonly maxBytes: number | undefined }
  readonly retry: { readonly attempts: number; readonly backoffMs: number }
  /** One task; undefined: the provider's. */
  readonly timeoutMs: number | undefined
}

/** `library/release-images`, or the bare name where the policy has no project. */
export function policyAddress(policy: Pick<PreheatPolicy, 'project' | 'name'>): string {
  return policy.project === undefined ? policy.name : `${policy.project}/${policy.name}`
}
