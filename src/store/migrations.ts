import { Migrator, sql, type Kysely, type Migration } from 'kysely'
import { OperatorError } from '../model/errors.ts'
import { initial } from './migrations/0001-initial.ts'
import { workers } from './migrations/0002-workers.ts'
import { instance } from './migrations/0003-instance.ts'
import type { Tables } from './tables.ts'

/** By name, in the order in which they run. One that was released never changes. */
const migrations: Readonly<Record<string, Migration>> = {
  '0001-initial': initial,
  '0002-workers': workers,
  '0003-instance': instance,
}

const NEWEST = Object.keys(migrations).at(-1)!

/**
 * Brings the database to this build's schema.
 * @throws {OperatorError} PH8003 when a newer build was here, with nothing written.
 */
export async function migrate(db: Kysely<Tables>): Promise<void> {
  await schemaOf(db)
  const { error } = await new Migrator({
    db,
    provider: { getMigrations: () => Promise.resolve({ ...migrations }) },
  }).migrateToLatest()
  if (error !== undefined) throw error instanceof Error ? error : new Error('migration failed', { cause: error })
}

/**
 * Checks that this build can read the database as it is.
 * @returns false when the database is empty.
 * @throws {OperatorError} PH8003 for another schema than this build's.
 */
export async function isReadable(db: Kysely<Tables>): Promise<boolean> {
  const schema = await schemaOf(db)
  if (schema !== undefined && schema !== NEWEST)
    throw new OperatorError('PH8003', `the state has schema ${schema}, this build of preheatd reads ${NEWEST}`, {
      help: 'Start the daemon of this build once; it brings the state up to date.',
    })
  return schema !== undefined
}

/** Name of the newest migration that ran here; undefined for an empty database. */
async function schemaOf(db: Kysely<Tables>): Promise<string | undefined> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true })
  if (!tables.some((table) => table.name === 'kysely_migration')) return undefined
  const { rows } = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(db)
  const newer = rows.findLast((row) => !Object.hasOwn(migrations, row.name))
  if (newer !== undefined)
    throw new OperatorError(
      'PH8003',
      `the state has schema ${newer.name}, which is newer than ${NEWEST} of this build of preheatd`,
      { help: 'Run the newer build, or give this one a state folder of its own.' },
    )
  return rows.at(-1)?.name
}
