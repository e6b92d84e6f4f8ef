import { createHash } from 'node:crypto'
import type { Auth } from '../model/auth.ts'
import { parseDuration } from '../model/duration.ts'
import type { Criteria, Newest, PreheatPolicy, ProviderRef, Suspension, Trigger } from '../model/policy.ts'
import type { DragonflyOptions, DragonflySettings, KrakenSettings, Provider } from '../model/provider.ts'
import type { Registry } from '../model/registry.ts'
import type { PreheatRun } from '../model/run.ts'
import type { Trust } from '../model/signature.ts'
import { parseSize } from '../model/size.ts'
import { parseArtifactName } from './artifact-name.ts'
import type { Attachments } from './attachments.ts'
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
    webhook: spec.webhook && { secret: spec.webhook.secretRef.name },
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

/** A policy's registry: the one that it names, or the only one there is. */
export interface RegistryOfPolicy {
  readonly name: string
  /** Undefined where its file does not say; then what depends on it is as for `harbor`. */
  readonly type: Registry['type'] | undefined
}

/** Likewise. What cannot be used of it, a key that is not there, is empty, and a rule's finding. */
export function toPolicy(
  { metadata, spec }: Pick<PreheatPolicyDocument, 'metadata' | 'spec'>,
  registry: RegistryOfPolicy,
  attachments: Attachments,
): PreheatPolicy {
  const { filters } = spec
  return {
    kind: 'PreheatPolicy',
    name: metadata.name,
    labels: metadata.labels ?? {},
    description: spec.description ?? '',
    enabled: spec.enabled ?? true,
    registry: registry.name,
    project: spec.project,
    providers: (spec.providers ?? []).map(toProviderRef),
    providerSelector: spec.providerSelector?.matchLabels,
    suspend: toSuspension(spec.suspend),
    filters: {
      repositories: filters.repositories,
      tags: filters.tags,
      labels: filters.labels ?? [],
      exclude: { repositories: [], tags: [], ...filters.exclude },
      types: TYPES.filter((type) => (filters.types ?? ['image', 'cnai']).includes(type)),
      newest: toNewest(filters.newest, registry),
    },
    artifacts: (spec.artifacts ?? []).flatMap((text) => parseArtifactName(text) ?? []),
    files: spec.files ?? [],
    criteria: toCriteria(spec.criteria, registry, attachments),
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
    deadlineMs: spec.deadline === undefined ? undefined : parseDuration(spec.deadline),
  }
}

/**
 * Likewise.
 * @param registry where the artifacts are that it names itself; a run of a policy needs none
 */
export function toRun({ metadata, spec }: PreheatRunDocument, registry: RegistryOfPolicy | undefined): PreheatRun {
  const { policy, reason = '', expiresAt, registry: _, ...own } = spec
  const run = {
    kind: 'PreheatRun',
    name: metadata.name,
    labels: metadata.labels ?? {},
    reason,
    expiresAt: expiresAt === undefined ? undefined : Date.parse(expiresAt),
    digest: `sha256:${createHash('sha256').update(canonicalJson(spec)).digest('hex')}`,
  } as const
  if (policy !== undefined) return { ...run, policy, refresh: own.refresh?.mode }
  const filters = { repositories: [], tags: [] }
  return { ...run, ownPolicy: toPolicy({ metadata, spec: { ...own, filters } }, registry!, new Map()) }
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

const TYPES = ['image', 'cnai', 'chart', 'wasm', 'cnab', 'any'] as const

type PolicySpec = PreheatPolicyDocument['spec']

function toSuspension(suspend: PolicySpec['suspend']): Suspension | undefined {
  if (suspend === undefined) return undefined
  return { until: suspend.until === undefined ? undefined : Date.parse(suspend.until), reason: suspend.reason ?? '' }
}

function toNewest(newest: PolicySpec['filters']['newest'], { type }: RegistryOfPolicy): Newest | undefined {
  return newest && { count: newest.count, by: newest.by ?? (type === 'oci' ? 'semver' : 'pushed') }
}

function toCriteria(
  { signature, vulnerability }: NonNullable<PolicySpec['criteria']> = {},
  { type }: RegistryOfPolicy,
  attachments: Attachments,
): Criteria {
  const byDefault = type === 'oci' ? 'ignored' : 'inherit'
  return {
    signature:
      signature?.mode === 'verified'
        ? { mode: 'verified', trust: toTrust(signature, attachments) }
        : { mode: signature?.mode ?? byDefault },
    vulnerability:
      vulnerability?.mode === 'below'
        ? { mode: 'below', severity: vulnerability.severity! }
        : { mode: vulnerability?.mode ?? byDefault },
  }
}

type SignatureSpec = NonNullable<NonNullable<PolicySpec['criteria']>['signature']>

function toTrust({ keys = [], identities = [], trustedRoot }: SignatureSpec, attachments: Attachments): Trust {
  const textOf = (path: string) => {
    const found = attachments.get(path)
    return found?.ok === true ? found.text : ''
  }
  return {
    keys: keys.map((path) => ({ name: path, pem: textOf(path) })),
    identities,
    trustedRoot: trustedRoot === undefined ? undefined : { name: trustedRoot, json: textOf(trustedRoot) },
  }
}

function toTrigger(trigger: PreheatPolicyDocument['spec']['trigger'] = { type: 'manual' }): Trigger {
  switch (trigger.type) {
    case 'manual':
      return { type: 'manual' }
    case 'scheduled': {
      const schedule = trigger.schedule!
      return {
        type: 'scheduled',
        schedule: {
          cron: schedule.cron,
          timeZone: schedule.timeZone ?? 'UTC',
          startingDeadlineMs: parseDuration(schedule.startingDeadline ?? '1h'),
          catchUp: schedule.catchUp ?? 'once',
          concurrency: schedule.concurrency ?? 'forbid',
          spreadMs: parseDuration(schedule.spread ?? '0s'),
        },
      }
    }
    case 'event_based':
      return {
        type: 'event_based',
        events: trigger.events ?? ['push', 'scan', 'label'],
        pollMs: parseDuration(trigger.poll ?? '10m'),
        debounceMs: parseDuration(trigger.debounce ?? '30s'),
      }
    default:
      return trigger.type satisfies never
  }
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '')
}
