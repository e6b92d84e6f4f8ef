import { lastingRefusal } from '../manager-words.ts'
import { answeredWith } from '../refused.ts'
import { EdgeError } from '../../model/errors.ts'
import { retryAfterMs, type HttpAnswer } from '../../http.ts'
import type { Instant } from '../../model/duration.ts'

/** What was asked for, as a message says it. */
export type Action =
  | 'the question whether it is healthy'
  | 'a submission'
  | 'a look at a job'
  | 'a look for a blob'
  | 'the list of jobs'
  | 'the list of clusters'

const ENDPOINT_HINT =
  'the endpoint must be the manager’s REST address (port 8080 unless configured), without /oapi or a console before it'

/** The limiter counts by the second and names no delay. */
const SHORTEST_PAUSE_MS = 1_000
const LIMITED_HINT = ' (as it does for an unknown cluster, and for one younger than three minutes)'

/** One such cluster fails the list of all (manager/service/cluster.go `GetClusters`, v2.5.1). */
const UNLISTABLE =
  'one of its clusters has not exactly one cluster of seed peers; until that is mended it lists none, so write clusterIds'

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
  const words = wordsOf(answer)
  const { status, headers } = answer
  const refused = answeredWith(who, action, status, words, secrets)
  const pauseMs = retryAfterMs(headers, now)
  const named = pauseMs === undefined ? undefined : Math.max(SHORTEST_PAUSE_MS, pauseMs)
  if (status === 401 || status === 403) return new EdgeError('rejected', 'PH5007', refused)
  if (status === 429) {
    const hint = action === 'a submission' ? LIMITED_HINT : ''
    return new EdgeError('unavailable', 'PH5001', refused + hint, { retryAfterMs: named ?? SHORTEST_PAUSE_MS })
  }
  if ((action === 'a submission' || action === 'a look for a blob') && lacksCluster(answer))
    return new EdgeError('rejected', 'PH5009', `${refused}: it has no such cluster`)
  const lasting = status === 500 && action === 'a submission' ? lastingRefusal(refused, words) : undefined
  if (lasting !== undefined) return lasting
  if (action === 'the list of clusters' && /^invalid number of the seed peer cluster$/.test(words ?? ''))
    return new EdgeError('rejected', 'PH5009', `${refused}: ${UNLISTABLE}`)
  if (status >= 500 || status === 408) return new EdgeError('unavailable', 'PH5001', refused, { retryAfterMs: named })
  if (status >= 400 && status !== 404 && words !== undefined) return new EdgeError('rejected', 'PH5002', refused)
  return new EdgeError('unintelligible', 'PH5008', `${refused}, which is not a manager’s answer; ${ENDPOINT_HINT}`)
}

/** The permission that a token lacks, as a manager since 2.2.2 says it; other 403s are about the token itself. */
export function lacksPermission(answer: HttpAnswer): boolean {
  return answer.status === 403 && /permission/i.test(wordsOf(answer) ?? '')
}

/** A manager of 2.1.57 to 2.1.65 knows two scopes, and no `single_seed_peer` (manager/types/job.go, v2.1.59). */
export function refusesScope(answer: HttpAnswer): boolean {
  return answer.status === 422 && /\.Scope' Error:.*'oneof' tag/.test(wordsOf(answer) ?? '')
}

/**
 * A manager that cannot be asked for a blob: it knows no get_task (before 2.1.55), or none by URL (before 2.1.62).
 * @see dragonflyoss/dragonfly manager/handlers/job.go `CreateJob`, v2.1.59
 */
export function cannotProbe(answer: HttpAnswer): boolean {
  return answer.status === 422 && /^Unknow type|GetTask\w*\.Args\.TaskID'/.test(wordsOf(answer) ?? '')
}

/** Is this the manager's own "no such record", and not some proxy's page? */
export function isRecordMissing(answer: HttpAnswer): boolean {
  return answer.status === 404 && /^(?:record )?not found$/i.test(memberOf(answer.bytes) ?? '')
}

/**
 * Is the cluster that a job names not there? Said before 2.1.63, which has no limiter that would hide it, and later while
 * the limiter still remembers a cluster that was deleted (manager/service/job.go, v2.1.59 and v2.2.3 up).
 */
function lacksCluster(answer: HttpAnswer): boolean {
  const words = answer.status === 404 ? (memberOf(answer.bytes) ?? '') : ''
  return isRecordMissing(answer) || /^scheduler cluster id \d+: record not found$/.test(words)
}

/** What the manager says in words; undefined for a page made for people. */
function wordsOf({ bytes, headers }: HttpAnswer): string | undefined {
  const isText = headers['content-type']?.startsWith('text/plain') === true && bytes.length > 0
  return memberOf(bytes) ?? (isText ? bytes.subarray(0, MOST_BYTES).toString('utf8') : undefined)
}

const MOST_BYTES = 65_536
// The first member is enough, and of a body with two objects back to back it is all that parses: a POST whose envelope
// does not bind is answered by the limiter and again by the handler (manager/middlewares/ratelimiter.go, v2.1.63 up).
const FIRST_MEMBER = /^\s*\{\s*"(?:message|errors)"\s*:\s*("(?:[^"\\]|\\.)*")/

function memberOf(bytes: Buffer): string | undefined {
  const quoted = FIRST_MEMBER.exec(bytes.subarray(0, MOST_BYTES).toString('utf8'))?.[1]
  return quoted === undefined ? undefined : unquote(quoted)
}

function unquote(quoted: string): string {
  try {
    return String(JSON.parse(quoted))
  } catch {
    return quoted
  }
}
