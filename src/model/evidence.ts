import type { Digest } from './artifact.ts'
import type { Instant } from './duration.ts'

/** How it is known that blobs are cached. */
export interface Evidence {
  /** `success_tasks`: Dragonfly's own list of what it fetched. */
  readonly kind: 'success_tasks'
  readonly source: 'claimed-by-engine' | 'observed'
  readonly observedAt: Instant
  /** Blobs shown to be cached, counted once a cluster. */
  readonly blobs: number
  /** Blobs expected, counted likewise. */
  readonly of: number
  /** Distinct hosts that hold them. */
  readonly peers: number
}

/** What an engine showed about one job's blobs. */
export interface Claims {
  readonly kind: Evidence['kind']
  readonly source: Evidence['source']
  readonly cached: readonly Digest[]
  readonly peers: number
}
