import { rmSync } from 'node:fs'
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { excerpt } from '../model/errors.ts'
import { SourceError } from '../model/source.ts'

const PREFIX = 'preheatd-'
/** No operation takes longer; what is older was left by a process that was killed. */
const LEFT_BEHIND_MS = 60 * 60_000

/**
 * Runs `work` with a folder (0700) that holds these files (0600), for a program that reads them from nowhere else; it is
 * gone afterwards, and when the process exits meanwhile. What a killed process left there is removed an hour later.
 * @param purpose a word of the folder's name, and of what is said when it cannot be made
 * @throws {SourceError} when the folder cannot be made
 */
export async function withPrivateFolder<T>(
  purpose: 'ssh' | 'signers',
  files: Readonly<Record<string, string | Uint8Array>>,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const prefix = `${PREFIX}${purpose}-`
  await removeLeftBehind(prefix)
  const folder = await written(purpose, async () => {
    const made = await mkdtemp(join(tmpdir(), prefix))
    // It stands in command lines and in options, which have characters of their own.
    if (!/^[\w./+-]+$/.test(made)) throw new Error(`TMPDIR must be of letters, digits and ._+-/: ${made}`)
    return made
  })
  const removeAtOnce = () => {
    rmSync(folder, { recursive: true, force: true })
  }
  process.once('exit', removeAtOnce)
  try {
    await written(purpose, async () => {
      for (const [name, content] of Object.entries(files))
        await writeFile(join(folder, name), content, { mode: 0o600, flag: 'wx' })
    })
    return await work(folder)
  } finally {
    process.off('exit', removeAtOnce)
    await rm(folder, { recursive: true, force: true })
  }
}

async function removeLeftBehind(prefix: string): Promise<void> {
  const names = await readdir(tmpdir()).catch(() => [])
  for (const name of names.filter((one) => one.startsWith(prefix))) {
    const folder = join(tmpdir(), name)
    const status = await stat(folder).catch(() => undefined)
    const isOurs = status?.isDirectory() === true && status.uid === process.getuid?.()
    if (isOurs && Date.now() - status.mtimeMs > LEFT_BEHIND_MS) {
      await rm(folder, { recursive: true, force: true }).catch(() => undefined)
    }
  }
}

async function written<T>(purpose: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const why = excerpt(error instanceof Error ? error.message : String(error))
    throw new SourceError(
      'Invalid',
      'PH8003',
      `the keys for ${purpose} cannot be put into a temporary folder (${why})`,
      {
        cause: error,
      },
    )
  }
}
