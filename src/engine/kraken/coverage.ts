import type { Wanted } from './wire.ts'
import type { Digest } from '../../model/artifact.ts'
import { named, type Claims } from '../../model/evidence.ts'
import type { JobProgress } from '../../model/task.ts'

/** What one look showed of one blob. */
export interface BlobLook {
  readonly blob: Wanted
  /** Addresses of the origins that own it. */
  readonly owners: readonly string[]
  /** Those of them that hold all of it. */
  readonly holders: readonly string[]
}

/**
 * Do as many owners hold it as are asked for?
 * @param replicas undefined: all owners
 */
export function isCovered({ owners, holders }: BlobLook, replicas: number | undefined): boolean {
  return holders.length > 0 && holders.length >= (replicas ?? owners.length)
}

/**
 * What the owners were seen to hold. Without its manifest no node can pull the image, so that nothing of it counts as
 * cached then.
 * @param looks the manifest's first
 * @param empty blobs that nobody was asked for, because there is nothing of them
 */
export function claimsOf(
  looks: readonly BlobLook[],
  empty: readonly Digest[],
  replicas: number | undefined,
  source: Claims['source'],
): Claims {
  const [manifest, ...blobs] = looks
  const covered = blobs.filter((one) => isCovered(one, replicas)).map(({ blob }) => blob.digest)
  const cached = manifest && isCovered(manifest, replicas) ? [...covered, ...empty] : []
  const peers = new Set(looks.flatMap(({ holders }) => holders))
  return {
    kind: 'presence',
    source,
    cached,
    peers: peers.size,
    peerNames: named(peers),
  }
}

/**
 * In bytes: what some owner holds. Copies to the other owners are not counted, or an image would grow by them.
 * @param looks at what is left of it to pull; all else is held
 */
export function progressOf(wanted: readonly Wanted[], looks: readonly BlobLook[]): JobProgress {
  const bytesOf = (some: readonly Wanted[]) => some.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const totalBytes = bytesOf(wanted)
  const missing = looks.filter(({ holders }) => holders.length === 0).map(({ blob }) => blob)
  return { doneBytes: totalBytes - bytesOf(missing), totalBytes }
}

/** What is still missing, for a person: the first blob by name and the others by number; undefined for nothing. */
export function shortfallOf(looks: readonly BlobLook[], replicas: number | undefined): string | undefined {
  const short = looks.filter((one) => !isCovered(one, replicas))
  const [first] = short
  if (first === undefined) return undefined
  const more = short.length === 1 ? '' : `, and ${short.length - 1} more of ${looks.length} blobs fall short`
  return `${first.blob.digest} is held by ${first.holders.length} of ${replicas ?? first.owners.length} origins${more}`
}

/** Why waiting cannot help: Kraken keeps fewer copies than are asked for. */
export function fewOwners(looks: readonly BlobLook[], replicas: number | undefined): string | undefined {
  const few = looks.find(({ owners }) => owners.length < (replicas ?? 0))
  return (
    few &&
    `the origins name ${few.owners.length} owners of ${few.blob.digest}, and kraken.replicas asks for ${replicas}`
  )
}
