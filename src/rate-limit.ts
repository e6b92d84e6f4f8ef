import type { Clock } from './model/clock.ts'
import type { Instant } from './model/duration.ts'

/** At most `perSecond` passes a second, evenly, with a burst of one second's worth. First come, first served. */
export class RateLimit {
  readonly #clock: Clock
  readonly #intervalMs: number
  readonly #burstMs: number
  /** When the bucket will be full again. */
  #fullAt = 0
  #lookedAt = 0

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock
    this.#intervalMs = 1000 / perSecond
    this.#burstMs = Math.max(0, 1000 - this.#intervalMs)
  }

  /** Resolves when it is the caller's turn; a turn that was waited for in vain is given back. @throws the signal's reason. */
  async take(signal: AbortSignal): Promise<void> {
    const now = this.#now()
    this.#fullAt = Math.max(this.#fullAt, now) + this.#intervalMs
    try {
      await this.#clock.sleepUntil(Math.ceil(this.#fullAt - this.#intervalMs - this.#burstMs), signal)
    } catch (error) {
      this.#fullAt -= this.#intervalMs
      throw error
    }
  }

  /** Gives nobody a new turn before `until`, and no burst after it: the other side said that it had enough. */
  pause(until: Instant): void {
    this.#now()
    this.#fullAt = Math.max(this.#fullAt, until + this.#burstMs)
  }

  /** A clock that was set back must not keep anybody waiting for as long as it was set back. */
  #now(): Instant {
    const now = this.#clock.now()
    this.#fullAt -= Math.max(0, this.#lookedAt - now)
    this.#lookedAt = now
    return now
  }
}
