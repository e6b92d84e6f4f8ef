import { EdgeError } from '../model/errors.ts'
import { retryAfterMs, type HttpAnswer } from '../http.ts'
import type { Clock } from '../model/clock.ts'
import type { Instant } from '../model/duration.ts'

/** Where nothing says when the next pull is granted. */
const UNTOLD_MS = 60_000
/** Longer than this nobody waits without a word. */
const PATIENCE_MS = 300_000
const LONGEST_MS = 86_400_000

/**
 * The pulls that a registry grants. Where its last answer said that none is left, one passes for each that the window
 * gives back: another would only be answered with 429 (contracts/kraken-and-registries.md §5.4).
 */
export class Quota {
  readonly #who: string
  readonly #clock: Clock
  /** Between two pulls; undefined while there are some left. */
  #slotMs: number | undefined
  #freeAt: Instant = 0

  /** @param who how messages call the registry */
  constructor(who: string, clock: Clock) {
    this.#who = who
    this.#clock = clock
  }

  /**
   * Resolves when a pull may be asked for.
   * @throws {EdgeError} PH6001 when that is more than five minutes away
   * @throws the signal's reason
   */
  async take(signal: AbortSignal): Promise<void> {
    if (this.#slotMs === undefined) return
    const now = this.#clock.now()
    const at = Math.max(now, this.#freeAt)
    if (at - now > PATIENCE_MS) {
      const minutes = Math.ceil((at - now) / 60_000)
      const why = `${this.#who} grants no more pulls now (ratelimit-remaining: 0), the next one in ${minutes} minutes: use an account with a higher limit, or wait`
      throw new EdgeError('unavailable', 'PH6001', why, { retryAfterMs: at - now })
    }
    this.#freeAt = at + this.#slotMs
    await this.#clock.sleepUntil(at, signal)
  }

  /** Takes note of what an answer says. */
  learn(headers: HttpAnswer['headers']): void {
    const left = leading(headers['ratelimit-remaining'])
    if (left === undefined) return
    if (left > 0) {
      this.#slotMs = undefined
      return
    }
    const slotMs = slotMsOf(headers, this.#clock.now())
    if (this.#slotMs === undefined) this.#freeAt = this.#clock.now() + slotMs
    this.#slotMs = slotMs
  }
}

/** `100;w=21600` gives one back every 216 seconds; a `ratelimit-reset` is in seconds, from now or since 1970. */
function slotMsOf(headers: HttpAnswer['headers'], now: Instant): number {
  const reset = leading(headers['ratelimit-reset'])
  const limit = leading(headers['ratelimit-limit'])
  const windowS = Number(/;\s*w=(\d+)/.exec(headers['ratelimit-limit'] ?? '')?.[1])
  const ms =
    retryAfterMs(headers, now) ??
    (reset === undefined ? undefined : reset > 1e9 ? reset * 1000 - now : reset * 1000) ??
    (limit === undefined || limit === 0 || Number.isNaN(windowS) ? UNTOLD_MS : (windowS * 1000) / limit)
  return Math.min(LONGEST_MS, Math.max(1000, Math.ceil(ms)))
}

function leading(text: string | undefined): number | undefined {
  const [digits] = /^\s*\d{1,15}/.exec(text ?? '') ?? []
  return digits === undefined ? undefined : Number(digits)
}
