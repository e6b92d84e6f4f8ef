import { userInfo } from 'node:os'
import { describe, expect, test } from 'vitest'
import { CannotBegin } from '../../src/begin.ts'
import { executions } from '../../src/commands/executions.ts'
import { invalidate } from '../../src/commands/invalidate.ts'
import { logs } from '../../src/commands/logs.ts'
import { reconcile } from '../../src/commands/reconcile.ts'
import { resume } from '../../src/commands/resume.ts'
import { schedule } from '../../src/commands/schedule.ts'
import { status } from '../../src/commands/status.ts'
import { stop } from '../../src/commands/stop.ts'
import { suspend } from '../../src/commands/suspend.ts'
import { explainError } from '../../src/commands/command.ts'
import { openControlSite } from '../support/control.ts'
import { endedExecution, settledTask } from '../support/ended.ts'
import { EXAMPLE_AT, execution, task } from '../support/examples.ts'
import { MemoryIo } from '../support/io.ts'
import { executionView } from '../support/operations.ts'

const ID = '20261121T020000Z-3f9a1c07'
const { signal } = new AbortController()

async function beside() {
  const site = await openControlSite()
  const operations = await site.live()
  const text = { config: site.config, output: 'text', reason: 'freeze' } as const
  return {
    operations,
    io: new MemoryIo(),
    text,
    json: { ...text, output: 'json' } as const,
    [Symbol.asyncDispose]: () => site[Symbol.asyncDispose](),
  }
}

describe('beside a living daemon', () => {
  test('status shows how policies, providers and the source stand', async () => {
    await using place = await beside()
    const { operations, io, text } = place
    const [one] = operations.view.policies
    operations.view = {
      ...operations.view,
      source: { ...operations.view.source, trouble: { code: 'PH4003', message: 'no answer' } },
      waitingReports: 2,
      policies: [
        {
          ...one!,
          policy: 'team/broken',
          conditions: [
            { type: 'Ready', status: false, reason: 'Invalid', message: 'a.yaml:3: PH2001 unknown field' },
            { type: 'Reconciling', status: false, reason: 'Idle', message: '' },
            { type: 'Stalled', status: true, reason: 'Invalid', message: 'a.yaml:3: PH2001 unknown field' },
          ],
          suspended: 'freeze',
          nextSlot: undefined,
          last: undefined,
        },
        one!,
      ],
      providers: [{ ...operations.view.providers[0]!, silentUntil: EXAMPLE_AT }],
    }

    expect(await status(text, io, signal)).toBe(0)

    expect(io.stdout).toBe(
      [
        'daemon    eu, preheatd 0.1.0, leads',
        'source    4f2c applied 2026-11-21T02:00:00.000Z',
        '          PH4003 no answer',
        'reports   2 waiting',
        '',
        'POLICY                  READY  RECONCILING  STALLED  LAST RESULT  ENDED                     NEXT SLOT                 SUSPENDED  MESSAGE',
        'library/release-images  True   False        False    Success      2026-11-21T02:01:00.000Z  2026-11-22T02:00:00.000Z',
        'team/broken             False  False        True     never ran                                                        freeze     Invalid: a.yaml:3: PH2001 unknown field',
        '',
        'PROVIDER      VENDOR     ENABLED  ANSWERS                                      OPEN TASKS',
        'dragonfly-eu  dragonfly  True     no, asked again at 2026-11-21T02:00:00.000Z  3',
        '',
      ].join('\n'),
    )
  })

  test('status as JSON is what the API says, and that a daemon runs', async () => {
    await using place = await beside()
    const { io, json } = place

    await status(json, io, signal)

    expect(JSON.parse(io.stdout)).toMatchObject({
      runs: true,
      instance: 'eu',
      policies: [{ nextSlot: '2026-11-22T02:00:00.000Z' }],
    })
  })

  test('executions lists those of a policy', async () => {
    await using place = await beside()
    const { operations, io, text } = place
    operations.listed = [executionView(), executionView({ policy: 'team/other' })]

    await executions('library/release-images', { ...text, limit: 10 }, io, signal)

    expect(io.stdout.split('\n')).toEqual([
      expect.stringMatching(/^EXECUTION +POLICY +STATE +STARTED +ENDED +CAUSE +TASKS$/),
      expect.stringMatching(/^20261121T020000Z-3f9a1c07 +library\/release-images +Success .* 2 Succeeded$/),
      '',
    ])
  })

  test('logs shows what is remembered, and with -f what comes until the end', async () => {
    await using place = await beside()
    const { operations, io, text } = place
    operations.known.set(ID, { execution: execution(), tasks: [task()] })
    operations.announced.push({ at: EXAMPLE_AT, event: { name: 'execution.started', execution: execution() } })

    expect(await logs(ID, undefined, { ...text, follow: false }, io, signal)).toBe(0)
    expect(io.stdout).toBe(`2026-11-21T02:00:00.000Z library/release-images ${ID} began\n`)

    const followed = logs(ID, undefined, { ...text, follow: true }, io, signal)
    await expect.poll(() => operations.listeners.size).toBe(1)
    operations.announce({ name: 'task.changed', task: settledTask() })
    operations.announce({ name: 'execution.ended', execution: endedExecution({ result: 'Success' }) })
    expect(await followed).toBe(0)
    expect(io.stdout).toContain('task 1 library/app:v1 → dragonfly-eu Succeeded 2/2 blobs claimed-by-engine\n')
    expect(io.stdout).toMatch(/Success\n$/)
    expect(io.stderr).toBe('')
  })

  test('logs of one task has nothing of the others', async () => {
    await using place = await beside()
    const { operations, io, json } = place
    const other = task({ id: `${ID}/2` })
    operations.known.set(ID, { execution: endedExecution(), tasks: [task(), other] })
    operations.announced.push({ at: EXAMPLE_AT, event: { name: 'execution.started', execution: execution() } })
    for (const one of [task(), other])
      operations.announced.push({ at: EXAMPLE_AT, event: { name: 'task.changed', task: one } })

    await logs(ID, '2', { ...json, follow: false }, io, signal)

    expect(io.stdout.trim().split('\n')).toHaveLength(1)
    expect(JSON.parse(io.stdout)).toMatchObject({ name: 'task.changed', task: { id: `${ID}/2` } })
    await expect(logs(ID, '3', { ...json, follow: false }, io, signal)).rejects.toMatchObject({ code: 'PH8104' })
  })

  test('logs of what the daemon does not remember shows how the tasks stand, and says so', async () => {
    await using place = await beside()
    const { operations, io, text } = place
    operations.known.set(ID, {
      execution: endedExecution({ result: 'Failed' }),
      tasks: [settledTask({ state: 'Failed' })],
    })

    expect(await logs(ID, undefined, { ...text, follow: true }, io, signal)).toBe(0)

    expect(io.stdout).toMatch(/ task 1 library\/app:v1 → dragonfly-eu Failed\n.* Failed\n$/)
    expect(io.stderr).toContain('not remembered')
  })

  test('what changes something is asked for in the name of the user, with the reason', async () => {
    await using place = await beside()
    const { operations, io, text, json } = place
    operations.known.set(ID, { execution: execution(), tasks: [] })

    expect(await stop(ID, text, io, signal)).toBe(0)
    expect(await suspend(undefined, text, io, signal)).toBe(0)
    expect(await suspend('library/release-images', text, io, signal)).toBe(0)
    expect(await resume('library/release-images', { ...text, reason: '' }, io, signal)).toBe(0)
    expect(await invalidate('dragonfly-eu', { ...text, reason: '' }, io, signal)).toBe(0)
    expect(await reconcile(text, io, signal)).toBe(0)

    const by = userInfo().username
    expect(operations.asked).toEqual([
      ['stop', ID, { by, reason: 'freeze' }],
      ['suspend', undefined, { by, reason: 'freeze' }],
      ['suspend', 'library/release-images', { by, reason: 'freeze' }],
      ['resume', 'library/release-images', { by, reason: '' }],
      ['invalidate', 'dragonfly-eu', { by, reason: '' }],
    ])
    expect(io.stdout.split('\n')).toEqual([
      `Stopped ${ID}; engines go on with what they were given.`,
      'Suspended all policies.',
      'Suspended library/release-images.',
      'Resumed library/release-images.',
      'Forgot 7 entries of dragonfly-eu.',
      'In force: 4f2c.',
      '',
    ])
    const second = new MemoryIo()
    await invalidate('dragonfly-eu', json, second, signal)
    expect(JSON.parse(second.stdout)).toEqual({ provider: 'dragonfly-eu', forgotten: 7 })
  })

  test('resume of what nobody suspended says so, and is well', async () => {
    await using place = await beside()
    const { io, text, json } = place

    expect(await resume('library/release-images', text, io, signal)).toBe(0)
    expect(await resume(undefined, text, io, signal)).toBe(0)

    expect(io.stdout).toBe(
      'Unchanged: nobody suspended library/release-images by its own name.\nUnchanged: no `suspend --all` is in force.\n',
    )
    const second = new MemoryIo()
    await resume(undefined, json, second, signal)
    expect(JSON.parse(second.stdout)).toEqual({ resumed: 'all', changed: false })
  })

  test('reconcile exits with 1 where the source could not be used', async () => {
    await using place = await beside()
    const { operations, io, text } = place
    const trouble = { code: 'PH4003', message: 'no answer' }
    operations.view = { ...operations.view, source: { ...operations.view.source, trouble } }

    expect(await reconcile(text, io, signal)).toBe(1)
    expect(io.stdout).toBe('In force: 4f2c. The source could not be used: PH4003 no answer\n')
  })

  test('schedule is the daemon’s', async () => {
    await using place = await beside()
    const { operations, io, json } = place
    operations.slots = [EXAMPLE_AT, EXAMPLE_AT + 86_400_000]

    await schedule('library/release-images', { ...json, next: 1 }, io, signal)

    expect(JSON.parse(io.stdout)).toEqual({ policy: 'library/release-images', slots: ['2026-11-21T02:00:00.000Z'] })
  })

  test('a refusal is what a person reads: code, reason, remedy', async () => {
    await using place = await beside()
    const { operations, io, text } = place
    operations.refusal = new CannotBegin('no')

    const refused = await suspend('nope', text, io, signal).catch(explainError)

    expect(refused).toMatch(/^error PH3003: no policy is called "nope"; there are library\/release-images\n {2}help: /)
  })
})
