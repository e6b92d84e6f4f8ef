import { createHash } from 'node:crypto'
import { once, setMaxListeners } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { FakeDragonfly, TOKEN, type DragonflyOptions } from '../doubles/dragonfly.ts'
import { digest, order, provider } from './examples.ts'
import { openDragonfly } from '../../src/engine/dragonfly/dragonfly.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { systemClock } from '../../src/clock.ts'
import { Closers } from '../../src/closers.ts'
import { parseDigest, type Digest, type PlatformManifest } from '../../src/model/artifact.ts'
import type { Clock } from '../../src/model/clock.ts'
import type { Provider } from '../../src/model/provider.ts'
import { Secret } from '../../src/model/secret.ts'
import type { ArtifactOrder, Job } from '../../src/model/task.ts'

/** A signal that never aborts, and that many may wait under at once. */
export const never = new AbortController().signal
setMaxListeners(0, never)

/** What the example registry wants of whoever pulls. */
export const PULL_TOKEN = new Secret('Bearer pull-token-of-the-registry')

/** A registry with manifests only: all that a manager reads. */
class FakeManifests implements AsyncDisposable {
  readonly #manifests = new Map<string, string>()
  readonly #server = createServer((request, response) => {
    const json = { 'content-type': 'application/json' }
    if (this.wants !== undefined && request.headers.authorization !== this.wants.reveal()) {
      const errors = [{ code: 'UNAUTHORIZED', message: 'authentication required' }]
      response.writeHead(401, json).end(JSON.stringify({ errors }))
      return
    }
    const found = this.#manifests.get(request.url ?? '')
    if (found === undefined) {
      response
        .writeHead(404, json)
        .end(JSON.stringify({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown' }] }))
    } else response.writeHead(200, json).end(found)
  })
  /** The `Authorization` that it wants; undefined: none. */
  wants: Secret | undefined = PULL_TOKEN

  static async start(): Promise<FakeManifests> {
    const registry = new FakeManifests()
    registry.#server.listen(0, '127.0.0.1')
    await once(registry.#server, 'listening')
    return registry
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Puts a manifest with these blobs there, config first, and returns what preheatd would know of it. */
  add(repository: string, blobs: readonly Digest[], platform?: string): PlatformManifest {
    const [config, ...layers] = blobs.map((one) => ({ digest: one, size: 1000 }))
    const text = JSON.stringify({ schemaVersion: 2, config, layers })
    const own = parseDigest(`sha256:${createHash('sha256').update(text).digest('hex')}`)
    this.#manifests.set(`/v2/${repository}/manifests/${own}`, text)
    return {
      digest: own,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      platform,
      sizeBytes: text.length,
      blobs: blobs.map((one) => ({ digest: one, sizeBytes: 1000 })),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** What a {@link ScriptedServer} answers with; `hang` never does. */
export type Script =
  { readonly status: number; readonly body?: string | Buffer; readonly headers?: Record<string, string> } | 'hang'

/** A server that says one thing to everybody and remembers what it was asked. */
export class ScriptedServer implements AsyncDisposable {
  readonly seen: { readonly line: string; readonly headers: IncomingHttpHeaders; readonly body: string }[] = []
  script: Script
  /** How many were opened. */
  connections = 0
  readonly #server = createServer((request, response) => {
    void text(request).then((body) => {
      this.seen.push({ line: `${request.method} ${request.url}`, headers: request.headers, body })
      if (this.script === 'hang') return
      response.writeHead(this.script.status, this.script.headers).end(this.script.body)
    })
  })

  private constructor(script: Script) {
    this.script = script
    this.#server.on('connection', () => this.connections++)
  }

  static async start(script: Script): Promise<ScriptedServer> {
    const scripted = new ScriptedServer(script)
    scripted.#server.listen(0, '127.0.0.1')
    await once(scripted.#server, 'listening')
    return scripted
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** A manager, a registry with one image of four blobs, and the driver between them. */
export interface DragonflyStage extends AsyncDisposable {
  readonly manager: FakeDragonfly
  readonly registry: FakeManifests
  readonly engine: Engine
  readonly order: ArtifactOrder
}

export const blobs: readonly Digest[] = ['config', 'layer 1', 'layer 2', 'layer 3'].map((name) => digest(name))

/** @param overrides of the Provider; its secret holds the double's token */
export async function dragonflyStage(
  options: DragonflyOptions = {},
  overrides: Partial<Provider> = {},
  clock: Clock = systemClock,
  token: () => string = () => TOKEN,
): Promise<DragonflyStage> {
  const closers = new Closers()
  const manager = closers.use(await FakeDragonfly.start({ looksMs: [0], ...options }))
  const registry = closers.use(await FakeManifests.start())
  const engine = closers.use(dragonflyEngine({ endpoint: manager.endpoint, ...overrides }, clock, token))
  const manifests = [registry.add('library/app', blobs, 'linux/amd64')]
  return {
    manager,
    registry,
    engine,
    order: order({ engineEndpoint: registry.endpoint, manifests }),
    [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
  }
}

/** The driver alone. */
export function dragonflyEngine(
  overrides: Partial<Provider>,
  clock: Clock = systemClock,
  token: () => string = () => TOKEN,
): Engine {
  const declared = provider({ auth: { type: 'bearer', secret: 'dragonfly-eu' }, ...overrides })
  return openDragonfly(declared, undefined, {
    read: () => Promise.resolve(new Secret(token())),
    clock,
    random: () => 0,
  })
}

/** A job as the store keeps it once it was submitted. */
export function opened(job: Job, id: string): Extract<Job, { state: 'open' }> {
  const { key, manifest, cluster, ids } = job
  return { key, manifest, cluster, ids: [...ids, id], state: 'open', id, submittedAt: 0, lookAt: 0 }
}
