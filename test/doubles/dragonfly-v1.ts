import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as nap } from 'node:timers/promises'

/**
 * Who answers: a supernode of 1.0.5 or 1.0.6, one before them that has no `/preheats`, a manager 2.0.0 that has it
 * elsewhere, one from 2.0.1 to 2.4.0, or one since 2.4.1 that has it no longer.
 */
export type DragonflyV1Dialect = '1.0.4' | '1.0.5' | '1.0.6' | '2.0.0' | 'compat' | 'removed'

/** What goes wrong with one request. */
export type DragonflyV1Trouble =
  | {
      readonly kind: 'answer'
      readonly status: number
      readonly body: string
      readonly headers?: Record<string, string>
    }
  | { readonly kind: 'slow'; readonly ms: number }
  /** Is read and never answered. */
  | { readonly kind: 'hang' }
  /** Is carried out, and the connection is cut in the middle of the answer. */
  | { readonly kind: 'cut' }

export interface DragonflyV1Options {
  readonly dialect: DragonflyV1Dialect
  /** How long a layer, and a manager's job, takes; default 0. */
  readonly jobMs?: number
  /** When a supernode first looks whether an image's layers are done, then every 10 s; default 2,000, as real ones. */
  readonly firstCheckMs?: number
  /** Default the system's. */
  now?(): number
}

/** A supernode's task, as `GET /preheats` lists it: an image, or a layer of one. */
interface Task {
  readonly ID: string
  readonly URL: string
  readonly Type: string
  readonly Headers: Readonly<Record<string, string>> | null
  readonly ParentID: string
  Children: string[] | null
  readonly StartTime: number
  FinishTime: number
  Status: 'WAITING' | 'RUNNING' | 'SUCCESS' | 'FAILED'
  ErrorMsg: string
}

/** A manager's job. */
interface Row {
  readonly url: string
  readonly createdAt: number
}

interface Answer {
  readonly status: number
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
}

const CHECK_EVERY_MS = 10_000
const TIMEOUT_MS = 30 * 60_000
const PLAIN = { 'content-type': 'text/plain; charset=utf-8' }

/**
 * `/preheats` in each of its dialects as contracts/dragonfly.md §5 tells it, over real sockets. A supernode reads the
 * manifest after it has answered, a manager before; neither fetches a layer. No endpoint asks for a credential.
 */
export class FakeDragonflyV1 implements AsyncDisposable {
  dialect: DragonflyV1Dialect
  /** Every request, in order: `GET /preheats/1`. */
  readonly requests: string[] = []
  /** Bodies of every POST as they arrived. */
  readonly posted: unknown[] = []
  /** Most POSTs that were under way at once. */
  postsAtOnce = 0
  /** Why the task of a layer (a supernode's) or of an image (a manager's) fails, by its URL; `undefined`: it does not. */
  failure: (url: string) => string | undefined = () => undefined
  /** Layers and jobs that never end. */
  endless = false
  /** What goes wrong with a request, `undefined` for nothing. */
  trouble: (request: string) => DragonflyV1Trouble | undefined = () => undefined

  readonly #options: DragonflyV1Options
  readonly #server: Server
  readonly #tasks = new Map<string, Task>()
  readonly #rows = new Map<string, Row>()
  readonly #workers = new Set<Promise<void>>()
  #postsNow = 0

  private constructor(options: DragonflyV1Options) {
    this.#options = options
    this.dialect = options.dialect
    this.#server = createServer((request, response) => {
      void this.#serve(request, response)
    })
  }

  static async start(options: DragonflyV1Options): Promise<FakeDragonflyV1> {
    const fake = new FakeDragonflyV1(options)
    fake.#server.listen(0, '127.0.0.1')
    await once(fake.#server, 'listening')
    return fake
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The next requests whose `METHOD path` begins like this go wrong. */
  troubleNext(times: number, beginning: string, trouble: DragonflyV1Trouble): void {
    let left = times
    this.trouble = (request) => (request.startsWith(beginning) && left-- > 0 ? trouble : undefined)
  }

  /** A supernode keeps its tasks in memory; a manager keeps its rows. */
  restart(): void {
    this.#tasks.clear()
  }

  /** Deletes a manager's rows, as the collector does by their age. */
  collect(): void {
    this.#rows.clear()
  }

  /** Resolves when a supernode has read every manifest that it was told of. */
  async settled(): Promise<void> {
    await Promise.all(this.#workers)
  }

  /** URLs of the layers that a supernode has tasks for, in the order in which they were begun. */
  get layers(): string[] {
    return [...this.#tasks.values()].filter(({ Type }) => Type === 'file').map((task) => task.URL)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const line = `${request.method} ${request.url}`
    this.requests.push(line)
    const trouble = this.trouble(line)
    const isPost = request.method === 'POST'
    if (isPost) this.postsAtOnce = Math.max(this.postsAtOnce, ++this.#postsNow)
    try {
      const body = await text(request)
      if (trouble?.kind === 'hang') {
        await once(response, 'close')
        return
      }
      if (trouble?.kind === 'slow') await nap(trouble.ms)
      const answer =
        trouble?.kind === 'answer'
          ? { headers: {}, ...trouble }
          : await this.#route(request.method ?? '', request.url ?? '', body)
      if (trouble?.kind === 'cut') {
        response.writeHead(answer.status, { ...answer.headers, 'content-length': answer.body.length + 1 })
        response.write(answer.body, () => request.socket.destroy())
      } else response.writeHead(answer.status, answer.headers).end(answer.body)
    } finally {
      if (isPost) this.#postsNow -= 1
    }
  }

  async #route(method: string, path: string, body: string): Promise<Answer> {
    if (this.dialect === '2.0.0' && path === '/healthy/') return json(200, 'OK')
    if (this.dialect === '2.0.0' || this.dialect === 'removed') return webConsole(method, path)
    const isManager = this.dialect === 'compat'
    const bare = isManager ? path : path.replace(/^\/(?:api\/v1|v[\d.]+)(?=\/)/, '')
    if (method === 'GET' && bare === '/_ping') return isManager ? json(200, 'OK') : plain(200, 'OK')
    const [found, id] = /^\/preheats(?:\/([^/]+))?$/.exec(bare) ?? []
    if (isManager) {
      if (method === 'POST' && found !== undefined && id === undefined) return await this.#managerCreate(body)
      return method === 'GET' && id !== undefined ? this.#managerGet(id) : webConsole(method, path)
    }
    if (method === 'GET' && bare === '/version') return json(200, { Version: this.dialect, GoVersion: 'go1.12.10' })
    if (found === undefined || this.dialect === '1.0.4') return plain(404, '404 page not found\n')
    if (method === 'POST' && id === undefined) return this.#create(body)
    for (const task of this.#tasks.values()) this.#advance(task)
    if (method === 'GET') return id === undefined ? json(200, [...this.#tasks.values()]) : this.#get(id)
    if (method !== 'DELETE' || id === undefined) return plain(405, '')
    for (const child of this.#tasks.get(id)?.Children ?? []) this.#tasks.delete(child)
    this.#tasks.delete(id)
    return json(200, true)
  }

  #create(body: string): Answer {
    if (body === '') return refused(400, 'empty request')
    const sent = parse(body)
    this.posted.push(sent ?? body)
    if (sent === undefined) return refused(400, 'invalid character looking for beginning of value')
    const { type, url, headers } = sent
    if (typeof type !== 'string') return refused(400, 'validation failure list:\ntype in body is required')
    if (typeof url !== 'string' || url.length < 3)
      return refused(400, 'validation failure list:\nurl in body is required')
    const created = this.#begin(url, type, (headers ?? null) as Task['Headers'], '')
    if (typeof created !== 'string') return refused(created.code, created.message)
    const worker = this.#preheat(created).finally(() => this.#workers.delete(worker))
    this.#workers.add(worker)
    return json(201, { ID: created })
  }

  /** Adds a task, or says why not: one of the same URL has ended. A running one takes a second worker. */
  #begin(
    url: string,
    type: string,
    headers: Task['Headers'],
    parent: string,
  ): string | { readonly code: number; readonly message: string } {
    const id = createHash('sha256').update(`a fixed key${url}`).digest('hex')
    const earlier = this.#tasks.get(id)
    if (earlier !== undefined) this.#advance(earlier)
    if (earlier !== undefined && earlier.FinishTime > 0)
      return { code: this.dialect === '1.0.5' ? 409 : 208, message: `preheat task already exists, id:${id}` }
    const fresh = { ID: id, URL: url, Type: type, Headers: headers, ParentID: parent, Children: null }
    const begun = {
      StartTime: this.#now(),
      FinishTime: 0,
      Status: type === 'image' ? 'WAITING' : 'RUNNING',
      ErrorMsg: '',
    }
    if (earlier === undefined) this.#tasks.set(id, { ...fresh, ...begun } as Task)
    return id
  }

  /** Reads the manifest and begins its layers, one after the other; the first that is there already ends it. */
  async #preheat(id: string): Promise<void> {
    const task = this.#tasks.get(id)
    if (task?.Type !== 'image') return
    const layers = await layersOf(task.URL, task.Headers)
    if (typeof layers === 'string') {
      this.#fail(task, layers, this.#now())
      return
    }
    const children: string[] = []
    for (const url of layers) {
      const child = this.#begin(url, 'file', task.Headers, id)
      if (typeof child !== 'string') {
        this.#fail(task, JSON.stringify({ Code: child.code, Msg: child.message }), this.#now())
        return
      }
      children.push(child)
    }
    task.Children = children
    task.Status = 'RUNNING'
  }

  /** What has become of a task by now. */
  #advance(task: Task): void {
    const now = this.#now()
    if (task.FinishTime > 0) return
    if (task.Type === 'file') {
      const endsAt = task.StartTime + (this.#options.jobMs ?? 0)
      if (this.endless || now < endsAt) return
      const failure = this.failure(task.URL)
      if (failure === undefined) Object.assign(task, { Status: 'SUCCESS', FinishTime: endsAt })
      else this.#fail(task, failure, endsAt)
      return
    }
    if (task.Children === null) return
    const firstMs = this.#options.firstCheckMs ?? 2_000
    for (let at = task.StartTime + firstMs; at <= now && task.FinishTime === 0; at += CHECK_EVERY_MS) {
      if (at >= task.StartTime + TIMEOUT_MS) this.#fail(task, 'timeout', task.StartTime + TIMEOUT_MS)
      else this.#check(task, at)
    }
  }

  #check(image: Task, at: number): void {
    const children = (image.Children ?? []).flatMap((id) => this.#tasks.get(id) ?? [])
    for (const child of children) this.#advance(child)
    const ended = children.filter(({ FinishTime }) => FinishTime > 0 && FinishTime <= at)
    const failed = ended.find(({ Status }) => Status === 'FAILED')
    if (failed !== undefined) this.#fail(image, `${failed.URL} ${failed.ErrorMsg}`, at)
    else if (ended.length === image.Children?.length) Object.assign(image, { Status: 'SUCCESS', FinishTime: at })
  }

  #fail(task: Task, message: string, at: number): void {
    Object.assign(task, { Status: 'FAILED', ErrorMsg: message, FinishTime: at })
  }

  #get(id: string): Answer {
    const task = this.#tasks.get(id)
    if (task === undefined) return refused(404, `${id} doesn't exists`)
    const errorMsg = task.ErrorMsg === '' ? {} : { errorMsg: task.ErrorMsg }
    const times = { startTime: iso(task.StartTime), finishTime: iso(task.FinishTime) }
    return json(200, { ID: id, ...times, status: task.Status, ...errorMsg })
  }

  async #managerCreate(body: string): Promise<Answer> {
    const sent = parse(body)
    this.posted.push(sent ?? body)
    if (sent === undefined) return json(422, { errors: body === '' ? 'EOF' : 'invalid character' })
    for (const key of ['type', 'url']) {
      if (typeof sent[key] === 'string' && sent[key] !== '') continue
      const field = key === 'url' ? 'URL' : 'Type'
      const errors = `Key: 'CreateV1PreheatRequest.${field}' Error:Field validation for '${field}' failed on the 'required' tag`
      return json(422, { errors })
    }
    const url = sent['url'] as string
    const layers = await layersOf(url, (sent['headers'] ?? null) as Task['Headers'])
    if (typeof layers === 'string') return json(500, { message: layers })
    const id = `${this.#rows.size + 1}`
    this.#rows.set(id, { url, createdAt: this.#now() })
    return json(200, { id })
  }

  #managerGet(id: string): Answer {
    const row = this.#rows.get(id)
    if (row === undefined) return json(500, { message: 'rpc error: code = Unknown desc = record not found' })
    const endsAt = row.createdAt + (this.#options.jobMs ?? 0)
    const isOver = !this.endless && this.#now() >= endsAt
    const status = !isOver ? 'WAITING' : this.failure(row.url) === undefined ? 'SUCCESS' : 'FAIL'
    const finishTime = goTime(isOver ? endsAt : this.#now())
    return json(200, { id, status, startTime: goTime(row.createdAt), finishTime })
  }

  #now(): number {
    return this.#options.now?.() ?? Date.now()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** The layers' URLs, without the config's; or what the registry said instead. */
async function layersOf(url: string, headers: Task['Headers']): Promise<string[] | string> {
  const [, base] = /^(https?:\/\/[^/]+\/v2\/.+)\/manifests\/[^/]+$/.exec(url) ?? []
  if (base === undefined) return 'parse access url failed'
  try {
    const response = await fetch(url, { headers: { ...headers } })
    const body = await response.text()
    if (!response.ok) return `${response.status} ${response.statusText} ${body}`
    const layers = (parse(body)?.['layers'] ?? []) as { readonly digest: string }[]
    return layers.map(({ digest }) => `${base}/blobs/${digest}`)
  } catch {
    return `Get ${url}: dial tcp: connect: connection refused`
  }
}

/** The web console: everything that is not an API leads to it. */
function webConsole(method: string, path: string): Answer {
  if (method === 'GET' && path === '/healthy') return json(200, 'OK')
  if (method === 'GET' && path === '/healthy/') return { status: 301, body: '', headers: { location: '/healthy' } }
  if (method === 'GET' && path === '/')
    return { status: 200, body: '<!doctype html><title>Dragonfly</title>', headers: { 'content-type': 'text/html' } }
  return { status: 301, body: '', headers: { location: '/' } }
}

function json(status: number, body: unknown): Answer {
  return { status, body: JSON.stringify(body), headers: { 'content-type': 'application/json; charset=utf-8' } }
}

function plain(status: number, body: string): Answer {
  return { status, body, headers: PLAIN }
}

/** A supernode's error. */
function refused(code: number, message: string): Answer {
  return json(code, { code, message })
}

function parse(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function iso(at: number): string {
  return new Date(at).toISOString()
}

/** As Go prints a time: not ISO. */
function goTime(at: number): string {
  return `${iso(at).slice(0, 19).replace('T', ' ')} +0000 UTC`
}
