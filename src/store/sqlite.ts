import Database from 'libsql'
import type { SqliteDatabase, SqliteStatement } from 'kysely'
import { pathToFileURL } from 'node:url'
import { excerpt, OperatorError } from '../model/errors.ts'

/**
 * Prepared statements that are kept. libsql frees one only when it is collected: preparing anew at every query costs
 * three times the time and 220 MB (200,000 queries, measured).
 */
const KEPT_STATEMENTS = 200

/** Longer ones are lists of parameters, of which no two are alike. */
const KEPT_SQL_LENGTH = 2000

/** What the machine below does to a database, as against what a query does wrong. */
const UNUSABLE = /^SQLITE_(?:CANTOPEN|CORRUPT|FULL|IOERR|NOTADB|PERM|READONLY|NOLFS)/

/**
 * Who opens it while another process reads or recovers it waits for that, from the first of these on. A write is on the
 * disk when it returns: FULL syncs the log at every commit. The log is moved into the database every 32 MB, since a task's
 * row is written five times and mostly the last of them counts; it is cut back after a large transaction.
 */
const DURABLE = [
  'busy_timeout = 5000',
  'journal_mode = WAL',
  'synchronous = FULL',
  'foreign_keys = ON',
  'wal_autocheckpoint = 8000',
  'journal_size_limit = 67108864',
]

/**
 * A database to write, as Kysely wants it.
 * @param file an absolute path
 * @param closed called once it is closed
 * @throws {OperatorError} PH8003 when the file cannot be used; so does every query.
 */
export function openDurable(file: string, closed: () => void): SqliteDatabase {
  return connect(file, file, DURABLE, closed)
}

/** A database that another process may be writing. @throws {OperatorError} as {@link openDurable} does. */
export function openReadOnly(file: string): SqliteDatabase {
  return connect(file, `${pathToFileURL(file).href}?mode=ro`, ['busy_timeout = 5000'], () => undefined)
}

function connect(file: string, location: string, pragmas: readonly string[], closed: () => void): SqliteDatabase {
  const database = usable(file, () => new Database(location))
  const kept = new Map<string, SqliteStatement>()

  function prepare(sql: string): SqliteStatement {
    const known = kept.get(sql)
    if (known !== undefined) return known
    const statement = usable(file, () => database.prepare(sql))
    const safe: SqliteStatement = {
      reader: statement.reader,
      all: (parameters) => usable(file, () => statement.all(parameters)),
      run: (parameters) =>
        // SQLite rolls back by itself where the disk fails; to do it again is an error, which would hide the first one.
        sql === 'rollback' && !database.inTransaction
          ? { changes: 0, lastInsertRowid: 0 }
          : usable(file, () => statement.run(parameters)),
      iterate: (parameters) => statement.iterate(parameters),
    }
    if (sql.length <= KEPT_SQL_LENGTH) {
      const [oldest] = kept.keys()
      if (kept.size >= KEPT_STATEMENTS && oldest !== undefined) kept.delete(oldest)
      kept.set(sql, safe)
    }
    return safe
  }

  function close(): void {
    kept.clear()
    database.close()
    closed()
  }

  try {
    for (const pragma of pragmas) prepare(`PRAGMA ${pragma}`).all([])
  } catch (error) {
    database.close()
    throw error
  }
  return { prepare, close }
}

/**
 * Is the content of the file what is wrong, and not its disk, its place or its mode? Only then is it of no use to
 * anybody. A short read is one beyond the end of the file: somebody cut it.
 */
export function isCorrupt(error: unknown): boolean {
  const cause = error instanceof OperatorError ? error.cause : error
  return /^SQLITE_(?:CORRUPT|NOTADB|IOERR_SHORT_READ)/.test(sqliteCode(cause))
}

/** SQLite's name of what went wrong; libsql has none for a file that it cannot open. */
export function sqliteCode(error: unknown): string {
  if (!(error instanceof Error)) return ''
  if ('code' in error && typeof error.code === 'string' && error.code !== '') return error.code
  return error.message.includes('ConnectionFailed') ? 'SQLITE_CANTOPEN' : ''
}

function usable<T>(file: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const code = sqliteCode(error)
    if (!UNUSABLE.test(code)) throw error
    const message = error instanceof Error ? excerpt(error.message) : code
    throw new OperatorError('PH8003', `${file}: ${message}`, { cause: error })
  }
}
