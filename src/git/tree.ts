import { excerpt } from '../model/errors.ts'
import { SourceError, type SourceEntry } from '../model/source.ts'
import type { ConfigCommit } from '../model/execution.ts'
import { readObjects, type GitObject, type TreeEntry } from './objects.ts'

/** Blobs are read in slices, so that one answer of git is not the whole repository in memory twice. */
const SLICE_BYTES = 32 * 1024 * 1024
/** A commit and the first level of its tree. */
const MAX_HEAD_BYTES = 16 * 1024 * 1024

/** A commit, by what is read of it at once. */
export interface Head {
  readonly config: ConfigCommit
  /** Ids. */
  readonly parents: readonly string[]
  /** Of one of its folders; undefined: it has no such folder. */
  readonly tree: string | undefined
}

/** The commit that `ref` points at; undefined: there is none. */
export async function readHead(
  gitDir: string,
  ref: string,
  folder: string,
  purpose: 'mirror' | 'read',
  signal: AbortSignal,
): Promise<Head | undefined> {
  const [commit, tree] = await readObjects(
    gitDir,
    [ref, folder === '' ? `${ref}^{tree}` : `${ref}:${folder}`],
    purpose,
    MAX_HEAD_BYTES,
    undefined,
    signal,
  )
  if (commit?.type !== 'commit') return undefined
  return { config: configCommit(commit), parents: parentsOf(commit), tree: tree?.type === 'tree' ? tree.id : undefined }
}

/** The ids of a commit's parents. What follows its first empty line is its message. */
export function parentsOf({ bytes }: GitObject): string[] {
  const text = bytes.toString('latin1')
  return [...text.slice(0, text.indexOf('\n\n')).matchAll(/^parent ([0-9a-f]+)$/gm)].map(([, id]) => id!)
}

/** The raw commit, so that nobody's mail map, grafts or replacements are asked. */
function configCommit({ id, bytes }: GitObject): ConfigCommit {
  const text = bytes.toString('utf8')
  const gap = text.indexOf('\n\n')
  const author = /^author (.*?) \d+ [+-]\d{4}$/m.exec(text.slice(0, gap))?.[1] ?? ''
  const subject =
    text
      .slice(gap + 2)
      .trimStart()
      .split('\n', 1)[0] ?? ''
  return { commit: id, author: excerpt(author), subject: excerpt(subject) }
}

/** What stands at one path, in the words of the port. */
export function sourceEntry({ mode, id, sizeBytes, path }: TreeEntry): SourceEntry {
  const kind = mode === '160000' ? 'submodule' : mode === '120000' ? 'symlink' : 'file'
  return { path, kind, sizeBytes, blobId: id }
}

/** The bytes of these files, by path; equal ones are read once. @throws {SourceError} when one is not there */
export async function readBlobs(
  gitDir: string,
  entries: readonly SourceEntry[],
  purpose: 'mirror' | 'read',
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = entries.filter(({ kind }) => kind === 'file')
  const sizes = new Map(files.map(({ blobId, sizeBytes }) => [blobId, sizeBytes]))
  const blobs = new Map<string, Buffer>()
  for (const { ids, bytes } of slices(sizes)) {
    const objects = await readObjects(gitDir, ids, purpose, bytes, undefined, signal)
    for (const [i, id] of ids.entries()) {
      const object = objects[i]
      if (object?.type !== 'blob') {
        throw new SourceError('MirrorBroken', 'PH4004', `the mirror is broken (missing blob ${id})`)
      }
      blobs.set(id, object.bytes)
    }
  }
  return new Map(files.map(({ path, blobId }) => [path, blobs.get(blobId)!]))
}

function slices(sizes: ReadonlyMap<string, number>): { ids: string[]; bytes: number }[] {
  const all: { ids: string[]; bytes: number }[] = []
  for (const [id, size] of sizes) {
    const last = all.at(-1)
    if (last === undefined || last.bytes + size > SLICE_BYTES) all.push({ ids: [id], bytes: size })
    else {
      last.ids.push(id)
      last.bytes += size
    }
  }
  return all
}
