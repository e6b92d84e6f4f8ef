import type { Auth, Tls } from './auth.ts'
import type { Platform } from './artifact.ts'
import type { Labels } from './registry.ts'

/** How far one preheat reaches inside a P2P cluster. Dragonfly's words, because they are the finest-grained. */
export type Scope = 'single_seed_peer' | 'all_seed_peers' | 'all_peers'

/** Which driver speaks to it. */
export type Vendor = 'dragonfly' | 'dragonfly-v1' | 'kraken' | 'pull-through'

/** A P2P engine that someone runs somewhere. */
export interface Provider {
  readonly kind: 'Provider'
  readonly name: string
  readonly labels: Labels
  readonly vendor: Vendor
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
  /** Reach and pace. Vendors without clusters and scopes have the defaults. */
  readonly dragonfly: DragonflySettings
  /** Of vendor `kraken` only. */
  readonly kraken: KrakenSettings | undefined
  readonly allowPlainHttp: boolean
}

export interface DragonflySettings {
  /** `all`: every cluster the manager lists; otherwise by name or by id. One job a cluster. */
  readonly clusters: 'all' | { readonly names: readonly string[] } | { readonly ids: readonly number[] }
  readonly scope: Scope
  readonly timeoutMs: number
  /** Ages of a job at which it is looked at; after the last, every 300 s. */
  readonly pollScheduleMs: readonly number[]
  /** Which peers, for the scopes `all_*`; the most exact wins. */
  readonly peers: PeerChoice
  /** Of the peers that a scope `all_*` reaches, the share that must hold a blob: above 0, at most 1. */
  readonly requiredShare: number
  /** By what the clients of the engine name what they cache. */
  readonly taskId: 'auto' | 'url' | 'digest'
  readonly options: DragonflyOptions
}

export interface PeerChoice {
  readonly ips?: readonly string[]
  readonly count?: number
  readonly percentage?: number
}

/** Handed to Dragonfly as they are; the first four take part in its task ids. */
export interface DragonflyOptions {
  readonly pieceLengthBytes?: number
  readonly application?: string
  readonly tag?: string
  readonly filteredQueryParams?: readonly string[]
  readonly concurrentTaskCount?: number
  readonly concurrentPeerCount?: number
}

export interface KrakenSettings {
  readonly mode: 'origins' | 'notify'
  /** Without trailing slashes. */
  readonly origins: readonly string[]
  readonly tracker: string | undefined
  /** What the origins read from; `registry` knows no OCI manifests. */
  readonly backend: 'registry' | 'other'
  /** Owners that must hold a blob; undefined: all that are named. */
  readonly replicas: number | undefined
}
