import type { EndedExecution } from '../../src/model/execution.ts'
import type { SettledTask } from '../../src/model/task.ts'
import type { UnsentReport } from '../../src/store/store.ts'
import { artifact, digest, EXAMPLE_AT, execution, order, task } from './examples.ts'

/** A task that ended with evidence for all of its blobs; another state takes the evidence away. */
export function settledTask(overrides: Partial<SettledTask> = {}): SettledTask {
  const { nextAt, ...open } = task()
  const state = overrides.state ?? 'Succeeded'
  return {
    ...open,
    attempts: 1,
    startedAt: nextAt + 500,
    endedAt: EXAMPLE_AT + 95_000,
    evidence:
      state === 'Succeeded'
        ? {
            kind: 'success_tasks',
            source: 'claimed-by-engine',
            observedAt: EXAMPLE_AT + 95_000,
            blobs: 2,
            of: 2,
            peers: 1,
          }
        : undefined,
    missing: [],
    ...overrides,
    state,
  }
}

/** {@link settledTask} of another image. */
export function taskOf(of: string, overrides: Partial<SettledTask> = {}): SettledTask {
  const image = artifact({ repository: `library/${of}`, digest: digest(of) })
  return settledTask({
    id: `20261121T020000Z-3f9a1c07/${of}`,
    subject: image,
    order: order({ repository: image.repository, digest: image.digest }),
    ...overrides,
  })
}

export function endedExecution(overrides: Partial<EndedExecution> = {}): EndedExecution {
  return {
    ...execution(),
    state: 'Ended',
    selection: { digest: digest('selection'), considered: 412, selected: 40, skipped: 37 },
    endedAt: EXAMPLE_AT + 95_250,
    result: 'Success',
    reason: undefined,
    failure: undefined,
    ...overrides,
  }
}

export function unsentReport(overrides: Partial<UnsentReport> = {}): UnsentReport {
  return { execution: endedExecution(), tasks: [settledTask()], previous: undefined, ...overrides }
}

/** An execution that found everything warm, as the one before it did. */
export function idleReport(overrides: Partial<EndedExecution> = {}): UnsentReport {
  return unsentReport({
    execution: endedExecution({ result: 'Skipped', ...overrides }),
    tasks: [],
    previous: { result: 'Success', selectionDigest: digest('selection'), failure: undefined },
  })
}
