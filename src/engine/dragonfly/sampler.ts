import type { IdForm } from './features.ts'
import { formsOfPulls, holdersIn, samplesOf, type Holder } from './task-ids.ts'
import type { BlobQuestion, JobRow } from './wire.ts'
import type { Clock } from '../../model/clock.ts'
import type { Instant } from '../../model/duration.ts'
import { EdgeError } from '../../model/errors.ts'
import type { Scope } from '../../model/provider.ts'

/** How a sampler reaches the manager. */
export interface SamplerPorts {
  /** Whose silence it is: `provider dragonfly-eu`. */
  readonly who: string
  readonly clock: Clock
  /** Asks for a blob; undefined: this manager cannot be asked. @throws {EdgeError} */
  submit(question: BlobQuestion, by: IdForm): Promise<string | undefined>
  /** The row of a question; undefined: there is none any more. @throws {EdgeError} */
  look(id: string): Promise<JobRow | undefined>
  nextLook(submittedAt: Instant, now: Instant): Instant
}

/** Preheats whose blobs are looked for under ids of either form, where nobody has told which nodes use. */
const SAMPLES = 3
/** Longest wait for these: the manager's second look at its questions is 30 s after the first. */
const SAMPLED_MS = 40_000

/**
 * By which ids nodes pulled what was preheated; empty: nothing shows that any did. Up to six jobs that look at caches,
 * half a minute.
 * @param rows the newest preheats
 * @param own the form that this manager's preheats have
 * @throws {EdgeError}
 */
export async function sampledPulls(
  rows: readonly JobRow[],
  own: IdForm,
  scope: Scope,
  ports: SamplerPorts,
  signal: AbortSignal,
): Promise<readonly IdForm[]> {
  const { who, clock } = ports
  const holders: Record<IdForm, Holder[]> = { url: [], digest: [] }
  const questions = samplesOf(rows, SAMPLES).flatMap((sample) => [
    { sample, by: 'url' as const },
    { sample, by: 'digest' as const },
  ])
  const ids = await Promise.all(
    questions.map(async ({ sample, by }) => {
      const bio = `preheatd-ids/${sample.blob.slice(7, 23)}/${by}`
      return { by, id: await ports.submit({ ...sample, bio, clusterId: undefined }, by) }
    }),
  )
  const askedAt = clock.now()
  const until = askedAt + SAMPLED_MS
  let open = ids.flatMap(({ by, id }) => (id === undefined ? [] : [{ by, id }]))
  while (open.length > 0 && clock.now() < until) {
    await clock.sleepUntil(Math.min(ports.nextLook(askedAt, clock.now()), until), signal)
    const looks = await Promise.all(open.map(async (one) => ({ one, row: await ports.look(one.id) })))
    for (const { one, row } of looks) if (row !== undefined) holders[one.by].push(...holdersIn(row))
    open = looks.flatMap(({ one, row }) => (row?.state === 'PENDING' ? [one] : []))
  }
  const forms = formsOfPulls(holders, own, scope)
  if (forms.length === 0 && open.length > 0)
    throw new EdgeError('unavailable', 'PH5001', `${who} had no answer after ${SAMPLED_MS / 1000} s`)
  return forms
}
