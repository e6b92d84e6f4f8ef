import type { ArtifactSource } from '../registry/registry.ts'
import type { Engine } from '../engine/engine.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../model/clock.ts'
import { EdgeError, OperatorError } from '../model/errors.ts'
import type { OpenTask, StepFault, Task } from '../model/task.ts'
import {
  intended,
  jobEnded,
  nextStep,
  observeFault,
  planned,
  probeFault,
  probed,
  stillOpen,
  submitFault,
  submitted,
  type Step,
} from './transition.ts'

/** What one step of one task may touch. */
export interface StepPorts {
  readonly engine: Engine
  readonly source: ArtifactSource
  readonly store: Pick<Store, 'saveStep'>
  readonly clock: Clock
  readonly random: () => number
}

/**
 * Takes one task one step: asks the engine one thing and returns what became of the task. The caller saves it.
 *
 * @throws the signal's reason on shutdown; the stored task is then where the next start picks it up.
 */
export async function step(task: OpenTask, ports: StepPorts, signal: AbortSignal): Promise<Task> {
  const next = nextStep(task)
  if (next === undefined) throw new Error(`task ${task.id} has nothing left to do and is not settled`)
  switch (next.kind) {
    case 'plan':
      return await planJobs(task, ports, signal)
    case 'submit':
      return await submitJob(task, next, ports, signal)
    case 'observe':
      return await observeJob(task, next, ports, signal)
    case 'probe':
      return await probeJob(task, next, ports, signal)
    default:
      return next satisfies never
  }
}

async function planJobs(task: OpenTask, ports: StepPorts, signal: AbortSignal): Promise<Task> {
  const { engine, clock, random } = ports
  let ready: OpenTask
  try {
    ready = planned(task, await engine.jobs(task.order, signal), clock.now())
  } catch (error) {
    return submitFault(task, undefined, faultOf(error, signal), clock.now(), random())
  }
  // Which jobs a task needs is mostly known without asking, so its first is submitted in the same step.
  const next = nextStep(ready)
  return next?.kind === 'submit' ? await submitJob(ready, next, ports, signal) : ready
}

async function submitJob(
  task: OpenTask,
  { job }: Extract<Step, { kind: 'submit' }>,
  ports: StepPorts,
  signal: AbortSignal,
): Promise<Task> {
  const { engine, source, store, clock } = ports
  const intent = intended(task, job.key, clock.now())
  await store.saveStep(intent)
  try {
    // An intent without an answer: whoever cut it off, the engine may have the job. Asking costs less than a second job.
    const found = job.state === 'intended' ? await engine.find(task.order, job, signal) : undefined
    if (found !== undefined)
      return submitted(intent, job.key, found, clock.now(), engine.nextLook(clock.now(), clock.now()))
    // Minted right before it is used, so that it lives as long as it can while the engine pulls. A file is another host's.
    const authorization = 'file' in task.order ? undefined : await source.authorize(task.order.repository, signal)
    const id = await engine.submit(task.order, job, authorization, signal)
    const now = clock.now()
    return submitted(intent, job.key, id, now, engine.nextLook(now, now))
  } catch (error) {
    return submitFault(intent, job.key, faultOf(error, signal), clock.now(), ports.random())
  }
}

async function observeJob(
  task: OpenTask,
  { job }: Extract<Step, { kind: 'observe' }>,
  ports: StepPorts,
  signal: AbortSignal,
): Promise<Task> {
  const { engine, clock, random } = ports
  const overdueAt = engine.overdueAt(task.order, job.submittedAt)
  try {
    const observation = await engine.observe(task.order, job, signal)
    const now = clock.now()
    if (observation.kind === 'ended') return jobEnded(task, job.key, observation.verdict, now, random())
    const { progress } = observation
    return stillOpen(task, job.key, { lookAt: engine.nextLook(job.submittedAt, now), progress }, overdueAt, now)
  } catch (error) {
    return observeFault(task, job.key, faultOf(error, signal), overdueAt, clock.now(), random())
  }
}

async function probeJob(
  task: OpenTask,
  { job }: Extract<Step, { kind: 'probe' }>,
  { engine, clock, random }: StepPorts,
  signal: AbortSignal,
): Promise<Task> {
  try {
    const probe = await engine.probe(task.order, job, job.notes, signal)
    return probed(task, job.key, probe, clock.now(), random())
  } catch (error) {
    return probeFault(task, job.key, faultOf(error, signal), clock.now(), random())
  }
}

/** What a failure means for the task; our own shutdown and our own bugs are not the engine's fault. */
function faultOf(error: unknown, signal: AbortSignal): StepFault {
  if (signal.aborted) throw signal.reason
  if (error instanceof EdgeError) {
    const { fault, code, message, retryAfterMs } = error
    return { fault, code, message, retryAfterMs }
  }
  // A missing secret is mended by a person; until then every attempt says so.
  if (error instanceof OperatorError)
    return { fault: 'unavailable', code: error.code, message: error.message, retryAfterMs: undefined }
  throw error
}
