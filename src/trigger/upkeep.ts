import { placeIn } from './scheduler.ts'
import type { Instant } from '../model/duration.ts'
import type { Upkeep } from '../model/execution.ts'
import { endOfSuspension, type PreheatPolicy } from '../model/policy.ts'
import { ofKind, type Located } from '../model/resource.ts'
import type { ScheduleState } from '../store/store.ts'

/** One kind of upkeep of one policy. */
export interface Duty {
  readonly upkeep: Upkeep
  readonly everyMs: number
  /** It rests until then; `Infinity`: until its policy changes. Undefined: it does not. */
  readonly restsUntil?: Instant
}

/**
 * What is kept warm is looked through four times in the time that it may take to grow old, and preheated again in the
 * last quarter of it: so the work is spread, and nothing is ever older than that time.
 */
const LOOKS = 4
export const KEEP_WARM_SHARE = (LOOKS - 1) / LOOKS

/** What a policy wants done for the images that it has made warm. */
export function dutiesOf({ enabled, suspend, keepWarmMs, drift }: PreheatPolicy): Duty[] {
  if (!enabled) return []
  const rest = suspend && { restsUntil: endOfSuspension(suspend) }
  return [
    ...(keepWarmMs === undefined
      ? []
      : [{ upkeep: 'keep_warm' as const, everyMs: Math.ceil(keepWarmMs / LOOKS), ...rest }]),
    ...(drift.mode === 'off' ? [] : [{ upkeep: 'drift' as const, everyMs: drift.intervalMs, ...rest }]),
  ]
}

/** Under which a duty's {@link ScheduleState} is kept: a policy's key has no `#`. */
export function dutyKey(policyKey: string, upkeep: Upkeep): string {
  return `${policyKey}#${upkeep}`
}

/**
 * The duties' states under a new configuration. One whose time or rest changed begins within its time from `now`, each
 * at a place of its own: those that begin together would look at everything at once for ever.
 */
export function rearmDuties(
  objects: readonly Located[],
  states: readonly ScheduleState[],
  now: Instant,
): ScheduleState[] {
  const before = new Map(states.map((state) => [state.policyKey, state]))
  return ofKind(objects, 'PreheatPolicy').flatMap(({ key, resource }) =>
    dutiesOf(resource).map(({ upkeep, everyMs, restsUntil }) => {
      const state = before.get(dutyKey(key, upkeep))
      const fingerprint = `every ${everyMs}${restsUntil === undefined ? '' : ` from ${restsUntil}`}`
      if (state?.fingerprint === fingerprint) return state
      const place = placeIn(everyMs, { ...resource, name: dutyKey(resource.name, upkeep) })
      return { policyKey: dutyKey(key, upkeep), fingerprint, until: now - place }
    }),
  )
}

/** When a duty is next due; it may lie in the past. */
export function nextDuty({ everyMs, restsUntil = 0 }: Duty, until: Instant): Instant {
  return Math.max(until + everyMs, restsUntil)
}

/** The latest instant at which a duty came due by `now`; undefined: it has not. Those before it are made up for by it. */
export function dueDuty({ everyMs, restsUntil = 0 }: Duty, until: Instant, now: Instant): Instant | undefined {
  if (now < restsUntil) return undefined
  const passed = Math.floor((now - until) / everyMs)
  return passed < 1 ? undefined : until + passed * everyMs
}
