import { formatDuration, type Instant } from '../model/duration.ts'
import type { PreheatPolicy, Schedule } from '../model/policy.ts'
import { ofKind, type Located } from '../model/resource.ts'
import { canonicalTiming, SlotCalculator } from '../model/schedule.ts'
import type { ScheduleState } from '../store/store.ts'

/** Missed slots that are named one by one; those before them share one line. */
const MAX_MISSED = 1000

/** What is due of one policy, and where its schedule stands once that is written down. */
export interface DueSlots {
  /** The slot to run now. */
  readonly run: Instant | undefined
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
 */
export function rearm(objects: readonly Located[], states: readonly ScheduleState[], now: Instant): ScheduleState[] {
  const before = new Map(states.map((state) => [state.policyKey, state]))
  return ofKind(objects, 'PreheatPolicy').flatMap(({ resource, key }) => {
    const fingerprint = fingerprintOf(resource)
    if (fingerprint === undefined) return []
    const state = before.get(key)
    return [state?.fingerprint === fingerprint ? state : { policyKey: key, fingerprint, until: now }]
  })
}

/** A policy's first slot strictly after `after`, its schedule's `until`; it may lie in the past. */
export function nextSlotOf(
  policy: Pick<PreheatPolicy, 'trigger' | 'enabled'>,
  after: Instant,
  slots = new SlotCalculator(),
): Instant | undefined {
  const schedule = activeSchedule(policy)
  return schedule && slots.next(schedule, after)
}

/**
 * Which slots of a policy came due by `now`: the latest runs, unless it is too old or the execution before it still
 * runs (`busy`); all others are missed. A clock that went back makes nothing due twice.
 */
export function dueSlots(
  policy: Pick<PreheatPolicy, 'trigger' | 'enabled'>,
  state: Pick<ScheduleState, 'until'>,
  now: Instant,
  busy: boolean,
  slots = new SlotCalculator(),
): DueSlots {
  const schedule = activeSchedule(policy)
  const due = schedule ? slots.between(schedule, state.until, now, MAX_MISSED + 2) : []
  const latest = due.at(-1)
  if (schedule === undefined || latest === undefined) return { run: undefined, missed: [], until: state.until }

  const isLate = (slot: Instant) => now - slot > schedule.startingDeadlineMs
  const late = `its startingDeadline of ${formatDuration(schedule.startingDeadlineMs)} had passed`
  const missed = due.slice(0, -1).map((slot) => ({ slot, reason: isLate(slot) ? late : 'a later slot was due too' }))
  if (missed.length > MAX_MISSED) missed[0]!.reason = 'this one and all slots before it: too many to name'

  if (isLate(latest)) missed.push({ slot: latest, reason: late })
  else if (busy) missed.push({ slot: latest, reason: 'the previous execution was still running' })
  else return { run: latest, missed, until: latest }
  return { run: undefined, missed, until: latest }
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
