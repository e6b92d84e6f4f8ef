import { createHash } from 'node:crypto'
import { subjectKey } from '../model/artifact.ts'
import type { EndedExecution, Result, Selection } from '../model/execution.ts'
import type { SettledState, SettledTask, TaskError } from '../model/task.ts'

const FAILED: readonly SettledState[] = ['Partial', 'Failed', 'Lost']

/** Did this task end without what was asked for, by the engine's fault or ours? `Unverified` and `Stopped` are no failures. */
export function isFailure(task: SettledTask): boolean {
  return FAILED.includes(task.state)
}

/**
 * What tasks come to, by resources.md §4. Artifacts that were skipped have no tasks and weigh nothing: no tasks at all
 * is `Skipped`. `Blocked` and `Missed` are decided before there are tasks.
 */
export function resultOf(tasks: readonly SettledTask[]): Result {
  const some = (state: SettledState) => tasks.some((task) => task.state === state)
  if (tasks.length === 0) return 'Skipped'
  if (tasks.every((task) => task.state === 'Succeeded')) return 'Success'
  if (some('Stopped')) return 'Stopped'
  if (some('Succeeded')) return 'PartialSuccess'
  return tasks.some(isFailure) ? 'Failed' : 'Unverified'
}

/** What the tasks came to is never the whole where an artifact that the policy names could not be found. */
export function withUnresolved(result: Result, selection: Selection): Result {
  if ((selection.unresolved ?? []).length === 0) return result
  if (result === 'Success') return 'PartialSuccess'
  return result === 'Skipped' ? 'Failed' : result
}

/** The reason of an execution that could not find what its policy names; undefined: it found all. */
export function missingOf({ unresolved = [] }: Selection): TaskError | undefined {
  const [first] = unresolved
  if (first === undefined) return undefined
  const more = unresolved.length > 1 ? `, and ${unresolved.length - 1} more` : ''
  return { code: 'PH8010', message: `spec.artifacts: ${first.artifact}: ${first.message} (${first.code})${more}` }
}

/**
 * Equal for equal failures: which artifacts and files failed at which providers, how and by which code; or the reason's code
 * where there were no tasks. Messages do not count, since they hold job ids and times. Undefined: nothing failed.
 */
export function failureOf(tasks: readonly SettledTask[], reason: TaskError | undefined): string | undefined {
  const lines = tasks
    .filter(isFailure)
    .map((task) => `${task.provider} ${subjectKey(task.subject)} ${task.state} ${task.error?.code ?? '-'}`)
    .sort()
  if (reason !== undefined) lines.push(reason.code)
  return lines.length === 0 ? undefined : createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16)
}

/** `3 succeeded, 1 partial`; empty for no tasks. No word for the whole, since `unverified` is neither good nor bad. */
export function tally(tasks: readonly SettledTask[]): string {
  const states: SettledState[] = ['Succeeded', 'Partial', 'Unverified', 'Failed', 'Lost', 'Stopped']
  return states
    .map((state) => ({ state, count: tasks.filter((task) => task.state === state).length }))
    .filter(({ count }) => count > 0)
    .map(({ state, count }) => `${count} ${state.toLowerCase()}`)
    .join(', ')
}

/** One execution in a few words: `3 succeeded, 1 partial`, `nothing to preheat`, `blocked (PH8004)`. */
export function sumUp(execution: EndedExecution, tasks: readonly SettledTask[]): string {
  if (tasks.length > 0) return tally(tasks)
  if (execution.reason !== undefined) return `${execution.result.toLowerCase()} (${execution.reason.code})`
  return execution.result === 'Skipped' ? 'nothing to preheat' : execution.result.toLowerCase()
}
