import { MemorySource } from './ports.ts'
import { pumped } from './pump.ts'
import type { ManualClock } from './clock.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { step } from '../../src/execution/step.ts'
import { isSettled, type OpenTask, type SettledTask, type Task } from '../../src/model/task.ts'

const never = new AbortController().signal

/** Takes a task to its end with a real driver; time goes on to whatever the task or its driver waits for. */
export async function settledWith(engine: Engine, task: OpenTask, clock: ManualClock): Promise<SettledTask> {
  const store = { saveStep: () => Promise.resolve() }
  const ports = { engine, source: new MemorySource([]), store, clock, random: () => 0 }
  let next: Task = task
  while (!isSettled(next)) {
    if (next.nextAt > clock.now()) clock.set(next.nextAt)
    next = await pumped(clock, step(next, ports, never))
  }
  return next
}
