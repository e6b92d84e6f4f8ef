import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import { Repository, gitBinary } from '../support/repository.ts'

export interface GitRequest {
  readonly method: string
  readonly path: string
  readonly hasAuthorization: boolean
}

export type GitAuth =
  | { readonly type: 'none' }
  | { readonly type: 'basic'; readonly username: string; readonly password: string }
  | { readonly type: 'bearer'; readonly token: string }

/** How the server treats the next requests whose path matches. */
export type GitMood =
  | { readonly does: 'answer'; readonly status: number }
  /** Says nothing and keeps the connection. */
  | { readonly does: 'hang' }
  /** Closes the connection before anything is done. */
  | { readonly does: 'cut' }
  /** Does what was asked and closes the connection before saying so. */
  | { readonly does: 'cut-after' }
  /** Lets something else happen first. */
  | { readonly does: 'wait'; readonly for: () => Promise<void> }

/**
 * A git remote over smart HTTP: `git http-backend` behind a real socket, for every bare repository below `root`. The
 * daemon's git cannot tell it from a forge; it can be made to behave like one on a bad day.
 */
export class GitServer implements AsyncDisposable {
  /** Everything that was asked for, in order. */
  readonly requests: GitRequest[] = []
  /** Who is let in; may be changed at any time, as a rotated credential is. */
  auth: GitAuth = { type: 'none' }
  /** Pushes of who is let in are answered with 403, as for a read-only token. */
  isReadOnly = false
  /** Whether partial clones are served. */
  canFilter = true
  readonly #root: string
  readonly #server: Server
  readonly #moods: { mood: GitMood; path: RegExp; left: number }[] = []

  private constructor(root: string) {
    this.#root = root
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy())
    })
  }

  /** @param port 0: any; a former one: the remote is back at its address */
  static async start(root: string, port = 0): Promise<GitServer> {
    const server = new GitServer(root)
    server.#server.listen(port, '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** @param name of a bare repository below the root: `config.git` */
  url(name: string): string {
    return `${this.origin}/${name}`
  }

  /** Makes an empty bare repository below the root. */
  async create(name: string): Promise<Repository> {
    return await Repository.init(join(this.#root, name))
  }

  /** The next `times` requests whose path and query match are treated so. */
  next(mood: GitMood, path = /./, times = 1): void {
    this.#moods.push({ mood, path, left: times })
  }

  /** Back to good behaviour. */
  calm(): void {
    this.#moods.length = 0
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.origin)
    this.requests.push({
      method: request.method ?? '',
      path: url.pathname + url.search,
      hasAuthorization: request.headers.authorization !== undefined,
    })
    const mood = this.#moodFor(url.pathname + url.search)
    if (mood?.does === 'hang') return
    if (mood?.does === 'cut') {
      request.socket.destroy()
      return
    }
    if (mood?.does === 'wait') await mood.for()
    if (mood?.does === 'answer') {
      response.writeHead(mood.status, { location: 'http://127.0.0.1:9/elsewhere.git' }).end('not today')
      return
    }
    if (!this.#isLetIn(request.headers.authorization)) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end('who are you?')
      return
    }
    if (this.isReadOnly && url.toString().includes('git-receive-pack')) {
      response.writeHead(403).end('read-only token')
      return
    }
    const answer = await this.#backend(request, url)
    if (mood?.does === 'cut-after') {
      request.socket.destroy()
      return
    }
    response.writeHead(answer.status, answer.headers).end(answer.body)
  }

  #moodFor(path: string): GitMood | undefined {
    const found = this.#moods.find((one) => one.left > 0 && one.path.test(path))
    if (found === undefined) return undefined
    found.left--
    return found.mood
  }

  #isLetIn(authorization: string | undefined): boolean {
    switch (this.auth.type) {
      case 'none':
        return true
      case 'basic': {
        const { username, password } = this.auth
        return authorization === `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
      }
      case 'bearer':
        return authorization === `Bearer ${this.auth.token}`
      default:
        return this.auth satisfies never
    }
  }

  /** CGI as RFC 3875 has it. */
  async #backend(
    request: IncomingMessage,
    url: URL,
  ): Promise<{ status: number; headers: Record<string, string>; body: Buffer }> {
    const child = spawn(await gitBinary(), ['http-backend'], {
      env: {
        PATH: process.env['PATH'],
        HOME: '/dev/null',
        GIT_PROJECT_ROOT: this.#root,
        GIT_HTTP_EXPORT_ALL: '1',
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_COUNT: '2',
        GIT_CONFIG_KEY_0: 'http.receivepack',
        GIT_CONFIG_VALUE_0: 'true',
        GIT_CONFIG_KEY_1: 'uploadpack.allowFilter',
        GIT_CONFIG_VALUE_1: String(this.canFilter),
        GIT_PROTOCOL: header(request, 'git-protocol'),
        REQUEST_METHOD: request.method,
        PATH_INFO: decodeURIComponent(url.pathname),
        QUERY_STRING: url.search.slice(1),
        CONTENT_TYPE: header(request, 'content-type'),
        HTTP_CONTENT_ENCODING: header(request, 'content-encoding'),
        REMOTE_ADDR: '127.0.0.1',
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    // A backend that refuses ends before it has read the whole request.
    child.stdin.on('error', () => undefined)
    request.pipe(child.stdin)
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    await once(child, 'close')
    const output = Buffer.concat(chunks)
    const end = output.indexOf('\r\n\r\n')
    const fields = output
      .toString('latin1', 0, Math.max(end, 0))
      .split('\r\n')
      .map((line) => line.split(/: (.*)/s, 2) as [string, string])
    const { Status: status = end < 0 ? '500' : '200', ...headers } = Object.fromEntries(fields)
    return { status: Number.parseInt(status, 10), headers: end < 0 ? {} : headers, body: output.subarray(end + 4) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }
}

function header(request: IncomingMessage, name: string): string {
  const value = request.headers[name]
  return typeof value === 'string' ? value : ''
}
