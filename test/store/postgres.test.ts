import { describe, expect, test } from 'vitest'
import { openPostgresLedger, openPostgresStore, type Leadership } from '../../src/store/postgres.ts'
import { describesAStore } from '../contract/store-contract.ts'
import { digest, EXAMPLE_AT as NOW, execution, task } from '../support/examples.ts'
import { describeWithPostgres } from '../support/postgres.ts'
import { postgresPlace } from '../support/stores.ts'

const LEASE_MS = 60_000
const WHICH = { provider: 'dragonfly-eu', registry: 'harbor', kind: 'pending' } as const
const WIDE = { submitsInFlight: 1000, openArtifacts: 1000 }
const SELECTION = { digest: digest('selection'), considered: 1, selected: 1, skipped: 0 }

describeWithPostgres('the shared store, on a real PostgreSQL', (newUrl) => {
  describesAStore(async () => postgresPlace(await newUrl()))

  test('a ledger shows what a living daemon wrote at once, and the database refuses to write through it', async () => {
    const url = await newUrl()
    expect(await openPostgresLedger(url)).toBeUndefined()
    await using store = (await openPostgresStore(url)).store
    await using ledger = (await openPostgresLedger(url))!

    await store.begin(execution(), { schedule: { policyKey: 'p', fingerprint: 'f', until: 7 } })

    expect(await ledger.schedules()).toEqual([{ policyKey: 'p', fingerprint: 'f', until: 7 }])
    await expect((ledger as typeof store).recordPush(1)).rejects.toThrow(/read-only transaction/)
  })

  describe('several workers', () => {
    async function workers(count: number, tasks: number) {
      const url = await newUrl()
      const all = await Promise.all(Array.from({ length: count }, () => openPostgresStore(url)))
      const [first] = all
      await first!.store.begin(execution(), {})
      const running = { ...execution(), state: 'Running' as const, selection: SELECTION }
      const rows = Array.from({ length: tasks }, (_, n) =>
        task({ id: `${execution().id}-${String(n).padStart(5, '0')}`, ledgerKey: `${n}` }),
      )
      await first!.store.selected(running, rows)
      return {
        all,
        async [Symbol.asyncDispose]() {
          await Promise.all(all.map(({ store }) => store[Symbol.asyncDispose]()))
        },
      }
    }

    test('that claim at once never get the same task, and miss none', async () => {
      await using place = await workers(4, 200)
      const got = new Map<string, number>()
      await Promise.all(
        place.all.map(async ({ store }) => {
          for (let round = 0; round < 20; round++)
            for (const { id } of await store.claim(WHICH, 7, WIDE, NOW, LEASE_MS)) got.set(id, (got.get(id) ?? 0) + 1)
        }),
      )
      expect(got.size).toBe(200)
      expect([...got.values()].every((times) => times === 1)).toBe(true)
    })

    test('always see that a task is open, whoever claims it and lets it go meanwhile', async () => {
      await using place = await workers(2, 1)
      const [a, b] = place.all.map(({ store }) => store)
      const over = new AbortController()
      const working = (async () => {
        for (let round = 0; round < 200; round++)
          for (const task of await a!.claim(WHICH, 1, WIDE, NOW, LEASE_MS)) await a!.release(task)
        over.abort()
      })()

      while (!over.signal.aborted) expect(await b!.nextDueAt()).toBeDefined()

      await working
    })

    test.each([
      ['submitsInFlight', { submitsInFlight: 10, openArtifacts: 1000 }],
      ['openArtifacts', { submitsInFlight: 1000, openArtifacts: 10 }],
    ])('keep %s together, however many claim at once', async (_, caps) => {
      await using place = await workers(4, 60)
      const claims = await Promise.all(
        place.all.flatMap(({ store }) => [1, 2, 3].map(() => store.claim(WHICH, 4, caps, NOW, LEASE_MS))),
      )
      expect(claims.flat()).toHaveLength(10)
    })

    test('a task whose worker is gone is another’s after its lease, and what the first finds out is refused', async () => {
      await using place = await workers(2, 1)
      const [a, b] = place.all.map(({ store }) => store)
      const [claimed] = await a!.claim(WHICH, 1, WIDE, NOW, LEASE_MS)
      expect(await b!.claim(WHICH, 1, WIDE, NOW + LEASE_MS - 1, LEASE_MS)).toEqual([])

      const [taken] = await b!.claim(WHICH, 1, WIDE, NOW + LEASE_MS, LEASE_MS)

      expect(taken).toEqual(claimed)
      await a!.renew([claimed!.id], NOW + LEASE_MS, LEASE_MS)
      await expect(a!.saveStep(claimed!)).rejects.toThrow('was taken over')
      await expect(a!.release(claimed!)).rejects.toThrow('was taken over')
      await b!.release(taken!)
    })

    test('the start of one gives back nobody else’s leases', async () => {
      await using place = await workers(2, 1)
      const [a, b] = place.all.map(({ store }) => store)
      await a!.claim(WHICH, 1, WIDE, NOW, LEASE_MS)
      await b!.releaseLeases()
      expect(await b!.claim(WHICH, 1, WIDE, NOW, LEASE_MS)).toEqual([])
    })

    test('one leads at a time; when it steps down another does', async () => {
      await using place = await workers(2, 1)
      const never = new AbortController().signal
      const first = await place.all[0]!.lead(never)
      let second: Leadership | undefined
      const waiting = place.all[1]!.lead(never).then((leadership) => (second = leadership))
      expect(first.lost.aborted).toBe(false)
      expect(second).toBeUndefined()
      await first[Symbol.asyncDispose]()
      await using led = await waiting
      expect(first.lost.aborted).toBe(true)
      expect(led.lost.aborted).toBe(false)
    })

    test('new tasks wake the others', async () => {
      await using place = await workers(2, 1)
      const [a, b] = place.all
      let woken = 0
      let resolve: () => void = () => undefined
      const promise = new Promise<void>((done) => (resolve = done))
      await using listening = b!.listen(() => {
        if (++woken === 1) void again()
        if (woken === 2) resolve()
      })
      async function again() {
        const other = execution({ id: '20261121T020000Z-00000001' })
        await a!.store.begin(other, {})
        await a!.store.selected({ ...other, state: 'Running', selection: SELECTION }, [])
      }
      await promise
      expect(listening).toBeDefined()
    })
  })

  test('a database that is not there is named, and the password is not', async () => {
    const url = (await newUrl()).replace('postgres@', 'postgres:hunter2@').replace(/[^/]+$/, 'nowhere')
    const failure = await openPostgresStore(url).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'PH8003' })
    expect(String(failure)).not.toContain('hunter2')
  })
})
