import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { watch } from 'chokidar'

/** Editors write in several steps, and Kubernetes swaps a link and then removes what it led to. */
const SETTLED_MS = 500

/**
 * Calls `changed` with the text of a file, once when the watch is there and each time that it is another one than before: written, replaced, or swapped as
 * Kubernetes does it, where the file is a link through `..data` to a folder that is exchanged. The folder is watched,
 * because a watch on the file would stay with the old one. A file that is gone is no change.
 */
export async function watchFile(path: string, changed: (text: string) => void): Promise<AsyncDisposable> {
  const file = resolve(path)
  const folder = dirname(file)
  let known: string | undefined
  let timer: NodeJS.Timeout | undefined
  let isClosed = false
  const look = async () => {
    const text = await textOf(file)
    if (text === undefined || isClosed) return
    const now = createHash('sha256').update(text).digest('hex')
    if (now === known) return
    known = now
    changed(text)
  }
  const soon = () => {
    clearTimeout(timer)
    timer = setTimeout(() => void look(), SETTLED_MS)
  }
  const ours = new Set([folder, file, join(folder, '..data')])
  const watcher = watch(folder, {
    ignoreInitial: true,
    depth: 0,
    followSymlinks: false,
    ignored: (one) => !ours.has(resolve(one)),
  })
  watcher.on('all', soon)
  // What chokidar itself makes nothing of: a link that leads elsewhere now.
  watcher.on('raw', (_event, name) => {
    if (name === '..data' || name === basename(file)) soon()
  })
  watcher.on('error', soon)
  await new Promise<void>((ready) => watcher.once('ready', ready))
  // It may have changed since the caller read it.
  soon()
  return {
    async [Symbol.asyncDispose]() {
      isClosed = true
      clearTimeout(timer)
      await watcher.close()
    },
  }
}

async function textOf(file: string): Promise<string | undefined> {
  return await readFile(file, 'utf8').catch(() => undefined)
}
