import { setImmediate as turn } from 'node:timers/promises'
import { sql, type Kysely, type Transaction } from 'kysely'
import type { Tables } from './tables.ts'

/** Does in a transaction all writes of one kind that came together. @returns what came of each, in their order */
export type Writes<Item, Result> = (db: Transaction<Tables>, items: readonly Item[]) => Promise<readonly Result[]>

interface Waiting {
  readonly writes: Writes<unknown, unknown>
  readonly item: unknown
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

type Outcome = { readonly result: unknown } | { readonly error: unknown }
type Answered = readonly [Waiting, Outcome]

/**
 * Writes that come together are committed together, and each is answered once they are: a commit waits for the disk
 * (5 ms on a cloud volume), and a step of a task makes three. Those of one kind share their statements as well, each of
 * which costs its way to the database. One write's failure is undone alone: then all of them are done again, each for
 * itself, so `writes` is called a second time and has to be nothing but its statements.
 */
export class GroupCommit {
  readonly #db: Kysely<Tables>
  #waiting: Waiting[] = []
  #isUnderWay = false

  constructor(db: Kysely<Tables>) {
    this.#db = db
  }

  /**
   * Resolves when what was written is durable.
   * @param writes the same function for all writes of a kind
   * @throws what `writes` throws, or the commit
   */
  async run<Item, Result>(writes: Writes<Item, Result>, item: Item): Promise<Result> {
    return await new Promise<Result>((resolve, reject) => {
      this.#waiting.push({ writes, item, resolve, reject } as Waiting)
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
      for (const [{ resolve, reject }, outcome] of outcomes) {
        if ('error' in outcome) reject(outcome.error)
        else resolve(outcome.result)
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  /** The good case: nothing fails, and no savepoint is paid for. */
  #together(batch: readonly Waiting[]): Promise<readonly Answered[]> {
    return this.#db.transaction().execute(async (db) => {
      const answered: Answered[] = []
      for (const writes of new Set(batch.map((one) => one.writes))) {
        const waiting = batch.filter((one) => one.writes === writes)
        const items = waiting.map(({ item }) => item)
        const results = await writes(db, items)
        for (const [i, one] of waiting.entries()) answered.push([one, { result: results[i] }])
      }
      return answered
    })
  }

  #apart(batch: readonly Waiting[]): Promise<readonly Answered[]> {
    return this.#db.transaction().execute(async (db) => {
      const answered: Answered[] = []
      for (const one of batch) answered.push([one, await alone(db, one)])
      return answered
    })
  }
}

/** One write of several in a transaction: it takes effect whole or not at all. */
async function alone(db: Transaction<Tables>, { writes, item }: Waiting): Promise<Outcome> {
  await sql`savepoint one`.execute(db)
  try {
    const [result] = await writes(db, [item])
    await sql`release savepoint one`.execute(db)
    return { result }
  } catch (error) {
    await sql`rollback to savepoint one`.execute(db)
    await sql`release savepoint one`.execute(db)
    return { error }
  }
}
