import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { OperatorError } from '../model/errors.ts'
import { parseAddress } from './address.ts'

/** An app that answers requests. */
export interface Answering {
  fetch(request: Request): Response | Promise<Response>
}

/** What one client, or all of them, may take. */
export interface Limits {
  readonly headersTimeout: number
  /** To send the request; an answer may take longer. */
  readonly requestTimeout: number
  readonly keepAliveTimeout: number
  readonly maxHeaderSize: number
  /** How often Node looks for those who are too slow. */
  readonly connectionsCheckingInterval: number
  readonly maxConnections: number
}

export const LIMITS: Limits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 5_000,
  maxHeaderSize: 16 * 1024,
  connectionsCheckingInterval: 1_000,
  maxConnections: 512,
}
/** How long answers under way may take at the end. */
const GRACE_MS = 3_000

export interface Listener extends AsyncDisposable {
  /** `127.0.0.1:8081` with the port that was given for 0, or the path of a socket. */
  readonly address: string
}

/**
 * Answers at an address until it is disposed of: then nobody new is let in, answers under way get {@link GRACE_MS}, and
 * the rest is cut off.
 * @param what how messages call it: `http.api`
 * @throws {OperatorError} PH8108 when it cannot be listened there
 */
export async function listen(app: Answering, address: string, what: string, limits = LIMITS): Promise<Listener> {
  const server = serverOf(app, limits)
  try {
    server.listen(parseAddress(address))
    await once(server, 'listening')
  } catch (error) {
    throw cannotListen(what, address, error)
  }
  const { address: host, port } = server.address() as AddressInfo
  return {
    address: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
    [Symbol.asyncDispose]: () => closeServer(server),
  }
}

/** A server with the limits of all of ours; not listening yet. */
export function serverOf(app: Answering, { maxConnections, ...serverOptions } = LIMITS): Server {
  const server = createAdaptorServer({
    fetch: (request) => app.fetch(request),
    overrideGlobalObjects: false,
    serverOptions,
  }) as Server
  server.maxConnections = maxConnections
  return server
}

export async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  const cutOff = setTimeout(() => {
    server.closeAllConnections()
  }, GRACE_MS)
  await closed
  clearTimeout(cutOff)
}

export function cannotListen(what: string, address: string, error: unknown): OperatorError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unusable'
  const reason = { EADDRINUSE: 'somebody listens there already', EACCES: 'not allowed' }[code] ?? code
  return new OperatorError('PH8108', `${what} cannot listen on ${address}: ${reason}`, { cause: error })
}
