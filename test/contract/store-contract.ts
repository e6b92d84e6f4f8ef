import { describe, expect, test } from 'vitest'
import type { EndedExecution, Execution, Result } from '../../src/model/execution.ts'
import type { Delivery } from '../../src/model/delivery.ts'
import type { Evidence } from '../../src/model/evidence.ts'
import type { OpenTask, SettledState, SettledTask } from '../../src/model/task.ts'
import type {
  Applied,
  AppliedObject,
  MissedSlot,
  PendingEvent,
  ScheduleState,
  Store,
  UsedRun,
} from '../../src/store/store.ts'
import { digest, EXAMPLE_AT, execution, located, policy, task } from '../support/examples.ts'
import type { NewPlace } from '../support/stores.ts'

const NOW = EXAMPLE_AT
const LEASE_MS = 60_000
const DAY_MS = 86_400_000
const CAPS = { submitsInFlight: 1000, openArtifacts: 1000 }
const EU = { provider: 'dragonfly-eu', registry: 'harbor' }
const PENDING = { ...EU, kind: 'pending' } as const
const SUBMITTING = { ...EU, kind: 'submitting' } as const
const RUNNING = { ...EU, kind: 'running' } as const

/** What every store must do. Each implementation's test file is one call of this. */
export function describesAStore(newPlace: NewPlace): void {
  test('it belongs to the instance that took it first, for ever', async () => {
    await using place = await newPlace()
    {
      await using store = await place.open()
      expect(await store.instance()).toBeUndefined()
      expect(await store.take('eu')).toBe('eu')
      expect(await store.take('us')).toBe('eu')
    }
    await using later = await place.open()
    expect(await later.instance()).toBe('eu')
    expect(await later.take('eu')).toBe('eu')
  })

  describe('the configuration in force', () => {
    test('there is none before the first apply', async () => {
      await using place = await newPlace()
      await using store = await place.open()

      expect(await store.applied()).toBeUndefined()
      expect(await store.schedules()).toEqual([])
    })

    test('what is applied replaces what was applied, objects and schedules alike', async () => {
      await using place = await newPlace()
      const kept = object('kept')
      const next = applied([object('changed', 'other.yaml'), kept, object('new')], { appliedAt: NOW + 1 })
      {
        await using store = await place.open()
        const before = applied([object('changed'), object('gone'), kept])
        await store.apply(before, [schedule('a'), schedule('b'), schedule('d')], [])
        await store.apply(next, [schedule('b', { until: NOW + 5 }), schedule('c')], ['a'])

        expect(await store.applied()).toEqual(next)
        expect(await store.schedules()).toEqual([schedule('b', { until: NOW + 5 }), schedule('c'), schedule('d')])
      }
      await using later = await place.open()
      expect(await later.applied()).toEqual(next)
    })

    test('what is in force is the very same value until something else is applied', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.apply(applied([object('a')]), [], [])
      const first = await store.applied()
      expect(await store.applied()).toBe(first)

      await store.apply(applied([object('b')]), [], [])
      expect((await store.applied())?.objects).toEqual([object('b')])
    })

    test('objects and schedules are applied by the thousand', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      const names = Array.from({ length: 1201 }, (_, n) => `policy-${String(n).padStart(4, '0')}`)

      await store.apply(
        applied(names.map((name) => object(name))),
        names.map((name) => schedule(name)),
        [],
      )

      expect((await store.applied())?.objects.map(({ resource }) => resource.name)).toEqual(names)
      expect(await store.schedules()).toHaveLength(1201)

      await store.apply(applied([]), [], names)
      expect((await store.applied())?.objects).toEqual([])
      expect(await store.schedules()).toEqual([])
    })
  })

  describe('the beginning of an execution', () => {
    test('accounts for the slot and for those missed before it', async () => {
      await using place = await newPlace()
      await using store = await place.open()

      const begun = await store.begin(execution(), { schedule: schedule('a'), missed: [missed('a', NOW - 1)] })

      expect(begun).toBe(true)
      expect(await store.execution(execution().id)).toEqual(execution())
      expect(await store.openExecutions()).toEqual([execution()])
      expect(await store.schedules()).toEqual([schedule('a')])
      expect(await store.unsentMissed()).toEqual([missed('a', NOW - 1)])
    })

    test('the second to begin it is told so, and changes nothing', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.begin(execution(), { schedule: schedule('a') })

      const second = await store.begin(execution({ startedAt: NOW + 999 }), {
        schedule: schedule('a', { until: NOW + 999 }),
        missed: [missed('a', NOW)],
        run: usedRun(),
      })

      expect(second).toBe(false)
      expect(await store.execution(execution().id)).toEqual(execution())
      expect(await store.schedules()).toEqual([schedule('a')])
      expect(await store.unsentMissed()).toEqual([])
      expect(await store.usedRuns()).toEqual(new Set())
    })

    test('of many who begin it at once one does', async () => {
      await using place = await newPlace()
      await using store = await place.open()

      const begun = await Promise.all(Array.from({ length: 10 }, () => store.begin(execution(), {})))

      expect(begun.filter(Boolean)).toHaveLength(1)
    })

    test('a PreheatRun that is used up begins nothing', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      expect(await store.begin(execution(), { run: usedRun() })).toBe(true)

      const again = await store.begin(execution({ id: 'another' }), { run: usedRun({ executionId: 'another' }) })

      expect(again).toBe(false)
      expect(await store.execution('another')).toBeUndefined()
      expect(await store.unsentRuns()).toEqual([usedRun()])
    })

    test('a PreheatRun of the same name with other content is another one', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.begin(execution(), { run: usedRun() })

      expect(await store.begin(execution({ id: 'another' }), { run: usedRun({ digest: digest('other') }) })).toBe(true)
    })

    test('slots that are not run are accounted for without an execution', async () => {
      await using place = await newPlace()
      await using store = await place.open()

      await store.miss(schedule('a', { until: NOW }), [missed('a', NOW), missed('a', NOW - 1)])
      await store.miss(schedule('a', { until: NOW + 1 }), [])

      expect(await store.schedules()).toEqual([schedule('a', { until: NOW + 1 })])
      expect(await store.unsentMissed()).toEqual([missed('a', NOW - 1), missed('a', NOW)])
      expect(await store.openExecutions()).toEqual([])
    })
  })

  describe('an execution', () => {
    test('is open until it has ended, oldest first', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      const [second, first] = [execution({ id: 'b', at: NOW }), execution({ id: 'c', at: NOW - 1 })]
      await store.begin(second, {})
      await store.begin(first, {})
      await store.selected(running(second), [])

      expect(await store.openExecutions()).toEqual([first, running(second)])

      await store.end(ended(first))
      expect(await store.openExecutions()).toEqual([running(second)])
    })

    test('freezes its tasks once, and only from Selecting', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.begin(execution(), {})
      const tasks = [taskAt('2'), taskAt('1')]

      await store.selected(running(execution()), tasks)

      expect(await store.selected(running(execution()), [taskAt('3')])).toBe(false)
      expect(await store.tasks(execution().id)).toEqual([taskAt('1'), taskAt('2')])
      expect(await store.execution(execution().id)).toEqual(running(execution()))
    })

    test('takes tasks that come in settled, and they are never claimed', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.begin(execution(), {})
      const failed = settled(taskAt('1'), 'Failed')

      await store.selected(running(execution()), [failed, taskAt('2')])

      expect(await store.claim(PENDING, 10, CAPS, NOW, LEASE_MS)).toEqual([taskAt('2')])
      expect(await store.hasOpenTasks(execution().id)).toBe(true)
      expect(await store.tasks(execution().id)).toEqual([failed, taskAt('2')])
    })

    test('takes more tasks than one statement does', async () => {
      await using place = await newPlace()
      await using store = await place.open()

      await begun(
        store,
        Array.from({ length: 4200 }, (_, n) => taskAt(String(n).padStart(4, '0'))),
      )

      expect(await store.tasks(execution().id)).toHaveLength(4200)
    })

    test('ends once: a second end changes nothing', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.begin(execution(), {})

      expect(await store.end(ended(execution()))).toBe(true)
      expect(await store.end(ended(execution(), { result: 'Failed' }))).toBe(false)
      expect(await store.end(ended(execution({ id: 'unheard of' })))).toBe(false)

      expect(await store.execution(execution().id)).toEqual(ended(execution()))
      expect(await store.selected(running(execution()), [])).toBe(false)
    })
  })

  describe('tasks that are due', () => {
    test('are counted by provider and registry, to submit and to look at', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [
        taskAt('1'),
        taskAt('2', { nextAt: NOW - 1 }),
        taskAt('3', { state: 'Submitting' }),
        taskAt('4', { state: 'Running' }),
        taskAt('5', { nextAt: NOW + 1 }),
        taskAt('6', { provider: 'dragonfly-us', registry: 'quay' }),
      ])

      const due = await store.due(NOW)

      expect(due).toHaveLength(2)
      expect(due).toContainEqual({ ...EU, pending: 2, submitting: 1, running: 1 })
      expect(due).toContainEqual({ provider: 'dragonfly-us', registry: 'quay', pending: 1, submitting: 0, running: 0 })
      expect(await store.due(NOW - 2)).toEqual([])
    })

    test('are not due to others while someone has them', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1')])

      await store.claim(PENDING, 1, CAPS, NOW, LEASE_MS)

      expect(await store.due(NOW + LEASE_MS - 1)).toEqual([])
      expect(await store.due(NOW + LEASE_MS)).toEqual([{ ...EU, pending: 1, submitting: 0, running: 0 }])
    })

    test('the next is due at its own time, a claimed one at the end of its lease', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      expect(await store.nextDueAt()).toBeUndefined()
      await begun(store, [taskAt('1'), taskAt('2', { nextAt: NOW + LEASE_MS + 1 })])
      expect(await store.nextDueAt()).toBe(NOW)

      const [claimed] = await store.claim(PENDING, 1, CAPS, NOW, LEASE_MS)
      expect(await store.nextDueAt()).toBe(NOW + LEASE_MS)

      await store.saveStep({ ...claimed!, nextAt: NOW + LEASE_MS + 2 })
      expect(await store.nextDueAt()).toBe(NOW + LEASE_MS + 1)

      await store.release({ ...claimed!, nextAt: NOW + 3 })
      expect(await store.nextDueAt()).toBe(NOW + 3)

      await settle(store, settled(taskAt('1'), 'Succeeded'))
      await settle(store, settled(taskAt('2'), 'Lost'))
      expect(await store.nextDueAt()).toBeUndefined()
    })

    test('an engine may be pulling the artifacts that are Submitting or Running', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [
        taskAt('1'),
        taskAt('2', { state: 'Submitting' }),
        taskAt('3', { state: 'Running', provider: 'dragonfly-us', nextAt: NOW + DAY_MS }),
        taskAt('4', { state: 'Running', registry: 'quay' }),
        settled(taskAt('5'), 'Succeeded'),
      ])

      expect(await store.openArtifacts('harbor')).toBe(2)
      expect(await store.openArtifacts('quay')).toBe(1)
      expect(await store.openArtifacts('unheard of')).toBe(0)
    })
  })

  describe('a claim', () => {
    test('takes the oldest first, as many as asked for, of one provider, registry and kind', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [
        taskAt('1'),
        taskAt('2', { nextAt: NOW - 1 }),
        taskAt('3', { nextAt: NOW - 2 }),
        taskAt('4', { nextAt: NOW - 3, provider: 'dragonfly-us' }),
        taskAt('5', { nextAt: NOW - 3, registry: 'quay' }),
        taskAt('6', { nextAt: NOW - 3, state: 'Submitting' }),
        taskAt('7', { nextAt: NOW - 2, state: 'Running' }),
        taskAt('8', { nextAt: NOW + 1 }),
      ])

      expect(ids(await store.claim(PENDING, 2, CAPS, NOW, LEASE_MS))).toEqual(['3', '2'])
      expect(ids(await store.claim(PENDING, 2, CAPS, NOW, LEASE_MS))).toEqual(['1'])
      expect(ids(await store.claim(SUBMITTING, 9, CAPS, NOW, LEASE_MS))).toEqual(['6'])
      expect(ids(await store.claim(RUNNING, 9, CAPS, NOW, LEASE_MS))).toEqual(['7'])
    })

    test('is exclusive: nobody gets a task that someone else has', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(
        store,
        Array.from({ length: 50 }, (_, n) => taskAt(String(n))),
      )

      const claims = await Promise.all(Array.from({ length: 8 }, () => store.claim(PENDING, 7, CAPS, NOW, LEASE_MS)))

      const taken = ids(claims.flat())
      expect(taken).toHaveLength(50)
      expect(new Set(taken).size).toBe(50)
    })

    test('ends with its lease', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1')])
      await store.claim(PENDING, 1, CAPS, NOW, LEASE_MS)

      expect(await store.claim(PENDING, 1, CAPS, NOW + LEASE_MS - 1, LEASE_MS)).toEqual([])
      expect(ids(await store.claim(PENDING, 1, CAPS, NOW + LEASE_MS, LEASE_MS))).toEqual(['1'])
    })

    test('is kept while steps are saved, and a step is there after a loss of the claim', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1')])
      const [claimed] = await store.claim(PENDING, 1, CAPS, NOW, LEASE_MS)
      const submitting = { ...claimed!, state: 'Submitting', attempts: 1 } as const

      await store.saveStep(submitting)

      expect(await store.claim(SUBMITTING, 1, CAPS, NOW + LEASE_MS - 1, LEASE_MS)).toEqual([])
      expect(await store.claim(SUBMITTING, 1, CAPS, NOW + LEASE_MS, LEASE_MS)).toEqual([submitting])
    })

    test('of many steps that are saved at once, one that cannot be saved fails alone', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1'), taskAt('2')])
      const claimed = await store.claim(PENDING, 2, CAPS, NOW, LEASE_MS)
      const stranger = { ...claimed[0]!, id: 'unheard of' }

      const saved = await Promise.allSettled([
        store.saveStep({ ...claimed[0]!, attempts: 1 }),
        store.saveStep(stranger),
        store.release({ ...claimed[1]!, attempts: 2 }),
      ])

      expect(saved.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect((await store.tasks(execution().id)).map(({ attempts }) => attempts)).toEqual([1, 2])
    })

    test('is given back with where the task got to', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1')])
      const [claimed] = await store.claim(PENDING, 1, CAPS, NOW, LEASE_MS)
      const waiting = { ...claimed!, state: 'Running', nextAt: NOW + 5 } as const

      await store.release(waiting)

      expect(await store.claim(RUNNING, 1, CAPS, NOW + 4, LEASE_MS)).toEqual([])
      expect(await store.claim(RUNNING, 1, CAPS, NOW + 5, LEASE_MS)).toEqual([waiting])
    })

    test('that ran out and was taken by nobody is still its worker’s; released, it is nobody’s', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1')])
      const [claimed] = await store.claim(PENDING, 1, CAPS, NOW, LEASE_MS)

      await store.saveStep({ ...claimed!, attempts: 1 })
      await store.release({ ...claimed!, attempts: 2 })

      await expect(store.saveStep(claimed!)).rejects.toThrow('was taken over')
      await expect(store.release(claimed!)).rejects.toThrow('was taken over')
      expect((await store.tasks(execution().id)).map(({ attempts }) => attempts)).toEqual([2])
    })

    test('is kept for longer when it is renewed, and a task without one is not', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1'), taskAt('2')])
      const [claimed] = await store.claim(PENDING, 1, CAPS, NOW, LEASE_MS)

      await store.renew([taskAt('1').id, taskAt('2').id], NOW + LEASE_MS - 1, LEASE_MS)

      expect(claimed?.id).toBe(taskAt('1').id)
      expect((await store.claim(PENDING, 9, CAPS, NOW + LEASE_MS, LEASE_MS)).map(({ id }) => id)).toEqual([
        taskAt('2').id,
      ])
      expect(await store.claim(PENDING, 9, CAPS, NOW + 2 * LEASE_MS - 2, LEASE_MS)).toEqual([])
    })

    test('of a former life is given back at the start', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1'), taskAt('2')])
      await store.claim(PENDING, 2, CAPS, NOW, LEASE_MS)

      await store.releaseLeases()

      expect(await store.due(NOW)).toEqual([{ ...EU, pending: 2, submitting: 0, running: 0 }])
    })
  })

  describe('a settled task', () => {
    test('stays as it is: it takes no step, is not claimed, and settles once', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1')])
      const lost = settled(taskAt('1'), 'Lost')
      await settle(store, lost)

      await expect(store.saveStep(taskAt('1'))).rejects.toThrow(taskAt('1').id)
      await expect(store.release(settled(taskAt('1'), 'Succeeded'))).rejects.toThrow(taskAt('1').id)
      await expect(store.release(taskAt('1'))).rejects.toThrow(taskAt('1').id)

      expect(await store.tasks(execution().id)).toEqual([lost])
      expect(await store.claim(PENDING, 9, CAPS, NOW + DAY_MS, LEASE_MS)).toEqual([])
      expect(await store.hasOpenTasks(execution().id)).toBe(false)
      expect(await store.warm([lost.ledgerKey])).toEqual([])
    })

    test('enters the ledger when it is Succeeded, and in no other state', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      const states: SettledState[] = ['Succeeded', 'Partial', 'Unverified', 'Failed', 'Lost', 'Stopped']
      await begun(
        store,
        states.map((state) => taskAt(state, { ledgerKey: state })),
      )

      for (const state of states) await settle(store, settled(taskAt(state, { ledgerKey: state }), state))

      expect(await store.warm(states)).toEqual([{ key: 'Succeeded', warmAt: NOW + 7, evidence: evidence() }])
    })

    test('never replaces newer knowledge of warmth by older', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      const release = async (id: string, observedAt: number) => {
        const one = execution({ id })
        await store.begin(one, {})
        await store.selected(running(one), [{ ...taskAt(id, { ledgerKey: 'k' }), executionId: id }])
        await settle(store, settled(taskAt(id, { ledgerKey: 'k' }), 'Succeeded', evidence({ observedAt })))
      }

      await release('1', NOW + 5)
      await release('2', NOW + 4)
      expect(await store.warm(['k'])).toMatchObject([{ warmAt: NOW + 5 }])

      await release('3', NOW + 6)
      expect(await store.warm(['k'])).toEqual([
        { key: 'k', warmAt: NOW + 6, evidence: evidence({ observedAt: NOW + 6 }) },
      ])
    })

    test('many at once: the newest knowledge of a key stays, and what is known to be missing is forgotten', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      const look = { ledgerKey: 'k', purpose: 'look' } as const
      const tasks = [taskAt('1', { ledgerKey: 'k' }), taskAt('2', look), taskAt('3', { ledgerKey: 'gone' })]
      await begun(store, [...tasks, taskAt('4', { ledgerKey: 'gone', purpose: 'look' })])
      await settle(store, settled(tasks[2]!, 'Succeeded'))
      await store.claim(PENDING, 9, CAPS, NOW + DAY_MS, LEASE_MS)

      await Promise.all([
        store.release(settled(tasks[0]!, 'Succeeded', evidence({ observedAt: NOW + 6 }))),
        store.release(settled(tasks[1]!, 'Succeeded', evidence({ observedAt: NOW + 5 }))),
        store.release({
          ...settled(taskAt('4', { ledgerKey: 'gone', purpose: 'look' }), 'Partial'),
          missing: [digest('blob')],
        }),
      ])

      expect(await store.warm(['k', 'gone'])).toMatchObject([{ key: 'k', warmAt: NOW + 6 }])
    })

    test('warmth is told for any number of keys, those that have any', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1', { ledgerKey: 'key-0' }), taskAt('2', { ledgerKey: 'key-1200' })])
      await settle(store, settled(taskAt('1', { ledgerKey: 'key-0' }), 'Succeeded'))
      await settle(store, settled(taskAt('2', { ledgerKey: 'key-1200' }), 'Succeeded'))

      const entries = await store.warm(Array.from({ length: 1201 }, (_, n) => `key-${n}`))

      expect(entries.map(({ key }) => key)).toEqual(['key-0', 'key-1200'])
      expect(await store.warm([])).toEqual([])
    })
  })

  describe('tasks that would do the same at the same engine', () => {
    const twins = () => [taskAt('1', { ledgerKey: 'same' }), taskAt('2', { ledgerKey: 'same' })]

    test('are one job: the second waits, and settles with the evidence of the first', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      const second = execution({ id: '20261121T020000Z-00000002' })
      await begun(store, [twins()[0]!])
      await store.begin(second, {})
      await store.selected(running(second), [{ ...twins()[1]!, executionId: second.id }])

      const [first, ...rest] = await store.claim(PENDING, 9, CAPS, NOW, LEASE_MS)
      expect(first?.id).toBe(taskAt('1').id)
      expect(rest).toEqual([])
      await store.release({ ...first!, state: 'Running' })
      expect(await store.claim(PENDING, 9, CAPS, NOW, LEASE_MS)).toEqual([])

      await store.claim(RUNNING, 1, CAPS, NOW, LEASE_MS)
      const along = await store.release(settled(first!, 'Succeeded'))

      expect(along).toEqual([second.id])
      expect(await store.hasOpenTasks(second.id)).toBe(false)
      expect(await store.tasks(second.id)).toMatchObject([{ state: 'Succeeded', attempts: 0, evidence: evidence() }])
    })

    test('are not, where the first came to nothing: then the second does it', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, twins())
      const [first] = await store.claim(PENDING, 9, CAPS, NOW, LEASE_MS)

      expect(await store.release(settled(first!, 'Failed'))).toEqual([])

      expect((await store.claim(PENDING, 9, CAPS, NOW, LEASE_MS)).map(({ id }) => id)).toEqual([taskAt('2').id])
    })

    test('a look at what is warm is not the same as preheating it', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [twins()[0]!, { ...twins()[1]!, purpose: 'look' }])

      expect(await store.claim(PENDING, 9, CAPS, NOW, LEASE_MS)).toHaveLength(2)
    })
  })

  describe('an execution that is given up', () => {
    test('has no open task any more, and who has one loses it', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1'), taskAt('2')])
      const [claimed] = await store.claim(PENDING, 1, CAPS, NOW, LEASE_MS)

      await store.giveUp(execution().id, (open) => settled(open, 'Stopped'))

      expect(await store.hasOpenTasks(execution().id)).toBe(false)
      expect((await store.tasks(execution().id)).map(({ state }) => state)).toEqual(['Stopped', 'Stopped'])
      await expect(store.release(claimed!)).rejects.toThrow('was taken over')
    })

    test('before it had selected, does not begin', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.begin(execution(), {})
      await store.end(ended(execution(), { result: 'Stopped' }))

      expect(await store.selected(running(execution()), [taskAt('1')])).toBe(false)
      expect(await store.tasks(execution().id)).toEqual([])
    })
  })

  describe('the inbox', () => {
    const delivery = (key: string, receivedAt = NOW): Delivery => ({
      key,
      receivedAt,
      registry: 'harbor',
      kind: 'push',
      repository: 'library/app',
      tag: 'v1',
    })
    const event = (over: Partial<PendingEvent> = {}): PendingEvent => ({
      policyKey: 'p',
      repository: 'library/app',
      reference: 'v1',
      kinds: ['push'],
      since: NOW,
      ...over,
    })

    test('takes a delivery once, however often it is sent', async () => {
      await using place = await newPlace()
      await using store = await place.open()

      expect(await store.deliver([delivery('b', NOW + 1), delivery('a', NOW + 1), delivery('c')])).toBe(3)
      expect(await store.deliver([delivery('a'), delivery('d', NOW + 2)])).toBe(1)

      expect((await store.undelivered(3)).map(({ key }) => key)).toEqual(['c', 'a', 'b'])
    })

    test('of many who bring the same one at once, one is told that it is new', async () => {
      await using place = await newPlace()
      await using store = await place.open()

      const added = await Promise.all([
        store.deliver([delivery('a'), delivery('b')]),
        store.deliver([delivery('b'), delivery('c')]),
        store.deliver([delivery('a')]),
      ])

      expect(added).toEqual([2, 1, 0])
      expect(await store.undelivered(9)).toHaveLength(3)
    })

    test('of many that are brought at once, one that no database takes fails alone', async () => {
      await using place = await newPlace()
      await using store = await place.open()

      const brought = await Promise.allSettled([
        store.deliver([delivery('a')]),
        store.deliver([delivery('b', NaN)]),
        store.deliver([delivery('c')]),
      ])

      expect(brought.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect((await store.undelivered(9)).map(({ key }) => key)).toEqual(['a', 'c'])
    })

    test('what is routed waits as an event of its policy, a second one of the same subject with it', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.deliver([delivery('a'), delivery('b')])

      await store.route([delivery('a')], [event(), event({ reference: 'v2', since: NOW + 5 })])
      await store.route([delivery('b')], [event({ kinds: ['scan', 'push'], since: NOW + 9 })])

      expect(await store.undelivered(9)).toEqual([])
      expect(await store.deliver([delivery('a')])).toBe(0)
      expect(await store.pendingEvents()).toEqual([
        event({ kinds: ['push', 'scan'] }),
        event({ reference: 'v2', since: NOW + 5 }),
      ])
    })

    test('an execution takes its events with it, in one write', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.route([], [event(), event({ reference: 'v2' })])

      await store.begin(execution(), { events: [event()] })

      expect(await store.pendingEvents()).toEqual([event({ reference: 'v2' })])
    })

    test('forgets a delivery two days after it was routed, and never one that was not', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.deliver([delivery('routed'), delivery('waiting')])
      await store.route([delivery('routed')], [])

      await store.prune(NOW + 2 * DAY_MS)
      expect(await store.deliver([delivery('routed')])).toBe(0)
      await store.prune(NOW + 2 * DAY_MS + 1)

      expect(await store.deliver([delivery('routed'), delivery('waiting')])).toBe(1)
    })

    test('a listing is kept together with what changed in it', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      expect(await store.listing('harbor', 'library')).toBeUndefined()

      await store.saveListing('harbor', 'library', { at: NOW, body: 'one' }, [])
      await store.saveListing('harbor', 'library', { at: NOW + 1, body: 'two' }, [event()])

      expect(await store.listing('harbor', 'library')).toEqual({ at: NOW + 1, body: 'two' })
      expect(await store.listing('harbor', 'other')).toBeUndefined()
      expect(await store.pendingEvents()).toEqual([event()])
    })
  })

  describe('what an operator says', () => {
    test('a policy rests until it is resumed', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      const said = { by: 'ada', reason: 'incident', at: NOW }
      await store.suspend('p', { ...said, reason: 'first' })
      await store.suspend('p', said)
      await store.suspend('*', said)

      expect(await store.suspensions()).toEqual(new Map(Object.entries({ p: said, '*': said })))
      expect(await store.resume('p')).toBe(true)
      expect(await store.resume('p')).toBe(false)
      expect([...(await store.suspensions()).keys()]).toEqual(['*'])
    })

    test('what a provider is known to hold is forgotten, and no other’s', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1', { ledgerKey: 'a' }), taskAt('2', { ledgerKey: 'b', provider: 'us' })])
      await store.claim({ ...PENDING, provider: 'us' }, 1, CAPS, NOW, LEASE_MS)
      await settle(store, settled(taskAt('1', { ledgerKey: 'a' }), 'Succeeded'))
      await store.release(settled(taskAt('2', { ledgerKey: 'b', provider: 'us' }), 'Succeeded'))

      expect(await store.invalidate('us')).toBe(1)

      expect((await store.warm(['a', 'b'])).map(({ key }) => key)).toEqual(['a'])
    })

    test('the newest executions come first', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      for (const [id, at] of [
        ['a', 1],
        ['b', 3],
        ['c', 2],
      ] as const)
        await store.begin(execution({ id, at, policyKey: id === 'c' ? 'other' : 'p' }), {})

      expect((await store.recent(undefined, 2)).map(({ id }) => id)).toEqual(['b', 'c'])
      expect((await store.recent('p', 9)).map(({ id }) => id)).toEqual(['b', 'a'])
    })
  })

  describe('the spool of reports', () => {
    test('holds an ended execution with its tasks until it is sent', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('2'), taskAt('1')])
      expect(await store.unsentReports(9)).toEqual([])
      await settle(store, settled(taskAt('1'), 'Succeeded'))
      await settle(store, settled(taskAt('2'), 'Failed'))
      const over = ended(execution())
      await store.end(over)

      const tasks = [settled(taskAt('1'), 'Succeeded'), settled(taskAt('2'), 'Failed')]
      expect(await store.unsentReports(9)).toEqual([{ execution: over, tasks, previous: undefined }])

      await store.markSent({ executions: [over.id], missed: [], runs: [] })
      expect(await store.unsentReports(9)).toEqual([])
      expect(await store.end(over)).toBe(false)
      expect(await store.unsentReports(9)).toEqual([])
    })

    test('gives the oldest first, at most as many as asked for', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      for (const at of [3, 1, 2]) await endedAt(store, `e${at}`, { at })

      expect((await store.unsentReports(2)).map((one) => one.execution.id)).toEqual(['e1', 'e2'])
    })

    test('an execution that has not ended cannot be marked as sent', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.begin(execution(), {})

      await store.markSent({ executions: [execution().id], missed: [], runs: [] })
      await store.end(ended(execution()))

      expect(await store.unsentReports(9)).toHaveLength(1)
    })

    test('says how the execution of the policy before this one came out, sent or not', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await endedAt(store, 'e1', { at: 1, result: 'Failed', failure: 'f1', selection: undefined })
      await endedAt(store, 'e2', { at: 2 })
      await endedAt(store, 'e3', { at: 2 })
      await endedAt(store, 'other', { at: 2, policyKey: 'PreheatPolicy/harbor/other' })
      await store.begin(execution({ id: 'open', at: 1 }), {})
      await store.markSent({ executions: ['e1'], missed: [], runs: [] })

      const previous = new Map((await store.unsentReports(9)).map((one) => [one.execution.id, one.previous]))

      expect(previous).toEqual(
        new Map([
          ['e2', { result: 'Failed', selectionDigest: undefined, failure: 'f1' }],
          ['e3', { result: 'Success', selectionDigest: digest('selection'), failure: undefined }],
          ['other', undefined],
        ]),
      )
    })

    test('holds missed slots and used runs until they are sent; a run stays used up for ever', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.begin(execution(), { run: usedRun(), missed: [missed('a', NOW), missed('b', NOW)] })

      await store.markSent({ executions: [], missed: [missed('a', NOW)], runs: [usedRun()] })

      expect(await store.unsentMissed()).toEqual([missed('b', NOW)])
      expect(await store.unsentRuns()).toEqual([])
      expect(await store.usedRuns()).toEqual(new Set([`${usedRun().name} ${usedRun().digest}`]))
    })

    test('runs that another life used up are used up, and in git already', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.begin(execution(), { run: usedRun() })

      await store.adoptUsedRuns([usedRun({ name: 'adopted' }), usedRun()])

      expect(await store.begin(execution({ id: 'x' }), { run: usedRun({ name: 'adopted' }) })).toBe(false)
      expect(await store.usedRuns()).toEqual(
        new Set([`adopted ${usedRun().digest}`, `${usedRun().name} ${usedRun().digest}`]),
      )
      expect(await store.unsentRuns()).toEqual([])
    })

    test('the last ended execution of every policy is told with its tasks, sent or not', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      const a = await endedAt(store, 'a2', { at: 2 })
      await endedAt(store, 'a1', { at: 1 })
      await store.begin(execution({ id: 'a3', at: 3 }), {})
      const other = execution({ id: 'b1', at: 1, policyKey: 'PreheatPolicy/harbor/other' })
      await store.begin(other, {})
      const failed = settled(task({ id: 'b1/1', executionId: 'b1' }), 'Failed')
      await store.selected(running(other), [failed])
      await store.end(ended(other))
      await store.markSent({ executions: ['a2'], missed: [], runs: [] })

      expect(await store.lastExecutions()).toEqual([
        { execution: a, tasks: [] },
        { execution: ended(other), tasks: [failed] },
      ])
    })

    test('pushes are counted from an instant on', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      for (const at of [NOW - 2, NOW - 1, NOW, NOW]) await store.recordPush(at)

      expect(await store.pushes(NOW - 1)).toBe(3)
      expect(await store.pushes(NOW + 1)).toBe(0)
    })
  })

  describe('what is old', () => {
    const later = NOW + 31 * DAY_MS

    test('executions in git are forgotten after 30 days with their tasks, but for the last of each policy', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [settled(taskAt('1'), 'Failed')])
      await store.end(ended(execution()))
      await endedAt(store, 'last', { at: NOW + 1 })
      await endedAt(store, 'of another policy', { at: NOW + 2, policyKey: 'PreheatPolicy/harbor/other' })
      await store.markSent({ executions: [execution().id, 'last', 'of another policy'], missed: [], runs: [] })

      await store.prune(NOW + 29 * DAY_MS)
      expect(await store.tasks(execution().id)).toHaveLength(1)

      await store.prune(later)
      expect(await store.execution(execution().id)).toBeUndefined()
      expect(await store.tasks(execution().id)).toEqual([])
      expect(await store.execution('last')).toBeDefined()
    })

    test('of a run with artifacts of its own none follows, and its last execution is forgotten like any', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      for (const id of ['sent', 'unsent']) await endedAt(store, id, { at: NOW, policyKey: `PreheatRun/${id}` })
      await store.markSent({ executions: ['sent'], missed: [], runs: [] })

      await store.prune(later)

      expect((await store.lastExecutions()).map(({ execution: { id } }) => id)).toEqual(['unsent'])
    })

    test('executions that are not in git are kept, and so is what their reports compare themselves with', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await endedAt(store, 'sent', { at: 1 })
      await endedAt(store, 'unsent', { at: 2 })
      await store.markSent({ executions: ['sent'], missed: [], runs: [] })

      await store.prune(later)

      expect(await store.unsentReports(9)).toMatchObject([
        { execution: { id: 'unsent' }, previous: { result: 'Success' } },
      ])
    })

    test('warmth is forgotten after 90 days, pushes after one', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await begun(store, [taskAt('1')])
      const warm = settled(taskAt('1'), 'Succeeded', evidence({ observedAt: NOW }))
      await settle(store, warm)
      await store.recordPush(NOW)

      await store.prune(NOW + DAY_MS)
      expect(await store.pushes(0)).toBe(1)
      await store.prune(NOW + 90 * DAY_MS)
      expect(await store.warm([warm.ledgerKey])).toHaveLength(1)
      expect(await store.pushes(0)).toBe(0)
      await store.prune(NOW + 90 * DAY_MS + 1)
      expect(await store.warm([warm.ledgerKey])).toEqual([])
    })

    test('a used run is never forgotten', async () => {
      await using place = await newPlace()
      await using store = await place.open()
      await store.begin(execution(), { run: usedRun() })
      await store.markSent({ executions: [], missed: [], runs: [usedRun()] })

      await store.prune(NOW + 3650 * DAY_MS)

      expect((await store.usedRuns()).size).toBe(1)
    })
  })

  test('everything is there when the store is opened again', async () => {
    await using place = await newPlace()
    const claimed = { ...taskAt('2'), state: 'Submitting', attempts: 1 } as const
    {
      await using store = await place.open()
      await store.apply(applied([object('a')]), [schedule('a')], [])
      await store.begin(execution(), { schedule: schedule('b'), missed: [missed('b', NOW)], run: usedRun() })
      await store.selected(running(execution()), [taskAt('1'), taskAt('2')])
      await store.claim(PENDING, 2, CAPS, NOW, LEASE_MS)
      await store.release(settled(taskAt('1'), 'Succeeded'))
      await store.saveStep(claimed)
      await endedAt(store, 'over', { at: 1 })
      await store.recordPush(NOW)
    }

    await using store = await place.open()

    expect(await store.applied()).toEqual(applied([object('a')]))
    expect(await store.schedules()).toEqual([schedule('a'), schedule('b')])
    expect(await store.unsentMissed()).toEqual([missed('b', NOW)])
    expect(await store.unsentRuns()).toEqual([usedRun()])
    expect(await store.openExecutions()).toEqual([running(execution())])
    expect(await store.tasks(execution().id)).toEqual([settled(taskAt('1'), 'Succeeded'), claimed])
    expect(await store.nextDueAt()).toBe(NOW + LEASE_MS)
    expect(await store.warm([taskAt('1').ledgerKey])).toHaveLength(1)
    expect((await store.unsentReports(9)).map((one) => one.execution.id)).toEqual(['over'])
    expect(await store.pushes(NOW)).toBe(1)
  })
}

function applied(objects: readonly AppliedObject[], overrides: Partial<Applied> = {}): Applied {
  return {
    config: { commit: '4f2d'.repeat(10), author: 'Ada <ada@example.com>', subject: 'Preheat “everything”' },
    appliedAt: NOW,
    objects: [...objects].sort((a, b) => (a.key < b.key ? -1 : 1)),
    problems: [{ severity: 'error', code: 'PH2001', file: 'a.yaml', line: 1, column: 2, message: 'unknown field' }],
    ...overrides,
  }
}

function object(name: string, file = `${name}.yaml`): AppliedObject {
  return { ...located(policy({ name }), file), problems: [] }
}

function schedule(policyKey: string, overrides: Partial<ScheduleState> = {}): ScheduleState {
  return { policyKey, fingerprint: 'f', until: NOW, ...overrides }
}

function missed(policyKey: string, slot: number): MissedSlot {
  return { policyKey, policy: `library/${policyKey}`, slot, reason: 'older than startingDeadline' }
}

function usedRun(overrides: Partial<UsedRun> = {}): UsedRun {
  return {
    name: 'hotfix',
    digest: digest('run'),
    executionId: execution().id,
    policy: 'library/release-images',
    usedAt: NOW,
    ...overrides,
  }
}

function running(from: Execution): Extract<Execution, { state: 'Running' }> {
  return {
    ...from,
    state: 'Running',
    selection: { digest: digest('selection'), considered: 2, selected: 2, skipped: 0 },
  }
}

function ended(from: Execution, overrides: Partial<EndedExecution> = {}): EndedExecution {
  return {
    ...from,
    state: 'Ended',
    selection: { digest: digest('selection'), considered: 2, selected: 2, skipped: 0 },
    endedAt: NOW + 500,
    result: 'Success',
    reason: undefined,
    failure: undefined,
    ...overrides,
  }
}

async function endedAt(
  store: Store,
  id: string,
  overrides: { at: number; policyKey?: string; result?: Result; failure?: string; selection?: undefined },
): Promise<EndedExecution> {
  const { at, policyKey = execution().policyKey, ...outcome } = overrides
  const one = execution({ id, at, policyKey })
  await store.begin(one, {})
  const over = ended(one, outcome)
  await store.end(over)
  return over
}

/** Begins the example execution with these tasks. */
async function begun(store: Store, tasks: readonly (OpenTask | SettledTask)[]): Promise<void> {
  await store.begin(execution(), {})
  await store.selected(running(execution()), tasks)
}

function taskAt(id: string, overrides: Partial<OpenTask> = {}): OpenTask {
  return task({ ledgerKey: id, ...overrides, id: `${execution().id}/${id}` })
}

/** What {@link taskAt} was given. */
function ids(tasks: readonly OpenTask[]): string[] {
  return tasks.map(({ id }) => id.slice(execution().id.length + 1))
}

function settled(open: OpenTask, state: SettledState, proof: Evidence = evidence()): SettledTask {
  const settled: { nextAt?: number } & SettledTask = { ...open, state, endedAt: NOW + 9, evidence: proof, missing: [] }
  delete settled.nextAt
  return settled
}

function evidence(overrides: Partial<Evidence> = {}): Evidence {
  return {
    kind: 'success_tasks',
    source: 'claimed-by-engine',
    observedAt: NOW + 7,
    blobs: 2,
    of: 2,
    peers: 1,
    ...overrides,
  }
}

/** Releases a task whoever has it: all that is due is claimed first. */
async function settle(store: Store, task: Parameters<Store['release']>[0]): Promise<void> {
  for (const which of [PENDING, SUBMITTING, RUNNING]) await store.claim(which, 1000, CAPS, NOW + DAY_MS, LEASE_MS)
  await store.release(task)
}
