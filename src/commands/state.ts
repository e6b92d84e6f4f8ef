import { CannotBegin, causeText } from '../begin.ts'
import { systemClock } from '../clock.ts'
import { findPolicy } from '../model/find-policy.ts'
import { executables } from '../model/resource.ts'
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

/**
 * The open executions and the last of each policy, the newest first.
 * @param policy only its own; undefined: those of all
 * @throws {CannotBegin} for a policy that is not there
 */
export async function executionsLeft(ledger: Ledger, policy: string | undefined): Promise<ExecutionBody[]> {
  const applied = await ledger.applied()
  const named = policy === undefined ? undefined : findPolicy(policy, executables(applied?.objects ?? []))
  if (named?.ok === false) throw new CannotBegin(named.message, named.code)
  const { executions } = await factsOf(ledger, applied)
  return executions
    .filter(({ execution }) => named === undefined || execution.policyKey === named.found.key)
    .toSorted((a, b) => b.execution.startedAt - a.execution.startedAt)
    .map((one) => executionBody(executionView(one, causeText)))
}
