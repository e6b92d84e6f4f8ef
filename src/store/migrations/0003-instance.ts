import type { Kysely, Migration } from 'kysely'

/** Whose state it is; that of whoever starts next, where a build before it was here. */
export const instance: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .createTable('instance')
      .addColumn('id', 'integer', (column) => column.primaryKey().notNull())
      .addColumn('name', 'text', (column) => column.notNull())
      .execute()
  },
}
