import type { ArtifactType, Digest } from './artifact.ts'
import type { Instant } from './duration.ts'
import type { SignatureKind } from './signature.ts'
import type { Scan } from './vulnerability.ts'

/**
 * What a registry lists: one artifact with the tags that point at it. An `oci` registry lists one a tag and says nothing
 * of its digest: a HEAD for every tag of a registry is what exhausts rate limits.
 */
export interface Candidate {
  /** With the project: `library/nginx`. Never with a leading slash. */
  readonly repository: string
  /** What filters see: the repository without the project prefix. */
  readonly name: string
  readonly digest: Digest | undefined
  readonly tags: readonly string[]
  /** Names; undefined where the registry has no labels. */
  readonly labels: readonly string[] | undefined
  /** Undefined until the manifest is read (`oci`). */
  readonly type: ArtifactType | undefined
  /** When it, or the youngest of its tags, was pushed; undefined where the registry does not say (`oci`). */
  readonly pushedAt: Instant | undefined
  /** Of an index, the manifests that it lists; empty where the registry does not say. */
  readonly children: readonly Digest[]
  /** Undefined where it was not asked for, or the listing does not say. */
  readonly signatures: readonly SignatureKind[] | undefined
  /** Likewise. */
  readonly scan: Scan | undefined
}
