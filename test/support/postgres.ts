import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterAll, beforeAll, describe } from 'vitest'

const run = promisify(execFile)
const DEBIAN = '/usr/lib/postgresql'

/** Debian's newest server. */
const bin = existsSync(DEBIAN)
  ? readdirSync(DEBIAN)
      .sort((a, b) => Number(b) - Number(a))
      .map((version) => join(DEBIAN, version, 'bin'))
      .find((folder) => existsSync(join(folder, 'initdb')))
  : undefined

/**
 * A suite with a PostgreSQL of its own: left out where Debian's `postgresql` is not installed, unless
 * `PREHEATD_TEST_REQUIRE_REAL=1` turns the absence into a failure.
 * @param suite gets what makes a new, empty database and tells its URL
 */
export function describeWithPostgres(title: string, suite: (newUrl: () => Promise<string>) => void): void {
  describe.skipIf(bin === undefined && process.env['PREHEATD_TEST_REQUIRE_REAL'] !== '1')(title, () => {
    let postgres: Postgres
    beforeAll(async () => {
      postgres = await Postgres.start()
    }, 60_000)
    afterAll(async () => {
      await postgres[Symbol.asyncDispose]()
    })
    suite(() => postgres.database())
  })
}

/** A real PostgreSQL on loopback with a folder of its own, which goes when it is disposed. */
export class Postgres implements AsyncDisposable {
  readonly #port: number
  readonly #folder: string

  private constructor(port: number, folder: string) {
    this.#port = port
    this.#folder = folder
  }

  /** @param fsync `on`: what it commits is on the disk, as a server's data is that somebody needs */
  static async start(fsync: 'on' | 'off' = 'off'): Promise<Postgres> {
    if (bin === undefined) throw new Error('PostgreSQL is not installed: apt-get install postgresql')
    const folder = await mkdtemp(join(tmpdir(), 'preheatd-postgres-'))
    await chmod(folder, 0o777)
    const data = join(folder, 'data')
    await asPostgres('initdb', ['-D', data, '-A', 'trust', '-U', 'postgres', '--no-sync'])
    const port = await freePort()
    const settings = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=${folder} -c fsync=${fsync} -c max_connections=200`
    await asPostgres('pg_ctl', ['-w', '-D', data, '-l', join(folder, 'log'), '-o', settings, 'start'])
    return new Postgres(port, folder)
  }

  /** The URL of a new, empty database. */
  async database(): Promise<string> {
    const name = `test_${Math.random().toString(36).slice(2)}`
    const client = new pg.Client(this.#url('postgres'))
    await client.connect()
    await client.query(`create database ${name}`)
    await client.end()
    return this.#url(name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await asPostgres('pg_ctl', ['-D', join(this.#folder, 'data'), '-m', 'immediate', 'stop']).catch(() => undefined)
    await rm(this.#folder, { recursive: true, force: true })
  }

  #url(name: string): string {
    return `postgres://postgres@127.0.0.1:${this.#port}/${name}`
  }
}

/** The server refuses to run as root. */
async function asPostgres(program: string, args: readonly string[]): Promise<void> {
  const path = join(bin ?? '', program)
  if (process.getuid?.() !== 0) await run(path, [...args])
  else await run('runuser', ['-u', 'postgres', '--', path, ...args])
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
