import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Hono } from 'hono'
import { expect, test } from 'vitest'
import { parseAddress } from '../../src/serve/address.ts'
import { LIMITS, listen } from '../../src/serve/listen.ts'

const app = new Hono()
app.get('/', (c) => c.text('here'))
app.get('/never-ends', (c) =>
  c.body(
    new ReadableStream({
      start: (to) => {
        to.enqueue(Buffer.from('begun\n'))
      },
    }),
  ),
)

async function dial(address: string): Promise<Socket> {
  const socket = connect(parseAddress(address))
  await once(socket, 'connect')
  return socket
}

/** All that comes until the other side hangs up. */
async function heard(socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}

test('it answers where it was told, at a port that the system chose for 0', async () => {
  await using listener = await listen(app, '127.0.0.1:0', 'http.probes')

  expect(listener.address).toMatch(/^127\.0\.0\.1:[1-9]\d+$/)
  expect(await (await fetch(`http://${listener.address}/`)).text()).toBe('here')
})

test('an address that is taken is named with who wanted it', async () => {
  await using first = await listen(app, '127.0.0.1:0', 'http.probes')

  await expect(listen(app, first.address, 'http.api')).rejects.toMatchObject({
    code: 'PH8108',
    message: `http.api cannot listen on ${first.address}: somebody listens there already`,
  })
})

test.each(['8081', 'localhost', ':8081', '127.0.0.1:65536', '::1:8081'])('%s is no address to listen on', (text) => {
  expect(() => parseAddress(text)).toThrow(TypeError)
})

test('headers over 16 KiB are refused [S6]', async () => {
  await using listener = await listen(app, '127.0.0.1:0', 'http.api')
  const socket = await dial(listener.address)

  socket.write(`GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'x'.repeat(17 * 1024)}\r\n\r\n`)

  expect(await heard(socket)).toMatch(/^HTTP\/1\.1 431 /)
})

test('who sends headers or a body too slowly is cut off, and others are not kept waiting [S6]', async () => {
  const hasty = { ...LIMITS, headersTimeout: 150, requestTimeout: 300, connectionsCheckingInterval: 25 }
  const slow = new Hono()
  slow.post('/', async (c) => c.text(await c.req.text()))
  slow.get('/', (c) => c.text('here'))
  slow.onError((_error, c) => c.text('broke off', 400))
  await using listener = await listen(slow, '127.0.0.1:0', 'http.api', hasty)
  const headers = await dial(listener.address)
  const body = await dial(listener.address)

  headers.write('GET / HTTP/1.1\r\nhost: localhost\r\n')
  body.write('POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf')

  expect((await fetch(`http://${listener.address}/`)).status).toBe(200)
  expect(await heard(headers)).toMatch(/^HTTP\/1\.1 408 /)
  expect(await heard(body)).not.toContain('200')
})

test('the limits that hold are those of the design', () => {
  expect(LIMITS).toMatchObject({ headersTimeout: 10_000, requestTimeout: 30_000, maxHeaderSize: 16_384 })
})

test('a connection too many is turned away [S6]', async () => {
  await using listener = await listen(app, '127.0.0.1:0', 'http.api', { ...LIMITS, maxConnections: 1 })
  const first = await dial(listener.address)

  const second = await dial(listener.address)

  await once(second, 'close')
  expect(second.bytesRead).toBe(0)
  first.destroy()
})

test('at the end nobody new is let in, and an answer that never ends is cut off', async () => {
  const listener = await listen(app, '127.0.0.1:0', 'http.api')
  const answer = await fetch(`http://${listener.address}/never-ends`)

  await listener[Symbol.asyncDispose]()

  await expect(answer.text()).rejects.toThrow()
  await expect(fetch(`http://${listener.address}/`)).rejects.toThrow()
})
