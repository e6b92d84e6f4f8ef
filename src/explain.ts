import { CannotBegin, isUsed, newExecution, suspensionOf, suspensionText, waitingRuns } from './begin.ts'
import { linesOf } from './config/lines.ts'
import type { Config } from './config/load.ts'
import type { ConfigReader } from './config/reader.ts'
import { explain as explainChoice } from './execution/explain.ts'
import type { Drivers } from './execution/loop.ts'
import { ageText, formatInstant, type Instant } from './model/duration.ts'
import type { EndedExecution } from './model/execution.ts'
import { findPolicy, policiesCalled } from './model/find-policy.ts'
import type { ExplanationView } from './model/operations.ts'
import { policyAddress, type PreheatPolicy } from './model/policy.ts'
import { executables, executedKind, ofKind, type Located } from './model/resource.ts'
import { isArtifactRun, isExpired } from './model/run.ts'
import type { Source } from './model/source.ts'
import { readConfig } from './reconcile.ts'
import type { Store } from './store/store.ts'
import { nextSlotOf } from './trigger/scheduler.ts'

type Memory = Pick<
  Store,
  'applied' | 'usedRuns' | 'warm' | 'suspensions' | 'lastExecutions' | 'openExecutions' | 'unsentMissed'
>

export interface ExplainPorts {
  readonly source: Source
  /** Nobody else's: it remembers what it read last. */
  readonly reader: ConfigReader
  readonly drivers: Drivers
  /** Undefined: no state is at hand. */
  readonly ledger: Memory | undefined
  readonly now: Instant
  /** Masks secrets that the other side sent back to us. */
  readonly scrub: (text: string) => string
}

/**
 * For every artifact of a policy's project the rule, with file and line, that takes it in or leaves it out; and why the
 * policy itself does not run, where it does not. As the source stands at its tip; submits nothing.
 * @param artifact `app:v1`, `library/app@sha256:…`, a repository; undefined: all
 * @throws {CannotBegin} for a policy that is not there
 * @throws {SourceError | EdgeError} when the source or the registry cannot tell
 */
export async function explain(
  name: string,
  artifact: string | undefined,
  { source, reader, drivers, ledger, now, scrub }: ExplainPorts,
  signal: AbortSignal,
): Promise<ExplanationView> {
  const tree = await source.fetch(await source.observe(signal), signal)
  const config = await readConfig(tree, reader, signal)
  const found = policyNamed(name, config)
  const { resource: policy, file } = found
  const entries = tree.entries.filter(({ path }) => path === file)
  const lineOf = linesOf((await tree.read(entries, signal)).get(file), found.line)
  const cause = { type: 'manual', acceptedAt: now, by: 'explain' } as const
  const { snapshot } = newExecution(policy, cause, now, undefined, config, now)
  const ports = { source: await drivers.source(snapshot.registry), ledger: ledger ?? COLD, since: now, now }
  const { choice, explanations, files } = await explainChoice(snapshot, asking(artifact, policy), ports, signal)
  const why = [...(await whyNot(found, ledger, now)), ...(await runsOf(found, config, ledger, now))]
  const clean = <T extends { readonly message: string }>(one: T) => ({ ...one, message: scrub(one.message) })
  const targets = <T extends { readonly reason: string }>(some: readonly T[]) =>
    some.map((one) => ({ ...one, reason: scrub(one.reason) }))
  return {
    policy: policyAddress(policy),
    file,
    line: found.line,
    why: why.map(scrub),
    blocked: choice.kind === 'blocked' ? clean({ code: choice.code, message: choice.message }) : undefined,
    unresolved: choice.selection?.unresolved?.map(clean),
    artifacts: explanations.map((one) => ({
      repository: one.repository,
      tag: one.tag,
      digest: one.digest,
      outcome: one.decided === undefined ? 'in' : 'out',
      decidedBy: one.decided?.rule,
      verdicts: one.verdicts.map((verdict) => ({
        ...clean(verdict),
        file,
        line: verdict.field === undefined ? undefined : lineOf(verdict.field),
      })),
      targets: targets(one.targets),
    })),
    files: files.map((one) => ({ file: one.file, line: lineOf('spec.files'), targets: targets(one.targets) })),
  }
}

const COLD: Pick<Store, 'warm'> = { warm: () => Promise.resolve([]) }

/** @throws {CannotBegin} saying why there is none */
function policyNamed(name: string, { objects, stalled, problems }: Config): Located<PreheatPolicy> {
  const named = findPolicy(name, executables(objects))
  if (named.ok) return named.found
  const broken = stalled.find(({ key }) => key?.endsWith(`/${name}`))
  const problem = problems.find(({ file, severity }) => file === broken?.file && severity === 'error')
  if (broken === undefined || problem === undefined) throw new CannotBegin(named.message, named.code)
  throw new CannotBegin(`${name} is Stalled: ${problem.file}:${problem.line}: ${problem.code} ${problem.message}`)
}

/** What is meant by `app`, `app:v1`, `library/app@sha256:…`; undefined: everything. */
function asking(artifact: string | undefined, { project }: PreheatPolicy): Parameters<typeof explainChoice>[1] {
  if (artifact === undefined) return () => true
  const [path = '', digest] = artifact.split('@')
  const [, name = path, tag] = /^(.*?)(?::([\w.-]+))?$/.exec(path) ?? []
  const names = project === undefined ? [name] : [name, `${project}/${name}`]
  return (repository, listed, of) =>
    names.includes(repository) && (tag === undefined || tag === listed) && (digest === undefined || digest === of)
}

/** Why the policy does not run by itself, and what became of it the last time. */
async function whyNot(
  { resource: policy, key }: Located<PreheatPolicy>,
  ledger: Memory | undefined,
  now: Instant,
): Promise<string[]> {
  const why: string[] = []
  if (!policy.enabled) why.push('it is disabled: nothing runs, and manual runs are refused (PH8006)')
  if (policy.suspend !== undefined && (policy.suspend.until ?? Infinity) > now) {
    const until = policy.suspend.until === undefined ? '' : ` until ${formatInstant(policy.suspend.until)}`
    why.push(`it is suspended${until}${policy.suspend.reason === '' ? '' : `: ${policy.suspend.reason}`}`)
  }
  const said = suspensionOf(key, (await ledger?.suspensions()) ?? new Map())
  if (said !== undefined) why.push(`it is suspended ${suspensionText(said)}`)
  const next = nextSlotOf(policy, now)
  if (executedKind(key) === 'PreheatRun') why.push('it is a PreheatRun, which runs once per name and content')
  else if (policy.trigger.type === 'manual') why.push('it runs when a PreheatRun or `preheatd preheat` asks for it')
  else if (next !== undefined) why.push(`its next slot is ${formatInstant(next)}, in ${ageText(next - now)}`)
  if (ledger === undefined) return [...why, 'no state is at hand, so nothing is known of runs before']
  const applied = await ledger.applied()
  const inForce = applied?.objects.find((one) => one.key === key)
  if (inForce === undefined) why.push('the daemon has not applied it yet')
  for (const { code, file, line, message } of inForce?.problems ?? [])
    why.push(`it is Stalled at its last good version: ${file}:${line}: ${code} ${message}`)
  const last = (await ledger.lastExecutions()).find(({ execution }) => execution.policyKey === key)?.execution
  why.push(last === undefined ? 'it never ran' : lastRun(last))
  const open = (await ledger.openExecutions()).find(({ policyKey }) => policyKey === key)
  if (open !== undefined) why.push(`its execution ${open.id} is ${open.state}; a slot that comes meanwhile is missed`)
  for (const { slot, reason } of (await ledger.unsentMissed()).filter(({ policyKey }) => policyKey === key))
    why.push(`the slot ${formatInstant(slot)} was missed: ${reason}`)
  return why
}

/** PreheatRuns that ask for the policy and cannot begin; or what has become of the one that it is the own one of. */
async function runsOf(
  { resource: policy, key: itself }: Located<PreheatPolicy>,
  { config, objects }: Config,
  ledger: Memory | undefined,
  now: Instant,
): Promise<string[]> {
  const used = (await ledger?.usedRuns()) ?? new Set<string>()
  const applied = { config, appliedAt: now, objects: objects.map((one) => ({ ...one, problems: [] })), problems: [] }
  const runs = ofKind(objects, 'PreheatRun')
  const run = runs.find(({ key }) => key === itself)?.resource
  if (run !== undefined && isUsed(run, used)) return ['it is used up']
  if (run !== undefined && isExpired(run, now)) return ['it has expired']
  const own = new Set(
    runs
      .filter(({ resource }) => !isArtifactRun(resource) && policiesCalled(resource.policy, [policy]).length > 0)
      .map(({ key }) => key),
  )
  return waitingRuns(applied, used, now)
    .filter(({ key }) => own.has(key))
    .flatMap(({ key, problems }) => problems.map(({ message }) => `${key}: ${message}`))
}

function lastRun({ id, result, reason }: EndedExecution): string {
  return `its last execution ${id} was ${result}${reason === undefined ? '' : `: ${reason.code} ${reason.message}`}`
}
