import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EdgeError } from '../src/model/errors.ts'
import { describeDaemonsOnEachStore } from './support/daemon.ts'
import { candidate, digest } from './support/examples.ts'

const { signal } = new AbortController()
const ADA = { by: 'ada', reason: 'incident' }
const QUESTION = {
  reference: { name: 'library/app', tag: 'v1', digest: undefined },
  provider: undefined,
  waitMs: 0,
} as const

describeDaemonsOnEachStore((place) => {
  test('people who ask what is warm make an engine look four times at once, and submit nothing', async () => {
    await using one = await place({})
    const looks: (() => void)[] = []
    one.engine.probe = () =>
      new Promise((resolve) => {
        looks.push(() => {
          resolve({ kind: 'ended', claims: undefined })
        })
      })
    const answers = Promise.all(Array.from({ length: 9 }, () => one.operations.warm(QUESTION, signal)))

    await one.until(() => looks.length === 4)
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
    expect(looks).toHaveLength(4)
    for (let answered = 0; answered < 9; answered++) {
      await one.until(() => looks.length > answered)
      looks[answered]!()
    }

    for (const answer of await answers)
      expect(answer).toMatchObject({
        warm: false,
        providers: [{ name: 'eu', reason: expect.stringContaining('looked at') }],
      })
    expect(one.engine.submitted).toEqual([])
  })

  test('a provider that stopped answering is not asked what is warm, either', async () => {
    const artifacts = [candidate(), candidate({ repository: 'library/web', name: 'web', digest: digest(2) })]
    await using one = await place({ retry: { attempts: 9, backoff: '1s' } }, artifacts)
    one.engine.gate = () => Promise.reject(new EdgeError('unavailable', 'PH5001', 'no answer'))
    let looks = 0
    one.engine.probe = () => {
      looks++
      return Promise.resolve({ kind: 'ended', claims: undefined })
    }
    await one.operations.begin('release', ADA)
    await one.until(() => one.daemon.silentUntil().size > 0)

    const { providers } = await one.operations.warm(QUESTION, signal)

    expect(providers[0]).toMatchObject({
      warm: false,
      reason: expect.stringContaining('provider eu stopped answering'),
    })
    expect(looks).toBe(0)
  })

  test('a provider that stopped answering stands in status.yaml, and does so no more once it answers', async () => {
    const artifacts = [candidate(), candidate({ repository: 'library/web', name: 'web', digest: digest(2) })]
    await using one = await place({ retry: { attempts: 9, backoff: '1s' } }, artifacts)
    const { engine } = one
    const file = join(one.policyFile, '../../../../reports/status.yaml')
    const says = async () =>
      (await readFile(file, 'utf8').catch(() => '')).includes('it does not answer; its tasks wait')
    const health = engine.health.bind(engine)
    engine.gate = () => Promise.reject(new EdgeError('unavailable', 'PH5001', 'no answer'))
    engine.health = () => Promise.resolve({ ok: false, code: 'PH5001', detail: 'no answer' })
    await one.operations.begin('release', ADA)

    await one.until(says)
    expect(one.daemon.silentUntil().size).toBe(1)
    expect(one.ended()).toEqual([])

    engine.gate = () => Promise.resolve()
    engine.health = health
    await one.until(async () => !(await says()))
    expect(one.daemon.silentUntil().size).toBe(0)
  })

  test('explanations take their turn among selections, and who waits for one may go', async () => {
    await using one = await place({})
    let lists = 0
    const open = new AbortController()
    const list = one.source.list.bind(one.source)
    one.source.list = async (query) => {
      lists++
      if (!open.signal.aborted) await once(open.signal, 'abort')
      return await list(query)
    }
    const four = Promise.all(Array.from({ length: 4 }, () => one.operations.explain('release', undefined, signal)))
    await one.until(() => lists === 4)
    const leave = new AbortController()
    const fifth = one.operations.explain('release', undefined, leave.signal)
    await one.operations.begin('release', ADA)
    for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
    leave.abort(new Error('gone'))

    await expect(fifth).rejects.toThrow('gone')
    expect(lists).toBe(4)
    open.abort()
    const [explained] = await four
    await one.until(() => one.ended().length > 0)
    expect(explained).toMatchObject({
      policy: 'library/release',
      file: 'projects/library/release.yaml',
      artifacts: [
        { repository: 'library/app', tag: 'v1', outcome: 'in', targets: [{ provider: 'eu', action: 'preheat' }] },
      ],
    })
    // Each explanation asks for the listing twice, the execution once; who went, never.
    expect(lists).toBe(9)
  })

  test('what is remembered to be warm is told by key, and a policy that is not there is named', async () => {
    await using one = await place({})
    await one.operations.begin('release', ADA)
    await one.until(() => one.ended().length > 0)
    const [ended] = await one.store.recent(undefined, 1)
    const [task] = await one.store.tasks(ended!.id)

    expect(await one.operations.remembered([task!.ledgerKey, 'f'.repeat(64)])).toMatchObject([
      { key: task!.ledgerKey, evidence: { kind: 'success_tasks' } },
    ])
    expect(await one.operations.warm(QUESTION, signal)).toMatchObject({ warm: true, providers: [{ from: 'ledger' }] })
    await expect(one.operations.explain('nope', undefined, signal)).rejects.toThrow('there are library/release')
  })
})
