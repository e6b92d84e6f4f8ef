import { setTimeout as pause } from 'node:timers/promises'
import { Closers } from '../closers.ts'
import { connectControl, type RemoteOperations } from '../serve/client.ts'
import { exit, type Exit, type Io } from './command.ts'
import { areGood, collectEnded, printEnded, type OnceOptions } from './once.ts'
import { emitFor, loadSettings, openDaemon, openSecretsOf } from './open.ts'
import { userName } from './operator.ts'

export interface PreheatOptions extends OnceOptions {
  /** It goes into the report. */
  readonly reason: string
}

const LOOK_AGAIN_MS = 1_000

/** Runs one policy now: through the daemon that lives on the state folder, else as it stands at the tip of the source. */
export async function preheat(policy: string, options: PreheatOptions, io: Io, stop: AbortSignal): Promise<Exit> {
  const settings = await loadSettings(options.config, io)
  const by = userName()
  await using living = await connectControl(settings.state.dir, by)
  if (living !== undefined) return await through(living, policy, options, io, stop)
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
  const begin = async () => {
    await daemon.beginManual(policy, { by, reason: options.reason })
  }
  const ended = collectEnded(daemon)
  const reconciled = await daemon.once(begin, options.wait, stop)
  printEnded(reconciled, ended, options.output, io)
  return areGood(ended, options.allowUnverified) ? exit.ok : exit.failed
}

async function through(
  living: RemoteOperations,
  policy: string,
  { reason, wait, allowUnverified, output }: PreheatOptions,
  io: Io,
  stop: AbortSignal,
): Promise<Exit> {
  const id = await living.begin(policy, reason === '' ? 'preheatd preheat' : reason, stop)
  io.err(`► ${policy} ${id} began in the daemon that runs here\n`)
  let found = await living.execution(id, stop)
  while (wait && found.result === undefined) {
    await pause(LOOK_AGAIN_MS, undefined, { signal: stop })
    found = await living.execution(id, stop)
  }
  const { result } = found
  io.out(
    output === 'json' ? `${JSON.stringify(found, undefined, 2)}\n` : `${policy}  ${result ?? found.state}  ${id}\n`,
  )
  if (!wait) return exit.ok
  const isGood = result === 'Success' || result === 'Skipped' || (allowUnverified && result === 'Unverified')
  return isGood ? exit.ok : exit.failed
}
