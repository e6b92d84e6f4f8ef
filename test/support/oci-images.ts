import { createHash, randomBytes } from 'node:crypto'

export interface ImageOptions {
  /** Given, the image is an index of these (`linux/arm64`, `linux/arm/v7`); left out, a single manifest. */
  readonly platforms?: readonly string[]
  /** `image` is the default. The others have the media types of their kind. */
  readonly type?: 'image' | 'cnai' | 'chart'
  readonly format?: 'oci' | 'docker'
  /** A manifest of buildkit's provenance beside the platforms of an index; default true for OCI. */
  readonly attestation?: boolean
  /** Default 2. */
  readonly layers?: number
  /** Default 1,000. */
  readonly layerBytes?: number
  /** Equal seeds make equal images; default random. */
  readonly seed?: string
}

interface BuiltBlob {
  readonly digest: string
  readonly sizeBytes: number
}

/** One platform's manifest, attestations left out. */
interface BuiltManifest {
  readonly digest: string
  readonly platform: string | undefined
  readonly mediaType: string
  readonly sizeBytes: number
  /** Config first, then layers. */
  readonly blobs: readonly BuiltBlob[]
}

/** An image as bytes. */
export interface BuiltImage {
  readonly digest: string
  readonly mediaType: string
  readonly isIndex: boolean
  /** What Harbor calls it. */
  readonly harborType: 'IMAGE' | 'CNAI' | 'CHART'
  readonly manifests: readonly BuiltManifest[]
  /** Everything that is pushed to `/manifests/`, children before the index, by digest. */
  readonly documents: ReadonlyMap<string, { readonly mediaType: string; readonly bytes: Buffer }>
  readonly blobs: ReadonlyMap<string, Buffer>
}

const mediaTypes = {
  oci: {
    index: 'application/vnd.oci.image.index.v1+json',
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  },
  docker: {
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  },
}

const kinds = {
  image: { harborType: 'IMAGE', config: undefined, layer: undefined, artifactType: undefined },
  cnai: {
    harborType: 'CNAI',
    config: 'application/vnd.cncf.model.config.v1+json',
    layer: 'application/vnd.cncf.model.weight.v1.raw',
    artifactType: 'application/vnd.cncf.model.manifest.v1+json',
  },
  chart: {
    harborType: 'CHART',
    config: 'application/vnd.cncf.helm.config.v1+json',
    layer: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
    artifactType: undefined,
  },
} as const

/** Makes an image that any registry takes; its layers are noise. */
export function buildImage(options: ImageOptions = {}): BuiltImage {
  const format = options.format ?? 'oci'
  const types = mediaTypes[format]
  const kind = kinds[options.type ?? 'image']
  const seed = options.seed ?? randomBytes(8).toString('hex')
  const blobs = new Map<string, Buffer>()
  const documents = new Map<string, { mediaType: string; bytes: Buffer }>()

  const addBlob = (bytes: Buffer): BuiltBlob => {
    const digest = sha256(bytes)
    blobs.set(digest, bytes)
    return { digest, sizeBytes: bytes.length }
  }
  const addDocument = (mediaType: string, body: object): { digest: string; size: number } => {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...body }))
    const digest = sha256(bytes)
    documents.set(digest, { mediaType, bytes })
    return { digest, size: bytes.length }
  }
  const manifestFor = (platform: string | undefined, layerType: string = kind.layer ?? types.layer): BuiltManifest => {
    const [os = 'linux', architecture = 'amd64'] = platform?.split('/') ?? []
    const config = addBlob(
      Buffer.from(JSON.stringify({ os, architecture, seed, rootfs: { type: 'layers', diff_ids: [] } })),
    )
    const layers = Array.from({ length: options.layers ?? 2 }, (_, index) =>
      addBlob(noise(`${seed} ${platform ?? ''} ${index}`, options.layerBytes ?? 1000)),
    )
    const { digest, size } = addDocument(types.manifest, {
      ...(kind.artifactType && { artifactType: kind.artifactType }),
      config: { mediaType: kind.config ?? types.config, digest: config.digest, size: config.sizeBytes },
      layers: layers.map((layer) => ({ mediaType: layerType, digest: layer.digest, size: layer.sizeBytes })),
    })
    return { digest, platform, mediaType: types.manifest, sizeBytes: size, blobs: [config, ...layers] }
  }

  if (options.platforms === undefined) {
    const manifest = manifestFor(undefined)
    const { digest, mediaType } = manifest
    return { digest, mediaType, isIndex: false, harborType: kind.harborType, manifests: [manifest], documents, blobs }
  }
  const manifests = options.platforms.map((platform) => manifestFor(platform))
  const children: object[] = manifests.map(({ digest, mediaType, sizeBytes, platform }) => {
    const [os, architecture, variant] = platform!.split('/')
    return { mediaType, digest, size: sizeBytes, platform: { os, architecture, ...(variant && { variant }) } }
  })
  if (options.attestation ?? format === 'oci') {
    const { digest, mediaType, sizeBytes } = manifestFor('unknown/unknown', 'application/vnd.in-toto+json')
    children.push({
      mediaType,
      digest,
      size: sizeBytes,
      platform: { os: 'unknown', architecture: 'unknown' },
      annotations: {
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': manifests[0]?.digest,
      },
    })
  }
  const { digest } = addDocument(types.index, { manifests: children })
  return { digest, mediaType: types.index, isIndex: true, harborType: kind.harborType, manifests, documents, blobs }
}

export interface ArtifactOptions {
  readonly artifactType?: string
  /** Default: the empty config. */
  readonly configType?: string
  readonly layers: readonly {
    readonly mediaType: string
    readonly bytes: Uint8Array
    readonly annotations?: Readonly<Record<string, string>>
  }[]
  readonly annotations?: Readonly<Record<string, string>>
}

/** What is pushed together: an image, or an artifact that is none. */
export type Pushable = Pick<BuiltImage, 'digest' | 'documents' | 'blobs'>

/** Makes an artifact that is no image: a signature, a bundle. */
export function buildArtifact({ artifactType, configType, layers, annotations }: ArtifactOptions): Pushable {
  const config = Buffer.from('{}')
  const blobs = new Map([config, ...layers.map((layer) => Buffer.from(layer.bytes))].map((one) => [sha256(one), one]))
  const mediaType = mediaTypes.oci.manifest
  const manifest = {
    schemaVersion: 2,
    mediaType,
    ...(artifactType && { artifactType }),
    config: {
      mediaType: configType ?? 'application/vnd.oci.empty.v1+json',
      digest: sha256(config),
      size: config.length,
    },
    layers: layers.map((layer) => ({
      mediaType: layer.mediaType,
      digest: sha256(Buffer.from(layer.bytes)),
      size: layer.bytes.length,
      ...(layer.annotations && { annotations: layer.annotations }),
    })),
    ...(annotations && { annotations }),
  }
  const bytes = Buffer.from(JSON.stringify(manifest))
  return { digest: sha256(bytes), documents: new Map([[sha256(bytes), { mediaType, bytes }]]), blobs }
}

/** Makes an index of what was built: the fallback of the referrers API. */
export function buildReferrersIndex(
  referrers: readonly { readonly built: Pushable; readonly artifactType?: string }[],
): Pushable {
  const mediaType = mediaTypes.oci.index
  const manifests = referrers.map(({ built, artifactType }) => {
    const { mediaType: type, bytes } = built.documents.get(built.digest)!
    return { mediaType: type, digest: built.digest, size: bytes.length, ...(artifactType && { artifactType }) }
  })
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }))
  return { digest: sha256(bytes), documents: new Map([[sha256(bytes), { mediaType, bytes }]]), blobs: new Map() }
}

/** Where an image is pushed to, and with which `Authorization`. */
export interface PushOptions extends ImageOptions {
  readonly authorization?: string
}

/** Builds an image and pushes it to a registry by HTTP, blobs first. */
export async function pushImage(
  endpoint: string,
  repository: string,
  tag: string,
  options: PushOptions = {},
): Promise<BuiltImage> {
  const image = buildImage(options)
  await pushBuilt(endpoint, repository, [tag], image, options.authorization)
  return image
}

/** Pushes an image that was built; without tags by its digest only. */
export async function pushBuilt(
  endpoint: string,
  repository: string,
  tags: readonly string[],
  image: Pushable,
  authorization?: string,
): Promise<void> {
  const base = `${endpoint}/v2/${repository}`
  const headers: Record<string, string> = authorization === undefined ? {} : { authorization }
  for (const [digest, bytes] of image.blobs) {
    const begun = await expectStatus(fetch(`${base}/blobs/uploads/`, { method: 'POST', headers }), 202)
    const upload = new URL(begun.headers.get('location')!, endpoint)
    upload.searchParams.set('digest', digest)
    const body = {
      method: 'PUT',
      headers: { ...headers, 'content-type': 'application/octet-stream' },
      body: new Uint8Array(bytes),
    }
    await expectStatus(fetch(upload, body), 201)
  }
  for (const [digest, { mediaType, bytes }] of image.documents) {
    const references = digest === image.digest && tags.length > 0 ? tags : [digest]
    for (const reference of references) {
      const put = { method: 'PUT', headers: { ...headers, 'content-type': mediaType }, body: new Uint8Array(bytes) }
      await expectStatus(fetch(`${base}/manifests/${reference}`, put), 201)
    }
  }
}

async function expectStatus(sent: Promise<Response>, status: number): Promise<Response> {
  const answer = await sent
  const body = await answer.text()
  if (answer.status !== status) throw new Error(`${answer.url} answered ${answer.status}: ${body.slice(0, 300)}`)
  return answer
}

function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** Bytes that look random and are the same for the same seed. */
function noise(seed: string, length: number): Buffer {
  const chunks = Array.from({ length: Math.ceil(length / 32) }, (_, index) =>
    createHash('sha256').update(`${seed} ${index}`).digest(),
  )
  return Buffer.concat(chunks).subarray(0, length)
}
