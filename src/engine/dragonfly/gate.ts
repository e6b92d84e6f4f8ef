import pLimit from 'p-limit'
import { waitFor } from '../../deadline.ts'
import { EdgeError } from '../../model/errors.ts'
import { RateLimit } from '../../rate-limit.ts'
import type { Clock } from '../../model/clock.ts'
import type { Instant } from '../../model/duration.ts'
import type { Provider } from '../../model/provider.ts'

/** A pause up to this is waited for; a longer one is the caller's, who has somewhere better to wait. */
const LONGEST_WAIT_MS = 30_000

/** Where submissions to one scheduler cluster queue: so many in flight, so many a second. */
export class Gate {
  readonly #who: string
  readonly #clock: Clock
  readonly #inFlight: ReturnType<typeof pLimit>
  readonly #perSecond: RateLimit
  #closed = { from: 0, until: 0 }

  constructor(who: string, clock: Clock, limits: Provider['limits']) {
    this.#who = who
    this.#clock = clock
    this.#inFlight = pLimit(limits.submitsInFlight)
    this.#perSecond = new RateLimit(clock, limits.requestsPerSecond)
  }

  /**
   * Does `work` when it is its turn. When the manager asks for a pause, nobody else goes before it is over.
   * @throws {EdgeError} `unavailable` while a long pause lasts
   */
  async pass<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const turn = this.#inFlight(async () => {
      signal.throwIfAborted()
      this.#refuseWhileClosed()
      await this.#perSecond.take(signal)
      try {
        return await work()
      } catch (error) {
        if (error instanceof EdgeError && error.retryAfterMs !== undefined) this.#pause(error.retryAfterMs)
        throw error
      }
    })
    return await waitFor(turn, signal)
  }

  #pause(ms: number): void {
    const now = this.#clock.now()
    if (ms <= LONGEST_WAIT_MS) this.#perSecond.pause(now + ms)
    else this.#closed = { from: now, until: now + Math.max(ms, this.#leftMs(now)) }
  }

  #refuseWhileClosed(): void {
    const leftMs = this.#leftMs(this.#clock.now())
    if (leftMs === 0) return
    throw new EdgeError('unavailable', 'PH5001', `${this.#who} asked for a pause`, { retryAfterMs: leftMs })
  }

  /** None where the clock was set back: nobody knows then. */
  #leftMs(now: Instant): number {
    return now < this.#closed.from ? 0 : Math.max(0, this.#closed.until - now)
  }
}
