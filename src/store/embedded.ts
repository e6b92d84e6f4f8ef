import Database from 'libsql'
import { Kysely, SqliteAdapter, SqliteDialect, type SqliteDatabase } from 'kysely'
import { chmod, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { makeFolder } from '../folder.ts'
import { excerpt, OperatorError } from '../model/errors.ts'
import { alone } from './flavour.ts'
import { KyselyStore } from './kysely-store.ts'
import { isReadable, migrate } from './migrations.ts'
import { isCorrupt, openDurable, openReadOnly, sqliteCode } from './sqlite.ts'
import type { Ledger, Store } from './store.ts'
import type { Tables } from './tables.ts'

/** A state that could not be read any more. */
export interface MovedAside {
  /** Where it lies now. */
  readonly file: string
  readonly message: string
}

/**
 * The store of one daemon, in a folder that it has to itself until the store is closed or the process dies, however it
 * dies. Creates the folder (0700) and `state.db` (0600) where there are none. A `state.db` whose content is damaged is
 * moved aside to `state.db.corrupt-<time>`, and a new one is begun: what it is to hold is in git, or can be found out.
 * A full disk, a failing one or a forbidden file are no reason for that.
 * @throws {OperatorError} PH8002 when another process works in the folder; PH8003 when the folder or its files cannot
 *   be used, or a newer build was here.
 */
export async function openEmbeddedStore(
  dir: string,
  onMovedAside: (aside: MovedAside) => void = () => undefined,
): Promise<Store> {
  const folder = resolve(dir)
  const file = join(folder, 'state.db')
  return usable(folder, async () => {
    await makeFolder(folder, 0o700)
    const unlock = await lock(folder)
    try {
      const db = await openSound(file, unlock).catch(async (error: unknown) => {
        if (!isCorrupt(error)) throw error
        const aside = await moveAside(folder)
        const opened = await openSound(file, unlock)
        onMovedAside({ file: aside, message: error instanceof Error ? excerpt(error.message) : 'unknown failure' })
        return opened
      })
      return new KyselyStore(db, alone)
    } catch (error) {
      unlock()
      throw error
    }
  })
}

/** Opens the file, looks through all of it and brings it to this build's schema. @param closed called only when it was */
async function openSound(file: string, closed: () => void): Promise<Kysely<Tables>> {
  await makePrivate(file)
  let isSound = false
  const state = openDurable(file, () => {
    if (isSound) closed()
  })
  const db = kysely(state)
  try {
    // Reads the whole file, once a start.
    const [answer] = state.prepare('PRAGMA quick_check(1)').all([]) as { readonly quick_check: string }[]
    if (answer?.quick_check !== 'ok') throw new DamagedFile(answer?.quick_check ?? 'no answer')
    await migrate(db)
  } catch (error) {
    await db.destroy()
    throw error
  }
  isSound = true
  return db
}

/** What SQLite finds wrong where it has no error for it. */
class DamagedFile extends Error {
  readonly code = 'SQLITE_CORRUPT'
}

/** The state with its journals, under another name; what lay there before is gone. @returns the file */
async function moveAside(folder: string): Promise<string> {
  for (const name of await readdir(folder)) {
    if (name.startsWith('state.db.corrupt-')) await rm(join(folder, name), { force: true })
  }
  const aside = join(folder, `state.db.corrupt-${new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')}`)
  for (const suffix of ['-wal', '-shm', '']) {
    await rename(join(folder, `state.db${suffix}`), `${aside}${suffix}`).catch((error: unknown) => {
      if (!isErrno(error, 'ENOENT')) throw error
    })
  }
  return aside
}

/**
 * The state as it is, read beside a daemon that may be writing it; undefined when there is none yet.
 * @throws {OperatorError} PH8003 when it cannot be read, or has another schema than this build's.
 */
export async function openLedger(dir: string): Promise<Ledger | undefined> {
  const folder = resolve(dir)
  const file = join(folder, 'state.db')
  return usable(folder, async () => {
    if (!(await exists(file))) return undefined
    const db = kysely(openReadOnly(file))
    try {
      if (await isReadable(db)) return new KyselyStore(db, alone)
    } catch (error) {
      await db.destroy()
      throw error
    }
    await db.destroy()
    return undefined
  })
}

/** Kysely runs SQLite's migrations without a transaction; a kill in the middle of one would be there for ever. */
class MigratingAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true
  }
}

class EmbeddedDialect extends SqliteDialect {
  override createAdapter(): SqliteAdapter {
    return new MigratingAdapter()
  }
}

function kysely(database: SqliteDatabase): Kysely<Tables> {
  return new Kysely<Tables>({ dialect: new EmbeddedDialect({ database }) })
}

/**
 * Takes the folder. SQLite's own lock on a file beside the state: the kernel drops it with the process, and on the state
 * itself it would keep {@link openLedger} out.
 */
async function lock(folder: string): Promise<() => void> {
  const file = join(folder, 'lock.db')
  await makePrivate(file)
  const database = new Database(file)
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (!sqliteCode(error).startsWith('SQLITE_BUSY')) throw error
    throw new OperatorError('PH8002', `another preheatd works in ${folder}`, { cause: error })
  }
  return () => {
    database.close()
  }
}

/**
 * SQLite gives its journals the mode of the file beside them. An existing file is never opened here: closing it would
 * drop this process's locks on it (POSIX; sqlite.org/howtocorrupt.html §2.2).
 */
async function makePrivate(file: string): Promise<void> {
  if (!(await exists(file))) await writeFile(file, '', { flag: 'wx', mode: 0o600 }).catch(unlessThere)
  await chmod(file, 0o600)
}

function unlessThere(error: unknown): void {
  if (!isErrno(error, 'EEXIST')) throw error
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

/** Does something in a state folder. @throws {OperatorError} PH8003 where the folder or its files do not let it */
export async function usable<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof OperatorError) throw error
    const message = error instanceof Error ? excerpt(error.message) : 'unknown failure'
    throw new OperatorError('PH8003', `the state in ${folder} cannot be used: ${message}`, { cause: error })
  }
}
