import { createHash } from 'node:crypto'
import { formatDuration, type Instant } from '../model/duration.ts'
import { endOfSuspension, type PreheatPolicy, type Schedule, type Suspension } from '../model/policy.ts'
import { ofKind, type Located, type Resource } from '../model/resource.ts'
import { canonicalTiming, SlotCalculator } from '../model/schedule.ts'
import type { ScheduleState } from '../store/store.ts'

/** Missed slots that are named one by one; those before them share one line. */
const MAX_MISSED = 1000

/**
 * How late a slot may be and still be on time, for `catchUp: skip`: a busy moment is no outage.
 */
const ON_TIME_MS = 60_000

/** What is due of one policy, and where its schedule stands once that is written down. */
export interface DueSlots {
  /** The slot to run now. */
  readonly run: Instant | undefined
  /** The execution before it is stopped first. */
  readonly replaces?: true
  /** Oldest first. */
  readonly missed: readonly { readonly slot: Instant; readonly reason: string }[]
  /** The last slot accounted for: the state's own where nothing is due. */
  readonly until: Instant
}

/** What a policy's schedule means; undefined where it has none that fires. Equal meanings are equal texts. */
export function fingerprintOf(policy: Pick<PreheatPolicy, 'trigger' | 'enabled'>): string | undefined {
  const schedule = activeSchedule(policy)
  return schedule && canonicalTiming(schedule)
}

/**
 * The schedules' states under a new configuration: a schedule that means what it meant goes on where it stands, any
 * other counts from `now`.
 * @param unchanged resources whose schedule the states are of
 */
export function rearm(
  objects: readonly Located[],
  states: readonly ScheduleState[],
  now: Instant,
  unchanged: ReadonlySet<Resource> = new Set(),
): ScheduleState[] {
  const before = new Map(states.map((state) => [state.policyKey, state]))
  return ofKind(objects, 'PreheatPolicy').flatMap(({ resource, key }) => {
    const state = before.get(key)
    if (state !== undefined && unchanged.has(resource)) return [state]
    const fingerprint = fingerprintOf(resource)
    if (fingerprint === undefined) return []
    return [state?.fingerprint === fingerprint ? state : { policyKey: key, fingerprint, until: now }]
  })
}

/** What decides when a policy's slots begin. */
export type Timed = Pick<PreheatPolicy, 'trigger' | 'enabled' | 'registry' | 'project' | 'name'>

/**
 * When a policy's first slot strictly after `after`, its schedule's `until`, begins: `spread` after the slot. It may lie
 * in the past.
 */
export function nextSlotOf(policy: Timed, after: Instant, slots = new SlotCalculator()): Instant | undefined {
  const schedule = activeSchedule(policy)
  const slot = schedule && slots.next(schedule, after)
  return slot === undefined ? undefined : slot + placeIn(schedule!.spreadMs, policy)
}

/**
 * Which slots of a policy came due by `now`, by its `catchUp`: the latest runs, or the oldest that did not yet, unless it
 * is too old, lies in a suspension, or the execution before it still runs (`busy`); all others are missed. A slot of a
 * suspension is accounted for under that reason as it passes, so that nothing is made up for once it ends. A clock that
 * went back makes nothing due twice.
 */
export function dueSlots(
  policy: Timed & Pick<PreheatPolicy, 'suspend'>,
  state: Pick<ScheduleState, 'until'>,
  now: Instant,
  busy: boolean,
  slots = new SlotCalculator(),
): DueSlots {
  const schedule = activeSchedule(policy)
  const place = schedule ? placeIn(schedule.spreadMs, policy) : 0
  const due = schedule ? slots.between(schedule, state.until, now - place, MAX_MISSED + 2) : []
  const latest = due.at(-1)
  if (schedule === undefined || latest === undefined) return { run: undefined, missed: [], until: state.until }

  const why = (slot: Instant) => suspendedAt(policy.suspend, slot) ?? lateness(schedule, now - place - slot)
  if (schedule.catchUp === 'all') return oldestOf(due, why, state.until, busy && schedule.concurrency === 'forbid')
  const missed = due.slice(0, -1).map((slot) => ({ slot, reason: why(slot) ?? 'a later slot was due too' }))
  if (missed.length > MAX_MISSED) missed[0]!.reason = 'this one and all slots before it: too many to name'

  const reason = why(latest) ?? (busy && schedule.concurrency === 'forbid' ? STILL_RUNNING : undefined)
  if (reason !== undefined) return { run: undefined, missed: [...missed, { slot: latest, reason }], until: latest }
  const replaces = busy && schedule.concurrency === 'replace'
  return { run: latest, ...(replaces && { replaces }), missed, until: latest }
}

const STILL_RUNNING = 'the previous execution was still running'

/** For `catchUp: all`: one after another, oldest first; what has to wait for the one before it stays due. */
function oldestOf(
  due: readonly Instant[],
  why: (slot: Instant) => string | undefined,
  until: Instant,
  mustWait: boolean,
): DueSlots {
  const first = due.findIndex((slot) => why(slot) === undefined)
  const passed = first === -1 ? due : due.slice(0, first)
  const missed = passed.slice(-MAX_MISSED).map((slot) => ({ slot, reason: why(slot) ?? '' }))
  const run = first === -1 ? undefined : due[first]
  if (run === undefined || mustWait) return { run: undefined, missed, until: passed.at(-1) ?? until }
  return { run, missed, until: run }
}

/** Why a slot that is so late does not run any more; undefined: it may. */
function lateness({ catchUp, startingDeadlineMs }: Schedule, lateMs: number): string | undefined {
  if (lateMs > startingDeadlineMs) return `its startingDeadline of ${formatDuration(startingDeadlineMs)} had passed`
  return catchUp === 'skip' && lateMs > ON_TIME_MS ? 'nobody was there when it was due, and catchUp is skip' : undefined
}

/** A policy's own place in a time that many share, the same on every machine and at every slot. */
export function placeIn(spreadMs: number, { registry, project, name }: Timed): number {
  if (spreadMs === 0) return 0
  const hash = createHash('sha256')
    .update(JSON.stringify([registry, project, name]))
    .digest()
  return Math.floor((hash.readUInt32BE() / 2 ** 32) * spreadMs)
}

/** Why a slot rests; undefined where it does not. The instant of `until` itself does not rest. */
function suspendedAt(suspend: Suspension | undefined, at: Instant): string | undefined {
  if (suspend === undefined || at >= endOfSuspension(suspend)) return undefined
  return suspend.reason === '' ? 'Suspended' : `Suspended: ${suspend.reason}`
}

function activeSchedule({ trigger, enabled }: Pick<PreheatPolicy, 'trigger' | 'enabled'>): Schedule | undefined {
  return enabled && trigger.type === 'scheduled' ? trigger.schedule : undefined
}

interface Entry {
  readonly policyKey: string
  readonly at: Instant
}

/**
 * When each policy fires next: a binary heap that knows where everyone stands, so that one timer serves all policies
 * and arming one anew moves nobody else.
 */
export class Timetable {
  readonly #heap: Entry[] = []
  readonly #places = new Map<string, number>()

  /** Puts a policy at `nextAt`, wherever it stood; undefined takes it out. */
  set(policyKey: string, nextAt: Instant | undefined): void {
    const place = this.#places.get(policyKey) ?? this.#heap.length
    if (nextAt === undefined) {
      this.#remove(policyKey)
      return
    }
    this.#put(place, { policyKey, at: nextAt })
    this.#settle(place)
  }

  /** Who fires first; undefined: nobody does. */
  next(): Entry | undefined {
    return this.#heap[0]
  }

  /** Takes out everyone whose time has come, earliest first. */
  takeDue(now: Instant): string[] {
    const due: string[] = []
    for (let first = this.next(); first !== undefined && first.at <= now; first = this.next()) {
      due.push(first.policyKey)
      this.#remove(first.policyKey)
    }
    return due
  }

  #remove(policyKey: string): void {
    const place = this.#places.get(policyKey)
    if (place === undefined) return
    this.#places.delete(policyKey)
    const last = this.#heap.pop()!
    if (place === this.#heap.length) return
    this.#put(place, last)
    this.#settle(place)
  }

  /** Moves the entry at `place` up or down to where it belongs. */
  #settle(start: number): void {
    let place = start
    for (let parent = (place - 1) >> 1; place > 0 && this.#isBefore(place, parent); parent = (place - 1) >> 1) {
      this.#swap(place, parent)
      place = parent
    }
    for (;;) {
      const left = 2 * place + 1
      const child = this.#isBefore(left + 1, left) ? left + 1 : left
      if (!this.#isBefore(child, place)) return
      this.#swap(place, child)
      place = child
    }
  }

  #isBefore(place: number, other: number): boolean {
    const [a, b] = [this.#heap[place], this.#heap[other]]
    if (a === undefined || b === undefined) return false
    return a.at < b.at || (a.at === b.at && a.policyKey < b.policyKey)
  }

  #swap(place: number, other: number): void {
    const [a, b] = [this.#heap[place]!, this.#heap[other]!]
    this.#put(place, b)
    this.#put(other, a)
  }

  #put(place: number, entry: Entry): void {
    this.#heap[place] = entry
    this.#places.set(entry.policyKey, place)
  }
}
