import { once } from 'node:events'
import { chmod, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { join, resolve } from 'node:path'
import { OperatorError } from '../model/errors.ts'
import { cannotListen, closeServer, serverOf, type Answering, type Listener } from './listen.ts'

/** Bytes of a path that a Unix socket address holds on Linux, without the zero at its end; other systems hold fewer. */
const MAX_PATH_BYTES = process.platform === 'linux' ? 107 : 103

export function controlPath(stateDir: string): string {
  return join(resolve(stateDir), 'control.sock')
}

/** Can a socket of this state folder have an address at all? */
export function fits(path: string): boolean {
  return Buffer.byteLength(path) <= MAX_PATH_BYTES
}

/**
 * Answers on `control.sock` in the state folder (0600). One that a kill left behind is replaced; one at which somebody
 * answers is not.
 * @throws {OperatorError} PH8002 when somebody answers; PH8108 when it cannot be listened there
 */
export async function listenControl(app: Answering, stateDir: string): Promise<Listener> {
  const path = controlPath(stateDir)
  if (!fits(path)) {
    throw new OperatorError(
      'PH8108',
      `${path} has ${Buffer.byteLength(path)} bytes, and the path of a socket at most ${MAX_PATH_BYTES}`,
      { help: 'Choose a shorter state.dir.' },
    )
  }
  if (await isAnswered(path)) throw new OperatorError('PH8002', `another preheatd answers at ${path}`)
  const server = serverOf(app)
  try {
    // Bound where nobody else may look, and moved into its place once it is nobody else's: at no time can it be opened
    // by others, and at no time is there none. The name is no longer than the last one, so that it fits too.
    const nest = await mkdtemp(join(resolve(stateDir), '.c'))
    try {
      const first = join(nest, 's')
      server.listen(first)
      await once(server, 'listening')
      await chmod(first, 0o600)
      await rename(first, path)
    } finally {
      await rm(nest, { recursive: true, force: true })
    }
  } catch (error) {
    server.close()
    throw cannotListen('the control socket', path, error)
  }
  const { ino } = await stat(path)
  return {
    address: path,
    async [Symbol.asyncDispose]() {
      // Not that of somebody who took our place.
      if ((await stat(path).catch(() => undefined))?.ino === ino) await rm(path, { force: true })
      await closeServer(server)
    },
  }
}

/**
 * Does somebody live at this socket?
 * @throws {OperatorError} PH8003 when it may not be opened
 */
export async function isAnswered(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unusable'
    if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTSOCK') return false
    throw new OperatorError('PH8003', `cannot open ${path} (${code})`, { cause: error })
  } finally {
    socket.destroy()
  }
}
