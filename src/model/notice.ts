import type { Instant } from './duration.ts'

/** Why somebody is told. */
type NoticeReason =
  | 'ResultChanged'
  | 'ExecutionEnded'
  | 'ExecutionFailed'
  | 'DriftFound'
  | 'DriftHealed'
  | 'ProviderUnreachable'
  | 'ProviderRecovered'
  | 'ConfigInvalid'
  | 'ConfigWarning'
  | 'SourceFailed'
  | 'SourceRecovered'

/** What a notice is about: the key of a resource, or the daemon's source. */
export interface NoticeObject {
  readonly kind: 'PreheatPolicy' | 'PreheatRun' | 'Provider' | 'DaemonConfig'
  /** `library/release-images`, for a run with artifacts of its own too, `dragonfly-eu`, or the instance. */
  readonly name: string
  /** Tells apart what has the same name: `PreheatPolicy/harbor/library/release-images`. */
  readonly key: string
}

/** One thing that is worth telling a person, in one line of text. */
export interface Notice {
  readonly severity: 'info' | 'error'
  readonly reason: NoticeReason
  readonly object: NoticeObject
  readonly at: Instant
  /** Without control characters and line breaks, at most 1,000 characters. */
  readonly message: string
  readonly executionId: string | undefined
  /** Commit of the configuration that it happened under. */
  readonly revision: string | undefined
  /** Where the reports can be read. */
  readonly url: string | undefined
}
