import { createHash } from 'node:crypto'
import { parseDigest, type Digest } from '../model/artifact.ts'
import type { Candidate } from '../model/candidate.ts'
import type { ArtifactEvent, Delivery } from '../model/delivery.ts'
import type { Instant } from '../model/duration.ts'
import type { SignatureKind } from '../model/signature.ts'
import { grouped } from './grouped.ts'

/** What comparing needs of a {@link Candidate}; undefined has the same meanings there. */
interface Listed {
  readonly repository: string
  readonly digest: Digest | undefined
  /** These lists are sorted. */
  readonly tags: readonly string[]
  readonly labels: readonly string[] | undefined
  readonly signatures: readonly SignatureKind[] | undefined
  readonly scanned: boolean | undefined
}

/** A project, or a whole registry, as it was listed: each repository and digest once, sorted. */
export type Listing = readonly Listed[]

/** Candidates as what is compared later. Those of an `oci` registry without a digest are one for each repository. */
export function condense(candidates: readonly Candidate[]): Listing {
  const byName = grouped(candidates, nameOf)
  return [...byName.keys()].sort().map((name) => {
    const same = byName.get(name)!
    const { repository, digest } = same[0]!
    return {
      repository,
      digest,
      tags: together(same.map(({ tags }) => tags)) ?? [],
      labels: together(same.map(({ labels }) => labels)),
      signatures: together(same.map(({ signatures }) => signatures)),
      scanned: same[0]!.scan && same.some(({ scan }) => scan?.state === 'scanned'),
    }
  })
}

function nameOf({ repository, digest }: { readonly repository: string; readonly digest?: Digest | undefined }) {
  return `${repository}@${digest ?? ''}`
}

function together<T extends string>(lists: readonly (readonly T[] | undefined)[]): T[] | undefined {
  if (lists.every((list) => list === undefined)) return undefined
  return [...new Set(lists.flatMap((list) => list ?? []))].sort()
}

/** An event that two listings show, and what of the artifact is new: the tag, the labels, the kinds of signature. */
export interface Change extends ArtifactEvent {
  readonly detail: string
}

/**
 * What happened between two listings, which is how `label`, `tag` and `sign` are seen at all:
 * `push`, a tag points at a digest that was not there; `tag`, at one that was; `label` and `sign`, one more of them;
 * `scan`, it has a report now. What a listing did not ask for counts neither as absent before nor as new now, and what
 * became less is no event.
 * @param before undefined: there is none yet, and `after` is what later ones are compared with
 */
export function changesBetween(before: Listing | undefined, after: Listing): Change[] {
  if (before === undefined) return []
  const known = new Map(before.map((one) => [nameOf(one), one]))
  const tags = new Map(before.flatMap((one) => one.tags.map((tag) => [`${one.repository}:${tag}`, one.digest])))
  return after.flatMap((one) => {
    const was = known.get(nameOf(one))
    const subject = { repository: one.repository, ...(one.digest && { digest: one.digest }) }
    const moved = one.tags.filter((tag) => {
      const name = `${one.repository}:${tag}`
      const pointedAt = tags.get(name)
      // A digest that only one of the listings knows shows no change.
      return !tags.has(name) || (pointedAt !== one.digest && pointedAt !== undefined && one.digest !== undefined)
    })
    const labels = added(was, one, ({ labels }) => labels)
    const signatures = added(was, one, ({ signatures }) => signatures)
    const isScanned = one.scanned === true && (was === undefined || was.scanned === false)
    // A new tag of an artifact whose digest nobody knows may be of a new one.
    const kind = was === undefined || one.digest === undefined ? ('push' as const) : ('tag' as const)
    return [
      ...moved.map((tag): Change => ({ kind, ...subject, tag, detail: tag })),
      ...(one.digest === undefined
        ? []
        : [
            ...(labels.length === 0 ? [] : [{ kind: 'label' as const, ...subject, detail: labels.join() }]),
            ...(signatures.length === 0 ? [] : [{ kind: 'sign' as const, ...subject, detail: signatures.join() }]),
            ...(isScanned ? [{ kind: 'scan' as const, ...subject, detail: '' }] : []),
          ]),
    ]
  })
}

/** What is in a list now and was not; all of it of an artifact that was not there at all. */
function added<T>(was: Listed | undefined, is: Listed, list: (one: Listed) => readonly T[] | undefined): readonly T[] {
  const now = list(is) ?? []
  if (was === undefined) return now
  const then = list(was)
  return then === undefined ? [] : now.filter((one) => !then.includes(one))
}

/**
 * Changes as deliveries for the inbox. Found again after a crash, before the new listing was kept, they have the same
 * keys and are known.
 * @param since when the listing that they were compared with was begun
 * @param heard deliveries since then: what a webhook has told is not told again
 */
export function deliveriesOf(
  changes: readonly Change[],
  registry: string,
  since: Instant,
  heard: readonly Delivery[],
  now: Instant,
): Delivery[] {
  const told = new Set(heard.filter((one) => one.registry === registry).map(tellingOf))
  return changes
    .filter((change) => !told.has(tellingOf(change)))
    .map(({ detail, ...event }) => {
      const parts = ['listing', registry, since, event.kind, nameOf(event), detail]
      const key = createHash('sha256').update(JSON.stringify(parts)).digest('hex')
      return { ...event, key, receivedAt: now, registry }
    })
}

/** A push is one of a tag; whatever else happens, happens to a digest. */
function tellingOf({ kind, tag, ...named }: ArtifactEvent): string {
  return `${kind} ${nameOf(named)}${kind === 'push' && tag !== undefined ? `:${tag}` : ''}`
}

type Row = [
  digest: string | 0,
  tags: readonly string[],
  labels?: readonly string[] | 0,
  signatures?: readonly SignatureKind[] | 0,
  scanned?: 0 | 1 | 2,
]

/** As compact text: repositories once, digests in base64. Equal listings give equal text. */
export function formatListing(listing: Listing): string {
  const byRepository = grouped(listing, ({ repository }) => repository)
  const rows = [...byRepository].map(([repository, all]) => [repository, all.map(rowOf)])
  return JSON.stringify({ version: 1, rows })
}

function rowOf({ digest, tags, labels, signatures, scanned }: Listed): Row {
  const packed = digest === undefined ? 0 : Buffer.from(digest.slice('sha256:'.length), 'hex').toString('base64')
  return [packed, tags, labels ?? 0, signatures ?? 0, scanned === undefined ? 0 : scanned ? 2 : 1]
}

/** What {@link formatListing} wrote; undefined where that is broken or of another version: as good as no listing. */
export function parseListing(text: string): Listing | undefined {
  try {
    const { version, rows } = JSON.parse(text) as { version: number; rows: [string, Row[]][] }
    if (version !== 1) return undefined
    return rows.flatMap(([repository, all]) => all.map((row) => listedOf(repository, row)))
  } catch {
    return undefined
  }
}

function listedOf(repository: string, [packed, tags, labels, signatures, scanned]: Row): Listed {
  return {
    repository,
    digest: packed === 0 ? undefined : parseDigest(`sha256:${Buffer.from(packed, 'base64').toString('hex')}`),
    tags,
    labels: labels === 0 ? undefined : labels,
    signatures: signatures === 0 ? undefined : signatures,
    scanned: scanned === 0 ? undefined : scanned === 2,
  }
}
