import type { Instant } from '../../model/duration.ts'

/** As long as a signed timestamp is believed; later the same push would cost one look at the source. */
const REMEMBER_MS = 300_000
const MAX_REMEMBERED = 10_000

/** What came in lately. It need not survive a restart: what it keeps away is only a look at the source. */
export class Replays {
  readonly #seen = new Map<string, Instant>()

  /** Was one of these keys remembered lately? */
  has(keys: readonly string[], now: Instant): boolean {
    return keys.some((key) => Math.abs(now - (this.#seen.get(key) ?? -Infinity)) < REMEMBER_MS)
  }

  /** The oldest is forgotten where there are too many. */
  remember(keys: readonly string[], now: Instant): void {
    for (const key of keys) {
      this.#seen.delete(key)
      this.#seen.set(key, now)
    }
    for (const oldest of this.#seen.keys()) {
      if (this.#seen.size <= MAX_REMEMBERED) return
      this.#seen.delete(oldest)
    }
  }
}
