import { sql, type Kysely, type Migration } from 'kysely'

/** The first schema. */
export const initial: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .createTable('applied')
      .addColumn('id', 'integer', (column) => column.primaryKey().notNull())
      .addColumn('body', 'text', (column) => column.notNull())
      .execute()
    await db.schema
      .createTable('objects')
      .addColumn('key', 'text', (column) => column.primaryKey().notNull())
      .addColumn('body', 'text', (column) => column.notNull())
      .execute()
    await db.schema
      .createTable('schedules')
      .addColumn('policy_key', 'text', (column) => column.primaryKey().notNull())
      .addColumn('fingerprint', 'text', (column) => column.notNull())
      .addColumn('until_at', 'bigint', (column) => column.notNull())
      .execute()
    await db.schema
      .createTable('missed')
      .addColumn('policy_key', 'text', (column) => column.notNull())
      .addColumn('slot_at', 'bigint', (column) => column.notNull())
      .addColumn('policy', 'text', (column) => column.notNull())
      .addColumn('reason', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('missed_key', ['policy_key', 'slot_at'])
      .execute()

    await db.schema
      .createTable('executions')
      .addColumn('id', 'text', (column) => column.primaryKey().notNull())
      .addColumn('policy_key', 'text', (column) => column.notNull())
      .addColumn('state', 'text', (column) => column.notNull())
      .addColumn('at', 'bigint', (column) => column.notNull())
      .addColumn('ended_at', 'bigint')
      .addColumn('sent', 'integer', (column) => column.notNull())
      .addColumn('body', 'text', (column) => column.notNull())
      .execute()
    await db.schema
      .createIndex('executions_by_policy')
      .on('executions')
      .columns(['policy_key', 'at', 'id', 'state', 'sent'])
      .execute()
    await db.schema
      .createIndex('executions_unsent')
      .on('executions')
      .columns(['at', 'id', 'state'])
      .where(sql.ref('sent'), '=', 0)
      .execute()
    await db.schema
      .createIndex('executions_sent')
      .on('executions')
      .columns(['ended_at', 'id'])
      .where(sql.ref('sent'), '=', 1)
      .execute()

    await db.schema
      .createTable('tasks')
      .addColumn('id', 'text', (column) => column.primaryKey().notNull())
      .addColumn('execution_id', 'text', (column) => column.notNull().references('executions.id').onDelete('cascade'))
      .addColumn('provider', 'text', (column) => column.notNull())
      .addColumn('registry', 'text', (column) => column.notNull())
      .addColumn('state', 'text', (column) => column.notNull())
      .addColumn('next_at', 'bigint')
      .addColumn('lease_until', 'bigint', (column) => column.notNull())
      .addColumn('body', 'text', (column) => column.notNull())
      .execute()
    await db.schema.createIndex('tasks_by_execution').on('tasks').columns(['execution_id', 'id']).execute()
    // Settled tasks stay for weeks; the loops look at open ones only.
    await db.schema
      .createIndex('tasks_open')
      .on('tasks')
      .columns(['registry', 'provider', 'state', 'next_at', 'id', 'lease_until'])
      .where('next_at', 'is not', null)
      .execute()
    await db.schema
      .createIndex('tasks_open_by_execution')
      .on('tasks')
      .column('execution_id')
      .where(sql.ref('next_at'), 'is not', null)
      .execute()
    await db.schema
      .createIndex('tasks_leased')
      .on('tasks')
      .columns(['lease_until', 'next_at'])
      .where('next_at', 'is not', null)
      .execute()

    await db.schema
      .createTable('ledger')
      .addColumn('key', 'text', (column) => column.primaryKey().notNull())
      .addColumn('warm_at', 'bigint', (column) => column.notNull())
      .addColumn('evidence', 'text', (column) => column.notNull())
      .execute()
    await db.schema.createIndex('ledger_by_age').on('ledger').column('warm_at').execute()
    await db.schema
      .createTable('used_runs')
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('digest', 'text', (column) => column.notNull())
      .addColumn('execution_id', 'text', (column) => column.notNull())
      .addColumn('policy', 'text', (column) => column.notNull())
      .addColumn('used_at', 'bigint', (column) => column.notNull())
      .addColumn('sent', 'integer', (column) => column.notNull())
      .addPrimaryKeyConstraint('used_runs_key', ['name', 'digest'])
      .execute()
    await db.schema
      .createTable('pushes')
      .addColumn('at', 'bigint', (column) => column.notNull())
      .execute()
    await db.schema.createIndex('pushes_by_time').on('pushes').column('at').execute()
  },
}
