import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once, setMaxListeners } from 'node:events'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { openRegistry } from '../../src/registry/open.ts'
import { Secret, type ReadSecret } from '../../src/model/secret.ts'
import { registry } from '../support/examples.ts'
import type { ArtifactSource, ListQuery } from '../../src/registry/registry.ts'
import type { Clock } from '../../src/model/clock.ts'
import type { FakeHarbor } from '../doubles/harbor.ts'
import type { Registry } from '../../src/model/registry.ts'

/** A signal that nobody aborts, and on which any number of requests may wait. */
export const never = new AbortController().signal
setMaxListeners(0, never)

/** A clock on which every wait is over at once, and is remembered. */
class SkippingClock implements Clock {
  readonly waits: number[] = []
  #now = Date.parse('2026-11-21T02:00:00Z')

  now(): number {
    return this.#now
  }

  sleepUntil(until: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (until > this.#now) {
      this.waits.push(until - this.#now)
      this.#now = until
    }
    return Promise.resolve()
  }

  advance(ms: number): void {
    this.#now += ms
  }
}

export interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | object
  /** Cut the connection instead. */
  readonly cut?: boolean
}

/** A server that says what a test tells it to, and remembers what it was asked. */
export interface ScriptedServer extends AsyncDisposable {
  readonly endpoint: string
  readonly requests: { readonly method: string; readonly url: string; readonly headers: IncomingMessage['headers'] }[]
}

export async function listen(
  script: (url: URL, request: IncomingMessage) => Answer | Promise<Answer>,
): Promise<ScriptedServer> {
  const requests: ScriptedServer['requests'] = []
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    requests.push({ method: request.method!, url: request.url!, headers: request.headers })
    const { status = 200, headers = {}, body = '', cut } = await script(new URL(request.url!, 'http://here'), request)
    if (cut === true) {
      request.socket.destroy()
      return
    }
    response.writeHead(status, headers)
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }
  const server = createServer((request, response) => void answer(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** Secrets that any host may have, by `name/key`; the map may change between requests. */
export function secrets(values: Readonly<Record<string, string>>): ReadSecret {
  return (name, key) => Promise.resolve(new Secret(values[`${name}/${key}`] ?? ''))
}

const noSecrets = secrets({})

interface Opened {
  readonly source: ArtifactSource
  readonly clock: SkippingClock
}

/** A registry at `endpoint`, closed when the test ends; limits that nobody feels unless the test is about those. */
export async function open(
  endpoint: string,
  overrides: Partial<Registry> = {},
  read: ReadSecret = noSecrets,
): Promise<Opened> {
  const clock = new SkippingClock()
  const declared = registry({
    name: 'hub',
    endpoint,
    engineEndpoint: endpoint,
    limits: { requestsPerSecond: 100_000, listConcurrency: 4, openArtifacts: 300 },
    ...overrides,
  })
  const source = await openRegistry(declared, { read, clock, tls: () => Promise.resolve(undefined) })
  onTestFinished(() => source[Symbol.asyncDispose]())
  return { source, clock }
}

const robot = secrets({ 'robot/username': 'robot$preheatd', 'robot/password': 'robot-secret' })

/** {@link open} of a double, with its robot account. */
export function openHarbor(harbor: FakeHarbor, overrides: Partial<Registry> = {}): Promise<Opened> {
  return open(harbor.endpoint, { auth: { type: 'basic', secret: 'robot' }, ...overrides }, robot)
}

/** What a promise was rejected with. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('it did not fail')
    },
    (error: unknown) => error,
  )
}

/** A listing without anything that costs more. */
export function everythingOf(project: string | undefined): ListQuery {
  return { project, details: [], since: 0 }
}
