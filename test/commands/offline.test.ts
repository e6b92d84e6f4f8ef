import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { executions } from '../../src/commands/executions.ts'
import { invalidate } from '../../src/commands/invalidate.ts'
import { logs } from '../../src/commands/logs.ts'
import { once } from '../../src/commands/once.ts'
import { reconcile } from '../../src/commands/reconcile.ts'
import { resume } from '../../src/commands/resume.ts'
import { schedule } from '../../src/commands/schedule.ts'
import { status } from '../../src/commands/status.ts'
import { stop } from '../../src/commands/stop.ts'
import { suspend } from '../../src/commands/suspend.ts'
import { explainError } from '../../src/commands/command.ts'
import type { PreheatPolicy } from '../../src/model/policy.ts'
import { openEmbeddedStore } from '../../src/store/embedded.ts'
import { openPostgresLedger, openPostgresStore } from '../../src/store/postgres.ts'
import { openControlSite } from '../support/control.ts'
import { endedExecution } from '../support/ended.ts'
import { EXAMPLE_AT, execution, located, policy, provider, scheduledPolicy } from '../support/examples.ts'
import { MemoryIo } from '../support/io.ts'
import { describeWithPostgres } from '../support/postgres.ts'

const { signal } = new AbortController()
/** The variable that names the database. */
const DATABASE_URL = 'PREHEATD_DATABASE_URL'
const ID = '20261121T020000Z-3f9a1c07'

/** What a daemon left that stopped: two policies, of which one has run and one is broken. */
async function left(databaseUrl: string | undefined, scheduled: PreheatPolicy = scheduledPolicy('0 2 * * *')) {
  const site = await openControlSite(databaseUrl && DATABASE_URL)
  const store = databaseUrl ? (await openPostgresStore(databaseUrl)).store : await openEmbeddedStore(site.stateDir)
  await store.take('eu')
  const broken = {
    severity: 'error',
    code: 'PH2001',
    file: 'b.yaml',
    line: 3,
    column: 1,
    message: 'unknown field',
  } as const
  await store.apply(
    {
      config: { commit: '4f2c', author: 'Ada', subject: 'x' },
      appliedAt: EXAMPLE_AT,
      objects: [
        { ...located(scheduled), problems: [] },
        { ...located(policy({ name: 'broken' })), problems: [broken] },
        { ...located(provider()), problems: [] },
      ],
      problems: [broken],
    },
    [],
    [],
  )
  await store.begin(execution(), {})
  await store.end(endedExecution({ result: 'Failed', reason: { code: 'PH6004', message: 'cut short' } }))
  await store.begin(execution({ id: '20261121T030000Z-00000000', startedAt: EXAMPLE_AT + 3_600_000 }), {})
  await store[Symbol.asyncDispose]()
  const text = { config: site.config, output: 'text', reason: 'x' } as const
  const io = () => new MemoryIo(databaseUrl ? { [DATABASE_URL]: databaseUrl } : {})
  return {
    io: io(),
    second: io(),
    stateDir: site.stateDir,
    text,
    json: { ...text, output: 'json' } as const,
    [Symbol.asyncDispose]: () => site[Symbol.asyncDispose](),
  }
}

/**
 * What a person is told of a state without a daemon.
 * @param newUrl of a database; undefined: the embedded store
 */
function describesAState(newUrl: () => Promise<string> | undefined): void {
  test('status is how it stood, with the conditions, and says that nobody runs', async () => {
    await using place = await left(await newUrl())
    const { io, second, text, json } = place

    expect(await status(json, io, signal)).toBe(0)
    await status(text, second, signal)

    const found = JSON.parse(io.stdout) as { policies: { policy: string; conditions: unknown[] }[] }
    expect(found).toMatchObject({
      runs: false,
      leads: false,
      source: { revision: '4f2c', appliedAt: '2026-11-21T02:00:00.000Z' },
      providers: [{ provider: 'dragonfly-eu', enabled: true }],
      problems: [{ code: 'PH2001' }],
    })
    const conditions = Object.fromEntries(found.policies.map((one) => [one.policy, one.conditions]))
    expect(conditions['library/release-images']).toEqual([
      { type: 'Ready', status: false, reason: 'Failed', message: 'PH6004 cut short' },
      { type: 'Reconciling', status: true, reason: 'Selecting', message: 'execution 20261121T030000Z-00000000' },
      { type: 'Stalled', status: false, reason: 'Valid', message: '' },
    ])
    const stalled = 'b.yaml:3: PH2001 unknown field; its last good version is in force'
    expect(conditions['library/broken']).toEqual([
      { type: 'Ready', status: false, reason: 'Invalid', message: stalled },
      { type: 'Reconciling', status: false, reason: 'Idle', message: '' },
      { type: 'Stalled', status: true, reason: 'Invalid', message: stalled },
    ])
    expect(second.stdout).toContain('not running')
  })

  test('executions are the open ones and the last of each policy, newest first', async () => {
    await using place = await left(await newUrl())
    const { io, json } = place

    await executions(undefined, { ...json, limit: 10 }, io, signal)

    expect(JSON.parse(io.stdout)).toMatchObject({
      executions: [
        { id: '20261121T030000Z-00000000', state: 'Selecting' },
        { id: ID, state: 'Ended', result: 'Failed', cause: 'slot 2026-11-21T02:00:00.000Z' },
      ],
    })
    expect(io.stderr).toContain('no daemon runs')
  })

  test('what another instance left is refused, whether it is to be read or worked by', async () => {
    const url = await newUrl()
    await using place = await left(url)
    const us = join(dirname(place.text.config), 'us.yaml')
    await writeFile(us, (await readFile(place.text.config, 'utf8')).replace('name: eu', 'name: us'))
    const refused = {
      code: 'PH8014',
      message: `the state in ${url ? 'the database' : place.stateDir} is of the instance eu, and metadata.name is us`,
    }
    const work = (config: string) =>
      once({ config, output: 'text', wait: false, allowUnverified: false }, place.io, signal)

    await expect(status({ ...place.text, config: us }, place.io, signal)).rejects.toMatchObject(refused)
    await expect(work(us)).rejects.toMatchObject(refused)
    // Nothing is held of it: the instance whose it is comes as far as its source, which is not there.
    expect(await work(place.text.config)).toBe(1)
    expect(place.io.stderr).toContain('PH4007')
  })

  test('schedule computes the next slots, those after a suspension', async () => {
    const until = Date.parse('2099-01-01T02:00:00Z')
    await using place = await left(
      await newUrl(),
      scheduledPolicy('0 2 * * *', { suspend: { until, reason: 'freeze' } }),
    )
    const { io, json } = place

    expect(await schedule('release-images', { ...json, next: 2 }, io, signal)).toBe(0)

    expect(JSON.parse(io.stdout)).toEqual({
      policy: 'release-images',
      slots: ['2099-01-01T02:00:00.000Z', '2099-01-02T02:00:00.000Z'],
    })
    await expect(schedule('library/broken', { ...json, next: 2 }, io, signal)).rejects.toThrow('has no schedule')
    await expect(schedule('nope', { ...json, next: 2 }, io, signal)).rejects.toThrow('there are library/broken')
  })

  test('executions are asked for by the name of a policy that is there, and what is not is named with a code', async () => {
    await using place = await left(await newUrl())
    const { io, second, text } = place

    await executions('release-images', { ...text, limit: 5 }, io, signal)
    const refused = [
      await executions('nope', { ...text, limit: 5 }, second, signal).catch(explainError),
      await schedule('nope', { ...text, next: 1 }, second, signal).catch(explainError),
    ]

    expect(io.stdout.match(/library\/release-images/g)).toHaveLength(2)
    for (const answer of refused)
      expect(answer).toMatch(/^error PH3003: no policy is called "nope"; there are .*\n {2}help: /)
    expect(second.stdout).toBe('')
  })

  test('one that rests without end has no next slot', async () => {
    await using place = await left(
      await newUrl(),
      scheduledPolicy('0 2 * * *', { suspend: { until: undefined, reason: '' } }),
    )
    const { io, text } = place

    await schedule('release-images', { ...text, next: 2 }, io, signal)

    expect(io.stdout).toBe('No slot comes while it rests.\n')
  })

  test('whatever changes something says that no daemon runs, and on which folder', async () => {
    await using place = await left(await newUrl())
    const { io, text } = place

    for (const ask of [
      () => stop(ID, text, io, signal),
      () => suspend(undefined, text, io, signal),
      () => resume(undefined, text, io, signal),
      () => reconcile(text, io, signal),
      () => invalidate('dragonfly-eu', text, io, signal),
      () => logs(ID, undefined, { ...text, follow: false }, io, signal),
    ])
      expect(await ask().catch(explainError)).toMatch(
        /^error PH8107: no daemon runs on this state folder \(.*data\)\n {2}help: /,
      )
    expect(io.stdout).toBe('')
  })
}

describe('where no daemon runs, on the embedded store', () => {
  describesAState(() => undefined)

  test('and where none ever ran, there is nothing to show', async () => {
    await using site = await openControlSite()
    const io = new MemoryIo()
    const text = { config: site.config, output: 'text' } as const

    expect(await status(text, io, signal)).toBe(0)
    expect(await executions(undefined, { ...text, limit: 5 }, io, signal)).toBe(0)

    expect(io.stdout).toBe('No daemon has run here yet.\nNo executions.\n')
    await expect(schedule('x', { ...text, next: 1 }, io, signal)).rejects.toThrow('no daemon has run here yet')
  })
})

describeWithPostgres('where no daemon runs here, on a real PostgreSQL', (newUrl) => {
  describesAState(newUrl)

  test('status says that others may live by the database, and what operators suspended there', async () => {
    const url = await newUrl()
    await using place = await left(url)
    const { store } = await openPostgresStore(url)
    await store.suspend('*', { by: 'ada', reason: 'freeze', at: EXAMPLE_AT })
    await store[Symbol.asyncDispose]()

    await status(place.text, place.io, signal)

    expect(place.io.stdout).toContain('not running on this state folder; as the database has it\n')
    expect(place.io.stdout).toContain('by ada: freeze')
  })

  test('an empty database is one on which none ever ran, and stays empty', async () => {
    const url = await newUrl()
    await using site = await openControlSite(DATABASE_URL)
    const io = new MemoryIo({ [DATABASE_URL]: url })

    expect(await status({ config: site.config, output: 'text' }, io, signal)).toBe(0)

    expect(io.stdout).toBe('No daemon has run here yet.\n')
    expect(await openPostgresLedger(url)).toBeUndefined()
  })
})
