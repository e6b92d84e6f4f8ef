import type { Server } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { listenAsStub } from './stub.ts'

// The least that a receiver can do: it reads a delivery and says yes, and keeps nothing.
const app = new Hono()
app.post('*', async (c) => {
  await c.req.arrayBuffer()
  return c.json({ result: 'accepted' }, 202)
})

await listenAsStub(createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server, () => undefined)
