import { formatInstant, type Instant } from '../model/duration.ts'
import { excerpt } from '../model/errors.ts'
import type { EndedExecution, Result } from '../model/execution.ts'
import { endOfSuspension, policyAddress, type Suspension } from '../model/policy.ts'
import type { Problem } from '../model/problem.ts'
import { executedKind, ofKind, type Kind } from '../model/resource.ts'
import type { SettledTask, Task } from '../model/task.ts'
import type { Applied } from '../store/store.ts'
import { byText } from '../plan/order.ts'
import { settledTasks } from './execution-report.ts'
import { isFailure, resultOf } from './result.ts'
import { countOf, field, fromYaml, items, textOf, toYaml } from './yaml-text.ts'

export const STATUS_PATH = 'status.yaml'

/**
 * How a declared object stands: a policy at one of its providers, or any object that is Stalled. Times are RFC 3339
 * texts, since what is kept is kept to the byte.
 */
export interface Status {
  /** `File`: a file of which not even the kind could be read. */
  readonly kind: Kind | 'File'
  /** `library/release-images`; other kinds by their bare name. */
  readonly name: string
  /** Of a policy. */
  readonly registry: string | undefined
  /** Of a policy, or a run with artifacts of its own, that has been executed. */
  readonly provider: string | undefined
  /** `Stalled`: its file is broken and its last good version in force. `Suspended`: it begins nothing by itself. */
  readonly state: 'Ready' | 'Stalled' | 'Suspended'
  /** A policy may be that and Stalled too. Without `until` it has no end. */
  readonly suspended: { readonly until: string | undefined; readonly reason: string } | undefined
  readonly problem:
    { readonly code: string; readonly message: string; readonly file: string; readonly line: number } | undefined
  /** What its last execution came to at this provider; undefined before the first. */
  readonly outcome: Outcome | undefined
}

export interface Outcome {
  readonly result: Result
  readonly error: { readonly code: string; readonly message: string } | undefined
  /** When the execution ended that brought this result. */
  readonly since: string
  readonly execution: string
  /** The path of its report; undefined where it has none of its own. */
  readonly report: string | undefined
  /** Of the oldest evidence behind it. */
  readonly observedAt: string | undefined
}

/**
 * What does not do what its files say: a broken object, a run that waits, a file that cannot be read (`File/<path>`), or
 * a suspended policy.
 */
export interface Trouble {
  /** As {@link resourceKey} spells it. */
  readonly key: string
  readonly problems: readonly Problem[]
  readonly suspend?: Suspension
}

/**
 * What a configuration in force has of it: objects at their last good version, and what never had one.
 */
export function troubleIn({ objects, problems }: Pick<Applied, 'objects' | 'problems'>): Trouble[] {
  const stalled = objects.filter((one) => one.problems.some(({ severity }) => severity === 'error'))
  const keys = new Set(objects.map(({ key }) => key))
  const files = new Set(stalled.map(({ file }) => file))
  const invalid = new Map<string, Problem[]>()
  for (const problem of problems) {
    const held = problem.key === undefined ? files.has(problem.file) : keys.has(problem.key)
    if (problem.severity !== 'error' || held) continue
    const key = problem.key ?? `File/${problem.file}`
    invalid.set(key, [...(invalid.get(key) ?? []), problem])
  }
  return [...stalled, ...[...invalid].map(([key, found]) => ({ key, problems: found }))]
}

/** Policies that are suspended now. One that is disabled rests anyway. */
export function suspendedIn({ objects }: Pick<Applied, 'objects'>, now: Instant): Trouble[] {
  return ofKind(objects, 'PreheatPolicy').flatMap(({ key, resource: { enabled, suspend } }) =>
    enabled && suspend !== undefined && now < endOfSuspension(suspend) ? [{ key, problems: [], suspend }] : [],
  )
}

/** An ended execution with its tasks. */
export interface LastExecution {
  readonly execution: EndedExecution
  readonly tasks: readonly Task[]
}

/**
 * How everything stands that has been executed or is in trouble.
 * @param reportOf the path of an execution's report; undefined where it has none
 */
export function statusOf(
  last: readonly LastExecution[],
  troubles: readonly Trouble[],
  reportOf: (execution: LastExecution) => string | undefined,
): Status[] {
  const executed = new Set(last.map(({ execution }) => execution.policyKey))
  const byKey = new Map<string, Trouble>()
  for (const one of troubles) byKey.set(one.key, bothOf(byKey.get(one.key), one))
  return [
    ...last.flatMap((one) => statusOfPolicy(one, byKey.get(one.execution.policyKey), reportOf(one))),
    ...[...byKey.values()].filter(({ key }) => !executed.has(key)).map(statusOfTrouble),
  ].sort(byText(identity))
}

function bothOf(before: Trouble | undefined, now: Trouble): Trouble {
  return before === undefined ? now : { ...before, ...now, problems: [...before.problems, ...now.problems] }
}

/**
 * `status.yaml` with the section of one instance brought up to date; the others stay. An outcome that says the same as
 * the one before keeps that one's times, and `Skipped` after `Success` is the same: the images are as warm as they
 * were. So the file changes only when a state does. What is not mentioned is kept as no longer stalled if it is declared,
 * and else left out. A file that cannot be read is begun anew.
 * @param declared keys
 */
export function mergeStatus(
  existing: string | undefined,
  instance: string,
  statuses: readonly Status[],
  declared: readonly string[],
): string {
  const sections = new Map(parseStatus(existing ?? '').map((section) => [section.instance, section.statuses]))
  const before = sections.get(instance) ?? []
  const known = new Map(before.map((one) => [identity(one), one]))
  const mentioned = new Set(statuses.map(keyOf))
  const kept = before
    .filter((one) => !mentioned.has(keyOf(one)) && one.outcome !== undefined)
    .filter((one) => declared.includes(keyOf(one)))
    .map((one): Status => ({ ...one, state: 'Ready', suspended: undefined, problem: undefined }))
  const renewed = statuses.map((one) => ({
    ...one,
    outcome: outcomeAfter(known.get(identity(one))?.outcome, one.outcome),
  }))
  sections.set(instance, [...kept, ...renewed].sort(byText(identity)))
  return toYaml({
    apiVersion: 'preheatd.io/v1alpha1',
    kind: 'Status',
    instances: [...sections]
      .sort(byText(([name]) => name))
      .map(([name, section]) => ({ instance: name, objects: section.map(renderStatus) })),
  })
}

/** The sections of `status.yaml` in its order. What is not understood is left out, never an error. */
export function parseStatus(text: string): { readonly instance: string; readonly statuses: readonly Status[] }[] {
  return items(field(fromYaml(text), 'instances')).flatMap((section) => {
    const instance = textOf(field(section, 'instance'))
    return instance === undefined ? [] : { instance, statuses: items(field(section, 'objects')).flatMap(readStatus) }
  })
}

function statusOfPolicy(last: LastExecution, trouble: Trouble | undefined, report: string | undefined): Status[] {
  const { execution } = last
  const { policy, targets } = execution.snapshot
  const tasks = settledTasks(last.tasks)
  const providers = new Set([...targets.map(({ provider }) => provider.name), ...tasks.map(({ provider }) => provider)])
  const kind = executedKind(execution.policyKey)
  const object =
    kind === 'PreheatPolicy'
      ? { kind, name: policyAddress(policy), registry: policy.registry }
      : { kind, name: policy.name, registry: undefined }
  return [...(providers.size === 0 ? [undefined] : providers)].map((provider) => ({
    ...object,
    provider,
    ...conditionOf(trouble),
    outcome: outcomeOf(
      execution,
      tasks.filter((task) => task.provider === provider),
      report,
    ),
  }))
}

function statusOfTrouble(trouble: Trouble): Status {
  const [first = '', ...rest] = trouble.key.split('/')
  const kind = KINDS.find((one) => one === first) ?? 'File'
  const [registry, ...name] = kind === 'PreheatPolicy' ? rest : [undefined, ...rest]
  return { kind, name: name.join('/'), registry, provider: undefined, ...conditionOf(trouble), outcome: undefined }
}

function conditionOf(trouble: Trouble | undefined): Pick<Status, 'state' | 'suspended' | 'problem'> {
  if (trouble === undefined) return { state: 'Ready', suspended: undefined, problem: undefined }
  const { problems, suspend } = trouble
  const suspended = suspend && {
    until: suspend.until === undefined ? undefined : formatInstant(suspend.until),
    reason: excerpt(suspend.reason),
  }
  const problem = problems.find(({ severity }) => severity === 'error') ?? problems[0]
  if (problem === undefined) return { state: suspended ? 'Suspended' : 'Stalled', suspended, problem: undefined }
  const { code, message, file, line } = problem
  return { state: 'Stalled', suspended, problem: { code, message: excerpt(message), file: excerpt(file, 300), line } }
}

function outcomeOf(execution: EndedExecution, tasks: readonly SettledTask[], report: string | undefined): Outcome {
  const decided = execution.reason !== undefined || execution.result === 'Stopped'
  const error = tasks.find((task) => isFailure(task) || task.state === 'Unverified')?.error ?? execution.reason
  const observed = tasks.flatMap(({ evidence }) => evidence?.observedAt ?? [])
  return {
    result: tasks.length === 0 && decided ? execution.result : resultOf(tasks),
    error: error && { code: error.code, message: excerpt(error.message) },
    since: formatInstant(execution.endedAt),
    execution: execution.id,
    report,
    observedAt: observed.length === 0 ? undefined : formatInstant(Math.min(...observed)),
  }
}

/** Messages do not count: an engine's hold job ids and times. */
function outcomeAfter(before: Outcome | undefined, now: Outcome | undefined): Outcome | undefined {
  if (before === undefined || now === undefined) return now ?? before
  const isEqual = before.result === now.result && before.error?.code === now.error?.code
  return isEqual || (before.result === 'Success' && now.result === 'Skipped') ? before : now
}

function renderStatus({ outcome, ...status }: Status): unknown {
  return {
    kind: status.kind,
    name: status.name,
    registry: status.registry,
    provider: status.provider,
    state: status.state,
    suspended: status.suspended,
    problem: status.problem,
    result: outcome?.result,
    error: outcome?.error,
    since: outcome?.since,
    execution: outcome?.execution,
    report: outcome?.report,
    observedAt: outcome?.observedAt,
  }
}

const KINDS: readonly Status['kind'][] = ['Registry', 'Provider', 'PreheatPolicy', 'PreheatRun', 'File']
const STATES: readonly Status['state'][] = ['Stalled', 'Suspended']
const RESULTS: readonly Result[] = [
  'Success',
  'PartialSuccess',
  'Unverified',
  'Failed',
  'Stopped',
  'Skipped',
  'Blocked',
  'Missed',
]

function readStatus(value: unknown): Status[] {
  const kind = KINDS.find((one) => one === field(value, 'kind'))
  const name = textOf(field(value, 'name'))
  if (kind === undefined || name === undefined) return []
  return [
    {
      kind,
      name,
      registry: textOf(field(value, 'registry')),
      provider: textOf(field(value, 'provider')),
      state: STATES.find((one) => one === field(value, 'state')) ?? 'Ready',
      suspended: readSuspended(field(value, 'suspended')),
      problem: readProblem(field(value, 'problem')),
      outcome: readOutcome(value),
    },
  ]
}

function readSuspended(value: unknown): Status['suspended'] {
  const reason = textOf(field(value, 'reason'))
  return reason === undefined ? undefined : { until: textOf(field(value, 'until')), reason }
}

function readProblem(value: unknown): Status['problem'] {
  const error = readError(value)
  const file = textOf(field(value, 'file'))
  return error && file !== undefined ? { ...error, file, line: countOf(field(value, 'line')) } : undefined
}

function readOutcome(value: unknown): Outcome | undefined {
  const result = RESULTS.find((one) => one === field(value, 'result'))
  const since = textOf(field(value, 'since'))
  const execution = textOf(field(value, 'execution'))
  if (result === undefined || since === undefined || execution === undefined) return undefined
  return {
    result,
    error: readError(field(value, 'error')),
    since,
    execution,
    report: textOf(field(value, 'report')),
    observedAt: textOf(field(value, 'observedAt')),
  }
}

function readError(value: unknown): { readonly code: string; readonly message: string } | undefined {
  const code = textOf(field(value, 'code'))
  const message = textOf(field(value, 'message'))
  return code === undefined || message === undefined ? undefined : { code, message }
}

/** Which object, as {@link resourceKey} spells it. */
function keyOf({ kind, registry, name }: Status): string {
  return registry === undefined ? `${kind}/${name}` : `${kind}/${registry}/${name}`
}

function identity(status: Status): string {
  return `${keyOf(status)} ${status.provider ?? ''}`
}
