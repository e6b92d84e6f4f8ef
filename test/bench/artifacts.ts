import { createHash } from 'node:crypto'

/** An image that exists in the bench's registry; the same in every process. */
export interface BenchArtifact {
  /** With its project: `bench/app-00042`. */
  readonly repository: string
  readonly digest: string
  readonly manifest: Buffer
  /** Config and layers. */
  readonly blobs: readonly string[]
}

export const PROJECT = 'bench'
const LAYERS = 3

/** Artifact number `index`, from 0. No blob is in two of them. */
export function artifactOf(index: number): BenchArtifact {
  const blobs = Array.from({ length: 1 + LAYERS }, (_, i) => digest(`blob ${i} of artifact ${index}`))
  const [config, ...layers] = blobs.map((one, i) => ({
    mediaType: `application/vnd.oci.image.${i === 0 ? 'config.v1+json' : 'layer.v1.tar+gzip'}`,
    digest: one,
    size: 1000 + 1000 * i,
  }))
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers }))
  const repository = `${PROJECT}/app-${String(index).padStart(5, '0')}`
  return { repository, digest: digest(manifest), manifest, blobs }
}

/** The first `n`. */
export function artifactsOf(n: number): BenchArtifact[] {
  return Array.from({ length: n }, (_, index) => artifactOf(index))
}

function digest(bytes: string | Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
