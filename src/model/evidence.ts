import type { BlobName } from './artifact.ts'
import type { Instant } from './duration.ts'

/**
 * How one looks. `success_tasks`: Dragonfly's own list of what it fetched. `get_task`: each host was asked for the blob.
 * `presence`: each owner was asked for it. `read_through`: it was read through the cache and has the right digest.
 */
type EvidenceKind = 'success_tasks' | 'get_task' | 'presence' | 'read_through'

/** How it is known that blobs are cached. */
export interface Evidence {
  readonly kind: EvidenceKind
  readonly source: 'claimed-by-engine' | 'observed'
  readonly observedAt: Instant
  /** Blobs shown to be cached, counted once a cluster. */
  readonly blobs: number
  /** Blobs expected, counted likewise. */
  readonly of: number
  /** Distinct hosts that hold them. */
  readonly peers: number
}

/** What is known to be warm, and since when. */
export interface LedgerEntry {
  readonly key: string
  readonly warmAt: Instant
  readonly evidence: Evidence
}

/** What an engine showed about one job's blobs; a file is one. */
export interface Claims {
  readonly kind: Evidence['kind']
  readonly source: Evidence['source']
  readonly cached: readonly BlobName[]
  readonly peers: number
  /** Host names and addresses of those, as the engine has them; left out: it does not say. Unchecked. */
  readonly peerNames?: readonly string[]
}

/** Of one job: what a thousand peers are called is no part of its row. */
const MOST_NAMED = 100

/** The distinct ones in order, cut. */
export function named(peers: Iterable<string>): string[] {
  return [...new Set(peers)].sort().slice(0, MOST_NAMED)
}
