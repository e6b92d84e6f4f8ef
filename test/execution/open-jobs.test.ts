import { setMaxListeners } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Closers } from '../../src/closers.ts'
import { TaskLoop } from '../../src/execution/loop.ts'
import type { OpenTask } from '../../src/model/task.ts'
import { FakeDragonfly, type Trouble } from '../doubles/dragonfly.ts'
import { ManualClock } from '../support/clock.ts'
import { dragonflyEngine } from '../support/engine.ts'
import { EXAMPLE_AT, execution, fileOrder, provider, snapshot, target, task } from '../support/examples.ts'
import { MemorySource } from '../support/ports.ts'
import { describeOnEachStore, watched, type NewPlace } from '../support/stores.ts'
import { parseFileUrl } from '../../src/model/artifact.ts'

const id = execution().id
const limits = { submitsInFlight: 16, requestsPerSecond: 10 }
/** All of them were submitted in so long, and the manager looks at none of them before. */
const SUBMITTED_IN_MS = 25_000

interface Killed extends AsyncDisposable {
  readonly clock: ManualClock
  readonly dragonfly: FakeDragonfly
  readonly asked: { readonly at: number; readonly request: string }[]
  /** What goes wrong with the next request. */
  trouble: () => Trouble | undefined
  /** When the first of the jobs is to be looked at. */
  readonly firstLookAt: number
  /** Begins the daemon's part in it anew. */
  start(): Promise<Life>
  /** Lets time pass, from one sleeper to the next, never while something is asked, answered or stored. */
  until(isSo: () => boolean | Promise<boolean>): Promise<void>
}

interface Life extends AsyncDisposable {
  readonly isDone: () => Promise<boolean>
  /** How many tasks are in which state. */
  states(): Promise<Record<string, number>>
}

/** What a killed daemon left: so many jobs open at a manager, some of them just being looked at. */
async function killedOn(newPlace: NewPlace, jobs: number): Promise<Killed> {
  const closers = new Closers()
  const place = closers.use(await newPlace())
  const clock = new ManualClock(EXAMPLE_AT - SUBMITTED_IN_MS)
  const dragonfly = closers.use(await FakeDragonfly.start({ now: () => clock.now() }))
  const declared = provider({ endpoint: dragonfly.endpoint, limits })
  const tasks: OpenTask[] = []
  for (let i = 0; i < jobs; i++) {
    const submittedAt = EXAMPLE_AT - SUBMITTED_IN_MS + Math.floor((i * SUBMITTED_IN_MS) / jobs)
    clock.set(submittedAt)
    const taskId = `${id}-${String(i).padStart(5, '0')}`
    const file = parseFileUrl(`https://models.example.com/${i}.gguf`)
    const job = `${await dragonfly.take(`preheatd/${taskId}/file@1`, file)}`
    const lookAt = submittedAt + 30_250
    tasks.push(
      task({
        id: taskId,
        subject: { file },
        order: fileOrder({ taskId, file }),
        ledgerKey: taskId,
        attempts: 1,
        startedAt: submittedAt,
        state: 'Running',
        nextAt: lookAt,
        jobs: [
          {
            key: 'file@1',
            manifest: undefined,
            cluster: { id: '1', name: 'cluster-1' },
            ids: [job],
            state: 'open',
            id: job,
            submittedAt,
            lookAt,
          },
        ],
      }),
    )
  }
  clock.set(EXAMPLE_AT)
  const begun = execution({ snapshot: snapshot({ targets: [target({ provider: declared })] }) })
  {
    await using store = await place.open()
    await store.begin(begun, {})
    const selection = { digest: 'sha256:0', considered: jobs, selected: jobs, skipped: 0 }
    await store.selected({ ...begun, state: 'Running', selection }, tasks)
    const which = { provider: declared.name, registry: 'harbor', kind: 'running' } as const
    await store.claim(which, 16, { submitsInFlight: 16, openArtifacts: 300 }, EXAMPLE_AT + 60_000, 30_000)
  }
  let busy: () => Promise<unknown> | undefined = () => undefined
  const left: Killed = {
    clock,
    dragonfly,
    asked: [],
    trouble: () => undefined,
    firstLookAt: tasks[0]!.nextAt,
    async start() {
      const life = new Closers()
      const { store, work } = watched(life.use(await place.open()))
      busy = work
      await store.releaseLeases()
      const engine = life.use(dragonflyEngine({ endpoint: dragonfly.endpoint, limits }, clock))
      const source = new MemorySource([])
      const loop = new TaskLoop({
        store,
        drivers: { engine: () => Promise.resolve(engine), source: () => Promise.resolve(source) },
        limits: { requests: 64, submitsInFlight: () => 16, openArtifacts: () => 300 },
        clock,
        emit: () => undefined,
        random: () => 0,
        scrub: (text) => text,
        answers: async (_name, signal) => (await engine.health(signal)).ok,
        onExecutionSettled: () => Promise.resolve(),
      })
      const stop = new AbortController()
      setMaxListeners(0, stop.signal)
      const running = loop.run(() => false, stop.signal, stop.signal)
      life.use({
        async [Symbol.asyncDispose]() {
          stop.abort(new Error('the test is over'))
          await running
        },
      })
      return {
        isDone: async () => (await store.openArtifacts('harbor')) === 0,
        async states() {
          const counts: Record<string, number> = {}
          for (const { state } of await store.tasks(id)) counts[state] = (counts[state] ?? 0) + 1
          return counts
        },
        [Symbol.asyncDispose]: () => life[Symbol.asyncDispose](),
      }
    },
    async until(isSo) {
      while (!(await isSo())) {
        let before
        do {
          before = left.asked.length
          for (let i = 0; i < 10; i++) await turn()
          for (let work = busy(); work !== undefined; work = busy()) await work
        } while (left.asked.length !== before)
        if (clock.nextWake !== undefined) clock.set(clock.nextWake)
      }
    },
    [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
  }
  dragonfly.trouble = (request) => {
    left.asked.push({ at: clock.now(), request })
    return left.trouble()
  }
  return left
}

/** The most requests in any second. */
function mostInASecond(asked: Killed['asked']): number {
  let first = 0
  return asked.reduce((most, { at }, last) => {
    while (asked[first]!.at <= at - 1_000) first++
    return Math.max(most, last - first + 1)
  }, 0)
}

describeOnEachStore((newPlace, kind) => {
  const killedWith = (jobs: number) => killedOn(newPlace, jobs)
  // Each job costs PostgreSQL some ten statements, one after another: 5,000 of them take a minute.
  const many = { embedded: 5_000, postgres: 1_000 }[kind]

  test(
    'killed with 10,000 jobs open, it asks about each when it is time, and submits none again [K5]',
    { timeout: 120_000 },
    async () => {
      await using left = await killedWith(10_000)
      const before = process.cpuUsage()

      await using life = await left.start()
      await left.until(() => left.clock.now() > EXAMPLE_AT)
      const { user, system } = process.cpuUsage(before)
      const whileEarly = left.asked.length
      await left.until(() => left.clock.now() > EXAMPLE_AT + 10_000)

      // Of this process: the machine may be busy with others.
      expect((user + system) / 1_000).toBeLessThan(2_000)
      expect(left.asked[0]!.at).toBeGreaterThanOrEqual(left.firstLookAt)
      expect(whileEarly).toBe(0)
      expect(left.dragonfly.posts).toEqual([])
      const { Running = 0, Succeeded = 0, ...others } = await life.states()
      expect(Succeeded).toBeGreaterThan(0)
      expect([Running + Succeeded, others]).toEqual([10_000, {}])
    },
  )

  test(
    'an engine that is away for ten minutes with thousands of jobs open meets no storm when it is back, and gets none of them again [E12]',
    { timeout: 120_000 },
    async () => {
      await using left = await killedWith(many)
      left.trouble = () => ({ kind: 'cut' })
      await using life = await left.start()
      await left.until(() => left.clock.now() >= EXAMPLE_AT + 600_000)
      const whileAway = left.asked.splice(0)

      left.trouble = () => undefined
      await left.until(life.isDone)

      expect(whileAway.length).toBeLessThan(100)
      // Its limit, and the burst of one second's worth that it allows.
      expect(mostInASecond(left.asked)).toBeLessThanOrEqual(2 * limits.requestsPerSecond)
      expect(left.dragonfly.posts).toEqual([])
      expect(await life.states()).toEqual({ Succeeded: many })
    },
  )

  test(
    'bursts of 500, 502, 503 and 504 end no job, and have none submitted again [E2]',
    { timeout: 60_000 },
    async () => {
      await using left = await killedWith(200)
      let refused = 0
      left.trouble = () => {
        if (Math.floor(left.asked.length / 3) % 2 === 1) return undefined
        return { kind: 'answer', status: [500, 502, 503, 504][refused++ % 4]!, body: '<html>' }
      }

      await using life = await left.start()
      await left.until(life.isDone)

      expect(refused).toBeGreaterThan(4)
      expect(left.dragonfly.posts).toEqual([])
      expect(await life.states()).toEqual({ Succeeded: 200 })
    },
  )
})
