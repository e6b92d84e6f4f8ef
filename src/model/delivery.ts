import { parseDigest, type Digest } from './artifact.ts'
import type { Instant } from './duration.ts'
import type { EventKind } from './policy.ts'

/** Something happened to an artifact, or so we are told: whoever acts on it reads the artifact again from the registry. */
export interface ArtifactEvent {
  /** `push` and `sign` of an artifact that may be gone by now; `scan` perhaps of a child of an index. */
  readonly kind: EventKind
  /** With the project: `library/nginx`. Fits the distribution grammar. */
  readonly repository: string
  readonly tag?: string
  readonly digest?: Digest
}

/** An event that came in, or was found by comparing listings, and waits in the inbox. */
export interface Delivery extends ArtifactEvent {
  /** What makes a second one of it known: 64 hex digits. */
  readonly key: string
  readonly receivedAt: Instant
  /** As declared. */
  readonly registry: string
}

// github.com/distribution/reference, without the domain.
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^\w[\w.-]{0,127}$/
const MAX_REPOSITORY_CHARS = 255

/** Does `text` fit the distribution grammar of repositories? */
export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_REPOSITORY_CHARS && REPOSITORY.test(text)
}

/** Does `text` fit the distribution grammar of tags? */
export function isTagName(text: string): boolean {
  return TAG.test(text)
}

// Cosign's tags and, without a suffix, the fallback tag of the referrers API.
const ATTACHED = /^sha256-(?<hex>[0-9a-f]{64})(?:\.(?<suffix>\w+))?$/

/**
 * What the push of a tag means: a tag that belongs to another digest is a signature of that, or may be one.
 * @returns undefined where it is nothing that is preheated: an SBOM or an attestation
 */
export function pushedTag(repository: string, tag: string, digest: Digest | undefined): ArtifactEvent | undefined {
  const attached = ATTACHED.exec(tag)?.groups
  if (attached === undefined) return { kind: 'push', repository, tag, ...(digest && { digest }) }
  const isSignature = attached['suffix'] === undefined || attached['suffix'] === 'sig'
  return isSignature ? { kind: 'sign', repository, digest: parseDigest(`sha256:${attached['hex']!}`) } : undefined
}
