import { byText } from '../plan/order.ts'
import type { Instant } from '../model/duration.ts'
import { ofKind, type Located } from '../model/resource.ts'
import { SlotCalculator } from '../model/schedule.ts'
import type { ScheduleState } from '../store/store.ts'
import { nextSlotOf, Timetable } from './scheduler.ts'
import { dutiesOf, dutyKey, nextDuty } from './upkeep.ts'

/** When policies' slots and duties come due, by the keys of their {@link ScheduleState}s. */
export class Alarms {
  readonly #timetable = new Timetable()
  readonly #fingerprints = new Map<string, string>()

  /**
   * Sets what the states have: those whose meaning changed, or that are named; the others keep their place, and what has
   * no state is due no more.
   */
  set(objects: readonly Located[], states: readonly ScheduleState[], named: ReadonlySet<string> = new Set()): void {
    const policies = new Map(ofKind(objects, 'PreheatPolicy').map(({ key, resource }) => [key, resource]))
    const armed = new Set<string>()
    const slots = new SlotCalculator()
    const nextSlot = (policyKey: string, until: Instant) => {
      const policy = policies.get(policyKey)
      return policy && nextSlotOf(policy, until, slots)
    }
    const duties = new Map(
      [...policies].flatMap(([key, policy]) =>
        dutiesOf(policy).map((duty) => [dutyKey(key, duty.upkeep), (until: Instant) => nextDuty(duty, until)] as const),
      ),
    )
    // Those that share a pattern one after another: the calculator keeps a few.
    for (const { policyKey, fingerprint, until } of states.toSorted(byText((state) => state.fingerprint))) {
      armed.add(policyKey)
      if (this.#fingerprints.get(policyKey) === fingerprint && !named.has(policyKey)) continue
      this.#fingerprints.set(policyKey, fingerprint)
      this.#timetable.set(policyKey, duties.get(policyKey)?.(until) ?? nextSlot(policyKey, until))
    }
    for (const policyKey of [...this.#fingerprints.keys()]) {
      if (armed.has(policyKey)) continue
      this.#fingerprints.delete(policyKey)
      this.#timetable.set(policyKey, undefined)
    }
  }

  /** When the first is due; it may lie in the past. Undefined: none ever is. */
  next(): Instant | undefined {
    return this.#timetable.next()?.at
  }

  /** Takes out those whose time has come, to be {@link set} again by name once they are accounted for. */
  takeDue(now: Instant): Set<string> {
    return new Set(this.#timetable.takeDue(now))
  }
}
