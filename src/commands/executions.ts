import type { ExecutionBody } from '../serve/wire.ts'
import { exit, type Exit, type Io } from './command.ts'
import { besideDaemon, type OperatorOptions } from './operator.ts'
import { executionsLeft, withLedger } from './state.ts'
import { table } from './table.ts'

export interface ExecutionsOptions extends OperatorOptions {
  /** At most 1000. */
  readonly limit: number
}

/**
 * The newest executions first; where no daemon runs, those that are open and the last of each policy.
 * @param policy `library/release-images`; undefined: all
 */
export async function executions(
  policy: string | undefined,
  options: ExecutionsOptions,
  io: Io,
  signal: AbortSignal,
): Promise<Exit> {
  return await besideDaemon(options.config, io, async (daemon, settings) => {
    const { limit } = options
    const found = daemon
      ? await daemon.executions(policy, limit, signal)
      : ((await withLedger(settings, (ledger) => executionsLeft(ledger, policy))) ?? []).slice(0, limit)
    if (daemon === undefined) io.err('no daemon runs: these are the open executions and the last of each policy\n')
    if (options.output === 'json') io.out(`${JSON.stringify({ executions: found }, undefined, 2)}\n`)
    else io.out(found.length === 0 ? 'No executions.\n' : table(HEADING, found.map(row), io))
    return exit.ok
  })
}

const HEADING = ['EXECUTION', 'POLICY', 'STATE', 'STARTED', 'ENDED', 'CAUSE', 'TASKS']

function row({ id, policy, state, result, startedAt, endedAt, cause, tasks }: ExecutionBody): string[] {
  const counts = Object.entries(tasks).map(([of, count]) => `${count} ${of}`)
  return [id, policy, result ?? state, startedAt, endedAt ?? '', cause, counts.join(', ')]
}
