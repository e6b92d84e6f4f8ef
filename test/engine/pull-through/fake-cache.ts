import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { order } from '../../support/examples.ts'
import type { BuiltImage } from '../../support/oci-images.ts'
import { parseDigest } from '../../../src/model/artifact.ts'
import type { ArtifactOrder } from '../../../src/model/task.ts'

/** Answers in the cache's stead; `false`: the cache does. */
type Interference = (request: IncomingMessage, response: ServerResponse) => boolean

/** A cache that serves one image below `library/app`, unless a test interferes. */
export class FakeCache implements AsyncDisposable {
  readonly requests: { readonly path: string; readonly headers: IncomingHttpHeaders }[] = []
  interfere: Interference = () => false
  /** Requests under way, now and at the most. */
  readonly load = { now: 0, most: 0 }
  readonly #content: ReadonlyMap<string, { readonly mediaType: string; readonly bytes: Buffer }>
  readonly #server = createServer((request, response) => {
    this.requests.push({ path: request.url!, headers: request.headers })
    this.load.now += 1
    this.load.most = Math.max(this.load.most, this.load.now)
    response.on('close', () => (this.load.now -= 1))
    if (!this.interfere(request, response)) this.serve(request.url!, response)
  })

  private constructor({ documents, blobs }: BuiltImage) {
    this.#content = new Map([
      ...documents,
      ...[...blobs].map(([digest, bytes]) => [digest, { mediaType: 'application/octet-stream', bytes }] as const),
    ])
  }

  static async start(image: BuiltImage): Promise<FakeCache> {
    const cache = new FakeCache(image)
    cache.#server.listen(0, '127.0.0.1')
    await once(cache.#server, 'listening')
    return cache
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** What was asked for, in its order: the kinds and digests of manifests and blobs. */
  get asked(): string[] {
    return this.requests.map(({ path }) => path.replace('/v2/library/app/', ''))
  }

  /** The usual answer to a path. */
  serve(path: string, response: ServerResponse): void {
    const found = this.#content.get(/sha256:[0-9a-f]{64}$/.exec(path)?.[0] ?? '')
    if (path === '/v2/') response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    else if (found === undefined) {
      const errors = [{ code: 'BLOB_UNKNOWN', message: 'blob unknown to registry' }]
      response.writeHead(404, { 'content-type': 'application/json' }).end(JSON.stringify({ errors }))
    } else {
      const { mediaType, bytes } = found
      response.writeHead(200, { 'content-type': mediaType, 'content-length': bytes.length }).end(bytes)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** The order that preheats all of an image's platforms. */
export function orderOf(image: BuiltImage, overrides: Partial<ArtifactOrder> = {}): ArtifactOrder {
  return order({
    digest: parseDigest(image.digest),
    manifests: image.manifests.map(({ digest, mediaType, platform, sizeBytes, blobs }) => ({
      digest: parseDigest(digest),
      mediaType,
      platform,
      sizeBytes,
      blobs: blobs.map((blob) => ({ digest: parseDigest(blob.digest), sizeBytes: blob.sizeBytes })),
    })),
    ...overrides,
  })
}
