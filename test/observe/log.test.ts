import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { logTo, openLog, type LogSettings } from '../../src/observe/log.ts'
import type { Event } from '../../src/model/events.ts'
import { task } from '../support/examples.ts'

/** What is logged of these events. */
async function logged(settings: LogSettings, ...events: Event[]): Promise<string[]> {
  const out = new PassThrough()
  const log = openLog(settings, (line) => line.replaceAll('s3cret', '[secret]'), out)
  const emit = logTo(log)
  for (const event of events) emit(event)
  await new Promise((resolve) => log.end(resolve))
  await new Promise(setImmediate)
  out.end()
  return (await text(out)).split('\n').filter(Boolean)
}

const unchanged: Event = { name: 'source.unchanged', revision: 'abc' }
const failed: Event = { name: 'source.failed', state: 'Unreachable', code: 'PH4003', message: 'no route, s3cret' }
const broken: Event = { name: 'loop.failed', loop: 'tasks', error: new Error('ours') }

test('a message is constant and its fields are beside it', async () => {
  const [line] = await logged({ level: 'info', format: 'json' }, failed)

  expect(JSON.parse(line!)).toEqual({
    level: 'warn',
    message: 'source.failed',
    state: 'Unreachable',
    code: 'PH4003',
    reason: 'no route, [secret]',
    timestamp: expect.any(String),
  })
})

test.each([
  ['error', ['loop.failed']],
  ['warn', ['source.failed', 'loop.failed']],
  ['info', ['source.failed', 'loop.failed']],
  ['debug', ['source.unchanged', 'source.failed', 'loop.failed']],
] as const)('at level %s less urgent events are left out', async (level, names) => {
  const lines = await logged({ level, format: 'json' }, unchanged, failed, broken)

  expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual(names)
})

test('in text a line says when, how urgent and what', async () => {
  const [line] = await logged({ level: 'info', format: 'text' }, failed)

  expect(line).toMatch(
    /^\S+Z warn {2}source\.failed \{"state":"Unreachable","code":"PH4003","reason":"no route, \[secret\]"\}$/,
  )
})

test.each(['json', 'text'] as const)('as %s nothing from outside begins a line or colours one [S7]', async (format) => {
  const message = 'gone\r\n2026-11-21T02:00:00Z error \u001b[31mforged\u2028'

  const lines = await logged({ level: 'info', format }, { ...failed, message })

  expect(lines).toHaveLength(1)
  expect(lines[0]).not.toMatch(/\p{Cc}/u)
})

test('a task is logged by what a search wants, and not with every blob of its image', async () => {
  const [line] = await logged({ level: 'debug', format: 'json' }, { name: 'task.changed', task: task() })

  expect(JSON.parse(line!)).toMatchObject({
    message: 'task.changed',
    task: task().id,
    repository: 'library/app',
    state: 'Pending',
  })
  expect(line).not.toContain('blobs')
})
