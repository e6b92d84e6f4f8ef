import type { UnsentReport } from '../store/store.ts'
import { isSettled } from '../model/task.ts'
import { isFailure } from './result.ts'

/** `filed`: it gets a file of its own; else it is a count in the day's file, and this is which. */
export type Worth = 'filed' | 'nothingToDo' | 'repeatedFailure'

/**
 * Whether an execution is worth a file, so that the branch grows by what happens and not by how often we look
 * (resources.md §4). A repeated failure is counted only if it is all that happened: an execution that also warmed
 * something, or of which nothing is known, has something of its own to tell.
 */
export function worthOf({ execution, tasks, previous }: UnsentReport): Worth {
  if (previous === undefined) return 'filed'
  if (execution.result === 'Skipped' && tasks.length === 0) {
    return execution.selection?.digest === previous.selectionDigest ? 'nothingToDo' : 'filed'
  }
  const onlyFailures = tasks.every((task) => isSettled(task) && isFailure(task))
  return execution.failure !== undefined && execution.failure === previous.failure && onlyFailures
    ? 'repeatedFailure'
    : 'filed'
}
