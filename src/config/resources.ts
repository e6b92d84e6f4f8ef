import { createHash } from 'node:crypto'
import type { Auth } from '../model/auth.ts'
import { parseDuration } from '../model/duration.ts'
import type { PreheatPolicy, ProviderRef, Trigger } from '../model/policy.ts'
import type { DragonflyOptions, DragonflySettings, KrakenSettings, Provider } from '../model/provider.ts'
import type { Registry } from '../model/registry.ts'
import type { PreheatRun } from '../model/run.ts'
import { parseSize } from '../model/size.ts'
import type { PreheatPolicyDocument, PreheatRunDocument, ProviderDocument, RegistryDocument } from './documents.ts'

/** A valid document as the model has it, with every default written out. */
export function toRegistry({ metadata, spec }: RegistryDocument): Registry {
  const endpoint = withoutSlash(spec.endpoint)
  return {
    kind: 'Registry',
    name: metadata.name,
    labels: metadata.labels ?? {},
    type: spec.type,
    endpoint,
    auth: toAuth(spec.auth),
    engineEndpoint: spec.engineEndpoint === undefined ? endpoint : withoutSlash(spec.engineEndpoint),
    engineAuth: toEngineAuth(spec.engineAuth),
    tls: spec.tls ?? {},
    limits: { requestsPerSecond: 20, listConcurrency: 4, openArtifacts: 300, ...spec.limits },
    repositories: spec.repositories ?? [],
    allowPlainHttp: spec.allowPlainHTTP ?? false,
  }
}

/** Likewise. */
export function toProvider({ metadata, spec }: ProviderDocument): Provider {
  return {
    kind: 'Provider',
    name: metadata.name,
    labels: metadata.labels ?? {},
    vendor: spec.vendor,
    endpoint: withoutSlash(spec.endpoint),
    description: spec.description ?? '',
    enabled: spec.enabled ?? true,
    isDefault: spec.default ?? false,
    auth: toProviderAuth(spec.auth),
    tls: spec.tls ?? {},
    projects: spec.projects ?? ['**'],
    platforms: spec.platforms ?? [],
    cacheLifetimeMs: parseDuration(spec.cacheLifetime ?? '5h'),
    limits: { submitsInFlight: 16, requestsPerSecond: 10, ...spec.limits },
    dragonfly: toDragonfly(spec.dragonfly ?? {}),
    kraken: spec.vendor === 'kraken' ? toKraken(spec.kraken ?? {}) : undefined,
    allowPlainHttp: spec.allowPlainHTTP ?? false,
  }
}

/** Likewise. @param registry the one that it names, or the only one there is */
export function toPolicy({ metadata, spec }: PreheatPolicyDocument, registry: string): PreheatPolicy {
  const { filters } = spec
  return {
    kind: 'PreheatPolicy',
    name: metadata.name,
    labels: metadata.labels ?? {},
    description: spec.description ?? '',
    enabled: spec.enabled ?? true,
    registry,
    project: spec.project,
    providers: (spec.providers ?? []).map(toProviderRef),
    providerSelector: spec.providerSelector?.matchLabels,
    filters: {
      repositories: filters.repositories,
      tags: filters.tags,
      labels: filters.labels ?? [],
      exclude: { repositories: [], tags: [], ...filters.exclude },
      types: (['image', 'cnai'] as const).filter((type) => filters.types?.includes(type) ?? true),
    },
    trigger: toTrigger(spec.trigger),
    platforms: spec.platforms ?? [],
    refresh: spec.refresh?.mode ?? 'missing',
    keepWarmMs: spec.refresh?.keepWarm === undefined ? undefined : parseDuration(spec.refresh.keepWarm),
    drift: { mode: spec.drift?.mode ?? 'off', intervalMs: parseDuration(spec.drift?.interval ?? '1h') },
    limits: {
      maxArtifacts: spec.limits?.maxArtifacts ?? 1000,
      maxBytes: spec.limits?.maxBytes === undefined ? undefined : parseSize(spec.limits.maxBytes),
    },
    retry: { attempts: spec.retry?.attempts ?? 3, backoffMs: parseDuration(spec.retry?.backoff ?? '5s') },
    timeoutMs: spec.timeout === undefined ? undefined : parseDuration(spec.timeout),
  }
}

/** Likewise. */
export function toRun({ metadata, spec }: PreheatRunDocument): PreheatRun {
  return {
    kind: 'PreheatRun',
    name: metadata.name,
    labels: metadata.labels ?? {},
    policy: spec.policy!,
    reason: spec.reason ?? '',
    refresh: spec.refresh?.mode,
    expiresAt: spec.expiresAt === undefined ? undefined : Date.parse(spec.expiresAt),
    digest: `sha256:${createHash('sha256').update(canonicalJson(spec)).digest('hex')}`,
  }
}

/** JSON with sorted keys: the same for the same content, in whatever order and layout it was written. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}

type RegistryAuth = NonNullable<RegistryDocument['spec']['auth']>

function toAuth(auth: RegistryAuth = { type: 'none' }): Exclude<Auth, { type: 'custom' }> {
  return auth.type === 'none' ? { type: 'none' } : { type: auth.type, secret: auth.secretRef!.name }
}

function toEngineAuth(auth: RegistryDocument['spec']['engineAuth']): Registry['engineAuth'] {
  if (auth === undefined) return { type: 'auto' }
  return auth.type === 'token' ? { type: 'token' } : toAuth({ ...auth, type: auth.type })
}

function toProviderAuth(auth: ProviderDocument['spec']['auth'] = { mode: 'none' }): Auth {
  switch (auth.mode) {
    case 'none':
      return { type: 'none' }
    case 'basic':
      return { type: 'basic', secret: auth.secretRef!.name }
    case 'oauth':
      return { type: 'bearer', secret: auth.secretRef!.name }
    case 'custom':
      return { type: 'custom', secret: auth.secretRef!.name, header: auth.header! }
    default:
      return auth.mode satisfies never
  }
}

type DragonflyDocument = NonNullable<ProviderDocument['spec']['dragonfly']>

function toDragonfly(spec: DragonflyDocument): DragonflySettings {
  return {
    clusters: toClusters(spec),
    scope: spec.scope ?? 'single_seed_peer',
    timeoutMs: parseDuration(spec.timeout ?? '60m'),
    pollScheduleMs: (spec.pollSchedule ?? ['30s', '90s', '210s', '450s']).map(parseDuration),
    peers: spec.peers ?? {},
    requiredShare: Number.parseInt(spec.require?.peers ?? '100%', 10) / 100,
    taskId: spec.taskId ?? 'auto',
    options: toOptions(spec.options ?? {}),
  }
}

function toOptions({ pieceLength, ...options }: NonNullable<DragonflyDocument['options']>): DragonflyOptions {
  return { ...options, ...(pieceLength !== undefined && { pieceLengthBytes: parseSize(pieceLength) }) }
}

function toKraken(spec: NonNullable<ProviderDocument['spec']['kraken']>): KrakenSettings {
  const origins = (spec.origins ?? []).map(withoutSlash)
  return {
    mode: spec.mode ?? (origins.length > 0 ? 'origins' : 'notify'),
    origins,
    tracker: spec.tracker === undefined ? undefined : withoutSlash(spec.tracker),
    backend: spec.backend ?? 'registry',
    replicas: spec.replicas,
  }
}

function toClusters({ clusters, clusterIds }: DragonflyDocument): DragonflySettings['clusters'] {
  if (clusterIds !== undefined) return { ids: clusterIds }
  return clusters === undefined || clusters === 'all' ? 'all' : { names: clusters }
}

function toProviderRef(ref: NonNullable<PreheatPolicyDocument['spec']['providers']>[number]): ProviderRef {
  return {
    name: ref.name,
    ...(ref.scope !== undefined && { scope: ref.scope }),
    ...(ref.clusters !== undefined && { clusters: ref.clusters }),
  }
}

function toTrigger(trigger: PreheatPolicyDocument['spec']['trigger']): Trigger {
  const schedule = trigger?.schedule
  if (schedule === undefined) return { type: 'manual' }
  return {
    type: 'scheduled',
    schedule: {
      cron: schedule.cron,
      timeZone: schedule.timeZone ?? 'UTC',
      startingDeadlineMs: parseDuration(schedule.startingDeadline ?? '1h'),
    },
  }
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '')
}
