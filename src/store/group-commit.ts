import { setImmediate as turn } from 'node:timers/promises'
import { sql, type Kysely, type Transaction } from 'kysely'
import type { Tables } from './tables.ts'

type Work = (db: Transaction<Tables>) => Promise<unknown>

interface Waiting {
  readonly work: Work
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

type Outcome = { readonly result: unknown } | { readonly error: unknown }

/**
 * Writes that come together are committed together, and each is answered once they are: a commit waits for the disk
 * (5 ms on a cloud volume), and a step of a task makes three. One write's failure is undone alone: then all of them are
 * done again, each for itself, so `work` is called a second time and has to be nothing but its statements.
 */
export class GroupCommit {
  readonly #db: Kysely<Tables>
  #waiting: Waiting[] = []
  #isUnderWay = false

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /** Resolves when what `work` wrote is durable. @throws what `work` throws, or the commit */
  async run<T>(work: (db: Transaction<Tables>) => Promise<T>): Promise<T> {
    return await new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, resolve: resolve as (result: unknown) => void, reject })
      if (!this.#isUnderWay) void this.#commitAll()
    })
  }

  async #commitAll(): Promise<void> {
    this.#isUnderWay = true
    // What is asked for in this turn of the event loop comes along.
    await turn()
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      await this.#commit(batch)
    }
    this.#isUnderWay = false
  }

  async #commit(batch: readonly Waiting[]): Promise<void> {
    try {
      const outcomes = await this.#together(batch).catch(() => this.#apart(batch))
      for (const [i, outcome] of outcomes.entries()) {
        if ('error' in outcome) batch[i]!.reject(outcome.error)
        else batch[i]!.resolve(outcome.result)
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  /** The good case: nothing fails, and no savepoint is paid for. */
  #together(batch: readonly Waiting[]): Promise<readonly Outcome[]> {
    return this.#db.transaction().execute(async (db) => {
      const all: Outcome[] = []
      for (const { work } of batch) all.push({ result: await work(db) })
      return all
    })
  }

  #apart(batch: readonly Waiting[]): Promise<readonly Outcome[]> {
    return this.#db.transaction().execute(async (db) => {
      const all: Outcome[] = []
      for (const { work } of batch) all.push(await alone(db, work))
      return all
    })
  }
}

/** One write of several in a transaction: it takes effect whole or not at all. */
async function alone(db: Transaction<Tables>, work: Work): Promise<Outcome> {
  await sql`savepoint one`.execute(db)
  try {
    const result = await work(db)
    await sql`release savepoint one`.execute(db)
    return { result }
  } catch (error) {
    await sql`rollback to savepoint one`.execute(db)
    await sql`release savepoint one`.execute(db)
    return { error }
  }
}
