import { rm } from 'node:fs/promises'
import { SourceError, type Source, type SourceEntry, type SourceTree } from '../model/source.ts'
import { highestVersion, refText, type SourceRef } from '../model/source-ref.ts'
import type { GitAuth } from '../model/auth.ts'
import type { ReadSecret } from '../model/secret.ts'
import { withCredential } from './credentials.ts'
import { MirrorFolder } from './mirror-folder.ts'
import { folderPath } from './path.ts'
import { collectGarbage, initMirror, listTree, readObjects } from './objects.ts'
import { defaultDeadlines, remoteRef, TAGS, type Deadlines, type Remote, type RemoteRef } from './remote.ts'
import { fetchHistory, fetchRef, lsRemote, lsTags } from './transfer.ts'
import { verifyHead, type ReadSigners } from './signature.ts'
import { parentsOf, readBlobs, readHead, sourceEntry, type Head } from './tree.ts'

const REF = 'refs/preheatd/source'

export interface GitSourceOptions {
  readonly url: string
  readonly ref: SourceRef
  /** `source.path` */
  readonly path: string
  /** Of the mirror; made when it is not there, ours alone. */
  readonly dir: string
  readonly auth: GitAuth
  readonly read: ReadSecret
  /** Who may sign; undefined: nothing is verified. */
  readonly signers?: ReadSigners | undefined
  readonly deadlines?: Deadlines
}

/**
 * A branch, tag or commit of a git remote, read through a bare, shallow mirror without a work tree.
 * @throws {SourceError} `Invalid` for an address, ref or path that must not reach git
 */
export function openGitSource(options: GitSourceOptions): Source {
  return new GitSource(options)
}

class GitSource implements Source {
  readonly #remote: RemoteRef
  readonly #ref: SourceRef
  readonly #path: string
  readonly #auth: GitAuth
  readonly #read: ReadSecret
  readonly #signers: ReadSigners | undefined
  readonly #deadlines: Deadlines
  readonly #mirror: MirrorFolder
  /** What was read last. */
  #tip: Head | undefined
  /** What the mirror's head is on the remote; undefined until this process fetched it. */
  #fetched: string | undefined

  constructor({ url, ref, path, dir, auth, read, signers, deadlines = defaultDeadlines }: GitSourceOptions) {
    this.#remote = remoteRef(url, ref)
    this.#ref = ref
    this.#path = folderPath(path)
    this.#auth = auth
    this.#read = read
    this.#signers = signers
    this.#deadlines = deadlines
    this.#mirror = new MirrorFolder(dir, this.#remote)
  }

  async observe(signal: AbortSignal): Promise<string> {
    if (this.#ref.type === 'commit') return this.#ref.id
    return await this.#withRemote(async (remote) => (await this.#found(remote, signal)).commit)
  }

  /** When the branch or tag has moved on since `revision` was observed, what it moved to is what is returned. */
  async fetch(revision: string, signal: AbortSignal): Promise<SourceTree> {
    return await this.#mirror.use(signal, async () => {
      const here = await this.#head(signal)
      const isKnown = here?.config.commit === revision && (this.#signers === undefined || this.#fetched !== undefined)
      const head = isKnown ? here : await this.#fetchHead(signal)
      await this.#verify(signal)
      this.#tip = head
      if (head.tree === undefined) {
        throw new SourceError(
          'Invalid',
          'PH4006',
          `${refText(this.#ref)} has no folder ${this.#path} at ${head.config.commit.slice(0, 12)}: check source.path`,
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

  /**
   * Only a branch has a history that can be rewritten: a tag is chosen, and so is the next one. Mostly the new commit
   * names the old one as its parent, and nobody is asked.
   */
  async descends(from: string, to: string, signal: AbortSignal): Promise<boolean | undefined> {
    if (this.#ref.type !== 'branch') return undefined
    if (this.#tip?.config.commit === to && this.#tip.parents.includes(from)) return true
    return await this.#mirror.use(signal, async () => {
      const parents = await this.#parentsOf(from, signal)
      if (parents === undefined) return undefined
      // A repository of its own: what is fetched for the question must not change the mirror's depth.
      const scratch = `${this.#mirror.gitDir}.history`
      try {
        await rm(scratch, { recursive: true, force: true })
        await initMirror(scratch, signal)
        const ids = await this.#withRemote((remote) => fetchHistory(scratch, remote, HISTORY, signal))
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
    return parentsOf(object)
  }

  async #readEntries(entries: readonly SourceEntry[], signal: AbortSignal): Promise<ReadonlyMap<string, Uint8Array>> {
    if (entries.length === 0) return new Map()
    const read = () => readBlobs(this.#mirror.gitDir, entries, 'mirror', signal)
    return await this.#mirror.use(signal, () =>
      read().catch(async (error: unknown) => {
        if ((await this.#head(signal)) !== undefined) throw error
        // Made anew since it was listed: equal content comes back under equal ids.
        await this.#fetchHead(signal)
        return await read()
      }),
    )
  }

  async #head(signal: AbortSignal): Promise<Head | undefined> {
    // A tag may be an object of its own.
    return await readHead(this.#mirror.gitDir, `${REF}^{commit}`, this.#path, 'mirror', signal)
  }

  async #fetchHead(signal: AbortSignal): Promise<Head> {
    await this.#withRemote(async (remote) => {
      const { ref } = this.#ref.type === 'semver' ? await this.#found(remote, signal) : remote
      await fetchRef(this.#mirror.gitDir, { ...remote, ref }, REF, 'none', signal)
      this.#fetched = ref
    })
    await tidy(this.#mirror.gitDir, signal)
    const head = await this.#head(signal)
    if (head === undefined)
      throw new SourceError('MirrorBroken', 'PH4004', 'the mirror is broken (nothing was fetched)')
    return head
  }

  async #verify(signal: AbortSignal): Promise<void> {
    if (this.#signers === undefined) return
    const tag = this.#fetched?.startsWith(TAGS) === true ? this.#fetched.slice(TAGS.length) : undefined
    await verifyHead(this.#mirror.gitDir, { ref: REF, tag, followed: refText(this.#ref) }, this.#signers, signal)
  }

  #withRemote<T>(work: (remote: Remote) => Promise<T>): Promise<T> {
    return withCredential(this.#remote.url, this.#auth, this.#read, (credential) =>
      work({ ...this.#remote, credential, deadlines: this.#deadlines }),
    )
  }

  /** What the remote has now for what is wanted, by the name that it has there. */
  async #found(remote: Remote, signal: AbortSignal): Promise<{ readonly ref: string; readonly commit: string }> {
    if (this.#ref.type === 'semver') {
      const tags = await lsTags(remote, signal)
      const tag = highestVersion(tags.keys(), this.#ref.range)
      if (tag !== undefined) {
        const { ref } = remoteRef(remote.address, { type: 'tag', name: tag })
        return { ref, commit: tags.get(tag)! }
      }
    } else {
      const commit = await lsRemote(remote, signal)
      if (commit !== undefined) return { ref: remote.ref, commit }
    }
    throw new SourceError('RefNotFound', 'PH4002', `the remote has no ${refText(this.#ref)}`)
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
