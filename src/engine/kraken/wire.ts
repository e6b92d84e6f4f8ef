import type { Digest, PlatformManifest } from '../../model/artifact.ts'
import type { KrakenSettings } from '../../model/provider.ts'
import { formatInstant, type Instant } from '../../model/duration.ts'
import type { ArtifactOrder, Job } from '../../model/task.ts'

/** The manifest that a job preheats. */
export function manifestOf(order: ArtifactOrder, job: Job): PlatformManifest | undefined {
  return order.manifests.find(({ digest }) => digest === job.manifest)
}

/** One blob that the origins must hold. */
export interface Wanted {
  readonly digest: Digest
  readonly sizeBytes: number
}

/** The content address of nothing. */
const NOTHING = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/**
 * The manifest, which Kraken keeps like any other blob and nodes read first, then config and layers. Of what is empty
 * there is nothing to pull; a declared size of 0 alone does not make a blob empty.
 */
export function wantedOf({ digest, sizeBytes, blobs }: PlatformManifest): readonly [Wanted, ...Wanted[]] {
  return [{ digest, sizeBytes }, ...blobs.filter((blob) => blob.digest !== digest && blob.digest !== NOTHING)]
}

/** Those blobs of which there is nothing that could be missing. */
export function emptyOf({ blobs }: PlatformManifest): Digest[] {
  return blobs.flatMap(({ digest }) => (digest === NOTHING ? [digest] : []))
}

/** Is this length of a blob all of it? Where its descriptor says 0 of what is not empty, no more can be told than some. */
export function isWhole({ sizeBytes }: Wanted, length: unknown): boolean {
  return sizeBytes === 0 ? typeof length === 'number' && length > 0 : length === sizeBytes
}

/**
 * Why Kraken cannot preheat a manifest of this media type; undefined when it can.
 *
 * The read-only registry backend asks for manifests without `Accept`, and is told that there is none where the manifest
 * is an OCI one (uber/kraken lib/backend/registrybackend, v0.1.27). The notification handler drops what it does not
 * know, and answers 200 (proxy/proxyserver/registry_events.go).
 */
export function refusalOf(mediaType: string, { mode, backend }: KrakenSettings): string | undefined {
  if (backend === 'registry' && OCI.has(mediaType)) {
    return (
      `its origins read from a registry and ask for manifests without Accept, ` +
      `so that the registry denies having an OCI manifest (${mediaType}): ` +
      `push the image as Docker schema 2, or set kraken.backend: other where the origins read from something else`
    )
  }
  if (mode === 'notify' && !NOTIFIABLE.test(mediaType)) {
    return `its proxy silently drops notifications of ${mediaType}: use kraken.mode: origins`
  }
  return undefined
}

const OCI: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
])
const NOTIFIABLE =
  /^application\/vnd\.(?:docker\.distribution\.manifest\.v\d+\+(?:json|prettyjws)|oci\.image\.manifest\.v1\+json)$/

/**
 * One push event in a distribution notification. Only one a request: up to v0.1.6 several collapse into the last.
 * A bad timestamp makes the whole request a 500, a missing target crashes the handler.
 */
export function notification(order: ArtifactOrder, manifest: PlatformManifest, id: string, now: Instant): string {
  const target = { mediaType: manifest.mediaType, digest: manifest.digest, repository: order.repository }
  return JSON.stringify({ events: [{ id, timestamp: formatInstant(now), action: 'push', target }] })
}

/** Reaches the handler and has no effect, which `/health` does not: Kraken's nginx answers that one too. */
export const NO_EVENTS = '{"events":[]}'

/** A repository is one path segment. */
export const paths = {
  notifications: '/registry/notifications',
  locations: (digest: string) => `/blobs/${digest}/locations`,
  /** Has the origin pull what it does not hold. */
  metainfo: (repository: string, digest: Digest) =>
    `/internal/namespace/${encodeURIComponent(repository)}/blobs/${digest}/metainfo`,
  /** The same, and what is held counts as just used; since v0.1.13. */
  prefetch: (repository: string, digest: Digest) =>
    `/namespace/${encodeURIComponent(repository)}/blobs/${digest}/prefetch`,
  /** Without `local` the backend is asked as well. */
  presence: (repository: string, digest: Digest) =>
    `/internal/namespace/${encodeURIComponent(repository)}/blobs/${digest}?local=true`,
  /** The tracker passes the origin's answer on. */
  relayed: (repository: string, digest: Digest) =>
    `/namespace/${encodeURIComponent(repository)}/blobs/${digest}/metainfo`,
} as const

/**
 * Is this what an origin tells of a blob that it holds? `{"Info":{"Name":"<hex>","Length":<bytes>,…}}`, which the tracker
 * hands on (uber/kraken core/metainfo.go, v0.1.27).
 */
export function isMetainfoOf(blob: Wanted, bytes: Buffer): boolean {
  let info: unknown
  try {
    info = (JSON.parse(bytes.toString('utf8')) as { readonly Info?: unknown } | null)?.Info
  } catch {
    return false
  }
  if (typeof info !== 'object' || info === null || !('Name' in info) || !('Length' in info)) return false
  return info.Name === blob.digest.slice('sha256:'.length) && isWhole(blob, info.Length)
}

/** Owners, best first, as `Origin-Locations` names them: `host:port`. Undefined when this is no such header. */
export function parseLocations(header: string | undefined): string[] | undefined {
  if (header === undefined || header.length > 16_384) return undefined
  const addresses = header
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '')
  const keys = addresses.map((one) => (/^[^\s/?#@\\]+$/.test(one) ? addressOf(`http://${one}`) : undefined))
  return keys.every((key) => key !== undefined) ? [...new Set(keys)] : undefined
}

/** `host:port`, lower case, of a URL; undefined for what is none. */
export function addressOf(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined
  const { hostname, port, protocol } = new URL(url)
  return `${hostname}:${port || (protocol === 'https:' ? '443' : '80')}`
}
