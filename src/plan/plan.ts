import type { Config, Stalled } from '../config/load.ts'
import type { Instant } from '../model/duration.ts'
import type { ConfigCommit } from '../model/execution.ts'
import { endOfSuspension, type PreheatPolicy, type Schedule, type Suspension } from '../model/policy.ts'
import type { Problem } from '../model/problem.ts'
import type { Provider } from '../model/provider.ts'
import { ofKind, type Located } from '../model/resource.ts'
import { SlotCalculator } from '../model/schedule.ts'
import { targetsOf } from '../model/targets.ts'
import type { Applied, AppliedObject } from '../store/store.ts'
import { diff, isSame, nameOf, type Change } from './diff.ts'
import { byText } from './order.ts'

/** What a commit changes, and what is in force afterwards. `preheatd plan` prints it, the daemon applies it. */
export interface Plan {
  readonly config: ConfigCommit
  readonly changes: readonly Change[]
  /** Objects whose value is what it was. */
  readonly unchanged: number
  /** Objects whose new version is broken: they stay in force as they were. */
  readonly stalled: readonly AppliedObject[]
  /** Broken ones that never had a good version. */
  readonly invalid: readonly Stalled[]
  /** Policies that go to other providers because of what happened to providers, not to them. */
  readonly retargeted: readonly Retargeted[]
  /** Keys of policies whose schedule is to be armed, disarmed or begun anew. */
  readonly rearm: readonly string[]
  /** Of new and changed policies that run by schedule. */
  readonly next: readonly NextRuns[]
  /** What is in force afterwards. */
  readonly objects: readonly AppliedObject[]
  /** Every finding of the new configuration. */
  readonly problems: readonly Problem[]
}

interface Retargeted {
  /** `library/release-images` */
  readonly policy: string
  /** Names of providers. */
  readonly before: readonly string[]
  readonly after: readonly string[]
}

interface NextRuns {
  readonly key: string
  /** `library/release-images` */
  readonly policy: string
  readonly at: readonly Instant[]
  /** The zone that the schedule counts in. */
  readonly timeZone: string
}

const RUNS_SHOWN = 3

/** What `desired` changes of what is in force. Pure: the same inputs are the same plan on any machine. */
export function plan(desired: Config, current: Applied | undefined, now: Instant): Plan {
  const before = current?.objects ?? []
  const stalled = stalledOf(desired, before)
  const held = new Set(stalled.map(({ key }) => key))
  const old = new Map(before.map((one) => [one.key, one]))
  const good = desired.objects.map((one) => kept(old.get(one.key), one))
  const objects = [...good, ...stalled].sort(byText(({ key }) => key))
  const [was, is] = withoutCommon(before, objects)
  const changes = diff(
    was.filter(({ key }) => !held.has(key)),
    is.filter(({ key }) => !held.has(key)),
  )
  return {
    config: desired.config,
    changes,
    unchanged: good.length - changes.filter(({ action }) => action !== 'delete').length,
    stalled,
    invalid: invalidOf(desired, stalled),
    retargeted: retargetedOf(before, objects),
    rearm: rearmOf(was, is),
    next: nextOf(changes, is, now),
    objects,
    problems: desired.problems,
  }
}

/** True for a commit that changes nothing of ours, such as a renamed file, a comment or our own report. */
export function isEmpty(plan: Plan): boolean {
  return plan.changes.length === 0 && plan.retargeted.length === 0 && plan.rearm.length === 0
}

/** The findings about one broken object: by its key, else by its file. */
export function problemsOf(broken: Stalled, problems: readonly Problem[]): Problem[] {
  const errors = problems.filter(({ severity }) => severity === 'error')
  const byKey = errors.filter(({ key }) => key !== undefined && key === broken.key)
  return byKey.length > 0 ? byKey : errors.filter(({ file }) => file === broken.file)
}

/** The very value that is in force where it says the same from the same place, so that nobody after us compares it. */
function kept(before: AppliedObject | undefined, { resource, key, file, line }: Located): AppliedObject {
  const isKept =
    before?.resource === resource && before.file === file && before.line === line && before.problems.length === 0
  return isKept ? before : { resource, key, file, line, problems: [] }
}

/** Both without what is the very same value in both: of ten thousand objects a commit changes a few. */
function withoutCommon<T>(before: readonly T[], after: readonly T[]): [T[], T[]] {
  const [old, now] = [new Set(before), new Set(after)]
  return [before.filter((one) => !now.has(one)), after.filter((one) => !old.has(one))]
}

function stalledOf(desired: Config, before: readonly AppliedObject[]): AppliedObject[] {
  const good = new Set(desired.objects.map(({ key }) => key))
  return before
    .filter(({ key }) => !good.has(key))
    .flatMap((one) => {
      const cause = desired.stalled.find((broken) => keeps(broken, one))
      return cause === undefined ? [] : { ...one, problems: problemsOf(cause, desired.problems) }
    })
    .sort(byText(({ key }) => key))
}

/** A broken document holds the object that it names; one that cannot be read holds all that stood in its file. */
function keeps(broken: Stalled, one: Located): boolean {
  return broken.key === undefined ? broken.file === one.file : broken.key === one.key
}

function invalidOf(desired: Config, stalled: readonly AppliedObject[]): Stalled[] {
  return desired.stalled
    .filter((broken) => !stalled.some((one) => keeps(broken, one)))
    .map(({ file, key }) => ({ file, key }))
    .sort(byText(({ file, key }) => `${file} ${key ?? ''}`))
}

function retargetedOf(before: readonly Located[], after: readonly Located[]): Retargeted[] {
  const providers = { before: providersOf(before), after: providersOf(after) }
  if (isSame(providers.before, providers.after)) return []
  const old = new Map(ofKind(before, 'PreheatPolicy').map((one) => [one.key, one.resource]))
  return ofKind(after, 'PreheatPolicy')
    .flatMap(({ key, resource }): Retargeted[] => {
      const was = old.get(key)
      if (was === undefined || !isSame(was, resource)) return []
      const targets = { before: targetNames(was, providers.before), after: targetNames(resource, providers.after) }
      return isSame(targets.before, targets.after) ? [] : [{ policy: nameOf(resource), ...targets }]
    })
    .sort(byText(({ policy }) => policy))
}

function providersOf(objects: readonly Located[]): Provider[] {
  return ofKind(objects, 'Provider').map(({ resource }) => resource)
}

function targetNames(policy: PreheatPolicy, providers: readonly Provider[]): string[] {
  const targets = targetsOf(policy, providers)
  return targets.ok ? targets.targets.map(({ provider }) => provider.name).sort() : []
}

function rearmOf(before: readonly Located[], after: readonly Located[]): string[] {
  const old = schedules(before)
  const now = schedules(after)
  return [...new Set([...old.keys(), ...now.keys()])].filter((key) => !isSame(old.get(key), now.get(key))).sort()
}

/** By key of the policy, of those that are armed. */
function schedules(objects: readonly Located[]): Map<string, Schedule> {
  return new Map(
    ofKind(objects, 'PreheatPolicy').flatMap(({ key, resource }) => {
      const schedule = armedSchedule(resource)
      return schedule === undefined ? [] : [[key, schedule] as const]
    }),
  )
}

function armedSchedule({ enabled, trigger }: PreheatPolicy): Schedule | undefined {
  return enabled && trigger.type === 'scheduled' ? trigger.schedule : undefined
}

function nextOf(changes: readonly Change[], objects: readonly Located[], now: Instant): NextRuns[] {
  const changed = new Set(changes.map(({ key }) => key))
  const calculator = new SlotCalculator()
  return ofKind(objects, 'PreheatPolicy').flatMap(({ key, resource }) => {
    const schedule = changed.has(key) ? armedSchedule(resource) : undefined
    const at = schedule === undefined ? [] : nextRuns(calculator, schedule, resource.suspend, now)
    return schedule === undefined || at.length === 0
      ? []
      : {
          key,
          policy: nameOf(resource),
          at,
          timeZone: /^(?:CRON_)?TZ=(\S+) /.exec(schedule.cron)?.[1] ?? schedule.timeZone,
        }
  })
}

/** None of a schedule that is suspended without an end. */
function nextRuns(
  calculator: SlotCalculator,
  schedule: Schedule,
  suspend: Suspension | undefined,
  now: Instant,
): Instant[] {
  const runs: Instant[] = []
  // A slot at the very end of a suspension runs.
  const rest = suspend === undefined ? now : endOfSuspension(suspend) - 1
  if (rest === Infinity) return runs
  for (let after: Instant | undefined = Math.max(now, rest); runs.length < RUNS_SHOWN;) {
    after = calculator.next(schedule, after)
    if (after === undefined) break
    runs.push(after)
  }
  return runs
}
