import type { ManualClock } from './clock.ts'
import { never } from './engine.ts'
import { task } from './examples.ts'
import { MemorySource } from './ports.ts'
import { pumped } from './pump.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { step } from '../../src/execution/step.ts'
import type { Secret } from '../../src/model/secret.ts'
import { isSettled, type OpenTask, type Order, type SettledTask, type Task } from '../../src/model/task.ts'

const MOST_STEPS = 20_000

/**
 * What becomes of a task at an engine, step after step as the daemon takes them; time goes on to whatever the task or
 * its driver waits for.
 * @param onTaken told once, when the engine has taken a job
 */
export async function settledWith(
  engine: Engine,
  open: OpenTask,
  clock: ManualClock,
  source = new MemorySource([]),
  onTaken: () => unknown = () => undefined,
): Promise<SettledTask> {
  const ports = { engine, source, clock, store: { saveStep: () => Promise.resolve() }, random: () => 0 }
  let next: Task = open
  let isTaken = false
  for (let steps = 0; steps < MOST_STEPS; steps += 1) {
    if (isSettled(next)) return next
    if (next.nextAt > clock.now()) clock.set(next.nextAt)
    next = await pumped(clock, step(next, ports, never))
    if (isTaken || next.jobs.every(({ ids }) => ids.length === 0)) continue
    isTaken = true
    await onTaken()
  }
  throw new Error('the task never settled')
}

/** {@link settledWith} of an order, with one retry. */
export async function settledTask(
  engine: Engine,
  order: Order,
  authorization: Secret,
  clock: ManualClock,
  onTaken?: () => unknown,
): Promise<SettledTask> {
  const source = new MemorySource([])
  source.authorize = () => Promise.resolve(authorization as never)
  return settledWith(engine, task({ order, retry: { attempts: 2, backoffMs: 1000 } }), clock, source, onTaken)
}
