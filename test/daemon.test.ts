import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { expect, test } from 'vitest'
import type { Delivery } from '../src/model/delivery.ts'
import { describeDaemonsOnEachStore, type Place } from './support/daemon.ts'
import { settledTask } from './support/ended.ts'
import { candidate, digest, EXAMPLE_AT, execution } from './support/examples.ts'

const KEY = 'PreheatPolicy/harbor/library/release'
const ADA = { by: 'ada', reason: 'incident' }

function push(tag: string, of = digest(1), key = tag): Delivery {
  return { key, receivedAt: EXAMPLE_AT, registry: 'harbor', kind: 'push', repository: 'library/app', tag, digest: of }
}

const onEvents = (more: object = {}) => ({ trigger: { type: 'event_based', debounce: '30s', poll: '10m', ...more } })
const began = (one: Place) => one.events.filter(({ name }) => name === 'execution.started').length

describeDaemonsOnEachStore((place) => {
  test('an event preheats what it is about and nothing else, once its policy has waited for more', async () => {
    const other = candidate({ repository: 'library/web', name: 'web', digest: digest(2), tags: ['v1'] })
    await using one = await place(onEvents(), [candidate({ tags: ['v1', 'v2'] }), other])
    await one.store.deliver([push('v1'), push('v2', digest(1), 'second')])
    one.daemon.nudgeEvents()

    await one.until(() => one.ended().length > 0)

    expect(one.ended()).toEqual(['Success event_based'])
    const [execution] = await one.store.recent(undefined, 1)
    expect(execution?.cause).toMatchObject({
      type: 'event_based',
      events: ['push'],
      subjects: [{ reference: 'v1' }, { reference: 'v2' }],
    })
    expect(execution!.startedAt - EXAMPLE_AT).toBeGreaterThanOrEqual(30_000)
    expect((await one.store.tasks(execution!.id)).map(({ subject }) => subject)).toMatchObject([
      { repository: 'library/app', tags: ['v1', 'v2'] },
    ])
    expect(await one.store.pendingEvents()).toEqual([])
  })

  test('a scan of a child leads to its index', async () => {
    const child = digest('child')
    await using one = await place(onEvents(), [candidate({ children: [child] })])
    await one.store.deliver([
      { key: 'k', receivedAt: EXAMPLE_AT, registry: 'harbor', kind: 'scan', repository: 'library/app', digest: child },
    ])
    one.daemon.nudgeEvents()

    await one.until(() => one.ended().length > 0)

    const [execution] = await one.store.recent(undefined, 1)
    expect((await one.store.tasks(execution!.id)).map(({ subject }) => subject)).toMatchObject([{ digest: digest(1) }])
  })

  test('what no webhook tells is found by looking: the first look is what later ones are compared with', async () => {
    const app = candidate({ labels: [] })
    await using one = await place(onEvents({ events: ['label'] }), [app])
    await one.until(async () => (await one.store.listing('harbor', 'library')) !== undefined)
    expect(began(one)).toBe(0)

    one.source.candidates[0] = { ...app, labels: ['prod'] }
    await one.until(() => one.ended().length > 0)

    expect((await one.store.recent(undefined, 1))[0]?.cause).toMatchObject({ events: ['label'] })
  })

  test('an event that a policy does not wait for starts nothing', async () => {
    await using one = await place(onEvents({ events: ['label'] }))
    await one.store.deliver([push('v1')])
    one.daemon.nudgeEvents()

    await one.until(async () => (await one.store.undelivered(1)).length === 0)

    expect(await one.store.pendingEvents()).toEqual([])
  })

  test('an execution whose policy is deleted meanwhile goes on with what it kept [P11]', async () => {
    await using one = await place({})
    let release: () => void = () => undefined
    const released = new Promise<void>((resolve) => (release = resolve))
    one.engine.gate = () => released
    await one.operations.begin('library/release', ADA)
    await one.until(async () => (await one.store.openExecutions()).some(({ state }) => state === 'Running'))

    await rm(one.policyFile)
    await one.until(() => one.daemon.applied!.objects.every(({ key }) => key !== KEY))
    release()
    await one.until(() => one.ended().length > 0)

    expect(one.ended()).toEqual(['Success manual'])
  })

  test('a slot that replaces stops the execution before it', async () => {
    await using one = await place({
      trigger: { type: 'scheduled', schedule: { cron: '*/5 * * * *', concurrency: 'replace' } },
      refresh: { mode: 'always' },
      timeout: '24h',
    })
    one.engine.observation = () => ({ kind: 'open' })

    await one.until(() => one.ended().length > 0)

    expect(one.ended()[0]).toBe('Stopped scheduled')
    const [replaced] = one.events.flatMap((event) => (event.name === 'execution.ended' ? event.execution : []))
    expect(replaced?.reason).toMatchObject({
      code: 'PH8012',
      message: expect.stringContaining('concurrency is replace'),
    })
  })

  test('an execution over its deadline ends, and what an engine was given is Unverified', async () => {
    await using one = await place({ deadline: '1h', timeout: '24h', limits: { maxArtifacts: 10 } })
    one.engine.observation = () => ({ kind: 'open' })
    const id = await one.operations.begin('library/release', ADA)
    const begun = one.clock.now()

    await one.until(() => one.ended().length > 0)

    expect(one.clock.now() - begun).toBeGreaterThanOrEqual(3_600_000)
    expect(await one.operations.execution(id)).toMatchObject({
      execution: { result: 'Unverified', reason: { code: 'PH8013' } },
      tasks: [{ state: 'Unverified', error: { code: 'PH8013' } }],
    })
  })

  test('who asked, and why, is kept with the execution', async () => {
    await using one = await place({})
    const id = await one.operations.begin('release', ADA)

    await one.until(() => one.ended().length > 0)

    expect((await one.operations.execution(id))?.execution.cause).toMatchObject({ type: 'manual', ...ADA })
    expect(one.operations.journal(id).map(({ event }) => event.name)).toEqual(
      expect.arrayContaining(['execution.started', 'execution.selected', 'task.changed', 'execution.ended']),
    )
  })

  test('stop ends what is open, says by whom, and the rest of the daemon goes on', async () => {
    await using one = await place({ timeout: '24h', refresh: { mode: 'always' } })
    one.engine.observation = () => ({ kind: 'open' })
    const id = await one.operations.begin('release', ADA)
    await one.until(() => one.engine.submitted.length > 0)

    expect(await one.operations.stop(id, ADA)).toBe(true)
    expect(await one.operations.stop(id, ADA)).toBe(false)

    expect(await one.operations.execution(id)).toMatchObject({
      execution: { result: 'Stopped', reason: { code: 'PH8012', message: 'stopped by ada: incident' } },
      tasks: [{ state: 'Stopped' }],
    })
    one.clock.advance(1000)
    await one.operations.begin('release', ADA)
    expect(began(one)).toBe(2)
  })

  test('what an operator suspends rests: slots are accounted for, manual runs go on, until it is resumed', async () => {
    await using one = await place({ trigger: { type: 'scheduled', schedule: { cron: '*/5 * * * *' } } })
    await one.operations.suspend('release', ADA)

    await one.until(() => one.events.some(({ name }) => name === 'slot.missed'))
    expect(one.events.find(({ name }) => name === 'slot.missed')).toMatchObject({
      reason: 'Suspended: by ada: incident',
    })
    expect((await one.operations.status()).policies[0]?.suspended).toBe('by ada: incident')
    await one.operations.begin('release', ADA)
    await one.until(() => one.ended().includes('Success manual'))

    await one.operations.resume('release')
    await one.until(() => one.ended().some((line) => line.endsWith('scheduled')))
  })

  test('the status has kstatus’ conditions, the next slot and the last execution', async () => {
    await using one = await place({ trigger: { type: 'scheduled', schedule: { cron: '0 4 * * *' } } })
    const before = await one.operations.status()
    expect(before).toMatchObject({
      instance: 'test',
      leads: true,
      source: { trouble: undefined },
      policies: [
        {
          policy: 'library/release',
          nextSlot: EXAMPLE_AT + 2 * 3_600_000,
          last: undefined,
          conditions: [
            { type: 'Ready', status: true, reason: 'NeverRan' },
            { type: 'Reconciling', status: false },
            { type: 'Stalled', status: false },
          ],
        },
      ],
      providers: [{ provider: 'eu', vendor: 'dragonfly', openTasks: 0 }],
    })

    await one.operations.begin('release', ADA)
    await one.until(() => one.ended().length > 0)

    expect((await one.operations.status()).policies[0]).toMatchObject({
      last: { result: 'Success', tasks: { Succeeded: 1 } },
      conditions: [{ type: 'Ready', status: true, reason: 'Success' }, {}, {}],
    })
    expect((await one.operations.executions('release', 9)).map(({ result }) => result)).toEqual(['Success'])
  })

  test('a provider that is invalidated is known to hold nothing', async () => {
    await using one = await place({})
    await one.operations.begin('release', ADA)
    await one.until(() => one.ended().length > 0)

    expect(await one.operations.invalidate('eu')).toBe(1)
    await expect(one.operations.invalidate('us')).rejects.toThrow('no provider is called "us"; there are eu')
    one.clock.advance(1000)
    await one.operations.begin('release', ADA)
    await one.until(() => one.ended().length > 1)

    expect(one.ended()).toEqual(['Success manual', 'Success manual'])
  })

  test('the next slots of a policy are told, and why there are none', async () => {
    await using one = await place({ trigger: { type: 'scheduled', schedule: { cron: '0 4 * * *' } } })
    const first = EXAMPLE_AT + 2 * 3_600_000
    expect(await one.operations.schedule('release', 2)).toEqual([first, first + 86_400_000])
    await using manual = await place({})
    await expect(manual.operations.schedule('release', 2)).rejects.toThrow('has no schedule that fires')
  })

  test('reconcile looks at the source now and tells the revision in force', async () => {
    await using one = await place({})
    const looked = one.operations.reconcile()
    await one.until(() => one.events.some(({ name }) => name === 'source.unchanged'))
    expect(await looked).toBe(one.daemon.applied?.config.commit)
  })

  test('two policies that want the same digest at the same provider are one job [E8]', async () => {
    await using one = await place({})
    expect(KEY).toBe((await one.store.applied())?.objects.find(({ key }) => key.startsWith('PreheatPolicy'))?.key)
    await one.operations.begin('release', ADA)
    one.clock.advance(1)
    await one.operations.begin('release', { by: 'grace', reason: '' })

    await one.until(() => one.ended().length > 1)

    expect(one.engine.submitted).toHaveLength(1)
  })

  test('an execution whose tasks are done, and whose worker was gone before it ended it, is ended', async () => {
    await using one = await place({})
    const left = execution({ id: '20261121T015900Z-00000001', policyKey: KEY })
    const selection = { digest: digest('selection'), considered: 1, selected: 1, skipped: 0 }
    await one.store.begin(left, {})
    await one.store.selected({ ...left, state: 'Running', selection }, [settledTask({ executionId: left.id })])

    await one.until(() => one.ended().length > 0)

    expect(await one.store.execution(left.id)).toMatchObject({ state: 'Ended', result: 'Success' })
  })

  test('a report that a stop cuts off is committed before the daemon ends', async () => {
    await using one = await place({})
    const publish = one.publisher.publish.bind(one.publisher)
    let isCutOff = false
    one.publisher.publish = async (edits, message, during) => {
      if (isCutOff) return await publish(edits, message, during)
      isCutOff = true
      await once(during, 'abort')
      throw during.reason
    }
    await one.operations.begin('release', ADA)
    await one.until(() => isCutOff && one.ended().length > 0)

    await one.stop()

    expect(await one.store.unsentReports(1)).toEqual([])
  })

  test('a tag that moves while its image is preheated is named by the execution that selected it [R6]', async () => {
    await using one = await place({})
    one.engine.gate = () => {
      one.source.tags.set('library/app:v1', digest(2))
      return Promise.resolve()
    }
    const id = await one.operations.begin('release', ADA)

    await one.until(() => one.ended().length > 0)

    expect(await one.store.execution(id)).toMatchObject({
      selection: { movedTags: [{ artifact: 'library/app:v1', digest: digest(2) }] },
    })
    expect((await one.store.tasks(id)).map(({ order }) => order)).toMatchObject([{ digest: digest(1) }])
  })
})
