import type { Clock } from '../../src/model/clock.ts'
import type { Instant } from '../../src/model/duration.ts'

interface Sleeper {
  readonly until: Instant
  wake(): void
}

/** A clock that stands still until its owner moves it. */
export class ManualClock implements Clock {
  #now: Instant
  #sleepers: Sleeper[] = []

  constructor(now: Instant | string) {
    this.#now = instant(now)
  }

  now(): Instant {
    return this.#now
  }

  async sleepUntil(until: Instant, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (until <= this.#now) return
    await new Promise<void>((resolve, reject) => {
      const abort = () => {
        this.#sleepers = this.#sleepers.filter((one) => one !== sleeper)
        reject(signal.reason as Error)
      }
      const sleeper: Sleeper = {
        until,
        wake: () => {
          signal.removeEventListener('abort', abort)
          resolve()
        },
      }
      signal.addEventListener('abort', abort, { once: true })
      this.#sleepers.push(sleeper)
    })
  }

  /** Moves the clock, backwards too, and wakes whoever's time has come, earliest first. */
  set(now: Instant | string): void {
    this.#now = instant(now)
    const due = this.#sleepers.filter((one) => one.until <= this.#now).sort((a, b) => a.until - b.until)
    this.#sleepers = this.#sleepers.filter((one) => one.until > this.#now)
    for (const sleeper of due) sleeper.wake()
  }

  /** {@link set} by a difference. */
  advance(ms: number): void {
    this.set(this.#now + ms)
  }

  /** When somebody wakes next; undefined: nobody sleeps. */
  get nextWake(): Instant | undefined {
    return this.#sleepers.length === 0 ? undefined : Math.min(...this.#sleepers.map((one) => one.until))
  }
}

function instant(at: Instant | string): Instant {
  return typeof at === 'number' ? at : Date.parse(at)
}
