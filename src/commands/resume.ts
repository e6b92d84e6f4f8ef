import { exit, type Exit, type Io } from './command.ts'
import { say, throughDaemon } from './operator.ts'
import type { ReasonOptions } from './stop.ts'

/** Ends what `suspend` began; what a file suspends goes on resting. @param policy undefined: all */
export async function resume(
  policy: string | undefined,
  options: ReasonOptions,
  io: Io,
  signal: AbortSignal,
): Promise<Exit> {
  return await throughDaemon(options.config, io, async (daemon) => {
    const changed = await daemon.resume(policy, options.reason, signal)
    const unchanged =
      policy === undefined ? 'no `suspend --all` is in force' : `nobody suspended ${policy} by its own name`
    const text = changed ? `Resumed ${policy ?? 'all policies'}.` : `Unchanged: ${unchanged}.`
    say(text, { resumed: policy ?? 'all', changed }, options, io)
    return exit.ok
  })
}
