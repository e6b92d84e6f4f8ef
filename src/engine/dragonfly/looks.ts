import { setMaxListeners } from 'node:events'
import { MAX_BYTES, type Manager } from './manager.ts'
import { isRecordMissing } from './refusal.ts'
import { parseJob, parseJobs, type JobRow } from './wire.ts'
import { waitFor } from '../../deadline.ts'
import { EdgeError } from '../../model/errors.ts'
import type { Clock } from '../../model/clock.ts'
import type { Instant } from '../../model/duration.ts'

interface Page {
  readonly rows: readonly JobRow[]
  readonly bytes: number
  readonly isLast: boolean
}

/** Of a page, so that one which grew is noticed before it hurts. */
const MAX_PAGE_BYTES = 8 * 2 ** 20
/** The first page is a part of the largest: how long rows are shows only then. */
const FIRST_PAGE = 256
const LARGEST_PAGE = 1024
const MAX_PAGES = 32
/** From here a page costs less than the looks that it spares. The loop has at most 16 looks at a provider under way. */
const MANY = 12
/** Rows of a walk that nobody waited for yet are kept this long and up to this size: most jobs are due together. */
const KEPT_MS = 5_000
const KEPT_BYTES = 16 * 2 ** 20

interface Waiting {
  readonly id: string
  /** An older row of a job that has not ended is no answer. */
  readonly notBefore: Instant
  readonly signal: AbortSignal
  readonly resolve: (row: JobRow | undefined) => void
  readonly reject: (error: unknown) => void
}

/**
 * Looks at jobs of one type, a request each while they are few. When many wait, a walk through the list answers them
 * all, and those who come in the next seconds.
 */
export class Looks implements AsyncDisposable {
  readonly #type: 'preheat' | 'get_task'
  readonly #manager: Manager
  readonly #clock: Clock
  readonly #life = new AbortController()
  #waiting: Waiting[] = []
  #isPumping = false
  #pageSize = FIRST_PAGE
  #kept: { readonly at: Instant; readonly rows: ReadonlyMap<string, JobRow> } | undefined

  constructor(type: 'preheat' | 'get_task', manager: Manager, clock: Clock) {
    this.#type = type
    this.#manager = manager
    this.#clock = clock
    // As many requests wait under it as there are looks; Node takes more than ten for a leak.
    setMaxListeners(0, this.#life.signal)
  }

  /**
   * One job's row; undefined: the manager has no record of it. A row from a list does not tell its clusters.
   * @param id a manager's: digits
   * @param notBefore when the row was worth a look
   * @throws {EdgeError} for a refusal, silence or nonsense; the signal's reason
   */
  async look(id: string, notBefore: Instant, signal: AbortSignal): Promise<JobRow | undefined> {
    signal.throwIfAborted()
    const kept = this.#keptRow(id, notBefore)
    if (kept !== undefined) return kept
    const answer = new Promise<JobRow | undefined>((resolve, reject) => {
      this.#waiting.push({ id, notBefore, signal, resolve, reject })
    })
    if (!this.#isPumping) void this.#pump()
    return await waitFor(answer, signal)
  }

  /** One job's row by a request of its own, clusters and all. */
  async ask(id: string, signal: AbortSignal): Promise<JobRow | undefined> {
    await this.#manager.turn(signal)
    return await this.#ask(id, signal)
  }

  /**
   * Pages of the list from the newest row on until whoever reads stops. One that is too long is asked for again in
   * halves; a row may come twice when jobs are added meanwhile.
   * @param hasTurn has the turn for the first page been taken?
   */
  async *pages(hasTurn: boolean, signal: AbortSignal): AsyncGenerator<Page> {
    let size = this.#pageSize
    let offset = 0
    let longest = 0
    try {
      for (let asked = 0; asked < MAX_PAGES; asked += 1) {
        if (asked > 0 || !hasTurn) await this.#manager.turn(signal)
        const page = await this.#page(offset, size, signal)
        if (page === undefined) {
          // A power of two: what was read so far is a whole number of the smaller pages.
          size /= 2
          longest = MAX_PAGE_BYTES
          continue
        }
        longest = Math.max(longest, page.bytes)
        offset += size
        yield page
        if (page.isLast) return
      }
    } finally {
      this.#pageSize = longest < MAX_PAGE_BYTES / 4 ? Math.min(LARGEST_PAGE, size * 2) : size
    }
  }

  /** Undefined: it is too long. */
  async #page(offset: number, size: number, signal: AbortSignal): Promise<Page | undefined> {
    const path = `/oapi/v1/jobs?type=${this.#type}&page=${offset / size + 1}&per_page=${size}`
    const asked = await this.#manager
      .get(path, size === 1 ? MAX_BYTES : MAX_PAGE_BYTES, signal)
      .catch((error: unknown) => {
        if (size > 1 && error instanceof EdgeError && error.fault === 'unintelligible') return undefined
        throw error
      })
    if (asked === undefined) return undefined
    const rows = asked.answer.status === 200 ? parseJobs(asked.answer.bytes) : undefined
    if (rows === undefined) throw asked.refusal('the list of jobs')
    return {
      rows: rows.filter((row) => row !== undefined).filter(({ type }) => type === this.#type),
      bytes: asked.answer.bytes.length,
      isLast: rows.length < size,
    }
  }

  async #ask(id: string, signal: AbortSignal): Promise<JobRow | undefined> {
    const asked = await this.#manager.get(`/oapi/v1/jobs/${id}`, MAX_BYTES, signal)
    if (isRecordMissing(asked.answer)) return undefined
    const row = asked.answer.status === 200 ? parseJob(asked.answer.bytes) : undefined
    if (row === undefined) throw asked.refusal('a look at a job')
    return row
  }

  async #pump(): Promise<void> {
    const { signal } = this.#life
    this.#isPumping = true
    try {
      while (this.#waiting.length > 0) {
        await this.#manager.turn(signal)
        this.#waiting = this.#waiting.filter((one) => !one.signal.aborted)
        if (this.#waiting.length >= MANY) await this.#walk(signal)
        else {
          const one = this.#waiting.shift()
          if (one !== undefined) this.#ask(one.id, signal).then(one.resolve, one.reject)
        }
      }
    } catch (error) {
      for (const one of this.#waiting.splice(0)) one.reject(error)
    } finally {
      this.#isPumping = false
    }
  }

  /** Who is not on the list is asked for by id; who comes meanwhile is answered as well. */
  async #walk(signal: AbortSignal): Promise<void> {
    const at = this.#clock.now()
    const wanted = this.#waiting.splice(0)
    const kept = new Map<string, JobRow>()
    let open = wanted
    let bytes = 0
    try {
      for await (const page of this.pages(true, signal)) {
        const found = new Map(page.rows.map((row) => [`${row.id}`, row]))
        bytes += page.bytes
        if (bytes <= KEPT_BYTES) for (const [id, row] of found) kept.set(id, row)
        open = open.filter((one) => {
          const row = found.get(one.id)
          if (row === undefined || !answers(row, one.notBefore, at)) return true
          one.resolve(row)
          return false
        })
        const oldest = Math.min(...page.rows.map(({ id }) => id))
        if (open.every(({ id }) => Number(id) >= oldest)) break
      }
    } catch (error) {
      for (const one of open) one.reject(error)
      return
    }
    this.#kept = { at, rows: kept }
    for (const one of open) this.ask(one.id, signal).then(one.resolve, one.reject)
  }

  #keptRow(id: string, notBefore: Instant): JobRow | undefined {
    if (this.#kept === undefined) return undefined
    const { at, rows } = this.#kept
    const age = this.#clock.now() - at
    if (age < 0 || age >= KEPT_MS) {
      this.#kept = undefined
      return undefined
    }
    const row = rows.get(id)
    return row !== undefined && answers(row, notBefore, at) ? row : undefined
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new Error('the engine was closed'))
    this.#kept = undefined
    return Promise.resolve()
  }
}

/** Has the row ended, or was it read when it was time? */
function answers(row: JobRow, notBefore: Instant, at: Instant): boolean {
  return row.state !== 'PENDING' || notBefore <= at
}
