import { readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import pLimit from 'p-limit'
import { makeFolder } from '../folder.ts'
import { excerpt } from '../model/errors.ts'
import { SourceError } from '../model/source.ts'
import { initMirror } from './objects.ts'
import type { RemoteRef } from './remote.ts'

/**
 * A bare repository that belongs to this process alone, as the lock of the state folder guarantees. It holds nothing
 * that the remote has not, so it may be thrown away at any time.
 */
export class MirrorFolder {
  /** The repository itself. */
  readonly gitDir: string
  /** For private indexes and files on their way; emptied when the mirror is opened. */
  readonly scratch: string
  readonly #stamp: string
  readonly #alone = pLimit(1)
  #isReady = false

  constructor(dir: string, { address, ref }: RemoteRef) {
    this.gitDir = dir
    this.scratch = join(dir, 'preheatd', 'scratch')
    this.#stamp = `${address} ${ref}\n`
  }

  /**
   * Runs `work` while nobody else uses the mirror. When it turns out to be broken, it is moved aside to
   * `<dir>.broken-<n>` (the last one is kept to be looked at), and `work` runs once more, on an empty one.
   * @throws {SourceError} PH4004 when that one is broken too
   */
  use<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return this.#alone(async () => {
      try {
        await this.#prepare(signal)
        return await work()
      } catch (error) {
        if (!(error instanceof SourceError) || error.code !== 'PH4004') throw error
        await this.#moveAside()
        await this.#prepare(signal)
        return await work()
      }
    })
  }

  /** Resolves when nobody uses the mirror. */
  async idle(): Promise<void> {
    await this.#alone(() => undefined)
  }

  async #prepare(signal: AbortSignal): Promise<void> {
    if (this.#isReady) return
    const stampFile = join(this.gitDir, 'preheatd', 'remote')
    const stamp = await readFile(stampFile, 'utf8').catch(() => undefined)
    try {
      if (stamp !== this.#stamp) await this.#moveAside()
      else await removeLeftovers(this.gitDir)
      await rm(this.scratch, { recursive: true, force: true })
      await makeFolder(this.scratch, 0o700)
    } catch (error) {
      throw unusable(error)
    }
    await initMirror(this.gitDir, signal)
    await writeFile(stampFile, this.#stamp).catch((error: unknown) => {
      throw unusable(error)
    })
    this.#isReady = true
  }

  async #moveAside(): Promise<void> {
    this.#isReady = false
    const parent = dirname(this.gitDir)
    const prefix = `${basename(this.gitDir)}.broken-`
    try {
      await makeFolder(parent)
      const older = (await readdir(parent)).filter((name) => name.startsWith(prefix))
      const number = Math.max(0, ...older.map((name) => Number(name.slice(prefix.length)) || 0)) + 1
      await rename(this.gitDir, join(parent, `${prefix}${number}`))
      for (const name of older) await rm(join(parent, name), { recursive: true, force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unusable(error)
    }
  }
}

/** What a git that was killed left behind. Nobody else works here, so nothing of it is in use. */
async function removeLeftovers(gitDir: string): Promise<void> {
  const leftovers = (await readdir(gitDir, { recursive: true })).filter((path) => {
    const name = basename(path)
    return name.endsWith('.lock') || name === 'gc.pid' || name === 'gc.log' || name.startsWith('tmp_')
  })
  for (const path of leftovers) await rm(join(gitDir, path), { recursive: true, force: true })
}

function unusable(error: unknown): SourceError {
  return new SourceError(
    'MirrorBroken',
    'PH8003',
    `the mirror cannot be written (${excerpt(error instanceof Error ? error.message : String(error))})`,
    { cause: error },
  )
}
