import { sql, type Kysely, type SelectQueryBuilder, type Transaction } from 'kysely'
import type { Instant } from '../model/duration.ts'
import type { Task } from '../model/task.ts'
import type { Caps, Claimable } from './store.ts'
import type { Tables } from './tables.ts'

/** In which state a task is that is due for each kind of work. */
export const STATE_OF = {
  pending: 'Pending',
  submitting: 'Submitting',
  running: 'Running',
} as const satisfies Record<Claimable['kind'], Task['state']>

/** What differs between a store that one worker has to itself and one that several share. */
export interface Flavour {
  /** Whose leases it takes. */
  readonly worker: string
  /** How many tasks may be claimed by what all workers keep to; `limit` where nobody else is there. */
  readonly room: (db: Transaction<Tables>, which: Claimable, limit: number, caps: Caps, now: Instant) => Promise<number>
  /** Leaves out rows that another worker is claiming now. */
  readonly unlocked: <O>(query: SelectQueryBuilder<Tables, 'tasks', O>) => SelectQueryBuilder<Tables, 'tasks', O>
  /** Wakes the other workers once the transaction is committed. */
  readonly wakeOthers: (db: Kysely<Tables>) => Promise<void>
}

/** The embedded store's. */
export const alone: Flavour = {
  worker: 'alone',
  room: (_db, _which, limit) => Promise.resolve(limit),
  unlocked: (query) => query,
  wakeOthers: () => Promise.resolve(),
}

/** Where a listener hears that something changed. */
export const CHANNEL = 'preheatd'

/** PostgreSQL's: limits are counted under a lock, since two workers that count at once both find room. */
export function shared(worker: string): Flavour {
  return {
    worker,
    async room(db, { provider, registry, kind }, limit, caps, now) {
      if (kind === 'running') return limit
      for (const name of [`provider ${provider}`, `registry ${registry}`])
        await sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`.execute(db)
      const { inFlight, open } = await db
        .selectFrom('tasks')
        .select((on) => [
          on.fn
            .countAll()
            .filterWhere('provider', '=', provider)
            .filterWhere('lease_until', '>', now)
            .filterWhere('state', '!=', STATE_OF.running)
            .as('inFlight'),
          on.fn
            .countAll()
            .filterWhere('registry', '=', registry)
            .filterWhere((at) => at.or([at('state', '!=', STATE_OF.pending), at('lease_until', '>', now)]))
            .as('open'),
        ])
        .where('next_at', 'is not', null)
        .executeTakeFirstOrThrow()
      const submits = caps.submitsInFlight - Number(inFlight)
      return Math.min(limit, submits, kind === 'pending' ? caps.openArtifacts - Number(open) : limit)
    },
    unlocked: (query) => query.forUpdate().skipLocked(),
    async wakeOthers(db) {
      await sql`select pg_notify(${CHANNEL}, '')`.execute(db)
    },
  }
}
