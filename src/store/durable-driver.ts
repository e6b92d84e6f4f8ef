import { open, type FileHandle } from 'node:fs/promises'
import { SqliteDriver, type CompiledQuery, type DatabaseConnection, type QueryResult } from 'kysely'
import { excerpt, OperatorError } from '../model/errors.ts'
import type { DurableDatabase } from './sqlite.ts'

/** Reads nothing but what is there; whatever else stands alone is a write, or ends a transaction. */
const READS = /^select\b/i

/**
 * Commits as `synchronous = FULL` does, but for where it waits: a commit is over once the log is on the disk, and
 * until then the event loop goes on while nobody else gets the connection. In it, SQLite's own wait was a quarter of the
 * time of 10,000 short tasks (profiled; their makespan is the same, as they wait for the disk either way). FULL is
 * NORMAL with this sync after each commit (sqlite.org/pragma.html#pragma_synchronous); what SQLite syncs around a
 * checkpoint it does in both.
 */
export class DurableDriver extends SqliteDriver {
  readonly #database: DurableDatabase
  readonly #log: Log

  constructor(database: DurableDatabase, log: Log) {
    super({ database })
    this.#database = database
    this.#log = log
  }

  override async acquireConnection(): Promise<DatabaseConnection> {
    return new DurableConnection(await super.acquireConnection(), this.#database, this.#log)
  }

  override async destroy(): Promise<void> {
    await super.destroy()
    await this.#log.close()
  }
}

class DurableConnection implements DatabaseConnection {
  readonly #connection: DatabaseConnection
  readonly #database: DurableDatabase
  readonly #log: Log

  constructor(connection: DatabaseConnection, database: DurableDatabase, log: Log) {
    this.#connection = connection
    this.#database = database
    this.#log = log
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const result = await this.#connection.executeQuery<R>(query)
    if (!this.#database.isInTransaction() && !READS.test(query.sql)) await this.#log.sync()
    return result
  }

  streamQuery<R>(query: CompiledQuery, chunkSize?: number): AsyncIterableIterator<QueryResult<R>> {
    return this.#connection.streamQuery(query, chunkSize)
  }
}

/** What has to be on the disk before a commit is over. */
export interface Log {
  /** Resolves when all that was written is there. */
  sync(): Promise<void>
  close(): Promise<void>
}

/**
 * The write-ahead log of a database that is open in WAL mode.
 *
 * Once the disk has failed, every later sync fails as well: the kernel may have dropped what it could not write, and
 * what is written after a gap in the log is not found again. To close it drops no lock of SQLite's, which has none on
 * this file.
 * @param file the database's
 */
export function openLog(file: string): Log {
  let opened: Promise<FileHandle> | undefined
  let failure: OperatorError | undefined
  return {
    async sync() {
      if (failure !== undefined) throw failure
      try {
        opened ??= open(`${file}-wal`, 'r+')
        await (await opened).datasync()
      } catch (error) {
        const message = error instanceof Error ? excerpt(error.message) : 'unknown failure'
        failure = new OperatorError('PH8003', `${file}: ${message}`, { cause: error })
        throw failure
      }
    },
    async close() {
      await (await opened?.catch(() => undefined))?.close()
    },
  }
}
