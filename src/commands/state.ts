import { causeText } from '../begin.ts'
import { systemClock } from '../clock.ts'
import { executionView, factsOf, standing } from '../standing.ts'
import { executionBody, statusBody, type ExecutionBody, type StatusBody } from '../serve/wire.ts'
import type { Settings } from '../settings.ts'
import type { Ledger } from '../store/store.ts'
import { version } from '../version.ts'
import { openLedgerOf } from './open.ts'

/** What a daemon that does not run has left; undefined where none ever ran. */
export async function withLedger<T>(settings: Settings, work: (ledger: Ledger) => Promise<T>): Promise<T | undefined> {
  await using ledger = await openLedgerOf(settings)
  return ledger && (await work(ledger))
}

/** How everything stood when the daemon stopped. */
export async function statusLeft(ledger: Ledger, { instance }: Settings): Promise<StatusBody> {
  return statusBody(
    standing({
      instance,
      version,
      leads: false,
      now: systemClock.now(),
      trouble: undefined,
      ...(await factsOf(ledger, await ledger.applied())),
      silentUntil: new Map(),
      causeText,
    }),
  )
}

/** The open executions and the last of each policy, the newest first. */
export async function executionsLeft(ledger: Ledger): Promise<ExecutionBody[]> {
  const { executions } = await factsOf(ledger, undefined)
  return executions
    .toSorted((a, b) => b.execution.startedAt - a.execution.startedAt)
    .map((one) => executionBody(executionView(one, causeText)))
}
