import { Closers } from '../closers.ts'
import type { Daemon } from '../daemon.ts'
import { policyAddress } from '../model/policy.ts'
import type { EndedExecution } from '../model/execution.ts'
import type { Reconciled } from '../reconcile.ts'
import type { Applied } from '../store/store.ts'
import { causeText } from '../begin.ts'
import { exit, type Exit, type Io } from './command.ts'
import { emitFor, loadSettings, openDaemon, openSecretsOf } from './open.ts'

export interface OnceOptions {
  readonly config: string
  readonly wait: boolean
  readonly allowUnverified: boolean
  readonly output: 'text' | 'json'
}

/** The walk, once. */
export async function once(options: OnceOptions, io: Io, stop: AbortSignal): Promise<Exit> {
  const settings = await loadSettings(options.config, io)
  const secrets = openSecretsOf(settings, io)
  await using closers = new Closers()
  const emit = emitFor(options.output, settings, secrets, io)
  const { daemon } = await openDaemon(
    () => settings,
    secrets,
    emit,
    () => undefined,
    closers,
  )
  const ended = collectEnded(daemon)
  const reconciled = await daemon.once(
    async () => {
      await daemon.beginDue(() => true)
      await daemon.beginRuns()
    },
    options.wait,
    stop,
  )
  const invalid = isInvalid(reconciled.applied)
  if (invalid && reconciled.kind !== 'applied') io.err(stillBroken(reconciled.applied))
  printEnded(reconciled, ended, options.output, io)
  if (reconciled.kind === 'failed' || !areGood(ended, options.allowUnverified)) return exit.failed
  return invalid ? exit.invalid : exit.ok
}

/** Gathers what ends from now on. */
export function collectEnded(daemon: Daemon): readonly EndedExecution[] {
  const ended: EndedExecution[] = []
  daemon.watch((event) => {
    if (event.name === 'execution.ended') ended.push(event.execution)
  })
  return ended
}

/** What ended, as a result. */
export function printEnded(
  { applied }: Reconciled,
  ended: readonly EndedExecution[],
  output: OnceOptions['output'],
  io: Io,
): void {
  if (output === 'json') {
    const document = { commit: applied?.config.commit, invalid: isInvalid(applied), executions: ended.map(summary) }
    io.out(`${JSON.stringify(document, undefined, 2)}\n`)
    return
  }
  for (const { id, snapshot, result, cause } of ended) {
    io.out(`${id} ${policyAddress(snapshot.policy)} ${result} (${causeText(cause)})\n`)
  }
}

/** Is every result Success or Skipped, or Unverified where that may be? */
export function areGood(ended: readonly EndedExecution[], allowUnverified: boolean): boolean {
  return ended.every(
    ({ result }) => result === 'Success' || result === 'Skipped' || (allowUnverified && result === 'Unverified'),
  )
}

/** What was announced when it was applied and is no better now. */
function stillBroken(applied: Applied | undefined): string {
  const errors = applied?.problems.filter(({ severity }) => severity === 'error') ?? []
  return errors
    .map(
      ({ file, line, column, severity, code, message }) =>
        `${file}:${line}:${column}: ${severity} ${code} ${message}\n`,
    )
    .join('')
}

function summary({ id, snapshot, cause, result, reason, selection, startedAt, endedAt }: EndedExecution): object {
  return {
    id,
    policy: policyAddress(snapshot.policy),
    cause,
    result,
    reason,
    selection,
    durationMs: endedAt - startedAt,
  }
}

function isInvalid(applied: Applied | undefined): boolean {
  return applied?.problems.some(({ severity }) => severity === 'error') === true
}
