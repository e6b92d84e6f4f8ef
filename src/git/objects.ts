import { excerpt } from '../model/errors.ts'
import { SourceError } from '../model/source.ts'
import { objectId, type Remote } from './remote.ts'
import { LOCAL_MS, MAX_LISTING_BYTES, MAX_TALK_BYTES, mirrorCall, run, succeed } from './run.ts'

/** An entry of a tree, whatever it is. `path` is from outside and unchecked. */
export interface TreeEntry {
  readonly mode: string
  readonly id: string
  /** 0 for a submodule. */
  readonly sizeBytes: number
  readonly path: string
}

export interface GitObject {
  readonly id: string
  readonly type: string
  readonly bytes: Buffer
}

/** Who a commit is by, and when. */
export interface Authorship {
  readonly name: string
  readonly email: string
  /** Unix seconds. */
  readonly atSeconds: number
}

/** Makes `gitDir` an empty bare repository, or completes one. */
export async function initMirror(gitDir: string, signal: AbortSignal): Promise<void> {
  await succeed(mirrorCall('init', gitDir, ['init', '--bare', '--quiet']), signal)
}

/** Everything below a tree, recursively. @throws {SourceError} `TooLarge` */
export async function listTree(
  gitDir: string,
  tree: string,
  purpose: 'mirror' | 'read',
  signal: AbortSignal,
): Promise<TreeEntry[]> {
  const stdout = await succeed(
    {
      ...mirrorCall('ls-tree', gitDir, [
        'ls-tree',
        '-r',
        '-l',
        '-z',
        '--full-tree',
        '--end-of-options',
        objectId(tree),
      ]),
      purpose,
      maxBytes: MAX_LISTING_BYTES,
    },
    signal,
  )
  return stdout
    .toString('utf8')
    .split('\0')
    .filter((record) => record !== '')
    .map((record) => {
      const [mode = '', , id = '', size = ''] = record.slice(0, record.indexOf('\t')).split(/ +/)
      return { mode, id, sizeBytes: Number(size) || 0, path: record.slice(record.indexOf('\t') + 1) }
    })
}

/**
 * The objects of these names in one process, in their order; undefined: there is none of that name.
 * @param names ids, or expressions made of validated parts: `refs/preheatd/source:policies`
 * @param remote where a filtered mirror finds what it left there
 * @throws {SourceError} `TooLarge` when they come to more than `maxBytes`
 */
export async function readObjects(
  gitDir: string,
  names: readonly string[],
  purpose: 'mirror' | 'read',
  maxBytes: number,
  remote: Remote | undefined,
  signal: AbortSignal,
): Promise<(GitObject | undefined)[]> {
  if (names.length === 0) return []
  if (names.some((name) => /[\p{Cc}\s]/u.test(name))) throw new TypeError('an object name holds white space')
  const stdout = await succeed(
    {
      ...mirrorCall('cat-file', gitDir, ['cat-file', '--batch']),
      purpose,
      ...(remote && { remote }),
      input: `${names.join('\n')}\n`,
      maxBytes: maxBytes + names.length * 4200,
    },
    signal,
  )
  const objects: (GitObject | undefined)[] = []
  for (let at = 0; at < stdout.length;) {
    const end = stdout.indexOf('\n', at)
    const [id = '', type = '', size = ''] = stdout.toString('utf8', at, end).split(' ')
    at = end + 1
    if (!/^\d+$/.test(size)) {
      objects.push(undefined)
      continue
    }
    objects.push({ id, type, bytes: stdout.subarray(at, at + Number(size)) })
    at += Number(size) + 1
  }
  if (objects.length !== names.length) throw new TypeError('git cat-file answered another number of objects')
  return objects
}

/** Stores the contents of these files as blobs; their ids, in order. Paths are ours. */
export async function storeBlobs(gitDir: string, files: readonly string[], signal: AbortSignal): Promise<string[]> {
  const stdout = await succeed(
    {
      ...mirrorCall('hash-object', gitDir, ['hash-object', '-w', '-t', 'blob', '--no-filters', '--stdin-paths']),
      input: files.map((file) => `${file}\n`).join(''),
    },
    signal,
  )
  return stdout.toString('utf8').trim().split('\n').map(objectId)
}

/**
 * The tree of `base` with these files in it, built in a private index that the caller deletes.
 * @param base undefined: from nothing
 * @param blobs path to blob id; paths were validated
 */
export async function writeTree(
  gitDir: string,
  index: string,
  base: string | undefined,
  blobs: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<string> {
  const env = { GIT_INDEX_FILE: index }
  const call = (name: string, args: readonly string[]) => ({ ...mirrorCall(name, gitDir, [name, ...args]), env })
  if (base !== undefined) await succeed(call('read-tree', [objectId(base)]), signal)
  const lines = [...blobs].map(([path, id]) => `100644 ${objectId(id)}\t${path}\n`)
  // Git would wait for the end of an input that never begins.
  if (lines.length > 0)
    await succeed({ ...call('update-index', ['--add', '--replace', '--index-info']), input: lines.join('') }, signal)
  // Without --missing-ok a filtered mirror fetches every file of the branch only to see that it exists.
  return objectId((await succeed(call('write-tree', ['--missing-ok']), signal)).toString('utf8').trim())
}

/** @param parent undefined: the first commit of its branch */
export async function commitTree(
  gitDir: string,
  tree: string,
  parent: string | undefined,
  message: string,
  author: Authorship,
  signal: AbortSignal,
): Promise<string> {
  const date = `@${author.atSeconds} +0000`
  const stdout = await succeed(
    {
      ...mirrorCall('commit-tree', gitDir, [
        'commit-tree',
        ...(parent === undefined ? [] : ['-p', objectId(parent)]),
        '-F',
        '-',
        objectId(tree),
      ]),
      input: message.endsWith('\n') ? message : `${message}\n`,
      env: {
        GIT_AUTHOR_NAME: author.name,
        GIT_AUTHOR_EMAIL: author.email,
        GIT_AUTHOR_DATE: date,
        GIT_COMMITTER_NAME: author.name,
        GIT_COMMITTER_EMAIL: author.email,
        GIT_COMMITTER_DATE: date,
      },
    },
    signal,
  )
  return objectId(stdout.toString('utf8').trim())
}

/** Packs what has piled up and drops what nothing has referred to for an hour; does nothing until it is worth it. */
export async function collectGarbage(gitDir: string, signal: AbortSignal): Promise<void> {
  await succeed(
    {
      ...mirrorCall('gc', gitDir, ['gc', '--auto', '--quiet']),
      config: ['gc.auto=6700', 'gc.autoPackLimit=50', 'gc.pruneExpire=1.hour.ago'],
    },
    signal,
  )
}

/** A commit of somebody's repository, and where in it a folder is. */
export interface Revision {
  readonly gitDir: string
  readonly commit: string
  /** Of the folder below the top level, with a slash at its end; empty: the top level. */
  readonly prefix: string
}

/**
 * Finds the repository that `dir` is in, and the commit that `rev` names there. Read-only: nothing that the
 * repository's own configuration names is started, no remote is asked.
 * @throws {SourceError} `Invalid` when there is no repository, `RefNotFound` when there is no such commit
 */
export async function resolveRevision(dir: string, rev: string, signal: AbortSignal): Promise<Revision> {
  if (!/^[^-\p{Cc}\s][^\p{Cc}]{0,250}$/u.test(rev)) {
    throw new SourceError('RefNotFound', 'PH4002', `${quoted(rev)} is no revision`)
  }
  const ask = async (args: readonly string[]) =>
    run(
      {
        purpose: 'read',
        what: 'git rev-parse',
        args: ['rev-parse', ...args],
        cwd: dir,
        deadlineMs: LOCAL_MS,
        maxBytes: MAX_TALK_BYTES,
      },
      signal,
    )
  const place = await ask(['--absolute-git-dir', '--show-prefix', '--is-shallow-repository'])
  if (place.exitCode !== 0) {
    throw new SourceError('Invalid', 'PH4002', `the folder is in no git repository, so there is no ${excerpt(rev, 80)}`)
  }
  const [gitDir = '', prefix = '', isShallow] = place.stdout.split('\n')
  const found = await ask(['--verify', '--quiet', '--end-of-options', `${rev}^{commit}`])
  if (found.exitCode !== 0) {
    const why = isShallow === 'true' ? ', of which only a part was cloned: fetch its history' : ''
    throw new SourceError('RefNotFound', 'PH4002', `${quoted(rev)} is no commit of this repository${why}`)
  }
  return { gitDir, commit: objectId(found.stdout.trim()), prefix }
}

function quoted(rev: string): string {
  return JSON.stringify(excerpt(rev, 80))
}
