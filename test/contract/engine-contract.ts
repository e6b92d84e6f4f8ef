import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import type { Engine } from '../../src/engine/engine.ts'
import { EdgeError } from '../../src/model/errors.ts'
import type { Secret } from '../../src/model/secret.ts'
import type { ArtifactOrder, Job } from '../../src/model/task.ts'

/** An engine that works, and something for it to do. */
export interface EngineStage extends AsyncDisposable {
  readonly engine: Engine
  /** With at least one manifest, whose content the engine's side can pull. */
  readonly order: ArtifactOrder
  readonly authorization: Secret | undefined
  /** What must not be seen: the credentials of both sides. */
  readonly secrets: readonly string[]
  /** `by-id`: a look asks nobody, and so meets no silence. */
  readonly looks?: 'by-id'
  /** Lets time pass until whatever was submitted has ended where the engine can see it. */
  settle(): Promise<void>
}

const never = new AbortController().signal

/**
 * What every engine must do. Each driver's test file calls this once.
 * @param open an engine that answers
 * @param openDead the same driver where nobody listens
 */
export function describesAnEngine(open: () => Promise<EngineStage>, openDead: () => Promise<EngineStage>): void {
  test('an engine that answers is healthy, and says what it proves', async () => {
    await using stage = await open()

    const health = await stage.engine.health(never)

    expect(health).toEqual({ ok: true, detail: expect.stringMatching(/\w/) })
  })

  test('an engine that nobody answers for is unhealthy, and that is not an error', async () => {
    await using stage = await openDead()

    const health = await stage.engine.health(never)

    expect(health).toEqual({ ok: false, code: 'PH5001', detail: expect.stringContaining('does not answer') })
  })

  test('every manifest of an order has its jobs, with keys of their own, and asking twice gives the same', async () => {
    await using stage = await open()
    const { engine, order } = stage

    const jobs = await engine.jobs(order, never)

    expect(new Set(jobs.map((job) => job.manifest))).toEqual(new Set(order.manifests.map(({ digest }) => digest)))
    expect(new Set(jobs.map((job) => job.key)).size).toBe(jobs.length)
    expect(jobs.every((job) => job.ids.length === 0)).toBe(true)
    expect(await engine.jobs(order, never)).toEqual(jobs)
  })

  test('a job that was submitted ends, and what it claims is among the blobs of its manifest', async () => {
    await using stage = await open()
    const { engine, order } = stage
    const [job] = await engine.jobs(order, never)

    const id = await engine.submit(order, job!, stage.authorization, never)
    await stage.settle()
    const observation = await engine.observe(order, opened(job!, id), never)

    expect(id).toMatch(/^\S+$/)
    expect(observation).toMatchObject({ kind: 'ended', verdict: { said: 'success' } })
    const { evidence } = await engine.abilities(never)
    const claims = observation.kind === 'ended' ? observation.verdict.claims : undefined
    const blobs = order.manifests.find(({ digest }) => digest === job!.manifest)!.blobs.map(({ digest }) => digest)
    if (evidence === 'none') expect(claims).toBeUndefined()
    else expect(blobs).toEqual(expect.arrayContaining([...(claims?.cached ?? ['no claims'])]))
  })

  test('a job that the engine has no record of has ended as gone, and that is not an error', async () => {
    await using stage = await open()
    const [job] = await stage.engine.jobs(stage.order, never)

    const observation = await stage.engine.observe(stage.order, opened(job!, '4242'), never)

    expect(observation).toMatchObject({ kind: 'ended', verdict: { said: 'gone', claims: undefined } })
  })

  test('a submission whose answer was lost is found by nothing but itself', async () => {
    await using stage = await open()
    const { engine, order } = stage
    const [job] = await engine.jobs(order, never)
    expect(await engine.find(order, job!, never)).toBeUndefined()

    const id = await engine.submit(order, job!, stage.authorization, never)

    // An engine that keeps no mark finds nothing.
    expect([id, undefined]).toContain(await engine.find(order, job!, never))
    expect(await engine.find({ ...order, taskId: 'another' }, job!, never)).toBeUndefined()
  })

  test('a probe ends, and what it shows is among the blobs of the manifest', async () => {
    await using stage = await open()
    const { engine, order } = stage
    const [job] = await engine.jobs(order, never)
    await engine.submit(order, job!, stage.authorization, never)
    await stage.settle()
    let probe = await engine.probe(order, job!, undefined, never)

    await expect
      .poll(async () => {
        if (probe.kind === 'open') probe = await engine.probe(order, job!, probe.notes, never)
        return probe.kind
      })
      .toBe('ended')

    const claims = probe.kind === 'ended' ? probe.claims : undefined
    const blobs = order.manifests.find(({ digest }) => digest === job!.manifest)!.blobs.map(({ digest }) => digest)
    expect(blobs).toEqual(expect.arrayContaining([...(claims?.cached ?? [])]))
    expect([undefined, 'observed']).toContain(claims?.source)
  })

  test('silence is unavailable, and its message names the provider and no secret', async () => {
    await using stage = await openDead()
    const { engine, order } = stage
    const job: Job = { key: 'k', manifest: order.digest, cluster: undefined, ids: [], state: 'wanted' }

    const failures = await Promise.all([
      engine.submit(order, job, stage.authorization, never).catch((error: unknown) => error),
      ...(stage.looks === 'by-id'
        ? []
        : [engine.observe(order, opened(job, '1'), never).catch((error: unknown) => error)]),
    ])

    for (const failure of failures) {
      expect(failure).toBeInstanceOf(EdgeError)
      expect(failure).toMatchObject({ fault: 'unavailable', message: expect.stringContaining('provider ') })
      for (const secret of stage.secrets) expect(inspect(failure, { depth: 10 })).not.toContain(secret)
    }
    for (const secret of stage.secrets) expect(inspect(engine, { depth: 10, showHidden: true })).not.toContain(secret)
  })

  test('shutdown is not mistaken for a fault of the engine', async () => {
    await using stage = await open()
    const { engine, order } = stage
    const [job] = await engine.jobs(order, never)
    const reason = new Error('stopping')
    const stopped = AbortSignal.abort(reason)

    await expect(engine.health(stopped)).rejects.toBe(reason)
    await expect(engine.abilities(stopped)).rejects.toBe(reason)
    await expect(engine.jobs(order, stopped)).rejects.toBe(reason)
    await expect(engine.submit(order, job!, stage.authorization, stopped)).rejects.toBe(reason)
    await expect(engine.observe(order, opened(job!, '1'), stopped)).rejects.toBe(reason)
    await expect(engine.find(order, job!, stopped)).rejects.toBe(reason)
    await expect(engine.probe(order, job!, undefined, stopped)).rejects.toBe(reason)
  })

  test('the next look is always later than now, the same for the same question, and comes before a job is overdue', async () => {
    await using stage = await open()
    const { engine, order } = stage
    const submittedAt = Date.parse('2026-11-21T02:00:00.123Z')
    const overdueAt = engine.overdueAt(order, submittedAt)

    let looks = 0
    for (let now = submittedAt; now < overdueAt; now = engine.nextLook(submittedAt, now)) {
      expect(engine.nextLook(submittedAt, now)).toBeGreaterThan(now)
      expect(engine.nextLook(submittedAt, now)).toBe(engine.nextLook(submittedAt, now))
      looks += 1
    }

    expect(looks).toBeGreaterThan(1)
    expect(looks).toBeLessThan(1000)
  })
}

function opened(job: Job, id: string): Extract<Job, { state: 'open' }> {
  const { key, manifest, cluster } = job
  return { key, manifest, cluster, ids: [id], state: 'open', id, submittedAt: 0, lookAt: 0 }
}
