import type { Clock } from '../model/clock.ts'
import type { Code } from '../model/codes.ts'
import { EdgeError, OperatorError, excerpt } from '../model/errors.ts'
import type { Notice } from '../model/notice.ts'

/** One thing to deliver. */
export interface Parcel {
  readonly severity: Notice['severity']
  /** A younger one with the same key takes the place of one that still waits; undefined: each is delivered. */
  readonly key: string | undefined
  /** What it is, for a log: `ExecutionFailed`, `status of preheatd/eu`. */
  readonly subject: string
}

/**
 * What became of one parcel. `unchanged`: it stood there already. `full`: the commit has as many statuses as we give it.
 * `dropped`: the queue was full, or the daemon ended. `duplicate`: the same was told within five minutes.
 */
export interface Outcome {
  /** Name of the entry in `notifications`. */
  readonly notification: string
  readonly subject: string
  readonly kind: 'delivered' | 'unchanged' | 'full' | 'failed' | 'dropped' | 'duplicate'
  /** Why it failed. */
  readonly error?: { readonly code: Code | undefined; readonly message: string }
}

/** How a delivery that was taken ended. */
export type Delivered = Extract<Outcome['kind'], 'delivered' | 'unchanged' | 'full'>

export interface OutboxPorts {
  readonly clock: Clock
  /** From 0 to below 1. */
  readonly random: () => number
  /** Neither throws nor is waited for. */
  readonly onOutcome: (outcome: Outcome) => void
}

const ATTEMPTS = 4
const SHORTEST_BACKOFF_MS = 2_000
const LONGEST_BACKOFF_MS = 30_000
const MAX_WAITING = 1_000
/** How long {@link Outbox} goes on delivering after it was closed. */
const FLUSH_MS = 5_000

/** A bounded queue before one place of delivery. Whoever puts something in never waits. */
export class Outbox<P extends Parcel> implements AsyncDisposable {
  readonly #name: string
  readonly #send: (parcel: P, signal: AbortSignal) => Promise<Delivered>
  readonly #ports: OutboxPorts
  readonly #cutOff = new AbortController()
  #waiting: P[] = []
  #working: Promise<void> | undefined
  #isClosed = false

  /** @param send delivers one, once, unless the signal has aborted; an `unavailable` EdgeError is tried again */
  constructor(name: string, send: (parcel: P, signal: AbortSignal) => Promise<Delivered>, ports: OutboxPorts) {
    this.#name = name
    this.#send = send
    this.#ports = ports
  }

  /** When there is no room, the oldest info makes room, then the oldest of all. */
  put(parcel: P): void {
    if (this.#isClosed) {
      this.#settle(parcel, 'dropped')
      return
    }
    if (parcel.key !== undefined) this.#waiting = this.#waiting.filter(({ key }) => key !== parcel.key)
    this.#waiting.push(parcel)
    if (this.#waiting.length > MAX_WAITING) {
      const info = this.#waiting.findIndex(({ severity }) => severity === 'info')
      const [dropped] = this.#waiting.splice(Math.max(0, info), 1)
      if (dropped !== undefined) this.#settle(dropped, 'dropped')
    }
    this.#working ??= this.#work()
  }

  async #work(): Promise<void> {
    // Whoever puts something in is not kept by the first delivery.
    await Promise.resolve()
    for (let parcel = this.#waiting.shift(); parcel !== undefined; parcel = this.#waiting.shift())
      await this.#deliver(parcel)
    this.#working = undefined
  }

  async #deliver(parcel: P): Promise<void> {
    const { signal } = this.#cutOff
    const { clock, random } = this.#ports
    for (let attempt = 1; ; attempt++) {
      try {
        this.#settle(parcel, await this.#send(parcel, signal))
        return
      } catch (error) {
        if (isCutOff(signal)) {
          this.#settle(parcel, 'dropped')
          return
        }
        const isPassing = error instanceof EdgeError && error.fault === 'unavailable'
        if (!isPassing || attempt === ATTEMPTS) {
          this.#fail(parcel, error)
          return
        }
        const wait = Math.max(backoffMs(attempt, random()), error.retryAfterMs ?? 0)
        // An abort ends the next attempt before it begins.
        await clock.sleepUntil(clock.now() + wait, signal).catch(() => undefined)
      }
    }
  }

  #settle({ subject }: P, kind: Outcome['kind']): void {
    this.#ports.onOutcome({ notification: this.#name, subject, kind })
  }

  #fail({ subject }: P, error: unknown): void {
    const code = error instanceof EdgeError || error instanceof OperatorError ? error.code : undefined
    const message = excerpt(error instanceof Error ? error.message : String(error))
    this.#ports.onOutcome({ notification: this.#name, subject, kind: 'failed', error: { code, message } })
  }

  /** Takes no more, delivers what it can within five seconds, and drops the rest. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    if (this.#working === undefined) return
    const { clock } = this.#ports
    const patience = new AbortController()
    const over = clock.sleepUntil(clock.now() + FLUSH_MS, patience.signal).catch(() => undefined)
    await Promise.race([this.#working, over])
    patience.abort()
    this.#cutOff.abort(new Error('the daemon ends'))
    await this.#working
  }
}

/** Between two seconds and 6, 18 and at last 30 s, anywhere in between, so that daemons do not come back together. */
function backoffMs(attempt: number, random: number): number {
  const longest = Math.min(LONGEST_BACKOFF_MS, SHORTEST_BACKOFF_MS * 3 ** attempt)
  return Math.round(SHORTEST_BACKOFF_MS + random * (longest - SHORTEST_BACKOFF_MS))
}

/** In a function, since the compiler takes it for unchanged across an await. */
function isCutOff(signal: AbortSignal): boolean {
  return signal.aborted
}
