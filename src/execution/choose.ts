import { createHash } from 'node:crypto'
import {
  parseFileUrl,
  sizeOf,
  type Artifact,
  type Content,
  type FileUrl,
  type Platform,
  type Subject,
} from '../model/artifact.ts'
import type { Candidate } from '../model/candidate.ts'
import type { Code } from '../model/codes.ts'
import type { Instant } from '../model/duration.ts'
import { EdgeError } from '../model/errors.ts'
import type { Selection, Snapshot, Target, Upkeep } from '../model/execution.ts'
import type { PreheatPolicy } from '../model/policy.ts'
import type { Provider } from '../model/provider.ts'
import { manifestsOf, type Task } from '../model/task.ts'
import type { ArtifactSource } from '../registry/registry.ts'
import type { Store } from '../store/store.ts'
import { KEEP_WARM_SHARE } from '../trigger/upkeep.ts'
import { appraiseAll, judgeContent, type Considered } from './appraise.ts'
import { absentOf, manifestsFor, platformsOf } from './platforms.ts'
import { byPlace, selectionDigest, type LeftOut } from './select.ts'
import { survey } from './survey.ts'

/** `preheat`: what the policy covers and is not known warm. Upkeep: only what is known warm. */
export type Purpose = 'preheat' | Upkeep

/** What choosing may touch: it reads, and submits nothing. */
export interface ChoosePorts {
  readonly source: ArtifactSource
  readonly ledger: Pick<Store, 'warm'>
  /** A listing has to have begun then or later: when the execution did. */
  readonly since: Instant
  readonly now: Instant
}

/** What a provider is not given, and why. */
interface Skip {
  readonly subject: Subject
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
      /** For each provider one per repository and digest, then one per file; sorted, with ids in that order. */
      readonly tasks: readonly Task[]
      /** Distinct blobs, summed over providers; files, whose size nobody knows yet, are not in it. */
      readonly sizeBytes: number
      readonly skips: readonly Skip[]
      readonly leftOut: readonly LeftOut[]
    }

/**
 * Which artifacts and files one execution of a policy sends where, from what the registry lists now and what is known
 * warm.
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
  const {
    candidates,
    demands,
    wanted: covered,
    leftOut,
    unresolved,
  } = await survey(snapshot, ports.source, ports.since, signal)
  const appraised = await appraiseAll(covered, demands, policy.platforms, ports, signal)
  const artifacts = appraised.passed
  // An event is about artifacts.
  const files = snapshot.subjects ? [] : [...new Set(policy.files.map(parseFileUrl))].sort(order)
  const selected = artifacts.length + files.length
  const selection = {
    digest: selectionDigest(artifacts, files),
    considered: distinctOf(candidates) + files.length,
    selected,
    skipped: 0,
    ...(unresolved.length > 0 && { unresolved }),
  }
  if (files.length > 0 && policy.limits.maxBytes !== undefined) {
    const message =
      'spec.limits.maxBytes cannot be kept with spec.files, whose sizes nobody knows before they are downloaded; nothing was submitted'
    return { kind: 'blocked', code: 'PH8004', message, selection }
  }
  if (selected > policy.limits.maxArtifacts) {
    const message = `${selected} artifacts${files.length > 0 ? ' and files' : ''} are selected and spec.limits.maxArtifacts is ${policy.limits.maxArtifacts}; nothing was submitted`
    return { kind: 'blocked', code: 'PH8004', message, selection }
  }

  const skips: Skip[] = []
  const wanted: Wanted[] = []
  for (const target of [...targets].sort((a, b) => order(a.provider.name, b.provider.name))) {
    const platforms = policy.platforms.length > 0 ? policy.platforms : target.provider.platforms
    const keyed = [
      ...artifacts.map((artifact) => ({
        target,
        artifact,
        platforms,
        ledgerKey: ledgerKey(snapshot, target, artifact, platforms),
      })),
      ...files.map((file) => ({ target, file, ledgerKey: fileLedgerKey(target, file) })),
    ]
    const { skipped, left } = await wantedOf(keyed, snapshot, purpose, ports)
    skips.push(...skipped)
    wanted.push(...left)
  }

  const contents = await readContents(
    wanted.flatMap((one) => ('file' in one ? [] : one.artifact)),
    ports.source,
    signal,
  )
  const tasks: Task[] = []
  const dropped: LeftOut[] = []
  for (const one of wanted) {
    const own = newTask(executionId, tasks.length + 1, snapshot, purpose, one)
    if ('file' in one) {
      tasks.push(fileTask(own, one, ports.now))
      continue
    }
    const read = held(contents.get(contentKey(one.artifact))!, one.platforms)
    const verdict = 'content' in read ? judgeContent(read.content, one, policy.filters) : undefined
    if (verdict?.says === 'out') {
      const { repository, digest } = one.artifact
      dropped.push({ repository, tag: undefined, digest, rule: verdict.rule, message: verdict.message })
      continue
    }
    tasks.push(artifactTask(own, snapshot, one, read, ports.now))
  }

  const sizeBytes = targets.reduce(
    (sum, { provider }) =>
      sum + sizeOf(tasks.flatMap((task) => (task.provider === provider.name ? manifestsOf(task.order) : []))),
    0,
  )
  const counted = { ...selection, skipped: skips.length }
  if (policy.limits.maxBytes !== undefined && sizeBytes > policy.limits.maxBytes) {
    const message = `${sizeBytes} bytes are to be preheated and spec.limits.maxBytes is ${policy.limits.maxBytes}; nothing was submitted`
    return { kind: 'blocked', code: 'PH8004', message, selection: counted }
  }
  return {
    kind: 'chosen',
    selection: counted,
    tasks,
    sizeBytes,
    skips,
    leftOut: [...leftOut, ...appraised.leftOut, ...dropped].sort(byPlace),
  }
}

interface WantedArtifact {
  readonly target: Target
  readonly artifact: Considered
  readonly platforms: readonly Platform[]
  readonly ledgerKey: string
}

interface WantedFile {
  readonly target: Target
  readonly file: FileUrl
  readonly ledgerKey: string
}

type Wanted = WantedArtifact | WantedFile

/** Splits what a provider need not be given: it is disabled, or what is known of its warmth says so. */
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
    else skipped.push({ subject: subjectOf(one), provider: provider.name, reason })
  }
  return { skipped, left }
}

/** @param warmAt when the image or file was last shown to be warm; undefined: never, or it is known to be evicted */
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

/** A wanted platform that is listed and not there fails the artifact; one that nobody wants is nobody's loss. */
function held(read: Read, platforms: readonly Platform[]): Read {
  const absent = 'content' in read ? absentOf(read.content, platforms) : undefined
  return absent === undefined ? read : { error: new EdgeError('rejected', 'PH6007', absent) }
}

type NewTask = ReturnType<typeof newTask>

/** What every task begins with, whatever it preheats; `terms` go into its order. */
function newTask(executionId: string, number: number, { policy, registry }: Snapshot, purpose: Purpose, one: Wanted) {
  const { target, ledgerKey } = one
  const id = `${executionId}-${String(number).padStart(5, '0')}`
  return {
    id,
    executionId,
    provider: target.provider.name,
    registry: registry.name,
    subject: subjectOf(one),
    terms: {
      taskId: id,
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
}

function artifactTask(
  { terms, ...own }: NewTask,
  { registry }: Snapshot,
  { artifact: { repository, digest }, platforms }: WantedArtifact,
  read: Read,
  now: Instant,
): Task {
  const manifests = 'content' in read ? manifestsFor(read.content, platforms) : []
  const task = {
    ...own,
    platforms: platforms.length > 0 ? [...platforms].sort() : platformsOf(manifests),
    sizeBytes: 'content' in read ? sizeOf(manifests) : undefined,
    order: { ...terms, engineEndpoint: registry.engineEndpoint, repository, digest, manifests },
  }
  if ('content' in read) return { ...task, state: 'Pending', nextAt: now, error: undefined }
  const error = { code: read.error.code, message: read.error.message }
  return { ...task, state: 'Failed', endedAt: now, error, evidence: undefined, missing: [] }
}

function fileTask({ terms, ...own }: NewTask, { file }: WantedFile, now: Instant): Task {
  const order = { ...terms, file }
  return { ...own, platforms: [], sizeBytes: undefined, order, error: undefined, state: 'Pending', nextAt: now }
}

function subjectOf(one: Wanted): Subject {
  if ('file' in one) return { file: one.file }
  const { repository, digest, tags } = one.artifact
  return { repository, digest, tags }
}

function taskPurpose(purpose: Purpose, { drift }: PreheatPolicy): Task['purpose'] {
  if (purpose !== 'drift') return 'preheat'
  return drift.mode === 'heal' ? 'heal' : 'look'
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
    target.provider.dragonfly.taskId,
  ]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

/** The same of a file, which no registry, platform or task-ID mode has a part in. */
function fileLedgerKey({ provider, scope, clusters }: Target, file: FileUrl): string {
  const parts = [provider.name, 'file', file, scope, clusters ?? provider.dragonfly.clusters]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

function contentKey({ repository, digest }: Artifact): string {
  return `${repository}@${digest}`
}

/** How many artifacts a listing holds; what has no digest yet counts by its tag. */
function distinctOf(candidates: readonly Candidate[]): number {
  return new Set(candidates.map(({ repository, digest, tags }) => `${repository}@${digest ?? tags[0] ?? ''}`)).size
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
