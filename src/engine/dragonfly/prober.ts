import { isAsking, noted, type Asking, type Notes } from './probe.ts'
import type { JobRow } from './wire.ts'
import { EdgeError } from '../../model/errors.ts'
import type { Digest } from '../../model/artifact.ts'
import type { Instant } from '../../model/duration.ts'

/** How a prober reaches the manager. */
export interface ProberPorts {
  /** Asks for a blob; undefined: this manager cannot be asked. @throws {EdgeError} */
  submit(blob: Digest, by: Notes['by']): Promise<string | undefined>
  /** The row of a question; undefined: there is none any more. @throws {EdgeError} */
  look(blob: Digest, asking: Asking): Promise<JobRow | undefined>
  nextLook(submittedAt: Instant, now: Instant): Instant
  now(): Instant
}

/** How far a probe has come. `blind`: this manager, or what it did to our questions, shows nothing. */
export type Round =
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
export async function probeRound(before: Notes, blobs: readonly Digest[], ports: ProberPorts): Promise<Round> {
  const now = ports.now()
  const due = asked(before, blobs).filter(([, asking]) => asking.lookAt <= now)
  const looks = await Promise.allSettled(due.map(([blob, asking]) => ports.look(blob, asking)))
  let notes: Notes = before
  const again = new Map<Digest, number>()
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

function asked(notes: Notes, blobs: readonly Digest[]): [Digest, Asking][] {
  return blobs.flatMap((blob): [Digest, Asking][] => {
    const entry = notes.blobs[blob]
    return entry !== undefined && isAsking(entry) ? [[blob, entry]] : []
  })
}

function replaced(notes: Notes, blob: Digest, asking: Asking): Notes {
  return { ...notes, blobs: { ...notes.blobs, [blob]: asking } }
}

/** @throws what is none: a bug, a secret that cannot be used, or a shutdown */
function edgeError(reason: unknown): EdgeError {
  if (reason instanceof EdgeError) return reason
  throw reason
}
