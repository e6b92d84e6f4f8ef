import type { Code } from './codes.ts'

/** Something for the author of a file to mend, where an editor can jump to it. */
export interface Problem {
  readonly severity: 'error' | 'warning'
  readonly code: Code
  readonly file: string
  /** 1-based. */
  readonly line: number
  readonly column: number
  readonly message: string
  /** What to do about it. */
  readonly help?: string
  /** The object that it concerns, where its identity could be read. */
  readonly key?: string
}

/** By place, then code: the same findings always print in the same order. */
export function byPlace(a: Problem, b: Problem): number {
  return (
    compare(a.file, b.file) ||
    a.line - b.line ||
    a.column - b.column ||
    compare(a.code, b.code) ||
    compare(a.message, b.message)
  )
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
