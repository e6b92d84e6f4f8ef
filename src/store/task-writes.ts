import { sql, type RawBuilder, type Transaction } from 'kysely'
import type { Evidence } from '../model/evidence.ts'
import { isSettled, type OpenTask, type SettledTask, type Task } from '../model/task.ts'
import { STATE_OF } from './flavour.ts'
import { chunks, openTaskOf, shareKeyOf, taskRow } from './rows.ts'
import type { Tables } from './tables.ts'

type Db = Transaction<Tables>

/** Saves tasks and goes on having them. @returns for each: had the worker it? Where not, nothing is written of it. */
export async function saveHeld(db: Db, worker: string, tasks: readonly OpenTask[]): Promise<readonly boolean[]> {
  const held = await update(db, tasks, sql``, heldBy(worker))
  return tasks.map(({ id }) => held.has(id))
}

/**
 * Saves tasks and lets them go. What is proven warm is remembered, and settles those that waited for it; what is known
 * to be missing is forgotten.
 * @returns for each the executions that have a task settled along with it; undefined where the worker did not have it,
 *   and nothing is written of it
 */
export async function releaseHeld(
  db: Db,
  worker: string,
  tasks: readonly Task[],
): Promise<readonly (readonly string[] | undefined)[]> {
  const held = await update(db, tasks, FREE, heldBy(worker))
  const released = tasks.filter(({ id }) => held.has(id))
  const proven = released.filter(isProven)
  await remember(db, proven)
  const along = await settleAlong(db, proven)
  const missing = released.filter((task) => !isProven(task) && 'missing' in task && task.missing.length > 0)
  for (const some of chunks(missing.map(({ ledgerKey }) => ledgerKey)))
    await db.deleteFrom('ledger').where('key', 'in', some).execute()
  return tasks.map(({ id }) => (held.has(id) ? (along.get(id) ?? []) : undefined))
}

/** Saves tasks, whoever has them, and lets them go. */
export async function settleAll(db: Db, tasks: readonly SettledTask[]): Promise<void> {
  await update(db, tasks, FREE, sql``)
}

const FREE = sql`, lease_until = 0`

function heldBy(worker: string): RawBuilder<unknown> {
  return sql`and tasks.next_at is not null and tasks.lease_until > 0 and tasks.lease_owner = ${worker}`
}

/**
 * One statement for all of them, written out: each step of a task comes here twice, and a statement for each task, or
 * one that is built, costs as much as SQLite's part in it.
 * @returns the ids of those that were written
 */
async function update(
  db: Db,
  tasks: readonly Task[],
  set: RawBuilder<unknown>,
  condition: RawBuilder<unknown>,
): Promise<ReadonlySet<string>> {
  const written = new Set<string>()
  for (const some of chunks(tasks)) {
    const steps = some.map(taskRow).map(({ id, state, next_at, body }) => {
      return sql`(${id}, ${state}, cast(${next_at} as bigint), ${body})`
    })
    const { rows } = await sql<{ id: string }>`
      with step (id, state, next_at, body) as (values ${sql.join(steps)})
      update tasks set state = step.state, next_at = step.next_at, body = step.body ${set}
      from step where tasks.id = step.id ${condition}
      returning tasks.id as id
    `.execute(db)
    for (const { id } of rows) written.add(id)
  }
  return written
}

type Proven = SettledTask & { readonly evidence: Evidence }

function isProven(task: Task): task is Proven {
  return isSettled(task) && task.state === 'Succeeded' && task.evidence !== undefined
}

/** An older observation never replaces a newer one. */
async function remember(db: Db, tasks: readonly Proven[]): Promise<void> {
  // A statement takes a key once, and workers that write several in one order never wait for each other.
  const newest = new Map<string, Proven>()
  for (const task of tasks) {
    const known = newest.get(task.ledgerKey)
    if (known === undefined || known.evidence.observedAt < task.evidence.observedAt) newest.set(task.ledgerKey, task)
  }
  for (const some of chunks([...newest.values()].sort(byKey))) {
    const rows = some.map(({ ledgerKey, provider, evidence }) => {
      return sql`(${ledgerKey}, ${provider}, ${evidence.observedAt}, ${JSON.stringify(evidence)})`
    })
    await sql`
      insert into ledger (key, provider, warm_at, evidence) values ${sql.join(rows)}
      on conflict (key) do update
        set provider = excluded.provider, warm_at = excluded.warm_at, evidence = excluded.evidence
        where ledger.warm_at < excluded.warm_at
    `.execute(db)
  }
}

function byKey(a: Proven, b: Proven): number {
  return a.ledgerKey < b.ledgerKey ? -1 : 1
}

/** Settles the tasks that waited for these, with their evidence. @returns whose executions, by the task they waited for */
async function settleAlong(db: Db, done: readonly Proven[]): Promise<ReadonlyMap<string, readonly string[]>> {
  const byShareKey = new Map(done.map((task) => [shareKeyOf(task), task]))
  const executions = new Map<string, Set<string>>()
  const along: SettledTask[] = []
  for (const keys of chunks([...byShareKey.keys()])) {
    const { rows: sharing } = await sql<Tables['tasks']>`
      select * from tasks where share_key in (${sql.join(keys)}) and next_at is not null
    `.execute(db)
    for (const row of sharing) {
      // Here and not in the query, for which SQLite would walk all tasks without a lease: 1.3 ms a task at 5,000 of them.
      if (row.state !== STATE_OF.pending || row.lease_until !== 0) continue
      const one = byShareKey.get(row.share_key)!
      const { nextAt: _, ...waiting } = openTaskOf(row)
      const { evidence, missing, endedAt, jobs } = one
      along.push({ ...waiting, state: 'Succeeded', error: undefined, evidence, missing, endedAt, jobs })
      executions.set(one.id, (executions.get(one.id) ?? new Set()).add(row.execution_id))
    }
  }
  await settleAll(db, along)
  return new Map([...executions].map(([id, of]) => [id, [...of]]))
}
