import { lookup, type LookupAddress, type LookupOptions } from 'node:dns'
import { BlockList, isIP } from 'node:net'
import { Agent, errors, type Dispatcher } from 'undici'
import { withDeadline } from './deadline.ts'
import { EdgeError, OperatorError, excerpt } from './model/errors.ts'
import type { Code } from './model/codes.ts'
import type { SecretHeader } from './model/secret.ts'

/** File contents, read by the caller. */
export interface TlsMaterial {
  readonly ca: Buffer | undefined
  readonly cert: Buffer | undefined
  readonly key: Buffer | undefined
  readonly insecureSkipVerify: boolean
}

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'DELETE'
  /** Path and query below the endpoint, or a whole URL of another host (redirects, token realms). */
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  /** Sent to the endpoint's own origin only, unless the URL names another and the caller vouches for it. */
  readonly secretHeader?: SecretHeader | undefined
  readonly body?: string
  readonly timeoutMs: number
  /** A longer answer is refused while it streams. */
  readonly maxBytes: number
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly bytes: Buffer
}

/** Which codes this origin's silences and nonsense are reported by. */
export interface HttpCodes {
  readonly unreachable: Code
  readonly unintelligible: Code
}

/**
 * Speaks HTTP to one endpoint through one undici agent. Redirects are not followed. Link-local and metadata addresses
 * are refused when the name is resolved, so that a name which points there is as little use as the address itself.
 */
export class HttpOrigin implements AsyncDisposable {
  readonly #endpoint: URL
  readonly #who: string
  readonly #codes: HttpCodes
  readonly #agent: Agent

  /** @param who how messages call it: `provider dragonfly-eu` */
  constructor(endpoint: string, who: string, codes: HttpCodes, tls: TlsMaterial | undefined) {
    this.#endpoint = new URL(endpoint)
    this.#who = who
    this.#codes = codes
    this.#agent = new Agent({
      connections: 64,
      connect: {
        timeout: 10_000,
        lookup: guardedLookup,
        ...(tls?.ca && { ca: tls.ca }),
        ...(tls?.cert && { cert: tls.cert }),
        ...(tls?.key && { key: tls.key }),
        rejectUnauthorized: tls?.insecureSkipVerify !== true,
      },
    })
  }

  /**
   * Sends one request and reads the whole answer; any status is an answer.
   * @throws {EdgeError} `unavailable` for every silence, `unintelligible` for an answer over `maxBytes`
   * @throws {OperatorError} PH3013 for an address that is never contacted
   * @throws the signal's reason
   */
  async send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    return await this.#exchange(request, ({ body }) => this.#readAll(body, request.maxBytes), {}, signal)
  }

  /**
   * As {@link send}, but the body of a 200 goes to `onChunk` piece by piece and is kept nowhere; `bytes` is then empty.
   * The first byte may take as long as the whole: a cache may fetch before it answers.
   * @throws what `onChunk` throws; the rest is not read
   */
  async stream(request: HttpRequest, onChunk: (chunk: Buffer) => void, signal: AbortSignal): Promise<HttpAnswer> {
    const read = async ({ statusCode, body }: Dispatcher.ResponseData): Promise<Buffer> => {
      if (statusCode !== 200) return await this.#readAll(body, request.maxBytes)
      for await (const chunk of body as AsyncIterable<Buffer>) onChunk(chunk)
      return Buffer.alloc(0)
    }
    return await this.#exchange(request, read, { headersTimeout: request.timeoutMs }, signal)
  }

  async #exchange(
    request: HttpRequest,
    read: (answer: Dispatcher.ResponseData) => Promise<Buffer>,
    timeouts: { readonly headersTimeout?: number },
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const url = /^https?:\/\//.test(request.url)
      ? new URL(request.url)
      : new URL(this.#endpoint.href.replace(/\/$/, '') + request.url)
    refuseLiteral(url)
    const headers: Record<string, string> = { 'user-agent': 'preheatd', ...request.headers }
    if (request.secretHeader) headers[request.secretHeader.name] = request.secretHeader.value.reveal()
    try {
      return await withDeadline(request.timeoutMs, signal, async (both) => {
        const answer = await this.#agent.request({
          origin: url.origin,
          path: url.pathname + url.search,
          method: request.method,
          headers,
          body: request.body ?? null,
          signal: both,
          // undici closes the connection after a HEAD otherwise: a handshake a tag, thousands in a listing.
          reset: false,
          ...timeouts,
        })
        return { status: answer.statusCode, headers: flat(answer.headers), bytes: await read(answer) }
      })
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (error instanceof EdgeError || error instanceof OperatorError) throw error
      const cause = error instanceof Error ? error : new Error(String(error))
      throw new EdgeError(
        'unavailable',
        this.#codes.unreachable,
        `${this.#who} does not answer: ${excerpt(reasonOf(cause))}`,
        // A parser's error carries what it could not parse, which may be an echo of what we sent.
        cause instanceof errors.HTTPParserError ? {} : { cause },
      )
    }
  }

  async #readAll(body: Dispatcher.ResponseData['body'], maxBytes: number): Promise<Buffer> {
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > maxBytes) {
        body.destroy()
        throw new EdgeError(
          'unintelligible',
          this.#codes.unintelligible,
          `${this.#who} answered with more than ${maxBytes} bytes`,
        )
      }
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy()
  }
}

/** Seconds or an HTTP date, as milliseconds from `now`, at most five minutes; undefined for absence and garbage. */
export function retryAfterMs(headers: HttpAnswer['headers'], now: number): number | undefined {
  const text = headers['retry-after']
  if (text === undefined) return undefined
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Number.isFinite(ms) && ms >= 0 ? Math.min(ms, 300_000) : undefined
}

/** A status that names another place. */
export function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status)
}

/**
 * Where a redirect leads, without the credentials that it may carry; undefined when it is not followed: to anything but
 * a web address, and from https to http.
 */
export function redirectTarget(from: URL, location: string): URL | undefined {
  const to = URL.parse(location, from.href)
  if (to === null || !/^https?:$/.test(to.protocol)) return undefined
  if (from.protocol === 'https:' && to.protocol === 'http:') return undefined
  to.username = ''
  to.password = ''
  return to
}

const never = new BlockList()
never.addSubnet('169.254.0.0', 16)
never.addSubnet('fe80::', 10, 'ipv6')
// The same through NAT64 (RFC 6052).
never.addSubnet('64:ff9b::a9fe:0', 112, 'ipv6')
// Metadata services that are not link-local: AWS over IPv6, Alibaba Cloud, Oracle Cloud.
never.addAddress('fd00:ec2::254', 'ipv6')
never.addAddress('100.100.100.200')
never.addAddress('192.0.0.192')

/** Is this address one that is never contacted? IPv4 in IPv6 clothing included. */
export function isRefusedAddress(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && never.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

function refuse(address: string): OperatorError {
  return new OperatorError('PH3013', `${address} is a link-local or metadata address`)
}

function refuseLiteral(url: URL): void {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isRefusedAddress(host)) throw refuse(host)
}

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void

function guardedLookup(hostname: string, options: LookupOptions, callback: LookupCallback): void {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) {
      callback(error, [])
      return
    }
    const bad = addresses.find(({ address }) => isRefusedAddress(address))
    if (bad !== undefined) callback(refuse(bad.address), [])
    else if (options.all === true) callback(null, addresses)
    else callback(null, addresses[0]!.address, addresses[0]!.family)
  })
}

function flat(headers: Dispatcher.ResponseData['headers']): HttpAnswer['headers'] {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  )
}

/** undici wraps what the socket said; the innermost cause is what helps a person. */
function reasonOf(error: Error): string {
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return reasonOf(error.errors[0])
  return error.cause instanceof Error && error.message === 'fetch failed' ? reasonOf(error.cause) : error.message
}
