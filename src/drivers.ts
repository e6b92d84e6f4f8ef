import { openEngine } from './engine/open.ts'
import type { Engine } from './engine/engine.ts'
import { openRegistry } from './registry/open.ts'
import type { ArtifactSource } from './registry/registry.ts'
import type { Drivers } from './execution/loop.ts'
import type { TlsMaterial } from './http.ts'
import type { Tls } from './model/auth.ts'
import type { Clock } from './model/clock.ts'
import type { Provider } from './model/provider.ts'
import type { Registry } from './model/registry.ts'
import type { ReadSecret } from './model/secret.ts'

export interface DriverPorts {
  readonly read: ReadSecret
  readonly tls: (tls: Tls) => Promise<TlsMaterial | undefined>
  readonly clock: Clock
  readonly random: () => number
}

/**
 * One driver per declared settings, opened when first asked for and closed with the process: an execution that began
 * under older settings keeps its own.
 */
export class OpenDrivers implements Drivers, AsyncDisposable {
  readonly #ports: DriverPorts
  readonly #engines = new Map<string, Promise<Engine>>()
  readonly #sources = new Map<string, Promise<ArtifactSource>>()

  constructor(ports: DriverPorts) {
    this.#ports = ports
  }

  engine(provider: Provider): Promise<Engine> {
    return opened(this.#engines, provider, () => openEngine(provider, this.#ports))
  }

  source(registry: Registry): Promise<ArtifactSource> {
    return opened(this.#sources, registry, () => openRegistry(registry, this.#ports))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = await Promise.allSettled([...this.#engines.values(), ...this.#sources.values()])
    await Promise.all(all.flatMap((one) => (one.status === 'fulfilled' ? [one.value[Symbol.asyncDispose]()] : [])))
  }
}

/** A driver that could not be opened is tried again the next time. */
function opened<T>(drivers: Map<string, Promise<T>>, settings: object, open: () => Promise<T>): Promise<T> {
  const key = JSON.stringify(settings)
  const known = drivers.get(key)
  if (known !== undefined) return known
  const driver = open()
  drivers.set(key, driver)
  driver.catch(() => drivers.delete(key))
  return driver
}
