import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { makeFolder } from '../folder.ts'
import { excerpt } from '../model/errors.ts'
import { SourceError, type Edit, type Publisher } from '../model/source.ts'
import type { GitAuth } from '../model/auth.ts'
import type { Clock } from '../model/clock.ts'
import type { ReadSecret } from '../model/secret.ts'
import { withCredential } from './credentials.ts'
import { tidy } from './mirror.ts'
import { MirrorFolder } from './mirror-folder.ts'
import { reportPath } from './path.ts'
import { commitTree, readObjects, storeBlobs, writeTree } from './objects.ts'
import { defaultDeadlines, remoteBranch, type Deadlines, type Remote, type RemoteRef } from './remote.ts'
import { fetchRef, push } from './transfer.ts'

const REF = 'refs/preheatd/reports'
const MAX_TRIES = 8
const SHORTEST_WAIT_MS = 100
const LONGEST_WAIT_MS = 5_000
/** All files that one commit edits, as they stood before. */
const MAX_EXISTING_BYTES = 64 * 1024 * 1024

export interface GitPublisherOptions {
  readonly url: string
  readonly branch: string
  /** Of the mirror; made when it is not there, ours alone. */
  readonly dir: string
  readonly auth: GitAuth
  readonly read: ReadSecret
  readonly author: { readonly name: string; readonly email: string }
  readonly clock: Clock
  /** From 0 to 1, as `Math.random`: spreads writers that lost the same race. */
  readonly random: () => number
  readonly deadlines?: Deadlines
}

/**
 * A branch of a git remote that is written by plumbing: no work tree, no merge, never by force. Its mirror is shallow
 * and, where the remote can filter, without the files that nobody asked for.
 * @throws {SourceError} `Invalid` for an address or branch that must not reach git
 */
export function openGitPublisher(options: GitPublisherOptions): Publisher {
  return new GitPublisher(options)
}

class GitPublisher implements Publisher {
  readonly #remote: RemoteRef
  readonly #options: GitPublisherOptions
  readonly #mirror: MirrorFolder

  constructor(options: GitPublisherOptions) {
    this.#remote = remoteBranch(options.url, options.branch)
    this.#options = options
    this.#mirror = new MirrorFolder(options.dir, this.#remote)
  }

  async publish(edits: readonly Edit[], message: string, signal: AbortSignal): Promise<string | undefined> {
    for (const { path } of edits) reportPath(path)
    return await this.#mirror.use(signal, async () => {
      for (let tries = 1; ; tries++) {
        const outcome = await this.#tryOnce(edits, message, signal)
        if (outcome !== 'moved') {
          await tidy(this.#mirror.gitDir, signal)
          return outcome.revision
        }
        if (tries === MAX_TRIES) {
          throw new SourceError(
            'Unreachable',
            'PH4005',
            `others pushed to ${this.#options.branch} first, ${tries} times in a row; the reports are kept`,
          )
        }
        await this.#backOff(tries, signal)
      }
    })
  }

  async read(path: string, signal: AbortSignal): Promise<string | undefined> {
    reportPath(path)
    return await this.#mirror.use(signal, () =>
      this.#withRemote(async (remote) => {
        const branch = await this.#tip(remote, [path], signal)
        return branch.files.get(path)
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mirror.idle()
  }

  #withRemote<T>(work: (remote: Remote) => Promise<T>): Promise<T> {
    const { auth, read, deadlines = defaultDeadlines } = this.#options
    return withCredential(this.#remote.url, auth, read, (credential) =>
      work({ ...this.#remote, credential, deadlines }),
    )
  }

  /** One round of compare and swap. */
  async #tryOnce(
    edits: readonly Edit[],
    message: string,
    signal: AbortSignal,
  ): Promise<'moved' | { readonly revision: string | undefined }> {
    return await this.#withRemote(async (remote) => {
      const paths = [...new Set(edits.map(({ path }) => path))]
      const tip = await this.#tip(remote, paths, signal)
      const changed = applied(edits, tip.files)
      // Also what a push whose answer was lost comes to: its files are there.
      if (changed.size === 0) return { revision: undefined }
      const revision = await this.#commit(tip.revision, changed, message, signal)
      const outcome = await push(this.#mirror.gitDir, remote, revision, signal)
      return outcome === 'moved' ? 'moved' : { revision }
    })
  }

  /** The branch as it stands on the remote now; without a revision when there is no such branch yet. */
  async #tip(
    remote: Remote,
    paths: readonly string[],
    signal: AbortSignal,
  ): Promise<{ readonly revision: string | undefined; readonly files: ReadonlyMap<string, string> }> {
    const { gitDir } = this.#mirror
    try {
      await fetchRef(gitDir, remote, REF, 'blob:none', signal)
    } catch (error) {
      if (error instanceof SourceError && error.state === 'RefNotFound')
        return { revision: undefined, files: new Map() }
      throw error
    }
    const names = [REF, ...paths.map((path) => `${REF}:${path}`)]
    const [commit, ...found] = await readObjects(gitDir, names, 'mirror', MAX_EXISTING_BYTES, remote, signal)
    if (commit === undefined) {
      throw new SourceError('MirrorBroken', 'PH4004', 'the mirror is broken (nothing was fetched)')
    }
    const files = new Map<string, string>()
    for (const [i, path] of paths.entries()) {
      const object = found[i]
      if (object?.type === 'blob') files.set(path, object.bytes.toString('utf8'))
    }
    return { revision: commit.id, files }
  }

  async #commit(
    parent: string | undefined,
    files: ReadonlyMap<string, string>,
    message: string,
    signal: AbortSignal,
  ): Promise<string> {
    const { gitDir, scratch } = this.#mirror
    const { author, clock } = this.#options
    const folder = join(scratch, randomUUID())
    try {
      await mkdir(folder)
      const ids = await storeBlobs(gitDir, await writeAll(folder, [...files.values()]), signal)
      const blobs = new Map([...files.keys()].map((path, i) => [path, ids[i]!]))
      const tree = await writeTree(gitDir, join(folder, 'index'), parent, blobs, signal)
      const atSeconds = Math.floor(clock.now() / 1000)
      return await commitTree(gitDir, tree, parent, message, { ...author, atSeconds }, signal)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  async #backOff(tries: number, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options
    const longest = Math.min(LONGEST_WAIT_MS, SHORTEST_WAIT_MS * 2 ** tries)
    const waitMs = SHORTEST_WAIT_MS + random() * (longest - SHORTEST_WAIT_MS)
    await clock.sleepUntil(clock.now() + waitMs, signal)
  }
}

/** The files that differ after the edits, in their order; a later edit sees what an earlier one did. */
function applied(edits: readonly Edit[], existing: ReadonlyMap<string, string>): Map<string, string> {
  const after = new Map<string, string>()
  for (const edit of edits) after.set(edit.path, edit.apply(after.get(edit.path) ?? existing.get(edit.path), after))
  return new Map([...after].filter(([path, text]) => text !== existing.get(path)))
}

async function writeAll(folder: string, texts: readonly string[]): Promise<string[]> {
  const files = texts.map((_, i) => join(folder, String(i)))
  for (const [i, file] of files.entries()) await writeFile(file, texts[i]!)
  return files
}

/**
 * A plain folder that takes reports where there is no remote. Its revisions are `sha256:` of what a publish changed.
 * Each file is replaced as a whole; a crash between two of them is mended by publishing again.
 */
export function openFolderPublisher(dir: string): Publisher {
  const read = async (path: string): Promise<string | undefined> => {
    try {
      return await readFile(join(dir, reportPath(path)), 'utf8')
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined
      throw unusable(dir, error)
    }
  }
  return {
    async publish(edits, _message, signal) {
      const existing = await readEach(edits, read, signal)
      const changed = applied(edits, existing)
      if (changed.size === 0) return undefined
      const hash = createHash('sha256')
      for (const [path, text] of changed) {
        signal.throwIfAborted()
        await replaceFile(dir, path, text)
        hash.update(`${path}\0${Buffer.byteLength(text)}\0${text}`)
      }
      return `sha256:${hash.digest('hex')}`
    },
    async read(path, signal) {
      signal.throwIfAborted()
      return await read(path)
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

async function readEach(
  edits: readonly Edit[],
  read: (path: string) => Promise<string | undefined>,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const existing = new Map<string, string>()
  for (const path of new Set(edits.map((edit) => edit.path))) {
    signal.throwIfAborted()
    const text = await read(path)
    if (text !== undefined) existing.set(path, text)
  }
  return existing
}

async function replaceFile(dir: string, path: string, text: string): Promise<void> {
  const target = join(dir, path)
  const parent = dirname(target)
  const temporary = join(parent, `.${randomUUID()}.tmp`)
  try {
    await makeFolder(parent)
    const [root, real] = [await realpath(dir), await realpath(parent)]
    if (real !== root && !real.startsWith(root + sep)) throw new Error(`${path} leads out of the folder`)
    const file = await open(temporary, 'wx')
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, target)
    await syncFolder(parent)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw unusable(dir, error)
  }
}

/** A rename is on the disk only when its folder is. */
async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

function unusable(dir: string, error: unknown): SourceError {
  const why = excerpt(error instanceof Error ? error.message : String(error))
  return new SourceError('Invalid', 'PH8003', `reports cannot be written to ${dir} (${why})`, { cause: error })
}
