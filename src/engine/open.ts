import { openDragonfly } from './dragonfly/dragonfly.ts'
import { openDragonflyV1 } from './dragonfly-v1/dragonfly-v1.ts'
import type { Engine } from './engine.ts'
import { openKraken } from './kraken/kraken.ts'
import { openPullThrough } from './pull-through/pull-through.ts'
import type { TlsMaterial } from '../http.ts'
import type { Tls } from '../model/auth.ts'
import type { Clock } from '../model/clock.ts'
import type { Provider, Vendor } from '../model/provider.ts'
import type { ReadSecret } from '../model/secret.ts'

/** What a driver may touch beyond its own socket. */
export interface EnginePorts {
  readonly read: ReadSecret
  /** Reads the files that a resource names; undefined when it names none. @throws {OperatorError} */
  tls(tls: Tls): Promise<TlsMaterial | undefined>
  readonly clock: Clock
  /** From 0 to below 1. */
  random(): number
}

/**
 * The engine behind a declared Provider; nobody else looks at `vendor`. Sends nothing yet.
 * @throws {OperatorError} when a TLS file cannot be used
 */
export async function openEngine(provider: Provider, ports: EnginePorts): Promise<Engine> {
  const tls = await ports.tls(provider.tls)
  return drivers[provider.vendor](provider, tls, ports)
}

const drivers = {
  dragonfly: openDragonfly,
  'dragonfly-v1': openDragonflyV1,
  kraken: openKraken,
  'pull-through': openPullThrough,
} as const satisfies Record<Vendor, unknown>
