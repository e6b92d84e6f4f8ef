import type { EndedExecution, Execution } from '../model/execution.ts'
import { isSettled, type OpenTask, type Task } from '../model/task.ts'
import type { ScheduleState, UsedRun } from './store.ts'
import type { ExecutionRow, Flag, Tables, TaskRow } from './tables.ts'

/** Rows or keys in one statement: SQLite takes 32,766 parameters and PostgreSQL 65,535, a row has at most 8. */
const CHUNK = 500

const TASK_STATES: ReadonlySet<string> = new Set<Task['state']>([
  'Pending',
  'Submitting',
  'Running',
  'Succeeded',
  'Partial',
  'Unverified',
  'Failed',
  'Lost',
  'Stopped',
])

const EXECUTION_STATES: ReadonlySet<string> = new Set<Execution['state']>(['Selecting', 'Running', 'Ended'])

export function scheduleRow(schedule: ScheduleState): Tables['schedules'] {
  return { policy_key: schedule.policyKey, fingerprint: schedule.fingerprint, until_at: schedule.until }
}

export function runRow(run: UsedRun, sent: Flag): Tables['used_runs'] {
  return {
    name: run.name,
    digest: run.digest,
    execution_id: run.executionId,
    policy: run.policy,
    used_at: run.usedAt,
    sent,
  }
}

/** A task that nobody has. */
export function taskRow(task: Task): TaskRow {
  return {
    id: task.id,
    execution_id: task.executionId,
    provider: task.provider,
    registry: task.registry,
    state: task.state,
    next_at: isSettled(task) ? null : task.nextAt,
    lease_until: 0,
    lease_owner: null,
    share_key: shareKeyOf(task),
    body: JSON.stringify(task),
  }
}

/** We wrote it: only a state that this build does not know is worth a check. */
export function taskOf(row: TaskRow): Task {
  if (!TASK_STATES.has(row.state)) throw new Error(`task ${row.id} is in an unknown state`)
  return JSON.parse(row.body) as Task
}

export function openTaskOf(row: TaskRow): OpenTask {
  const task = taskOf(row)
  if (isSettled(task)) throw new Error(`task ${row.id} is settled and yet has a next step`)
  return task
}

export function executionOf(row: ExecutionRow): Execution {
  if (!EXECUTION_STATES.has(row.state)) throw new Error(`execution ${row.id} is in an unknown state`)
  return JSON.parse(row.body) as Execution
}

export function endedOf(row: ExecutionRow): EndedExecution {
  const execution = executionOf(row)
  if (execution.state !== 'Ended') throw new Error(`execution ${row.id} has not ended`)
  return execution
}

export function shareKeyOf({ ledgerKey, purpose }: Task): string {
  return `${ledgerKey} ${purpose}`
}

/** In parts that fit into a statement each. */
export function chunks<T>(all: readonly T[]): T[][] {
  const some: T[][] = []
  for (let from = 0; from < all.length; from += CHUNK) some.push(all.slice(from, from + CHUNK))
  return some
}
