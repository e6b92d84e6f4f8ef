import { describe, expect, test } from 'vitest'
import { parseDigest, type Digest } from '../../src/model/artifact.ts'
import { describeWithDockerRegistry, DockerRegistry } from '../support/docker-registry.ts'
import { buildArtifact, buildImage, buildReferrersIndex, pushBuilt, type Pushable } from '../support/oci-images.ts'
import { digest } from '../support/examples.ts'
import { failureOf, listen, never, open, type Answer } from './fixtures.ts'

const SIMPLE = 'application/vnd.dev.cosign.simplesigning.v1+json'
const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json'
const COSIGN = 'application/vnd.dev.cosign.artifact.sig.v1+json'
const NOTATION = 'application/vnd.cncf.notary.signature'
const INDEX = 'application/vnd.oci.image.index.v1+json'
const PREDICATE = 'dev.sigstore.bundle.predicateType'
const SIGN = 'https://sigstore.dev/cosign/sign/v1'

const MIB = 1024 * 1024

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** As `cosign sign` before 3.0 leaves it: one layer a signature. */
function classic(...payloads: string[]): Pushable {
  const layers = payloads.map((payload) => ({
    mediaType: SIMPLE,
    bytes: bytes(payload),
    annotations: { 'dev.cosignproject.cosign/signature': `of ${payload}` },
  }))
  return buildArtifact({ configType: 'application/vnd.oci.image.config.v1+json', layers })
}

/** As `cosign sign` from 3.0 on leaves it. */
function bundle(json: string, mediaType = BUNDLE, annotations: Readonly<Record<string, string>> = {}): Pushable {
  return buildArtifact({ artifactType: mediaType, layers: [{ mediaType, bytes: bytes(json) }], annotations })
}

const notation = buildArtifact({
  artifactType: NOTATION,
  layers: [{ mediaType: 'application/jose+json', bytes: bytes('{}') }],
})

const image = parseDigest(buildImage({ seed: 'signed' }).digest)
const tag = image.replace(':', '-')

describeWithDockerRegistry('beside an artifact of a real docker-registry', () => {
  test('a cosign tag is a signature, layer by layer', async () => {
    await using real = await DockerRegistry.start()
    const signature = classic('{"one":1}', '{"two":2}')
    await pushBuilt(real.endpoint, 'app', [`${tag}.sig`], signature)
    const { source } = await open(real.endpoint, { type: 'oci' })

    expect(await source.signatureKinds('app', image, never)).toEqual(['cosign'])
    expect(await source.signatures('app', image, never)).toEqual(
      ['{"one":1}', '{"two":2}'].map((payload) => ({
        kind: 'simple-signing',
        foundIn: signature.digest,
        payload: Buffer.from(payload),
        annotations: { 'dev.cosignproject.cosign/signature': `of ${payload}` },
      })),
    )
  })

  test('the fallback tag stands for the referrers that it has no API for', async () => {
    await using real = await DockerRegistry.start()
    const signature = bundle('{"bundle":1}')
    for (const built of [signature, notation]) await pushBuilt(real.endpoint, 'app', [], built)
    // One with the type and one without: older clients left it out.
    const list = buildReferrersIndex([{ built: signature, artifactType: BUNDLE }, { built: notation }])
    await pushBuilt(real.endpoint, 'app', [tag], list)
    const { source } = await open(real.endpoint, { type: 'oci' })

    expect(await source.signatureKinds('app', image, never)).toEqual(['cosign', 'notation'])
    expect(await source.signatures('app', image, never)).toEqual([
      { kind: 'bundle', foundIn: signature.digest, json: Buffer.from('{"bundle":1}') },
    ])
  })

  test('nothing is nothing', async () => {
    await using real = await DockerRegistry.start()
    const other = buildImage({ seed: 'other' })
    await pushBuilt(real.endpoint, 'app', [`${other.digest.replace(':', '-')}.sig`], classic('{}'))
    const { source } = await open(real.endpoint, { type: 'oci' })

    expect(await source.signatureKinds('app', image, never)).toEqual([])
    expect(await source.signatures('app', image, never)).toEqual([])
  })
})

interface Listed {
  readonly built: Pushable
  readonly descriptor?: object
}

/** A registry with the referrers API, two entries a page; `override` answers instead where it has an answer. */
function referrersApi(listed: readonly Listed[], override: (url: URL) => Answer | undefined = () => undefined) {
  const blobs = new Map(listed.flatMap(({ built }) => [...built.blobs]))
  const documents = new Map(listed.flatMap(({ built }) => [...built.documents]))
  const descriptors = listed.map(({ built, descriptor }) => {
    const size = documents.get(built.digest)!.bytes.length
    const mediaType = 'application/vnd.oci.image.manifest.v1+json'
    return { mediaType, digest: built.digest, size, ...typeOf(built), ...descriptor }
  })
  return listen((url) => {
    const instead = override(url)
    if (instead !== undefined) return instead
    const last = url.pathname.split('/').at(-1)!
    if (url.pathname === `/v2/app/referrers/${image}`) {
      const from = Number(url.searchParams.get('from') ?? 0)
      const more = from + 2 < descriptors.length
      return {
        headers: { 'content-type': INDEX, ...(more && { link: `<?from=${from + 2}>; rel="next"` }) },
        body: { schemaVersion: 2, manifests: descriptors.slice(from, from + 2) },
      }
    }
    const found = documents.get(last)?.bytes ?? blobs.get(last)
    return found === undefined ? { status: 404 } : { body: found.toString() }
  })
}

function typeOf(built: Pushable): object {
  const { artifactType, config } = JSON.parse(built.documents.get(built.digest)!.bytes.toString()) as {
    artifactType?: string
    config?: { mediaType: string }
  }
  return { artifactType: artifactType ?? config?.mediaType }
}

function jsonOf(materials: Awaited<ReturnType<Awaited<ReturnType<typeof open>>['source']['signatures']>>): string[] {
  return materials.map((one) => Buffer.from(one.kind === 'bundle' ? one.json : one.payload).toString())
}

const sbom = buildArtifact({
  artifactType: 'application/spdx+json',
  layers: [{ mediaType: 'text/plain', bytes: bytes('') }],
})

describe('the referrers API', () => {
  test('is read over all its pages, whatever else refers to the artifact left alone', async () => {
    const artifact = buildArtifact({ configType: COSIGN, layers: [{ mediaType: SIMPLE, bytes: bytes('classic') }] })
    const all = [sbom, bundle('one'), sbom, notation, artifact].map((built) => ({ built }))
    await using server = await referrersApi(all)
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(jsonOf(await source.signatures('app', image, never))).toEqual(['one', 'classic'])
    expect(server.requests.some(({ url }) => url.includes(sbom.digest) || url.includes(notation.digest))).toBe(false)
    expect(await source.signatureKinds('app', image, never)).toEqual(['cosign', 'notation'])
  })

  test('adds to the tag that cosign made, which comes first', async () => {
    const old = classic('old')
    await using server = await referrersApi([{ built: bundle('new') }, { built: old }], (url) =>
      url.pathname.endsWith(`${tag}.sig`) ? { headers: { 'docker-content-digest': old.digest } } : undefined,
    )
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(jsonOf(await source.signatures('app', image, never))).toEqual(['old', 'new'])
  })

  test.each<[string, readonly string[], string]>([
    ['cosign’s artifact', ['cosign'], COSIGN],
    ['a bundle', ['cosign'], BUNDLE],
    ['notation’s', ['notation'], NOTATION],
    ['a bundle that Harbor does not count', [], 'application/vnd.dev.sigstore.bundle+json;version=0.2'],
    ['an SBOM', [], 'application/spdx+json'],
  ])('%s is of kinds %j', async (_what, kinds, artifactType) => {
    await using server = await referrersApi([{ built: buildArtifact({ artifactType, layers: [] }) }])
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(await source.signatureKinds('app', image, never)).toEqual(kinds)
  })

  test.each([BUNDLE, 'application/vnd.dev.sigstore.bundle+json;version=0.1'])('a bundle may be %s', async (type) => {
    await using server = await referrersApi([{ built: bundle('one', type) }])
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(jsonOf(await source.signatures('app', image, never))).toEqual(['one'])
  })

  test('a bundle that says that it is an attestation is none that a signature is looked for in', async () => {
    const attested = bundle('attested', BUNDLE, { [PREDICATE]: 'https://slsa.dev/provenance/v1' })
    const listedSo = { built: bundle('listed so'), descriptor: { annotations: { [PREDICATE]: 'https://x' } } }
    const signed = bundle('signed', BUNDLE, { [PREDICATE]: SIGN })
    await using server = await referrersApi([{ built: attested }, listedSo, { built: signed }])
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(jsonOf(await source.signatures('app', image, never))).toEqual(['signed'])
    expect(server.requests.some(({ url }) => url.includes(listedSo.built.digest))).toBe(false)
    // As Harbor does.
    expect(await source.signatureKinds('app', image, never)).toEqual(['cosign'])
  })

  test('what is gone since it was listed, or too large, is left out; the rest is found', async () => {
    const gone = bundle('gone')
    const large = bundle('x'.repeat(MIB + 1))
    const vast = { built: bundle('vast'), descriptor: { size: 4 * MIB + 1 } }
    const blobless = bundle('blobless')
    const nameless = { built: bundle('nameless'), descriptor: { digest: 'md5:1' } }
    const all = [{ built: gone }, { built: large }, vast, { built: blobless }, nameless, { built: bundle('one') }]
    const missing = [gone.digest, ...blobless.blobs.keys()]
    await using server = await referrersApi(all, ({ pathname }) =>
      missing.some((one) => pathname.endsWith(one)) ? { status: 404 } : undefined,
    )
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(jsonOf(await source.signatures('app', image, never))).toEqual(['one'])
    expect(server.requests.some(({ url }) => [...large.blobs.keys()].slice(1).some((one) => url.includes(one)))).toBe(
      false,
    )
  })

  test('no more than 100 manifests are read, and no page after those', async () => {
    const many = Array.from({ length: 130 }, (_, index) => ({ built: bundle(`${index}`) }))
    await using server = await referrersApi(many, (url) =>
      url.pathname.endsWith(`${tag}.sig`) ? { headers: { 'docker-content-digest': digest('gone') } } : undefined,
    )
    const { source } = await open(server.endpoint, { type: 'oci' })
    const asked = (part: string) => server.requests.filter(({ url }) => url.includes(part)).length

    expect(await source.signatures('app', image, never)).toHaveLength(99)
    expect([asked('/manifests/sha256:'), asked('/referrers/')]).toEqual([100, 50])
  })

  test('two manifests of 60 layers are 100 signatures', async () => {
    const all = ['a', 'b'].map((name) => ({
      built: classic(...Array.from({ length: 60 }, (_, index) => `${name}${index}`)),
      descriptor: { artifactType: COSIGN },
    }))
    await using server = await referrersApi(all)
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(await source.signatures('app', image, never)).toHaveLength(100)
    expect(server.requests.filter(({ url }) => url.includes('/blobs/'))).toHaveLength(100)
  })

  test('that lists a bundle by its empty config has it opened', async () => {
    const descriptor = { artifactType: 'application/vnd.oci.empty.v1+json' }
    await using server = await referrersApi([{ built: bundle('one'), descriptor }])
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(jsonOf(await source.signatures('app', image, never))).toEqual(['one'])
  })

  test('is not read on when both kinds were found', async () => {
    await using server = await referrersApi([bundle('one'), notation, sbom, sbom].map((built) => ({ built })))
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(await source.signatureKinds('app', image, never)).toEqual(['cosign', 'notation'])
    expect(server.requests.filter(({ url }) => url.includes('/referrers/'))).toHaveLength(1)
  })

  test.each(['manifests', 'blobs'])('other bytes than the digest’s are an error, of %s', async (which) => {
    await using server = await referrersApi([{ built: bundle('one') }], ({ pathname }) =>
      pathname.includes(`/${which}/sha256:`) ? { body: '{"layers":[]}' } : undefined,
    )
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(await failureOf(source.signatures('app', image, never))).toMatchObject({ code: 'PH6008' })
  })

  test('a blob that is kept elsewhere is read there', async () => {
    const built = bundle('one')
    await using storage = await listen(() => ({ body: 'one' }))
    await using server = await referrersApi([{ built }], ({ pathname }) =>
      pathname.includes('/blobs/') ? { status: 307, headers: { location: `${storage.endpoint}/b` } } : undefined,
    )
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(jsonOf(await source.signatures('app', image, never))).toEqual(['one'])
  })

  test.each<[string, Answer]>([
    ['400', { status: 400 }],
    ['404', { status: 404, body: '404 page not found' }],
    ['405', { status: 405 }],
    ['a page of HTML', { body: '<html>', headers: { 'content-type': 'text/html' } }],
  ])('that answers %s is not there: the fallback tag is', async (_what, answer) => {
    const built = bundle('one')
    const list = buildReferrersIndex([{ built, artifactType: BUNDLE }])
    await using server = await referrersApi([{ built }, { built: list, descriptor: { size: 0 } }], ({ pathname }) => {
      if (pathname.includes('/referrers/')) return answer
      return pathname.endsWith(tag) ? { headers: { 'docker-content-digest': list.digest } } : undefined
    })
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(jsonOf(await source.signatures('app', image, never))).toEqual(['one'])
  })

  test.each<[string, Answer, string]>([
    ['403', { status: 403 }, 'PH6002'],
    ['503', { status: 503 }, 'PH6001'],
    ['a list that is cut off', { headers: { 'content-type': INDEX }, body: '{"manifests":[{"dig' }, 'PH6004'],
    [
      'a page on another host',
      { headers: { link: '<http://other.example.com/>; rel="next"' }, body: { manifests: [] } },
      'PH6004',
    ],
  ])('that answers with %s is an error, and not an artifact without signatures', async (_what, answer, code) => {
    await using server = await listen(({ pathname }) => (pathname.includes('/referrers/') ? answer : { status: 404 }))
    const { source } = await open(server.endpoint, { type: 'oci' })

    expect(await failureOf(source.signatures('app', image, never))).toMatchObject({ code })
    expect(await failureOf(source.signatureKinds('app', image, never))).toMatchObject({ code })
  })

  test('is asked about no name that is no repository', async () => {
    await using server = await listen(() => ({ status: 404 }))
    const { source } = await open(server.endpoint, { type: 'oci' })
    const wrong: Digest = digest(1)

    expect(await failureOf(source.signatures('../api', wrong, never))).toMatchObject({ code: 'PH6005' })
    expect(await failureOf(source.signatureKinds('a?b', wrong, never))).toMatchObject({ code: 'PH6005' })
    expect(server.requests).toEqual([])
  })
})
