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
    await daemon.resume(policy, options.reason, signal)
    say(`Resumed ${policy ?? 'all policies'}.`, { resumed: policy ?? 'all' }, options, io)
    return exit.ok
  })
}
