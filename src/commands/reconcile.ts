import { exit, type Exit, type Io } from './command.ts'
import { say, throughDaemon, type OperatorOptions } from './operator.ts'

/** Makes the daemon look at its source now. Exits with 1 where the source could not be used. */
export async function reconcile(options: OperatorOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  return await throughDaemon(options.config, io, async (daemon) => {
    const revision = await daemon.reconcile(signal)
    const { trouble } = (await daemon.status(signal)).source
    const force = revision === undefined ? 'Nothing is in force.' : `In force: ${revision}.`
    const why = trouble === undefined ? '' : ` The source could not be used: ${trouble.code} ${trouble.message}`
    say(`${force}${why}`, { revision, trouble }, options, io)
    return trouble === undefined ? exit.ok : exit.failed
  })
}
