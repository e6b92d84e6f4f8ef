import dns from 'node:dns'
import { once } from 'node:events'
import { syncBuiltinESMExports } from 'node:module'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { inspect } from 'node:util'
import { afterEach, expect, test, vi } from 'vitest'
import { ScriptedServer, never } from './support/engine.ts'
import { EdgeError } from '../src/model/errors.ts'
import { HttpOrigin, isRefusedAddress, retryAfterMs, type HttpRequest } from '../src/http.ts'
import { Secret } from '../src/model/secret.ts'

const codes = { unreachable: 'PH5001', unintelligible: 'PH5008' } as const
const get: HttpRequest = { method: 'GET', url: '/x', timeoutMs: 5_000, maxBytes: 1_000 }

function origin(endpoint: string): HttpOrigin {
  return new HttpOrigin(endpoint, 'provider p', codes, undefined)
}

/** A server below HTTP. */
async function rawServer(serve: (socket: Socket) => void): Promise<{ endpoint: string } & AsyncDisposable> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    serve(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

afterEach(() => {
  vi.restoreAllMocks()
  syncBuiltinESMExports()
})

test('any status is an answer, and a redirect is not followed [S1]', async () => {
  await using server = await ScriptedServer.start({ status: 307, headers: { location: '/elsewhere' }, body: 'there' })
  await using http = origin(server.endpoint)

  const answer = await http.send(get, never)

  expect(answer).toMatchObject({ status: 307, headers: { location: '/elsewhere' } })
  expect(answer.bytes.toString()).toBe('there')
  expect(server.seen).toHaveLength(1)
})

test('connections are used again after a HEAD', async () => {
  await using server = await ScriptedServer.start({ status: 200 })
  await using http = origin(server.endpoint)

  for (let tag = 0; tag < 20; tag++) await http.send({ ...get, method: 'HEAD' }, never)

  expect(server.seen).toHaveLength(20)
  // A second one is opened where the next request is faster than the news that the last is over.
  expect(server.connections).toBeLessThanOrEqual(2)
})

test('the path of an endpoint stays in front of every request', async () => {
  await using server = await ScriptedServer.start({ status: 200 })
  await using http = origin(`${server.endpoint}/manager/`)

  await http.send({ ...get, url: '/healthy?a=b' }, never)

  expect(server.seen.map(({ line }) => line)).toEqual(['GET /manager/healthy?a=b'])
})

test('a secret header is sent under its name', async () => {
  await using server = await ScriptedServer.start({ status: 200 })
  await using http = origin(server.endpoint)

  await http.send({ ...get, secretHeader: { name: 'x-api-key', value: new Secret('k') } }, never)

  expect(server.seen[0]?.headers).toMatchObject({ 'x-api-key': 'k', 'user-agent': 'preheatd' })
})

test('a server that says nothing is unavailable after the deadline [E3]', async () => {
  await using server = await ScriptedServer.start('hang')
  await using http = origin(server.endpoint)

  await expect(http.send({ ...get, timeoutMs: 50 }, never)).rejects.toMatchObject({
    fault: 'unavailable',
    code: 'PH5001',
    message: 'provider p does not answer: no answer within 50 ms',
    cause: { name: 'DeadlineError' },
  })
})

test('a body that trickles is unavailable after the deadline [E3]', async () => {
  await using server = await rawServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx')
  })
  await using http = origin(server.endpoint)

  await expect(http.send({ ...get, timeoutMs: 50 }, never)).rejects.toMatchObject({
    fault: 'unavailable',
    cause: { name: 'DeadlineError' },
  })
})

test('a connection that breaks in the middle of a body is unavailable [E4]', async () => {
  await using server = await rawServer((socket) => {
    socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx')
  })
  await using http = origin(server.endpoint)

  await expect(http.send(get, never)).rejects.toMatchObject({ fault: 'unavailable', code: 'PH5001' })
})

test('a body over its limit is refused [E3]', async () => {
  await using server = await ScriptedServer.start({ status: 200, body: 'x'.repeat(1_001) })
  await using http = origin(server.endpoint)

  await expect(http.send(get, never)).rejects.toMatchObject({
    fault: 'unintelligible',
    code: 'PH5008',
    message: 'provider p answered with more than 1000 bytes',
  })
  expect((await http.send({ ...get, maxBytes: 1_001 }, never)).bytes).toHaveLength(1_001)
})

test('shutdown is not mistaken for a fault, before the answer and in the middle of it', async () => {
  await using server = await rawServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx')
  })
  await using http = origin(server.endpoint)
  const stop = new AbortController()
  const reason = new Error('stopping')
  const answer = http.send(get, stop.signal)
  setTimeout(() => {
    stop.abort(reason)
  }, 50)

  await expect(answer).rejects.toBe(reason)
  await expect(http.send(get, stop.signal)).rejects.toBe(reason)
})

test('nonsense in place of HTTP is unavailable, and an echo in it goes nowhere', async () => {
  await using server = await rawServer((socket) => {
    socket.once('data', (data) => socket.end(`nonsense ${data.toString()}`))
  })
  await using http = origin(server.endpoint)
  const secretHeader = { name: 'authorization', value: new Secret('Bearer s3cret-token') }

  const error: unknown = await http.send({ ...get, secretHeader }, never).catch((e: unknown) => e)

  expect(error).toMatchObject({ name: 'EdgeError', fault: 'unavailable' })
  expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('s3cret')
})

test('a secret that fits in no header is not in the error about it', async () => {
  await using http = origin('http://127.0.0.1:9')
  const secretHeader = { name: 'authorization', value: new Secret('Bearer s3cret\r\nx: y') }

  const error: unknown = await http.send({ ...get, secretHeader }, never).catch((e: unknown) => e)

  expect(error).toMatchObject({ name: 'EdgeError' })
  expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('s3cret')
})

test.each([
  'http://169.254.169.254',
  'http://2852039166',
  'http://[fe80::1]',
  'http://[::ffff:169.254.169.254]',
  'http://[64:ff9b::a9fe:a9fe]',
  'http://[fd00:ec2::254]',
  'http://100.100.100.200',
])('%s is never contacted [S1]', async (endpoint) => {
  await using http = origin(endpoint)

  await expect(http.send(get, never)).rejects.toMatchObject({ name: 'OperatorError', code: 'PH3013' })
})

test.each(['127.0.0.1', '10.0.0.1', '192.168.1.1', '::1', 'fd00::1', 'example.com'])(
  '%s may be contacted',
  (address) => {
    expect(isRefusedAddress(address)).toBe(false)
  },
)

test('a name that leads to a metadata address is refused when it is resolved, whatever else it leads to [S1]', async () => {
  const addresses = [
    { address: '127.0.0.1', family: 4 },
    { address: '169.254.169.254', family: 4 },
  ]
  vi.spyOn(dns, 'lookup').mockImplementation((...args: unknown[]) => {
    ;(args.at(-1) as (error: null, found: unknown) => void)(null, addresses)
  })
  syncBuiltinESMExports()
  await using http = origin('http://metadata.example')

  await expect(http.send(get, never)).rejects.toMatchObject({ name: 'OperatorError', code: 'PH3013' })
})

test('Retry-After is seconds or a date, at most five minutes, and otherwise nothing [E1]', () => {
  const now = Date.parse('2026-11-21T02:00:00Z')
  const of = (text: string | undefined) => retryAfterMs({ 'retry-after': text }, now)

  expect(of('5')).toBe(5_000)
  expect(of('0')).toBe(0)
  expect(of('3600')).toBe(300_000)
  expect(of('Sat, 21 Nov 2026 02:00:30 GMT')).toBe(30_000)
  expect(of('Sat, 21 Nov 2026 01:00:00 GMT')).toBeUndefined()
  expect(of('soon')).toBeUndefined()
  expect(of(undefined)).toBeUndefined()
})

test('a large body is handed on in small pieces, and nothing of it is kept', async () => {
  const piece = Buffer.alloc(65_536, 7)
  await using server = await rawServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n')
    for (let sent = 0; sent < 1024; sent += 1) socket.write(piece)
  })
  await using http = origin(server.endpoint)
  let size = 0
  let largest = 0

  const answer = await http.stream(
    get,
    (chunk) => {
      size += chunk.length
      largest = Math.max(largest, chunk.length)
    },
    never,
  )

  expect(answer).toMatchObject({ status: 200, bytes: Buffer.alloc(0) })
  expect(size).toBe(67_108_864)
  expect(largest).toBeLessThanOrEqual(2 ** 20)
})

test('of a streamed answer that is no 200 the body is read as any other, and bounded', async () => {
  await using server = await ScriptedServer.start({ status: 404, body: 'not here' })
  await using http = origin(server.endpoint)
  const chunks: Buffer[] = []
  const keep = (chunk: Buffer) => void chunks.push(chunk)

  const answer = await http.stream(get, keep, never)
  server.script = { status: 404, body: 'x'.repeat(1_001) }

  expect(answer).toMatchObject({ status: 404, bytes: Buffer.from('not here') })
  await expect(http.stream(get, keep, never)).rejects.toMatchObject({ fault: 'unintelligible' })
  expect(chunks).toEqual([])
})

test('whoever does not want more of a stream ends it', async () => {
  let closed: () => void = () => undefined
  const gone = new Promise<void>((resolve) => (closed = resolve))
  await using server = await rawServer((socket) => {
    socket.on('close', closed)
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx')
  })
  await using http = origin(server.endpoint)
  const enough = new EdgeError('unintelligible', 'PH6008', 'enough')

  await expect(
    http.stream(
      get,
      () => {
        throw enough
      },
      never,
    ),
  ).rejects.toBe(enough)
  await gone
})

test('a stream that trickles is unavailable after the deadline', async () => {
  await using server = await rawServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx')
  })
  await using http = origin(server.endpoint)

  await expect(http.stream({ ...get, timeoutMs: 50 }, () => undefined, never)).rejects.toMatchObject({
    fault: 'unavailable',
    message: 'provider p does not answer: no answer within 50 ms',
  })
})
