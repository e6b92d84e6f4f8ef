import { randomUUID } from 'node:crypto'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { excerpt, OperatorError } from '../model/errors.ts'
import { CHANNEL, shared } from './flavour.ts'
import { KyselyStore } from './kysely-store.ts'
import { isReadable, migrate } from './migrations.ts'
import type { Ledger, Store } from './store.ts'
import type { Tables } from './tables.ts'

const CONNECTIONS = 8

/** int8 as numbers: instants and counts stay far below 2^53. */
const numbers = new pg.TypeOverrides()
numbers.setTypeParser(pg.types.builtins.INT8, Number)

const CONNECT_MS = 10_000
/** How long a statement may take before the connection is given up. */
const STATEMENT_MS = 60_000
/** How often a worker says that it is there. */
const SEEN_EVERY_MS = 2_000
/** Who was not seen for so long is gone. */
const GONE_MS = 10_000
/** How long a newcomer waits, so that the others have noticed. */
const NOTICED_MS = 2 * SEEN_EVERY_MS + 1_000
/** How soon a lost connection that listens or holds the lock is made anew. */
const AGAIN_MS = 2_000
/** `preheatd` in ASCII: whoever holds this advisory lock leads. */
const LEADER_KEY = '8102372206394110052'

/** The store of several workers, in a PostgreSQL that they share. */
export interface SharedStore {
  readonly store: Store
  /** Calls back when another worker has made work, until it is closed; a lost call costs a poll. */
  listen(changed: () => void): AsyncDisposable
  /**
   * Says from now on that this worker is there, and how many there are: each may take its part of a rate, which no
   * database could count at every request. Where there are others it resolves once they must have noticed.
   */
  join(changed: (workers: number) => void): Promise<AsyncDisposable>
  /**
   * Waits until this worker leads; one does at a time.
   * @returns a signal that aborts when it leads no more, and how to step down
   */
  lead(signal: AbortSignal): Promise<Leadership>
}

export interface Leadership extends AsyncDisposable {
  readonly lost: AbortSignal
}

/**
 * Opens the store, brings its schema up to date and takes a name of its own for its leases.
 * @param url `postgres://user:password@host/database`; goes into no message
 * @throws {OperatorError} PH8003 when the database cannot be used
 */
export async function openPostgresStore(url: string): Promise<SharedStore> {
  const worker = randomUUID()
  const db = open({ ...connection(url), max: CONNECTIONS })
  try {
    await migrate(db)
  } catch (error) {
    await db.destroy()
    throw unusable(error)
  }
  return {
    store: new KyselyStore(db, shared(worker)),
    listen: (changed) => listen(url, changed),
    join: (changed) => join(db, worker, changed),
    lead: (signal) => lead(url, signal),
  }
}

/**
 * The state as it is, read beside the daemons that live by it; undefined when there is none yet. The database itself
 * refuses to write.
 * @param url `postgres://user:password@host/database`; goes into no message
 * @throws {OperatorError} PH8003 when it cannot be read, or has another schema than this build's
 */
export async function openPostgresLedger(url: string): Promise<Ledger | undefined> {
  const db = open({ ...connection(url), options: '-c default_transaction_read_only=on', max: 1 })
  try {
    if (await isReadable(db)) return new KyselyStore(db, shared(randomUUID()))
  } catch (error) {
    await db.destroy()
    throw unusable(error)
  }
  await db.destroy()
  return undefined
}

function open(config: pg.PoolConfig): Kysely<Tables> {
  const pool = new pg.Pool(config)
  // An idle connection that breaks is replaced at the next query.
  pool.on('error', () => undefined)
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
}

function connection(url: string): pg.ClientConfig {
  return {
    connectionString: url,
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: STATEMENT_MS,
    keepAlive: true,
    application_name: 'preheatd',
    types: numbers,
  }
}

async function join(db: Kysely<Tables>, worker: string, changed: (workers: number) => void): Promise<AsyncDisposable> {
  const closed = new AbortController()
  const here = async (): Promise<number> => {
    // The database's clock, since those of the workers differ.
    const now = sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`
    await db
      .insertInto('replicas')
      .values({ worker, seen_at: now })
      .onConflict((on) => on.column('worker').doUpdateSet({ seen_at: now }))
      .execute()
    await db
      .deleteFrom('replicas')
      .where('seen_at', '<', sql<number>`${now} - ${GONE_MS}`)
      .execute()
    const { count } = await db
      .selectFrom('replicas')
      .select((on) => on.fn.countAll().as('count'))
      .executeTakeFirstOrThrow()
    return Math.max(1, Number(count))
  }
  const workers = await here()
  changed(workers)
  const seen = (async () => {
    for (;;) {
      await pause(closed.signal, SEEN_EVERY_MS)
      if (closed.signal.aborted) return
      // A database that is away stops all work; how many there are is as it was.
      await here().then(changed, () => undefined)
    }
  })()
  if (workers > 1) await pause(closed.signal, NOTICED_MS)
  return {
    async [Symbol.asyncDispose]() {
      closed.abort()
      await seen
      await db
        .deleteFrom('replicas')
        .where('worker', '=', worker)
        .execute()
        .catch(() => undefined)
    },
  }
}

function listen(url: string, changed: () => void): AsyncDisposable {
  const closed = new AbortController()
  const listening = (async () => {
    while (!closed.signal.aborted) {
      const lost = await onOwnConnection(url, closed.signal, async (client) => {
        client.on('notification', changed)
        await client.query(`listen ${CHANNEL}`)
        changed()
      })
      if (!lost) return
      await pause(closed.signal)
    }
  })()
  return {
    async [Symbol.asyncDispose]() {
      closed.abort()
      await listening
    },
  }
}

/** Resolves when the connection is gone; false: because of `signal`. */
async function onOwnConnection(
  url: string,
  signal: AbortSignal,
  work: (client: pg.Client) => Promise<void>,
): Promise<boolean> {
  const client = new pg.Client(connection(url))
  const gone = new Promise<void>((resolve) => {
    client.on('error', () => {
      resolve()
    })
    client.on('end', resolve)
    signal.addEventListener(
      'abort',
      () => {
        resolve()
      },
      { once: true },
    )
  })
  try {
    await client.connect()
    await work(client)
    await gone
  } catch {
    // Made anew.
  } finally {
    await client.end().catch(() => undefined)
  }
  return !signal.aborted
}

async function lead(url: string, signal: AbortSignal): Promise<Leadership> {
  for (;;) {
    signal.throwIfAborted()
    const client = new pg.Client(connection(url))
    const lost = new AbortController()
    const end = () => {
      lost.abort(new Error('the connection that holds the lead was lost'))
    }
    client.on('error', end)
    client.on('end', end)
    try {
      await client.connect()
      const { rows } = await client.query<{ led: boolean }>('select pg_try_advisory_lock($1::bigint) as led', [
        LEADER_KEY,
      ])
      if (rows[0]?.led === true)
        return {
          lost: lost.signal,
          [Symbol.asyncDispose]: () => client.end(),
        }
    } catch {
      // The database is away; the workers notice at their next query.
    }
    await client.end().catch(() => undefined)
    await pause(signal)
  }
}

async function pause(signal: AbortSignal, ms = AGAIN_MS): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms)
    function done() {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    if (signal.aborted) done()
    else signal.addEventListener('abort', done, { once: true })
  })
}

/** The driver's own text may quote the address, and never the password: it is cut all the same. */
function unusable(error: unknown): OperatorError {
  if (error instanceof OperatorError) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const message = error instanceof Error ? excerpt(error.message) : ''
  return new OperatorError('PH8003', `the database cannot be used (${code}): ${message}`, {
    help: 'Check the address, the account and its right to create tables.',
    cause: error,
  })
}
