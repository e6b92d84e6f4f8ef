import type { HttpAnswer } from '../../http.ts'
import type { Instant } from '../../model/duration.ts'
import type { Secret } from '../../model/secret.ts'

/** A preheat task as either dialect tells it. */
export interface TaskRow {
  readonly id: string
  readonly state: 'open' | 'success' | 'failure'
  /** A supernode's words; a manager has none. */
  readonly errorMsg: string | undefined
  /** A manager's times are Go's own text and change while the task runs: they are not read. */
  readonly finishedAt: Instant | undefined
}

/** A submission that was taken. */
export interface Taken {
  readonly id: string
  /** It is an earlier task of the same URL, which has ended: nothing was begun. */
  readonly isEarlier: boolean
}

/** Which of the two engines speaks like this. */
export type Dialect = 'supernode' | 'manager'

// Supernode: SHA-256 in hex. Manager: a decimal row id, as a string.
const SUPERNODE_ID = /^[0-9a-f]{64}$/
const MANAGER_ID = /^[1-9]\d{0,18}$/
const EARLIER = /preheat task already exists, id:([0-9a-f]{64})(?![0-9a-f])/

/** What each dialect's words for a status mean: contracts/dragonfly.md §5.1 and §5.2. */
const STATES: ReadonlyMap<unknown, TaskRow['state']> = new Map([
  ['WAITING', 'open'],
  ['RUNNING', 'open'],
  ['SUCCESS', 'success'],
  ['FAILED', 'failure'],
  ['FAIL', 'failure'],
])

/** Could an engine have given this id? Only such an id gets into a path. */
export function isTaskId(id: unknown): id is string {
  return typeof id === 'string' && (SUPERNODE_ID.test(id) || MANAGER_ID.test(id))
}

/**
 * Body of `POST /preheats`, the same in each dialect. There is no scope, no cluster and no platform.
 * @see dragonflyoss/Dragonfly apis/types/preheat_create_request.go, v1.0.6; dragonflyoss/dragonfly
 * manager/types/preheat.go, v2.4.0
 */
export function preheatBody(url: string, authorization: Secret | undefined): string {
  return JSON.stringify({
    type: 'image',
    url,
    ...(authorization && { headers: { Authorization: authorization.reveal() } }),
  })
}

/** The task that a submission began or found; undefined when the answer is neither. */
export function parseTaken({ status, bytes }: HttpAnswer): Taken | undefined {
  const body = parseJson(bytes)
  if (status === 208 || status === 409) {
    const id = taskInTheWay(at(body, 'message'))
    return id === undefined ? undefined : { id, isEarlier: true }
  }
  const id = status === 201 ? at(body, 'ID') : status === 200 ? at(body, 'id') : undefined
  return isTaskId(id) ? { id, isEarlier: false } : undefined
}

/** The finished task that a supernode will not begin anew, by its words. */
export function taskInTheWay(words: unknown): string | undefined {
  return typeof words === 'string' ? EARLIER.exec(words)?.[1] : undefined
}

/** A task; undefined when the answer is none, or is another than the one asked for. */
export function parseTask({ status, bytes }: HttpAnswer, id: string): TaskRow | undefined {
  const row = parseJson(bytes)
  const state = STATES.get(at(row, 'status'))
  if (status !== 200 || state === undefined || (at(row, 'ID') ?? at(row, 'id')) !== id) return undefined
  const errorMsg = at(row, 'errorMsg')
  return {
    id,
    state,
    errorMsg: typeof errorMsg === 'string' && errorMsg !== '' ? errorMsg : undefined,
    finishedAt: state === 'open' ? undefined : instantOf(at(row, 'finishTime')),
  }
}

/**
 * Which engine says here that it has no such task; undefined when nobody does, as for some proxy's page.
 * @see dragonflyoss/Dragonfly supernode/daemon/mgr/preheat/manager.go, v1.0.6; contracts/dragonfly.md §5.2
 */
export function whoseNoSuchTask({ status, bytes }: HttpAnswer): Dialect | undefined {
  const body = parseJson(bytes)
  const message = at(body, 'message')
  if (typeof message !== 'string') return undefined
  if (status === 404 && at(body, 'code') === 404 && / doesn't exists?$/.test(message)) return 'supernode'
  return (status === 500 || status === 404) && /(?:^|desc = )record not found$/.test(message) ? 'manager' : undefined
}

/** What an engine says in words; undefined for a page made for people. */
export function wordsOf({ bytes, headers }: HttpAnswer): string | undefined {
  const body = parseJson(bytes)
  const said = at(body, 'message') ?? at(body, 'errors')
  if (typeof said === 'string') return said
  const isText = headers['content-type']?.startsWith('text/plain') === true && bytes.length > 0
  return isText ? bytes.toString('utf8') : undefined
}

/** ISO 8601 of the supernode alone; an epoch of 0 is its "not yet". */
function instantOf(time: unknown): Instant | undefined {
  if (typeof time !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/.test(time)) return undefined
  const at = Date.parse(time)
  return at > 0 ? at : undefined
}

/** Undefined, which no JSON text means, for what is none. */
function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

function at(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[key] : undefined
}
