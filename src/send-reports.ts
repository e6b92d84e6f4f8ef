import { waitingRuns } from './begin.ts'
import type { Peers } from './report/execution-report.ts'
import { flush } from './report/flush.ts'
import { suspendedIn, troubleIn, type Trouble } from './report/status.ts'
import type { Clock } from './model/clock.ts'
import type { Emit } from './model/events.ts'
import { SourceError, type Publisher } from './model/source.ts'
import { ofKind } from './model/resource.ts'
import type { Applied, Store, UnsentReport } from './store/store.ts'

export interface SendPorts {
  readonly store: Pick<
    Store,
    | 'applied'
    | 'unsentReports'
    | 'unsentMissed'
    | 'unsentRuns'
    | 'lastExecutions'
    | 'markSent'
    | 'pushes'
    | 'recordPush'
    | 'usedRuns'
  >
  readonly publisher: Publisher
  readonly clock: Clock
  readonly emit: Emit
  readonly instance: string
  readonly maxCommitsPerHour: number
  readonly peers: Peers
  /** Names of providers that do not answer. */
  readonly silent: readonly string[]
}

/** Reports of one commit; more wait for the next turn of the same flush. */
const BATCH = 200
const HOUR_MS = 3_600_000

export type Sent = 'sent' | 'nothing' | 'failed' | 'over-budget'

/**
 * Pushes every unsent report, and what follows from them, in as few commits as they fit into. What cannot be pushed
 * now stays in the store, which is the spool.
 */
export async function sendReports(ports: SendPorts, signal: AbortSignal): Promise<Sent> {
  const { store, publisher, clock, emit, instance, peers } = ports
  let sent: Sent = 'nothing'
  for (;;) {
    const reports = await store.unsentReports(BATCH)
    const missed = await store.unsentMissed()
    const runs = await store.unsentRuns()
    const applied = await store.applied()
    const now = clock.now()
    if ((await store.pushes(now - HOUR_MS)) >= ports.maxCommitsPerHour) return 'over-budget'
    const used = await store.usedRuns()
    const troubles =
      applied === undefined
        ? []
        : [
            ...troubleIn(applied),
            ...suspendedIn(applied, now),
            ...waitingRuns(applied, used, now),
            ...silentIn(applied, ports.silent),
          ]
    const declared = applied?.objects.map(({ key }) => key) ?? []
    const last = await store.lastExecutions()
    const { edits, message } = flush({ instance, peers, reports, missed, runs, last, troubles, declared })
    try {
      const revision = await publisher.publish(edits, message, signal)
      // A crash before this line makes the same edits again, and the publisher makes no commit of them.
      await store.markSent({ executions: reports.map(({ execution }) => execution.id), missed, runs })
      if (revision !== undefined) {
        await store.recordPush(clock.now())
        emit({ name: 'reports.pushed', revision, reports: reports.length })
        sent = 'sent'
      }
    } catch (error) {
      if (!(error instanceof SourceError)) throw error
      emit({ name: 'reports.failed', code: error.code, message: error.message, waiting: reports.length })
      return 'failed'
    }
    if (reports.length < BATCH) return sent
  }
}

function silentIn({ objects }: Applied, silent: readonly string[]): Trouble[] {
  return ofKind(objects, 'Provider').flatMap(({ resource, key, file, line }) => {
    if (!silent.includes(resource.name)) return []
    const message = 'it does not answer; its tasks wait and spend no attempts'
    return [{ key, problems: [{ severity: 'error', code: 'PH5001', file, line, column: 1, message }] }]
  })
}

/** Is one of these what somebody waits for: a manual run, or a policy that changed its result? */
export function isUrgent({ execution, previous }: UnsentReport): boolean {
  return execution.cause.type === 'manual' || previous?.result !== execution.result
}
