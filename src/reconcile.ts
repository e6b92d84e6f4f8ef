import { setImmediate as turn } from 'node:timers/promises'
import { attachmentsOf, wantedAttachments } from './config/attachments.ts'
import type { Config } from './config/load.ts'
import type { ConfigReader } from './config/reader.ts'
import { IGNORE_FILE, wantedEntries } from './config/files.ts'
import { checkTrust } from './execution/signature/trust.ts'
import { massDeletion } from './plan/mass-deletion.ts'
import { isEmpty, plan, type Plan } from './plan/plan.ts'
import { rearm } from './trigger/scheduler.ts'
import { rearmDuties } from './trigger/upkeep.ts'
import type { Clock } from './model/clock.ts'
import type { Code } from './model/codes.ts'
import type { Emit } from './model/events.ts'
import type { Problem } from './model/problem.ts'
import { SourceError, type Source, type SourceTree } from './model/source.ts'
import type { Applied, Store } from './store/store.ts'

export interface ReconcilePorts {
  readonly source: Source
  readonly reader: ConfigReader
  readonly store: Pick<Store, 'applied' | 'apply' | 'schedules'>
  readonly clock: Clock
  readonly emit: Emit
}

export type Reconciled =
  /** In force, and so it was before: the commit was the same, or nothing of ours changed in it. */
  | { readonly kind: 'unchanged'; readonly applied: Applied }
  | { readonly kind: 'applied'; readonly applied: Applied; readonly plan: Plan }
  /** The source could not be used; what was applied, if anything, stays in force. */
  | { readonly kind: 'failed'; readonly applied: Applied | undefined; readonly code: Code; readonly message: string }

/**
 * git → config → plan → store. While the source stands still this is one look at it and nothing else. A broken file
 * changes nothing of what it declared; a broken source changes nothing at all.
 */
export async function reconcile(
  { source, reader, store, clock, emit }: ReconcilePorts,
  signal: AbortSignal,
): Promise<Reconciled> {
  const current = await store.applied()
  let desired: Config
  try {
    const revision = await source.observe(signal)
    if (current?.config.commit === revision && current.view === reader.view) {
      emit({ name: 'source.unchanged', revision })
      return { kind: 'unchanged', applied: current }
    }
    const tree = await source.fetch(revision, signal)
    desired = await readConfig(tree, reader, signal)
    const [from, to] = [current?.config.commit, tree.config.commit]
    if (from !== undefined && from !== to && (await source.descends(from, to, signal)) === false)
      emit({ name: 'source.rewritten', from, to })
  } catch (error) {
    if (!(error instanceof SourceError)) throw error
    emit({ name: 'source.failed', state: error.state, code: error.code, message: error.message })
    return { kind: 'failed', applied: current, code: error.code, message: error.message }
  }

  const now = clock.now()
  const changes = plan(desired, current, now)
  // Another selector or path is our own doing.
  const message = current?.view === reader.view ? massDeletion(changes, current) : undefined
  if (message !== undefined) {
    emit({ name: 'source.failed', state: 'Invalid', code: 'PH4009', message })
    return { kind: 'failed', applied: current, code: 'PH4009', message }
  }
  const applied: Applied = {
    config: desired.config,
    appliedAt: now,
    objects: changes.objects,
    problems: desired.problems,
    view: reader.view,
  }
  const states = await store.schedules()
  const unchanged = new Set(current?.objects.map(({ resource }) => resource))
  const schedules = [...rearm(changes.objects, states, now, unchanged), ...rearmDuties(changes.objects, states, now)]
  const [before, after] = [new Set(states), new Set(schedules.map(({ policyKey }) => policyKey))]
  // What goes on where it stands is not written: meanwhile a slot of it may have begun.
  const armed = schedules.filter((state) => !before.has(state))
  const disarmed = states.map(({ policyKey }) => policyKey).filter((key) => !after.has(key))
  await store.apply(applied, armed, disarmed)
  for (const problem of fresh(desired.problems, current?.problems ?? [])) emit({ name: 'config.problem', problem })
  const count = (action: string) => changes.changes.filter((change) => change.action === action).length
  emit({
    name: 'plan.applied',
    revision: desired.config.commit,
    created: count('create'),
    updated: count('update'),
    deleted: count('delete'),
    stalled: changes.objects.filter(({ problems }) => problems.some(({ severity }) => severity === 'error')).length,
  })
  const same = current !== undefined && isEmpty(changes) && sameProblems(desired.problems, current.problems)
  return same ? { kind: 'unchanged', applied } : { kind: 'applied', applied, plan: changes }
}

const FILES_A_TURN = 50

/**
 * The configuration that a tree holds, read no further than its listing allows: its YAML files, and then the keys that
 * these name.
 * @throws {SourceError} `TooLarge`, with nothing read: from a part of it nothing may be concluded
 */
export async function readConfig(tree: SourceTree, reader: ConfigReader, signal: AbortSignal): Promise<Config> {
  const ignore = tree.entries.filter(({ path, kind }) => path === IGNORE_FILE && kind === 'file')
  const ignoreText = (await tree.read(ignore, signal)).get(IGNORE_FILE)
  const wanted = wantedEntries(tree.entries, ignoreText && Buffer.from(ignoreText).toString('utf8'))
  if (!wanted.ok) throw new SourceError('TooLarge', wanted.problem.code, wanted.problem.message)
  const unseen = reader.unseen(wanted.entries)
  const files = await tree.read(unseen, signal)
  for (const [index, entry] of unseen.entries()) {
    // Most of a millisecond a file: what else this process does must not wait for ten thousand.
    if (index % FILES_A_TURN === FILES_A_TURN - 1) await turn(undefined, { signal })
    reader.add(entry, files.get(entry.path)!)
  }
  const read = reader.read(wanted.entries, wanted.problems)
  const named = wantedAttachments(read.named, tree.entries)
  if (!named.ok) throw new SourceError('TooLarge', 'PH1008', named.message)
  const attachments = attachmentsOf(named, await tree.read(named.entries, signal), checkTrust)
  return reader.load(tree.config, read, attachments)
}

/** Findings that were not there before, so that a broken file is announced once and not at every commit. */
function fresh(problems: readonly Problem[], before: readonly Problem[]): Problem[] {
  const known = new Set(before.map(identity))
  return problems.filter((problem) => !known.has(identity(problem)))
}

function sameProblems(a: readonly Problem[], b: readonly Problem[]): boolean {
  return fresh(a, b).length === 0 && fresh(b, a).length === 0
}

function identity({ code, file, message }: Problem): string {
  return `${code} ${file} ${message}`
}
