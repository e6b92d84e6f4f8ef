import { dirname, resolve } from 'node:path'
import { forgePlace, readDaemonConfig, type Override } from './config/daemon-config.ts'
import type { DaemonConfigDocument } from './config/documents.ts'
import { nearest } from './config/nearest.ts'
import type { ForgeSettings } from './forge/forge.ts'
import type { GitAuth } from './model/auth.ts'
import { parseDuration } from './model/duration.ts'
import type { Notice } from './model/notice.ts'
import type { Problem } from './model/problem.ts'
import { Secret } from './model/secret.ts'
import { isLoopback, parseAddress } from './serve/address.ts'
import type { ChannelSettings } from './notify/channel.ts'
import type { Peers } from './report/execution-report.ts'
import type { SourceRef } from './model/source-ref.ts'
import type { Binding, SecretsSettings } from './secrets.ts'

/** The daemon's own configuration, in our units; folders are absolute. */
export interface Settings {
  /** In report paths and commit trailers. */
  readonly instance: string
  readonly source: SourceSettings
  readonly reports: ReportsSettings
  readonly secrets: SecretsSettings
  readonly notifications: readonly NotificationSettings[]
  readonly state: {
    readonly dir: string
    /** Of a PostgreSQL that several share; undefined: the embedded store in `dir`. */
    readonly databaseUrl: Secret | undefined
  }
  readonly http: HttpSettings
  readonly log: { readonly level: 'error' | 'warn' | 'info' | 'debug'; readonly format: 'json' | 'text' }
  /** Executions that select at once; HTTP requests at once. */
  readonly concurrency: { readonly selections: number; readonly requests: number }
  /** From the signal to stop until work under way is cut off. */
  readonly graceMs: number
}

/** What `run` listens on, as `host:port`. */
interface HttpSettings {
  readonly probes: string
  readonly api: string
  readonly webhooks: string
  /** Of the API's bearer token; undefined: loopback only, and no token. */
  readonly tokenSecret: string | undefined
}

type SourceSettings = {
  /** What a forge proves itself with; undefined: it is not listened to. */
  readonly webhookSecret: string | undefined
  readonly intervalMs: number
  /** Labels of the policies and runs that are taken; none: all are. */
  readonly matchLabels: Readonly<Record<string, string>>
} & (
  | {
      readonly type: 'git'
      readonly url: string
      readonly ref: SourceRef
      /** Folder inside the repository. */
      readonly path: string
      readonly auth: GitAuth
      /** The secret with the keys of who may sign a commit; undefined: it need not be signed. */
      readonly signers: string | undefined
    }
  | { readonly type: 'dir'; readonly dir: string }
)

type ReportsSettings = {
  /** How soon reports of manual runs and of changed results are pushed. */
  readonly flushIntervalMs: number
  /** How soon all others are. */
  readonly flushRestMs: number
  readonly maxCommitsPerHour: number
  /** What of the peers goes into reports, beside how many: host names and addresses. */
  readonly peers: Peers
} & (
  | {
      readonly type: 'git'
      readonly url: string
      readonly branch: string
      readonly auth: GitAuth
      readonly author: { readonly name: string; readonly email: string }
    }
  | { readonly type: 'folder'; readonly dir: string }
)

/** Who is told what, and of which policies: patterns of `project/name`; empty: all, and what concerns none. */
type NotificationSettings = { readonly policies: readonly string[] } & (
  | { readonly kind: 'status'; readonly forge: ForgeSettings }
  | { readonly kind: 'message'; readonly channel: ChannelSettings; readonly severity: Notice['severity'] }
)

export type ReadSettings =
  | {
      readonly ok: true
      readonly settings: Settings
      /** Variables that look like a setting and are none. */
      readonly warnings: readonly string[]
    }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** What the environment can set: every field of the schema that is neither a list nor named by the user. */
export const ENVIRONMENT_PATHS = [
  'metadata.name',
  'source.url',
  'source.dir',
  'source.ref.branch',
  'source.ref.tag',
  'source.ref.semver',
  'source.ref.commit',
  'source.path',
  'source.interval',
  'source.auth.type',
  'source.auth.secretRef.name',
  'source.webhook.secretRef.name',
  'source.verify.mode',
  'source.verify.secretRef.name',
  'reports.url',
  'reports.auth.type',
  'reports.auth.secretRef.name',
  'reports.branch',
  'reports.flushInterval',
  'reports.maxCommitsPerHour',
  'reports.peers',
  'reports.author.name',
  'reports.author.email',
  'secrets.dir',
  'state.dir',
  'state.databaseUrlEnv',
  'http.probes',
  'http.api',
  'http.webhooks',
  'http.tokenSecretRef.name',
  'log.level',
  'log.format',
  'concurrency.selections',
  'concurrency.requests',
] as const

const NUMBERS: ReadonlySet<string> = new Set([
  'reports.maxCommitsPerHour',
  'concurrency.selections',
  'concurrency.requests',
])

const PREFIX = 'PREHEATD_'
/** Variables of ours that are no field: where this very file is, and the example of state.databaseUrlEnv. */
const OTHER_VARIABLES = [`${PREFIX}CONFIG`, `${PREFIX}DATABASE_URL`]

const SECOND = 1000
const MINUTE = 60 * SECOND

/**
 * `preheatd.yaml` with the environment over it and the defaults under it.
 * @param text of the file
 * @param file its path: problems are named by it, and relative folders start where it is
 * @param env a variable that is empty counts as one that is not set
 */
export function readSettings(
  text: string,
  file: string,
  env: Readonly<Record<string, string | undefined>>,
): ReadSettings {
  const read = readDaemonConfig(file, Buffer.from(text), overridesOf(env))
  if (!read.ok) return read
  const variable = read.document.state?.databaseUrlEnv
  const databaseUrl = variable === undefined ? undefined : env[variable]
  if (variable !== undefined && (databaseUrl === undefined || databaseUrl === ''))
    return refused(file, `state.databaseUrlEnv: ${variable} is not set`)
  const settings = settingsOf(read.document, dirname(resolve(file)), databaseUrl)
  const { host } = parseAddress(settings.http.api)
  if (settings.http.tokenSecret === undefined && !isLoopback(host))
    return refused(file, `http.api: ${settings.http.api} is beyond loopback, so http.tokenSecretRef is needed`)
  return { ok: true, settings, warnings: strangersIn(env, settings) }
}

/** About the whole of it and its surroundings. */
function refused(file: string, message: string): ReadSettings {
  return { ok: false, problems: [{ severity: 'error', code: 'PH8001', file, line: 1, column: 1, message }] }
}

/** `reports.flushInterval` is `PREHEATD_REPORTS_FLUSH_INTERVAL`. */
export function variableOf(path: string): string {
  return PREFIX + path.replaceAll('.', '_').replaceAll(/[A-Z]/g, '_$&').toUpperCase()
}

function overridesOf(env: Readonly<Record<string, string | undefined>>): Override[] {
  return ENVIRONMENT_PATHS.flatMap((path) => {
    const origin = variableOf(path)
    const text = env[origin]
    if (text === undefined || text === '') return []
    const value = NUMBERS.has(path) && /^\d+$/.test(text) ? Number(text) : text
    return [{ path: path.split('.'), value, origin }]
  })
}

/** One that is nothing like a setting may be anybody's; one that nearly is would be missed by who wrote it. */
function strangersIn(env: Readonly<Record<string, string | undefined>>, { secrets }: Settings): string[] {
  const known = [...ENVIRONMENT_PATHS.map(variableOf), ...OTHER_VARIABLES]
  const bound = [...secrets.bindings.values()].flatMap((binding) => Object.values(binding.env))
  return Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && !known.includes(name) && !bound.includes(name))
    .sort()
    .flatMap((name) => {
      const near = nearest(
        name.slice(PREFIX.length),
        known.map((one) => one.slice(PREFIX.length)),
      )
      return near === undefined ? [] : [`${name} sets nothing. Did you mean ${PREFIX}${near}?`]
    })
}

function settingsOf(document: DaemonConfigDocument, folder: string, databaseUrl: string | undefined): Settings {
  const { metadata, source, reports, secrets, state, http, log, concurrency, notifications } = document
  const stateDir = resolve(folder, state?.dir ?? 'data')
  return {
    instance: metadata?.name ?? 'default',
    source: sourceOf(source, folder),
    reports: {
      ...flushOf(reports),
      ...targetOf(source, reports, stateDir),
    },
    secrets: secretsOf(secrets, folder),
    notifications: (notifications ?? []).map((one) => notificationOf(one, source, metadata?.name ?? 'default')),
    state: { dir: stateDir, databaseUrl: databaseUrl === undefined ? undefined : new Secret(databaseUrl) },
    http: {
      probes: http?.probes ?? '0.0.0.0:9440',
      api: http?.api ?? '127.0.0.1:8081',
      webhooks: http?.webhooks ?? '0.0.0.0:9292',
      tokenSecret: http?.tokenSecretRef?.name,
    },
    log: { level: log?.level ?? 'info', format: log?.format ?? 'json' },
    concurrency: { selections: concurrency?.selections ?? 4, requests: concurrency?.requests ?? 64 },
    // Five seconds are left for closing what is open: SIGTERM to exit takes at most 20 s.
    graceMs: 15 * SECOND,
  }
}

function sourceOf(source: DaemonConfigDocument['source'], folder: string): SourceSettings {
  const intervalMs = parseDuration(source.interval ?? '1m')
  const path = source.path ?? '.'
  const common = {
    intervalMs,
    matchLabels: source.selector?.matchLabels ?? {},
    webhookSecret: source.webhook?.secretRef.name,
  }
  if (source.dir !== undefined) return { ...common, type: 'dir', dir: resolve(folder, source.dir, path) }
  // The schema demands one of the two.
  const url = source.url!
  const signers = source.verify?.mode === 'head' ? source.verify.secretRef?.name : undefined
  return { ...common, type: 'git', url, ref: refOf(source.ref), path, auth: authOf(source.auth), signers }
}

/** The schema lets one of them be named. */
function refOf(ref: DaemonConfigDocument['source']['ref']): SourceRef {
  if (ref?.commit !== undefined) return { type: 'commit', id: ref.commit }
  if (ref?.semver !== undefined) return { type: 'semver', range: ref.semver }
  if (ref?.tag !== undefined) return { type: 'tag', name: ref.tag }
  return { type: 'branch', name: ref?.branch ?? 'main' }
}

function flushOf(reports: DaemonConfigDocument['reports']) {
  const flushIntervalMs = parseDuration(reports?.flushInterval ?? '60s')
  return {
    flushIntervalMs,
    flushRestMs: Math.max(flushIntervalMs, 5 * MINUTE),
    maxCommitsPerHour: reports?.maxCommitsPerHour ?? 30,
    peers: reports?.peers ?? ('counts' as const),
  }
}

function targetOf(source: DaemonConfigDocument['source'], reports: DaemonConfigDocument['reports'], stateDir: string) {
  const url = reports?.url ?? source.url
  if (url === undefined) return { type: 'folder' as const, dir: resolve(stateDir, 'reports') }
  return {
    type: 'git' as const,
    url,
    branch: reports?.branch ?? 'preheat-reports',
    auth: authOf(reports?.auth ?? source.auth),
    author: reports?.author ?? { name: 'preheatd', email: 'preheatd@localhost' },
  }
}

function authOf(auth: DaemonConfigDocument['source']['auth']): GitAuth {
  const secret = auth?.secretRef?.name
  // The schema refuses a type without its secret.
  if (auth === undefined || secret === undefined || auth.type === 'none') return { type: 'none' }
  return { type: auth.type, secret }
}

function secretsOf(secrets: DaemonConfigDocument['secrets'], folder: string): SecretsSettings {
  const bindings = Object.entries(secrets?.bindings ?? {}).map(([name, { hosts, env }]): [string, Binding] => [
    name,
    { hosts, env: env ?? {} },
  ])
  return {
    dir: secrets?.dir === undefined ? undefined : resolve(folder, secrets.dir),
    bindings: new Map(bindings),
  }
}

const SLACK = 'https://hooks.slack.com/services'

function notificationOf(
  { name, type, url, secretRef, severity, policies = [] }: NonNullable<DaemonConfigDocument['notifications']>[number],
  source: DaemonConfigDocument['source'],
  instance: string,
): NotificationSettings {
  const secret = secretRef.name
  if (type === 'webhook' || type === 'slack') {
    const channel = { name, type, url: url ?? SLACK, secret, instance }
    return { kind: 'message', channel, severity: severity ?? 'info', policies }
  }
  // What is on no forge was refused when the file was read.
  const place = forgePlace(source.url!, url)!
  const ref = refOf(source.ref)
  const named = 'name' in ref ? ref.name : undefined
  return { kind: 'status', forge: { name, type, ...place, ref: named, secret }, policies }
}
