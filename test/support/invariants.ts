import { createHash } from 'node:crypto'
import { isSettled, manifestsOf, type Task } from '../../src/model/task.ts'
import type { History, Stored } from './history.ts'

/*
 * The invariants of docs/faults.md, one function each, read from a History alone. Each returns what violates it, in
 * words that begin with its number; nothing: it holds.
 */

/**
 * **I1** Every artifact that was selected has one end, in one report; what was selected is what the registry had, and
 * stayed what it was. For policies of one provider that take all of their project, known warm or not.
 * @param artifacts `repository@digest` of what the registry has, by policy: `team/release`
 */
export function conservation(
  { stored: { executions, tasks }, reported: { reports } }: History,
  artifacts: ReadonlyMap<string, readonly string[]>,
): string[] {
  return executions.flatMap((execution) => {
    const [filed, ...others] = reports.filter(({ report }) => report.metadata.name === execution.id)
    if (filed === undefined || others.length > 0)
      return [`I1 ${execution.id} has ${filed === undefined ? 'no report' : `${1 + others.length} reports`}`]
    const { tasks: rows, selection, policy } = filed.report.spec
    const frozen = 'selection' in execution ? execution.selection : undefined
    const lines = rows.map(({ artifact }) => `${artifact.repository}@${artifact.digest}#${artifact.tags.join(',')}`)
    const digest = `sha256:${createHash('sha256').update(lines.sort().join('\n')).digest('hex')}`
    const stored = tasks.filter(({ executionId }) => executionId === execution.id)
    const claims: [boolean, string][] = [
      [
        isSame(
          rows.map(({ artifact, state }) => `${artifact.repository}@${artifact.digest} ${state}`),
          stored.map((task) => `${nameOf(task)} ${task.state}`),
        ),
        'reports other ends than it had',
      ],
      [isSame(stored.map(nameOf), artifacts.get(policy) ?? []), 'took other artifacts than the registry has'],
      [
        rows.length === selection.selected && rows.length === frozen?.selected,
        `reports ${rows.length} of ${selection.selected} artifacts, and ${frozen?.selected ?? 'none'} were frozen`,
      ],
      [digest === selection.digest && digest === frozen?.digest, 'reports another selection than was frozen'],
    ]
    return claims.flatMap(([holds, what]) => (holds ? [] : [`I1 ${execution.id} ${what}`]))
  })
}

/** **I2** When the manager saw a POST, its intent was on the disk. */
export function intentFirst({ posts }: History): string[] {
  return posts.flatMap(({ post, job }) =>
    job === undefined || job.state === 'wanted' ? [`I2 ${post.bio ?? post.url ?? ''} had no intent on the disk`] : [],
  )
}

/**
 * **I3** No job that is known is submitted again: one job at the manager for each that was wanted, one POST of it and
 * one more for each kill that cut off its answer. For executions in which no job fails: one that does is tried again.
 */
export function boundedDuplicates({ posts, cutOff }: History): string[] {
  const marks = [...new Set(posts.map(({ post }) => post.bio ?? ''))]
  return marks.flatMap((mark) => {
    const own = posts.filter(({ post }) => (post.bio ?? '') === mark)
    const cuts = cutOff.filter((cut) => cut.includes(mark)).length
    const jobs = own.filter(({ post }) => post.jobId !== undefined).length
    return [
      ...(jobs > 1 ? [`I3 ${mark} is ${jobs} jobs`] : []),
      ...(own.length > 1 + cuts ? [`I3 ${mark} was sent ${own.length} times, and cut off ${cuts} times`] : []),
      ...(own.some(({ job }) => (job?.ids.length ?? 0) > 0) ? [`I3 ${mark} was sent again though it was known`] : []),
    ]
  })
}

/** **I4** What is called `Succeeded` was all in the caches when it was called so. */
export function truth({ stored, cachedAt }: History): string[] {
  return stored.tasks.flatMap((task) => {
    if (!isSettled(task) || task.state !== 'Succeeded') return []
    const cached = cachedAt(task.endedAt)
    const blobs = manifestsOf(task.order).flatMap((manifest) => manifest.blobs.map(({ digest }) => digest))
    const missing = blobs.filter((digest) => !cached.has(digest))
    return missing.length === 0 ? [] : [`I4 ${nameOf(task)} succeeded without ${missing.length} of its blobs`]
  })
}

/** **I5** What counts as reported is on the branch once and never changed, and the branch only moved forward. */
export function durableReports({ stored, reported: { changes, commits, tips, fsck } }: History): string[] {
  const added = changes.filter((line) => line.startsWith('A\t'))
  return [
    ...changes.filter((line) => !line.startsWith('A\t')).map((line) => `I5 a report was changed: ${line}`),
    ...added.filter((line, index) => added.indexOf(line) !== index).map((line) => `I5 added twice: ${line}`),
    ...stored.executions
      .filter(({ id, isSent }) => isSent && !added.some((line) => line.includes(id)))
      .map(({ id }) => `I5 ${id} counts as reported and is not on the branch`),
    ...tips.filter((tip) => !commits.has(tip)).map((tip) => `I5 ${tip} is not on the branch any more`),
    ...(fsck === '' ? [] : [`I5 git fsck: ${fsck}`]),
  ]
}

/** A schedule as its slots can be told without any of our code. */
export interface WatchedSchedule {
  readonly policyKey: string
  /** `nightly/hourly`, as reports name it. */
  readonly policy: string
  /** Slots are the multiples of it. */
  readonly everyMs: number
  /** Up to and including this instant slots were accounted for in the beginning. */
  readonly from: number
  /** A slot that is older than this may be missed, and no other. */
  readonly startingDeadlineMs: number
}

/**
 * **I6** Each slot of the time that is accounted for was run or missed, once, and only what was too old was missed; so
 * was each PreheatRun.
 * @param runs by name
 */
export function scheduleConservation(
  { stored, reported, at }: History,
  schedule: WatchedSchedule,
  runs: readonly string[],
): string[] {
  const { policyKey, policy, everyMs, from, startingDeadlineMs } = schedule
  const until = stored.schedules.get(policyKey) ?? from
  const before = Math.floor(from / everyMs)
  const slots = Array.from({ length: Math.floor(until / everyMs) - before }, (_, i) => (before + 1 + i) * everyMs)
  const causes = stored.executions.map(({ cause }) => cause)
  const own = stored.executions.filter((one) => one.policyKey === policyKey)
  const run = own.flatMap(({ cause }) => ('slot' in cause ? cause.slot : []))
  const notRun = slots.filter((slot) => !run.includes(slot))
  const days = reported.days.filter((one) => one.policy === policy)
  const counted = (field: 'due' | 'run' | 'missed') => days.reduce((sum, one) => sum + one[field], 0)
  const claims: [boolean, string][] = [
    [run.length > 0, 'no slot was run'],
    [new Set(run).size === run.length, 'a slot was run twice'],
    [run.every((slot) => slots.includes(slot)), 'something was run that is no slot'],
    [notRun.every((slot) => at - slot > startingDeadlineMs), 'a slot was not run that was not too old'],
    [stored.missed === 0, `${stored.missed} missed slots are in no report`],
    [counted('run') === run.length, `${run.length} slots were run, and git counts ${counted('run')}`],
    [counted('missed') === notRun.length, `${notRun.length} slots were not run, and git counts ${counted('missed')}`],
    [counted('due') === slots.length, `${slots.length} slots were due, and git counts ${counted('due')}`],
  ]
  return [
    ...claims.flatMap(([holds, what]) => (holds ? [] : [`I6 ${policy}: ${what}`])),
    ...runs.flatMap((name) => {
      const times = causes.filter((cause) => 'run' in cause && cause.run.name === name).length
      return times === 1 ? [] : [`I6 PreheatRun ${name} began ${times} times`]
    }),
  ]
}

/** **I7** After the last fault everything ends, in twice the time that it takes undisturbed and a minute. */
export function liveness(
  { stored }: History,
  took: { readonly lastMs: number; readonly undisturbedMs: number },
): string[] {
  const { executions, tasks }: Stored = stored
  const limitMs = 2 * took.undisturbedMs + 60_000
  return [
    ...executions.filter(({ state }) => state !== 'Ended').map(({ id }) => `I7 ${id} did not end`),
    ...executions.filter(({ isSent }) => !isSent).map(({ id }) => `I7 ${id} was not reported`),
    ...tasks.filter((task) => !isSettled(task)).map(({ id }) => `I7 ${id} did not settle`),
    ...(took.lastMs > limitMs ? [`I7 it took ${took.lastMs} ms to end, and ${limitMs} ms were allowed`] : []),
  ]
}

/** **I8** No secret is anywhere, in any spelling. @param places what to search, each with its name; files as latin1 */
export function noSecrets(secrets: readonly string[], places: readonly (readonly [string, string])[]): string[] {
  return secrets.flatMap((secret) =>
    spellingsOf(secret).flatMap((spelling) => {
      // Files are read as latin1, in which UTF-8 has another look.
      const forms = [spelling, Buffer.from(spelling).toString('latin1')]
      return places
        .filter(([, text]) => forms.some((form) => text.includes(form)))
        .map(([place]) => `I8 ${secret.slice(0, 10)}… in ${place}`)
    }),
  )
}

/** **I9** As far as the manager can tell: never more submissions at once than the Provider's limit. */
export function bounds({ postsAtOnce }: History, submitsInFlight: number): string[] {
  return postsAtOnce > submitsInFlight ? [`I9 ${postsAtOnce} submissions at once, over ${submitsInFlight}`] : []
}

function spellingsOf(secret: string): string[] {
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret),
    Buffer.from(secret).toString('base64').replace(/=+$/, ''),
    Buffer.from(secret).toString('base64url'),
  ]
}

function nameOf({ subject }: Task): string {
  return 'file' in subject ? subject.file : `${subject.repository}@${subject.digest}`
}

function isSame(some: readonly string[], others: readonly string[]): boolean {
  return [...some].sort().join('\n') === [...others].sort().join('\n')
}
