import { causeText } from '../begin.ts'
import { systemClock } from '../clock.ts'
import { executionView, standing, type WithTasks } from '../standing.ts'
import { executionBody, statusBody, type ExecutionBody, type StatusBody } from '../serve/wire.ts'
import type { Settings } from '../settings.ts'
import { openLedger, type Ledger } from '../store/embedded.ts'
import { version } from '../version.ts'

/** What a daemon that does not run has left; undefined where none ever ran. */
export async function withLedger<T>({ state }: Settings, work: (ledger: Ledger) => Promise<T>): Promise<T | undefined> {
  await using ledger = await openLedger(state.dir)
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
      applied: await ledger.applied(),
      trouble: undefined,
      executions: await executionsIn(ledger),
      suspended: new Map(),
      silentUntil: new Map(),
      openTasks: new Map(),
      waitingReports: 0,
      causeText,
    }),
  )
}

/** The open executions and the last of each policy, the newest first. */
export async function executionsLeft(ledger: Ledger): Promise<ExecutionBody[]> {
  const found = await executionsIn(ledger)
  return found
    .sort((a, b) => b.execution.startedAt - a.execution.startedAt)
    .map((one) => executionBody(executionView(one, causeText)))
}

async function executionsIn(ledger: Ledger): Promise<WithTasks[]> {
  const open = (await ledger.openExecutions()).map((execution) => ({ execution, tasks: [] }))
  return [...open, ...(await ledger.lastExecutions())]
}
