import { exit, type Exit, type Io } from './command.ts'
import { say, throughDaemon, type OperatorOptions } from './operator.ts'

export interface ReasonOptions extends OperatorOptions {
  /** Goes into the report. */
  readonly reason: string
}

/** Stops what an execution has not done yet; engines go on with what they were given. */
export async function stop(execution: string, options: ReasonOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  return await throughDaemon(options.config, io, async (daemon) => {
    await daemon.stop(execution, options.reason, signal)
    say(`Stopped ${execution}; engines go on with what they were given.`, { stopped: execution }, options, io)
    return exit.ok
  })
}
