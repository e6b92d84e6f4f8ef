import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'

/** What stands behind a digest where the origins read from. */
export type Content =
  /** Is there. */
  | { readonly kind: 'blob'; readonly sizeBytes: number; readonly pullMs?: number }
  /** Is there, and is a manifest: what it refers to follows it. */
  | {
      readonly kind: 'manifest'
      readonly sizeBytes: number
      readonly mediaType: string
      readonly references: readonly string[]
    }
  /** Its stat fails at once. */
  | { readonly kind: 'error'; readonly status: number; readonly text: string }
  /** Its stat succeeds, and the pull fails after so long. */
  | { readonly kind: 'failing'; readonly afterMs: number; readonly text: string }

export type ServerName = 'proxy' | 'tracker' | `origin-${number}`

/** What goes wrong with one request. */
export type Trouble =
  | {
      readonly kind: 'answer'
      readonly status: number
      readonly body?: string
      readonly headers?: Record<string, string>
    }
  /** Is answered as ever, and only after so long: a manifest that has to be pulled first. */
  | { readonly kind: 'slow'; readonly ms: number }
  /** Is read and never answered. */
  | { readonly kind: 'hang' }
  /** The connection is cut before the answer. */
  | { readonly kind: 'cut' }

export interface KrakenOptions {
  /** Default 3. */
  readonly origins?: number
  /** Owners of a blob; default 2. */
  readonly replicas?: number
  /** `nginx`: the port that knows no notifications. Default `raw`. */
  readonly proxyPort?: 'raw' | 'nginx'
  /** `0.1.6`: knows no prefetch, and of several events in a request only the last. Default `0.1.27`. */
  readonly version?: '0.1.6' | '0.1.27'
  /** What the origins read from; a registry denies having OCI manifests. Default `registry`. */
  readonly backend?: 'registry' | 'other'
  /** With mutual TLS all but GET and HEAD need a certificate, which nobody has here. */
  readonly wantsCertificates?: boolean
  /** How long an origin takes to copy a blob to the other owners; default 0, Infinity: it never does. */
  readonly copyMs?: number
  now(): number
}

/** A failed pull is told for so long. */
const ERROR_MEMORY_MS = 15_000
/** A blob that nobody has read for so long is dropped. */
export const IDLE_MS = 6 * 3_600_000
const OCI = /^application\/vnd\.oci\./
const NOTIFIABLE =
  /^application\/vnd\.(?:docker\.distribution\.manifest\.v\d+\+(?:json|prettyjws)|oci\.image\.manifest\.v1\+json)/

interface Answer {
  readonly status: number
  readonly body?: string
  readonly headers?: Record<string, string>
}

interface Event {
  readonly action?: string
  readonly timestamp?: string
  readonly target?: { readonly mediaType?: string; readonly digest?: string; readonly repository?: string }
}

/** A pull by one origin. */
interface Pull {
  readonly endsAt: number
  /** Undefined: it succeeds. */
  readonly error: string | undefined
}

/**
 * A Kraken cluster of v0.1.27 as contracts/kraken-and-registries.md §1 tells it, as far as preheats need it: proxy,
 * origins and tracker over real sockets. Time is its owner's. Errors are plain text, successes have no body.
 */
export class FakeKraken implements AsyncDisposable {
  /** Every request in order: `origin-1 GET /health`. */
  readonly requests: string[] = []
  /** Of requests to the proxy, in order. */
  readonly notifications: { readonly events: readonly Event[] }[] = []
  /** By digest; what is not named here, the backend does not have. */
  readonly contents = new Map<string, Content>()
  /** Of one digest, instead of the hash ring's choice. */
  readonly ownersOf = new Map<string, readonly string[]>()
  trouble: (server: ServerName, line: string) => Trouble | undefined = () => undefined
  readonly #options: KrakenOptions
  readonly #servers = new Map<ServerName, Server>()
  /** Kept by name when its server has stopped. */
  readonly #ports = new Map<ServerName, number>()
  /** By origin and digest: since when it is held, and when it was last read. */
  readonly #held = new Map<string, { since: number; readAt: number }>()
  readonly #pulls = new Map<string, Pull>()
  /** By path: what nginx before the tracker keeps. */
  readonly #relayed = new Map<string, { readonly answer: Answer; readonly until: number }>()

  private constructor(options: KrakenOptions) {
    this.#options = options
  }

  static async start(options: KrakenOptions): Promise<FakeKraken> {
    const kraken = new FakeKraken(options)
    const origins = Array.from({ length: options.origins ?? 3 }, (_, i) => `origin-${i + 1}` as const)
    for (const name of ['proxy', 'tracker', ...origins] as const) {
      const server = createServer((request, response) => void kraken.#serve(name, request, response))
      kraken.#servers.set(name, server)
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      kraken.#ports.set(name, (server.address() as AddressInfo).port)
    }
    return kraken
  }

  endpoint(name: ServerName): string {
    return `http://${this.address(name)}`
  }

  address(name: ServerName): string {
    return `127.0.0.1:${this.#ports.get(name)!}`
  }

  get origins(): readonly ServerName[] {
    return [...this.#servers.keys()].filter((name) => name.startsWith('origin-'))
  }

  /** Puts an image where the origins read from. */
  add(manifest: string, mediaType: string, sizeBytes: number, blobs: readonly (readonly [string, number])[]): void {
    this.contents.set(manifest, { kind: 'manifest', sizeBytes, mediaType, references: blobs.map(([one]) => one) })
    for (const [blob, size] of blobs) this.contents.set(blob, { kind: 'blob', sizeBytes: size })
  }

  /** Stops listening: whoever connects is refused. */
  async stop(name: ServerName): Promise<void> {
    const server = this.#servers.get(name)!
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }

  /** The names of the origins that hold it now. */
  holders(digest: string): ServerName[] {
    return this.origins.filter((origin) => this.#holds(origin, digest))
  }

  /** As the clean-up of an origin does, or a person with DELETE. */
  drop(origin: ServerName, digest: string): void {
    this.#held.delete(`${origin} ${digest}`)
    this.#pulls.delete(`${origin} ${digest}`)
  }

  async #serve(name: ServerName, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const line = `${request.method} ${request.url}`
    const body = await text(request)
    this.requests.push(`${name} ${line}`)
    const trouble = this.trouble(name, line)
    if (trouble?.kind === 'hang') return
    if (trouble?.kind === 'cut') {
      request.socket.destroy()
      return
    }
    if (trouble?.kind === 'slow') await setTimeout(trouble.ms)
    const answer = trouble?.kind === 'answer' ? trouble : this.#answer(name, request, body)
    if (answer === undefined) request.socket.destroy()
    else response.writeHead(answer.status, answer.headers ?? plain(answer)).end(answer.body)
  }

  /** Undefined: the handler crashes. */
  #answer(name: ServerName, { method = '', url = '' }: IncomingMessage, body: string): Answer | undefined {
    if (url === '/health') return { status: 200, body: 'OK\n' }
    if (name === 'proxy') return this.#proxy(method, url, body)
    if (url === '/readiness') return { status: 200, body: 'OK\n' }
    if (this.#options.wantsCertificates === true && method !== 'GET' && method !== 'HEAD')
      return { status: 403, body: '' }
    return name === 'tracker' ? this.#tracker(url) : this.#origin(name, method, url)
  }

  #proxy(method: string, url: string, body: string): Answer | undefined {
    const isNginx = this.#options.proxyPort === 'nginx'
    if (isNginx || method !== 'POST' || url !== '/registry/notifications')
      return { status: 404, body: '404 page not found\n' }
    let envelope: { events: readonly Event[] }
    try {
      envelope = JSON.parse(body) as { events: readonly Event[] }
    } catch (error) {
      return { status: 500, body: `decode body: ${String(error)}` }
    }
    const bad = envelope.events.find(({ timestamp }) => timestamp !== undefined && Number.isNaN(Date.parse(timestamp)))
    if (bad) return { status: 500, body: `decode body: parsing time "${bad.timestamp}"` }
    this.notifications.push(envelope)
    if (envelope.events.some(({ target }) => target === undefined)) return undefined
    const { events } = envelope
    // Up to v0.1.6 every event of a request is the last one (Go's loop variable).
    for (const event of this.#options.version === '0.1.6' ? events.map(() => events.at(-1)!) : events)
      this.#handle(event)
    return { status: 200 }
  }

  /** Whatever goes wrong in here goes to a log. */
  #handle({ action, target }: Event): void {
    if (action !== 'push' || !NOTIFIABLE.test(target?.mediaType ?? '')) return
    const digest = target?.digest ?? ''
    if (this.#pull(this.#owners(digest)[0], digest).status >= 400) return
    const content = this.contents.get(digest)
    if (content?.kind !== 'manifest') return
    // Of an index these are the manifests that it lists, and never their layers.
    for (const one of content.references) this.#pull(this.#owners(one)[0], one)
  }

  /** nginx before the tracker keeps what it said: a 200 for five minutes, all else for a second. */
  #tracker(url: string): Answer {
    const digest = /^\/namespace\/[^/]+\/blobs\/([^/]+)\/metainfo$/.exec(url)?.[1]
    if (digest === undefined) return { status: 404, body: '404 page not found\n' }
    const kept = this.#relayed.get(url)
    if (kept !== undefined && this.#now() < kept.until) return kept.answer
    const answer = this.#relay(digest)
    this.#relayed.set(url, { answer, until: this.#now() + (answer.status === 200 ? 300_000 : 1_000) })
    return answer
  }

  /** What the first owner says that does not refuse, and the last one's refusal; with words before all but a 200. */
  #relay(digest: string): Answer {
    let said: Answer = { status: 500, body: 'no origin' }
    for (const owner of this.#owners(digest)) {
      said = this.#pull(owner, digest)
      if (said.status < 400) break
    }
    return said.status === 200 ? said : { status: said.status, body: `origin: ${said.body ?? ''}` }
  }

  #origin(name: ServerName, method: string, url: string): Answer {
    const digest = /\/blobs\/([^/?]+)/.exec(url)?.[1] ?? ''
    const route = `${method} ${url.replace(digest, '{d}').replace(/\/namespace\/[^/]+\//, '/namespace/{ns}/')}`
    if (!/^sha256:[0-9a-f]{64}$/.test(digest) && digest !== '') return { status: 400, body: 'parse digest: invalid' }
    switch (route) {
      case 'GET /blobs/{d}/locations': {
        const header = this.#owners(digest).map((one) => (this.#isOrigin(one) ? this.address(one) : one))
        return { status: 200, headers: { 'origin-locations': header.join(',') } }
      }
      case 'GET /internal/namespace/{ns}/blobs/{d}/metainfo':
        return this.#pull(name, digest)
      case 'POST /namespace/{ns}/blobs/{d}/prefetch': {
        if (this.#options.version === '0.1.6') break
        const entry = this.#holds(name, digest) ? this.#held.get(`${name} ${digest}`) : undefined
        if (entry) entry.readAt = this.#now()
        return { ...this.#pull(name, digest), ...(entry && { body: '' }) }
      }
      case 'HEAD /internal/namespace/{ns}/blobs/{d}?local=true':
        return this.#holds(name, digest)
          ? { status: 200, headers: { 'content-length': `${this.#sizeOf(digest)}` } }
          : { status: 404 }
      // Without `local` it means: here or where this origin reads from.
      case 'HEAD /internal/namespace/{ns}/blobs/{d}':
        return { status: this.#holds(name, digest) || this.#stat(digest) === undefined ? 200 : 404 }
      default:
        break
    }
    return { status: 404, body: '404 page not found\n' }
  }

  /** 200 held, 202 being pulled, otherwise why not. A pull that is not known is begun. */
  #pull(origin: string | undefined, digest: string): Answer {
    if (origin === undefined || !this.#isOrigin(origin)) return { status: 500, body: 'no origin' }
    if (this.#holds(origin, digest)) return { status: 200, body: metainfo(digest, this.#sizeOf(digest)) }
    const refused = this.#stat(digest)
    if (refused) return refused
    const key = `${origin} ${digest}`
    const pull = this.#pulls.get(key)
    const now = this.#now()
    if (pull !== undefined && now < pull.endsAt) return { status: 202 }
    if (pull?.error !== undefined && now < pull.endsAt + ERROR_MEMORY_MS) return { status: 500, body: pull.error }
    const content = this.contents.get(digest)
    if (content?.kind === 'failing') this.#pulls.set(key, { endsAt: now + content.afterMs, error: content.text })
    else this.#begin(origin, digest, now + (content?.kind === 'blob' ? (content.pullMs ?? 0) : 0))
    return { status: 202 }
  }

  #begin(origin: ServerName, digest: string, endsAt: number): void {
    this.#pulls.set(`${origin} ${digest}`, { endsAt, error: undefined })
    this.#hold(origin, digest, endsAt)
    const copiedAt = endsAt + (this.#options.copyMs ?? 0)
    for (const other of this.#owners(digest))
      if (other !== origin && copiedAt !== Infinity && this.#isOrigin(other)) this.#hold(other, digest, copiedAt)
  }

  #hold(origin: ServerName, digest: string, since: number): void {
    const key = `${origin} ${digest}`
    const before = this.#held.get(key)
    if (before === undefined || !this.#isFresh(before)) this.#held.set(key, { since, readAt: since })
  }

  #holds(origin: string, digest: string): boolean {
    const entry = this.#held.get(`${origin} ${digest}`)
    return entry !== undefined && entry.since <= this.#now() && this.#isFresh(entry)
  }

  #isFresh({ readAt }: { readonly readAt: number }): boolean {
    return this.#now() < readAt + IDLE_MS
  }

  /** What the backend says at once; undefined: it is there. */
  #stat(digest: string): Answer | undefined {
    const content = this.contents.get(digest)
    if (content === undefined) return { status: 404 }
    if (content.kind === 'error') return { status: content.status, body: content.text }
    // Asked without Accept, a registry denies having an OCI manifest.
    const denied = content.kind === 'manifest' && OCI.test(content.mediaType) && this.#options.backend !== 'other'
    return denied ? { status: 404 } : undefined
  }

  /** Best first, by rendezvous hash. */
  #owners(digest: string): readonly string[] {
    const weight = (origin: string) => createHash('sha256').update(`${origin} ${digest}`).digest('hex')
    return (
      this.ownersOf.get(digest) ??
      this.origins.toSorted((a, b) => weight(b).localeCompare(weight(a))).slice(0, this.#options.replicas ?? 2)
    )
  }

  #isOrigin(name: string): name is ServerName {
    return name.startsWith('origin-') && this.#servers.has(name as ServerName)
  }

  #sizeOf(digest: string): number {
    const content = this.contents.get(digest)
    return content?.kind === 'blob' || content?.kind === 'manifest' ? content.sizeBytes : 0
  }

  #now(): number {
    return this.#options.now()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [name, server] of this.#servers) if (server.listening) await this.stop(name)
  }
}

function plain({ body }: Answer): Record<string, string> {
  return body === undefined || body === '' ? {} : { 'content-type': 'text/plain; charset=utf-8' }
}

function metainfo(digest: string, length: number): string {
  return JSON.stringify({ Info: { PieceLength: 4_194_304, PieceSums: [1], Name: digest.slice(7), Length: length } })
}
