import pLimit from 'p-limit'
import { expect, test } from 'vitest'
import { TOKEN, type DragonflyOptions } from '../doubles/dragonfly.ts'
import { PULL_TOKEN, dragonflyEngine, dragonflyStage, never, opened, type DragonflyStage } from '../support/engine.ts'
import type { Engine, Observation } from '../../src/engine/engine.ts'
import type { Job, Order } from '../../src/model/task.ts'

const MANY = 1000
const fast = { limits: { submitsInFlight: 32, requestsPerSecond: 1000 } }

type OpenJob = Extract<Job, { state: 'open' }>

/** A manager with many jobs, and a driver at the usual pace that has submitted none of them. */
async function withMany(
  options: DragonflyOptions,
): Promise<DragonflyStage & { jobs: readonly Asked[]; usual: Engine }> {
  const stage = await dragonflyStage({ requestsPerSecond: 1000, ...options }, fast)
  const [job] = await stage.engine.jobs(stage.order, never)
  const jobs = await Promise.all(
    Array.from({ length: MANY }, async (_, i): Promise<Asked> => {
      const order = { ...stage.order, taskId: `20261121T020000Z-3f9a1c07/${i}` }
      return { order, job: opened(job!, await stage.engine.submit(order, job!, PULL_TOKEN, never)) }
    }),
  )
  stage.manager.requests.length = 0
  const usual = dragonflyEngine({ endpoint: stage.manager.endpoint })
  return {
    ...stage,
    jobs,
    usual,
    async [Symbol.asyncDispose]() {
      await usual[Symbol.asyncDispose]()
      await stage[Symbol.asyncDispose]()
    },
  }
}

interface Asked {
  readonly order: Order
  readonly job: OpenJob
}

test('a thousand looks at once are a handful of requests, and one request where rows were seen to be short', async () => {
  await using stage = await withMany({ looksMs: [0, 3_600_000], jobMs: 1_000 })

  const seen = await Promise.all(stage.jobs.map(({ order, job }) => stage.usual.observe(order, job, never)))

  expect(seen).toEqual(Array.from({ length: MANY }, (): Observation => ({ kind: 'open' })))
  expect(stage.manager.requests).toHaveLength(4)

  for (const requests of [2, 1, 1]) {
    stage.manager.requests.length = 0
    const lookAt = Date.now() + 1
    await expect.poll(() => Date.now()).toBeGreaterThan(lookAt)
    await Promise.all(stage.jobs.map(({ order, job }) => stage.usual.observe(order, { ...job, lookAt }, never)))
    expect(stage.manager.requests).toHaveLength(requests)
  }
})

test('so are a thousand looks that come sixteen at a time, and each is told its own job', async () => {
  await using stage = await withMany({})
  const sixteen = pLimit(16)

  const seen = await Promise.all(
    stage.jobs.map(({ order, job }) => sixteen(() => stage.usual.observe(order, job, never))),
  )

  expect(seen.every((one) => one.kind === 'ended' && one.verdict.said === 'success')).toBe(true)
  expect(stage.manager.requests.length).toBeLessThan(30)
})

test('a row from a list that was read before its look was due is asked for again', async () => {
  await using stage = await withMany({ looksMs: [0, 3_600_000], jobMs: 1_000 })
  await Promise.all(stage.jobs.map(({ order, job }) => stage.usual.observe(order, job, never)))
  const before = stage.manager.requests.length
  const { order, job } = stage.jobs[0]!

  await stage.usual.observe(order, { ...job, lookAt: Date.now() + 1000 }, never)

  expect(stage.manager.requests.slice(before)).toEqual([`GET /oapi/v1/jobs/${job.id}`])
})

test('those that the list does not have are asked for by id', async () => {
  await using stage = await dragonflyStage({}, fast)
  const [job] = await stage.engine.jobs(stage.order, never)

  const seen = await Promise.all(
    Array.from({ length: 20 }, (_, i) => stage.engine.observe(stage.order, opened(job!, `${i + 1}`), never)),
  )

  expect(seen.every((one) => one.kind === 'ended' && one.verdict.said === 'gone')).toBe(true)
  expect(stage.manager.requests.filter((line) => line.startsWith('GET /oapi/v1/jobs/'))).toHaveLength(20)
})

test('a list that is refused is a fault of every look that waited for it, and the next look is a new one', async () => {
  await using stage = await dragonflyStage({}, fast)
  const [job] = await stage.engine.jobs(stage.order, never)
  const id = await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)
  stage.manager.troubleNext(1, 'GET', { kind: 'answer', status: 502, body: '' })
  const look = () => stage.engine.observe(stage.order, opened(job!, id), never)

  const seen = await Promise.allSettled(Array.from({ length: 20 }, look))

  expect(seen.every((one) => one.status === 'rejected')).toBe(true)
  expect(await look()).toMatchObject({ kind: 'ended' })
})

test('a list does not tell clusters: a job that names none is asked for by id once it has ended', async () => {
  const clusters = [
    { id: 2, name: 'eu-1' },
    { id: 7, name: 'us-1' },
  ]
  const narrow = [{ token: TOKEN, scopes: ['job'] }]
  await using stage = await dragonflyStage({ clusters, tokens: narrow }, fast)
  stage.manager.outcome = (_, id) => (id === 7 ? { kind: 'failure', error: 'boom' } : { kind: 'complete' })
  const [job] = await stage.engine.jobs(stage.order, never)
  const id = await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)

  const seen = await Promise.all(
    Array.from({ length: 20 }, () => stage.engine.observe(stage.order, opened(job!, id), never)),
  )

  // Of the cluster that failed there are no lists, and only its name says that it was meant.
  expect(seen.every((one) => one.kind === 'ended' && one.verdict.claims?.cached.length === 0)).toBe(true)
})
