import { rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { Kysely, sql, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler } from 'kysely'
import { expect, test } from 'vitest'
import { DurableDriver, openLog, type Log } from '../../src/store/durable-driver.ts'
import { openDurable } from '../../src/store/sqlite.ts'
import { temporaryFolder } from '../support/repository.ts'

type Database = Kysely<unknown>

/** A disk that is done with a sync when the test says so. */
class SlowDisk implements Log {
  readonly #waiting: (() => void)[] = []
  syncs = 0

  sync(): Promise<void> {
    this.syncs++
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Whatever is synced from here on is done as well. */
  done(): void {
    for (const resolve of this.#waiting) resolve()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

/** A database with an empty table t. */
function openOn(file: string, log: Log): Database {
  const database = openDurable(file, () => undefined)
  database.prepare('create table if not exists t (id integer primary key)').run([])
  return new Kysely({
    dialect: {
      createDriver: () => new DurableDriver(database, log),
      createAdapter: () => new SqliteAdapter(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  })
}

async function count(db: Database): Promise<number | undefined> {
  const { rows } = await sql<{ n: number }>`select count(*) as n from t`.execute(db)
  return rows[0]?.n
}

async function turns(): Promise<void> {
  for (let n = 0; n < 20; n++) await turn()
}

test.each<[string, (db: Database) => Promise<unknown>]>([
  ['a statement', (db) => sql`insert into t values (1)`.execute(db)],
  ['a statement that returns rows', (db) => sql`insert into t values (1) returning id`.execute(db)],
  [
    'a transaction of several statements, as a whole',
    (db) =>
      db.transaction().execute(async (transaction) => {
        for (const id of [1, 2, 3]) await sql`insert into t values (${id})`.execute(transaction)
      }),
  ],
])('a write is over when the log is on the disk, and until then nobody reads it: %s', async (_, write) => {
  const disk = new SlowDisk()
  await using folder = await temporaryFolder()
  const db = openOn(join(folder.path, 'state.db'), disk)
  const order: string[] = []

  const written = write(db).then(() => order.push('written'))
  const read = count(db).then((n) => order.push(n === 0 ? 'read before' : 'read'))
  await turns()
  const meanwhile = [...order]
  disk.done()
  await Promise.all([written, read])

  expect(meanwhile).toEqual([])
  expect(order).toEqual(['written', 'read'])
  expect(disk.syncs).toBe(1)
  await db.destroy()
})

test('what only reads waits for no disk', async () => {
  const disk = new SlowDisk()
  await using folder = await temporaryFolder()
  const db = openOn(join(folder.path, 'state.db'), disk)

  expect(await count(db)).toBe(0)

  expect(disk.syncs).toBe(0)
  await db.destroy()
})

test('a log that cannot be synced fails the write, and every one after it: the log may have a gap', async () => {
  await using folder = await temporaryFolder()
  const [file, elsewhere] = [join(folder.path, 'state.db'), join(folder.path, 'log')]
  // A device has nothing to sync, and says so.
  await symlink('/dev/null', `${elsewhere}-wal`)
  const db = openOn(file, openLog(elsewhere))
  const refused = { code: 'PH8003', message: expect.stringContaining('EINVAL') }

  await expect(sql`insert into t values (1)`.execute(db)).rejects.toMatchObject(refused)
  await rm(`${elsewhere}-wal`)
  await writeFile(`${elsewhere}-wal`, '')

  await expect(sql`insert into t values (2)`.execute(db)).rejects.toMatchObject(refused)
  await db.destroy()
})
