import { userInfo } from 'node:os'
import { Closers } from '../closers.ts'
import { exit, type Exit, type Io } from './command.ts'
import { areGood, printEnded, type OnceOptions } from './once.ts'
import { emitFor, loadSettings, openDaemon, openSecretsOf } from './open.ts'

/** Runs one policy now, as it stands at the tip of the source. */
export async function preheat(policy: string, options: OnceOptions, io: Io, stop: AbortSignal): Promise<Exit> {
  const settings = await loadSettings(options.config, io)
  const secrets = openSecretsOf(settings, io)
  await using closers = new Closers()
  const daemon = await openDaemon(settings, secrets, emitFor(options.output, settings, secrets, io), closers)
  const begin = async () => {
    await daemon.beginManual(policy, userName())
  }
  const reconciled = await daemon.once(begin, options.wait, stop)
  printEnded(reconciled, daemon.ended, options.output, io)
  return areGood(daemon.ended, options.allowUnverified) ? exit.ok : exit.failed
}

/** Who asks, for the report; a container's user need not have a name. */
function userName(): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`
  }
}
