import { describe, expect, test } from 'vitest'
import { step } from '../../src/execution/step.ts'
import { isSettled, type OpenTask, type Task } from '../../src/model/task.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT, EXAMPLE_FILE, fileOrder, task } from '../support/examples.ts'
import { MemoryEngine, MemorySource } from '../support/ports.ts'

const never = new AbortController().signal

/** A registry that remembers what it was asked for, and answers as it is told. */
class AskedSource extends MemorySource {
  readonly authorized: string[] = []

  constructor() {
    super([])
  }

  override authorize(repository?: string): Promise<undefined> {
    this.authorized.push(`${repository}`)
    return super.authorize()
  }
}

class Bench {
  readonly source = new AskedSource()
  readonly engine = new MemoryEngine()
  readonly clock = new ManualClock(EXAMPLE_AT)
  readonly saved: Task[] = []

  async step(one: OpenTask, signal = never): Promise<Task> {
    const { source, engine, clock } = this
    const store = {
      saveStep: (saved: Task) => {
        this.saved.push(saved)
        return Promise.resolve()
      },
    }
    return await step(one, { source, engine, clock, store, random: () => 0 }, signal)
  }

  /** Step after step, at once, until it settles. */
  async settle(one: OpenTask): Promise<Task> {
    let next: Task = one
    for (let steps = 0; !isSettled(next) && steps < 20; steps++) next = await this.step(next)
    return next
  }
}

describe('a file', () => {
  const file = task({ subject: { file: EXAMPLE_FILE }, order: fileOrder(), sizeBytes: undefined })

  test('is submitted without asking the registry for anything, and succeeds by the evidence of its URL', async () => {
    const bench = new Bench()
    expect(await bench.settle(file)).toMatchObject({ state: 'Succeeded', evidence: { blobs: 1, of: 1 }, missing: [] })
    expect(bench.source.authorized).toEqual([])
  })

  test('that was not cached is missing by its URL', async () => {
    const bench = new Bench()
    const claims = { kind: 'success_tasks', source: 'claimed-by-engine', cached: [], peers: 0 } as const
    bench.engine.observation = () => ({ kind: 'ended', verdict: { said: 'success', claims, message: undefined } })
    expect(await bench.settle({ ...file, retry: { attempts: 1, backoffMs: 0 } })).toMatchObject({
      state: 'Failed',
      error: { code: 'PH5003' },
      evidence: { blobs: 0, of: 1 },
      missing: [EXAMPLE_FILE],
    })
  })
})

test('an artifact is pulled with what the registry mints for it [E13]', async () => {
  const bench = new Bench()
  await bench.settle(task())
  expect(bench.source.authorized).toEqual(['library/app'])
})
