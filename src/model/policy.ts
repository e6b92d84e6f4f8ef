import type { ArtifactType, Digest, Platform } from './artifact.ts'
import type { Instant } from './duration.ts'
import type { Labels } from './registry.ts'
import type { Scope } from './provider.ts'
import type { Trust } from './signature.ts'

/** A provider as a policy names it; what it says wins over the provider's own settings. */
export interface ProviderRef {
  readonly name: string
  readonly scope?: Scope
  readonly clusters?: readonly string[]
}

/** What starts an execution. */
export type Trigger =
  | { readonly type: 'manual' }
  | { readonly type: 'scheduled'; readonly schedule: Schedule }
  | {
      readonly type: 'event_based'
      readonly events: readonly EventKind[]
      /** How often the registry is looked at for what no webhook told. */
      readonly pollMs: number
      /** How long after an event its policy waits for more. */
      readonly debounceMs: number
    }

/** What may happen to an artifact. Harbor sends nothing for `label`, `tag` and `sign`: looking shows them. */
export type EventKind = 'push' | 'scan' | 'label' | 'tag' | 'sign'

export interface Schedule {
  /** As written, `CRON_TZ=` included. */
  readonly cron: string
  /** IANA name. */
  readonly timeZone: string
  /** A slot that is older than this when the daemon gets to it is `Missed`. */
  readonly startingDeadlineMs: number
  /** Of slots that came due while nobody looked: the latest runs, none, or each. */
  readonly catchUp: 'once' | 'skip' | 'all'
  /** While the execution before still runs: the slot is missed, that execution is stopped, or both run. */
  readonly concurrency: 'forbid' | 'replace' | 'allow'
  /** Policies of one slot begin somewhere in this time after it, each always at its own place. */
  readonly spreadMs: number
}

export interface Filters {
  /** doublestar without the project prefix, any of. */
  readonly repositories: readonly string[]
  readonly tags: readonly string[]
  /** All of. */
  readonly labels: readonly string[]
  readonly exclude: { readonly repositories: readonly string[]; readonly tags: readonly string[] }
  /** `any`: whatever the registry holds, unknown sorts included. */
  readonly types: readonly (Exclude<ArtifactType, 'other'> | 'any')[]
  /** Of what the filters above leave, only the newest of each repository; undefined: all. */
  readonly newest: Newest | undefined
}

/** `pushed` counts artifacts by the time of their push, `semver` versions among the tags. */
export interface Newest {
  readonly count: number
  readonly by: 'pushed' | 'semver'
}

/** An artifact that a policy names beside its filters: `nginx:1.27` or `app@sha256:…`, without the project prefix. */
export interface NamedArtifact {
  readonly name: string
  readonly reference: { readonly tag: string } | { readonly digest: Digest }
}

/** What a policy demands of every artifact beyond what the Harbor project demands. */
export interface Criteria {
  readonly signature:
    | { readonly mode: 'inherit' | 'ignored' | 'required' }
    /** Keys and trusted root as they stand in the commit. */
    | { readonly mode: 'verified'; readonly trust: Trust }
  readonly vulnerability:
    | { readonly mode: 'inherit' | 'ignored' }
    /** Strictly below; unscanned is out. */
    | { readonly mode: 'below'; readonly severity: 'low' | 'medium' | 'high' | 'critical' }
}

/** Schedule and events rest; manual runs go on. */
export interface Suspension {
  /** Undefined: until the field is removed. */
  readonly until: Instant | undefined
  readonly reason: string
}

/** The first instant that a suspension does not cover; `Infinity`: none. */
export function endOfSuspension({ until }: Suspension): Instant {
  return until ?? Infinity
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
  readonly suspend: Suspension | undefined
  readonly filters: Filters
  readonly artifacts: readonly NamedArtifact[]
  /** Whole files by URL, for providers that can preheat one. */
  readonly files: readonly string[]
  readonly criteria: Criteria
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
  /** The whole execution; undefined: it takes as long as it takes. */
  readonly deadlineMs: number | undefined
}

/** `library/release-images`, or the bare name where the policy has no project. */
export function policyAddress(policy: Pick<PreheatPolicy, 'project' | 'name'>): string {
  return policy.project === undefined ? policy.name : `${policy.project}/${policy.name}`
}
