import { at, idOf, items, type JobRow } from './wire.ts'
import { redact } from '../redact.ts'
import { excerpt } from '../../model/errors.ts'
import type { BlobName } from '../../model/artifact.ts'
import { named, type Claims } from '../../model/evidence.ts'
import type { PeerChoice, Scope } from '../../model/provider.ts'
import type { Verdict } from '../../model/task.ts'

/** What a job was to bring about. */
export interface Question {
  /** Undefined: of a file, which is the one blob. */
  readonly repository: string | undefined
  readonly scope: Scope
  /** Of the job's manifest. */
  readonly blobs: readonly BlobName[]
  /** The cluster that it was sent to; undefined: all of them. */
  readonly cluster: number | undefined
  /** Of the hosts that a scope `all_*` reaches, the share that must hold a blob. */
  readonly requiredShare: number
  /** Which hosts a scope `all_*` aims at. */
  readonly peers: PeerChoice
}

/** What one scheduler cluster said about the wanted blobs. */
interface ClusterReport {
  /** By blob: the hosts that fetched it. Empty where the host is `unknown`: fetched, and nobody knows where. */
  readonly holders: Map<string, Set<string>>
  /** By blob: the hosts that could not fetch it. */
  readonly failures: Map<string, Set<string>>
  /** Those that hold something. */
  readonly hosts: Set<string>
  /** Addresses of all that were heard of. */
  readonly ips: Set<string>
}

// The job's own words end here: `success_tasks[].url` is the blob's URL as the manager expanded the manifest.
const BLOB_URL = /^https?:\/\/[^/]+\/v2\/(.+)\/blobs\/(sha256:[0-9a-f]{64})(?:\?.*)?$/

/**
 * What becomes of a job by its row; undefined for a state that no manager has.
 * Only these three states are ever written: dragonflyoss/dragonfly manager/service/job.go `pollingJob`, v2.5.1.
 */
export function verdictOf(row: JobRow, question: Question): Verdict | 'open' | undefined {
  switch (row.state) {
    case 'PENDING':
      return 'open'
    case 'SUCCESS':
      return { said: 'success', claims: claimsOf(row, question), message: said(row, descriptions(row.result)) }
    case 'FAILURE': {
      const claims = claimsOf(row, question)
      return {
        said: claims !== undefined && showsAll(claims, row, question) ? 'success' : 'failure',
        claims,
        // All the manager does when it stops looking after 62.5 min is to write FAILURE.
        message: said(row, errors(row.result)) ?? 'the manager ended the job as failed and gave no error',
      }
    }
    default:
      return undefined
  }
}

/**
 * Is every wanted blob listed, although the job failed? Before 2.3.1 any blob fails it, also one that the manager took
 * from the manifest and nobody wants: a foreign layer. Not by lists of clusters that may not be all of its own.
 */
function showsAll({ cached }: Claims, { clusters }: JobRow, { cluster, blobs }: Question): boolean {
  return (cluster !== undefined || clusters.length > 0) && blobs.length > 0 && cached.length === blobs.length
}

/**
 * Which of the wanted blobs the result shows to be cached in every cluster that the job was sent to; undefined when it
 * lists nothing for any of them. `SUCCESS` alone shows nothing: with scope `single_seed_peer` blobs that could not be
 * fetched are left out of `success_tasks` and named nowhere (scheduler/job/job.go `preheatV2SingleSeedPeer`, v2.3.1 to
 * v2.5.1).
 *
 * With one of the `all_*` scopes a blob is cached when enough of the hosts that tell of it hold it: those that list
 * successes, and those that failed it. A host with a failure is silent about the others, because the scheduler hides all
 * successes of its address; of them it neither counts as a holder nor as one that lacks them. An address that the
 * Provider names and that the scheduler does not know is left out of the job, and lacks every blob.
 */
export function claimsOf(row: JobRow, question: Question): Claims | undefined {
  const reports = clusterReports(row.result, question)
  const targets =
    question.cluster !== undefined ? [question.cluster] : row.clusters.length > 0 ? row.clusters : [...reports.keys()]
  if (!targets.some((id) => reports.has(id))) return undefined
  const cached = question.blobs.filter((blob) => targets.every((id) => isCached(reports.get(id), blob, question)))
  return {
    kind: 'success_tasks',
    source: 'claimed-by-engine',
    cached,
    peers: targets.reduce((sum, id) => sum + (reports.get(id)?.hosts.size ?? 0), 0),
    peerNames: named(targets.flatMap((id) => [...(reports.get(id)?.hosts ?? [])])),
  }
}

function isCached(report: ClusterReport | undefined, blob: BlobName, question: Question): boolean {
  const { scope, requiredShare, peers } = question
  const holders = report?.holders.get(blob)
  if (report === undefined || holders === undefined) return false
  const failed = report.failures.get(blob) ?? new Set()
  if (scope === 'single_seed_peer') return failed.size === 0
  const reached = new Set([...report.hosts, ...failed]).size
  const absent = [...new Set(peers.ips)].filter((ip) => !report.ips.has(ip)).length
  const some = [...holders].filter((host) => !failed.has(host)).length
  // Which hosts these scopes reach is always told: a blob that nobody is told to hold is not there.
  return some > 0 && isEnough(some, reached + absent, requiredShare)
}

/** Do so many of all make the share? Of none, nothing is asked. */
export function isEnough(some: number, all: number, share: number): boolean {
  return some + 1e-9 >= all * share
}

/** Since 2.3.1 a cluster is one entry of `job_states`, before it is one a layer: they add up. */
function clusterReports(result: unknown, { repository, blobs }: Question): Map<number, ClusterReport> {
  const wanted = new Set<string>(blobs)
  const reports = new Map<number, ClusterReport>()
  for (const entry of items(at(result, 'job_states')).flatMap((state) => items(at(state, 'results')))) {
    for (const id of idOf(at(entry, 'scheduler_cluster_id'))) {
      const report = reports.get(id) ?? { holders: new Map(), failures: new Map(), hosts: new Set(), ips: new Set() }
      reports.set(id, report)
      const [succeeded, failed] = [items(at(entry, 'success_tasks')), items(at(entry, 'failure_tasks'))]
      for (const ip of [...succeeded, ...failed].map((task) => at(task, 'ip')))
        if (typeof ip === 'string') report.ips.add(ip)
      for (const task of succeeded) {
        const blob = blobIn(task, repository, wanted)
        if (blob === undefined) continue
        const host = hostOf(task)
        add(report.holders, blob, host)
        if (host !== undefined) report.hosts.add(host)
      }
      for (const task of failed) {
        const blob = blobIn(task, repository, wanted)
        if (blob !== undefined) add(report.failures, blob, hostOf(task) ?? 'unknown')
      }
    }
  }
  return reports
}

function add(hosts: Map<string, Set<string>>, blob: string, host: string | undefined): void {
  const known = hosts.get(blob) ?? new Set()
  hosts.set(blob, known)
  if (host !== undefined) known.add(host)
}

function blobIn(task: unknown, repository: string | undefined, wanted: ReadonlySet<string>): string | undefined {
  const url = at(task, 'url')
  if (repository === undefined) return typeof url === 'string' && wanted.has(url) ? url : undefined
  const [, inRepository, blob = ''] = typeof url === 'string' ? (BLOB_URL.exec(url) ?? []) : []
  return inRepository === repository && wanted.has(blob) ? blob : undefined
}

/** Undefined for the pair that means "the stream ended without a message": `unknow` before v2.4.4. */
function hostOf(task: unknown): string | undefined {
  const [hostname, ip] = [at(task, 'hostname'), at(task, 'ip')]
  if (typeof hostname !== 'string' || typeof ip !== 'string') return undefined
  return /^unknown?$/.test(hostname) && /^unknown?$/.test(ip)
    ? undefined
    : `${excerpt(hostname, 64)} ${excerpt(ip, 64)}`
}

function errors(result: unknown): unknown[] {
  return items(at(result, 'job_states')).map((state) => at(state, 'error'))
}

function descriptions(result: unknown): unknown[] {
  return items(at(result, 'job_states'))
    .flatMap((state) => items(at(state, 'results')))
    .flatMap((entry) => items(at(entry, 'failure_tasks')))
    .map((task) => at(task, 'description'))
}

/** Different words once, without credentials, cut; undefined for none. */
function said(row: JobRow, words: readonly unknown[]): string | undefined {
  const distinct = new Set(words.filter((word): word is string => typeof word === 'string' && word !== ''))
  return distinct.size === 0 ? undefined : excerpt(redact([...distinct].join('; '), row.secrets))
}
