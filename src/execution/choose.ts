import { createHash } from 'node:crypto'
import {
  sizeOf,
  type Artifact,
  type Content,
  type Digest,
  type Platform,
  type PlatformManifest,
} from '../model/artifact.ts'
import type { Code } from '../model/codes.ts'
import type { Instant } from '../model/duration.ts'
import { EdgeError } from '../model/errors.ts'
import type { Selection, Snapshot, Target, Upkeep } from '../model/execution.ts'
import type { PreheatPolicy } from '../model/policy.ts'
import type { Provider } from '../model/provider.ts'
import type { Task } from '../model/task.ts'
import type { ArtifactSource } from '../registry/registry.ts'
import type { Store } from '../store/store.ts'
import { KEEP_WARM_SHARE } from '../trigger/upkeep.ts'
import { nameFilter, select, selectionDigest, type LeftOut } from './select.ts'

/** `preheat`: what the policy covers and is not known warm. Upkeep: only what is known warm. */
export type Purpose = 'preheat' | Upkeep

/** What choosing may touch: it reads, and submits nothing. */
export interface ChoosePorts {
  readonly source: ArtifactSource
  readonly ledger: Pick<Store, 'warm'>
  readonly now: Instant
}

/** An artifact that a provider is not given, and why. */
interface Skip {
  readonly artifact: Artifact
  readonly provider: string
  readonly reason: string
}

export type Choice =
  | {
      readonly kind: 'blocked'
      readonly code: Code
      readonly message: string
      readonly selection: Selection | undefined
    }
  | {
      readonly kind: 'chosen'
      readonly selection: Selection
      /** One per repository, digest and provider; sorted, with ids in that order. */
      readonly tasks: readonly Task[]
      /** Distinct blobs, summed over providers. */
      readonly sizeBytes: number
      readonly skips: readonly Skip[]
      readonly leftOut: readonly LeftOut[]
    }

/**
 * Which artifacts one execution of a policy sends where, from what the registry lists now and what is known warm.
 *
 * @throws {EdgeError} when the registry could not be read whole: a short selection would pass for the whole one.
 */
export async function choose(
  executionId: string,
  snapshot: Snapshot,
  purpose: Purpose,
  ports: ChoosePorts,
  signal: AbortSignal,
): Promise<Choice> {
  const { policy, targets } = snapshot
  const rules = await ports.source.projectRules(policy.project, signal)
  if (rules.contentTrust || rules.preventVulnerable) {
    const demands = [
      rules.contentTrust ? 'signed artifacts' : '',
      rules.preventVulnerable ? 'artifacts without vulnerabilities' : '',
    ]
    const message = `project ${policy.project ?? ''} demands ${demands.filter(Boolean).join(' and ')}, which this version cannot check`
    return { kind: 'blocked', code: 'PH8005', message, selection: undefined }
  }

  const candidates = await ports.source.list({ project: policy.project, wants: nameFilter(policy.filters) }, signal)
  const { artifacts, leftOut } = select(candidates, policy)
  const selection = {
    digest: selectionDigest(artifacts),
    considered: considered(candidates),
    selected: artifacts.length,
    skipped: 0,
  }
  if (artifacts.length > policy.limits.maxArtifacts) {
    const message = `${artifacts.length} artifacts are selected and spec.limits.maxArtifacts is ${policy.limits.maxArtifacts}; nothing was submitted`
    return { kind: 'blocked', code: 'PH8004', message, selection }
  }

  const skips: Skip[] = []
  const wanted: { target: Target; artifact: Artifact; platforms: readonly Platform[]; ledgerKey: string }[] = []
  for (const target of [...targets].sort((a, b) => order(a.provider.name, b.provider.name))) {
    const platforms = policy.platforms.length > 0 ? policy.platforms : target.provider.platforms
    const keyed = artifacts.map((artifact) => ({
      target,
      artifact,
      platforms,
      ledgerKey: ledgerKey(snapshot, target, artifact, platforms),
    }))
    const { skipped, left } = await wantedOf(keyed, snapshot, purpose, ports)
    skips.push(...skipped)
    wanted.push(...left)
  }

  const contents = await readContents(
    wanted.map(({ artifact }) => artifact),
    ports.source,
    signal,
  )
  const tasks: Task[] = []
  const dropped: LeftOut[] = []
  for (const one of wanted) {
    const read = contents.get(contentKey(one.artifact))!
    const message = 'content' in read ? unsuitable(read.content, one.platforms, policy.filters.types) : undefined
    if (message !== undefined) {
      const { repository, digest } = one.artifact
      dropped.push({ repository, tag: undefined, digest, rule: 'type', message })
      continue
    }
    tasks.push(
      taskOf(
        `${executionId}-${String(tasks.length + 1).padStart(5, '0')}`,
        executionId,
        snapshot,
        purpose,
        one,
        read,
        ports.now,
      ),
    )
  }

  const sizeBytes = targets.reduce(
    (sum, { provider }) =>
      sum + sizeOf(tasks.flatMap((task) => (task.provider === provider.name ? task.order.manifests : []))),
    0,
  )
  const counted = { ...selection, skipped: skips.length }
  if (policy.limits.maxBytes !== undefined && sizeBytes > policy.limits.maxBytes) {
    const message = `${sizeBytes} bytes are to be preheated and spec.limits.maxBytes is ${policy.limits.maxBytes}; nothing was submitted`
    return { kind: 'blocked', code: 'PH8004', message, selection: counted }
  }
  return { kind: 'chosen', selection: counted, tasks, sizeBytes, skips, leftOut: [...leftOut, ...dropped] }
}

interface Wanted {
  readonly target: Target
  readonly artifact: Artifact
  readonly platforms: readonly Platform[]
  readonly ledgerKey: string
}

/** Splits what a provider need not be given: it is disabled, or what is known of the image's warmth says so. */
async function wantedOf(
  keyed: readonly Wanted[],
  snapshot: Snapshot,
  purpose: Purpose,
  { ledger, now }: ChoosePorts,
): Promise<{ skipped: Skip[]; left: Wanted[] }> {
  const provider = keyed[0]?.target.provider
  if (provider === undefined) return { skipped: [], left: [] }
  const entries = provider.enabled ? await ledger.warm(keyed.map(({ ledgerKey }) => ledgerKey)) : []
  const warmAt = new Map(entries.map((entry) => [entry.key, entry.warmAt]))
  const skipped: Skip[] = []
  const left: Wanted[] = []
  for (const one of keyed) {
    const reason = provider.enabled
      ? reasonToSkip(purpose, snapshot, provider, warmAt.get(one.ledgerKey), now)
      : 'ProviderDisabled'
    if (reason === undefined) left.push(one)
    else skipped.push({ artifact: one.artifact, provider: provider.name, reason })
  }
  return { skipped, left }
}

/** @param warmAt when the image was last shown to be warm; undefined: never, or it is known to be evicted */
function reasonToSkip(
  purpose: Purpose,
  { policy, refresh }: Snapshot,
  provider: Provider,
  warmAt: Instant | undefined,
  now: Instant,
): string | undefined {
  const isFresh = warmAt !== undefined && now - warmAt < provider.cacheLifetimeMs
  switch (purpose) {
    case 'preheat':
      return refresh === 'missing' && isFresh ? 'AlreadyWarm' : undefined
    case 'drift':
      return isFresh ? undefined : 'NotWarm'
    case 'keep_warm':
      if (warmAt === undefined) return 'NotWarm'
      return now - warmAt < (policy.keepWarmMs ?? Infinity) * KEEP_WARM_SHARE ? 'AlreadyWarm' : undefined
    default:
      return purpose satisfies never
  }
}

type Read = { readonly content: Content } | { readonly error: EdgeError }

/**
 * One read per digest, however many providers want it. What cannot be read or understood fails alone; a registry that
 * stops answering fails the whole.
 */
async function readContents(
  artifacts: readonly Artifact[],
  source: ArtifactSource,
  signal: AbortSignal,
): Promise<Map<string, Read>> {
  const distinct = new Map(artifacts.map((artifact) => [contentKey(artifact), artifact]))
  const read = async ([key, { repository, digest }]: [string, Artifact]): Promise<[string, Read]> => {
    try {
      return [key, { content: await source.content(repository, digest, signal) }]
    } catch (error) {
      if (!(error instanceof EdgeError) || error.fault === 'unavailable') throw error
      return [key, { error }]
    }
  }
  return new Map(await Promise.all([...distinct].map(read)))
}

function unsuitable(content: Content, platforms: readonly Platform[], types: readonly string[]): string | undefined {
  if (!types.includes(content.type))
    return `its content is of type ${content.type}, and the policy wants ${types.join(', ')}`
  if (manifestsFor(content, platforms).length > 0) return undefined
  return content.isIndex ? `the index holds none of ${platforms.join(', ') || 'any platform'}` : 'it holds no manifest'
}

/** The platform manifests that are wanted; an artifact that is no index is taken as it is: its manifest does not say. */
function manifestsFor(content: Content, platforms: readonly Platform[]): readonly PlatformManifest[] {
  if (!content.isIndex || platforms.length === 0) return content.manifests
  return content.manifests.filter(
    ({ platform }) => platform !== undefined && platforms.some((wanted) => covers(wanted, platform)),
  )
}

/** `linux/arm` covers `linux/arm/v7`, which covers only itself. */
function covers(wanted: Platform, platform: Platform): boolean {
  return platform === wanted || platform.startsWith(`${wanted}/`)
}

function taskOf(
  id: string,
  executionId: string,
  { policy, registry }: Snapshot,
  purpose: Purpose,
  wanted: Wanted,
  read: Read,
  now: Instant,
): Task {
  const { target, artifact, platforms, ledgerKey } = wanted
  const manifests = 'content' in read ? manifestsFor(read.content, platforms) : []
  const task = {
    id,
    executionId,
    provider: target.provider.name,
    registry: registry.name,
    artifact,
    platforms: platforms.length > 0 ? [...platforms].sort() : platformsOf(manifests),
    sizeBytes: sizeOf(manifests),
    order: {
      taskId: id,
      engineEndpoint: registry.engineEndpoint,
      repository: artifact.repository,
      digest: artifact.digest,
      manifests,
      scope: target.scope,
      clusters: target.clusters,
      timeoutMs: policy.timeoutMs ?? target.provider.dragonfly.timeoutMs,
    },
    ledgerKey,
    retry: policy.retry,
    purpose: taskPurpose(purpose, policy),
    attempts: 0,
    jobs: [],
    startedAt: undefined,
    faults: 0,
  }
  if ('content' in read) return { ...task, state: 'Pending', nextAt: now, error: undefined }
  const error = { code: read.error.code, message: read.error.message }
  return { ...task, state: 'Failed', endedAt: now, error, evidence: undefined, missing: [] }
}

function taskPurpose(purpose: Purpose, { drift }: PreheatPolicy): Task['purpose'] {
  if (purpose !== 'drift') return 'preheat'
  return drift.mode === 'heal' ? 'heal' : 'look'
}

function platformsOf(manifests: readonly PlatformManifest[]): Platform[] {
  return [...new Set(manifests.flatMap(({ platform }) => platform ?? []))].sort()
}

/**
 * Under which warmth is remembered: everything that decides what the engine caches and where, and no tag
 * (resources.md, "Meaning").
 */
function ledgerKey(
  { registry }: Snapshot,
  target: Target,
  { repository, digest }: Artifact,
  platforms: readonly Platform[],
): string {
  const clusters = target.clusters ?? target.provider.dragonfly.clusters
  const parts = [
    target.provider.name,
    registry.engineEndpoint,
    repository,
    digest,
    [...platforms].sort(),
    target.scope,
    clusters,
  ]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

function contentKey({ repository, digest }: Artifact): string {
  return `${repository}@${digest}`
}

function considered(
  candidates: readonly { repository: string; digest: Digest | undefined; tags: readonly string[] }[],
): number {
  return new Set(candidates.map(({ repository, digest, tags }) => `${repository}@${digest ?? tags[0] ?? ''}`)).size
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
