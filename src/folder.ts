import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Makes a folder, and those above it that are missing. Not by Node's `recursive`, which begins anew for ever where a
 * folder that is there answers ENOENT, as /proc does (measured with Node 20.20).
 * @param mode of those that are made
 * @throws {Error} what the system says, or in which folder none can be made
 */
export async function makeFolder(path: string, mode = 0o777): Promise<void> {
  if (await isMade(path, mode)) return
  const above = dirname(path)
  if (above !== path) {
    await makeFolder(above, mode)
    if (await isMade(path, mode)) return
  }
  throw new Error(`no folder can be made in ${above}`)
}

/** False: one above it is missing, or so the system says. */
async function isMade(path: string, mode: number): Promise<boolean> {
  try {
    await mkdir(path, { mode })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false
    if (!(await isFolder(path))) throw error
  }
  return true
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )
}
