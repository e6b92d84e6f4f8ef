import { distinctBlobs, type BlobName } from '../model/artifact.ts'
import type { Instant } from '../model/duration.ts'
import type { Probe } from '../engine/engine.ts'
import type { Evidence } from '../model/evidence.ts'
import type { Job, JobProgress, OpenTask, Order, SettledState, StepFault, Task, TaskError } from '../model/task.ts'

/*
 * Everything that decides what becomes of a task is here; loop.ts asks and saves.
 *
 *     Pending ─planned─▶ Submitting ─submitted (all jobs)─▶ Running ─observed (all ended)─▶ conclude ─▶ settled
 *        ▲                   │  fault: later, or refused                                       │
 *        └───────────────────┴────────────── retry: only the jobs that fell short ◀────────────┘
 *
 * A fault while submitting spends an attempt, except 429: the engine asked us to wait, which is no failure. A fault
 * while looking spends nothing: a job that we could not ask about may well be fine.
 */

type Ended = Extract<Job, { state: 'ended' }>
type Open = Extract<Job, { state: 'open' }>
type Probing = Extract<Job, { state: 'probing' }>
type Unsubmitted = Extract<Job, { state: 'wanted' | 'intended' }>
type EndedProbe = Extract<Probe, { kind: 'ended' }>

/** Backoff between rounds never exceeds this. */
const LONGEST_BACKOFF_MS = 300_000
/** Looks at caches that may bring nothing before what was said has to do. */
const PROBE_FAULTS = 5
/** How long to leave an engine alone that did not answer a look. */
const LOOK_AGAIN_MS = 5_000

/** What the next step of a task is; undefined when it must be concluded. */
export type Step =
  | { readonly kind: 'plan' }
  | { readonly kind: 'submit'; readonly job: Unsubmitted }
  | { readonly kind: 'observe'; readonly job: Open }
  | { readonly kind: 'probe'; readonly job: Probing }

/** What this task needs next. */
export function nextStep(task: OpenTask): Step | undefined {
  if (task.jobs.length === 0) return { kind: 'plan' }
  const unsubmitted = task.jobs.find((job) => job.state === 'wanted' || job.state === 'intended')
  if (unsubmitted !== undefined) return { kind: 'submit', job: unsubmitted }
  const looks = task.jobs.flatMap((job) => (job.state === 'open' || job.state === 'probing' ? [job] : []))
  const [next] = looks.sort((a, b) => a.lookAt - b.lookAt)
  if (next === undefined) return undefined
  return next.state === 'open' ? { kind: 'observe', job: next } : { kind: 'probe', job: next }
}

/** The task now that it is known which jobs it needs. */
export function planned(task: OpenTask, jobs: readonly Job[], now: Instant): OpenTask {
  const begun: OpenTask = { ...task, state: 'Submitting', jobs, startedAt: task.startedAt ?? now, nextAt: now }
  if (task.purpose === 'preheat') return begun
  // What is kept up is looked at first. Nothing was said of these jobs, as of one whose record is gone.
  const verdict = { said: 'gone', claims: undefined, message: undefined } as const
  const looks = jobs.map((job): Job => ({
    ...identityOf(job),
    state: 'probing',
    verdict,
    notes: undefined,
    lookAt: now,
  }))
  return progressed({ ...begun, jobs: looks }, now)
}

/** The task with the intent to submit one job: saved before the request leaves, so that a crash is seen as such. */
export function intended(task: OpenTask, key: string, now: Instant): OpenTask {
  const first = task.state === 'Pending' || !task.jobs.some((job) => job.state !== 'wanted')
  return {
    ...replaceJob(task, key, (job) => ({ ...identityOf(job), state: 'intended' })),
    state: 'Submitting',
    attempts: task.attempts + (first ? 1 : 0),
    startedAt: task.startedAt ?? now,
    nextAt: now,
  }
}

/** The task after the engine took a job. */
export function submitted(task: OpenTask, key: string, id: string, now: Instant, lookAt: Instant): OpenTask {
  const next = replaceJob(task, key, ({ key, manifest, cluster, ids }) => ({
    key,
    manifest,
    cluster,
    ids: [...ids, id],
    state: 'open',
    id,
    submittedAt: now,
    lookAt,
  }))
  return progressed({ ...next, faults: 0 }, now)
}

/** A look at a job that has not ended. */
export interface OpenLook {
  /** When to look again. */
  readonly lookAt: Instant
  /** Undefined: it told none, and what an earlier look told stands. */
  readonly progress?: JobProgress | undefined
}

/** The task after the engine said that a job is still under way; `overdue` ends it as never answered. */
export function stillOpen(task: OpenTask, key: string, look: OpenLook, overdueAt: Instant, now: Instant): Task {
  if (now >= overdueAt) return jobEnded(task, key, { said: 'overdue', claims: undefined, message: undefined }, now, 0)
  const { lookAt, progress } = look
  const next = replaceJob(task, key, (job) => ({ ...(job as Open), lookAt, ...(progress && { progress }) }))
  return progressed({ ...next, faults: 0 }, now)
}

/** The task after the engine said how a job ended. */
export function jobEnded(task: OpenTask, key: string, verdict: Ended['verdict'], now: Instant, random: number): Task {
  const next = replaceJob(task, key, (job) =>
    isShown(verdict)
      ? ended(job, verdict)
      : { ...identityOf(job), state: 'probing', verdict, notes: undefined, lookAt: now },
  )
  if (next.jobs.every((job) => job.state === 'ended')) return conclude({ ...next, faults: 0 }, now, random)
  return progressed({ ...next, faults: 0 }, now)
}

/** The task after nobody said which jobs it needs (`key` undefined), or after a job was not taken. */
export function submitFault(
  task: OpenTask,
  key: string | undefined,
  fault: StepFault,
  now: Instant,
  random: number,
): Task {
  const begun: OpenTask = {
    ...task,
    startedAt: task.startedAt ?? now,
    error: { code: fault.code, message: fault.message },
  }
  const refused = () =>
    key === undefined
      ? settle(begun, 'Failed', undefined, [], now)
      : jobEnded(begun, key, { said: 'refused', claims: undefined, message: fault.message }, now, random)
  if (fault.fault !== 'unavailable') return refused()
  // The engine asked us to wait: no attempt is spent, but an unknown cluster is answered like that for ever.
  if (fault.retryAfterMs !== undefined && now - begun.startedAt! < task.order.timeoutMs) {
    return { ...untaken(begun, key), state: 'Submitting', nextAt: now + spread(fault.retryAfterMs, random) }
  }
  const faults = task.faults + 1
  if (Math.max(faults, task.attempts) >= task.retry.attempts) return refused()
  return { ...begun, state: 'Pending', faults, nextAt: now + spread(backoffMs(task.retry.backoffMs, faults), random) }
}

/** The task as if it had not been tried: the engine said that it took nothing, so there is nothing to be found there. */
function untaken(task: OpenTask, key: string | undefined): OpenTask {
  const tried = task.jobs.find((job) => job.key === key && job.state === 'intended')
  if (tried === undefined) return task
  const next = replaceJob(task, tried.key, wantedAgain)
  return { ...next, attempts: next.jobs.every((job) => job.state === 'wanted') ? next.attempts - 1 : next.attempts }
}

/** The task after a look that brought nothing: the job may be fine, so it is looked at again until it is overdue. */
export function observeFault(
  task: OpenTask,
  key: string,
  fault: StepFault,
  overdueAt: Instant,
  now: Instant,
  random: number,
): Task {
  const error: TaskError = { code: fault.code, message: fault.message }
  const faults = task.faults + 1
  const later = now + (fault.retryAfterMs ?? spread(backoffMs(LOOK_AGAIN_MS, faults), random))
  return { ...stillOpen({ ...task, error }, key, { lookAt: later }, overdueAt, now), faults }
}

/** The task after a look at the engine's caches. */
export function probed(task: OpenTask, key: string, probe: Probe, now: Instant, random: number): Task {
  const next = replaceJob(task, key, (job) => {
    if (job.state !== 'probing') return job
    if (probe.kind === 'open') return { ...job, notes: probe.notes, lookAt: probe.lookAt }
    // An engine that cannot be looked at is given again what it may have lost.
    if (probe.claims === undefined && task.purpose === 'heal' && task.attempts === 0) return wantedAgain(job)
    return ended(job, withProbe(job, probe, task.order))
  })
  if (next.jobs.every((job) => job.state === 'ended')) return conclude({ ...next, faults: 0 }, now, random)
  return progressed({ ...next, faults: 0 }, now)
}

/** The task after the engine's caches could not be looked at: again a few times, then what was said has to do. */
export function probeFault(task: OpenTask, key: string, fault: StepFault, now: Instant, random: number): Task {
  const faults = task.faults + 1
  if (fault.fault !== 'unavailable' || faults >= PROBE_FAULTS)
    return probed(task, key, { kind: 'ended', claims: undefined, message: fault.message }, now, random)
  const later = now + (fault.retryAfterMs ?? spread(backoffMs(LOOK_AGAIN_MS, faults), random))
  return {
    ...progressed(
      replaceJob(task, key, (job) => ({ ...(job as Probing), lookAt: later })),
      now,
    ),
    faults,
  }
}

/** What was said, with what was seen: what is all there succeeded, whatever became of the record of it. */
function withProbe(job: Probing, { claims, message }: EndedProbe, order: Order): Ended['verdict'] {
  const { said } = job.verdict
  // That a record is gone is said in our words; why an engine showed nothing, only the engine can say.
  const words = new Set([said === 'success' ? job.verdict.message : undefined, message].filter(Boolean))
  const seen = { said, claims, message: words.size === 0 ? undefined : [...words].join('; ') }
  if (claims === undefined) return seen
  return isComplete(ended(job, seen), order) || said === 'gone' ? { ...seen, said: 'success' } : seen
}

/** Is there anything to weigh, or nothing that a look could add? */
function isShown({ said, claims }: Ended['verdict']): boolean {
  return claims !== undefined || said === 'failure' || said === 'refused'
}

function ended(job: Job, verdict: Ended['verdict']): Ended {
  return { ...identityOf(job), state: 'ended', verdict }
}

function identityOf({ key, manifest, cluster, ids }: Job): Pick<Job, 'key' | 'manifest' | 'cluster' | 'ids'> {
  return { key, manifest, cluster, ids }
}

/** Every job has ended: settle, or go round again with the jobs that fell short. */
function conclude(task: OpenTask, now: Instant, random: number): Task {
  const jobs = task.jobs as readonly Ended[]
  const again = new Set(jobs.filter((job) => mayHelpAgain(job, task)).map(({ key }) => key))
  if (again.size > 0 && task.attempts < task.retry.attempts) {
    return {
      ...task,
      state: 'Pending',
      jobs: jobs.map((job) => (again.has(job.key) ? wantedAgain(job) : job)),
      error: shortfall(task, jobs),
      nextAt: task.attempts === 0 ? now : now + spread(backoffMs(task.retry.backoffMs, task.attempts), random),
    }
  }
  const { evidence, missing } = weigh(jobs, task.order, now)
  const state = verdictOf(jobs, evidence, missing)
  return settle(
    { ...task, error: state === 'Succeeded' ? undefined : shortfall(task, jobs) },
    state,
    evidence,
    missing,
    now,
  )
}

/** A failed job, and one whose blobs are known to be absent; not one that could not be looked at. */
function mayHelpAgain(job: Ended, { order, purpose }: OpenTask): boolean {
  const { said, claims } = job.verdict
  if (purpose === 'look') return false
  return said === 'failure' || (said !== 'refused' && claims !== undefined && !isComplete(job, order))
}

function wantedAgain(job: Job): Job {
  return { ...identityOf(job), state: 'wanted' }
}

/**
 * What the claims of all jobs come to. A blob counts once a cluster; `missing` are those that an engine which lists
 * what it has did not list.
 */
function weigh(
  jobs: readonly Ended[],
  order: Order,
  now: Instant,
): { evidence: Evidence | undefined; missing: BlobName[] } {
  const wanted = new Set<string>()
  const cached = new Set<string>()
  const listed = new Map<string, BlobName>()
  for (const job of jobs) {
    const { claims } = job.verdict
    const has = new Set(claims?.cached)
    for (const blob of blobsOf(job, order)) {
      const inCluster = `${job.cluster?.id ?? ''} ${blob}`
      wanted.add(inCluster)
      if (claims !== undefined) listed.set(inCluster, blob)
      if (has.has(blob)) cached.add(inCluster)
    }
  }
  const claims = jobs.flatMap((job) => job.verdict.claims ?? [])
  if (claims.length === 0) return { evidence: undefined, missing: [] }
  const missing = new Set([...listed].filter(([inCluster]) => !cached.has(inCluster)).map(([, blob]) => blob))
  const evidence: Evidence = {
    kind: claims[0]!.kind,
    source: claims.every(({ source }) => source === 'observed') ? 'observed' : 'claimed-by-engine',
    observedAt: now,
    blobs: cached.size,
    of: wanted.size,
    peers: Math.max(...claims.map(({ peers }) => peers)),
  }
  return { evidence, missing: [...missing].sort() }
}

/** Say only what is known: every blob shown, some shown, known absent, or not to be seen. */
function verdictOf(jobs: readonly Ended[], evidence: Evidence | undefined, missing: readonly BlobName[]): SettledState {
  const said = new Set(jobs.map((job) => job.verdict.said))
  if (evidence !== undefined && evidence.blobs === evidence.of && said.size === 1 && said.has('success'))
    return 'Succeeded'
  if (said.has('overdue')) return 'Lost'
  const failed = said.has('failure') || said.has('refused') || missing.length > 0
  if (!failed) return 'Unverified'
  return evidence !== undefined && evidence.blobs > 0 ? 'Partial' : 'Failed'
}

/** The reason that a report gives for anything but success. */
function shortfall(task: OpenTask, jobs: readonly Ended[]): TaskError {
  const first = (said: Ended['verdict']['said']) => jobs.find((job) => job.verdict.said === said)
  if (first('refused') !== undefined && task.error !== undefined) return task.error
  const failure = first('failure')
  if (failure !== undefined) {
    return { code: 'PH5006', message: failure.verdict.message ?? 'the engine ended the job as failed and said no more' }
  }
  const words = wordsOf(jobs, task.order)
  const because = (reason: string) => (words === undefined ? reason : `${reason}; ${words}`)
  if (first('overdue') !== undefined)
    return { code: 'PH5005', message: because('the engine never said how the job ended') }
  const gone = first('gone')
  if (gone !== undefined) {
    const why = gone.verdict.message ?? 'nothing could be looked at'
    return { code: 'PH5004', message: `the engine has no record of the job any more; ${why}` }
  }
  if (task.purpose === 'look' && jobs.some((job) => job.verdict.claims !== undefined)) {
    return { code: 'PH5010', message: because('it was warm, and the engine does not hold every blob any more') }
  }
  const where = jobs.flatMap((job) => shortOf(job, task.order))
  if (where.length === 0)
    return { code: 'PH5004', message: words ?? 'the engine said success and not which blobs it cached' }
  const isSeen = jobs.some((job) => job.verdict.claims?.source === 'observed' && !isComplete(job, task.order))
  const what = isSeen
    ? 'not every blob was found on the engine, missing are'
    : 'the engine said success and did not list every blob as cached:'
  return { code: 'PH5003', message: because(`${what} ${where.join(', ')}`) }
}

/** What its driver knows of a job that fell short, or of why it showed nothing. */
function wordsOf(jobs: readonly Ended[], order: Order): string | undefined {
  return jobs.find((job) => job.verdict.message !== undefined && !isComplete(job, order))?.verdict.message
}

/** Where blobs are missing: `2 of 7 in eu-1`. */
function shortOf(job: Ended, order: Order): string[] {
  const { claims } = job.verdict
  if (claims === undefined) return []
  const cached = new Set(claims.cached)
  const blobs = blobsOf(job, order)
  const missing = blobs.filter((blob) => !cached.has(blob)).length
  return missing === 0
    ? []
    : [`${missing} of ${blobs.length}${job.cluster === undefined ? '' : ` in ${job.cluster.name}`}`]
}

function isComplete(job: Ended, order: Order): boolean {
  const cached = new Set(job.verdict.claims?.cached)
  return job.verdict.claims !== undefined && blobsOf(job, order).every((blob) => cached.has(blob))
}

/** What evidence has to show of a job: of a file its URL alone. */
function blobsOf(job: Job, order: Order): BlobName[] {
  if ('file' in order) return [order.file]
  return distinctBlobs(order.manifests.filter(({ digest }) => digest === job.manifest)).map(({ digest }) => digest)
}

/** Where a task stands between two steps: something to submit now, or the earliest look. */
function progressed(task: OpenTask, now: Instant): OpenTask {
  if (task.jobs.some((job) => job.state === 'wanted' || job.state === 'intended'))
    return { ...task, state: 'Submitting', nextAt: now }
  const looks = task.jobs.flatMap((job) => (job.state === 'open' || job.state === 'probing' ? [job.lookAt] : []))
  return { ...task, state: 'Running', nextAt: Math.min(...looks) }
}

function settle(
  task: OpenTask,
  state: SettledState,
  evidence: Evidence | undefined,
  missing: readonly BlobName[],
  now: Instant,
): Task {
  const { nextAt, ...same } = task
  return { ...same, state, evidence, missing, endedAt: now }
}

function replaceJob(task: OpenTask, key: string, change: (job: Job) => Job): OpenTask {
  return { ...task, jobs: task.jobs.map((job) => (job.key === key ? change(job) : job)) }
}

function backoffMs(firstMs: number, round: number): number {
  return Math.min(LONGEST_BACKOFF_MS, firstMs * 2 ** Math.max(0, round - 1))
}

/** Up to a fifth longer, so that tasks which failed together do not come back together. */
function spread(ms: number, random: number): number {
  return Math.round(ms * (1 + random / 5))
}
