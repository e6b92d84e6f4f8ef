import { codes, type Code } from '../model/codes.ts'

export type RefusalStatus = 400 | 401 | 404 | 405 | 409 | 413 | 415 | 421 | 500 | 502 | 503 | 504

/** Problem details (RFC 9457) with our code beside them. */
interface ProblemBody {
  readonly type: 'about:blank'
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: Code
  readonly help: string
  /** Names that would have been known, at most {@link KNOWN}. */
  readonly known?: readonly string[]
}

/** Names that one answer lists. */
export const KNOWN = 50

/** A request that is answered with a problem instead of a result. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly status: RefusalStatus
  readonly code: Code
  readonly known: readonly string[] | undefined
  /** Where the code's own remedy is not the one. */
  readonly help: string | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: RefusalStatus,
    code: Code,
    message: string,
    more: {
      readonly known?: readonly string[]
      readonly help?: string | undefined
      readonly headers?: Readonly<Record<string, string>>
    } = {},
  ) {
    super(message)
    this.status = status
    this.code = code
    this.known = more.known
    this.help = more.help
    this.headers = more.headers ?? {}
  }
}

export function answerOf({ status, code, message, known, help, headers }: Refusal): Response {
  const { title, remedy } = codes[code]
  const body: ProblemBody = {
    type: 'about:blank',
    title,
    status,
    detail: message,
    code,
    help: help ?? remedy,
    ...(known && { known: known.slice(0, KNOWN) }),
  }
  return new Response(JSON.stringify(body), {
    status,
    headers: { ...headers, 'content-type': 'application/problem+json' },
  })
}
