import { createHash } from 'node:crypto'
import { targetsOf } from './model/targets.ts'
import { compactInstant, formatInstant, type Instant } from './model/duration.ts'
import type { Clock } from './model/clock.ts'
import type { Code } from './model/codes.ts'
import type { Emit } from './model/events.ts'
import type { Cause, ConfigCommit, Execution, Snapshot } from './model/execution.ts'
import { endOfSuspension, policyAddress, type PreheatPolicy, type Refresh } from './model/policy.ts'
import { ofKind, resourceKey, type Located } from './model/resource.ts'
import { isArtifactRun, isExpired, type PreheatRun } from './model/run.ts'
import { findPolicy } from './model/find-policy.ts'
import { SlotCalculator } from './model/schedule.ts'
import { grouped } from './trigger/grouped.ts'
import { dueSlots } from './trigger/scheduler.ts'
import { dueDuty, dutiesOf, dutyKey } from './trigger/upkeep.ts'
import type { Trouble } from './report/status.ts'
import type { Asked } from './model/operations.ts'
import type { Applied, MissedSlot, OperatorSuspension, ScheduleState, Store } from './store/store.ts'

/** More events of one policy at once are not looked at one by one. */
const MAX_SUBJECTS = 1000

export interface BeginPorts {
  readonly store: Pick<
    Store,
    'begin' | 'miss' | 'schedules' | 'openExecutions' | 'usedRuns' | 'suspensions' | 'pendingEvents' | 'dropEvents'
  >
  /** Stops the execution that a new one takes the place of. */
  readonly replace: (executionId: string, reason: string) => Promise<void>
  readonly clock: Clock
  readonly emit: Emit
}

export type Selecting = Extract<Execution, { state: 'Selecting' }>

/** Why an execution cannot begin; or that the policy is not there that somebody names. */
export class CannotBegin extends Error {
  override readonly name = 'CannotBegin'
  readonly code: Code

  constructor(message: string, code: Code = 'PH8101') {
    super(message)
    this.code = code
  }
}

/**
 * Begins what schedules are due, and accounts for the slots that are not run.
 * @param wanted which policies to look at, by key
 */
export async function beginDueSlots(
  applied: Applied,
  wanted: (policyKey: string) => boolean,
  ports: BeginPorts,
): Promise<Selecting[]> {
  const { store, clock, emit } = ports
  const now = clock.now()
  const states = new Map((await store.schedules()).map((state) => [state.policyKey, state]))
  const open = await store.openExecutions()
  const busy = new Set(open.map(({ policyKey }) => policyKey))
  const suspensions = await store.suspensions()
  const begun: Selecting[] = []
  const slots = new SlotCalculator()
  for (const { resource: policy, key } of ofKind(applied.objects, 'PreheatPolicy')) {
    const state = states.get(key)
    if (state === undefined || !wanted(key)) continue
    const due = dueSlots(resting(policy, key, suspensions), state, now, busy.has(key), slots)
    if (due.until === state.until) continue
    const missed = due.missed.map(({ slot, reason }): MissedSlot => ({
      policyKey: key,
      policy: policyAddress(policy),
      slot,
      reason,
    }))
    const execution = await beginSlot(
      { policy, slot: due.run, missed, schedule: { ...state, until: due.until } },
      applied,
      ports,
    )
    if (execution !== undefined) begun.push(execution)
    if (execution !== undefined && due.replaces === true)
      for (const { id, policyKey } of open.filter((one) => one.policyKey === key))
        await ports.replace(id, `${execution.id} of ${policyKey} began, and concurrency is replace`)
    for (const { slot, reason } of missed) emit({ name: 'slot.missed', policyKey: key, slot, reason })
  }
  return begun
}

/** What an operator lets rest, a policy or all of them. */
export function suspensionOf(
  policyKey: string,
  suspensions: ReadonlyMap<string, OperatorSuspension>,
): OperatorSuspension | undefined {
  return suspensions.get(policyKey) ?? suspensions.get('*')
}

/** Who lets it rest and why: `by ada: freeze`. */
export function suspensionText({ by, reason }: OperatorSuspension): string {
  return `by ${by}${reason && `: ${reason}`}`
}

/** The policy as it stands with what operators say; their word has no end of its own. */
function resting(
  policy: PreheatPolicy,
  key: string,
  suspensions: ReadonlyMap<string, OperatorSuspension>,
): PreheatPolicy {
  const said = suspensionOf(key, suspensions)
  if (said === undefined) return policy
  return { ...policy, suspend: { until: undefined, reason: suspensionText(said) } }
}

/**
 * Begins one execution a policy for the events whose time to wait for more is over. An event that came while its policy
 * rests is dropped: whatever it was about is found by the next schedule, run or look.
 */
export async function beginDueEvents(applied: Applied, ports: BeginPorts): Promise<Selecting[]> {
  const { store, clock, emit } = ports
  const now = clock.now()
  const suspensions = await store.suspensions()
  const policies = new Map(ofKind(applied.objects, 'PreheatPolicy').map(({ key, resource }) => [key, resource]))
  const begun: Selecting[] = []
  for (const [policyKey, events] of grouped(await store.pendingEvents(), ({ policyKey }) => policyKey)) {
    const policy = policies.get(policyKey)
    const since = Math.min(...events.map((event) => event.since))
    if (policy !== undefined && now < dueAt(policy, since)) continue
    const cause: Cause = {
      type: 'event_based',
      since,
      events: [...new Set(events.flatMap(({ kinds }) => kinds))].sort(),
      // So many are no event but a campaign: all that the policy covers is looked at.
      subjects:
        events.length > MAX_SUBJECTS ? [] : events.map(({ repository, reference }) => ({ repository, reference })),
    }
    const rests = policy === undefined || !policy.enabled || isResting(resting(policy, policyKey, suspensions), now)
    const execution = rests ? undefined : tryExecution(policy, cause, since, applied, now)
    if (execution === undefined) await store.dropEvents(events)
    else if (await store.begin(execution, { events })) {
      emit({ name: 'execution.started', execution })
      begun.push(execution)
    } else await store.dropEvents(events)
  }
  return begun
}

/** When the events that wait are acted on: `debounce` after the first; undefined: none waits. */
export async function nextEventsAt(
  applied: Applied,
  store: Pick<Store, 'pendingEvents'>,
): Promise<Instant | undefined> {
  const policies = new Map(ofKind(applied.objects, 'PreheatPolicy').map(({ key, resource }) => [key, resource]))
  const due = [...grouped(await store.pendingEvents(), ({ policyKey }) => policyKey)].map(([key, events]) => {
    const policy = policies.get(key)
    return policy === undefined ? 0 : dueAt(policy, Math.min(...events.map(({ since }) => since)))
  })
  return due.length === 0 ? undefined : Math.min(...due)
}

function dueAt({ trigger }: PreheatPolicy, since: Instant): Instant {
  return since + (trigger.type === 'event_based' ? trigger.debounceMs : 0)
}

function isResting({ suspend }: PreheatPolicy, now: Instant): boolean {
  return suspend !== undefined && now < endOfSuspension(suspend)
}

/** Begins the upkeep that is due. What is due while the policy's execution still runs waits for the next time. */
export async function beginDueDuties(
  applied: Applied,
  wanted: (dutyKey: string) => boolean,
  ports: BeginPorts,
): Promise<Selecting[]> {
  const { store, clock, emit } = ports
  const now = clock.now()
  const states = new Map((await store.schedules()).map((state) => [state.policyKey, state]))
  const busy = new Set((await store.openExecutions()).map(({ policyKey }) => policyKey))
  const suspensions = await store.suspensions()
  const begun: Selecting[] = []
  for (const { resource: policy, key } of ofKind(applied.objects, 'PreheatPolicy')) {
    if (suspensionOf(key, suspensions) !== undefined) continue
    for (const duty of dutiesOf(policy)) {
      const state = states.get(dutyKey(key, duty.upkeep))
      const at = state === undefined || !wanted(state.policyKey) ? undefined : dueDuty(duty, state.until, now)
      if (state === undefined || at === undefined) continue
      const schedule = { ...state, until: at }
      const cause: Cause = { type: 'scheduled', upkeep: duty.upkeep, at }
      const execution = busy.has(key) ? undefined : tryExecution(policy, cause, at, applied, now)
      if (execution === undefined) await store.miss(schedule, [])
      else if (await store.begin(execution, { schedule })) {
        emit({ name: 'execution.started', execution })
        begun.push(execution)
        busy.add(key)
      }
    }
  }
  return begun
}

/** Undefined when its registry or providers are not declared any more: there is nothing left to keep up. */
function tryExecution(
  policy: PreheatPolicy,
  cause: Cause,
  at: Instant,
  applied: Applied,
  now: Instant,
): Selecting | undefined {
  try {
    return newExecution(policy, cause, at, undefined, applied, now)
  } catch (error) {
    if (error instanceof CannotBegin) return undefined
    throw error
  }
}

interface DueSlot {
  readonly policy: PreheatPolicy
  readonly slot: Instant | undefined
  readonly missed: MissedSlot[]
  readonly schedule: ScheduleState
}

async function beginSlot(
  { policy, slot, missed, schedule }: DueSlot,
  applied: Applied,
  { store, clock, emit }: BeginPorts,
): Promise<Selecting | undefined> {
  if (slot === undefined) {
    await store.miss(schedule, missed)
    return undefined
  }
  try {
    const execution = newExecution(policy, { type: 'scheduled', slot }, slot, undefined, applied, clock.now())
    if (!(await store.begin(execution, { schedule, missed }))) return undefined
    emit({ name: 'execution.started', execution })
    return execution
  } catch (error) {
    if (!(error instanceof CannotBegin)) throw error
    missed.push({ policyKey: schedule.policyKey, policy: policyAddress(policy), slot, reason: error.message })
    await store.miss(schedule, missed)
    return undefined
  }
}

/** Begins the PreheatRuns that were not used up; one that cannot begin waits, visibly. */
export async function beginRuns(applied: Applied, ports: BeginPorts): Promise<Selecting[]> {
  const { store, clock, emit } = ports
  const now = clock.now()
  const begun: Selecting[] = []
  for (const { resource: run } of openRuns(applied, await store.usedRuns(), now)) {
    const execution = executionOfRun(run, applied, now)
    if (execution instanceof CannotBegin) {
      emit({ name: 'run.waiting', run: run.name, reason: execution.message })
      continue
    }
    const policy = policyAddress(execution.snapshot.policy)
    const use = { name: run.name, digest: run.digest, executionId: execution.id, policy, usedAt: now }
    if (!(await store.begin(execution, { run: use }))) continue
    emit({ name: 'execution.started', execution })
    begun.push(execution)
  }
  return begun
}

/** PreheatRuns that cannot begin as things are, each with the reason. */
export function waitingRuns(applied: Applied, used: ReadonlySet<string>, now: Instant): Trouble[] {
  return openRuns(applied, used, now).flatMap(({ resource, key, file, line }) => {
    const execution = executionOfRun(resource, applied, now)
    if (!(execution instanceof CannotBegin)) return []
    const message = `it waits: ${execution.message}`
    return { key, problems: [{ severity: 'warning', code: 'PH8009', file, line, column: 1, message }] }
  })
}

/**
 * PreheatRuns that are neither used up nor expired.
 * @param used as {@link Store.usedRuns} tells them
 */
export function openRuns(
  { objects }: Pick<Applied, 'objects'>,
  used: ReadonlySet<string>,
  now: Instant,
): Located<PreheatRun>[] {
  return ofKind(objects, 'PreheatRun').filter(({ resource }) => !isUsed(resource, used) && !isExpired(resource, now))
}

/** Did it run already, as {@link Store.usedRuns} tells? */
export function isUsed({ name, digest }: PreheatRun, used: ReadonlySet<string>): boolean {
  return used.has(`${name} ${digest}`)
}

function executionOfRun(run: PreheatRun, applied: Applied, now: Instant): Selecting | CannotBegin {
  try {
    const cause: Cause = { type: 'manual', run: { name: run.name, digest: run.digest, reason: run.reason } }
    if (isArtifactRun(run)) {
      const execution = newExecution(run.ownPolicy, cause, now, undefined, applied, now)
      // No execution of a policy, not even of one that is called like it.
      return { ...execution, policyKey: resourceKey(run) }
    }
    return newExecution(policyNamed(run.policy, applied), cause, now, run.refresh, applied, now)
  } catch (error) {
    if (error instanceof CannotBegin) return error
    throw error
  }
}

/**
 * Begins one policy now because somebody asked.
 * @throws {CannotBegin} saying why not
 */
export async function beginManual(
  name: string,
  { by, reason }: Asked,
  applied: Applied,
  { store, clock, emit }: BeginPorts,
): Promise<Selecting> {
  const now = clock.now()
  const execution = newExecution(
    policyNamed(name, applied),
    { type: 'manual', acceptedAt: now, by, ...(reason !== '' && { reason }) },
    now,
    undefined,
    applied,
    now,
  )
  if (!(await store.begin(execution, {}))) throw new CannotBegin(`execution ${execution.id} exists already`)
  emit({ name: 'execution.started', execution })
  return execution
}

function policyNamed(name: string, { objects }: Applied): PreheatPolicy {
  const named = findPolicy(name, ofKind(objects, 'PreheatPolicy'))
  if (!named.ok) throw new CannotBegin(named.message, named.code)
  const { resource } = named.found
  if (!resource.enabled) throw new CannotBegin(`policy ${policyAddress(resource)} is disabled`)
  return resource
}

/** A commit and what it declares. */
interface Declared {
  readonly config: ConfigCommit
  readonly objects: readonly Located[]
}

/**
 * An execution with all that it keeps. Its id is made of what caused it, so that whoever reaches the same cause
 * computes the same id, and the store lets only the first begin.
 *
 * @throws {CannotBegin} when its registry or providers are not declared any more
 */
export function newExecution(
  policy: PreheatPolicy,
  cause: Cause,
  at: Instant,
  refresh: Refresh | undefined,
  declared: Declared,
  now: Instant,
): Selecting {
  const policyKey = resourceKey(policy)
  const hash = createHash('sha256')
    .update(JSON.stringify([policyKey, cause]))
    .digest('hex')
    .slice(0, 8)
  return {
    id: `${compactInstant(at)}-${hash}`,
    policyKey,
    cause,
    at,
    snapshot: {
      ...snapshotOf(policy, refresh, declared),
      ...('subjects' in cause && cause.subjects.length > 0 && { subjects: cause.subjects }),
    },
    startedAt: now,
    state: 'Selecting',
  }
}

function snapshotOf(policy: PreheatPolicy, refresh: Refresh | undefined, { config, objects }: Declared): Snapshot {
  const registry = ofKind(objects, 'Registry').find(({ resource }) => resource.name === policy.registry)?.resource
  if (registry === undefined) throw new CannotBegin(`registry ${policy.registry} is not declared`)
  const providers = ofKind(objects, 'Provider').map(({ resource }) => resource)
  const targets = targetsOf(policy, providers)
  if (!targets.ok) throw new CannotBegin(targets.message)
  return { policy, registry, targets: targets.targets, refresh: refresh ?? policy.refresh, config }
}

/** For messages: what caused an execution, in a few words. */
export function causeText(cause: Cause): string {
  if ('slot' in cause) return `slot ${formatInstant(cause.slot)}`
  if ('subjects' in cause)
    return `${cause.events.join(', ')} of ${cause.subjects.length} at ${formatInstant(cause.since)}`
  if ('upkeep' in cause) return `${cause.upkeep === 'drift' ? 'drift' : 'keepWarm'} ${formatInstant(cause.at)}`
  return 'run' in cause ? `PreheatRun ${cause.run.name}` : `asked for by ${cause.by}`
}
