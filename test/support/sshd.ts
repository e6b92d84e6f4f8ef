import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { describe } from 'vitest'

const execute = promisify(execFile)

const binary = ['/usr/sbin', ...(process.env['PATH'] ?? '').split(delimiter)]
  .map((folder) => join(folder, 'sshd'))
  .find((path) => existsSync(path))

/**
 * A suite that needs Debian's `openssh-server`: left out where that is not installed, unless
 * `PREHEATD_TEST_REQUIRE_REAL=1` turns the absence into a failure.
 */
export const describeWithSshd = describe.skipIf(
  binary === undefined && process.env['PREHEATD_TEST_REQUIRE_REAL'] !== '1',
)

/** A new private key, as `ssh-keygen` writes it. @param passphrase empty: none */
export async function sshKey(
  type: 'ed25519' | 'rsa' = 'ed25519',
  passphrase = '',
): Promise<{ identity: string; line: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'preheatd-key-'))
  try {
    const file = join(folder, 'key')
    const rounds = passphrase === '' ? [] : ['-a', '1']
    await execute('ssh-keygen', ['-q', '-t', type, '-N', passphrase, '-C', 'a test', '-f', file, ...rounds])
    return { identity: await readFile(file, 'utf8'), line: (await readFile(`${file}.pub`, 'utf8')).trim() }
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** A real OpenSSH server on loopback that lets one key in, to nothing but `git-shell`. */
export class Sshd implements AsyncDisposable {
  readonly port: number
  /** The line of `known_hosts` for it. */
  knownHosts: string
  readonly #folder: string
  #process: ChildProcess

  private constructor(port: number, folder: string, knownHosts: string, child: ChildProcess) {
    this.port = port
    this.#folder = folder
    this.knownHosts = knownHosts
    this.#process = child
  }

  /** @param authorized line of the public key that is let in */
  static async start(authorized: string): Promise<Sshd> {
    if (binary === undefined) throw new Error('sshd is not installed: apt-get install openssh-server')
    const folder = await mkdtemp(join(tmpdir(), 'preheatd-sshd-'))
    // What the package's service makes before it starts one.
    if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 })
    const port = await freePort()
    await writeFile(join(folder, 'authorized_keys'), `${authorized}\n`)
    const config = [
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${folder}/host_key`,
      `AuthorizedKeysFile ${folder}/authorized_keys`,
      'PidFile none',
      'StrictModes no',
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'AcceptEnv GIT_PROTOCOL',
      'ForceCommand git-shell -c "$SSH_ORIGINAL_COMMAND"',
    ]
    await writeFile(join(folder, 'sshd_config'), `${config.join('\n')}\n`)
    const knownHosts = await newHostKey(folder, port)
    return new Sshd(port, folder, knownHosts, await listening(folder))
  }

  /** Of a repository by its whole path. */
  url(dir: string): string {
    return `ssh://${userInfo().username}@127.0.0.1:${this.port}${dir}`
  }

  /** The host comes back with another key, as after a reinstallation, or as somebody else. */
  async changeHostKey(): Promise<void> {
    await this.#stop()
    this.knownHosts = await newHostKey(this.#folder, this.port)
    this.#process = await listening(this.#folder)
  }

  async #stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    this.#process.kill()
    await once(this.#process, 'exit')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

async function newHostKey(folder: string, port: number): Promise<string> {
  const { identity, line } = await sshKey()
  await rm(join(folder, 'host_key'), { force: true })
  await writeFile(join(folder, 'host_key'), identity, { mode: 0o600 })
  return `[127.0.0.1]:${port} ${line.split(' ').slice(0, 2).join(' ')}`
}

async function listening(folder: string): Promise<ChildProcess> {
  const child = spawn(binary!, ['-D', '-e', '-f', join(folder, 'sshd_config')], { stdio: ['ignore', 'ignore', 'pipe'] })
  const said: string[] = []
  for await (const line of createInterface(child.stderr)) {
    said.push(line)
    if (line.startsWith('Server listening')) {
      child.stderr.resume()
      return child
    }
  }
  throw new Error(`sshd ended: ${said.join('\n')}`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
