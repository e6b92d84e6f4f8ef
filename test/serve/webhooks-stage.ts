import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { Agent, request } from 'undici'
import type { Delivery } from '../../src/model/delivery.ts'
import { Secret } from '../../src/model/secret.ts'
import type { BodyLimits } from '../../src/serve/webhooks/body.ts'
import { webhooksApp, type Receiver } from '../../src/serve/webhooks/app.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT } from '../support/examples.ts'

/** The receivers behind a real listener, with an inbox in memory. */
export interface WebhooksStage extends AsyncDisposable {
  readonly clock: ManualClock
  readonly secrets: Map<string, string>
  /** Each key once. */
  readonly inbox: Map<string, Delivery>
  /** `source unauthorized` → how often. */
  readonly counts: Map<string, number>
  readonly reported: unknown[]
  nudges(): number
  /** What the inbox does instead of accepting. */
  refuse: Error | undefined
  /** @param path below `/hooks/` */
  post(path: string, body: string | Uint8Array, headers: Readonly<Record<string, string>>): Promise<Answer>
  /** Writes bytes to a socket of its own. @returns what came back until the other side had said what it had to say */
  raw(...parts: readonly string[]): Promise<string>
  /** A socket of its own, for whoever goes away early. */
  dial(): Promise<ReturnType<typeof connect>>
}

interface Answer {
  readonly status: number
  readonly result: string
}

export const SECRET = 's3cret, with a comma'

export async function webhooksStage(limits?: BodyLimits): Promise<WebhooksStage> {
  const clock = new ManualClock(EXAMPLE_AT)
  const secrets = new Map([
    ['source', SECRET],
    ['registries/harbor', SECRET],
  ])
  const inbox = new Map<string, Delivery>()
  const counts = new Map<string, number>()
  const reported: unknown[] = []
  let nudges = 0
  const app = webhooksApp(
    {
      clock,
      secretOf: (receiver: Receiver) => {
        const secret = secrets.get(receiver)
        return Promise.resolve(secret === undefined ? undefined : new Secret(secret))
      },
      accept: (deliveries) => {
        if (stage.refuse !== undefined) return Promise.reject(stage.refuse)
        const isKnown = deliveries.every(({ key }) => inbox.has(key))
        for (const delivery of deliveries) inbox.set(delivery.key, delivery)
        return Promise.resolve(isKnown ? 'known' : 'accepted')
      },
      watches: (ref) => ref === 'refs/heads/main',
      nudge: () => nudges++,
      count: (receiver, result) => {
        const label = `${receiver} ${result}`
        counts.set(label, (counts.get(label) ?? 0) + 1)
      },
      report: (_, error) => reported.push(error),
    },
    limits,
  )
  const server = createAdaptorServer({ fetch: app.fetch })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const senders = new Agent({ connections: 50 })

  const stage: WebhooksStage = {
    clock,
    secrets,
    inbox,
    counts,
    reported,
    nudges: () => nudges,
    refuse: undefined,
    async post(path, body, headers) {
      const url = `http://127.0.0.1:${port}/hooks/${path}`
      const response = await request(url, { method: 'POST', body, headers, dispatcher: senders })
      const { result } = (await response.body.json()) as { result: string }
      return { status: response.statusCode, result }
    },
    async raw(...parts) {
      const socket = await stage.dial()
      const chunks: Buffer[] = []
      socket.on('data', (chunk) => chunks.push(chunk))
      for (const part of parts) socket.write(part)
      await once(socket, 'close')
      return Buffer.concat(chunks).toString()
    },
    async dial() {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      await once(socket, 'connect')
      return socket
    },
    async [Symbol.asyncDispose]() {
      await senders.destroy()
      server.close()
      if ('closeAllConnections' in server) server.closeAllConnections()
      await once(server, 'close')
    },
  }
  return stage
}
