import { DeadlineError, withDeadline } from '../../deadline.ts'
import type { Code } from '../../model/codes.ts'
import { EdgeError, OperatorError } from '../../model/errors.ts'
import { SourceError } from '../../model/source.ts'

/** One thing that the daemon has to reach, and what came of reaching for it. */
export interface Finding {
  readonly kind: 'source' | 'config' | 'reports' | 'registry' | 'project' | 'pull' | 'provider'
  readonly name: string
  readonly ok: boolean
  /** Undefined: it is ok. */
  readonly code: Code | undefined
  readonly detail: string
  /** What mends it, where the code's own remedy is not the one. */
  readonly help?: string | undefined
  readonly warnings: readonly string[]
  /** Of a Dragonfly manager or a Harbor, as far as it tells. */
  readonly version?: string | undefined
}

type Place = Pick<Finding, 'kind' | 'name'>

/** What a part comes to when it goes well. */
export interface Good {
  readonly detail: string
  readonly version?: string | undefined
  readonly warnings?: readonly string[]
}

/** One part; longer than any request of it, so that what went wrong is said by whoever knows. */
const PART_MS = 60_000

/**
 * Runs one part to its end, whatever that is.
 * @param silent the code for no answer in time
 */
export async function attempt(
  place: Place,
  silent: Code,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<Good>,
): Promise<Finding> {
  try {
    const { detail, version, warnings = [] } = await withDeadline(PART_MS, signal, work)
    return { ...place, ok: true, code: undefined, detail, version, warnings }
  } catch (error) {
    if (signal.aborted) throw signal.reason
    const failed = (code: Code, detail: string, help?: string) => ({
      ...place,
      ok: false,
      code,
      detail,
      help,
      warnings: [],
    })
    if (error instanceof OperatorError) return failed(error.code, error.message, error.help)
    if (error instanceof EdgeError || error instanceof SourceError) return failed(error.code, error.message)
    if (error instanceof DeadlineError) return failed(silent, error.message)
    throw error
  }
}
