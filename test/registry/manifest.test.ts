import { describe, expect, test } from 'vitest'
import { digestOf, parseManifest } from '../../src/registry/manifest.ts'
import { digest } from '../support/examples.ts'
import { parseDigest } from '../../src/model/artifact.ts'
import { buildImage } from '../support/oci-images.ts'
import { failureOf, listen, never, open } from './fixtures.ts'

const OCI = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'
const CONFIG = 'application/vnd.oci.image.config.v1+json'
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip'

function parse(document: unknown, contentType?: string) {
  return parseManifest(Buffer.from(JSON.stringify(document)), contentType, 'app')
}

function descriptor(name: string, mediaType = LAYER, more: object = {}) {
  return { mediaType, digest: digest(name), size: 10, ...more }
}

function manifest(overrides: object = {}) {
  return { schemaVersion: 2, config: descriptor('config', CONFIG), layers: [descriptor('layer')], ...overrides }
}

function index(manifests: object[], more: object = {}) {
  return { schemaVersion: 2, manifests, ...more }
}

function child(name: string, platform: object | undefined, more: object = {}) {
  return descriptor(name, OCI, { ...(platform && { platform }), ...more })
}

describe('a manifest', () => {
  test('is its config and its layers, each digest once', () => {
    const layers = [descriptor('one'), descriptor('two'), descriptor('one')]

    expect(parse(manifest({ layers }))).toEqual({
      kind: 'manifest',
      mediaType: OCI,
      type: 'image',
      blobs: ['config', 'one', 'two'].map((name) => ({ digest: digest(name), sizeBytes: 10 })),
    })
  })

  test('leaves out layers that come from elsewhere', () => {
    const layers = [
      descriptor('own'),
      descriptor('foreign', 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', { urls: ['https://x'] }),
      descriptor('elsewhere', 'application/vnd.oci.image.layer.nondistributable.v1.tar', { urls: ['https://x'] }),
      descriptor('pushed', 'application/vnd.oci.image.layer.nondistributable.v1.tar'),
    ]

    expect(parse(manifest({ layers }))).toMatchObject({
      blobs: ['config', 'own', 'pushed'].map((name) => ({ digest: digest(name) })),
    })
  })

  test.each([
    ['image', {}],
    ['image', { config: descriptor('c', 'application/vnd.docker.container.image.v1+json') }],
    ['cnai', { artifactType: 'application/vnd.cncf.model.manifest.v1+json' }],
    ['cnai', { config: descriptor('c', 'application/vnd.cncf.model.config.v1+json') }],
    ['cnai', { artifactType: 'application/vnd.cnai.model.manifest.v1+json' }],
    ['other', { artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json' }],
    ['other', { artifactType: 'application/vnd.oci.empty.v1+json' }],
    ['cnai', { config: descriptor('c', 'application/vnd.kitops.modelkit.config.v1+json') }],
    ['cnai', { artifactType: 'application/vnd.kitops.modelkit.manifest.v1+json' }],
    ['cnai', { config: descriptor('c', 'application/vnd.docker.ai.model.config.v0.1+json') }],
    ['cnai', { config: descriptor('c', 'application/vnd.caicloud.model.config.v1alpha1+json') }],
    ['cnai', { config: descriptor('c', 'x/y'), layers: [descriptor('m', 'application/x-mlmodel')] }],
    ['image', { layers: [descriptor('m', 'application/x-mlmodel')] }],
    ['chart', { config: descriptor('c', 'application/vnd.cncf.helm.config.v1+json') }],
    ['wasm', { config: descriptor('c', 'application/vnd.wasm.config.v1+json') }],
    ['wasm', { config: descriptor('c', 'application/vnd.wasm.config.v0+json') }],
    ['wasm', { annotations: { 'module.wasm.image/variant': 'compat' } }],
    ['wasm', { annotations: { 'run.oci.handler': 'wasm' } }],
    ['image', { annotations: { 'run.oci.handler': 'krun' } }],
    ['cnab', { config: descriptor('c', 'application/vnd.cnab.config.v1+json') }],
  ])('is of type %s with %j', (type, overrides) => {
    expect(parse(manifest(overrides)).type).toBe(type)
  })

  test('without a config of its own counts the empty one: an engine asks for it too', () => {
    const empty = { mediaType: 'application/vnd.oci.empty.v1+json', digest: digest('{}'), size: 2, data: 'e30=' }

    expect(parse(manifest({ artifactType: 'a/b', config: empty }))).toMatchObject({
      blobs: [{ digest: digest('{}'), sizeBytes: 2 }, { digest: digest('layer') }],
    })
  })

  test('that does not say what it is, is what its Content-Type says', () => {
    const docker = 'application/vnd.docker.distribution.manifest.v2+json'

    expect(parse(manifest(), `${docker}; charset=utf-8`).mediaType).toBe(docker)
    expect(parse(manifest({ mediaType: OCI }), docker).mediaType).toBe(OCI)
  })
})

describe('an index', () => {
  test('keeps its platforms in order and leaves attestations out', () => {
    const unknown = { os: 'unknown', architecture: 'unknown' }
    const children = [
      child('arm', { os: 'linux', architecture: 'arm', variant: 'v7' }),
      child('arm64', { os: 'linux', architecture: 'arm64', variant: 'v8' }),
      child(
        'attested',
        { os: 'linux', architecture: 'amd64' },
        { annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } },
      ),
      child('unknown', unknown),
      child('bare', undefined),
    ]

    expect(parse(index(children))).toEqual({
      kind: 'index',
      mediaType: INDEX,
      type: 'image',
      children: [
        { digest: digest('arm'), platform: 'linux/arm/v7' },
        { digest: digest('arm64'), platform: 'linux/arm64' },
        { digest: digest('bare'), platform: undefined },
      ],
    })
  })

  test.each([
    ['image', {}],
    ['cnab', { artifactType: 'application/vnd.cnab.manifest.v1' }],
    ['cnab', { annotations: { 'org.opencontainers.artifactType': 'application/vnd.cnab.manifest.v1' } }],
    ['other', { artifactType: 'application/vnd.example.things' }],
    ['cnai', { artifactType: 'application/vnd.cncf.model.manifest.v1+json' }],
  ])('is of type %s with %j', (type, more) => {
    expect(parse(index([], more)).type).toBe(type)
  })
})

test.each<[string, unknown, string]>([
  ['schema 1', { schemaVersion: 1, fsLayers: [] }, 'schema 1'],
  [
    'an artifact manifest',
    { mediaType: 'application/vnd.oci.artifact.manifest.v1+json', blobs: [] },
    'push it again as an image manifest',
  ],
  ['no JSON object', 7, 'neither'],
  ['manifest and index at once', { ...manifest(), manifests: [] }, 'neither'],
  ['a layer without a size', manifest({ layers: [descriptor('x', LAYER, { size: undefined })] }), 'size'],
  ['a layer with a negative size', manifest({ layers: [descriptor('x', LAYER, { size: -1 })] }), 'size'],
  ['a digest that is a path', manifest({ layers: [descriptor('x', LAYER, { digest: '../../etc' })] }), 'sha256 digest'],
  ['a platform that is Markdown', index([child('x', { os: '[x](y)', architecture: 'z' })]), 'platform'],
  ['a child that is no manifest', index([descriptor('x', 'text/plain')]), 'neither a manifest'],
  ['101 children', index(Array.from({ length: 101 }, () => child('x', undefined))), 'more than 100'],
  ['1,001 layers', manifest({ layers: Array.from({ length: 1001 }, () => descriptor('x')) }), 'more than 1000'],
])('%s is refused', (_what, document, message) => {
  expect(() => parse(document)).toThrow(
    expect.objectContaining({ code: 'PH6005', message: expect.stringContaining(message) }),
  )
})

/** Serves documents by digest, whatever the repository. */
function serve(documents: ReadonlyMap<string, { readonly bytes: Buffer }>) {
  return listen(({ pathname }) => {
    const bytes = documents.get(pathname.split('/').at(-1)!)?.bytes
    return bytes === undefined ? { status: 404 } : { body: bytes.toString() }
  })
}

function documentOf(value: object) {
  const bytes = Buffer.from(JSON.stringify(value))
  return [digestOf(bytes), { bytes }] as const
}

describe('content', () => {
  test('that was read is not asked for again', async () => {
    const image = buildImage({ platforms: ['linux/amd64'] })
    await using server = await serve(image.documents)
    const { source } = await open(server.endpoint, { type: 'oci' })

    const first = await source.content('a/app', parseDigest(image.digest), never)
    const asked = server.requests.length

    expect(await source.content('b/app', parseDigest(image.digest), never)).toEqual(first)
    expect(server.requests).toHaveLength(asked)
  })

  test('that does not match its digest is refused, of a child too', async () => {
    const image = buildImage({ platforms: ['linux/amd64'] })
    const altered = new Map(image.documents)
    altered.set(image.manifests[0]!.digest, { mediaType: OCI, bytes: Buffer.from('{"schemaVersion":2,"layers":[]}') })
    await using server = await serve(altered)
    const { source } = await open(server.endpoint, { type: 'oci' })

    const error = await failureOf(source.content('a/app', parseDigest(image.digest), never))

    expect(error).toMatchObject({ code: 'PH6008', message: expect.stringContaining(image.manifests[0]!.digest) })
  })

  test('of an index in an index is its platforms, of one deeper is refused', async () => {
    const image = buildImage({ platforms: ['linux/amd64', 'linux/arm64'] })
    const nest = (of: string) => documentOf(index([{ mediaType: INDEX, digest: of, size: 1 }]))
    const twice = nest(image.digest)
    const thrice = nest(twice[0])
    await using server = await serve(new Map<string, { readonly bytes: Buffer }>([...image.documents, twice, thrice]))
    const { source } = await open(server.endpoint, { type: 'oci' })

    const content = await source.content('a/app', twice[0], never)
    const error = await failureOf(source.content('a/app', thrice[0], never))

    expect(content.manifests.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/arm64'])
    expect(error).toMatchObject({ code: 'PH6005', message: expect.stringContaining('nested') })
  })

  test('of an index whose child is missing is what is there, and says what is not [R9]', async () => {
    const image = buildImage({ platforms: ['linux/amd64', 'linux/arm64'] })
    const missing = image.manifests[1]!.digest
    await using server = await serve(new Map([...image.documents].filter(([one]) => one !== missing)))
    const { source } = await open(server.endpoint, { type: 'oci' })

    const content = await source.content('a/app', parseDigest(image.digest), never)

    expect(content.manifests).toEqual([image.manifests[0]])
    expect(content.absent).toEqual([{ digest: missing, platform: 'linux/arm64' }])
  })

  test('that was not whole is looked at again, for what was missing only', async () => {
    const image = buildImage({ platforms: ['linux/amd64', 'linux/arm64'] })
    const documents = new Map(image.documents)
    const late = image.manifests[1]!.digest
    documents.delete(late)
    await using server = await serve(documents)
    const { source } = await open(server.endpoint, { type: 'oci' })
    await source.content('a/app', parseDigest(image.digest), never)
    const asked = server.requests.length
    documents.set(late, image.documents.get(late)!)

    const content = await source.content('a/app', parseDigest(image.digest), never)

    expect(content).toMatchObject({ manifests: image.manifests, absent: [] })
    expect(server.requests.slice(asked).map(({ url }) => url)).toEqual([`/v2/a/app/manifests/${late}`])
  })

  test('of an index whose child cannot be read now is an error', async () => {
    const image = buildImage({ platforms: ['linux/amd64', 'linux/arm64'] })
    const refused = image.manifests[1]!.digest
    await using server = await listen(({ pathname }) => {
      const one = pathname.split('/').at(-1)!
      return one === refused ? { status: 403 } : { body: image.documents.get(one)!.bytes.toString() }
    })
    const { source } = await open(server.endpoint, { type: 'oci' })

    const error = await failureOf(source.content('a/app', parseDigest(image.digest), never))

    expect(error).toMatchObject({ code: 'PH6002', message: expect.stringContaining(refused) })
  })

  test('of what is not there at all is an error', async () => {
    await using server = await serve(new Map())
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(await failureOf(source.content('a/app', digest(1), never))).toMatchObject({ code: 'PH6003' })
  })

  test('is never asked for by a name that is no repository', async () => {
    await using server = await serve(new Map())
    const { source } = await open(server.endpoint, { type: 'oci' })

    for (const name of ['../api', 'a/../b', 'A', 'a?b', 'a//b', ''])
      expect(await failureOf(source.content(name, digest(1), never))).toMatchObject({ code: 'PH6005' })
    expect(server.requests).toEqual([])
  })
})
