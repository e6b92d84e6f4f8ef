import type { Code } from '../model/codes.ts'
import type { Problem } from '../model/problem.ts'
import type { Path, YamlDocument } from './parse.ts'

/** A problem of one document, before it is known at which line that stands. */
export interface Finding {
  readonly severity: Problem['severity']
  readonly code: Code
  readonly path: Path
  /** Whether the key at the end of the path is meant, or its value. */
  readonly at: 'key' | 'value'
  readonly message: string
  readonly help?: string
}

/** An error at a value, as most findings are. */
export function errorAt(path: Path, code: Code, message: string, help?: string): Finding {
  return { severity: 'error', code, path, at: 'value', message, ...(help !== undefined && { help }) }
}

/** An error at a key: the field as such is the trouble, or what it lacks. */
export function errorAtKey(path: Path, code: Code, message: string, help?: string): Finding {
  return { ...errorAt(path, code, message, help), at: 'key' }
}

/** A warning at a value. */
export function warningAt(path: Path, code: Code, message: string, help?: string): Finding {
  return { ...errorAt(path, code, message, help), severity: 'warning' }
}

/** The finding at its line and column. */
export function toProblem(finding: Finding, document: YamlDocument, file: string, key: string | undefined): Problem {
  const { severity, code, path, at, message, help } = finding
  const place = at === 'key' ? document.placeOfKey(path) : document.placeOf(path)
  return {
    severity,
    code,
    file,
    ...place,
    message,
    ...(help !== undefined && { help }),
    ...(key !== undefined && { key }),
  }
}

/** `spec.providers[0].name`, or `the document` for the root. */
export function dotted(path: Path): string {
  const text = path.map((step) => (/^\d+$/.test(String(step)) ? `[${step}]` : `.${step}`)).join('')
  return text === '' ? 'the document' : text.replace(/^\./, '')
}
