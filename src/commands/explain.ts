import tmp from 'tmp'
import { CannotBegin, isUsed, newExecution, waitingRuns } from '../begin.ts'
import { systemClock } from '../clock.ts'
import { Closers } from '../closers.ts'
import { linesOf, type LineOf } from '../config/lines.ts'
import type { Config } from '../config/load.ts'
import { explain as explainPolicy, type Explained, type Explanation } from '../execution/explain.ts'
import type { Verdict } from '../execution/select.ts'
import { findPolicy, policiesCalled } from '../model/find-policy.ts'
import { formatDuration, formatInstant, type Instant } from '../model/duration.ts'
import { EdgeError, OperatorError } from '../model/errors.ts'
import type { EndedExecution } from '../model/execution.ts'
import { policyAddress, type PreheatPolicy } from '../model/policy.ts'
import { executables, executedKind, ofKind, type Located } from '../model/resource.ts'
import { isArtifactRun, isExpired } from '../model/run.ts'
import { readConfig } from '../reconcile.ts'
import { openLedger, type Ledger } from '../store/embedded.ts'
import { nextSlotOf } from '../trigger/scheduler.ts'
import { exit, type Exit, type Io } from './command.ts'
import { loadSettings, openDrivers, openSecretsOf, openSource, readerOf } from './open.ts'

export interface ExplainOptions {
  readonly config: string
  readonly output: 'text' | 'json'
}

/**
 * For every artifact of a policy's project the rule, with file and line, that takes it in or leaves it out; and why the
 * policy itself does not run, where it does not. As the source stands at its tip; submits nothing.
 * @param artifact `app:v1`, `library/app@sha256:…`, a repository; undefined: all
 */
export async function explain(
  name: string,
  artifact: string | undefined,
  options: ExplainOptions,
  io: Io,
  signal: AbortSignal,
): Promise<Exit> {
  const settings = await loadSettings(options.config, io)
  await using closers = new Closers()
  const secrets = openSecretsOf(settings, io)
  const drivers = closers.use(openDrivers(secrets))
  const ledger = await openLedger(settings.state.dir)
  if (ledger !== undefined) closers.use(ledger)
  const scrub = secrets.scrubber()
  const scratch = tmp.dirSync({ unsafeCleanup: true, prefix: 'preheatd-explain' })
  try {
    await using source = openSource(settings, secrets, scratch.name)
    const tree = await source.fetch(await source.observe(signal), signal)
    const config = await readConfig(tree, readerOf(settings), signal)
    const found = policyNamed(name, config)
    const entries = tree.entries.filter(({ path }) => path === found.file)
    const bytes = (await tree.read(entries, signal)).get(found.file)
    const now = systemClock.now()
    const policy = found.resource
    const { snapshot } = newExecution(
      policy,
      { type: 'manual', acceptedAt: now, by: 'explain' },
      now,
      undefined,
      config,
      now,
    )
    const ports = { source: await drivers.source(snapshot.registry), ledger: ledger ?? COLD, since: now, now }
    const explained = await explainPolicy(snapshot, asking(artifact, policy), ports, signal)
    const why = [...(await whyNot(found, ledger, now)), ...(await runsOf(found, config, ledger, now))]
    const standing = { located: found, why, line: linesOf(bytes, found.line) }
    io.out(scrub(options.output === 'json' ? json(standing, explained) : text(standing, explained, io)))
    return exit.ok
  } catch (error) {
    if (error instanceof EdgeError) throw new OperatorError(error.code, scrub(error.message))
    throw error
  } finally {
    scratch.removeCallback()
  }
}

const COLD: Pick<Ledger, 'warm'> = { warm: () => Promise.resolve([]) }

/** @throws {CannotBegin} saying why there is none */
function policyNamed(name: string, { objects, stalled, problems }: Config): Located<PreheatPolicy> {
  const located = executables(objects)
  const found = findPolicy(
    name,
    located.map(({ resource }) => resource),
  )
  if (found.ok) return located.find(({ resource }) => resource === found.policy)!
  const broken = stalled.find(({ key }) => key?.endsWith(`/${name}`))
  const problem = problems.find(({ file, severity }) => file === broken?.file && severity === 'error')
  throw new CannotBegin(
    broken === undefined || problem === undefined
      ? found.message
      : `${name} is Stalled: ${problem.file}:${problem.line}: ${problem.code} ${problem.message}`,
  )
}

/** What is meant by `app`, `app:v1`, `library/app@sha256:…`; undefined: everything. */
function asking(artifact: string | undefined, { project }: PreheatPolicy): Parameters<typeof explainPolicy>[1] {
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
  ledger: Ledger | undefined,
  now: Instant,
): Promise<string[]> {
  const why: string[] = []
  if (!policy.enabled) why.push('it is disabled: nothing runs, and manual runs are refused (PH8006)')
  if (policy.suspend !== undefined && (policy.suspend.until ?? Infinity) > now) {
    const until = policy.suspend.until === undefined ? '' : ` until ${formatInstant(policy.suspend.until)}`
    why.push(`it is suspended${until}${policy.suspend.reason === '' ? '' : `: ${policy.suspend.reason}`}`)
  }
  const next = nextSlotOf(policy, now)
  if (executedKind(key) === 'PreheatRun') why.push('it is a PreheatRun, which runs once per name and content')
  else if (policy.trigger.type === 'manual') why.push('it runs when a PreheatRun or `preheatd preheat` asks for it')
  else if (next !== undefined) why.push(`its next slot is ${formatInstant(next)}, in ${formatDuration(next - now)}`)
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
  ledger: Ledger | undefined,
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

interface Standing {
  readonly located: Located<PreheatPolicy>
  readonly why: readonly string[]
  readonly line: LineOf
}

function json({ located, why, line }: Standing, { choice, explanations, files }: Explained): string {
  const { resource, file } = located
  const value = {
    policy: policyAddress(resource),
    file,
    line: located.line,
    why,
    blocked: choice.kind === 'blocked' ? { code: choice.code, message: choice.message } : undefined,
    unresolved: choice.selection?.unresolved,
    artifacts: explanations.map(({ repository, tag, digest, verdicts, decided, targets }) => ({
      repository,
      tag,
      digest,
      outcome: decided === undefined ? 'in' : 'out',
      decidedBy: decided?.rule,
      verdicts: verdicts.map((verdict) => ({ ...verdict, file, line: verdict.field && line(verdict.field) })),
      targets,
    })),
    files,
  }
  return `${JSON.stringify(value, undefined, 2)}\n`
}

function text({ located, why, line }: Standing, { choice, explanations, files }: Explained, io: Io): string {
  const { bold, dim, green, red, yellow } = io.outColors
  const { resource, file } = located
  const place = ({ field }: Pick<Verdict, 'field'>) =>
    field === undefined ? '' : dim(`  ${file}:${line(field)} ${field}`)
  const mark = { in: green('+'), out: red('-'), unknown: yellow('?') }
  const lines = [bold(`${policyAddress(resource)}  ${file}:${located.line}`), ...why.map((one) => `  ${one}`)]
  if (choice.kind === 'blocked') lines.push(red(`  a run now would be Blocked: ${choice.code} ${choice.message}`))
  for (const { artifact, code, message } of choice.selection?.unresolved ?? [])
    lines.push(red(`  ${artifact}: ${code} ${message}`))
  for (const one of explanations) {
    lines.push('', bold(nameOf(one)) + (one.decided === undefined ? '  in' : `  out, by the rule ${one.decided.rule}`))
    for (const verdict of one.verdicts)
      lines.push(`  ${mark[verdict.says]} ${verdict.rule.padEnd(18)} ${verdict.message}${place(verdict)}`)
    for (const { provider, action, reason } of one.targets) lines.push(`  > ${provider}: ${action}, ${reason}`)
  }
  for (const { file, targets } of files) {
    lines.push('', `${bold(file)}  in`, `  ${mark.in} ${'file'.padEnd(18)} the policy names it${place(FILES)}`)
    for (const { provider, action, reason } of targets) lines.push(`  > ${provider}: ${action}, ${reason}`)
  }
  if (explanations.length === 0 && files.length === 0)
    lines.push('', 'nothing that the registry lists is meant by that')
  return `${lines.join('\n')}\n`
}

const FILES = { field: 'spec.files' }

function nameOf({ repository, tag, digest }: Explanation): string {
  return `${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
}
