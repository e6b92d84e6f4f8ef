import { sql, type Kysely, type Migration } from 'kysely'

/**
 * Several workers on one store, tasks that share a job, events, and what operators say.
 *
 * What builds before it kept of the configuration and of executions has another shape, and nothing of it was released:
 * it is forgotten and read anew from git. Schedules, used PreheatRuns and warmth stay.
 */
export const workers: Migration = {
  async up(db: Kysely<unknown>) {
    for (const table of ['tasks', 'executions', 'objects', 'applied'])
      await sql`delete from ${sql.table(table)}`.execute(db)
    await db.schema.alterTable('tasks').addColumn('lease_owner', 'text').execute()
    await db.schema
      .alterTable('tasks')
      .addColumn('share_key', 'text', (column) => column.notNull().defaultTo(''))
      .execute()
    await db.schema
      .createIndex('tasks_open_by_share_key')
      .on('tasks')
      .columns(['share_key', 'id'])
      .where(sql.ref('next_at'), 'is not', null)
      .execute()
    await db.schema
      .alterTable('ledger')
      .addColumn('provider', 'text', (column) => column.notNull().defaultTo(''))
      .execute()
    await db.schema
      .createTable('inbox')
      .addColumn('key', 'text', (column) => column.primaryKey().notNull())
      .addColumn('received_at', 'bigint', (column) => column.notNull())
      .addColumn('routed', 'integer', (column) => column.notNull())
      .addColumn('body', 'text', (column) => column.notNull())
      .execute()
    await db.schema.createIndex('inbox_by_age').on('inbox').columns(['routed', 'received_at', 'key']).execute()
    await db.schema
      .createTable('pending_events')
      .addColumn('policy_key', 'text', (column) => column.notNull())
      .addColumn('repository', 'text', (column) => column.notNull())
      .addColumn('reference', 'text', (column) => column.notNull())
      .addColumn('kinds', 'text', (column) => column.notNull())
      .addColumn('since_at', 'bigint', (column) => column.notNull())
      .addPrimaryKeyConstraint('pending_events_key', ['policy_key', 'repository', 'reference'])
      .execute()
    await db.schema
      .createTable('listings')
      .addColumn('registry', 'text', (column) => column.notNull())
      .addColumn('project', 'text', (column) => column.notNull())
      .addColumn('at', 'bigint', (column) => column.notNull())
      .addColumn('body', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('listings_key', ['registry', 'project'])
      .execute()
    await db.schema
      .createTable('replicas')
      .addColumn('worker', 'text', (column) => column.primaryKey().notNull())
      .addColumn('seen_at', 'bigint', (column) => column.notNull())
      .execute()
    await db.schema
      .createTable('suspensions')
      .addColumn('policy_key', 'text', (column) => column.primaryKey().notNull())
      .addColumn('body', 'text', (column) => column.notNull())
      .execute()
  },
}
