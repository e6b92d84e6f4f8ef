import { describe, expect, test } from 'vitest'
import { nextStep } from '../../src/execution/transition.ts'
import { step } from '../../src/execution/step.ts'
import { EdgeError } from '../../src/model/errors.ts'
import type { Digest } from '../../src/model/artifact.ts'
import { isSettled, type OpenTask, type Task } from '../../src/model/task.ts'
import { ManualClock } from '../support/clock.ts'
import { artifact, digest, EXAMPLE_AT, EXAMPLE_FILE, fileOrder, task } from '../support/examples.ts'
import { MemoryEngine, MemorySource } from '../support/ports.ts'

const never = new AbortController().signal

/** A registry that remembers what it was asked for, and answers as it is told. */
class AskedSource extends MemorySource {
  readonly resolved: string[] = []
  readonly authorized: string[] = []
  answer: (tag: string, signal: AbortSignal) => Promise<Digest | undefined> = () => Promise.resolve(digest(1))

  constructor() {
    super([])
  }

  override resolve(repository: string, tag: string, signal: AbortSignal = never): Promise<Digest | undefined> {
    this.resolved.push(`${repository}:${tag}`)
    return this.answer(tag, signal)
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

const tagged = (...tags: string[]) => task({ subject: artifact({ tags }) })

describe('right before an artifact is submitted for the first time', () => {
  test('its tags that point elsewhere by now, or nowhere, are noted, and the digest that was selected is what goes [R6]', async () => {
    const bench = new Bench()
    bench.source.answer = (tag) => Promise.resolve({ latest: digest(2), v1: digest(1) }[tag])

    const settled = await bench.settle(tagged('gone', 'latest', 'v1'))

    expect(settled).toMatchObject({ state: 'Succeeded', movedTags: ['gone', 'latest'], order: { digest: digest(1) } })
    expect(bench.source.resolved).toEqual(['library/app:gone', 'library/app:latest', 'library/app:v1'])
    // With the intent, so that a crash after it forgets nothing.
    expect(bench.saved[0]).toMatchObject({ movedTags: ['gone', 'latest'], jobs: [{ state: 'intended' }] })
  })

  test('nothing is noted where none has moved', async () => {
    expect(await new Bench().settle(tagged('v1'))).not.toHaveProperty('movedTags')
  })

  test('at most ten tags are asked for', async () => {
    const bench = new Bench()
    await bench.step(tagged(...Array.from({ length: 12 }, (_, index) => `v${index}`)))
    expect(bench.source.resolved).toHaveLength(10)
  })

  test('a registry that does not say fails nothing, and nothing is claimed of that tag', async () => {
    const bench = new Bench()
    const silence = new EdgeError('unavailable', 'PH6001', 'no answer')
    bench.source.answer = (tag) => (tag === 'v1' ? Promise.reject(silence) : Promise.resolve(digest(2)))

    expect(await bench.settle(tagged('latest', 'v1'))).toMatchObject({ state: 'Succeeded', movedTags: ['latest'] })
    expect(bench.source.resolved).toHaveLength(2)
  })

  test('a registry that hangs is not waited for, and let go', async () => {
    const bench = new Bench()
    let letGo: AbortSignal | undefined
    bench.source.answer = (_tag, signal) => {
      letGo = signal
      return new Promise(() => undefined)
    }

    const stepped = bench.step(tagged('v1'))
    await expect.poll(() => bench.clock.nextWake).toBe(EXAMPLE_AT + 2_000)
    bench.clock.advance(2_000)

    expect(await stepped).toMatchObject({ state: 'Running', jobs: [{ state: 'open' }] })
    expect(letGo?.aborted).toBe(true)
  })

  test('a shutdown does not wait for the registry either', async () => {
    const bench = new Bench()
    bench.source.answer = () => new Promise(() => undefined)
    const shutdown = new AbortController()
    const reason = new Error('shutdown')

    const stepped = bench.step(tagged('v1'), shutdown.signal)
    await expect.poll(() => bench.clock.nextWake).toBeDefined()
    shutdown.abort(reason)

    await expect(stepped).rejects.toBe(reason)
    expect(bench.engine.submitted).toEqual([])
  })

  test('a second round does not ask again', async () => {
    const bench = new Bench()
    const planned = await bench.step(tagged('v1'))
    const job = planned.jobs[0]!
    const again: OpenTask = { ...(planned as OpenTask), state: 'Pending', jobs: [{ ...job, state: 'wanted' }] }
    await bench.step(again)
    expect(bench.source.resolved).toHaveLength(1)
    expect(bench.engine.submitted).toHaveLength(2)
  })

  test.each(['look', 'heal'] as const)('what is kept up by a %s is not asked for', async (purpose) => {
    const bench = new Bench()
    const next = await bench.step({ ...tagged('v1'), purpose })
    expect(nextStep(next as OpenTask)).toMatchObject({ kind: 'probe' })
    expect(bench.source.resolved).toEqual([])
  })
})

describe('a file', () => {
  const file = task({ subject: { file: EXAMPLE_FILE }, order: fileOrder(), sizeBytes: undefined })

  test('is submitted without asking the registry for anything, and succeeds by the evidence of its URL', async () => {
    const bench = new Bench()
    expect(await bench.settle(file)).toMatchObject({ state: 'Succeeded', evidence: { blobs: 1, of: 1 }, missing: [] })
    expect([...bench.source.authorized, ...bench.source.resolved]).toEqual([])
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
