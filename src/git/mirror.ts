import { rm } from 'node:fs/promises'
import { SourceError, type Source, type SourceEntry, type SourceTree } from '../model/source.ts'
import type { Auth } from '../model/auth.ts'
import type { ReadSecret } from '../model/secret.ts'
import { withCredential } from './credentials.ts'
import { MirrorFolder } from './mirror-folder.ts'
import { folderPath } from './path.ts'
import {
  collectGarbage,
  defaultDeadlines,
  fetchBranch,
  fetchHistory,
  initMirror,
  listTree,
  lsRemote,
  readObjects,
  remoteBranch,
  type Deadlines,
  type RemoteBranch,
} from './run.ts'
import { readBlobs, readHead, sourceEntry } from './tree.ts'

const REF = 'refs/preheatd/source'

export interface GitSourceOptions {
  readonly url: string
  readonly branch: string
  /** `source.path` */
  readonly path: string
  /** Of the mirror; made when it is not there, ours alone. */
  readonly dir: string
  readonly auth: Auth
  readonly read: ReadSecret
  readonly deadlines?: Deadlines
}

/**
 * A branch of a git remote, read through a bare, shallow, single-branch mirror without a work tree.
 * @throws {SourceError} `Invalid` for an address, branch or path that must not reach git
 */
export function openGitSource(options: GitSourceOptions): Source {
  return new GitSource(options)
}

class GitSource implements Source {
  readonly #remote: RemoteBranch
  readonly #path: string
  readonly #auth: Auth
  readonly #read: ReadSecret
  readonly #deadlines: Deadlines
  readonly #mirror: MirrorFolder

  constructor({ url, branch, path, dir, auth, read, deadlines = defaultDeadlines }: GitSourceOptions) {
    this.#remote = remoteBranch(url, branch)
    this.#path = folderPath(path)
    this.#auth = auth
    this.#read = read
    this.#deadlines = deadlines
    this.#mirror = new MirrorFolder(dir, this.#remote)
  }

  async observe(signal: AbortSignal): Promise<string> {
    const revision = await withCredential(this.#remote.url, this.#auth, this.#read, (credential) =>
      lsRemote({ ...this.#remote, credential, deadlines: this.#deadlines }, signal),
    )
    if (revision === undefined) {
      throw new SourceError('RefNotFound', 'PH4002', `the remote has no branch ${this.#remote.branch}`)
    }
    return revision
  }

  /** When the branch has moved on since `revision` was observed, what it moved to is what is returned. */
  async fetch(revision: string, signal: AbortSignal): Promise<SourceTree> {
    return await this.#mirror.use(signal, async () => {
      const here = await this.#head(signal)
      const head = here?.config.commit === revision ? here : await this.#fetchHead(signal)
      if (head.tree === undefined) {
        throw new SourceError(
          'Invalid',
          'PH4006',
          `${this.#remote.branch} has no folder ${this.#path} at ${head.config.commit.slice(0, 12)}: check source.path`,
        )
      }
      const entries = await listTree(this.#mirror.gitDir, head.tree, 'mirror', signal)
      return {
        config: head.config,
        entries: entries.map(sourceEntry),
        read: (wanted, during) => this.#readEntries(wanted, during),
      }
    })
  }

  async descends(from: string, to: string, signal: AbortSignal): Promise<boolean | undefined> {
    return await this.#mirror.use(signal, async () => {
      const parents = await this.#parentsOf(from, signal)
      if (parents === undefined) return undefined
      // A repository of its own: what is fetched for the question must not change the mirror's depth.
      const scratch = `${this.#mirror.gitDir}.history`
      try {
        await rm(scratch, { recursive: true, force: true })
        await initMirror(scratch, signal)
        const ids = await withCredential(this.#remote.url, this.#auth, this.#read, (credential) =>
          fetchHistory(scratch, { ...this.#remote, credential, deadlines: this.#deadlines }, HISTORY, signal),
        )
        return ids[0] === to ? ancestry(from, parents, ids) : undefined
      } catch (error) {
        if (!(error instanceof SourceError)) throw error
        return undefined
      } finally {
        await rm(scratch, { recursive: true, force: true })
      }
    })
  }

  async #parentsOf(commit: string, signal: AbortSignal): Promise<string[] | undefined> {
    if (!/^[0-9a-f]{40,64}$/.test(commit)) return undefined
    const [object] = await readObjects(this.#mirror.gitDir, [commit], 'mirror', MAX_COMMIT_BYTES, undefined, signal)
    if (object?.type !== 'commit') return undefined
    return [...object.bytes.toString('latin1').matchAll(/^parent ([0-9a-f]+)$/gm)].map(([, id]) => id!)
  }

  async #readEntries(entries: readonly SourceEntry[], signal: AbortSignal): Promise<ReadonlyMap<string, Uint8Array>> {
    return await this.#mirror.use(signal, async () => {
      // Made anew since it was listed: equal content comes back under equal ids.
      if ((await this.#head(signal)) === undefined) await this.#fetchHead(signal)
      return await readBlobs(this.#mirror.gitDir, entries, 'mirror', signal)
    })
  }

  async #head(signal: AbortSignal): ReturnType<typeof readHead> {
    return await readHead(this.#mirror.gitDir, REF, this.#path, 'mirror', signal)
  }

  async #fetchHead(signal: AbortSignal): Promise<NonNullable<Awaited<ReturnType<typeof readHead>>>> {
    await withCredential(this.#remote.url, this.#auth, this.#read, (credential) =>
      fetchBranch(
        this.#mirror.gitDir,
        { ...this.#remote, credential, deadlines: this.#deadlines },
        REF,
        'none',
        signal,
      ),
    )
    await tidy(this.#mirror.gitDir, signal)
    const head = await this.#head(signal)
    if (head === undefined)
      throw new SourceError('MirrorBroken', 'PH4004', 'the mirror is broken (nothing was fetched)')
    return head
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mirror.idle()
  }
}

/** Commits that are looked through for the last one applied. */
const HISTORY = 100
const MAX_COMMIT_BYTES = 1024 * 1024

/**
 * Is a commit among these, the newest of its branch? If not, but one of its parents is, or these are all there are, the
 * branch went another way.
 */
function ancestry(commit: string, parents: readonly string[], ids: readonly string[]): boolean | undefined {
  if (ids.includes(commit)) return true
  return ids.length < HISTORY || parents.some((parent) => ids.includes(parent)) ? false : undefined
}

/** Keeps a mirror small. One that could not be tidied is as good as before, so only the signal's reason gets out. */
export async function tidy(gitDir: string, signal: AbortSignal): Promise<void> {
  await collectGarbage(gitDir, signal).catch(() => {
    signal.throwIfAborted()
  })
}
