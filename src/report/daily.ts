import { compactInstant, formatInstant, type Instant } from '../model/duration.ts'
import { excerpt } from '../model/errors.ts'
import { policyAddress } from '../model/policy.ts'
import type { MissedSlot, UnsentReport } from '../store/store.ts'
import { byText } from '../plan/order.ts'
import { dayFolder, slug } from './execution-report.ts'
import { worthOf, type Worth } from './worth.ts'
import { countOf, field, fromYaml, instantOf, items, textOf, toYaml } from './yaml-text.ts'

/** One thing that counts on a day: an execution that ended, or a slot that did not run. */
export type DailyLine = { readonly policy: string; readonly registry: string; readonly at: Instant } & (
  | { readonly kind: 'run'; readonly executionId: string; readonly isSlot: boolean; readonly worth: Worth }
  | { readonly kind: 'missed'; readonly reason: string }
)

/** What the file holds of one policy. */
interface DailyPolicy {
  readonly policy: string
  readonly registry: string
  /** Slots that came due: run or missed. */
  readonly due: number
  /** Executions, manual ones too. */
  readonly run: number
  readonly nothingToDo: number
  readonly repeatedFailures: number
  readonly missed: number
  readonly reasons: readonly { readonly reason: string; readonly count: number }[]
  /**
   * Which executions these counts hold, so that none counts twice: all up to and including `until`, and the `recent`
   * ones after it. One that ends after so many later ones of its policy is not counted; it would have a file anyway.
   */
  readonly until: string
  readonly recent: readonly string[]
  /** Missed slots up to and including this one are counted: the scheduler gives up a policy's slots in order. */
  readonly missedUntil: Instant
}

/** Ids kept a policy and day. Executions of one policy end out of order only where several run at once. */
const RECENT = 8
/** Distinct reasons kept a policy and day; the rest is counted as `other`. */
const MAX_REASONS = 8
const OTHER = 'other'

/** The line of an ended execution. */
export function lineOfExecution(report: UnsentReport): DailyLine {
  const { execution } = report
  const { policy } = execution.snapshot
  return {
    kind: 'run',
    policy: policyAddress(policy),
    registry: policy.registry,
    at: execution.at,
    executionId: execution.id,
    isSlot: 'slot' in execution.cause,
    worth: worthOf(report),
  }
}

/** The line of a slot that did not run. */
export function lineOfMissed({ policy, policyKey, slot, reason }: MissedSlot): DailyLine {
  return { kind: 'missed', policy, registry: policyKey.split('/')[1] ?? '', at: slot, reason }
}

/** `daily/2026/11/21/eu.yaml`. @throws {TypeError} when `instance` is no name. */
export function dailyPath(at: Instant, instance: string): string {
  return `daily/${dayFolder(at)}/${slug(instance)}.yaml`
}

/**
 * The file of the day that `day` is in, with these lines of that day counted. A line that is in it already changes
 * nothing, so that a flush may be replayed. A file that cannot be read is begun anew: what is in it is a summary.
 */
export function mergeDaily(
  existing: string | undefined,
  day: Instant,
  instance: string,
  lines: readonly DailyLine[],
): string {
  const before = existing === undefined ? [] : readDaily(existing)
  const policies = new Map(before.map((one) => [nameOf(one), one]))
  for (const line of [...lines].sort(byText(orderOf))) {
    const name = nameOf(line)
    const old = policies.get(name) ?? newPolicy(line)
    policies.set(name, line.kind === 'run' ? countRun(old, line) : countMissed(old, line))
  }
  const after = [...policies.values()].sort(byText(nameOf))
  if (existing !== undefined && before.length > 0 && after.every((one) => before.includes(one))) return existing
  return toYaml({
    apiVersion: 'preheatd.io/v1alpha1',
    kind: 'DailyReport',
    metadata: { name: formatInstant(day).slice(0, 10) },
    spec: { instance, policies: after.map(renderPolicy) },
  })
}

function countRun(old: DailyPolicy, line: Extract<DailyLine, { kind: 'run' }>): DailyPolicy {
  const id = line.executionId
  if (id <= old.until || old.recent.includes(id)) return old
  const ids = [...old.recent, id].sort()
  const dropped = ids.slice(0, -RECENT)
  return {
    ...old,
    due: old.due + (line.isSlot ? 1 : 0),
    run: old.run + 1,
    nothingToDo: old.nothingToDo + (line.worth === 'nothingToDo' ? 1 : 0),
    repeatedFailures: old.repeatedFailures + (line.worth === 'repeatedFailure' ? 1 : 0),
    until: dropped.at(-1) ?? old.until,
    recent: ids.slice(-RECENT),
  }
}

function countMissed(old: DailyPolicy, line: Extract<DailyLine, { kind: 'missed' }>): DailyPolicy {
  if (line.at <= old.missedUntil) return old
  const wanted = excerpt(line.reason)
  const isKept = old.reasons.length < MAX_REASONS || old.reasons.some(({ reason }) => reason === wanted)
  const name = isKept ? wanted : OTHER
  const found = old.reasons.find(({ reason }) => reason === name)
  const others = old.reasons.filter((one) => one !== found)
  return {
    ...old,
    due: old.due + 1,
    missed: old.missed + 1,
    reasons: [...others, { reason: name, count: (found?.count ?? 0) + 1 }].sort(byText(({ reason }) => reason)),
    missedUntil: line.at,
  }
}

function renderPolicy(one: DailyPolicy): unknown {
  return {
    policy: one.policy,
    registry: one.registry,
    due: one.due,
    run: one.run,
    nothingToDo: one.nothingToDo,
    repeatedFailures: one.repeatedFailures,
    missed: one.missed,
    reasons: one.reasons.length > 0 ? one.reasons : undefined,
    counted: {
      until: one.until === '' ? undefined : one.until,
      recent: one.recent,
      missedUntil: one.missedUntil === 0 ? undefined : formatInstant(one.missedUntil),
    },
  }
}

function readDaily(text: string): DailyPolicy[] {
  return items(field(field(fromYaml(text), 'spec'), 'policies')).flatMap((value) => {
    const policy = textOf(field(value, 'policy'))
    const registry = textOf(field(value, 'registry'))
    if (policy === undefined || registry === undefined) return []
    const counted = field(value, 'counted')
    return {
      policy,
      registry,
      due: countOf(field(value, 'due')),
      run: countOf(field(value, 'run')),
      nothingToDo: countOf(field(value, 'nothingToDo')),
      repeatedFailures: countOf(field(value, 'repeatedFailures')),
      missed: countOf(field(value, 'missed')),
      reasons: items(field(value, 'reasons')).flatMap((one) => {
        const reason = textOf(field(one, 'reason'))
        return reason === undefined ? [] : { reason, count: countOf(field(one, 'count')) }
      }),
      until: textOf(field(counted, 'until')) ?? '',
      recent: items(field(counted, 'recent')).flatMap((id) => textOf(id) ?? []),
      missedUntil: instantOf(field(counted, 'missedUntil')) ?? 0,
    }
  })
}

function newPolicy({ policy, registry }: DailyLine): DailyPolicy {
  return {
    policy,
    registry,
    due: 0,
    run: 0,
    nothingToDo: 0,
    repeatedFailures: 0,
    missed: 0,
    reasons: [],
    until: '',
    recent: [],
    missedUntil: 0,
  }
}

function nameOf({ policy, registry }: { readonly policy: string; readonly registry: string }): string {
  return `${policy} ${registry}`
}

function orderOf(line: DailyLine): string {
  return line.kind === 'run' ? line.executionId : compactInstant(line.at)
}
