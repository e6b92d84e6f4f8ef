import type { Code } from './codes.ts'

/** What the caller can do about an edge that did not do as asked. */
export type Fault =
  /** Our request is wrong; the same request will fail again. */
  | 'rejected'
  /** Nobody answered, or with a 5xx or 429; try later. */
  | 'unavailable'
  /** Answered, but not in the language that this driver speaks. */
  | 'unintelligible'

/**
 * An engine, a registry or a git remote that did not do as asked. The message goes into reports: it holds no secret and
 * at most 200 escaped characters of what the other side wrote.
 */
export class EdgeError extends Error {
  override readonly name = 'EdgeError'
  readonly fault: Fault
  readonly code: Code
  /** From `Retry-After`, when the other side named a delay. */
  readonly retryAfterMs: number | undefined

  constructor(
    fault: Fault,
    code: Code,
    message: string,
    options: ErrorOptions & { retryAfterMs?: number | undefined } = {},
  ) {
    super(message, options)
    this.fault = fault
    this.code = code
    this.retryAfterMs = options.retryAfterMs
  }
}

/** Something that a person has to mend in the daemon's own surroundings: a secret, a file, a setting. */
export class OperatorError extends Error {
  override readonly name = 'OperatorError'
  readonly code: Code
  readonly help: string | undefined

  constructor(code: Code, message: string, options: ErrorOptions & { help?: string } = {}) {
    super(message, options)
    this.code = code
    this.help = options.help
  }
}

/** Text from outside as at most `limit` characters without control characters or line breaks. */
export function excerpt(text: string, limit = 200): string {
  const clean = text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim()
  return clean.length <= limit ? clean : `${clean.slice(0, limit - 1)}…`
}

/** Somebody else has the task: this worker was taken for dead, and what it found out is not its to write. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost'

  constructor(taskId: string) {
    super(`task ${taskId} was taken over`)
  }
}
