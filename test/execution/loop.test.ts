import { expect, test } from 'vitest'
import { TaskLoop, type Limits } from '../../src/execution/loop.ts'
import { EdgeError } from '../../src/model/errors.ts'
import type { Event } from '../../src/model/events.ts'
import type { OpenTask, SettledTask } from '../../src/model/task.ts'
import type { Store } from '../../src/store/store.ts'
import { ManualClock } from '../support/clock.ts'
import { artifactOrderOf, EXAMPLE_AT, execution, order, provider, snapshot, target, task } from '../support/examples.ts'
import { MemoryEngine, MemorySource } from '../support/ports.ts'
import { passed } from '../support/pump.ts'
import { describeOnEachStore, watched, type NewPlace } from '../support/stores.ts'

const never = new AbortController().signal
const id = execution().id

interface Bench extends AsyncDisposable {
  readonly store: Store
  readonly clock: ManualClock
  readonly engines: ReadonlyMap<string, MemoryEngine>
  readonly events: Event[]
  readonly settled: string[]
  /** What the store is at. */
  readonly work: () => Promise<unknown> | undefined
  /** What ending an execution waits for. */
  ending: () => Promise<void>
  loop(limits?: Partial<Limits>): TaskLoop
}

/** A store with one running execution of these tasks, and an engine in memory for each provider that they name. */
async function benchOn(newPlace: NewPlace, tasks: readonly OpenTask[]): Promise<Bench> {
  const place = await newPlace()
  const { store, work } = watched(await place.open())
  const names = [...new Set(tasks.map((one) => one.provider))]
  const engines = new Map(names.map((name) => [name, new MemoryEngine()]))
  const source = new MemorySource([])
  const clock = new ManualClock(EXAMPLE_AT)
  const begun = execution({
    snapshot: snapshot({ targets: names.map((name) => target({ provider: provider({ name }) })) }),
  })
  await store.begin(begun, {})
  await store.selected(
    { ...begun, state: 'Running', selection: { digest: 'sha256:0', considered: 1, selected: 1, skipped: 0 } },
    tasks,
  )
  const events: Event[] = []
  const settled: string[] = []
  const one: Bench = {
    store,
    clock,
    engines,
    events,
    settled,
    work,
    ending: () => Promise.resolve(),
    loop: (limits = {}) =>
      new TaskLoop({
        store,
        drivers: { engine: ({ name }) => Promise.resolve(engines.get(name)!), source: () => Promise.resolve(source) },
        limits: { requests: 64, submitsInFlight: () => 16, openArtifacts: () => 300, ...limits },
        clock,
        emit: (event) => events.push(event),
        random: () => 0,
        scrub: (text) => text.replaceAll('s3cret', '[secret]'),
        answers: (name) =>
          engines
            .get(name)!
            .health()
            .then(({ ok }) => ok),
        onExecutionSettled: (executionId) => {
          settled.push(executionId)
          return one.ending()
        },
      }),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await place[Symbol.asyncDispose]()
    },
  }
  return one
}

function tasks(count: number, overrides: Partial<OpenTask> = {}): OpenTask[] {
  return Array.from({ length: count }, (_, i) => {
    const taskId = `${id}-${overrides.provider ?? ''}${String(i).padStart(5, '0')}`
    return task({ id: taskId, order: order({ taskId }), ledgerKey: taskId, ...overrides })
  })
}

/** Runs the loop until nothing is due, moving the clock to whatever is due next, until no task is open. */
async function runToTheEnd({ store, clock }: Bench, loop: TaskLoop): Promise<void> {
  for (;;) {
    await loop.run((nextDueAt) => nextDueAt === undefined || nextDueAt > clock.now(), never, never)
    const next = await store.nextDueAt()
    if (next === undefined) return
    clock.set(Math.max(next, clock.now()))
  }
}

async function states({ store }: Bench): Promise<string[]> {
  return (await store.tasks(id)).map(({ state }) => state)
}

/** As long as it takes for everything else that can go on to go on. */
async function turnOfTheLoop(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
}

/** As {@link runToTheEnd}, for a loop that limits hold back: it sleeps on the owned clock while work is due. */
async function runHeldBack(one: Bench, loop: TaskLoop): Promise<void> {
  const stop = new AbortController()
  const running = loop.run(() => false, stop.signal, never)
  await until(async () => (await one.store.nextDueAt()) === undefined, one)
  stop.abort(new Error('done'))
  await running
}

/** Moves the clock from sleeper to sleeper until it is so. */
async function until(isSo: () => Promise<boolean>, { clock, work }: Bench): Promise<void> {
  for (let moves = 0; moves < 10_000;) {
    if (await isSo()) return
    if (await passed(clock, work)) moves++
  }
  throw new Error('it never came to be so')
}

function stopped({ nextAt: _, ...task }: OpenTask): SettledTask {
  return { ...task, state: 'Stopped', endedAt: 0, evidence: undefined, missing: [] }
}

describeOnEachStore((newPlace) => {
  const bench = (tasks: readonly OpenTask[]) => benchOn(newPlace, tasks)

  test('every task is submitted once, looked at and settled with evidence, and the execution is told so', async () => {
    await using one = await bench(tasks(20))

    await runToTheEnd(one, one.loop())

    expect(await states(one)).toEqual(Array.from({ length: 20 }, () => 'Succeeded'))
    expect(one.engines.get('dragonfly-eu')!.submitted).toHaveLength(20)
    expect(new Set(one.settled)).toEqual(new Set([id]))
    expect(await one.store.warm(tasks(20).map(({ ledgerKey }) => ledgerKey))).toHaveLength(20)
  })

  test('an execution that takes a while to end keeps no other task waiting, and the loop waits for its end', async () => {
    await using one = await bench(tasks(1))
    const later = execution({ id: '20261121T030000Z-00000002', snapshot: snapshot() })
    const [of] = tasks(1, { executionId: later.id, provider: 'dragonfly-eu' })
    let release: () => void = () => undefined
    const released = new Promise<void>((resolve) => (release = resolve))
    one.ending = () => released
    const stop = new AbortController()
    let isOver = false
    const running = one
      .loop()
      .run(() => false, stop.signal, never)
      .then(() => (isOver = true))
    await until(() => Promise.resolve(one.settled.includes(id)), one)

    await one.store.begin(later, {})
    const selection = { digest: 'sha256:0', considered: 1, selected: 1, skipped: 0 }
    await one.store.selected({ ...later, state: 'Running', selection }, [of!])
    await until(() => Promise.resolve(one.settled.includes(later.id)), one)
    stop.abort(new Error('enough'))
    await turnOfTheLoop()
    expect(isOver).toBe(false)

    release()
    await running
    expect(one.settled).toEqual([id, later.id])
  })

  test('a hung engine does not delay another engine’s tasks [E3]', async () => {
    await using one = await bench([...tasks(40, { provider: 'hung' }), ...tasks(40, { provider: 'well' })])
    let release: () => void = () => undefined
    const released = new Promise<void>((resolve) => (release = resolve))
    one.engines.get('hung')!.gate = () => released
    const loop = one.loop({ requests: 8 })
    const stop = new AbortController()

    const running = loop.run(() => false, stop.signal, never)
    await until(() => Promise.resolve(one.engines.get('well')!.submitted.length === 40), one)

    expect(one.engines.get('hung')!.submitted).toEqual([])
    stop.abort(new Error('enough'))
    release()
    await running
  })

  test('no more submissions of a provider are under way than its submitsInFlight', async () => {
    await using one = await bench(tasks(30))

    await runToTheEnd(one, one.loop({ submitsInFlight: () => 3 }))

    expect(one.engines.get('dragonfly-eu')!.mostInFlight).toBeLessThanOrEqual(3)
    expect(new Set(one.settled)).toEqual(new Set([id]))
  })

  test('requests leave room for every provider: none gets more than its share', async () => {
    await using one = await bench([...tasks(20, { provider: 'a' }), ...tasks(20, { provider: 'b' })])
    for (const engine of one.engines.values()) engine.gate = turnOfTheLoop

    await runToTheEnd(one, one.loop({ requests: 12 }))

    expect([...one.engines.values()].map(({ mostInFlight }) => mostInFlight)).toEqual([3, 3])
  })

  test('tasks that are being begun count among the artifacts that engines may pull', async () => {
    await using one = await bench(tasks(12))
    const engine = one.engines.get('dragonfly-eu')!
    const jobs = engine.jobs.bind(engine)
    let asking = 0
    let most = 0
    engine.jobs = async (of) => {
      most = Math.max(most, ++asking)
      await turnOfTheLoop()
      asking--
      return await jobs(of)
    }

    await runHeldBack(one, one.loop({ openArtifacts: () => 5 }))

    expect(most).toBe(5)
  })

  test('engines are never pulling more artifacts from a registry at once than its openArtifacts', async () => {
    await using one = await bench(tasks(12))
    const loop = one.loop({ openArtifacts: () => 5 })
    let most = 0
    const engine = one.engines.get('dragonfly-eu')!
    engine.gate = async () => {
      most = Math.max(most, await one.store.openArtifacts('harbor'))
    }

    const running = runHeldBack(one, loop)
    await running

    expect(most).toBeLessThanOrEqual(5)
    expect(engine.submitted).toHaveLength(12)
  })

  test('an engine that does not answer looks is asked again and no job is submitted twice', async () => {
    await using one = await bench(tasks(3))
    const engine = one.engines.get('dragonfly-eu')!
    const answer = engine.observation
    let silences = 4
    engine.observation = (of, job) =>
      silences-- > 0 ? new EdgeError('unavailable', 'PH5001', 'no answer') : answer(of, job)

    await runToTheEnd(one, one.loop())

    expect(await states(one)).toEqual(['Succeeded', 'Succeeded', 'Succeeded'])
    expect(engine.submitted).toHaveLength(3)
  })

  test('an intent that was cut off is looked for on the engine, and not submitted again where it is found [K2] [K3] [K4] [E4]', async () => {
    const [first, second] = tasks(2)
    const cut = (one: OpenTask): OpenTask => ({
      ...one,
      state: 'Submitting',
      attempts: 1,
      jobs: [
        {
          key: `${artifactOrderOf(one).manifests[0]!.digest}@all`,
          manifest: artifactOrderOf(one).manifests[0]!.digest,
          cluster: undefined,
          ids: [],
          state: 'intended',
        },
      ],
    })
    await using one = await bench([cut(first!), cut(second!)])
    const engine = one.engines.get('dragonfly-eu')!
    engine.lost.set(first!.id, '17')

    await runToTheEnd(one, one.loop())

    expect(await states(one)).toEqual(['Succeeded', 'Succeeded'])
    expect(engine.submitted.map(({ taskId }) => taskId)).toEqual([second!.id])
    expect((await one.store.tasks(id))[0]?.jobs[0]?.ids).toEqual(['17'])
  })

  test('a provider that stopped answering is left alone, its tasks spend nothing, and go on when it answers [E2]', async () => {
    await using one = await bench([...tasks(40, { provider: 'silent' }), ...tasks(5, { provider: 'well' })])
    const silent = one.engines.get('silent')!
    const silence = new EdgeError('unavailable', 'PH5001', 'no answer')
    let asked = 0
    let isWell = false
    const jobs = silent.jobs.bind(silent)
    silent.jobs = (of) => {
      asked++
      return isWell ? jobs(of) : Promise.reject(silence)
    }
    silent.health = () => Promise.resolve(isWell ? { ok: true, detail: '' } : { ok: false, code: 'PH5001', detail: '' })
    const loop = one.loop({ submitsInFlight: () => 2 })
    const stop = new AbortController()
    const running = loop.run(() => false, stop.signal, never)

    await until(() => Promise.resolve(one.clock.now() > EXAMPLE_AT + 600_000), one)
    expect(asked).toBeLessThan(10)
    expect(loop.silentProviders()).toEqual(['silent'])
    expect((await one.store.tasks(id)).filter((t) => t.provider === 'well').map(({ state }) => state)).not.toContain(
      'Pending',
    )

    isWell = true
    await until(async () => (await one.store.nextDueAt()) === undefined, one)
    stop.abort(new Error('done'))
    await running
    expect(await states(one)).toEqual(Array.from({ length: 45 }, () => 'Succeeded'))
    expect(loop.silentProviders()).toEqual([])
    expect(
      one.events.flatMap((event) => (event.name === 'provider.circuit' ? [event.openUntil === undefined] : [])),
    ).toEqual(expect.arrayContaining([false, true]))
  })

  test('a secret that an engine sends back is masked before it is saved [S2]', async () => {
    await using one = await bench(tasks(1, { retry: { attempts: 1, backoffMs: 1 } }))
    one.engines.get('dragonfly-eu')!.observation = () => ({
      kind: 'ended',
      verdict: { said: 'failure', claims: undefined, message: 'you sent s3cret' },
    })

    await runToTheEnd(one, one.loop())

    const [settled] = await one.store.tasks(id)
    expect(settled?.error?.message).toBe('you sent [secret]')
    expect(JSON.stringify(settled)).not.toContain('s3cret')
  })

  test('on a stop, what is under way is finished and saved, and nothing new is begun', async () => {
    await using one = await bench(tasks(6))
    const stop = new AbortController()
    const engine = one.engines.get('dragonfly-eu')!
    engine.gate = async () => {
      stop.abort(new Error('stopping'))
      await turnOfTheLoop()
    }

    await one.loop({ submitsInFlight: () => 2 }).run(() => false, stop.signal, never)

    const saved = (await one.store.tasks(id)).flatMap(({ jobs }) => jobs.flatMap((job) => job.ids))
    expect(saved.sort()).toEqual(engine.submitted.map((job) => job.id).sort())
    expect(engine.submitted.length).toBeLessThanOrEqual(2)
  })

  test('a bug of ours ends the loop and is not passed off as the engine’s fault', async () => {
    await using one = await bench(tasks(1))
    const bug = new RangeError('ours')
    one.engines.get('dragonfly-eu')!.jobs = () => Promise.reject(bug)

    await expect(one.loop().run(() => false, never, never)).rejects.toBe(bug)
  })

  test('a step that takes longer than a lease keeps its task, as long as its worker lives', async () => {
    await using one = await bench(tasks(1))
    let release: () => void = () => undefined
    const released = new Promise<void>((resolve) => (release = resolve))
    one.engines.get('dragonfly-eu')!.gate = () => released
    const stop = new AbortController()
    const running = one.loop().run(() => false, stop.signal, never)
    const begun = one.clock.now()
    await until(() => Promise.resolve(one.clock.now() > begun + 120_000), one)

    const which = { provider: 'dragonfly-eu', registry: 'harbor', kind: 'submitting' } as const
    const caps = { submitsInFlight: 9, openArtifacts: 9 }
    expect(await one.store.claim(which, 9, caps, one.clock.now(), 1)).toEqual([])

    release()
    await until(async () => (await one.store.nextDueAt()) === undefined, one)
    stop.abort(new Error('done'))
    await running
    expect(await states(one)).toEqual(['Succeeded'])
  })

  test('what a worker finds out of a task that was taken over is dropped, and the loop goes on', async () => {
    await using one = await bench(tasks(2))
    const [first] = tasks(2)
    const engine = one.engines.get('dragonfly-eu')!
    engine.gate = async (order) => {
      if (order.taskId === first!.id) await one.store.giveUp(id, stopped)
    }

    await runToTheEnd(one, one.loop())

    expect(await states(one)).toEqual(['Stopped', 'Stopped'])
  })
})
