import { excerpt } from '../../model/errors.ts'
import type { PlatformManifest } from '../../model/artifact.ts'
import type { Job, Order } from '../../model/task.ts'
import type { Secret } from '../../model/secret.ts'

/** A scheduler cluster as the manager lists it. */
export interface Cluster {
  readonly id: number
  readonly name: string
}

/** A job as the manager tells it. Its `args` stay here: they hold credentials in clear. */
export interface JobRow {
  readonly state: string
  readonly bio: string
  readonly url: string
  /** As it came; claims.ts reads it. */
  readonly result: unknown
  /** Ids of the clusters that it was sent to; empty where the manager does not tell. */
  readonly clusters: readonly number[]
  /** Credentials that the manager echoes, so that they can be taken out of what it says. */
  readonly secrets: readonly string[]
}

/** The most that the manager's column `bio` holds: dragonflyoss/dragonfly manager/models/job.go, v2.5.1. */
const BIO_LENGTH = 1024

// No `..`, no percent sign, no query: what passes means the same in a URL as in a registry.
const REPOSITORY = /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$/i

/** The URL that an engine is told to preheat; undefined for a repository that is no OCI name. */
export function manifestUrl(order: Order, job: Job): string | undefined {
  if (order.repository.length > 255 || !REPOSITORY.test(order.repository)) return undefined
  return `${order.engineEndpoint}/v2/${order.repository}/manifests/${job.manifest}`
}

/** Marks a job as ours: the one free field that the manager keeps. The same for every attempt. */
export function bioOf(order: Order, job: Job): string {
  return `preheatd/${order.taskId}/${job.key}`.slice(0, BIO_LENGTH)
}

/** The manifest that a job preheats. */
export function manifestOf(order: Order, job: Job): PlatformManifest | undefined {
  return order.manifests.find(({ digest }) => digest === job.manifest)
}

/**
 * Body of `POST /oapi/v1/jobs`. `timeout` is a Go duration: an integer of nanoseconds. With `headers.Authorization` the
 * manager asks no token service.
 * @see dragonflyoss/dragonfly manager/types/job.go `CreatePreheatJobRequest`, v2.5.1
 */
export function preheatBody(order: Order, job: Job, url: string, authorization: Secret | undefined): string {
  const platform = manifestOf(order, job)?.platform
  return JSON.stringify({
    type: 'preheat',
    bio: bioOf(order, job),
    args: {
      type: 'image',
      url,
      scope: order.scope,
      timeout: order.timeoutMs * 1_000_000,
      ...(authorization && { headers: { Authorization: authorization.reveal() } }),
      ...(platform !== undefined && { platform }),
    },
    ...(job.cluster && { scheduler_cluster_ids: [Number(job.cluster.id)] }),
  })
}

/** The id of a job that was just taken; undefined when the answer is no job. */
export function parseJobId(bytes: Buffer): string | undefined {
  const id = at(parseJson(bytes), 'id')
  return isId(id) ? String(id) : undefined
}

/**
 * A job; undefined when the answer is none.
 * @see dragonflyoss/dragonfly manager/models/job.go, v2.5.1
 */
export function parseJob(bytes: Buffer): JobRow | undefined {
  const row = parseJson(bytes)
  const args = at(row, 'args')
  const [state, bio, url] = [at(row, 'state'), at(row, 'bio'), at(args, 'url')]
  if (!isId(at(row, 'id')) || typeof state !== 'string' || typeof bio !== 'string' || typeof url !== 'string')
    return undefined
  const headers = at(args, 'headers')
  const values: unknown[] = typeof headers === 'object' && headers !== null ? Object.values(headers) : []
  return {
    state,
    bio,
    url,
    result: at(row, 'result'),
    clusters: [...new Set(items(at(row, 'scheduler_clusters')).flatMap((cluster) => idOf(at(cluster, 'id'))))],
    secrets: [at(args, 'password'), ...values].filter((value) => typeof value === 'string'),
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

/** Is this a page of jobs? A manager that has none says `[]`, older ones `null`. */
export function isJobList(bytes: Buffer): boolean {
  const page = parseJson(bytes)
  return page === null || Array.isArray(page)
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
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[key] : undefined
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
