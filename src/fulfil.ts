import { choose, type Purpose } from './execution/choose.ts'
import { movedTags } from './execution/moved-tags.ts'
import { failureOf, missingOf, resultOf, withUnresolved } from './report/result.ts'
import { scrubbed, type Drivers } from './execution/loop.ts'
import type { Clock } from './model/clock.ts'
import type { Code } from './model/codes.ts'
import type { Emit } from './model/events.ts'
import { EdgeError, OperatorError } from './model/errors.ts'
import type { Cause, EndedExecution, Execution, Result, Selection } from './model/execution.ts'
import { isSettled, type OpenTask, type SettledState, type TaskError } from './model/task.ts'
import type { Asked } from './model/operations.ts'
import type { Store } from './store/store.ts'
import type { Selecting } from './begin.ts'

export interface FulfilPorts {
  readonly store: Pick<Store, 'warm' | 'selected' | 'end' | 'giveUp' | 'tasks' | 'execution'>
  readonly drivers: Drivers
  readonly clock: Clock
  readonly emit: Emit
  /** Masks secrets that the other side sent back to us. */
  readonly scrub: (text: string) => string
}

/** What ending an execution takes. */
type EndPorts = Pick<FulfilPorts, 'store' | 'clock' | 'emit'>

/**
 * Chooses an execution's artifacts and makes its tasks rows; or ends it, when there is nothing to send or it must not
 * be sent. Interrupted, it is done again: nothing has been submitted.
 */
export async function selectArtifacts(execution: Selecting, ports: FulfilPorts, signal: AbortSignal): Promise<void> {
  const { store, drivers, clock, emit } = ports
  try {
    const source = await drivers.source(execution.snapshot.registry)
    const choice = await choose(
      execution.id,
      execution.snapshot,
      purposeOf(execution.cause),
      { source, ledger: store, since: execution.startedAt, now: clock.now() },
      signal,
    )
    if (choice.kind === 'blocked') {
      await end(execution, choice.selection, 'Blocked', { code: choice.code, message: choice.message }, ports)
      return
    }
    const { selection, sizeBytes } = choice
    const tasks = choice.tasks.map((task) => scrubbed(task, ports.scrub))
    if (tasks.length === 0) {
      await end(execution, selection, withUnresolved('Skipped', selection), missingOf(selection), ports)
      return
    }
    const running = { ...execution, state: 'Running' as const, selection }
    // Stopped meanwhile.
    if (!(await store.selected(running, tasks))) return
    const unsized = tasks.filter((task) => !isSettled(task) && task.sizeBytes === undefined).length
    emit({ name: 'execution.selected', execution: running, tasks: tasks.length, sizeBytes, unsized })
    if (tasks.every(isSettled)) await finish(execution.id, ports, signal)
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (!(error instanceof EdgeError || error instanceof OperatorError)) throw error
    await end(execution, undefined, 'Failed', { code: error.code, message: ports.scrub(error.message) }, ports)
  }
}

function purposeOf(cause: Cause): Purpose {
  return 'upkeep' in cause ? cause.upkeep : 'preheat'
}

/**
 * Ends an execution whose tasks have all settled. A second call changes nothing.
 * @throws the signal's reason; it is then to be called again
 */
export async function finish(executionId: string, ports: FulfilPorts, signal: AbortSignal): Promise<void> {
  const { store, drivers, clock } = ports
  const execution = await store.execution(executionId)
  if (execution?.state !== 'Running') return
  const tasks = (await store.tasks(executionId)).filter(isSettled)
  const moved = await movedTags(tasks, () => drivers.source(execution.snapshot.registry), clock, signal)
  const selection = { ...execution.selection, ...(moved.length > 0 && { movedTags: moved }) }
  await end(execution, selection, withUnresolved(resultOf(tasks), selection), missingOf(selection), ports)
}

/**
 * Ends an execution before its time because somebody asked. What engines were given goes on there.
 * @returns false when it has ended already, or never was
 */
export async function stop(executionId: string, { by, reason }: Asked, ports: EndPorts): Promise<boolean> {
  const because = reason === '' ? '' : `: ${reason}`
  const error = { code: 'PH8012', message: `stopped by ${by}${because}` } as const
  return giveUp(executionId, () => 'Stopped', 'Stopped', error, ports)
}

/** Ends an execution whose deadline has passed. Of what an engine was given and did not end, nothing is known. */
export async function expire(executionId: string, ports: FulfilPorts): Promise<boolean> {
  const error = { code: 'PH8013', message: 'the deadline of the execution has passed' } as const
  return giveUp(executionId, ({ attempts }) => (attempts === 0 ? 'Failed' : 'Unverified'), 'Failed', error, ports)
}

async function giveUp(
  executionId: string,
  stateOf: (task: OpenTask) => SettledState,
  withoutTasks: Result,
  error: TaskError,
  ports: EndPorts,
): Promise<boolean> {
  const { store, clock } = ports
  const execution = await store.execution(executionId)
  if (execution === undefined || execution.state === 'Ended') return false
  const endedAt = clock.now()
  await store.giveUp(executionId, ({ nextAt: _, ...task }) => {
    const state = stateOf({ ...task, nextAt: _ })
    return { ...task, state, endedAt, error, evidence: undefined, missing: [] }
  })
  const tasks = (await store.tasks(executionId)).filter(isSettled)
  const result = tasks.length === 0 ? withoutTasks : resultOf(tasks)
  const selection = 'selection' in execution ? execution.selection : undefined
  return end(execution, selection, result, error, ports)
}

async function end(
  { id, policyKey, cause, at, snapshot, startedAt }: Execution,
  selection: Selection | undefined,
  result: Result,
  reason: { readonly code: Code; readonly message: string } | undefined,
  { store, clock, emit }: EndPorts,
): Promise<boolean> {
  const tasks = (await store.tasks(id)).filter(isSettled)
  const failure = failureOf(tasks, reason)
  const ended: EndedExecution = {
    id,
    policyKey,
    cause,
    at,
    snapshot,
    startedAt,
    state: 'Ended',
    selection,
    endedAt: clock.now(),
    result,
    reason,
    failure,
  }
  if (!(await store.end(ended))) return false
  emit({ name: 'execution.ended', execution: ended })
  return true
}
