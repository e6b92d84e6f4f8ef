import { createHash } from 'node:crypto'
import type { Auth } from '../model/auth.ts'
import { formatDuration, formatInstant } from '../model/duration.ts'
import type { Criteria, NamedArtifact, PreheatPolicy, Suspension, Trigger } from '../model/policy.ts'
import type { DragonflyOptions, DragonflySettings, Provider } from '../model/provider.ts'
import type { Registry } from '../model/registry.ts'
import type { Resource } from '../model/resource.ts'
import { isArtifactRun, type ArtifactRun, type PreheatRun } from '../model/run.ts'
import type { Trust } from '../model/signature.ts'
import { parseSize } from '../model/size.ts'

/** A value as it stands in a document. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json }

/** Fields of a document; undefined ones do not stand in it. */
interface Fields {
  readonly [name: string]: Json | undefined | Fields
}

/** One field of a document, defaults included. */
export interface Field {
  /** `spec.trigger.schedule.cron` */
  readonly path: string
  /** Sequences are one value. */
  readonly value: Json
}

/**
 * A resource as the fields that its author writes, names and units of resources.md §1, with defaults written out and
 * what is empty left out. In the order of that page, so that reviewers find them where they look.
 */
export function fieldsOf(resource: Resource): Field[] {
  return flatten('', { metadata: { labels: resource.labels }, spec: specOf(resource) })
}

function flatten(path: string, value: Json | Fields): Field[] {
  if (typeof value !== 'object' || value === null) return [{ path, value }]
  if (Array.isArray(value)) return value.length === 0 ? [] : [{ path, value: value as readonly Json[] }]
  return Object.entries(value as Fields).flatMap(([name, item]) =>
    item === undefined || item === '' ? [] : flatten(path === '' ? name : `${path}.${name}`, item),
  )
}

function specOf(resource: Resource): Fields {
  switch (resource.kind) {
    case 'Registry':
      return registrySpec(resource)
    case 'Provider':
      return providerSpec(resource)
    case 'PreheatPolicy':
      return policySpec(resource)
    case 'PreheatRun':
      return runSpec(resource)
    default:
      return resource satisfies never
  }
}

function registrySpec(one: Registry): Fields {
  return {
    type: one.type,
    endpoint: one.endpoint,
    auth: { type: one.auth.type, ...secretOf(one.auth) },
    engineEndpoint: one.engineEndpoint,
    engineAuth: engineAuthOf(one.engineAuth),
    tls: { ...one.tls },
    limits: one.limits,
    repositories: one.repositories,
    allowPlainHTTP: one.allowPlainHttp,
  }
}

function providerSpec(one: Provider): Fields {
  return {
    vendor: one.vendor,
    endpoint: one.endpoint,
    description: one.description,
    enabled: one.enabled,
    default: one.isDefault,
    auth: { mode: one.auth.type === 'bearer' ? 'oauth' : one.auth.type, ...secretOf(one.auth) },
    tls: { ...one.tls },
    projects: one.projects,
    platforms: one.platforms,
    cacheLifetime: formatDuration(one.cacheLifetimeMs),
    limits: one.limits,
    dragonfly: {
      ...clustersOf(one.dragonfly.clusters),
      scope: one.dragonfly.scope,
      timeout: formatDuration(one.dragonfly.timeoutMs),
      pollSchedule: one.dragonfly.pollScheduleMs.map(formatDuration),
      peers: { ...one.dragonfly.peers },
      require: { peers: `${Math.round(one.dragonfly.requiredShare * 100)}%` },
      taskId: one.dragonfly.taskId,
      options: optionsOf(one.dragonfly.options),
    },
    kraken: one.kraken && { ...one.kraken },
    allowPlainHTTP: one.allowPlainHttp,
  }
}

function optionsOf({ pieceLengthBytes, ...options }: DragonflyOptions): Fields {
  return { ...options, pieceLength: pieceLengthBytes && sizeText(pieceLengthBytes) }
}

function policySpec(one: PreheatPolicy): Fields {
  return {
    description: one.description,
    enabled: one.enabled,
    registry: one.registry,
    project: one.project,
    providers: one.providers.map(({ name, scope, clusters }) => ({
      name,
      ...(scope !== undefined && { scope }),
      ...(clusters !== undefined && { clusters }),
    })),
    providerSelector: one.providerSelector && { matchLabels: one.providerSelector },
    suspend: one.suspend && suspensionOf(one.suspend),
    filters: {
      repositories: one.filters.repositories,
      tags: one.filters.tags,
      labels: one.filters.labels,
      exclude: one.filters.exclude,
      types: one.filters.types,
      newest: one.filters.newest && { ...one.filters.newest },
    },
    artifacts: one.artifacts.map(artifactText),
    files: one.files,
    criteria: criteriaOf(one.criteria),
    trigger: triggerOf(one.trigger),
    platforms: one.platforms,
    refresh: { mode: one.refresh, keepWarm: one.keepWarmMs === undefined ? undefined : formatDuration(one.keepWarmMs) },
    drift:
      one.drift.mode === 'off' ? undefined : { mode: one.drift.mode, interval: formatDuration(one.drift.intervalMs) },
    limits: { ...one.limits, maxBytes: one.limits.maxBytes && sizeText(one.limits.maxBytes) },
    retry: { attempts: one.retry.attempts, backoff: formatDuration(one.retry.backoffMs) },
    timeout: one.timeoutMs === undefined ? undefined : formatDuration(one.timeoutMs),
    deadline: one.deadlineMs === undefined ? undefined : formatDuration(one.deadlineMs),
  }
}

function runSpec(one: PreheatRun): Fields {
  return {
    ...(isArtifactRun(one) ? ownFields(one) : { policy: one.policy }),
    reason: one.reason,
    refresh: { mode: isArtifactRun(one) ? one.ownPolicy.refresh : one.refresh },
    expiresAt: one.expiresAt === undefined ? undefined : formatInstant(one.expiresAt),
  }
}

function ownFields({ ownPolicy }: ArtifactRun): Fields {
  const { registry, project, providers, artifacts } = policySpec(ownPolicy)
  return { registry, project, providers, artifacts }
}

/** `500Gi`, in the biggest unit that holds it exactly. */
function sizeText(bytes: number): string {
  const unit = ['Pi', 'Ti', 'Gi', 'Mi', 'Ki'].find((_, index) => bytes % 2 ** (50 - 10 * index) === 0)
  return unit === undefined ? `${bytes}` : `${bytes / parseSize(`1${unit}`)}${unit}`
}

/** The secret's name; its value is not known here. */
function secretOf(auth: Auth): Fields {
  if (auth.type === 'none') return {}
  return { secretRef: { name: auth.secret }, header: auth.type === 'custom' ? auth.header : undefined }
}

function engineAuthOf(auth: Registry['engineAuth']): Fields | undefined {
  if (auth.type === 'auto') return undefined
  return { type: auth.type, ...(auth.type === 'basic' || auth.type === 'bearer' ? secretOf(auth) : {}) }
}

function clustersOf(clusters: DragonflySettings['clusters']): Fields {
  if (clusters === 'all') return { clusters }
  return 'names' in clusters ? { clusters: clusters.names } : { clusterIds: clusters.ids }
}

/** Of no end is said that it has none: `until` is the one field that a suspension is never without. */
function suspensionOf({ until, reason }: Suspension): Fields {
  return { until: until === undefined ? null : formatInstant(until), reason }
}

function artifactText({ name, reference }: NamedArtifact): string {
  return 'tag' in reference ? `${name}:${reference.tag}` : `${name}@${reference.digest}`
}

function criteriaOf({ signature, vulnerability }: Criteria): Fields {
  return {
    signature: { mode: signature.mode, ...(signature.mode === 'verified' && trustOf(signature.trust)) },
    vulnerability: { ...vulnerability },
  }
}

/** A key a field, so that a change of one is seen as that; its content as what `sha256sum` says of the file. */
function trustOf({ keys, identities, trustedRoot }: Trust): Fields {
  return {
    ...Object.fromEntries(keys.map(({ name, pem }, index) => [`keys[${index}]`, fileText(name, pem)])),
    identities: identities.map(({ issuer, subject }) => ({ issuer, subject })),
    trustedRoot: trustedRoot && fileText(trustedRoot.name, trustedRoot.json),
  }
}

function fileText(name: string, content: string): string {
  return `${name} (sha256:${createHash('sha256').update(content).digest('hex')})`
}

function triggerOf(trigger: Trigger): Fields {
  switch (trigger.type) {
    case 'manual':
      return { type: trigger.type }
    case 'scheduled': {
      const { startingDeadlineMs, spreadMs, ...schedule } = trigger.schedule
      const durations = { startingDeadline: formatDuration(startingDeadlineMs), spread: formatDuration(spreadMs) }
      return { type: trigger.type, schedule: { ...schedule, ...durations } }
    }
    case 'event_based': {
      const { events, pollMs, debounceMs } = trigger
      return { type: trigger.type, events, poll: formatDuration(pollMs), debounce: formatDuration(debounceMs) }
    }
    default:
      return trigger satisfies never
  }
}
