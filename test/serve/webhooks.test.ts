import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { digest } from '../support/examples.ts'
import { SECRET, webhooksStage, type WebhooksStage } from './webhooks-stage.ts'

let stage: WebhooksStage

beforeEach(async () => {
  stage = await webhooksStage()
})

afterEach(async () => {
  await stage[Symbol.asyncDispose]()
})

const HEADERS = { 'content-type': 'application/json', authorization: SECRET }
const MIB = 1 << 20

function push(n: number) {
  return JSON.stringify({
    type: 'PUSH_ARTIFACT',
    event_data: {
      resources: [{ digest: digest(n), tag: `v${n}` }],
      repository: { repo_full_name: 'library/app' },
    },
  })
}

/** Counts of the Registry's receiver. */
function counted(result: string) {
  return stage.counts.get(`registries/harbor ${result}`)
}

test('500 deliveries at once are all accepted, and each is in the inbox when it is answered', async () => {
  const answers = await Promise.all(
    Array.from({ length: 500 }, async (_, n) => {
      const { result } = await stage.post('registries/harbor', push(n), HEADERS)
      return `${result} ${[...stage.inbox.values()].some(({ tag }) => tag === `v${n}`)}`
    }),
  )
  expect(new Set(answers)).toEqual(new Set(['accepted true']))
  expect(stage.inbox.size).toBe(500)
  expect(counted('accepted')).toBe(500)
})

test('a body of just 1 MiB is read, and one more byte is too large', async () => {
  const padded = (bytes: number) => push(1).padEnd(bytes, ' ')

  expect((await stage.post('registries/harbor', padded(MIB), HEADERS)).status).toBe(202)
  expect(await stage.post('registries/harbor', padded(MIB + 1), HEADERS)).toEqual({ status: 413, result: 'too_large' })
  expect(counted('too_large')).toBe(1)
})

test('a body that says that it is a gigabyte is answered before it comes [S5]', async () => {
  const answer = await stage.raw(
    'POST /hooks/registries/harbor HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n',
    `authorization: ${SECRET}\r\ncontent-length: 1000000000\r\n\r\n{`,
  )
  expect(answer).toMatch(/^HTTP\/1\.1 413 /)
})

test('a body without end is answered at the cap, and the socket closed [S5]', async () => {
  const socket = await stage.dial()
  const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
  let answer = ''
  let sent = 0
  socket.on('data', (data) => (answer += data.toString()))
  socket.write(
    'POST /hooks/registries/harbor HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n' +
      `authorization: ${SECRET}\r\ntransfer-encoding: chunked\r\n\r\n`,
  )
  while (answer === '' && sent < 64 * MIB) {
    if (!socket.write(chunk)) await Promise.race([once(socket, 'drain'), once(socket, 'data')])
    sent += chunk.length
    await setImmediate()
  }
  if (!socket.closed) await once(socket, 'close')

  expect(answer).toMatch(/^HTTP\/1\.1 413 /)
  // Buffers of both kernels included.
  expect(sent).toBeLessThan(16 * MIB)
})

test('all bodies together have a limit too, and others are asked to come again', async () => {
  await stage[Symbol.asyncDispose]()
  stage = await webhooksStage({ perBody: 1000, together: 1500, withinMs: 10_000 })
  const slow = await stage.dial()
  slow.write(
    'POST /hooks/registries/harbor HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n' +
      `authorization: ${SECRET}\r\ncontent-length: 1000\r\n\r\n${' '.repeat(900)}`,
  )
  const post = () => stage.post('registries/harbor', push(1).padEnd(900), HEADERS)
  // The slow one's bytes arrive when they do.
  await expect.poll(async () => (await post()).status).toBe(503)
  expect(counted('busy')).toBe(1)

  slow.destroy()
  await expect.poll(async () => (await post()).status).not.toBe(503)
  expect(counted('cut_off')).toBe(1)
  expect(stage.reported).toEqual([])
})

test('who takes too long to send a body is told so, and counted', async () => {
  await stage[Symbol.asyncDispose]()
  stage = await webhooksStage({ perBody: 1000, together: 1500, withinMs: 50 })
  const answer = await stage.raw(
    'POST /hooks/registries/harbor HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n',
    `authorization: ${SECRET}\r\ncontent-length: 1000\r\n\r\n{`,
  )
  expect(answer).toMatch(/^HTTP\/1\.1 408 /)
  expect(counted('too_slow')).toBe(1)
  expect(stage.reported).toEqual([])
})

test.each([
  ['of no type', {}],
  ['text', { 'content-type': 'text/plain' }],
  ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
  ['several CloudEvents', { 'content-type': 'application/cloudevents-batch+json' }],
  ['gzip', { 'content-type': 'application/json', 'content-encoding': 'gzip' }],
  ['brotli', { 'content-type': 'application/json', 'content-encoding': 'br' }],
])('content that is %s is refused unread, by both receivers [S5]', async (_, headers) => {
  const bomb = gzipSync(Buffer.alloc(8 * MIB))

  for (const [path, proof] of [
    ['registries/harbor', { authorization: SECRET }],
    ['source', { 'x-gitlab-event': 'Push Hook', 'x-gitlab-token': SECRET }],
  ] as const)
    expect(await stage.post(path, bomb, { ...headers, ...proof })).toEqual({ status: 415, result: 'wrong_content' })
  expect(counted('wrong_content')).toBe(1)
  expect(stage.counts.get('source wrong_content')).toBe(1)
})

test.each([
  ['nothing', ''],
  ['half of an object', '{"type":'],
  ['a list', '[]'],
  ['a text', '"x"'],
  ['null', 'null'],
  ['no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
  ['100,000 lists in each other', '['.repeat(100_000) + ']'.repeat(100_000)],
  ['100,000 objects in each other', '{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000)],
  ['65 lists in an object', `{"a":${'['.repeat(64)}${']'.repeat(64)}}`],
])('%s is malformed, and the next request is answered [S5]', async (_, body) => {
  expect(await stage.post('registries/harbor', body, HEADERS)).toEqual({ status: 400, result: 'malformed' })
  expect((await stage.post('registries/harbor', push(1), HEADERS)).status).toBe(202)
  expect(counted('malformed')).toBe(1)
})

test('brackets in a text nest nothing', async () => {
  const body = JSON.stringify({ ...JSON.parse(push(1)), operator: `"\\${'[{'.repeat(100)}` })
  expect((await stage.post('registries/harbor', body, HEADERS)).result).toBe('accepted')
})

test('whoever may not send learns nothing of what is wrong with the rest', async () => {
  const headers = { 'content-type': 'text/plain', 'content-encoding': 'gzip' }
  expect((await stage.post('registries/harbor', 'x'.repeat(2 * MIB), headers)).status).toBe(401)
  expect((await stage.post('source', 'x'.repeat(2 * MIB), headers)).status).toBe(401)
})

test('payloads made of any JSON at all never take the receiver down', async () => {
  const shapes = [null, 0, '', [], {}, [null], [[]], { x: null }, 'sha256:', -1e308, [{}], true]
  const answers = new Set<number>()
  for (const data of shapes)
    for (const payload of [
      { type: data, event_data: data },
      { type: 'PUSH_ARTIFACT', event_data: data },
      { type: 'PUSH_ARTIFACT', event_data: { resources: data, repository: data } },
      {
        type: 'SCANNING_COMPLETED',
        event_data: { resources: [data], repository: { repo_full_name: 'a/b' }, scan: data },
      },
      {
        type: 'PUSH_ARTIFACT',
        event_data: { resources: [{ digest: data, tag: data }], repository: { repo_full_name: data } },
      },
    ])
      answers.add((await stage.post('registries/harbor', JSON.stringify(payload), HEADERS)).status)

  expect(answers).toEqual(new Set([202]))
  expect(stage.inbox.size).toBe(0)
})
