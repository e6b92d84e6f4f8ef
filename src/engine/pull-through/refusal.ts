import { redact } from '../redact.ts'
import { retryAfterMs, type HttpAnswer } from '../../http.ts'
import type { Instant } from '../../model/duration.ts'
import { EdgeError, excerpt } from '../../model/errors.ts'

/** For a 429 that names no delay. */
const PAUSE_MS = 5_000
const SHORTEST_PAUSE_MS = 1_000

/** Who gave an answer that is not the one wanted, and to what. */
export interface Refused {
  /** `provider edge-cache` */
  readonly who: string
  /** What was asked for, as an infinitive: `read blob sha256:… of library/app`. */
  readonly what: string
  /** The other host that the cache sent us to; undefined: it answered itself. */
  readonly elsewhere: string | undefined
  /** What was sent to get it; no echo of it gets into the message. */
  readonly secrets: readonly string[]
}

/** What an answer means. */
export function refusal({ who, what, elsewhere, secrets }: Refused, answer: HttpAnswer, now: Instant): EdgeError {
  const { status, headers, bytes } = answer
  const { words, upstream } = saidBy(bytes)
  const text = excerpt(redact(words, secrets))
  const at = elsewhere === undefined ? '' : ` at ${excerpt(elsewhere, 100)}`
  const said = `${who} cannot ${what}: HTTP ${status}${at}${text === '' ? '' : `: ${text}`}`
  const later = (pauseMs: number | undefined) => new EdgeError('unavailable', 'PH5001', said, { retryAfterMs: pauseMs })
  if (status === 404 || ABSENT.has(upstream))
    return new EdgeError('rejected', 'PH6003', `${said}; does it cache this registry, and is its upstream healthy?`)
  if (CLOSED.has(upstream))
    return new EdgeError('rejected', 'PH6002', `${said}; its upstream refuses the cache’s own credential`)
  if (status === 429 || upstream === 'TOOMANYREQUESTS')
    return later(Math.max(SHORTEST_PAUSE_MS, retryAfterMs(headers, now) ?? PAUSE_MS))
  if (status >= 500 || status === 408) return later(retryAfterMs(headers, now))
  // A signed address that has expired, not our credential: the next reading gets a fresh one.
  if (elsewhere !== undefined && (status === 401 || status === 403)) return later(undefined)
  if (status === 401 || status === 403) return new EdgeError('rejected', 'PH5007', said)
  if (status >= 400) return new EdgeError('rejected', 'PH5002', said)
  return new EdgeError('unintelligible', 'PH5008', `${said}, which is not a registry’s answer`)
}

const ABSENT = new Set<unknown>(['MANIFEST_UNKNOWN', 'BLOB_UNKNOWN', 'NAME_UNKNOWN'])
const CLOSED = new Set<unknown>(['UNAUTHORIZED', 'DENIED'])

/**
 * What the spec's `{"errors":[{"code","message"}]}` says; pages made for people say nothing. Distribution wraps the
 * refusals of its upstream in a 500 with code `UNKNOWN`: as `detail.errors` for manifests, as `detail` for blobs (2.8.2,
 * tried).
 */
function saidBy(bytes: Buffer): { readonly words: string; readonly upstream: unknown } {
  const [outer] = errorsIn(jsonOf(bytes))
  const detail = outer?.['code'] === 'UNKNOWN' ? outer['detail'] : undefined
  const inner = errorsIn(detail)[0] ?? recordOf(detail)
  const words = [outer?.['code'], outer?.['message'], inner?.['code'], inner?.['message']]
  return { words: words.filter((word) => typeof word === 'string').join(': '), upstream: inner?.['code'] }
}

function errorsIn(value: unknown): (Readonly<Record<string, unknown>> | undefined)[] {
  const errors = recordOf(value)?.['errors']
  return Array.isArray(errors) ? errors.map(recordOf) : []
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
}

/** JSON as a value; undefined for what is not JSON. */
export function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}
