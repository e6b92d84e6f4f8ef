import { isRedirect, retryAfterMs, type HttpAnswer } from '../http.ts'
import type { Instant } from '../model/duration.ts'
import { EdgeError, excerpt } from '../model/errors.ts'
import { membersOf } from './dialect.ts'

/** GitHub asks for at least a minute where it names no time. */
const PAUSE_MS = 60_000
/** Primary limits are by the hour. */
const LONGEST_PAUSE_MS = 3_600_000
const MOST_BYTES = 65_536

/** What a forge says in words; empty for a page made for people. */
export function wordsOf({ bytes }: HttpAnswer): string {
  try {
    const { message } = membersOf(JSON.parse(bytes.subarray(0, MOST_BYTES).toString('utf8')))
    return typeof message === 'string' ? message : message === undefined ? '' : JSON.stringify(message)
  } catch {
    return ''
  }
}

/**
 * How long nobody may ask, by what the answer says of the budget: nothing is left of it until then. Undefined: there is
 * some left, or it does not say.
 * @see docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api; docs.gitlab.com/security/rate_limits
 */
export function spentForMs({ headers }: HttpAnswer, now: Instant): number | undefined {
  if ((headers['x-ratelimit-remaining'] ?? headers['ratelimit-remaining']) !== '0') return undefined
  const reset = headers['x-ratelimit-reset'] ?? headers['ratelimit-reset']
  if (reset === undefined || !/^\d{1,12}$/.test(reset)) return undefined
  return Math.min(LONGEST_PAUSE_MS, Math.max(1000, Number(reset) * 1000 - now))
}

/**
 * What an answer means that is not the one wanted.
 * @param who `notification github`
 * @param words what the forge said, without secrets
 */
export function refusal(who: string, action: string, answer: HttpAnswer, words: string, now: Instant): EdgeError {
  const { status, headers } = answer
  const asked = retryAfterMs(headers, now) ?? spentForMs(answer, now)
  const message = `${who} answered ${action} with HTTP ${status}${words === '' ? '' : `: ${excerpt(words)}`}`
  const isLimited = status === 429 || (status === 403 && (asked !== undefined || /rate limit|abuse/i.test(words)))
  if (isLimited) return new EdgeError('unavailable', 'PH8031', message, { retryAfterMs: asked ?? PAUSE_MS })
  if (status >= 500 || status === 408 || status === 409)
    return new EdgeError('unavailable', 'PH8031', message, { retryAfterMs: asked })
  if (isRedirect(status)) return new EdgeError('rejected', 'PH8032', `${message}; was the repository moved?`)
  return new EdgeError('rejected', 'PH8032', message)
}
