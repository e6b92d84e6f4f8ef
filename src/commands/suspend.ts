import { exit, type Exit, type Io } from './command.ts'
import { say, throughDaemon } from './operator.ts'
import type { ReasonOptions } from './stop.ts'

/** Lets schedule and events rest until somebody resumes them; manual runs go on. @param policy undefined: all */
export async function suspend(
  policy: string | undefined,
  options: ReasonOptions,
  io: Io,
  signal: AbortSignal,
): Promise<Exit> {
  return await throughDaemon(options.config, io, async (daemon) => {
    await daemon.suspend(policy, options.reason, signal)
    say(`Suspended ${policy ?? 'all policies'}.`, { suspended: policy ?? 'all' }, options, io)
    return exit.ok
  })
}
