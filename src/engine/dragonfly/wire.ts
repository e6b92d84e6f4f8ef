import { createHash } from 'node:crypto'
import { echoOf, type Echo, type IdForm } from './features.ts'
import { manifestUrl } from '../manifest-url.ts'
import { excerpt } from '../../model/errors.ts'
import type { BlobName, PlatformManifest } from '../../model/artifact.ts'
import type { Instant } from '../../model/duration.ts'
import type { DragonflySettings, PeerChoice, Scope } from '../../model/provider.ts'
import { manifestsOf, type Job, type Order } from '../../model/task.ts'
import type { Secret } from '../../model/secret.ts'

/** A scheduler cluster as the manager lists it. */
export interface Cluster {
  readonly id: number
  readonly name: string
}

/** A job as the manager tells it. Of its `args` only what is named here goes on: they hold credentials in clear. */
export interface JobRow {
  readonly id: number
  readonly type: string
  readonly state: string
  readonly bio: string
  /** Empty where its args name none. */
  readonly url: string
  /** Undefined where the manager does not tell. */
  readonly createdAt: Instant | undefined
  readonly echo: Echo
  /** As it came; claims.ts and probe.ts read it. */
  readonly result: unknown
  /** Ids of the clusters that it was sent to; empty where the manager does not tell. */
  readonly clusters: readonly number[]
  /** Credentials that the manager echoes, so that they can be taken out of what it says. */
  readonly secrets: readonly string[]
}

/** The most that the manager's column `bio` holds: dragonflyoss/dragonfly manager/models/job.go, v2.5.1. */
const BIO_LENGTH = 1024

/** Marks a job as ours: the one free field that the manager keeps. The same for every attempt. */
export function bioOf(order: Order, job: Job): string {
  return `preheatd/${order.taskId}/${job.key}`.slice(0, BIO_LENGTH)
}

/** The manifest that a job preheats; a file's has none. */
export function manifestOf(order: Order, job: Job): PlatformManifest | undefined {
  return manifestsOf(order).find(({ digest }) => digest === job.manifest)
}

/** What a job names to the manager: its manifest or its file. Undefined for a repository that is no OCI name. */
export function urlOf(order: Order, job: Job): string | undefined {
  return 'file' in order ? order.file : manifestUrl(order, job)
}

/** The URL by which nodes ask for a blob of the order, which for a file is the file. */
function blobUrl(order: Order, blob: BlobName): string {
  return 'file' in order ? order.file : `${order.engineEndpoint}/v2/${order.repository}/blobs/${blob}`
}

/**
 * Args that a manager must know by name: those that the Provider sets, for a job of this scope. `taskId: auto` sends
 * nothing about ids, so that the manager does what it does by itself, and its echo says what that is.
 * @see dragonflyoss/dragonfly manager/types/job.go `PreheatArgs`, v2.5.1; `enable_task_id_based_blob_digest` from #4975
 */
export function settingArgs(settings: DragonflySettings, scope: Scope): Record<string, unknown> {
  const { taskId } = settings
  return {
    ...fileSettingArgs(settings, scope),
    ...(taskId !== 'auto' && { enable_task_id_based_blob_digest: taskId === 'digest' }),
  }
}

/** {@link settingArgs} of an order. A file is no blob, and its id is made of its URL whatever nodes do with blobs. */
export function orderArgs(settings: DragonflySettings, order: Order): Record<string, unknown> {
  return 'file' in order ? fileSettingArgs(settings, order.scope) : settingArgs(settings, order.scope)
}

function fileSettingArgs({ peers, options }: DragonflySettings, scope: Scope): Record<string, unknown> {
  return {
    ...idArgs(options),
    ...(options.concurrentTaskCount !== undefined && { concurrent_task_count: options.concurrentTaskCount }),
    ...(options.concurrentPeerCount !== undefined && { concurrent_peer_count: options.concurrentPeerCount }),
    ...(scope !== 'single_seed_peer' && peerArgs(peers)),
  }
}

/** What goes into a task id that is made of a URL. */
function idArgs(options: DragonflySettings['options']): Record<string, unknown> {
  return {
    ...(options.pieceLengthBytes !== undefined && { piece_length: options.pieceLengthBytes }),
    ...(options.tag !== undefined && { tag: options.tag }),
    ...(options.application !== undefined && { application: options.application }),
    ...(options.filteredQueryParams !== undefined && { filtered_query_params: options.filteredQueryParams.join('&') }),
  }
}

/** The most exact alone, which is the one that a scheduler would heed. */
function peerArgs({ ips, count, percentage }: PeerChoice): Record<string, unknown> {
  if (ips !== undefined && ips.length > 0) return { ips }
  if (count !== undefined) return { count }
  return percentage === undefined ? {} : { percentage }
}

/**
 * Body of `POST /oapi/v1/jobs`. `timeout` is a Go duration: an integer of nanoseconds. With `headers.Authorization` the
 * manager asks no token service.
 * @param scope in the words of this manager
 * @see dragonflyoss/dragonfly manager/types/job.go `CreatePreheatJobRequest`, v2.5.1
 */
export function preheatBody(
  order: Order,
  job: Job,
  target: { readonly url: string; readonly scope: string; readonly settings: DragonflySettings },
  authorization: Secret | undefined,
): string {
  const platform = manifestOf(order, job)?.platform
  return JSON.stringify({
    type: 'preheat',
    bio: bioOf(order, job),
    args: {
      type: 'file' in order ? 'file' : 'image',
      url: target.url,
      scope: target.scope,
      timeout: order.timeoutMs * 1_000_000,
      ...orderArgs(target.settings, order),
      ...(authorization && { headers: { Authorization: authorization.reveal() } }),
      ...(platform !== undefined && { platform }),
    },
    ...clusterIds(job),
  })
}

/** Marks the question for one blob as ours, and as no preheat. */
export function probeBioOf(order: Order, job: Job, blob: BlobName): string {
  const name = 'file' in order ? createHash('sha256').update(blob).digest('hex') : blob.slice(7)
  return `preheatd-probe/${name.slice(0, 16)}/${order.taskId}/${job.key}`.slice(0, BIO_LENGTH)
}

/** Which hosts hold a blob. */
export interface BlobQuestion {
  readonly bio: string
  readonly url: string
  readonly blob: BlobName
  readonly clusterId: number | undefined
}

/** The question for a blob of a job, or for its file. */
export function blobQuestion(order: Order, job: Job, blob: BlobName): BlobQuestion {
  const clusterId = job.cluster && Number(job.cluster.id)
  return { bio: probeBioOf(order, job, blob), url: blobUrl(order, blob), blob, clusterId }
}

/**
 * Body of the question which hosts hold a blob under one id.
 * @param by `url`: the manager makes the id of the URL, as it does of every file's; `digest`: the id is the blob's digest
 * @see dragonflyoss/dragonfly manager/types/job.go `CreateGetTaskJobRequest`, v2.5.1
 */
export function getTaskBody(
  { bio, url, blob, clusterId }: BlobQuestion,
  by: IdForm,
  settings: DragonflySettings,
): string {
  const what = by === 'url' ? { url, ...idArgs(settings.options) } : { task_id: blob.slice(7) }
  return JSON.stringify({
    type: 'get_task',
    bio,
    args: { ...what, timeout: PROBE_TIMEOUT_NS },
    ...(clusterId !== undefined && { scheduler_cluster_ids: [clusterId] }),
  })
}

/** Hosts are asked what they have and fetch nothing: minutes are plenty. */
const PROBE_TIMEOUT_NS = 300_000_000_000

function clusterIds({ cluster }: Job): object {
  return cluster === undefined ? {} : { scheduler_cluster_ids: [Number(cluster.id)] }
}

/** A job that was just taken; undefined when the answer is no job. The echo is undefined where args are not told. */
export function parseTaken(bytes: Buffer): { readonly id: string; readonly echo: Echo | undefined } | undefined {
  const row = parseJson(bytes)
  const [id, args] = [at(row, 'id'), at(row, 'args')]
  return isId(id) ? { id: String(id), echo: isObject(args) ? echoOf(args) : undefined } : undefined
}

/**
 * A job; undefined when the answer is none.
 * @see dragonflyoss/dragonfly manager/models/job.go, v2.5.1
 */
export function parseJob(bytes: Buffer): JobRow | undefined {
  return jobRow(parseJson(bytes))
}

/**
 * A page of jobs; undefined when the answer is none, and in place of a row that is none. A manager without jobs says
 * `[]`, older ones `null`.
 * @see dragonflyoss/dragonfly manager/handlers/job.go `GetJobs`, v2.5.1
 */
export function parseJobs(bytes: Buffer): (JobRow | undefined)[] | undefined {
  const page = parseJson(bytes)
  if (page === null) return []
  return Array.isArray(page) ? page.map(jobRow) : undefined
}

function jobRow(row: unknown): JobRow | undefined {
  const args = at(row, 'args')
  const [id, state, bio] = [at(row, 'id'), at(row, 'state'), at(row, 'bio')]
  if (!isId(id) || typeof state !== 'string' || typeof bio !== 'string' || !isObject(args)) return undefined
  const [type, url, headers, created] = [at(row, 'type'), args['url'], args['headers'], at(row, 'created_at')]
  const createdAt = typeof created === 'string' ? Date.parse(created) : NaN
  const values: unknown[] = isObject(headers) ? Object.values(headers) : []
  return {
    id,
    type: typeof type === 'string' ? type : '',
    state,
    bio,
    url: typeof url === 'string' ? url : '',
    createdAt: Number.isNaN(createdAt) ? undefined : createdAt,
    echo: echoOf(args),
    result: at(row, 'result'),
    clusters: [...new Set(items(at(row, 'scheduler_clusters')).flatMap((cluster) => idOf(at(cluster, 'id'))))],
    secrets: [args['password'], ...values].filter((value) => typeof value === 'string'),
  }
}

/**
 * One page of clusters; undefined when the answer is none. A manager without clusters says `null`.
 * @see dragonflyoss/dragonfly manager/types/cluster.go `GetClusterResponse`, v2.5.1
 */
export function parseClusters(bytes: Buffer): Cluster[] | undefined {
  const page = parseJson(bytes)
  if (page === null) return []
  if (!Array.isArray(page)) return undefined
  const clusters = page.map((one: unknown) => ({ id: at(one, 'id'), name: at(one, 'name') }))
  return clusters.every((one): one is Cluster => isId(one.id) && typeof one.name === 'string')
    ? clusters.map(({ id, name }) => ({ id, name: excerpt(name, 128) }))
    : undefined
}

/** How long ago a cluster was made, in ms; undefined when the answer does not tell. */
export function parseClusterAge(bytes: Buffer, now: Instant): number | undefined {
  const created = at(parseJson(bytes), 'created_at')
  const age = typeof created === 'string' ? now - Date.parse(created) : NaN
  return Number.isNaN(age) ? undefined : age
}

/** Undefined, which no JSON text means, for what is none. */
function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

/** A member of an object; undefined of anything else. */
export function at(value: unknown, key: string): unknown {
  return isObject(value) ? value[key] : undefined
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

/** The items of an array; none of anything else. Go writes an empty list as `null`. */
export function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** One id, or none. */
export function idOf(value: unknown): number[] {
  return isId(value) ? [value] : []
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}
