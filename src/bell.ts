import type { Clock } from './model/clock.ts'
import type { Instant } from './model/duration.ts'

/** Wakes one loop that rests. Rung while the loop works, it ends the next rest at once: no ring is lost. */
export class Bell {
  readonly #gatherMs: number
  #isRung = false
  #wake: () => void = () => undefined

  /** @param gatherMs how long more rings are waited for after the first, so that a burst of them wakes once */
  constructor(gatherMs = 0) {
    this.#gatherMs = gatherMs
  }

  ring(): void {
    this.#isRung = true
    this.#wake()
  }

  /** Waits for an instant, a ring or the stop. @returns whether it was rung */
  async rest(until: Instant, clock: Clock, stop: AbortSignal): Promise<boolean> {
    if (!this.#isRung) await this.#sleep(until, clock, stop)
    if (this.#isRung && this.#gatherMs > 0) await pause(clock.now() + this.#gatherMs, clock, stop)
    const wasRung = this.#isRung
    this.#isRung = false
    return wasRung
  }

  async #sleep(until: Instant, clock: Clock, stop: AbortSignal): Promise<void> {
    const rung = new AbortController()
    this.#wake = () => {
      rung.abort()
    }
    stop.addEventListener('abort', this.#wake, { once: true })
    try {
      if (!stop.aborted) await pause(until, clock, rung.signal)
    } finally {
      stop.removeEventListener('abort', this.#wake)
    }
  }
}

/** Until an instant, or the end of waiting. */
async function pause(until: Instant, clock: Clock, over: AbortSignal): Promise<void> {
  try {
    await clock.sleepUntil(until, over)
  } catch (error) {
    if (!over.aborted) throw error
  }
}
