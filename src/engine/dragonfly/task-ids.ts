import type { Echo, IdForm } from './features.ts'
import { at, items, type JobRow } from './wire.ts'
import { parseDigest, type Digest } from '../../model/artifact.ts'
import type { DragonflySettings, Scope } from '../../model/provider.ts'

/** A host that holds something. */
export interface Holder {
  readonly isSeed: boolean
}

export function otherForm(form: IdForm): IdForm {
  return form === 'url' ? 'digest' : 'url'
}

/**
 * What a manager names the blobs by that it preheats. With `auto` it does so as it does by itself, and one that cannot
 * name them by digest, up to 2.5.1, does so by URL.
 */
export function preheatForm(taskId: DragonflySettings['taskId'], echo: Echo | undefined): IdForm {
  if (taskId !== 'auto') return taskId
  return echo?.byDigest === true ? 'digest' : 'url'
}

/**
 * The forms by which nodes ask, as far as who holds what shows it; empty: nobody has pulled yet.
 *
 * A manager that makes ids of URLs puts nothing under a digest: whoever holds a blob there got it by a pull. In every
 * other case a seed may have it from a preheat, by this manager or by an older one, and so may a peer where preheats go
 * to all peers: only a peer that no preheat reaches tells of a pull.
 */
export function formsOfPulls(
  holders: Readonly<Record<IdForm, readonly Holder[]>>,
  own: IdForm,
  scope: Scope,
): readonly IdForm[] {
  const onPeers = (form: IdForm) => scope !== 'all_peers' && holders[form].some(({ isSeed }) => !isSeed)
  const byDigest = own === 'url' ? holders.digest.length > 0 : onPeers('digest')
  return [...(onPeers('url') ? (['url'] as const) : []), ...(byDigest ? (['digest'] as const) : [])]
}

/**
 * Why what is preheated is not what nodes pull; undefined where they agree, or where nothing was seen.
 * @param knowsDigests does this manager know ids made of digests?
 */
export function mismatch(own: IdForm, pulls: readonly IdForm[], knowsDigests: boolean): string | undefined {
  if (!pulls.includes(otherForm(own))) return undefined
  const who = pulls.includes(own) ? 'some nodes' : 'nodes'
  return `preheats are cached by ${NAMES[own]}, but ${who} pulled by ${NAMES[otherForm(own)]}, and such a pull misses them: ${remedy(own, knowsDigests)}`
}

/** `by URL, as nodes pull` */
export function idsText(own: IdForm, pulls: readonly IdForm[]): string {
  if (pulls.length === 0) return `by ${NAMES[own]}, with no pull seen to compare with`
  const theirs = pulls.map((form) => NAMES[form]).join(' and ')
  return pulls.length === 1 && pulls[0] === own
    ? `by ${NAMES[own]}, as nodes pull`
    : `by ${NAMES[own]}, nodes by ${theirs}`
}

function remedy(own: IdForm, knowsDigests: boolean): string {
  if (own === 'digest') return 'write taskId: url'
  return knowsDigests
    ? 'write taskId: digest'
    : 'set enableTaskIDBasedBlobDigest: false on the nodes and seeds, or write taskId: digest with a manager after 2.5.1'
}

/** `3 of 7 blobs are held by digest only, which no preheat of this manager did` */
export function heldOtherwise(held: number, of: number, own: IdForm): string {
  return `${held} of ${of} blobs are held by ${NAMES[otherForm(own)]} only, where this manager’s preheats do not put them`
}

const NAMES: Readonly<Record<IdForm, string>> = { url: 'URL', digest: 'digest' }

/** A blob that was preheated, to be looked for. */
export interface Sample {
  readonly url: string
  readonly blob: Digest
}

/** Blobs of preheats that ended well, one a manifest, the oldest first: nodes have had the most time to pull them. */
export function samplesOf(rows: readonly JobRow[], most: number): readonly Sample[] {
  const samples = new Map<string, Sample>()
  for (const row of rows.toSorted((a, b) => a.id - b.id)) {
    const sample = row.state === 'SUCCESS' && !samples.has(row.url) ? sampleOf(row) : undefined
    if (sample !== undefined && ![...samples.values()].some(({ blob }) => blob === sample.blob))
      samples.set(row.url, sample)
  }
  return [...samples.values()].slice(0, most)
}

function sampleOf({ result }: JobRow): Sample | undefined {
  for (const task of resultsOf(result).flatMap((entry) => items(at(entry, 'success_tasks')))) {
    const url = at(task, 'url')
    const blob = typeof url === 'string' ? /\/blobs\/(sha256:[0-9a-f]{64})$/.exec(url)?.[1] : undefined
    if (typeof url === 'string' && blob !== undefined) return { url, blob: parseDigest(blob) }
  }
  return undefined
}

/** Every host that an ended get_task job tells of, whole or not. */
export function holdersIn({ result }: JobRow): readonly Holder[] {
  return resultsOf(result)
    .flatMap((entry) => items(at(entry, 'peers')))
    .map((peer) => ({ isSeed: at(peer, 'host_type') !== 'normal' }))
}

function resultsOf(result: unknown): readonly unknown[] {
  return items(at(result, 'job_states')).flatMap((state) => items(at(state, 'results')))
}
