import type { Auth, Tls } from './auth.ts'
import type { Platform } from './artifact.ts'
import type { Labels } from './registry.ts'

/** How far one preheat reaches inside a P2P cluster. Dragonfly's words, because they are the finest-grained. */
export type Scope = 'single_seed_peer' | 'all_seed_peers' | 'all_peers'

/** A P2P engine that someone runs somewhere. */
export interface Provider {
  readonly kind: 'Provider'
  readonly name: string
  readonly labels: Labels
  readonly vendor: 'dragonfly'
  /** Without a trailing slash. */
  readonly endpoint: string
  readonly description: string
  readonly enabled: boolean
  /** The provider of policies that name none. */
  readonly isDefault: boolean
  readonly auth: Auth
  readonly tls: Tls
  /** doublestar patterns on `<registry>/<project>` whose policies may use it. */
  readonly projects: readonly string[]
  /** Empty: every platform of an index. */
  readonly platforms: readonly Platform[]
  readonly cacheLifetimeMs: number
  readonly limits: { readonly submitsInFlight: number; readonly requestsPerSecond: number }
  readonly dragonfly: DragonflySettings
  readonly allowPlainHttp: boolean
}

export interface DragonflySettings {
  /** `all`: every cluster the manager lists; otherwise by name or by id. One job a cluster. */
  readonly clusters: 'all' | { readonly names: readonly string[] } | { readonly ids: readonly number[] }
  readonly scope: Scope
  readonly timeoutMs: number
  /** Ages of a job at which it is looked at; after the last, every 300 s. */
  readonly pollScheduleMs: readonly number[]
}
