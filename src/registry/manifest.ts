import { createHash } from 'node:crypto'
import { EdgeError } from '../model/errors.ts'
import { parseDigest, type ArtifactType, type Blob, type Digest, type Platform } from '../model/artifact.ts'
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../model/media-types.ts'
import { field, parseJson } from './http.ts'

const OMLMD_MODEL = 'application/x-mlmodel'

/** By `artifactType` or the config's media type. Models that Kubeflow's modelcars carry are images like any other. */
const TYPES: readonly (readonly [RegExp, ArtifactType])[] = [
  [/^application\/vnd\.(oci\.image\.config\.v1|docker\.container\.image\.v1)\+json$/, 'image'],
  // ModelPack, by its name at the CNCF and the one before.
  [/^application\/vnd\.(cncf|cnai)\.model\./, 'cnai'],
  // Models in the formats of KitOps, Docker, ORMB and omlmd.
  [/^application\/(vnd\.(kitops\.modelkit|docker\.ai\.model|caicloud\.model)\.|x-mlmodel$)/, 'cnai'],
  [/^application\/vnd\.cncf\.helm\.config\./, 'chart'],
  [/^application\/vnd\.wasm\.config\./, 'wasm'],
  [/^application\/vnd\.cnab\./, 'cnab'],
]

/** Of the release candidates of OCI 1.1, taken out before it was final. */
const OCI_ARTIFACT = 'application/vnd.oci.artifact.manifest.v1+json'

const MAX_CHILDREN = 100
const MAX_LAYERS = 1000

/** One platform's manifest. */
export interface ImageManifest {
  readonly kind: 'manifest'
  readonly mediaType: string
  readonly type: ArtifactType
  /** Config and layers, each digest once, foreign layers left out. */
  readonly blobs: readonly Blob[]
}

/** A list of manifests. */
export interface ImageIndex {
  readonly kind: 'index'
  readonly mediaType: string
  readonly type: ArtifactType
  /** In the document's order, attestations left out. */
  readonly children: readonly IndexChild[]
}

interface IndexChild {
  readonly digest: Digest
  readonly platform: Platform | undefined
}

/** The content address of bytes. */
export function digestOf(bytes: Uint8Array): Digest {
  return parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`)
}

/**
 * Reads a manifest or an index.
 * @param name what it is called in errors: `library/app@sha256:…`
 * @param contentType for a document that does not say itself what it is
 * @throws {EdgeError} PH6005
 */
export function parseManifest(
  bytes: Buffer,
  contentType: string | undefined,
  name: string,
): ImageManifest | ImageIndex {
  const document = parseJson(bytes)
  const refuse = (why: string) => new EdgeError('unintelligible', 'PH6005', `${name} ${why}`)
  if (field(document, 'schemaVersion') === 1)
    throw refuse('is a schema 1 manifest, which engines cannot preheat: push the image again with a current tool')
  if (field(document, 'mediaType') === OCI_ARTIFACT)
    throw refuse(
      'is an artifact manifest of an OCI 1.1 candidate, which engines cannot preheat: push it again as an image manifest',
    )
  const children = field(document, 'manifests')
  const layers = field(document, 'layers')
  // A document that is both is read as one thing here and as the other by an engine (CVE-2021-41190).
  if (Array.isArray(children) === Array.isArray(layers)) throw refuse('is neither a manifest nor an index')
  if (Array.isArray(children)) {
    if (children.length > MAX_CHILDREN) throw refuse(`lists more than ${MAX_CHILDREN} manifests`)
    return {
      kind: 'index',
      mediaType: mediaTypeOf(document, contentType, [OCI_INDEX, DOCKER_LIST]),
      type: indexType(document),
      children: children.filter((child) => !isAttestation(child)).map((child) => childOf(child, refuse)),
    }
  }
  const list = layers as unknown[]
  if (list.length > MAX_LAYERS) throw refuse(`has more than ${MAX_LAYERS} layers`)
  // An empty config is one of them: Dragonfly's manager preheats all that a manifest names (contracts/dragonfly.md §1.4).
  const blobs = [field(document, 'config'), ...list.filter((layer) => !isForeign(layer))]
  return {
    kind: 'manifest',
    mediaType: mediaTypeOf(document, contentType, [OCI_MANIFEST, DOCKER_MANIFEST]),
    type: manifestType(document, list),
    blobs: [...new Map(blobs.map((one) => blobOf(one, refuse)).map((blob) => [blob.digest, blob])).values()],
  }
}

type Refuse = (why: string) => EdgeError

function mediaTypeOf(document: unknown, contentType: string | undefined, known: readonly [string, string]): string {
  const said = [field(document, 'mediaType'), contentType?.split(';')[0]?.trim()]
  return known.find((type) => said.includes(type)) ?? known[0]
}

/** Harbor's resolution: `artifactType` before the config's media type (contracts/harbor.md §2.1). */
function manifestType(document: unknown, layers: readonly unknown[]): ArtifactType {
  if (isWasmByAnnotation(field(document, 'annotations'))) return 'wasm'
  const own = textOf(field(document, 'artifactType'))
  const type = typeOf(own ?? textOf(field(field(document, 'config'), 'mediaType')) ?? '')
  // omlmd, of Kubeflow's model registry, marks only the layers.
  return type === 'other' && layers.some((layer) => field(layer, 'mediaType') === OMLMD_MODEL) ? 'cnai' : type
}

/** An index is an image unless it says otherwise. */
function indexType(document: unknown): ArtifactType {
  const annotated = field(field(document, 'annotations'), 'org.opencontainers.artifactType')
  const type = textOf(field(document, 'artifactType')) ?? textOf(annotated)
  return type === undefined ? 'image' : typeOf(type)
}

function typeOf(mediaType: string): ArtifactType {
  return TYPES.find(([pattern]) => pattern.test(mediaType))?.[1] ?? 'other'
}

/** An image with a module in it, as Harbor tells it from one without (src/controller/artifact/processor/wasm). */
function isWasmByAnnotation(annotations: unknown): boolean {
  return (
    field(annotations, 'module.wasm.image/variant') === 'compat' || field(annotations, 'run.oci.handler') === 'wasm'
  )
}

/** What buildkit puts beside the platforms: provenance and SBOMs, which no node pulls. */
function isAttestation(child: unknown): boolean {
  const platform = field(child, 'platform')
  return (
    field(field(child, 'annotations'), 'vnd.docker.reference.type') === 'attestation-manifest' ||
    (field(platform, 'os') === 'unknown' && field(platform, 'architecture') === 'unknown')
  )
}

/** Layers that come from elsewhere than the registry. */
function isForeign(layer: unknown): boolean {
  const type = textOf(field(layer, 'mediaType')) ?? ''
  const urls = field(layer, 'urls')
  if (type.startsWith('application/vnd.docker.image.rootfs.foreign.')) return true
  return type.includes('.nondistributable.') && Array.isArray(urls) && urls.length > 0
}

function childOf(child: unknown, refuse: Refuse): IndexChild {
  const type = textOf(field(child, 'mediaType')) ?? ''
  if (![OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].includes(type))
    throw refuse('lists something that is neither a manifest nor an index')
  return { digest: blobOf(child, refuse).digest, platform: platformOf(field(child, 'platform'), refuse) }
}

function platformOf(platform: unknown, refuse: Refuse): Platform | undefined {
  const os = textOf(field(platform, 'os'))
  const architecture = textOf(field(platform, 'architecture'))
  if (os === undefined || architecture === undefined) return undefined
  const variant = textOf(field(platform, 'variant'))
  // As containerd does (platforms/database.go, `normalizeArch`): these variants are what the bare name means.
  const implied = (architecture === 'arm64' && variant === 'v8') || (architecture === 'amd64' && variant === 'v1')
  const text = [os, architecture, ...(variant === undefined || implied ? [] : [variant])].join('/')
  if (!/^[\w.-]{1,40}(\/[\w.-]{1,40}){1,2}$/.test(text)) throw refuse('names a platform that is none')
  return text
}

function blobOf(descriptor: unknown, refuse: Refuse): Blob {
  const size = field(descriptor, 'size')
  const digest = field(descriptor, 'digest')
  if (!Number.isSafeInteger(size) || (size as number) < 0) throw refuse('has a descriptor without a size')
  try {
    return { digest: parseDigest(String(digest)), sizeBytes: size as number }
  } catch {
    throw refuse('has a descriptor without a sha256 digest')
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
