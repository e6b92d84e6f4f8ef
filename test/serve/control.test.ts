import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { CannotBegin } from '../../src/begin.ts'
import { Closers } from '../../src/closers.ts'
import { OperatorError } from '../../src/model/errors.ts'
import { apiApp } from '../../src/serve/api.ts'
import { connectControl, type RemoteOperations } from '../../src/serve/client.ts'
import { listenControl } from '../../src/serve/control.ts'
import { answerOf, Refusal } from '../../src/serve/refusal.ts'
import type { EventBody } from '../../src/serve/wire.ts'
import { ManualClock } from '../support/clock.ts'
import { endedExecution } from '../support/ended.ts'
import { EXAMPLE_AT, execution, task } from '../support/examples.ts'
import { EVIDENCE, executionView, MemoryOperations } from '../support/operations.ts'
import { temporaryFolder } from '../support/repository.ts'

const ID = '20261121T020000Z-3f9a1c07'
const { signal } = new AbortController()

/** A daemon's control socket in a folder of its own, with who speaks to it. */
async function open() {
  const closers = new Closers()
  const { path: dir } = closers.use(await temporaryFolder())
  const operations = new MemoryOperations()
  const closing = new AbortController()
  const app = apiApp(operations, {
    access: { type: 'socket' },
    clock: new ManualClock(EXAMPLE_AT),
    closing: closing.signal,
    onFailure: () => undefined,
  })
  const listener = closers.use(await listenControl(app, dir))
  const daemon = closers.use((await connectControl(dir, 'ada'))!)
  return {
    dir,
    app,
    operations,
    closing,
    listener,
    daemon,
    [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
  }
}

test('the socket is a file that only its owner may open, alone in the folder', async () => {
  await using place = await open()

  expect((await stat(join(place.dir, 'control.sock'))).mode & 0o777).toBe(0o600)
  expect(await readdir(place.dir)).toEqual(['control.sock'])
})

test('what is asked over it is what the daemon is asked, by the user who asks', async () => {
  await using place = await open()
  const { operations, daemon } = place
  operations.listed = [executionView()]
  operations.slots = [EXAMPLE_AT]
  operations.known.set(ID, { execution: execution(), tasks: [task()] })

  expect((await daemon.status(signal)).instance).toBe('eu')
  expect(await daemon.executions('library/release-images', 5, signal)).toHaveLength(1)
  expect((await daemon.execution(ID, signal)).tasks).toHaveLength(1)
  expect(await daemon.begin('library/release-images', 'hotfix', signal)).toBe(ID)
  await daemon.stop(ID, 'wrong tag', signal)
  await daemon.suspend(undefined, 'freeze', signal)
  await daemon.resume('library/release-images', '', signal)
  expect(await daemon.reconcile(signal)).toBe('4f2c')
  expect(await daemon.invalidate('dragonfly-eu', '', signal)).toBe(7)
  expect(await daemon.schedule('library/release-images', 3, signal)).toEqual(['2026-11-21T02:00:00.000Z'])

  const by = 'ada'
  expect(operations.asked.filter(([what]) => what !== 'schedule')).toEqual([
    ['begin', 'library/release-images', { by, reason: 'hotfix' }],
    ['stop', ID, { by, reason: 'wrong tag' }],
    ['suspend', undefined, { by, reason: 'freeze' }],
    ['resume', 'library/release-images', { by, reason: '' }],
    ['invalidate', 'dragonfly-eu', { by, reason: '' }],
  ])
})

test('a refusal arrives with its code and the names that are known', async () => {
  await using place = await open()
  place.operations.refusal = new CannotBegin('no policy is called "nope"')

  await expect(place.daemon.begin('nope', 'x', signal)).rejects.toMatchObject({
    name: 'OperatorError',
    code: 'PH3003',
    message: 'no policy is called "nope"; there are library/release-images',
  })
})

test('events are followed until the execution ends', async () => {
  await using place = await open()
  const { operations, daemon } = place
  operations.known.set(ID, { execution: execution(), tasks: [] })
  operations.announced.push({ at: EXAMPLE_AT, event: { name: 'execution.started', execution: execution() } })

  const names: string[] = []
  for await (const event of daemon.events(ID, 'end', signal)) {
    names.push(event.name)
    if (event.name === 'execution.started') operations.announce({ name: 'task.changed', task: task() })
    if (event.name === 'task.changed') operations.announce({ name: 'execution.ended', execution: endedExecution() })
  }

  expect(names).toEqual(['execution.started', 'task.changed', 'execution.ended'])
})

test('who stops following leaves nothing behind in the daemon, and one who is interrupted is told so', async () => {
  await using place = await open()
  const { operations, daemon } = place
  operations.known.set(ID, { execution: execution(), tasks: [] })
  operations.announced.push({ at: EXAMPLE_AT, event: { name: 'execution.started', execution: execution() } })

  for await (const event of daemon.events(ID, 'end', signal)) {
    expect(event.name).toBe('execution.started')
    break
  }
  await expect.poll(() => operations.listeners.size).toBe(0)

  const stop = new AbortController()
  const reason = new Error('stopped by SIGINT')
  await expect(
    collect(daemon, stop.signal, () => {
      stop.abort(reason)
    }),
  ).rejects.toBe(reason)
  await expect.poll(() => operations.listeners.size).toBe(0)
})

test('a daemon that stops ends the streams, and its socket is gone', async () => {
  await using place = await open()
  place.operations.known.set(ID, { execution: execution(), tasks: [] })
  const followed = collect(place.daemon, signal, () => undefined)
  await expect.poll(() => place.operations.listeners.size).toBe(1)

  place.closing.abort()
  await place.listener[Symbol.asyncDispose]()

  expect(await followed).toEqual([])
  expect(await readdir(place.dir)).toEqual([])
  expect(await connectControl(place.dir, 'ada')).toBeUndefined()
})

test('the socket of a daemon that was killed is nobody, and the next daemon replaces it', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'control.sock')
  const server = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
  const child = spawn(process.execPath, ['-e', server], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'close')
  expect(await readdir(folder.path)).toEqual(['control.sock'])

  expect(await connectControl(folder.path, 'ada')).toBeUndefined()
  await using listener = await listenControl({ fetch: () => Response.json({ instance: 'next' }) }, folder.path)

  expect(listener.address).toBe(path)
  await using daemon = await connectControl(folder.path, 'ada')
  expect((await daemon!.status(signal)).instance).toBe('next')
})

test('the socket of a daemon that lives is not taken from it', async () => {
  await using place = await open()

  await expect(listenControl(place.app, place.dir)).rejects.toMatchObject({ code: 'PH8002' })

  expect((await place.daemon.status(signal)).instance).toBe('eu')
})

test('a path that a socket cannot have is said with its length', async () => {
  await using folder = await temporaryFolder()
  const longest = join(folder.path, 'x'.repeat(107 - '/control.sock'.length - folder.path.length - 1))
  const tooLong = `${longest}x`
  await mkdir(longest)
  await mkdir(tooLong)
  const app = { fetch: () => Response.json({}) }

  const listener = await listenControl(app, longest)
  await listener[Symbol.asyncDispose]()

  expect(Buffer.byteLength(listener.address)).toBe(107)
  await expect(listenControl(app, tooLong)).rejects.toMatchObject({
    code: 'PH8108',
    message: expect.stringContaining('has 108 bytes, and the path of a socket at most 107') as string,
  })
  expect(await connectControl(tooLong, 'ada')).toBeUndefined()
})

test('where no daemon lives, or a file is in its place, nobody is connected to', async () => {
  await using folder = await temporaryFolder()
  expect(await connectControl(folder.path, 'ada')).toBeUndefined()
  expect(await connectControl(join(folder.path, 'not-there'), 'ada')).toBeUndefined()

  await writeFile(join(folder.path, 'control.sock'), '')

  expect(await connectControl(folder.path, 'ada')).toBeUndefined()
})

test('what others are asked for comes over it whole, and who goes away is not answered any more', async () => {
  await using place = await open()
  const { operations, daemon } = place
  const question = {
    reference: { name: 'library/app', tag: 'v1', digest: undefined },
    provider: undefined,
    waitMs: 90_000,
  }

  expect(await daemon.explain('library/release-images', 'app:v1+é', signal)).toEqual(
    JSON.parse(JSON.stringify(operations.explanation)),
  )
  expect(await daemon.warm(question, signal)).toMatchObject({ warm: true, providers: [{ ageMs: 192_000 }] })
  expect(operations.questions).toEqual([
    ['explain', 'library/release-images', 'app:v1+é'],
    ['warm', question],
  ])

  const leave = new AbortController()
  let heard: AbortSignal | undefined
  operations.thinking = (during) => {
    heard = during
    return new Promise(() => undefined)
  }
  const answer = daemon.warm(question, leave.signal)
  await expect.poll(() => heard).toBeDefined()
  leave.abort(new Error('stopped by SIGINT'))

  await expect(answer).rejects.toThrow('stopped by SIGINT')
  await expect.poll(() => heard?.aborted).toBe(true)
})

test('the ledger is asked about a thousand keys at a time', async () => {
  await using place = await open()
  const keys = Array.from({ length: 1500 }, (_, n) => n.toString(16).padStart(64, '0'))
  place.operations.ledger = keys.map((key) => ({ key, warmAt: EXAMPLE_AT, evidence: EVIDENCE }))

  expect(await place.daemon.remembered(keys, signal)).toEqual(place.operations.ledger)
})

test('which PreheatRuns are used up is told', async () => {
  await using place = await open()
  place.operations.used = ['hotfix sha256:abc']

  expect(await place.daemon.usedRuns(signal)).toEqual(new Set(['hotfix sha256:abc']))
})

test('a remedy that is better than the code’s comes along', async () => {
  await using place = await open()
  place.operations.refusal = new OperatorError('PH3017', 'may be two', { help: 'Write the host.' })
  const question = { reference: { name: 'app', tag: 'v1', digest: undefined }, provider: undefined, waitMs: 0 }

  await expect(place.daemon.warm(question, signal)).rejects.toMatchObject({ code: 'PH3017', help: 'Write the host.' })
})

test('a daemon that does not know what is asked is of another version', async () => {
  await using folder = await temporaryFolder()
  const older = { fetch: () => answerOf(new Refusal(404, 'PH8102', 'there is nothing at /api/v1/warmth')) }
  await using listener = await listenControl(older, folder.path)
  await using daemon = await connectControl(dirname(listener.address), 'ada')

  await expect(daemon!.explain('a', undefined, signal)).rejects.toMatchObject({ code: 'PH8110' })
})

test('somebody else at the socket is not understood, and nothing is claimed', async () => {
  await using folder = await temporaryFolder()
  const server = createServer((_request, answer) => answer.end('<html>')).listen(join(folder.path, 'control.sock'))
  await once(server, 'listening')
  await using daemon = await connectControl(folder.path, 'ada')

  await expect(daemon!.status(signal)).rejects.toMatchObject({ code: 'PH8110' })

  server.close()
})

test('who goes away in the middle of a request is no failure of the daemon', async () => {
  await using folder = await temporaryFolder()
  const failures: unknown[] = []
  const app = apiApp(new MemoryOperations(), {
    access: { type: 'socket' },
    clock: new ManualClock(EXAMPLE_AT),
    closing: new AbortController().signal,
    onFailure: (error) => failures.push(error),
  })
  const answers: number[] = []
  const watched = {
    async fetch(request: Request) {
      const answer = await app.fetch(request)
      answers.push(answer.status)
      return answer
    },
  }
  await using listener = await listenControl(watched, folder.path)
  const socket = connect(listener.address)
  const head = 'POST /api/v1/suspend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n'

  socket.write(`${head}transfer-encoding: chunked\r\n\r\n5\r\n{"rea`)
  await once(socket, 'ready').catch(() => undefined)
  socket.destroySoon()

  await expect.poll(() => answers).toEqual([400])
  expect(failures).toEqual([])
})

test('a user name that no header carries is cleaned', async () => {
  await using place = await open()
  await using daemon = await connectControl(place.dir, 'ädä\r\nx: y')

  await daemon!.suspend(undefined, 'freeze', signal)

  expect(place.operations.asked[0]?.[2].by).toBe('?d???x:?y')
})

async function collect(daemon: RemoteOperations, stop: AbortSignal, onEvent: () => void): Promise<EventBody[]> {
  const events: EventBody[] = []
  for await (const event of daemon.events(ID, 'end', stop)) {
    events.push(event)
    onEvent()
  }
  return events
}
