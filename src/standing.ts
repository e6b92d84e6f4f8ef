import { suspensionOf, suspensionText } from './begin.ts'
import { excerpt } from './model/errors.ts'
import type { Instant } from './model/duration.ts'
import type { Cause, Execution } from './model/execution.ts'
import { endOfSuspension, policyAddress, type PreheatPolicy } from './model/policy.ts'
import { ofKind } from './model/resource.ts'
import { SlotCalculator } from './model/schedule.ts'
import { isSettled, type Task } from './model/task.ts'
import type { Applied, AppliedObject, Ledger } from './store/store.ts'
import { nextSlotOf } from './trigger/scheduler.ts'
import type { ConditionView, ExecutionView, PolicyView, StatusView } from './model/operations.ts'

export interface WithTasks<E extends Execution = Execution> {
  readonly execution: E
  readonly tasks: readonly Task[]
}

/** All that a {@link StatusView} is made of. */
export interface Facts extends Pick<StatusView, 'instance' | 'version' | 'leads' | 'waitingReports'> {
  readonly now: Instant
  readonly applied: Applied | undefined
  readonly trouble: StatusView['source']['trouble']
  /** Open ones and the last of each policy that ended. */
  readonly executions: readonly WithTasks[]
  /** Why a policy rests beyond what its file says; by key. */
  readonly suspended: ReadonlyMap<string, string>
  readonly silentUntil: ReadonlyMap<string, Instant>
  /** Tasks that have not settled, by provider. */
  readonly openTasks: ReadonlyMap<string, number>
  readonly causeText: (cause: Cause) => string
}

/** The facts that a state remembers. */
export async function factsOf(
  ledger: Pick<Ledger, 'openExecutions' | 'lastExecutions' | 'suspensions' | 'tasks' | 'unsentReports'>,
  applied: Applied | undefined,
): Promise<Pick<Facts, 'applied' | 'executions' | 'suspended' | 'openTasks' | 'waitingReports'>> {
  const open: WithTasks[] = []
  for (const execution of await ledger.openExecutions())
    open.push({ execution, tasks: await ledger.tasks(execution.id) })
  const openTasks = new Map<string, number>()
  for (const task of open.flatMap(({ tasks }) => tasks))
    if (!isSettled(task)) openTasks.set(task.provider, (openTasks.get(task.provider) ?? 0) + 1)
  const suspensions = await ledger.suspensions()
  const suspended = ofKind(applied?.objects ?? [], 'PreheatPolicy').flatMap(({ key }) => {
    const said = suspensionOf(key, suspensions)
    return said === undefined ? [] : [[key, suspensionText(said)] as const]
  })
  return {
    applied,
    executions: [...open, ...(await ledger.lastExecutions())],
    suspended: new Map(suspended),
    openTasks,
    waitingReports: (await ledger.unsentReports(1000)).length,
  }
}

/** How everything that is declared stands. */
export function standing(facts: Facts): StatusView {
  const { instance, version, leads, applied, trouble, waitingReports, silentUntil, openTasks } = facts
  const objects = applied?.objects ?? []
  const slots = new SlotCalculator()
  const byPolicy = new Map<string, WithTasks[]>()
  for (const one of facts.executions) {
    const { policyKey } = one.execution
    byPolicy.set(policyKey, [...(byPolicy.get(policyKey) ?? []), one])
  }
  return {
    instance,
    version,
    leads,
    source: { revision: applied?.config.commit, appliedAt: applied?.appliedAt, trouble },
    policies: objects.flatMap((object) => {
      const { resource, key } = object
      if (resource.kind !== 'PreheatPolicy') return []
      return [policyView({ policy: resource, object, executions: byPolicy.get(key) ?? [] }, facts, slots)]
    }),
    providers: ofKind(objects, 'Provider').map(({ resource: { name, vendor, enabled } }) => ({
      provider: name,
      vendor,
      enabled,
      silentUntil: silentUntil.get(name),
      openTasks: openTasks.get(name) ?? 0,
    })),
    waitingReports,
    problems: applied?.problems ?? [],
  }
}

interface Standing {
  readonly policy: PreheatPolicy
  readonly object: AppliedObject
  readonly executions: readonly WithTasks[]
}

function policyView(standing: Standing, facts: Facts, slots: SlotCalculator): PolicyView {
  const { policy, object, executions } = standing
  const last = executions.find(({ execution }) => execution.state === 'Ended')
  const suspended = facts.suspended.get(object.key) ?? restText(policy, facts.now)
  const rests = facts.suspended.has(object.key)
  return {
    policy: policyAddress(policy),
    registry: policy.registry,
    conditions: conditionsOf(standing),
    suspended,
    nextSlot: rests ? undefined : nextSlots(policy, facts.now, 1, slots)[0],
    last: last && executionView(last, facts.causeText),
  }
}

/** Its slots after now and after its suspension, at most so many. */
export function nextSlots(policy: PreheatPolicy, now: Instant, count: number, slots = new SlotCalculator()): Instant[] {
  const found: Instant[] = []
  // The end of a suspension does not rest any more.
  let after = Math.max(now, policy.suspend === undefined ? now : endOfSuspension(policy.suspend) - 1)
  while (found.length < count && Number.isFinite(after)) {
    const next = nextSlotOf(policy, after, slots)
    if (next === undefined) break
    found.push(next)
    after = next
  }
  return found
}

/** An execution in one line. */
export function executionView({ execution, tasks }: WithTasks, causeText: (cause: Cause) => string): ExecutionView {
  const counts: Record<string, number> = {}
  for (const { state } of tasks) counts[state] = (counts[state] ?? 0) + 1
  const isEnded = execution.state === 'Ended'
  return {
    id: execution.id,
    policy: policyAddress(execution.snapshot.policy),
    state: execution.state,
    result: isEnded ? execution.result : undefined,
    startedAt: execution.startedAt,
    endedAt: isEnded ? execution.endedAt : undefined,
    cause: causeText(execution.cause),
    tasks: counts,
  }
}

function conditionsOf({ policy, object, executions }: Standing): ConditionView[] {
  const problem = object.problems.find(({ severity }) => severity === 'error')
  const open = executions.find(({ execution }) => execution.state !== 'Ended')?.execution
  const stalled =
    problem &&
    `${problem.file}:${problem.line}: ${problem.code} ${excerpt(problem.message)}; its last good version is in force`
  return [
    stalled === undefined ? ready(policy, executions) : condition('Ready', false, 'Invalid', stalled),
    open === undefined
      ? condition('Reconciling', false, 'Idle', '')
      : condition('Reconciling', true, open.state, `execution ${open.id}`),
    stalled === undefined ? condition('Stalled', false, 'Valid', '') : condition('Stalled', true, 'Invalid', stalled),
  ]
}

function ready({ enabled }: PreheatPolicy, executions: readonly WithTasks[]): ConditionView {
  if (!enabled) return condition('Ready', false, 'Disabled', 'nothing runs, and manual runs are refused')
  const last = executions.map(({ execution }) => execution).find(({ state }) => state === 'Ended')
  if (last?.state !== 'Ended') return condition('Ready', true, 'NeverRan', '')
  const { id, result, reason } = last
  const isGood = result === 'Success' || result === 'Skipped'
  return condition(
    'Ready',
    isGood,
    result,
    reason === undefined ? `execution ${id}` : `${reason.code} ${reason.message}`,
  )
}

function condition(type: ConditionView['type'], status: boolean, reason: string, message: string): ConditionView {
  return { type, status, reason, message }
}

function restText({ suspend }: PreheatPolicy, now: Instant): string | undefined {
  if (suspend === undefined || now >= endOfSuspension(suspend)) return undefined
  return suspend.reason
}
