import { userInfo } from 'node:os'
import { OperatorError } from '../model/errors.ts'
import { connectControl, type RemoteOperations } from '../serve/client.ts'
import type { Settings } from '../settings.ts'
import type { Exit, Io } from './command.ts'
import { loadSettings } from './open.ts'

/** What every command of an operator takes. */
export interface OperatorOptions {
  /** The daemon's own configuration, of which its state folder is wanted. */
  readonly config: string
  readonly output: 'text' | 'json'
}

/** Works with the daemon that lives on the configured state folder, or with undefined where none does. */
export async function besideDaemon(
  config: string,
  io: Io,
  work: (daemon: RemoteOperations | undefined, settings: Settings) => Promise<Exit>,
): Promise<Exit> {
  const settings = await loadSettings(config, io)
  await using daemon = await connectControl(settings.state.dir, userName())
  return await work(daemon, settings)
}

/**
 * {@link besideDaemon} for what only a living daemon can do.
 * @throws {OperatorError} PH8107 where none lives
 */
export async function throughDaemon(
  config: string,
  io: Io,
  work: (daemon: RemoteOperations) => Promise<Exit>,
): Promise<Exit> {
  return await besideDaemon(config, io, (daemon, { state }) => {
    if (daemon === undefined) throw new OperatorError('PH8107', `no daemon runs on this state folder (${state.dir})`)
    return work(daemon)
  })
}

/** One result: a sentence, or the same as JSON. */
export function say(text: string, value: object, { output }: Pick<OperatorOptions, 'output'>, io: Io): void {
  io.out(output === 'json' ? `${JSON.stringify(value, undefined, 2)}\n` : `${text}\n`)
}

/** Who asks, for the report; a container's user need not have a name. */
export function userName(): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.() ?? 'unknown'}`
  }
}
