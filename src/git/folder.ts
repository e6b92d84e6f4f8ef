import { createHash } from 'node:crypto'
import { createReadStream, type Dirent } from 'node:fs'
import { readFile, readdir, realpath, stat } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { watch } from 'chokidar'
import { excerpt } from '../model/errors.ts'
import { SourceError, type Source, type SourceEntry, type SourceTree } from '../model/source.ts'

/** As many as a repository may hold. */
const MAX_FILES = 50_000
/** YAML, and what policies may name: public keys and trusted roots (`keyFile` and `trustedRootFile` of the schemas). */
const CONFIG_FILE = /^(?!\.).*(?:\.ya?ml|\.pub|\.pem|trusted_root\.json)$|^\.preheatdignore$/

/**
 * A plain folder as configuration; its revision is `sha256:` of the paths and bytes of its YAML files, keys and trusted
 * roots. Names that begin with a dot are passed over, as Kubernetes mounts real files below such names. A link is followed when it leads to a file
 * inside the folder, else it is an entry of kind `symlink`.
 */
export function openFolderSource(dir: string): Source {
  return {
    descends: () => Promise.resolve(true),
    async observe(signal) {
      return revisionOf(await scan(dir, signal))
    },
    async fetch(_revision, signal) {
      const entries = await scan(dir, signal)
      return {
        config: { commit: revisionOf(entries), author: '', subject: '' },
        entries,
        read: (wanted, during) => readFiles(dir, wanted, during),
      } satisfies SourceTree
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

/** Calls `onChange` when something below the folder may have changed. A hint only: nothing may rely on it. */
export function watchFolder(dir: string, onChange: () => void): AsyncDisposable {
  const watcher = watch(dir, { ignoreInitial: true })
  watcher.on('all', onChange)
  // Out of watches, or the folder is gone: the interval still looks.
  watcher.on('error', onChange)
  return {
    [Symbol.asyncDispose]: () => watcher.close(),
  }
}

async function scan(dir: string, signal: AbortSignal): Promise<SourceEntry[]> {
  try {
    const root = await rootOf(dir)
    const entries: SourceEntry[] = []
    for (const folders = ['']; folders.length > 0;) {
      const folder = folders.pop()!
      const names = await readdir(join(root, folder), { withFileTypes: true })
      for (const entry of names) {
        signal.throwIfAborted()
        const path = folder === '' ? entry.name : `${folder}/${entry.name}`
        if (entry.isDirectory() && !entry.name.startsWith('.')) folders.push(path)
        else if (CONFIG_FILE.test(entry.name)) entries.push(await entryAt(root, path, entry))
        if (entries.length > MAX_FILES) {
          throw new SourceError('TooLarge', 'PH1008', `more than ${MAX_FILES} files below source.dir`)
        }
      }
    }
    return entries.sort((a, b) => (a.path < b.path ? -1 : 1))
  } catch (error) {
    if (signal.aborted) throw signal.reason
    throw unreadable(error)
  }
}

/** @throws {SourceError} that names it as it was given */
async function rootOf(dir: string): Promise<string> {
  const is = await stat(dir).catch((error: unknown) => {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    throw new SourceError('Invalid', 'PH4007', `there is no folder ${excerpt(dir)}`, { cause: error })
  })
  if (!is.isDirectory()) throw new SourceError('Invalid', 'PH4007', `${excerpt(dir)} is no folder`)
  return await realpath(dir)
}

async function entryAt(root: string, path: string, entry: Dirent): Promise<SourceEntry> {
  const file = join(root, path)
  // A link to nowhere is shown as what it is.
  const real = await realpath(file).catch(() => '')
  const state = real.startsWith(root + sep) ? await stat(real) : undefined
  if (state?.isFile() !== true) {
    return {
      path,
      kind: 'symlink',
      sizeBytes: 0,
      blobId: sha256(`${entry.isSymbolicLink() ? 'link' : 'other'} ${real}`),
    }
  }
  return { path, kind: 'file', sizeBytes: state.size, blobId: await hashOf(real, state.size) }
}

/** A stream costs several times a read, and protects only from what is too large to be accepted. */
async function hashOf(file: string, sizeBytes: number): Promise<string> {
  if (sizeBytes <= 1024 * 1024) return sha256(await readFile(file))
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

async function readFiles(
  dir: string,
  entries: readonly SourceEntry[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  for (const { path, blobId } of entries.filter(({ kind }) => kind === 'file')) {
    signal.throwIfAborted()
    const bytes = await readFile(join(dir, path)).catch((error: unknown) => {
      throw unreadable(error)
    })
    if (sha256(bytes) !== blobId) {
      throw new SourceError('Invalid', 'PH4007', `${path} changed while it was read; the next look takes it as a whole`)
    }
    files.set(path, bytes)
  }
  return files
}

function revisionOf(entries: readonly SourceEntry[]): string {
  return `sha256:${sha256(entries.map(({ path, kind, blobId }) => `${path}\0${kind}\0${blobId}\0`).join(''))}`
}

function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}

function unreadable(error: unknown): SourceError {
  if (error instanceof SourceError) return error
  const why = excerpt(error instanceof Error ? error.message : String(error))
  return new SourceError('Invalid', 'PH4007', `the folder cannot be read (${why})`, { cause: error })
}
