import { wordsOf } from './wire.ts'
import { lastingRefusal } from '../manager-words.ts'
import { answeredWith } from '../refused.ts'
import { retryAfterMs, type HttpAnswer } from '../../http.ts'
import type { Instant } from '../../model/duration.ts'
import { EdgeError } from '../../model/errors.ts'

/** What was asked for, as a message says it. */
export type Action = 'a ping' | 'a submission' | 'a look at a task' | 'the removal of a failed task'

const ENDPOINT_HINT =
  'the endpoint must be a supernode >= 1.0.5 (port 8002 unless configured) or a manager from 2.0.1 to 2.4.0 (port 8080)'
const REMOVED = 'a manager >= 2.4.1 no longer has /preheats: write vendor: dragonfly, and a personal access token'
const OLDEST =
  'a manager 2.0.0 has only /api/v1/preheats, which preheatd does not speak: upgrade it, and from 2.1.59 on write vendor: dragonfly'

/**
 * What an answer means that is not the one wanted.
 * @param who `provider dragonfly-eu`
 * @param secrets what the request carried; no echo of it gets into the message
 */
export function refusal(
  who: string,
  action: Action,
  answer: HttpAnswer,
  secrets: readonly string[],
  now: Instant,
): EdgeError {
  const { status } = answer
  const words = wordsOf(answer)
  const refused = answeredWith(who, action, status, words, secrets)
  if (status === 401 || status === 403) return new EdgeError('rejected', 'PH5007', refused)
  const later = { retryAfterMs: retryAfterMs(answer.headers, now) }
  const lasting = status === 500 && action === 'a submission' ? lastingRefusal(refused, words) : undefined
  if (lasting !== undefined) return lasting
  if (status >= 500 || status === 408 || status === 429) return new EdgeError('unavailable', 'PH5001', refused, later)
  if (status >= 400 && status !== 404 && words !== undefined) return new EdgeError('rejected', 'PH5002', refused)
  return new EdgeError('unintelligible', 'PH5008', `${refused}, which is not how /preheats answers; ${ENDPOINT_HINT}`)
}

/** What it means that the {@link isConsole console} answers. @param isOldest is it a manager 2.0.0? */
export function consoleRefusal(who: string, action: Action, { status }: HttpAnswer, isOldest: boolean): EdgeError {
  const refused = answeredWith(who, action, status, undefined, [])
  return new EdgeError('unintelligible', 'PH5008', `${refused}; ${isOldest ? OLDEST : REMOVED}`)
}

/** The manager's web console: where it sends whoever asks for a path that it does not have, or that page itself. */
export function isConsole({ status, headers, bytes }: HttpAnswer): boolean {
  if (status >= 300 && status < 400) return /^(?:https?:\/\/[^/]+)?\/$/.test(headers['location'] ?? '')
  return status === 200 && (headers['content-type']?.startsWith('text/html') === true || bytes[0] === LESS_THAN)
}

const LESS_THAN = 0x3c
