import type { Instant } from '../model/duration.ts'
import { excerpt } from '../model/errors.ts'
import { policyAddress } from '../model/policy.ts'
import type { Edit } from '../model/source.ts'
import type { MissedSlot, UnsentReport, UsedRun } from '../store/store.ts'
import { counted } from '../plan/render/words.ts'
import { dailyPath, lineOfExecution, lineOfMissed, mergeDaily, type DailyLine } from './daily.ts'
import { renderExecutionReport, reportPath, settledTasks, type Peers } from './execution-report.ts'
import { README_PATH, renderReadme } from './readme.ts'
import { sumUp, tally } from './result.ts'
import { mergeRuns, RUNS_PATH } from './runs.ts'
import { mergeStatus, STATUS_PATH, statusOf, type LastExecution, type Trouble } from './status.ts'
import { worthOf } from './worth.ts'

/** All that the daemon has to tell git. */
export interface Unsent {
  readonly instance: string
  readonly peers: Peers
  readonly reports: readonly UnsentReport[]
  readonly missed: readonly MissedSlot[]
  readonly runs: readonly UsedRun[]
  /** The last ended execution of every policy. */
  readonly last: readonly LastExecution[]
  /** What is not in force as its files say. */
  readonly troubles: readonly Trouble[]
  /** Keys of all objects in force; the status of others is dropped. */
  readonly declared: readonly string[]
}

/** One commit, yet to be made on whatever the branch's tip will be. */
export interface Flush {
  readonly edits: readonly Edit[]
  readonly message: string
}

/** Longest first line of a commit message that forges show whole. */
const SUBJECT_CHARACTERS = 72

/**
 * One commit for all that is unsent. Applied twice it changes nothing the second time. What is broken on the branch is
 * begun anew, `runs.yaml` excepted, which keeps what it cannot read as comments.
 */
export function flush(unsent: Unsent): Flush {
  return {
    edits: [...reportEdits(unsent), ...dailyEdits(unsent), ...runsEdits(unsent), ...statusEdits(unsent)],
    message: [subjectOf(unsent), '', ...trailers(unsent)].join('\n'),
  }
}

/** A report is never edited: what stands there already stays. */
function reportEdits({ reports, instance, peers }: Unsent): Edit[] {
  return reports
    .filter((report) => worthOf(report) === 'filed')
    .map(({ execution, tasks }) => {
      const { path, text } = renderExecutionReport(execution, tasks, instance, peers)
      return { path, apply: (existing) => existing ?? text }
    })
}

function dailyEdits({ reports, missed, instance }: Unsent): Edit[] {
  const days = new Map<string, { readonly at: Instant; readonly lines: DailyLine[] }>()
  for (const line of [...reports.map(lineOfExecution), ...missed.map(lineOfMissed)]) {
    const path = dailyPath(line.at, instance)
    const day = days.get(path) ?? { at: line.at, lines: [] }
    day.lines.push(line)
    days.set(path, day)
  }
  return [...days].map(([path, { at, lines }]) => ({
    path,
    apply: (existing) => mergeDaily(existing, at, instance, lines),
  }))
}

function runsEdits({ runs }: Unsent): Edit[] {
  return runs.length === 0 ? [] : [{ path: RUNS_PATH, apply: (existing) => mergeRuns(existing, runs) }]
}

function statusEdits({ instance, last, troubles, reports, declared }: Unsent): Edit[] {
  const unsent = new Map(reports.map((report) => [report.execution.id, report]))
  const keys = new Set(declared)
  const standing = last.filter(({ execution }) => keys.has(execution.policyKey))
  const statuses = statusOf(standing, troubles, (one) => linkTo(one, unsent.get(one.execution.id), instance))
  return [
    { path: STATUS_PATH, apply: (existing) => mergeStatus(existing, instance, statuses, declared) },
    { path: README_PATH, apply: (_, earlier) => renderReadme(earlier.get(STATUS_PATH) ?? '') },
  ]
}

/** An execution that was sent before is linked only if it certainly has a file. */
function linkTo(one: LastExecution, unsent: UnsentReport | undefined, instance: string): string | undefined {
  const isFiled =
    unsent === undefined ? one.tasks.length > 0 && one.execution.failure === undefined : worthOf(unsent) === 'filed'
  return isFiled ? reportPath(one.execution, instance) : undefined
}

function subjectOf(unsent: Unsent): string {
  return excerpt(`Report ${whatHappened(unsent)}`, SUBJECT_CHARACTERS)
}

function whatHappened({ reports, missed, runs }: Unsent): string {
  const [first] = reports
  if (first !== undefined && reports.length === 1) {
    return `${addressOf(first)}: ${sumUp(first.execution, settledTasks(first.tasks))}`
  }
  if (first !== undefined) {
    const policies = new Set(reports.map(addressOf))
    const who =
      policies.size === 1 ? `${addressOf(first)}, ${reports.length} executions` : `${reports.length} executions`
    const sum = tally(reports.flatMap(({ tasks }) => settledTasks(tasks)))
    return `${who}: ${sum === '' ? 'nothing to preheat' : sum}`
  }
  if (missed.length > 0)
    return missed.length === 1 ? `${missed[0]!.policy}: slot missed` : `${missed.length} missed slots`
  return runs.length > 0 ? counted(runs.length, 'used PreheatRun') : 'changed states'
}

function trailers({ instance, reports, missed }: Unsent): string[] {
  const policies = [...reports.map(addressOf), ...missed.map(({ policy }) => policy)]
  const commits = reports.map(({ execution }) => execution.snapshot.config.commit)
  return [
    ...trailer('Preheat-Instance', [instance]),
    ...trailer(
      'Preheat-Execution',
      reports.map(({ execution }) => execution.id),
    ),
    ...trailer('Preheat-Policy', policies),
    ...trailer('Config-Commit', commits),
  ]
}

function trailer(name: string, values: readonly string[]): string[] {
  return [...new Set(values)].sort().map((value) => `${name}: ${excerpt(value, 300)}`)
}

function addressOf({ execution }: UnsentReport): string {
  return policyAddress(execution.snapshot.policy)
}
