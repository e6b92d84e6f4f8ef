import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, copyFile, mkdir, open as openFile, readdir, stat, truncate, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Kysely, Migrator, SqliteDialect } from 'kysely'
import Database from 'libsql'
import { describe, expect, test } from 'vitest'
import { openEmbeddedStore, openLedger, type MovedAside } from '../../src/store/embedded.ts'
import { initial } from '../../src/store/migrations/0001-initial.ts'
import { isCorrupt, openDurable } from '../../src/store/sqlite.ts'
import type { Tables } from '../../src/store/tables.ts'
import { describesAStore } from '../contract/store-contract.ts'
import { EXAMPLE_AT, execution } from '../support/examples.ts'
import { temporaryFolder } from '../support/repository.ts'
import { newEmbeddedPlace } from '../support/stores.ts'

describe('the embedded store', () => {
  describesAStore(newEmbeddedPlace)

  test('is a folder and files that nobody else can read', async () => {
    await using folder = await temporaryFolder()
    const dir = join(folder.path, 'a', 'state')

    await using store = await openEmbeddedStore(dir)
    await store.recordPush(EXAMPLE_AT)

    expect(await mode(dir)).toBe('700')
    const files = await readdir(dir)
    expect(files).toEqual(expect.arrayContaining(['lock.db', 'state.db', 'state.db-wal']))
    for (const file of files) expect([file, await mode(join(dir, file))]).toEqual([file, '600'])
  })

  test('waits for another process that has the file for a moment', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'state.db')
    const holder = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, file], { stdio: ['pipe', 'pipe', 2] })
    await once(holder.stdout!, 'data')
    const closed = once(holder, 'close')
    // It lets go by its own clock: opening waits in this thread.
    holder.stdin!.write('let go soon')

    await using store = await openEmbeddedStore(folder.path)

    expect(await store.applied()).toBeUndefined()
    expect(await closed).toEqual([0, null])
  })

  test('takes back a state.db that others could read', async () => {
    await using folder = await temporaryFolder()
    await (await openEmbeddedStore(folder.path))[Symbol.asyncDispose]()
    await chmod(join(folder.path, 'state.db'), 0o644)

    await using store = await openEmbeddedStore(folder.path)
    expect(await store.applied()).toBeUndefined()

    expect(await mode(join(folder.path, 'state.db'))).toBe('600')
  })

  test('is on the disk when a write returns: a write-ahead log, synced at every commit', async () => {
    await using folder = await temporaryFolder()
    await (await openEmbeddedStore(folder.path))[Symbol.asyncDispose]()
    const file = join(folder.path, 'state.db')

    const database = openDurable(file, () => undefined)

    expect(database.prepare('PRAGMA synchronous').all([])).toEqual([{ synchronous: 2 }])
    expect(database.prepare('PRAGMA foreign_keys').all([])).toEqual([{ foreign_keys: 1 }])
    database.close()
    const asItWas = new Database(file)
    expect(asItWas.pragma('journal_mode')).toEqual([{ journal_mode: 'wal' }])
    asItWas.close()
  })

  describe('has its folder to itself', () => {
    test('a second store in the same folder is refused, in the same process too [K12]', async () => {
      await using folder = await temporaryFolder()
      const store = await openEmbeddedStore(folder.path)

      await expect(openEmbeddedStore(folder.path)).rejects.toMatchObject({
        code: 'PH8002',
        message: expect.stringContaining(folder.path),
      })
      await using other = startWriter(folder.path)
      expect(await other.exitCode()).not.toBe(0)
      expect(other.stderr()).toContain('another preheatd works in')

      await store[Symbol.asyncDispose]()
      await using again = await openEmbeddedStore(folder.path)
      expect(await again.applied()).toBeUndefined()
    })

    test('kill -9 of the holder frees it', async () => {
      await using folder = await temporaryFolder()
      await using holder = startWriter(folder.path)
      await holder.line((line) => line === 'open')
      await expect(openEmbeddedStore(folder.path)).rejects.toMatchObject({ code: 'PH8002' })

      await holder.kill()

      await using store = await openEmbeddedStore(folder.path)
      expect(await store.applied()).toBeUndefined()
    })
  })

  test('kill -9 in the middle of a thousand writes loses no acknowledged write and tears none [K7]', async () => {
    await using folder = await temporaryFolder()
    let next = 0

    for (const acks of [3, 400, 117, 1, 479]) {
      await using writer = startWriter(folder.path, next)
      await writer.line((line) => line === String(next + acks - 1))
      await writer.kill()
      const acknowledged = writer.lastNumber()!

      await using store = await openEmbeddedStore(folder.path)
      const executions = (await store.openExecutions()).map(({ at }) => at)
      const slots = (await store.unsentMissed()).map(({ slot }) => slot)
      const last = executions.at(-1)!
      // One more may have been written whose acknowledgement was cut off.
      expect([acknowledged, acknowledged + 1]).toContain(last)
      expect(executions).toEqual(Array.from({ length: last + 1 }, (_, n) => n))
      expect(slots).toEqual(executions)
      expect(await store.schedules()).toEqual([{ policyKey: 'p', fingerprint: 'f', until: last }])
      next = last + 1
    }
    expect(next).toBeGreaterThanOrEqual(1000)
  }, 60_000)

  test('cut anywhere in its last write it has all writes before, and that one as a whole or not at all [K7]', async () => {
    await using folder = await temporaryFolder()
    const [state, log] = [join(folder.path, 'state.db'), join(folder.path, 'state.db-wal')]
    await using store = await openEmbeddedStore(folder.path)
    const slot = (at: number) => [{ policyKey: 'p', policy: 'p', slot: at, reason: 'r' }]
    await store.miss({ policyKey: 'p', fingerprint: 'f', until: 1 }, slot(1))
    const { size: before } = await stat(log)
    await store.miss({ policyKey: 'p', fingerprint: 'f', until: 2 }, slot(2))
    const { size: after } = await stat(log)
    expect(after).toBeGreaterThan(before)

    const found = new Set<string>()
    for (let size = before; size <= after; size += size < after - 64 ? 61 : 1) {
      await using copy = await temporaryFolder()
      for (const file of [state, log]) await copyFile(file, join(copy.path, basename(file)))
      await truncate(join(copy.path, 'state.db-wal'), size)
      await using reopened = await openEmbeddedStore(copy.path)
      const [schedule] = await reopened.schedules()
      found.add(`${schedule?.until} ${(await reopened.unsentMissed()).map((one) => one.slot).join()}`)
    }
    expect([...found]).toEqual(['1 1', '2 1,2'])
  }, 120_000)

  describe('says what is wrong with its folder', () => {
    test('a schema newer than this build is refused, with both names', async () => {
      await using folder = await temporaryFolder()
      await (await openEmbeddedStore(folder.path))[Symbol.asyncDispose]()
      write(folder.path, `insert into kysely_migration values ('0999-future', '2030-01-01T00:00:00.000Z')`)

      const refused = { code: 'PH8003', message: expect.stringMatching(/0999-future.*newer than 0003-instance/) }
      await expect(openEmbeddedStore(folder.path)).rejects.toMatchObject(refused)
      await expect(openLedger(folder.path)).rejects.toMatchObject(refused)

      write(folder.path, `delete from kysely_migration where name = '0999-future'`)
      await using store = await openEmbeddedStore(folder.path)
      expect(await store.applied()).toBeUndefined()
    })

    test('what a build before the second schema kept is read anew, and its schedules and used runs stay', async () => {
      await using folder = await temporaryFolder()
      const file = join(folder.path, 'state.db')
      const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: openDurable(file, () => undefined) }) })
      await new Migrator({
        db,
        provider: { getMigrations: () => Promise.resolve({ '0001-initial': initial }) },
      }).migrateToLatest()
      await db.destroy()
      write(folder.path, `insert into applied values (1, '{"config":{"commit":"old"}}')`)
      write(folder.path, `insert into objects values ('PreheatPolicy/a', '{"resource":{"kind":"PreheatPolicy"}}')`)
      write(folder.path, `insert into executions values ('e', 'p', 'Ended', 1, 2, 0, '{}')`)
      write(folder.path, `insert into schedules values ('p', 'f', 7)`)
      write(folder.path, `insert into used_runs values ('r', 'd', 'e', 'p', 1, 1)`)

      await using store = await openEmbeddedStore(folder.path)

      expect(await store.applied()).toBeUndefined()
      expect(await store.unsentReports(9)).toEqual([])
      expect(await store.schedules()).toEqual([{ policyKey: 'p', fingerprint: 'f', until: 7 }])
      expect(await store.usedRuns()).toEqual(new Set(['r d']))
    })

    test('a migration that was cut short leaves nothing behind', async () => {
      await using folder = await temporaryFolder()
      write(folder.path, 'create table tasks (id text)')

      await expect(openEmbeddedStore(folder.path)).rejects.toMatchObject({ code: 'PH8003' })

      write(folder.path, 'drop table tasks')
      await using store = await openEmbeddedStore(folder.path)
      expect(await store.applied()).toBeUndefined()
    })

    test('a folder that is a file is refused', async () => {
      await using folder = await temporaryFolder()
      const file = join(folder.path, 'file')
      await writeFile(file, '')

      await expect(openEmbeddedStore(file)).rejects.toMatchObject({
        name: 'OperatorError',
        code: 'PH8003',
        message: expect.stringContaining(file),
      })
    })

    test('a folder where none can be made is refused, and that has an end', async () => {
      await expect(openEmbeddedStore('/proc/preheatd/state')).rejects.toMatchObject({
        code: 'PH8003',
        message: 'the state in /proc/preheatd/state cannot be used: no folder can be made in /proc',
      })
    })

    test.each<[string, (file: string) => Promise<void>, RegExp]>([
      ['no database', (file) => writeFile(file, 'all work and no play\n'.repeat(500)), /not a database/],
      ['cut short', (file) => truncate(file, 8192), /malformed|short read|disk I\/O/],
      ['overwritten in the middle', (file) => overwrite(file, 4096, 8 * 4096), /malformed|database disk image|Tree/],
    ])('a state that is %s is moved aside with its journals, said, and begun anew', async (_, damage, why) => {
      await using folder = await temporaryFolder()
      const file = join(folder.path, 'state.db')
      const store = await openEmbeddedStore(folder.path)
      await store.recordPush(EXAMPLE_AT)
      await store[Symbol.asyncDispose]()
      const whole = new Database(file)
      whole.pragma('wal_checkpoint(TRUNCATE)')
      whole.close()
      await damage(file)
      await writeFile(`${file}.corrupt-20200101T000000Z`, 'an older one')
      const said: MovedAside[] = []

      const open = () => openEmbeddedStore(folder.path, (aside) => said.push(aside))
      await using again = await open()

      expect(await again.applied()).toBeUndefined()
      expect(said).toEqual([
        { file: expect.stringMatching(/state\.db\.corrupt-\d{8}T\d{6}Z$/), message: expect.stringMatching(why) },
      ])
      const aside = (await readdir(folder.path)).filter((name) => name.includes('corrupt'))
      expect(aside).toContain(basename(said[0]!.file))
      expect(aside).not.toContain('state.db.corrupt-20200101T000000Z')
      // The lock was never given up.
      await expect(open()).rejects.toMatchObject({ code: 'PH8002' })
      await again.recordPush(EXAMPLE_AT)
      await again[Symbol.asyncDispose]()
      await using sound = await open()
      expect(await sound.applied()).toBeUndefined()
      expect(said).toHaveLength(1)
    })

    test('a state that is whole and cannot be used stays where it is', async () => {
      await using folder = await temporaryFolder()
      await mkdir(join(folder.path, 'state.db'), { recursive: true })
      const said: MovedAside[] = []

      await expect(openEmbeddedStore(folder.path, (aside) => said.push(aside))).rejects.toMatchObject({
        code: 'PH8003',
      })

      expect(said).toEqual([])
      expect(await readdir(folder.path)).not.toContainEqual(expect.stringContaining('corrupt'))
      const of = (code: string) => Object.assign(new Error('no'), { code })
      const codes = [
        'SQLITE_FULL',
        'SQLITE_IOERR_FSYNC',
        'SQLITE_CANTOPEN',
        'SQLITE_READONLY',
        'SQLITE_PERM',
        'SQLITE_BUSY',
      ]
      expect(codes.filter((code) => isCorrupt(of(code)))).toEqual([])
      expect(
        ['SQLITE_CORRUPT', 'SQLITE_CORRUPT_INDEX', 'SQLITE_NOTADB'].filter((code) => isCorrupt(of(code))),
      ).toHaveLength(3)
    })

    test('a row in a state that this build does not know is named', async () => {
      await using folder = await temporaryFolder()
      {
        await using store = await openEmbeddedStore(folder.path)
        await store.begin(execution(), {})
      }
      write(folder.path, `update executions set state = 'Dreaming'`)

      await using store = await openEmbeddedStore(folder.path)

      await expect(store.execution(execution().id)).rejects.toThrow(execution().id)
    })
  })

  describe('can be read beside its daemon', () => {
    test('there is nothing to read before the first start', async () => {
      await using folder = await temporaryFolder()
      expect(await openLedger(join(folder.path, 'none'))).toBeUndefined()
      expect(await readdir(folder.path)).toEqual([])

      await writeFile(join(folder.path, 'state.db'), '')
      expect(await openLedger(folder.path)).toBeUndefined()
    })

    test('what a living daemon wrote is seen at once, and nothing can be written', async () => {
      await using folder = await temporaryFolder()
      await using store = await openEmbeddedStore(folder.path)
      await using ledger = (await openLedger(folder.path))!

      await store.begin(execution(), { schedule: { policyKey: 'p', fingerprint: 'f', until: 7 } })

      expect(await ledger.schedules()).toEqual([{ policyKey: 'p', fingerprint: 'f', until: 7 }])
      expect(await ledger.warm(['k'])).toEqual([])
      expect(await ledger.applied()).toBeUndefined()
      await expect((ledger as typeof store).recordPush(1)).rejects.toMatchObject({ code: 'PH8003' })
    })

    test('what a daemon that is gone wrote is seen, its folder stays free', async () => {
      await using folder = await temporaryFolder()
      {
        await using store = await openEmbeddedStore(folder.path)
        await store.miss({ policyKey: 'p', fingerprint: 'f', until: 7 }, [])
      }
      await using ledger = (await openLedger(folder.path))!

      expect(await ledger.schedules()).toHaveLength(1)
      await using store = await openEmbeddedStore(folder.path)
      expect(await store.applied()).toBeUndefined()
    })
  })
})

async function mode(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8)
}

/** Behind the store's back. */
function write(dir: string, sql: string): void {
  const database = new Database(join(dir, 'state.db'))
  database.exec(sql)
  database.close()
}

interface Writer extends AsyncDisposable {
  /** Resolves when the process says a line like that. */
  line(wanted: (line: string) => boolean): Promise<void>
  /** SIGKILL, and its end. */
  kill(): Promise<void>
  exitCode(): Promise<number | null>
  lastNumber(): number | undefined
  stderr(): string
}

/** Has the file for itself, says so, and lets go of it half a second after it is told. */
const HOLDER = `
  import Database from 'libsql'
  const db = new Database(process.argv[1])
  db.exec('create table other (a); begin exclusive')
  process.stdout.write('mine')
  process.stdin.once('data', () => setTimeout(() => {
    db.exec('commit')
    db.close()
    process.exit()
  }, 500))
`

function startWriter(dir: string, from = 0): Writer {
  const script = fileURLToPath(new URL('./writer.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', script, dir, String(from)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const closed = once(child, 'close') as Promise<[number | null]>
  const lines: string[] = []
  let stderr = ''
  let said: () => void = () => undefined
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
  createInterface(child.stdout).on('line', (line) => {
    lines.push(line)
    said()
  })
  void closed.then(() => {
    said()
  })

  async function kill() {
    child.kill('SIGKILL')
    await closed
  }

  return {
    async line(wanted) {
      while (!lines.some(wanted)) {
        if (child.exitCode !== null) throw new Error(`the writer ended with ${child.exitCode}: ${stderr}`)
        await new Promise<void>((resolve) => (said = resolve))
      }
    },
    kill,
    exitCode: async () => (await closed)[0],
    lastNumber: () => lines.map(Number).findLast((n) => !Number.isNaN(n)),
    stderr: () => stderr,
    [Symbol.asyncDispose]: kill,
  }
}

/** Noise in place of what stood there. */
async function overwrite(file: string, from: number, bytes: number): Promise<void> {
  const handle = await openFile(file, 'r+')
  await handle.write(Buffer.alloc(bytes, 0xa5), 0, bytes, from)
  await handle.close()
}
