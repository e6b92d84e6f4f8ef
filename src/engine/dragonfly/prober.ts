import { isAsking, noted, type Asking, type Notes, type ProbeNotes } from './probe.ts'
import type { JobRow } from './wire.ts'
import { EdgeError } from '../../model/errors.ts'
import type { BlobName } from '../../model/artifact.ts'
import type { Instant } from '../../model/duration.ts'

/** How a prober reaches the manager. */
export interface ProberPorts {
  /** Asks for a blob; undefined: this manager cannot be asked. @throws {EdgeError} */
  submit(blob: BlobName, by: Notes['by']): Promise<string | undefined>
  /** The row of a question; undefined: there is none any more. @throws {EdgeError} */
  look(blob: BlobName, asking: Asking): Promise<JobRow | undefined>
  nextLook(submittedAt: Instant, now: Instant): Instant
  now(): Instant
}

/** How far a probe has come. `blind`: this manager, or what it did to our questions, shows nothing. */
type Round =
  | { readonly kind: 'open'; readonly notes: Notes; readonly lookAt: Instant }
  | { readonly kind: 'complete'; readonly notes: Notes }
  | { readonly kind: 'blind' }

/** Questions of one probe that are open at once: an image has some ten blobs, and each is a job for the manager. */
const IN_FLIGHT = 8
const ATTEMPTS = 2
/** Hosts are asked for minutes at most; a row that is open after this is one that nobody will write again. */
const OVERDUE_MS = 15 * 60_000
const LATER_MS = 30_000

/**
 * One round: looks at the questions that are due, asks the next ones, and says when to come again. What went wrong is
 * thrown only when nothing else happened: the ids that were got must not be lost.
 * @throws {EdgeError}
 */
async function probeRound(before: Notes, blobs: readonly BlobName[], ports: ProberPorts): Promise<Round> {
  const now = ports.now()
  const due = asked(before, blobs).filter(([, asking]) => asking.lookAt <= now)
  const looks = await Promise.allSettled(due.map(([blob, asking]) => ports.look(blob, asking)))
  let notes: Notes = before
  const again = new Map<BlobName, number>()
  const troubles: EdgeError[] = []
  for (const [i, look] of looks.entries()) {
    const [blob, asking] = due[i]!
    if (look.status === 'rejected') {
      troubles.push(edgeError(look.reason))
      notes = replaced(notes, blob, { ...asking, lookAt: now + LATER_MS })
    } else if (look.value?.state === 'SUCCESS') {
      const next = noted(notes, blob, look.value)
      if (next === undefined) return { kind: 'blind' }
      notes = next
    } else if (look.value?.state === 'PENDING' && now < asking.at + OVERDUE_MS) {
      notes = replaced(notes, blob, { ...asking, lookAt: ports.nextLook(asking.at, now) })
    } else if (asking.attempt >= ATTEMPTS) return { kind: 'blind' }
    else again.set(blob, asking.attempt + 1)
  }
  for (const blob of blobs) if (notes.blobs[blob] === undefined) again.set(blob, 1)
  const room = IN_FLIGHT - asked(notes, blobs).filter(([blob]) => !again.has(blob)).length
  const next = [...again].slice(0, Math.max(0, room))
  const submissions = await Promise.allSettled(next.map(([blob]) => ports.submit(blob, notes.by)))
  const at = ports.now()
  for (const [i, submission] of submissions.entries()) {
    const [blob, attempt] = next[i]!
    if (submission.status === 'rejected') troubles.push(edgeError(submission.reason))
    else if (submission.value === undefined) return { kind: 'blind' }
    else {
      const asking = { id: submission.value, at, lookAt: ports.nextLook(at, at), attempt }
      notes = replaced(notes, blob, asking)
      again.delete(blob)
    }
  }
  if (troubles.length > 0 && troubles.length === due.length + next.length) throw troubles[0]!
  const open = asked(notes, blobs)
  if (open.length === 0 && again.size === 0) return { kind: 'complete', notes }
  const pauseMs = Math.max(LATER_MS, ...troubles.map(({ retryAfterMs }) => retryAfterMs ?? 0))
  const looksAt = open.flatMap(([blob, { lookAt }]) => (again.has(blob) ? [] : [lookAt]))
  return { kind: 'open', notes, lookAt: looksAt.length > 0 ? Math.min(...looksAt) : at + pauseMs }
}

/** How far a probe under ids of either form has come. */
export type BothRound =
  | { readonly kind: 'open'; readonly notes: ProbeNotes; readonly lookAt: Instant }
  | { readonly kind: 'complete'; readonly notes: ProbeNotes }
  | { readonly kind: 'blind' }

/**
 * One round under the manager's own ids and, for the sample and for what those do not show, under the others.
 * @param short blobs that complete notes under the own ids do not show
 * @throws {EdgeError} as {@link probeRound} does
 */
export async function bothRound(
  before: ProbeNotes,
  blobs: readonly BlobName[],
  short: (own: Notes) => readonly BlobName[],
  ports: ProberPorts,
): Promise<BothRound> {
  const own = await probeRound(before.own, blobs, ports)
  if (own.kind === 'blind') return own
  const notes = { ...before, own: own.notes }
  if (before.other === undefined) return { ...own, notes }
  const wanted = new Set([...before.sample, ...(own.kind === 'complete' ? short(own.notes) : [])])
  const other = await probeRound(before.other, [...wanted], ports).catch((error: unknown) => {
    // What the own ids brought is not lost to it, and the next round asks again.
    if (own.kind === 'open' && error instanceof EdgeError) return undefined
    throw error
  })
  if (other === undefined) return { ...own, notes }
  // A manager that tells nothing of the others leaves what its own show.
  if (other.kind === 'blind') return { ...own, notes: { ...notes, other: undefined } }
  const both = { ...notes, other: other.notes }
  const looks = [own, other].flatMap((round) => (round.kind === 'open' ? [round.lookAt] : []))
  return looks.length === 0
    ? { kind: 'complete', notes: both }
    : { kind: 'open', notes: both, lookAt: Math.min(...looks) }
}

function asked(notes: Notes, blobs: readonly BlobName[]): [BlobName, Asking][] {
  return blobs.flatMap((blob): [BlobName, Asking][] => {
    const entry = notes.blobs[blob]
    return entry !== undefined && isAsking(entry) ? [[blob, entry]] : []
  })
}

function replaced(notes: Notes, blob: BlobName, asking: Asking): Notes {
  return { ...notes, blobs: { ...notes.blobs, [blob]: asking } }
}

/** @throws what is none: a bug, a secret that cannot be used, or a shutdown */
function edgeError(reason: unknown): EdgeError {
  if (reason instanceof EdgeError) return reason
  throw reason
}
