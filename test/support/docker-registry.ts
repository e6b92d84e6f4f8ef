import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { describe } from 'vitest'

const execute = promisify(execFile)

const binary = ['/usr/bin', ...(process.env['PATH'] ?? '').split(delimiter)]
  .map((folder) => join(folder, 'docker-registry'))
  .find((path) => existsSync(path))

/**
 * A suite that needs Debian's `docker-registry`: left out where that is not installed, unless
 * `PREHEATD_TEST_REQUIRE_REAL=1` turns the absence into a failure.
 */
export const describeWithDockerRegistry = describe.skipIf(
  binary === undefined && process.env['PREHEATD_TEST_REQUIRE_REAL'] !== '1',
)

/** The one account of a registry that asks for one; the hash is bcrypt, which Node cannot make. */
export const registryAccount = {
  username: 'preheatd',
  password: 'correct horse battery',
  authorization: `Basic ${Buffer.from('preheatd:correct horse battery').toString('base64')}`,
}
const HTPASSWD = 'preheatd:$2b$04$XSxnOm1l6vQ7GJoPC69OJ.d50TO0Rk3qoKCqJmZVywOF2ozlAo83C\n'

export interface DockerRegistryOptions {
  /** Ask for {@link registryAccount}. */
  readonly htpasswd?: boolean
  /** Be a pull-through cache of that registry. */
  readonly proxy?: { readonly remoteurl: string; readonly username?: string; readonly password?: string }
}

/** A real registry of Debian's package on loopback, with storage of its own that goes when it is disposed. */
export class DockerRegistry implements AsyncDisposable {
  /** `http://127.0.0.1:43933` */
  readonly endpoint: string
  readonly #process: ChildProcess
  readonly #folder: string

  private constructor(endpoint: string, child: ChildProcess, folder: string) {
    this.endpoint = endpoint
    this.#process = child
    this.#folder = folder
  }

  static async start(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    if (binary === undefined) throw new Error('docker-registry is not installed: apt-get install docker-registry')
    const folder = await mkdtemp(join(tmpdir(), 'preheatd-registry-'))
    const htpasswd = join(folder, 'htpasswd')
    await writeFile(htpasswd, HTPASSWD)
    const config = {
      version: 0.1,
      log: { level: 'info', formatter: 'json' },
      storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: true } },
      // Port 0: the system picks a free one, and the log says which.
      http: { addr: '127.0.0.1:0', secret: 'not a secret' },
      ...(options.htpasswd === true && { auth: { htpasswd: { realm: 'test', path: htpasswd } } }),
      ...(options.proxy && { proxy: options.proxy }),
    }
    const file = join(folder, 'config.yml')
    await writeFile(file, JSON.stringify(config))
    const child = spawn(binary, ['serve', file], { stdio: ['ignore', 'ignore', 'pipe'] })
    return new DockerRegistry(`http://${await addressOf(child)}`, child, folder)
  }

  /** Puts a repository into the storage with all that is in another one, which is quicker than to push all of it. */
  async copy(from: string, to: string): Promise<void> {
    const repositories = join(this.#storage, 'repositories')
    await mkdir(dirname(join(repositories, to)), { recursive: true })
    await execute('cp', ['-a', join(repositories, from), join(repositories, to)])
  }

  /** Does its storage hold the whole of this blob or manifest? A cache stores after it has answered. */
  stores(digest: string): boolean {
    const hex = digest.slice('sha256:'.length)
    return existsSync(join(this.#storage, 'blobs', 'sha256', hex.slice(0, 2), hex, 'data'))
  }

  get #storage(): string {
    return join(this.#folder, 'data', 'docker', 'registry', 'v2')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const gone = once(this.#process, 'exit')
      this.#process.kill('SIGKILL')
      await gone
    }
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** Reads its log until it says where it listens, and keeps reading so that the pipe never fills. */
async function addressOf(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stderr! })
  return new Promise((resolve, reject) => {
    const said: string[] = []
    lines.on('line', (line) => {
      if (said.length < 50) said.push(line)
      const address = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1]
      if (address !== undefined) resolve(address)
    })
    child.once('error', reject)
    child.once('exit', (code) => {
      reject(new Error(`docker-registry ended with ${code}: ${said.join('\n')}`))
    })
  })
}
