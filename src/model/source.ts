import type { ConfigCommit } from './execution.ts'
import type { Code } from './codes.ts'
import type { SourceState } from './events.ts'

/** One path of the config repository, before anything of it is read. */
export interface SourceEntry {
  /** Relative to `source.path`, with forward slashes. */
  readonly path: string
  readonly kind: 'file' | 'symlink' | 'submodule'
  readonly sizeBytes: number
  /** Equal ids mean equal bytes. */
  readonly blobId: string
}

/** One state of the configuration: a commit, or the content of a folder. */
export interface SourceTree {
  readonly config: ConfigCommit
  readonly entries: readonly SourceEntry[]
  /** The bytes of these entries, by path. @throws {SourceError} */
  read(entries: readonly SourceEntry[], signal: AbortSignal): Promise<ReadonlyMap<string, Uint8Array>>
}

/** Where the configuration comes from: a branch of a git remote, or a watched folder. */
export interface Source extends AsyncDisposable {
  /**
   * The revision it stands at now, as cheaply as can be told: one `ls-remote` for a remote.
   * @throws {SourceError}
   */
  observe(signal: AbortSignal): Promise<string>

  /** Brings that revision here and lists it. @throws {SourceError} */
  fetch(revision: string, signal: AbortSignal): Promise<SourceTree>

  /**
   * Does `to`, which was fetched, descend from `from`? False: history was rewritten. Undefined: it cannot be told, which
   * is no failure, because content decides and not ancestry.
   */
  descends(from: string, to: string, signal: AbortSignal): Promise<boolean | undefined>
}

/** The source cannot be used; what was applied stays in force. The message holds no credential and no user info. */
export class SourceError extends Error {
  override readonly name = 'SourceError'
  readonly state: SourceState
  readonly code: Code

  constructor(state: SourceState, code: Code, message: string, options?: ErrorOptions) {
    super(message, options)
    this.state = state
    this.code = code
  }
}

/** A change to one file of the reports branch, as a function of what stands there: a lost race is replayed. */
export interface Edit {
  readonly path: string
  /**
   * @param existing what stands at the path on the branch's tip; undefined: nothing
   * @param earlier what the edits before this one gave in the same attempt, by path
   */
  apply(existing: string | undefined, earlier: ReadonlyMap<string, string>): string
}

/** Where reports go. */
export interface Publisher extends AsyncDisposable {
  /**
   * Commits the edits, applied in their order, on top of what is there. Compare-and-swap: when the branch moved, the
   * edits are applied anew.
   * @returns the new revision; undefined when the edits changed nothing and there is no commit.
   * @throws {SourceError} when it cannot be pushed now; nothing is lost, the caller still has the edits.
   */
  publish(edits: readonly Edit[], message: string, signal: AbortSignal): Promise<string | undefined>

  /** A file as it stands on the branch now; undefined when there is none. @throws {SourceError} */
  read(path: string, signal: AbortSignal): Promise<string | undefined>
}
