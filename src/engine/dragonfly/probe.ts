import { isEnough, type Question } from './claims.ts'
import { asksHosts, type IdForm } from './features.ts'
import type { Holder } from './task-ids.ts'
import { at, idOf, items, type JobRow } from './wire.ts'
import { excerpt } from '../../model/errors.ts'
import type { BlobName } from '../../model/artifact.ts'
import type { Instant } from '../../model/duration.ts'
import { named, type Claims } from '../../model/evidence.ts'

/**
 * What a probe has found so far. Kept as JSON in the task's row, so that a restart goes on with it.
 */
export interface ProbeNotes {
  /** Of this shape; others are begun anew. */
  readonly v: 2
  /** Under the ids that this manager's preheats give. */
  readonly own: Notes
  /** Under the others; undefined: nobody asks for those. */
  readonly other: Notes | undefined
  /** Blobs that are asked for under the other ids even if the manager's own show them. */
  readonly sample: readonly BlobName[]
}

/** What a look at the caches under ids of one form has found so far, one get_task job a blob. */
export interface Notes {
  /** By what the blobs are asked for. */
  readonly by: IdForm
  /** By digest, or by the URL of a file. A blob that was not asked for yet is not in it. */
  readonly blobs: Readonly<Record<string, Asking | Found>>
  /** Every host that was seen, once; `Found` counts in it. */
  readonly hosts: readonly Host[]
  /** Every cluster that answered. */
  readonly clusters: readonly number[]
}

/** A get_task job that has not ended. */
export interface Asking {
  readonly id: string
  readonly at: Instant
  readonly lookAt: Instant
  /** From 1. */
  readonly attempt: number
}

interface Found {
  /** Hosts that hold it whole, by their place in `hosts`. */
  readonly whole: readonly number[]
}

/** Cluster id, is it a seed, address, name. */
type Host = readonly [cluster: number, seed: 0 | 1, ip: string, hostname: string]

/** More hosts than any row of the store should hold. */
const MOST_HOSTS = 20_000

export function emptyNotes(by: IdForm): Notes {
  return { by, blobs: {}, hosts: [], clusters: [] }
}

/** Notes as the driver gave them; undefined for another version's, and for what is none. */
export function parseNotes(text: string): ProbeNotes | undefined {
  try {
    const notes = JSON.parse(text) as ProbeNotes
    return at(notes, 'v') === 2 ? notes : undefined
  } catch {
    return undefined
  }
}

export function isAsking(entry: Asking | Found): entry is Asking {
  return 'id' in entry
}

/**
 * The notes with what an ended get_task job says of a blob; undefined when this manager cannot say what is whole:
 * before 2.4.0 it tells no `IsFinished`, and before 2.3.1 it asks no host but its own memory, which a restart empties.
 * Where every list is empty the former cannot be told, and does not matter: what nobody has is not cached.
 *
 * One entry of `job_states` a scheduler; several of a cluster tell the same hosts.
 * @see dragonflyoss/dragonfly internal/job/types.go `GetTaskResponse`, v2.5.1; the key is `IsFinished`
 */
export function noted(notes: Notes, blob: BlobName, row: JobRow): Notes | undefined {
  if (!asksHosts(row.echo)) return undefined
  const hosts = [...notes.hosts]
  const places = new Map(hosts.map((host, place) => [host.join(' '), place]))
  const clusters = new Set(notes.clusters)
  const whole = new Set<number>()
  for (const entry of items(at(row.result, 'job_states')).flatMap((state) => items(at(state, 'results')))) {
    for (const cluster of idOf(at(entry, 'scheduler_cluster_id'))) {
      clusters.add(cluster)
      for (const peer of items(at(entry, 'peers'))) {
        const [ip, hostname, isFinished] = [at(peer, 'ip'), at(peer, 'hostname'), at(peer, 'IsFinished')]
        if (typeof isFinished !== 'boolean') return undefined
        if (typeof ip !== 'string' || typeof hostname !== 'string') continue
        const seed = at(peer, 'host_type') === 'normal' ? 0 : 1
        const host: Host = [cluster, seed, excerpt(ip, 64), excerpt(hostname, 64)]
        const place = places.get(host.join(' ')) ?? hosts.push(host) - 1
        places.set(host.join(' '), place)
        if (isFinished) whole.add(place)
      }
    }
  }
  if (hosts.length > MOST_HOSTS) return undefined
  const found: Found = { whole: [...whole].sort((a, b) => a - b) }
  return { ...notes, blobs: { ...notes.blobs, [blob]: found }, hosts, clusters: [...clusters] }
}

/**
 * What complete notes show; undefined when a cluster that was asked did not answer.
 *
 * `single_seed_peer`: a blob is cached when any host has it whole. `all_*`: when enough of the hosts of that kind have it.
 * A host that has none of the image's blobs is not told, so that the share is of those that have something; where the
 * Provider names its peers by address, it is of these.
 */
export function probedClaims(notes: Notes, question: Question): Claims | undefined {
  const targets = question.cluster === undefined ? notes.clusters : [question.cluster]
  if (targets.length === 0 || !targets.every((cluster) => notes.clusters.includes(cluster))) return undefined
  const reached = notes.hosts.map((host) => isReached(host, question) && targets.includes(host[0]))
  const holders = new Set<number>()
  const cached = question.blobs.filter((blob) => {
    const entry = notes.blobs[blob]
    const whole = (entry !== undefined && !isAsking(entry) ? entry.whole : []).filter((place) => reached[place])
    for (const place of whole) holders.add(place)
    return targets.every((cluster) => {
      const inCluster = (place: number) => notes.hosts[place]![0] === cluster
      const some = whole.filter(inCluster).length
      if (question.scope === 'single_seed_peer') return some > 0
      const all = [...reached.keys()].filter((place) => reached[place] && inCluster(place)).length
      return some > 0 && isEnough(some, aimedAt(all, question), question.requiredShare)
    })
  })
  const peerNames = named([...holders].map((place) => notes.hosts[place]!.slice(2).reverse().join(' ')))
  return { kind: 'get_task', source: 'observed', cached, peers: holders.size, peerNames }
}

/** Every host that was seen with one of the blobs. */
export function holdersOf({ hosts }: Notes): readonly Holder[] {
  return hosts.map(([, seed]) => ({ isSeed: seed === 1 }))
}

/**
 * What a probe shows where it asked for ids of either form: a blob is cached that is held under one of them. `otherwise`
 * are those that are not held under the manager's own.
 */
export function claimsUnderBoth(
  { own, other }: ProbeNotes,
  question: Question,
): { readonly claims: Claims; readonly otherwise: readonly BlobName[] } | undefined {
  const claims = probedClaims(own, question)
  if (claims === undefined) return undefined
  const more = other === undefined ? undefined : probedClaims(other, question)
  const otherwise = (more?.cached ?? []).filter((blob) => !claims.cached.includes(blob))
  if (otherwise.length === 0) return { claims, otherwise }
  const cached = question.blobs.filter((blob) => claims.cached.includes(blob) || otherwise.includes(blob))
  // A host that is counted under both forms is one host: the larger number is what is sure.
  const peerNames = named([claims, more!].flatMap((one) => one.peerNames ?? []))
  return { claims: { ...claims, cached, peers: Math.max(claims.peers, more!.peers), peerNames }, otherwise }
}

function isReached([, seed, ip]: Host, { scope, peers: { ips } }: Question): boolean {
  if (scope === 'single_seed_peer') return true
  if (ips !== undefined && ips.length > 0 && !ips.includes(ip)) return false
  return (seed === 1) === (scope === 'all_seed_peers')
}

/** Of so many hosts, those that the Provider aims at: it takes any, so only their number is known. */
function aimedAt(all: number, { peers: { ips, count, percentage } }: Question): number {
  if (ips !== undefined && ips.length > 0) return new Set(ips).size
  if (count !== undefined) return Math.min(count, all)
  return percentage === undefined ? all : Math.max(1, Math.floor((all * percentage) / 100))
}
