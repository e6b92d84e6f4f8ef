import { field, inParallel, parseJson, type RegistryHttp, type RegistryRequest } from './http.ts'
import { OCI_INDEX } from '../model/media-types.ts'
import { pages, type Listing } from './pages.ts'
import { parseDigest, type Digest } from '../model/artifact.ts'
import type { HttpAnswer } from '../http.ts'
import type { SignatureKind, SignatureMaterial } from '../model/signature.ts'

const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json'
const COSIGN_ARTIFACT = 'application/vnd.dev.cosign.artifact.sig.v1+json'
const NOTATION = 'application/vnd.cncf.notary.signature'
const EMPTY_CONFIG = 'application/vnd.oci.empty.v1+json'
const BUNDLE_V03 = 'application/vnd.dev.sigstore.bundle.v0.3+json'
/** `.v0.3+json`, and before that `+json;version=0.1`. */
const BUNDLE = /^application\/vnd\.dev\.sigstore\.bundle[.+]/
const PREDICATE = 'dev.sigstore.bundle.predicateType'
/** What `cosign sign` writes there; everything else is an attestation. */
const SIGNATURE_PREDICATE = 'https://sigstore.dev/cosign/sign/v1'

const MAX_MATERIALS = 100
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024
const MAX_BLOB_BYTES = 1024 * 1024
const WIDTH = 4

/**
 * What a registry without the referrers API answers: 404 by the specification, the others as go-containerregistry takes
 * them (pkg/v1/remote/referrers.go); 405 is what a router says.
 */
const NO_SUCH_API = new Set([400, 404, 405, 406])

/** One repository, read with the right to pull it. */
export interface RepositoryReader {
  readonly http: RegistryHttp
  readonly repository: string
  /** Answers a path below the registry's endpoint. */
  ask(url: string, kind: RegistryRequest['kind'], accept: string): Promise<HttpAnswer>
  /** What a tag points at; undefined when there is no such tag. Costs no pull. */
  resolve(tag: string): Promise<Digest | undefined>
  /** The bytes of a digest, verified; undefined when they are not there. */
  read(kind: 'manifest' | 'blob', digest: Digest): Promise<Buffer | undefined>
}

/** What stands beside an artifact. */
interface Referrer {
  readonly digest: Digest
  readonly sizeBytes: number
  /** The artifact's type, or its config's; undefined where the list does not say. */
  readonly type: string | undefined
  readonly annotations: Readonly<Record<string, string>>
}

/** Something that a manifest holds and that may be a signature. */
interface Layer {
  readonly foundIn: Digest
  readonly kind: SignatureMaterial['kind']
  readonly digest: Digest
  readonly annotations: Readonly<Record<string, string>>
}

/**
 * Which kinds stand beside a digest, by what Harbor counts (contracts/harbor.md §2.7): cosign's tag, cosign's artifact
 * and any bundle of version 0.3, attestations too; a signature of notation.
 */
export async function signatureKindsOf(reader: RepositoryReader, digest: Digest): Promise<SignatureKind[]> {
  const kinds = new Set<SignatureKind>()
  if ((await reader.resolve(cosignTag(digest))) !== undefined) kinds.add('cosign')
  let opened = 0
  for await (const page of referrersOf(reader, digest))
    for (const referrer of page) {
      const opens = referrer.type === undefined && isReadable(referrer) && opened++ < MAX_MATERIALS
      const kind = kindOf(opens ? await typeInside(reader, referrer.digest) : referrer.type)
      if (kind !== undefined) kinds.add(kind)
      if (kinds.size === 2) return [...kinds].sort()
    }
  return [...kinds].sort()
}

/**
 * All that may be a signature of a digest: what `cosign` left at its tag, then what refers to it. At most 100; what is
 * larger than a signature can be, or gone since it was listed, is left out.
 */
export async function signaturesOf(reader: RepositoryReader, digest: Digest): Promise<SignatureMaterial[]> {
  const manifests = new Set<Digest>()
  const classic = await reader.resolve(cosignTag(digest))
  if (classic !== undefined) manifests.add(classic)
  for await (const page of referrersOf(reader, digest)) {
    for (const referrer of page)
      if (manifests.size < MAX_MATERIALS && mayHoldSignature(referrer)) manifests.add(referrer.digest)
    if (manifests.size === MAX_MATERIALS) break
  }
  const layers = (await inParallel([...manifests], WIDTH, (one) => layersIn(reader, one))).flat()
  const materials = await inParallel(layers.slice(0, MAX_MATERIALS), WIDTH, (layer) => materialOf(reader, layer))
  return materials.filter((material) => material !== undefined)
}

/** By the API, or by the tag that stands for it where a registry has none (contracts/kraken-and-registries.md §5.5). */
async function* referrersOf(reader: RepositoryReader, digest: Digest): AsyncGenerator<readonly Referrer[]> {
  const { http, repository } = reader
  const url = `/v2/${repository}/referrers/${digest}`
  const first = await reader.ask(url, 'page', OCI_INDEX)
  if (!hasApi(first)) {
    yield (await fallback(reader, digest)).map(referrerOf).filter((one) => one !== undefined)
    return
  }
  const what = `list what refers to ${repository}@${digest}`
  const listing: Listing = { url, entries: 'manifests', what, needs: 'repository:pull on the project' }
  const ask = (page: string) => (page === url ? Promise.resolve(first) : reader.ask(page, 'page', OCI_INDEX))
  for await (const page of pages(listing, http, ask)) yield page.map(referrerOf).filter((one) => one !== undefined)
}

/** A page of HTML with a 200 is no list either (contracts/kraken-and-registries.md §5.4). */
function hasApi({ status, headers, bytes }: HttpAnswer): boolean {
  if (status !== 200) return !NO_SUCH_API.has(status)
  return headers['content-type']?.startsWith(OCI_INDEX) === true || Array.isArray(field(parseJson(bytes), 'manifests'))
}

async function fallback(reader: RepositoryReader, digest: Digest): Promise<readonly unknown[]> {
  const index = await reader.resolve(fallbackTag(digest))
  const bytes = index && (await reader.read('manifest', index))
  const listed = bytes && field(parseJson(bytes), 'manifests')
  return Array.isArray(listed) ? (listed as unknown[]) : []
}

function fallbackTag(digest: Digest): string {
  return digest.replace(':', '-')
}

function cosignTag(digest: Digest): string {
  return `${fallbackTag(digest)}.sig`
}

function kindOf(type: string | undefined): SignatureKind | undefined {
  if (type === COSIGN_ARTIFACT || type === BUNDLE_V03) return 'cosign'
  return type === NOTATION ? 'notation' : undefined
}

function mayHoldSignature(referrer: Referrer): boolean {
  const { type, annotations } = referrer
  if (!isReadable(referrer) || isAttestation(annotations)) return false
  return type === undefined || type === EMPTY_CONFIG || type === COSIGN_ARTIFACT || BUNDLE.test(type)
}

function isReadable({ sizeBytes }: Referrer): boolean {
  return sizeBytes <= MAX_MANIFEST_BYTES
}

function isAttestation(annotations: Readonly<Record<string, string>>): boolean {
  const predicate = annotations[PREDICATE]
  return predicate !== undefined && predicate !== SIGNATURE_PREDICATE
}

async function typeInside(reader: RepositoryReader, digest: Digest): Promise<string | undefined> {
  const bytes = await reader.read('manifest', digest)
  return bytes && typeOf(parseJson(bytes))
}

/** `artifactType`, or the config's media type where the manifest is older than that field. */
function typeOf(manifest: unknown): string | undefined {
  return textOf(field(manifest, 'artifactType')) ?? textOf(field(field(manifest, 'config'), 'mediaType'))
}

async function layersIn(reader: RepositoryReader, manifest: Digest): Promise<Layer[]> {
  const bytes = await reader.read('manifest', manifest)
  const document = bytes && parseJson(bytes)
  const layers = field(document, 'layers')
  if (!Array.isArray(layers) || isAttestation(annotationsOf(document))) return []
  return (layers as unknown[]).flatMap((layer) => {
    const type = textOf(field(layer, 'mediaType')) ?? ''
    const kind = type === SIMPLE_SIGNING ? 'simple-signing' : BUNDLE.test(type) ? 'bundle' : undefined
    const { digest, sizeBytes } = addressOf(layer) ?? {}
    if (kind === undefined || digest === undefined || sizeBytes === undefined || sizeBytes > MAX_BLOB_BYTES) return []
    return [{ foundIn: manifest, kind, digest, annotations: annotationsOf(layer) }]
  })
}

async function materialOf(reader: RepositoryReader, layer: Layer): Promise<SignatureMaterial | undefined> {
  const { kind, foundIn, annotations } = layer
  const bytes = await reader.read('blob', layer.digest)
  if (bytes === undefined) return undefined
  return kind === 'bundle' ? { kind, foundIn, json: bytes } : { kind, foundIn, payload: bytes, annotations }
}

/** Undefined for what has no address: nobody can read it. */
function referrerOf(descriptor: unknown): Referrer | undefined {
  const address = addressOf(descriptor)
  if (address === undefined) return undefined
  return { ...address, type: textOf(field(descriptor, 'artifactType')), annotations: annotationsOf(descriptor) }
}

function addressOf(descriptor: unknown): { readonly digest: Digest; readonly sizeBytes: number } | undefined {
  const sizeBytes = field(descriptor, 'size')
  if (typeof sizeBytes !== 'number' || !(sizeBytes >= 0)) return undefined
  try {
    return { digest: parseDigest(String(field(descriptor, 'digest'))), sizeBytes }
  } catch {
    return undefined
  }
}

function annotationsOf(document: unknown): Readonly<Record<string, string>> {
  const annotations = field(document, 'annotations')
  const entries = typeof annotations === 'object' && annotations !== null ? Object.entries(annotations) : []
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
