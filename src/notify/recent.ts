import { createHash } from 'node:crypto'
import type { Instant } from '../model/duration.ts'
import type { Notice } from '../model/notice.ts'

/** How long the same is not told again. */
const WINDOW_MS = 5 * 60_000
const MAX_KEYS = 10_000

/** What was told within the last five minutes. What goes wrong again after it was told to be well is told again. */
export class Recent {
  /** Oldest first. */
  readonly #toldAt = new Map<string, Instant>()
  /** The severity last told of each object, the one told longest ago first. */
  readonly #severities = new Map<string, Notice['severity']>()

  /** Was the same told within the window? If not, it counts as told now. */
  has(notice: Notice, now: Instant): boolean {
    for (const [key, at] of this.#toldAt) {
      // A clock that was set back must not silence anything for as long as it was set back.
      if (Math.abs(now - at) < WINDOW_MS && this.#toldAt.size < MAX_KEYS) break
      this.#toldAt.delete(key)
    }
    const key = keyOf(notice)
    const at = this.#toldAt.get(key)
    const { object, severity } = notice
    if (at !== undefined && Math.abs(now - at) < WINDOW_MS && this.#severities.get(object.key) === severity) return true
    this.#toldAt.delete(key)
    this.#toldAt.set(key, now)
    this.#severities.delete(object.key)
    this.#severities.set(object.key, severity)
    const [oldest] = this.#severities.keys()
    if (this.#severities.size > MAX_KEYS && oldest !== undefined) this.#severities.delete(oldest)
    return false
  }
}

/** Equal for what says the same: neither the execution nor the time is part of it. */
export function keyOf({ object, reason, message, revision }: Notice): string {
  return createHash('sha256')
    .update(JSON.stringify([object.key, reason, message, revision ?? '']))
    .digest('hex')
}
