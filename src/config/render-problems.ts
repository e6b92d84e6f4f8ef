import picocolors from 'picocolors'
import { codes } from '../model/codes.ts'
import { excerpt } from '../model/errors.ts'
import type { Problem } from '../model/problem.ts'

/** More of one line helps nobody. */
const MAX_COLUMNS = 160

/**
 * `file:line:column: severity CODE message`; with the file's text a code frame, in which what looks like a secret is
 * masked; and what to do about it.
 * @param source the file's text; undefined: no frame
 */
export function formatProblem(problem: Problem, source?: string, colour = false): string {
  const paint = picocolors.createColors(colour)
  const severity = problem.severity === 'error' ? paint.red('error') : paint.yellow('warning')
  // A path is a name that somebody chose, and a terminal obeys what it is shown.
  const place = `${excerpt(problem.file, 4096)}:${problem.line}:${problem.column}`
  const lines = [`${paint.bold(place)}: ${severity} ${problem.code} ${excerpt(problem.message, 1000)}`]
  const frame = source === undefined ? [] : codeFrame(source, problem)
  lines.push(...frame.map((line) => paint.dim(line)))
  lines.push(`  ${paint.cyan('help:')} ${problem.help ?? codes[problem.code].remedy}`)
  return lines.join('\n')
}

/** The line above, the line itself and a caret under the column. */
function codeFrame(source: string, { line, column }: Problem): string[] {
  const lines = source.split(/\r?\n/)
  if (lines[line - 1] === undefined) return []
  const width = String(line).length
  const shown = masked(lines.slice(0, line))
  const numbered = [line - 1, line]
    .filter((number) => number > 0)
    .map((number) => `  ${String(number).padStart(width)} | ${visible(shown[number - 1]!)}`)
  const caret = column <= MAX_COLUMNS ? [`  ${' '.repeat(width)} | ${' '.repeat(column - 1)}^`] : []
  return [...numbered, ...caret]
}

function visible(text: string): string {
  const safe = text.replaceAll(/\p{Cc}|\p{Cf}|\p{Zl}|\p{Zp}/gu, ' ')
  return safe.length <= MAX_COLUMNS ? safe : `${safe.slice(0, MAX_COLUMNS - 1)}…`
}

const SECRET_FIELD =
  /^(?<before>\s*(?:-\s+)*)(?<key>["']?[\w.-]*(?:password|passwd|token|secret|key)[\w.-]*["']?)(?<colon>\s*:(?:\s+|$))(?<value>.*)$/i
const SECRET_IN_FLOW =
  /(?<key>["']?[\w.-]*(?:password|passwd|token|secret|key)[\w.-]*["']?\s*:\s*)(?<value>"[^"]*"|'[^']*'|[^\s,{}[\]][^,}\]]*)/gi
const USER_INFO = /\/\/[^\s/@]+@/g

/** Lines with values masked that stand under a key that sounds like a secret, block scalars and nested ones included. */
function masked(lines: readonly string[]): string[] {
  let secretIndent: number | undefined
  return lines.map((line) => {
    const indent = line.search(/\S/)
    if (secretIndent !== undefined && (indent === -1 || indent > secretIndent)) return line.replace(/\S.*$/, '***')
    secretIndent = undefined
    const field = SECRET_FIELD.exec(line)?.groups
    if (field !== undefined && !/^[{[]/.test(field['value']!)) {
      secretIndent = indent
      const value = /^(?:#.*)?$/.test(field['value']!) ? field['value']! : '***'
      return `${field['before']!}${field['key']!}${field['colon']!}${value}`
    }
    return line.replaceAll(SECRET_IN_FLOW, '$<key>***').replaceAll(USER_INFO, '//***@')
  })
}
