import { formatInstant } from '../model/duration.ts'
import { excerpt } from '../model/errors.ts'
import type { UsedRun } from '../store/store.ts'
import { byText } from '../plan/order.ts'
import { field, fromYaml, instantOf, items, textOf, toYaml } from './yaml-text.ts'

/** Every PreheatRun that was used up, for ever: what a daemon that lost its state knows of its former life. */
export const RUNS_PATH = 'runs.yaml'

/** The runs that `runs.yaml` tells of. What is not understood is left out, never an error. */
export function parseRuns(text: string): UsedRun[] {
  return items(field(fromYaml(split(text).body), 'runs')).flatMap((value) => readRun(value) ?? [])
}

/**
 * `runs.yaml` with these runs in it; of two of one name and digest the
 * earlier stays. Nothing is ever
 * thrown away: entries that are not understood stay as they are, and a file that is no YAML of ours stays in it as
 * comment lines at its top.
 */
export function mergeRuns(existing: string | undefined, runs: readonly UsedRun[]): string {
  const { comments, body } = split(existing ?? '')
  const document = fromYaml(body)
  const isOurs = body.trim() === '' || Array.isArray(field(document, 'runs'))
  const entries = items(field(document, 'runs'))
  const known = entries.flatMap((entry) => readRun(entry) ?? [])
  const foreign = entries.filter((entry) => readRun(entry) === undefined)

  const merged = new Map<string, UsedRun>()
  for (const run of [...known, ...runs].sort(byText(order))) {
    if (!merged.has(identity(run))) merged.set(identity(run), run)
  }
  const isUnchanged = merged.size === known.length && known.every((run) => merged.get(identity(run)) === run)
  if (existing !== undefined && isOurs && isUnchanged) return existing

  return (
    comments +
    (isOurs ? '' : commented(body)) +
    toYaml({
      apiVersion: 'preheatd.io/v1alpha1',
      kind: 'UsedRuns',
      runs: [...foreign, ...[...merged.values()].map(renderRun)],
    })
  )
}

/** The comment lines at the top, and the rest. */
function split(text: string): { readonly comments: string; readonly body: string } {
  const comments = /^(?:#[^\n]*\n)*/.exec(text)![0]
  return { comments, body: text.slice(comments.length) }
}

function commented(body: string): string {
  return body
    .trimEnd()
    .split('\n')
    .map((line) => `# ${excerpt(line, 2000)}\n`)
    .join('')
}

function readRun(value: unknown): UsedRun | undefined {
  const name = textOf(field(value, 'name'))
  const digest = textOf(field(value, 'digest'))
  const policy = textOf(field(value, 'policy'))
  const executionId = textOf(field(value, 'execution'))
  const usedAt = instantOf(field(value, 'usedAt'))
  if (name === undefined || digest === undefined || policy === undefined) return undefined
  return executionId === undefined || usedAt === undefined ? undefined : { name, digest, executionId, policy, usedAt }
}

function renderRun(run: UsedRun): unknown {
  return {
    name: run.name,
    digest: run.digest,
    policy: run.policy,
    execution: run.executionId,
    usedAt: formatInstant(run.usedAt),
  }
}

function identity({ name, digest }: UsedRun): string {
  return `${name} ${digest}`
}

function order(run: UsedRun): string {
  return `${formatInstant(run.usedAt)} ${identity(run)} ${run.executionId}`
}
