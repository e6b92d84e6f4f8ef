/** An instant as milliseconds since the epoch: plain JSON, comparable, and never confused with a duration in `…Ms`. */
export type Instant = number

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const DURATION = /^(?:\d+(?:ms|s|m|h|d))+$/

/**
 * `500ms`, `30s`, `5m`, `1h30m` as milliseconds.
 * @throws {TypeError} for anything else; `1.5h` and a bare number are not durations.
 */
export function parseDuration(text: string): number {
  if (!DURATION.test(text))
    throw new TypeError(`not a duration: ${JSON.stringify(text)} (write 500ms, 30s, 5m or 1h30m)`)
  let total = 0
  for (const [, amount, unit] of text.matchAll(/(\d+)(ms|s|m|h|d)/g))
    total += Number(amount) * UNITS[unit as keyof typeof UNITS]
  if (!Number.isSafeInteger(total)) throw new TypeError(`too long a duration: ${JSON.stringify(text)}`)
  return total
}

/** Milliseconds in the shortest form that {@link parseDuration} reads back: `5400000` is `1h30m`. */
export function formatDuration(ms: number): string {
  let rest = Math.max(0, Math.round(ms))
  if (rest === 0) return '0s'
  let text = ''
  for (const unit of ['d', 'h', 'm', 's', 'ms'] as const) {
    const amount = Math.floor(rest / UNITS[unit])
    if (amount > 0) text += `${amount}${unit}`
    rest -= amount * UNITS[unit]
  }
  return text
}

/** How old something is, or how long it takes until it comes, to the second: `3m12s`. */
export function ageText(ageMs: number): string {
  return formatDuration(Math.floor(Math.max(0, ageMs) / 1000) * 1000)
}

/** `2026-11-21T02:00:00.000Z`, the one spelling of an instant in reports. */
export function formatInstant(at: Instant): string {
  return new Date(at).toISOString()
}

/** `20260329T003000Z`: an instant for file names, which hold no colon because Windows checkouts break on it. */
export function compactInstant(at: Instant): string {
  return `${new Date(at).toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`
}
