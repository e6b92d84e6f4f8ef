declare const brand: unique symbol

/** A content address, `sha256:` and 64 hex digits. Only {@link parseDigest} makes one. */
export type Digest = string & { readonly [brand]: 'Digest' }

const DIGEST = /^sha256:[0-9a-f]{64}$/

/** @throws {TypeError} when `text` is not a lower-case SHA-256 digest. */
export function parseDigest(text: string): Digest {
  if (!DIGEST.test(text)) throw new TypeError(`not a sha256 digest: ${JSON.stringify(text.slice(0, 100))}`)
  return text as Digest
}

/** `linux/amd64` or `linux/arm/v7`. */
export type Platform = string

/** What an artifact is, by Harbor's resolution (contracts/harbor.md §2.1). */
export type ArtifactType = 'image' | 'cnai' | 'other'

/**
 * What a registry lists: one artifact with the tags that point at it. An `oci` registry lists one a tag, and resolves
 * the digest only where the name filters want the tag, because a HEAD for every tag of a registry is what exhausts
 * rate limits.
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
}

/** One image in one registry, pinned to content. */
export interface Artifact {
  readonly repository: string
  readonly digest: Digest
  /** Those that selected it, sorted. */
  readonly tags: readonly string[]
}

export interface Blob {
  readonly digest: Digest
  readonly sizeBytes: number
}

/** One manifest that an engine is told to preheat: a single platform's, never an index. */
export interface PlatformManifest {
  readonly digest: Digest
  readonly mediaType: string
  /** Undefined for an artifact that is not an index: its manifest does not say. */
  readonly platform: Platform | undefined
  /** The manifest's own bytes. */
  readonly sizeBytes: number
  /** Config and layers, each digest once, foreign layers left out. */
  readonly blobs: readonly Blob[]
}

/** What stands behind a digest. */
export interface Content {
  readonly digest: Digest
  readonly type: ArtifactType
  readonly isIndex: boolean
  /** Attestation manifests left out; in the index's order. */
  readonly manifests: readonly PlatformManifest[]
}

/** Config and layers of several manifests, each digest once. */
export function distinctBlobs(manifests: readonly PlatformManifest[]): Blob[] {
  const seen = new Map<Digest, Blob>()
  for (const manifest of manifests) for (const blob of manifest.blobs) seen.set(blob.digest, blob)
  return [...seen.values()]
}

/** Bytes that an engine has to hold for these manifests. */
export function sizeOf(manifests: readonly PlatformManifest[]): number {
  return distinctBlobs(manifests).reduce((sum, blob) => sum + blob.sizeBytes, 0)
}
