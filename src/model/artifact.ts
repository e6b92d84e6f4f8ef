declare const brand: unique symbol

/** A content address, `sha256:` and 64 hex digits. Only {@link parseDigest} makes one. */
export type Digest = string & { readonly [brand]: 'Digest' }

const DIGEST = /^sha256:[0-9a-f]{64}$/

/** @throws {TypeError} when `text` is not a lower-case SHA-256 digest. */
export function parseDigest(text: string): Digest {
  if (!DIGEST.test(text)) throw new TypeError(`not a sha256 digest: ${JSON.stringify(text.slice(0, 100))}`)
  return text as Digest
}

/**
 * Where a whole file is downloaded from: http or https, without user info and fragment, spelled as URL parsers spell it,
 * because Dragonfly's two halves make one id of it only then. Only {@link parseFileUrl} makes one.
 */
export type FileUrl = string & { readonly [brand]: 'FileUrl' }

/** @throws {TypeError} for anything else; the message does not repeat it, as it may hold a password. */
export function parseFileUrl(text: string): FileUrl {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isPlain = url?.username === '' && url.password === '' && url.hash === ''
  if (url === undefined || !isPlain || !/^https?:$/.test(url.protocol)) throw new TypeError('not the URL of a file')
  return url.href as FileUrl
}

/** What an engine's evidence is about: a blob by its digest, or a file by its URL. */
export type BlobName = Digest | FileUrl

/** `linux/amd64` or `linux/arm/v7`. */
export type Platform = string

/** What an artifact is, by Harbor's resolution (contracts/harbor.md §2.1). */
export type ArtifactType = 'image' | 'cnai' | 'chart' | 'wasm' | 'cnab' | 'other'

/** One image in one registry, pinned to content. */
export interface Artifact {
  readonly repository: string
  readonly digest: Digest
  /** Those that selected it, sorted. */
  readonly tags: readonly string[]
}

/** A file by its URL, which an engine downloads. Until then it has no digest and no size. */
interface WholeFile {
  readonly file: FileUrl
}

/** What is preheated. */
export type Subject = Artifact | WholeFile

/** What tells a subject from others in a registry, for sorting and for fingerprints: `library/app@sha256:…`, or a URL. */
export function subjectKey(subject: Subject): string {
  return 'file' in subject ? subject.file : `${subject.repository}@${subject.digest}`
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
  /**
   * What the index lists and the registry does not hold: somebody deleted it, or a proxy cache has not fetched it or
   * trims its indexes.
   */
  readonly absent: readonly AbsentManifest[]
}

/** A child of an index that the registry answers with 404. */
export interface AbsentManifest {
  readonly digest: Digest
  /** As the index says; undefined where it does not. */
  readonly platform: Platform | undefined
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
