import { exit, type Exit, type Io } from './command.ts'
import { say, throughDaemon } from './operator.ts'
import type { ReasonOptions } from './stop.ts'

/** Forgets what a provider is known to hold, so that the next executions preheat it anew. */
export async function invalidate(provider: string, options: ReasonOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  return await throughDaemon(options.config, io, async (daemon) => {
    const forgotten = await daemon.invalidate(provider, options.reason, signal)
    const entries = forgotten === 1 ? '1 entry' : `${forgotten} entries`
    say(`Forgot ${entries} of ${provider}.`, { provider, forgotten }, options, io)
    return exit.ok
  })
}
