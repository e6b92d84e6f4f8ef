import type { Clock } from '../model/clock.ts'
import type { ReadSecret } from '../model/secret.ts'

/** Where commit statuses go. */
export interface ForgeSettings {
  readonly name: string
  readonly type: 'github' | 'gitlab' | 'gitea'
  /** The forge's web address, without a slash at its end. */
  readonly root: string
  /** `platform/preheat`, decoded; GitLab's groups may be nested. */
  readonly repository: string
  /** The branch or tag that is followed, where it is one; GitLab wants it. */
  readonly ref: string | undefined
  /** Key `token` of this secret is the credential. */
  readonly secret: string
}

export interface ForgePorts {
  readonly read: ReadSecret
  readonly clock: Clock
  /** Masks secrets that the other side sent back to us. */
  readonly scrub: (text: string) => string
}

export type CommitState = 'pending' | 'success' | 'failure'

export interface CommitStatus {
  /** A git commit id. */
  readonly commit: string
  /** What tells it from other statuses of the commit: `preheatd/eu/library/release-images`. */
  readonly context: string
  readonly state: CommitState
  /** Is cut to what the forge takes. */
  readonly description: string
  readonly url: string | undefined
}

/** A forge that shows statuses beside commits. */
export interface Forge extends AsyncDisposable {
  /**
   * Posts a status unless it stands there already. `full`: the commit has fifty of ours, and this would be one more.
   * @throws {EdgeError} `unavailable` for what may pass, `rejected` for what will not
   * @throws {OperatorError} for a secret that cannot be read or may not go there
   */
  post(status: CommitStatus, signal: AbortSignal): Promise<'delivered' | 'unchanged' | 'full'>
}
