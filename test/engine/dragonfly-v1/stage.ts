import { createHash } from 'node:crypto'
import { FakeDragonflyV1, type DragonflyV1Options } from '../../doubles/dragonfly-v1.ts'
import { ScriptedServer } from '../../support/engine.ts'
import { EXAMPLE_AT, digest, manifest, order, provider } from '../../support/examples.ts'
import { Closers } from '../../../src/closers.ts'
import { systemClock } from '../../../src/clock.ts'
import { openDragonflyV1 } from '../../../src/engine/dragonfly-v1/dragonfly-v1.ts'
import type { Engine } from '../../../src/engine/engine.ts'
import { parseDigest } from '../../../src/model/artifact.ts'
import type { Clock } from '../../../src/model/clock.ts'
import type { Provider } from '../../../src/model/provider.ts'
import { Secret } from '../../../src/model/secret.ts'
import type { ArtifactOrder } from '../../../src/model/task.ts'

/** What a proxy before the engine wants, where the Provider says so. */
export const PASSWORD = 'password-of-the-proxy'

/** An engine with `/preheats`, a registry, and the driver between them. */
export interface V1Stage extends AsyncDisposable {
  readonly double: FakeDragonflyV1
  /** Says the manifest of the order that was made last to everybody. */
  readonly registry: ScriptedServer
  readonly engine: Engine
  /** An image of these layers, which the registry has from now on. */
  image(...layers: readonly string[]): ArtifactOrder
}

/** @param overrides of the Provider */
export async function v1Stage(
  options: DragonflyV1Options,
  overrides: Partial<Provider> = {},
  clock: Clock = systemClock,
): Promise<V1Stage> {
  const closers = new Closers()
  const double = closers.use(await FakeDragonflyV1.start({ firstCheckMs: 0, now: () => EXAMPLE_AT, ...options }))
  const registry = closers.use(await ScriptedServer.start({ status: 404 }))
  const engine = closers.use(v1Engine({ endpoint: double.endpoint, ...overrides }, clock))
  return {
    double,
    registry,
    engine,
    image: (...layers) => {
      const text = JSON.stringify({ schemaVersion: 2, layers: layers.map((name) => ({ digest: digest(name) })) })
      registry.script = { status: 200, body: text }
      const own = parseDigest(`sha256:${createHash('sha256').update(text).digest('hex')}`)
      const blobs = layers.map((name) => ({ digest: digest(name), sizeBytes: 1000 }))
      return order({ engineEndpoint: registry.endpoint, digest: own, manifests: [manifest({ digest: own, blobs })] })
    },
    [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
  }
}

/** The driver alone. */
export function v1Engine(overrides: Partial<Provider>, clock: Clock = systemClock): Engine {
  const declared = provider({ name: 'dragonfly-old', vendor: 'dragonfly-v1', ...overrides })
  return openDragonflyV1(declared, undefined, { read: () => Promise.resolve(new Secret(PASSWORD)), clock })
}
