import { setTimeout as nap } from 'node:timers/promises'
import type { Clock } from './model/clock.ts'

/**
 * Longest single timer. Node's overflow at 2^31 - 1 ms and then fire at once, and one that a suspended machine slept
 * through fires late by as long as it slept; naps bound both.
 */
const LONGEST_NAP_MS = 30_000

export const systemClock: Clock = {
  now: () => Date.now(),

  async sleepUntil(until, signal) {
    for (;;) {
      signal.throwIfAborted()
      const left = until - Date.now()
      if (left <= 0) return
      // An aborted nap rejects with an AbortError; the next turn throws the signal's own reason.
      await nap(Math.min(left, LONGEST_NAP_MS), undefined, { signal }).catch(() => undefined)
    }
  },
}
