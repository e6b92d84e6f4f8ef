import { CannotBegin } from '../begin.ts'
import { systemClock } from '../clock.ts'
import { formatDuration, formatInstant } from '../model/duration.ts'
import { OperatorError } from '../model/errors.ts'
import { findPolicy } from '../model/find-policy.ts'
import { policyAddress } from '../model/policy.ts'
import { ofKind } from '../model/resource.ts'
import { nextSlots } from '../standing.ts'
import type { Ledger } from '../store/store.ts'
import { exit, type Exit, type Io } from './command.ts'
import { besideDaemon, type OperatorOptions } from './operator.ts'
import { withLedger } from './state.ts'

export interface ScheduleOptions extends OperatorOptions {
  /** How many slots; at most 100. */
  readonly next: number
}

/** The next slots of a policy, as it was last applied. */
export async function schedule(policy: string, options: ScheduleOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  return await besideDaemon(options.config, io, async (daemon, settings) => {
    const { next } = options
    const slots = daemon
      ? await daemon.schedule(policy, next, signal)
      : await withLedger(settings, (ledger) => slotsLeft(policy, next, ledger))
    if (slots === undefined) throw new OperatorError('PH8107', 'no daemon has run here yet')
    if (options.output === 'json') io.out(`${JSON.stringify({ policy, slots }, undefined, 2)}\n`)
    else io.out(slots.length === 0 ? 'No slot comes while it rests.\n' : slots.map(line).join(''))
    return exit.ok
  })
}

/** @throws {CannotBegin} for a policy that is not there, or has no schedule */
async function slotsLeft(name: string, count: number, ledger: Ledger): Promise<string[]> {
  const objects = (await ledger.applied())?.objects ?? []
  const named = findPolicy(name, ofKind(objects, 'PreheatPolicy'))
  if (!named.ok) throw new CannotBegin(named.message, named.code)
  const policy = named.found.resource
  if (policy.trigger.type !== 'scheduled') throw new CannotBegin(`policy ${policyAddress(policy)} has no schedule`)
  if (!policy.enabled) throw new CannotBegin(`policy ${policyAddress(policy)} is disabled`)
  return nextSlots(policy, systemClock.now(), count).map(formatInstant)
}

function line(slot: string): string {
  const seconds = Math.round((Date.parse(slot) - systemClock.now()) / 1000) * 1000
  return `${slot}  in ${formatDuration(seconds)}\n`
}
