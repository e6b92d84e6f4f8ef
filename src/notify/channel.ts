import type { HttpRequest } from '../http.ts'
import type { Clock } from '../model/clock.ts'
import type { Notice } from '../model/notice.ts'
import type { ReadSecret } from '../model/secret.ts'

/** Where messages go. */
export interface ChannelSettings {
  readonly name: string
  readonly type: 'webhook' | 'slack'
  /** webhook: the address itself. slack: what stands before the secret part of it. */
  readonly url: string
  /** Key `token` of this secret signs a webhook, and is the rest of a Slack address. */
  readonly secret: string
  /** Whose daemon tells. */
  readonly instance: string
}

export interface ChannelPorts {
  readonly read: ReadSecret
  readonly clock: Clock
  /** Masks secrets that the other side sent back to us. */
  readonly scrub: (text: string) => string
}

/** Takes notices, one at a time. */
export interface Channel extends AsyncDisposable {
  /**
   * @throws {EdgeError} `unavailable` for what may pass, `rejected` for what will not
   * @throws {OperatorError} for a secret that cannot be read or may not go there
   */
  deliver(notice: Notice, signal: AbortSignal): Promise<void>
}

/** One notice as one request; the secret is read for each. */
export type Compose = (notice: Notice) => Promise<HttpRequest>
