import { openEngine } from './engine/open.ts'
import type { Engine } from './engine/engine.ts'
import { openRegistry } from './registry/open.ts'
import type { ArtifactSource } from './registry/registry.ts'
import { SharedSource } from './registry/shared.ts'
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
  /** Differs once a file of a `tls` is another one. */
  readonly tlsRevision: (tls: Tls) => Promise<string>
  /** How many daemons share the limits of one Provider or Registry. */
  readonly replicas: () => number
  readonly clock: Clock
  readonly random: () => number
}

/** Longer than the longest request: who has the older driver in hand is done with it by then. */
const REPLACED_MS = 600_000

/**
 * One driver per declared settings, opened when first asked for and closed with the process: an execution that began
 * under older settings keeps its own. One whose TLS files were replaced is opened anew, and so is every one when a replica
 * comes or goes: each keeps to its part of `requestsPerSecond`.
 */
export class OpenDrivers implements Drivers, AsyncDisposable {
  readonly #ports: DriverPorts
  readonly #engines = new Map<string, Opened<Engine>>()
  readonly #sources = new Map<string, Opened<ArtifactSource>>()
  readonly #keys = new WeakMap<Provider | Registry, string>()

  constructor(ports: DriverPorts) {
    this.#ports = ports
  }

  engine(provider: Provider): Promise<Engine> {
    return this.#opened(this.#engines, provider, (mine) => openEngine(mine, this.#ports))
  }

  source(registry: Registry): Promise<ArtifactSource> {
    return this.#opened(
      this.#sources,
      registry,
      async (mine) => new SharedSource(await openRegistry(mine, this.#ports), this.#ports.clock),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const drivers = [...this.#engines.values(), ...this.#sources.values()].map(({ driver }) => driver)
    const all = await Promise.allSettled<AsyncDisposable>(drivers)
    await Promise.all(all.flatMap((one) => (one.status === 'fulfilled' ? [one.value[Symbol.asyncDispose]()] : [])))
  }

  /** Each step of a task asks, mostly with the very same settings. */
  #keyOf(settings: Provider | Registry): string {
    const known = this.#keys.get(settings) ?? JSON.stringify(settings)
    this.#keys.set(settings, known)
    return known
  }

  /** A driver that could not be opened is tried again the next time. */
  async #opened<T extends AsyncDisposable, S extends Provider | Registry>(
    drivers: Map<string, Opened<T>>,
    settings: S,
    open: (mine: S) => Promise<T>,
  ): Promise<T> {
    const key = this.#keyOf(settings)
    const replicas = this.#ports.replicas()
    const revision = `${replicas} ${await this.#ports.tlsRevision(settings.tls)}`
    const known = drivers.get(key)
    if (known?.revision === revision) return known.driver
    const driver = open(partOf(settings, replicas))
    drivers.set(key, { driver, revision })
    driver.catch(() => {
      if (drivers.get(key)?.driver === driver) drivers.delete(key)
    })
    if (known !== undefined) setTimeout(close, REPLACED_MS, known.driver).unref()
    return driver
  }
}

/** Its part of what all replicas together may ask. */
function partOf<S extends Provider | Registry>(settings: S, replicas: number): S {
  const { limits } = settings
  return { ...settings, limits: { ...limits, requestsPerSecond: limits.requestsPerSecond / replicas } }
}

interface Opened<T> {
  readonly driver: Promise<T>
  readonly revision: string
}

function close(driver: Promise<AsyncDisposable>): void {
  driver.then((one) => one[Symbol.asyncDispose]()).catch(() => undefined)
}
