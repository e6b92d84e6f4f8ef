import type { Auth, Tls } from './auth.ts'

export interface Labels {
  readonly [name: string]: string
}

/** Where artifacts are listed and pulled from. */
export interface Registry {
  readonly kind: 'Registry'
  readonly name: string
  readonly labels: Labels
  readonly type: 'harbor' | 'oci'
  /** Without a trailing slash. */
  readonly endpoint: string
  /** The daemon's own requests. */
  readonly auth: Auth
  /** What engines are told to pull from: must be the host that nodes pull through, without a trailing slash. */
  readonly engineEndpoint: string
  /** What engines are given. `auto`: a pull token where the registry has a token service, else nothing. */
  readonly engineAuth: { readonly type: 'auto' } | { readonly type: 'token' } | Exclude<Auth, { type: 'custom' }>
  readonly tls: Tls
  readonly limits: {
    readonly requestsPerSecond: number
    readonly listConcurrency: number
    /** Artifacts that engines may be pulling from it at once, over all providers. */
    readonly openArtifacts: number
  }
  /** Type `oci` without a usable catalog: the repositories to look at. Empty: ask the catalog. */
  readonly repositories: readonly string[]
  readonly allowPlainHttp: boolean
  /** What it proves itself with when it tells what happened in it; undefined: it is not listened to. */
  readonly webhook: { readonly secret: string } | undefined
}
