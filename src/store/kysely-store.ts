import { randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { sql, type Kysely, type SelectQueryBuilder, type Transaction } from 'kysely'
import type { Instant } from '../model/duration.ts'
import type { Delivery } from '../model/delivery.ts'
import type { Evidence, LedgerEntry } from '../model/evidence.ts'
import type { EndedExecution, Execution } from '../model/execution.ts'
import { LeaseLost } from '../model/errors.ts'
import type { EventKind } from '../model/policy.ts'
import type { OpenTask, SettledTask, Task } from '../model/task.ts'
import type {
  Applied,
  AppliedObject,
  Caps,
  Claimable,
  DueWork,
  MissedSlot,
  OperatorSuspension,
  PendingEvent,
  ScheduleState,
  Store,
  UnsentReport,
  UsedRun,
} from './store.ts'
import { STATE_OF, type Flavour } from './flavour.ts'
import { GroupCommit, type Writes } from './group-commit.ts'
import { chunks, endedOf, executionOf, openTaskOf, runRow, scheduleRow, taskOf, taskRow } from './rows.ts'
import type { Tables, TaskRow } from './tables.ts'
import { releaseHeld, saveHeld, settleAll } from './task-writes.ts'

const DAY_MS = 86_400_000
const EXECUTIONS_KEPT_MS = 30 * DAY_MS
const WARMTH_KEPT_MS = 90 * DAY_MS
const PUSHES_KEPT_MS = DAY_MS
/** One that is sent again later than this is taken for a new one. */
const DELIVERIES_KEPT_MS = 2 * DAY_MS

/** Executions forgotten by one prune. */
const PRUNED_AT_ONCE = 500

const WORK_STATES = Object.entries(STATE_OF) as readonly [Claimable['kind'], string][]

interface Claim {
  readonly which: Claimable
  readonly limit: number
  readonly caps: Caps
  readonly now: Instant
  readonly leaseMs: number
}

interface Renewal {
  readonly taskIds: readonly string[]
  readonly until: Instant
}

/** The daemon's memory in a relational database; its tables are there already. Closes the database with itself. */
export class KyselyStore implements Store {
  readonly #db: Kysely<Tables>
  /** What steps of tasks write: often, and many at once. */
  readonly #steps: GroupCommit

  readonly #flavour: Flavour
  /** What was read or written last, under the text of its row, of which no two writes make the same one. */
  #known: { readonly body: string; readonly applied: Applied } | undefined

  constructor(db: Kysely<Tables>, flavour: Flavour) {
    this.#db = db
    this.#steps = new GroupCommit(db)
    this.#flavour = flavour
  }

  async instance(): Promise<string | undefined> {
    return (await this.#db.selectFrom('instance').select('name').executeTakeFirst())?.name
  }

  async take(instance: string): Promise<string> {
    await this.#db
      .insertInto('instance')
      .values({ id: 1, name: instance })
      .onConflict((on) => on.doNothing())
      .execute()
    return (await this.instance()) ?? instance
  }

  applied(): Promise<Applied | undefined> {
    // Both tables as of one moment: the reader may be another process than the writer.
    return this.#db
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute((db) => this.#inForce(db))
  }

  /** The objects are read anew when another process wrote them, and only then. */
  async #inForce(db: Transaction<Tables>): Promise<Applied | undefined> {
    const row = await db.selectFrom('applied').select('body').executeTakeFirst()
    if (row === undefined) return undefined
    if (row.body !== this.#known?.body) {
      const objects = await db.selectFrom('objects').select('body').orderBy('key').execute()
      const { stamp: _, ...rest } = JSON.parse(row.body) as Omit<Applied, 'objects'> & { readonly stamp?: string }
      const applied = { ...rest, objects: objects.map(({ body }) => JSON.parse(body) as AppliedObject) }
      this.#known = { body: row.body, applied }
    }
    return this.#known.applied
  }

  async apply(applied: Applied, armed: readonly ScheduleState[], disarmed: readonly string[]): Promise<void> {
    const { objects, ...rest } = applied
    const row = { body: JSON.stringify({ ...rest, stamp: randomUUID() }) }
    await this.#db.transaction().execute(async (db) => {
      await replaceObjects(db, (await this.#inForce(db))?.objects ?? [], objects)
      await db
        .insertInto('applied')
        .values({ id: 1, ...row })
        .onConflict((on) => on.column('id').doUpdateSet(row))
        .execute()
      for (const keys of chunks(disarmed)) await db.deleteFrom('schedules').where('policy_key', 'in', keys).execute()
      for (const some of chunks(armed)) await saveSchedules(db, some)
      await this.#flavour.wakeOthers(db)
    })
    this.#known = { ...row, applied }
  }

  async schedules(): Promise<ScheduleState[]> {
    const rows = await this.#db.selectFrom('schedules').selectAll().orderBy('policy_key').execute()
    return rows.map((row) => ({ policyKey: row.policy_key, fingerprint: row.fingerprint, until: row.until_at }))
  }

  begin(execution: Extract<Execution, { state: 'Selecting' }>, cause: Parameters<Store['begin']>[1]): Promise<boolean> {
    return this.#db.transaction().execute(async (db) => {
      const begun = await db
        .insertInto('executions')
        .values({
          id: execution.id,
          policy_key: execution.policyKey,
          state: execution.state,
          at: execution.at,
          ended_at: null,
          sent: 0,
          body: JSON.stringify(execution),
        })
        .onConflict((on) => on.doNothing())
        .executeTakeFirst()
      if (begun.numInsertedOrUpdatedRows === 0n) return false
      if (cause.run !== undefined) {
        const used = await db
          .insertInto('used_runs')
          .values(runRow(cause.run, 0))
          .onConflict((on) => on.doNothing())
          .executeTakeFirst()
        if (used.numInsertedOrUpdatedRows === 0n) {
          await db.deleteFrom('executions').where('id', '=', execution.id).execute()
          return false
        }
      }
      if (cause.schedule !== undefined) await saveSchedules(db, [cause.schedule])
      await saveMissed(db, cause.missed ?? [])
      await forgetEvents(db, cause.events ?? [])
      return true
    })
  }

  async miss(schedule: ScheduleState, missed: readonly MissedSlot[]): Promise<void> {
    await this.#db.transaction().execute(async (db) => {
      await saveSchedules(db, [schedule])
      await saveMissed(db, missed)
    })
  }

  async openExecutions(): Promise<Execution[]> {
    const rows = await this.#db
      .selectFrom('executions')
      .selectAll()
      .where('sent', '=', 0)
      .where('state', '!=', 'Ended')
      .orderBy('at')
      .orderBy('id')
      .execute()
    return rows.map(executionOf)
  }

  async execution(id: string): Promise<Execution | undefined> {
    const row = await this.#db.selectFrom('executions').selectAll().where('id', '=', id).executeTakeFirst()
    return row === undefined ? undefined : executionOf(row)
  }

  selected(execution: Extract<Execution, { state: 'Running' }>, tasks: readonly Task[]): Promise<boolean> {
    return this.#db.transaction().execute(async (db) => {
      const running = await db
        .updateTable('executions')
        .set({ state: execution.state, body: JSON.stringify(execution) })
        .where('id', '=', execution.id)
        .where('state', '=', 'Selecting')
        .executeTakeFirst()
      if (running.numUpdatedRows === 0n) return false
      for (const some of chunks(tasks)) {
        await db.insertInto('tasks').values(some.map(taskRow)).execute()
        // The embedded driver never waits: 100,000 tasks would hold up every request and timer for seconds.
        await turn()
      }
      await this.#flavour.wakeOthers(db)
      return true
    })
  }

  async end(execution: EndedExecution): Promise<boolean> {
    const ended = await this.#db
      .updateTable('executions')
      .set({ state: execution.state, ended_at: execution.endedAt, body: JSON.stringify(execution) })
      .where('id', '=', execution.id)
      .where('state', '!=', 'Ended')
      .executeTakeFirst()
    if (ended.numUpdatedRows > 0n) await this.#flavour.wakeOthers(this.#db)
    return ended.numUpdatedRows > 0n
  }

  async due(now: Instant): Promise<DueWork[]> {
    const rows = await this.#db
      .selectFrom('tasks')
      .select((on) => ['registry', 'provider', 'state', on.fn.countAll().as('count')])
      .where('next_at', '<=', now)
      .where('lease_until', '<=', now)
      .groupBy(['registry', 'provider', 'state'])
      .orderBy('registry')
      .orderBy('provider')
      .execute()
    const work = new Map<string, DueWork>()
    for (const { registry, provider, state, count } of rows) {
      const key = JSON.stringify([registry, provider])
      const known = work.get(key) ?? { provider, registry, pending: 0, submitting: 0, running: 0 }
      const kind = WORK_STATES.find(([, of]) => of === state)?.[0]
      if (kind === undefined) throw new Error(`a task is due in the unknown state ${state}`)
      work.set(key, { ...known, [kind]: Number(count) })
    }
    return [...work.values()]
  }

  async nextDueAt(): Promise<Instant | undefined> {
    // Apart, because each is the first entry of an index, or few. In one statement: a task that is claimed or released
    // between two would be in neither, and its loop would take itself to be done.
    const leased = this.#db
      .selectFrom('tasks')
      .select(sql<number | null>`min(case when lease_until > next_at then lease_until else next_at end)`.as('at'))
      .where('lease_until', '>', 0)
      .where('next_at', 'is not', null)
    const free = this.#db
      .selectFrom('tasks')
      .select('next_at as at')
      .where('lease_until', '=', 0)
      .where('next_at', 'is not', null)
      .orderBy('next_at')
      .limit(1)
    const { at } = await this.#db
      .selectFrom(leased.unionAll(this.#db.selectFrom(free.as('free')).select('at')).as('due'))
      .select((on) => on.fn.min('at').as('at'))
      .executeTakeFirstOrThrow()
    return at ?? undefined
  }

  async openArtifacts(registry: string): Promise<number> {
    const { count } = await this.#db
      .selectFrom('tasks')
      .select((on) => on.fn.countAll().as('count'))
      .where('registry', '=', registry)
      .where('state', 'in', [STATE_OF.submitting, STATE_OF.running])
      .where('next_at', 'is not', null)
      .executeTakeFirstOrThrow()
    return Number(count)
  }

  async claim(which: Claimable, limit: number, caps: Caps, now: Instant, leaseMs: number): Promise<OpenTask[]> {
    const rows = await this.#steps.run(this.#claim, { which, limit, caps, now, leaseMs })
    return rows.map(openTaskOf).sort((a, b) => a.nextAt - b.nextAt || (a.id < b.id ? -1 : 1))
  }

  readonly #claim: Writes<Claim, readonly TaskRow[]> = async (db, claims) => {
    const { worker, room, unlocked } = this.#flavour
    const claimed: TaskRow[][] = []
    for (const { which, limit, caps, now, leaseMs } of claims) {
      const count = await room(db, which, limit, caps, now)
      const rows =
        count <= 0
          ? []
          : await db
              .updateTable('tasks')
              .set({ lease_until: now + leaseMs, lease_owner: worker })
              .where('id', 'in', (on) =>
                unlocked(
                  on
                    .selectFrom('tasks')
                    .select('id')
                    .where('registry', '=', which.registry)
                    .where('provider', '=', which.provider)
                    .where('state', '=', STATE_OF[which.kind])
                    .where('next_at', '<=', now)
                    .where('lease_until', '<=', now)
                    .$if(which.kind === 'pending', isFirstOfItsKind)
                    .orderBy('next_at')
                    .orderBy('id')
                    .limit(count),
                ),
              )
              .returningAll()
              .execute()
      claimed.push(rows)
    }
    return claimed
  }

  async renew(taskIds: readonly string[], now: Instant, leaseMs: number): Promise<void> {
    await this.#steps.run(this.#renew, { taskIds, until: now + leaseMs })
  }

  readonly #renew: Writes<Renewal, void> = async (db, renewals) => {
    for (const { taskIds, until } of renewals) {
      for (const some of chunks(taskIds))
        await db
          .updateTable('tasks')
          .set({ lease_until: until })
          .where('id', 'in', some)
          .where('lease_owner', '=', this.#flavour.worker)
          .where('lease_until', '>', 0)
          .execute()
    }
    return []
  }

  async saveStep(task: OpenTask): Promise<void> {
    if (!(await this.#steps.run(this.#save, task))) throw new LeaseLost(task.id)
  }

  readonly #save: Writes<OpenTask, boolean> = (db, tasks) => saveHeld(db, this.#flavour.worker, tasks)

  async release(task: Task): Promise<readonly string[]> {
    const others = await this.#steps.run(this.#release, task)
    if (others === undefined) throw new LeaseLost(task.id)
    return others
  }

  readonly #release: Writes<Task, readonly string[] | undefined> = (db, tasks) =>
    releaseHeld(db, this.#flavour.worker, tasks)

  async giveUp(executionId: string, settle: (task: OpenTask) => SettledTask): Promise<void> {
    await this.#db.transaction().execute(async (db) => {
      const rows = await db
        .selectFrom('tasks')
        .selectAll()
        .where('execution_id', '=', executionId)
        .where('next_at', 'is not', null)
        .execute()
      await settleAll(
        db,
        rows.map((row) => settle(openTaskOf(row))),
      )
    })
  }

  async releaseLeases(): Promise<void> {
    await this.#db
      .updateTable('tasks')
      .set({ lease_until: 0 })
      .where('lease_until', '>', 0)
      .where('lease_owner', '=', this.#flavour.worker)
      .where('next_at', 'is not', null)
      .execute()
  }

  async hasOpenTasks(executionId: string): Promise<boolean> {
    const open = await this.#db
      .selectFrom('tasks')
      .select('id')
      .where('execution_id', '=', executionId)
      .where('next_at', 'is not', null)
      .limit(1)
      .executeTakeFirst()
    return open !== undefined
  }

  async tasks(executionId: string): Promise<Task[]> {
    const rows = await this.#db
      .selectFrom('tasks')
      .selectAll()
      .where('execution_id', '=', executionId)
      .orderBy('id')
      .execute()
    return rows.map(taskOf)
  }

  async warm(keys: readonly string[]): Promise<LedgerEntry[]> {
    const entries: LedgerEntry[] = []
    for (const some of chunks(keys)) {
      const rows = await this.#db.selectFrom('ledger').selectAll().where('key', 'in', some).orderBy('key').execute()
      for (const row of rows)
        entries.push({ key: row.key, warmAt: row.warm_at, evidence: JSON.parse(row.evidence) as Evidence })
    }
    return entries
  }

  async unsentReports(limit: number): Promise<UnsentReport[]> {
    const rows = await this.#db
      .selectFrom('executions')
      .selectAll()
      .where('sent', '=', 0)
      .where('state', '=', 'Ended')
      .orderBy('at')
      .orderBy('id')
      .limit(limit)
      .execute()
    const reports: UnsentReport[] = []
    for (const execution of rows.map(endedOf))
      reports.push({
        execution,
        tasks: await this.tasks(execution.id),
        previous: await this.#previous(execution),
      })
    return reports
  }

  async unsentMissed(): Promise<MissedSlot[]> {
    const rows = await this.#db.selectFrom('missed').selectAll().orderBy('slot_at').orderBy('policy_key').execute()
    return rows.map((row) => ({
      policyKey: row.policy_key,
      policy: row.policy,
      slot: row.slot_at,
      reason: row.reason,
    }))
  }

  async unsentRuns(): Promise<UsedRun[]> {
    const rows = await this.#db
      .selectFrom('used_runs')
      .selectAll()
      .where('sent', '=', 0)
      .orderBy('used_at')
      .orderBy('name')
      .orderBy('digest')
      .execute()
    return rows.map((row) => ({
      name: row.name,
      digest: row.digest,
      executionId: row.execution_id,
      policy: row.policy,
      usedAt: row.used_at,
    }))
  }

  async lastExecutions(): Promise<{ execution: EndedExecution; tasks: Task[] }[]> {
    const ranked = this.#db
      .selectFrom('executions')
      .select((on) => [
        'id',
        on.fn
          .agg<number>('row_number')
          .over((over) => over.partitionBy('policy_key').orderBy('at', 'desc').orderBy('id', 'desc'))
          .as('rank'),
      ])
      .where('state', '=', 'Ended')
    const rows = await this.#db
      .selectFrom('executions')
      .selectAll()
      .where('id', 'in', (on) => on.selectFrom(ranked.as('ranked')).select('ranked.id').where('ranked.rank', '=', 1))
      .orderBy('policy_key')
      .execute()
    const last: { execution: EndedExecution; tasks: Task[] }[] = []
    for (const execution of rows.map(endedOf)) last.push({ execution, tasks: await this.tasks(execution.id) })
    return last
  }

  async markSent(sent: {
    readonly executions: readonly string[]
    readonly missed: readonly MissedSlot[]
    readonly runs: readonly UsedRun[]
  }): Promise<void> {
    await this.#db.transaction().execute(async (db) => {
      for (const ids of chunks(sent.executions))
        await db
          .updateTable('executions')
          .set({ sent: 1 })
          .where('id', 'in', ids)
          .where('state', '=', 'Ended')
          .execute()
      for (const { policyKey, slot } of sent.missed)
        await db.deleteFrom('missed').where('policy_key', '=', policyKey).where('slot_at', '=', slot).execute()
      for (const { name, digest } of sent.runs)
        await db
          .updateTable('used_runs')
          .set({ sent: 1 })
          .where('name', '=', name)
          .where('digest', '=', digest)
          .execute()
    })
  }

  async usedRuns(): Promise<ReadonlySet<string>> {
    const rows = await this.#db.selectFrom('used_runs').select(['name', 'digest']).execute()
    return new Set(rows.map((row) => `${row.name} ${row.digest}`))
  }

  async adoptUsedRuns(runs: readonly UsedRun[]): Promise<void> {
    await this.#db.transaction().execute(async (db) => {
      for (const some of chunks(runs))
        await db
          .insertInto('used_runs')
          .values(some.map((run) => runRow(run, 1)))
          .onConflict((on) => on.columns(['name', 'digest']).doUpdateSet({ sent: 1 }))
          .execute()
    })
  }

  async deliver(deliveries: readonly Delivery[]): Promise<number> {
    return this.#steps.run(this.#deliver, deliveries)
  }

  readonly #deliver: Writes<readonly Delivery[], number> = async (db, all) => {
    const fresh = new Set<string>()
    // Workers that write several in one order never wait for each other.
    for (const some of chunks(all.flat().sort((a, b) => (a.key < b.key ? -1 : 1)))) {
      const rows = await db
        .insertInto('inbox')
        .values(
          some.map((one) => ({ key: one.key, received_at: one.receivedAt, routed: 0, body: JSON.stringify(one) })),
        )
        .onConflict((on) => on.doNothing())
        .returning('key')
        .execute()
      for (const { key } of rows) fresh.add(key)
    }
    if (fresh.size > 0) await this.#flavour.wakeOthers(db)
    // The first that brings it is the one who added it.
    return all.map((deliveries) => deliveries.filter(({ key }) => fresh.delete(key)).length)
  }

  async undelivered(limit: number): Promise<Delivery[]> {
    const rows = await this.#db
      .selectFrom('inbox')
      .select('body')
      .where('routed', '=', 0)
      .orderBy('received_at')
      .orderBy('key')
      .limit(limit)
      .execute()
    return rows.map((row) => JSON.parse(row.body) as Delivery)
  }

  async delivered(since: Instant): Promise<Delivery[]> {
    const rows = await this.#db.selectFrom('inbox').select('body').where('received_at', '>=', since).execute()
    return rows.map((row) => JSON.parse(row.body) as Delivery)
  }

  async route(deliveries: readonly Delivery[], events: readonly PendingEvent[]): Promise<void> {
    await this.#db.transaction().execute(async (db) => {
      for (const some of chunks(deliveries.map(({ key }) => key)))
        await db.updateTable('inbox').set({ routed: 1 }).where('key', 'in', some).execute()
      await saveEvents(db, events)
    })
  }

  async pendingEvents(): Promise<PendingEvent[]> {
    const rows = await this.#db
      .selectFrom('pending_events')
      .selectAll()
      .orderBy('policy_key')
      .orderBy('since_at')
      .orderBy('repository')
      .orderBy('reference')
      .execute()
    return rows.map((row) => ({
      policyKey: row.policy_key,
      repository: row.repository,
      reference: row.reference,
      kinds: row.kinds.split(',') as EventKind[],
      since: row.since_at,
    }))
  }

  async dropEvents(events: readonly PendingEvent[]): Promise<void> {
    await this.#db.transaction().execute((db) => forgetEvents(db, events))
  }

  async listing(registry: string, project: string): Promise<{ at: Instant; body: string } | undefined> {
    return this.#db
      .selectFrom('listings')
      .select(['at', 'body'])
      .where('registry', '=', registry)
      .where('project', '=', project)
      .executeTakeFirst()
  }

  async saveListing(
    registry: string,
    project: string,
    { at, body }: { readonly at: Instant; readonly body: string },
    events: readonly PendingEvent[],
  ): Promise<void> {
    await this.#db.transaction().execute(async (db) => {
      await db
        .insertInto('listings')
        .values({ registry, project, at, body })
        .onConflict((on) => on.columns(['registry', 'project']).doUpdateSet({ at, body }))
        .execute()
      await saveEvents(db, events)
    })
  }

  async suspensions(): Promise<ReadonlyMap<string, OperatorSuspension>> {
    const rows = await this.#db.selectFrom('suspensions').selectAll().execute()
    return new Map(rows.map((row) => [row.policy_key, JSON.parse(row.body) as OperatorSuspension]))
  }

  async suspend(policyKey: string, suspension: OperatorSuspension): Promise<void> {
    const body = JSON.stringify(suspension)
    await this.#db
      .insertInto('suspensions')
      .values({ policy_key: policyKey, body })
      .onConflict((on) => on.column('policy_key').doUpdateSet({ body }))
      .execute()
  }

  async resume(policyKey: string): Promise<boolean> {
    const { numDeletedRows } = await this.#db
      .deleteFrom('suspensions')
      .where('policy_key', '=', policyKey)
      .executeTakeFirst()
    return numDeletedRows > 0n
  }

  async invalidate(provider: string): Promise<number> {
    const { numDeletedRows } = await this.#db.deleteFrom('ledger').where('provider', '=', provider).executeTakeFirst()
    return Number(numDeletedRows)
  }

  async recent(policyKey: string | undefined, limit: number): Promise<Execution[]> {
    const rows = await this.#db
      .selectFrom('executions')
      .selectAll()
      .$if(policyKey !== undefined, (query) => query.where('policy_key', '=', policyKey ?? ''))
      .orderBy('at', 'desc')
      .orderBy('id', 'desc')
      .limit(limit)
      .execute()
    return rows.map(executionOf)
  }

  async pushes(since: Instant): Promise<number> {
    const { count } = await this.#db
      .selectFrom('pushes')
      .select((on) => on.fn.countAll().as('count'))
      .where('at', '>=', since)
      .executeTakeFirstOrThrow()
    return Number(count)
  }

  async recordPush(at: Instant): Promise<void> {
    await this.#db.insertInto('pushes').values({ at }).execute()
  }

  async prune(now: Instant): Promise<void> {
    await this.#db.transaction().execute(async (db) => {
      // Not the last that is in git: the next report compares itself with it, and the status shows it.
      const ids = await db
        .selectFrom('executions as old')
        .select('old.id')
        .where('old.sent', '=', 1)
        .where('old.ended_at', '<', now - EXECUTIONS_KEPT_MS)
        .where((on) =>
          on.or([
            // A run with artifacts of its own has no next one, and each need has a run: they would never end.
            on('old.policy_key', 'like', 'PreheatRun/%'),
            on.exists(
              on
                .selectFrom('executions as later')
                .select('later.id')
                .whereRef('later.policy_key', '=', 'old.policy_key')
                .where('later.sent', '=', 1)
                .where((at) =>
                  at.or([
                    at('later.at', '>', at.ref('old.at')),
                    at.and([at('later.at', '=', at.ref('old.at')), at('later.id', '>', at.ref('old.id'))]),
                  ]),
                ),
            ),
          ]),
        )
        .orderBy('old.ended_at')
        .limit(PRUNED_AT_ONCE)
        .execute()
      for (const some of chunks(ids.map((row) => row.id)))
        await db.deleteFrom('executions').where('id', 'in', some).execute()
      await db
        .deleteFrom('ledger')
        .where('warm_at', '<', now - WARMTH_KEPT_MS)
        .execute()
      await db
        .deleteFrom('pushes')
        .where('at', '<', now - PUSHES_KEPT_MS)
        .execute()
      await db
        .deleteFrom('inbox')
        .where('routed', '=', 1)
        .where('received_at', '<', now - DELIVERIES_KEPT_MS)
        .execute()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#db.destroy()
  }

  async #previous(execution: EndedExecution): Promise<UnsentReport['previous']> {
    const row = await this.#db
      .selectFrom('executions')
      .selectAll()
      .where('policy_key', '=', execution.policyKey)
      .where('state', '=', 'Ended')
      .where((on) =>
        on.or([on('at', '<', execution.at), on.and([on('at', '=', execution.at), on('id', '<', execution.id)])]),
      )
      .orderBy('at', 'desc')
      .orderBy('id', 'desc')
      .limit(1)
      .executeTakeFirst()
    if (row === undefined) return undefined
    const { result, selection, failure } = endedOf(row)
    return { result, selectionDigest: selection?.digest, failure }
  }
}

/**
 * Leaves out a task that would do what another one does already, or is to do before it: two policies that want the same
 * digest on the same provider are one job.
 */
function isFirstOfItsKind<O>(query: SelectQueryBuilder<Tables, 'tasks', O>): SelectQueryBuilder<Tables, 'tasks', O> {
  return query.where((on) =>
    on.not(
      on.exists(
        on
          .selectFrom('tasks as other')
          .select('other.id')
          .whereRef('other.share_key', '=', 'tasks.share_key')
          .where('other.next_at', 'is not', null)
          .whereRef('other.id', '!=', 'tasks.id')
          .where((at) =>
            at.or([
              at('other.state', '!=', STATE_OF.pending),
              at('other.lease_until', '>', 0),
              at('other.id', '<', at.ref('tasks.id')),
            ]),
          ),
      ),
    ),
  )
}

/** Writes what changed: of ten thousand objects a commit touches a few, and the others are the very same values. */
async function replaceObjects(
  db: Transaction<Tables>,
  before: readonly AppliedObject[],
  after: readonly AppliedObject[],
): Promise<void> {
  const stored = new Map(before.map((object) => [object.key, object]))
  const changed: Tables['objects'][] = []
  for (const object of after) {
    const was = stored.get(object.key)
    stored.delete(object.key)
    if (was === object) continue
    const body = JSON.stringify(object)
    if (was === undefined || JSON.stringify(was) !== body) changed.push({ key: object.key, body })
  }
  for (const keys of chunks([...stored.keys()])) await db.deleteFrom('objects').where('key', 'in', keys).execute()
  for (const some of chunks(changed))
    await db
      .insertInto('objects')
      .values(some)
      .onConflict((on) => on.column('key').doUpdateSet((row) => ({ body: row.ref('excluded.body') })))
      .execute()
}

async function forgetEvents(db: Transaction<Tables>, events: readonly PendingEvent[]): Promise<void> {
  for (const { policyKey, repository, reference } of events)
    await db
      .deleteFrom('pending_events')
      .where('policy_key', '=', policyKey)
      .where('repository', '=', repository)
      .where('reference', '=', reference)
      .execute()
}

/** An event of a subject that waits joins it: the first one's time counts. */
async function saveEvents(db: Transaction<Tables>, events: readonly PendingEvent[]): Promise<void> {
  for (const { policyKey, repository, reference, kinds, since } of events) {
    const known = await db
      .selectFrom('pending_events')
      .select('kinds')
      .where('policy_key', '=', policyKey)
      .where('repository', '=', repository)
      .where('reference', '=', reference)
      .executeTakeFirst()
    const all = [...new Set([...(known?.kinds.split(',') ?? []), ...kinds])].join(',')
    await db
      .insertInto('pending_events')
      .values({ policy_key: policyKey, repository, reference, kinds: all, since_at: since })
      .onConflict((on) => on.columns(['policy_key', 'repository', 'reference']).doUpdateSet({ kinds: all }))
      .execute()
  }
}

async function saveSchedules(db: Transaction<Tables>, schedules: readonly ScheduleState[]): Promise<void> {
  await db
    .insertInto('schedules')
    .values(schedules.map(scheduleRow))
    .onConflict((on) =>
      on.column('policy_key').doUpdateSet((row) => ({
        fingerprint: row.ref('excluded.fingerprint'),
        until_at: row.ref('excluded.until_at'),
      })),
    )
    .execute()
}

async function saveMissed(db: Transaction<Tables>, missed: readonly MissedSlot[]): Promise<void> {
  for (const some of chunks(missed))
    await db
      .insertInto('missed')
      .values(
        some.map((slot) => ({
          policy_key: slot.policyKey,
          slot_at: slot.slot,
          policy: slot.policy,
          reason: slot.reason,
        })),
      )
      .onConflict((on) => on.doNothing())
      .execute()
}
