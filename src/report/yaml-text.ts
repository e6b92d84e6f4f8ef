import { Lexer, Parser, parse, stringify } from 'yaml'

/** Files of ours on the branch stay far below; a bigger one was not written by us. */
const MAX_CHARACTERS = 4 * 2 ** 20
/** Ours nest eight deep. */
const MAX_DEPTH = 32

/** The one way in which reports are written: block style, no folding, no anchors, undefined left out. */
export function toYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false })
}

/**
 * What a file of the branch says, undefined where it is no YAML that we would write: whoever may push to the branch
 * may have written it.
 */
export function fromYaml(text: string): unknown {
  if (text.length > MAX_CHARACTERS) return undefined
  try {
    return isShallow(text) ? parse(text, { maxAliasCount: 0, logLevel: 'silent' }) : undefined
  } catch {
    return undefined
  }
}

/** Deep nesting can end the process inside the composer, uncatchably (gitops-practices.md §0); the lexer and parser are loops. */
function isShallow(text: string): boolean {
  const parser = new Parser()
  for (const token of new Lexer().lex(text)) {
    Array.from(parser.next(token))
    if (parser.stack.length > 2 * MAX_DEPTH) return false
  }
  return true
}

/** A field of a mapping; undefined where there is no such mapping or field. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined
}

/** The items of a sequence; empty where there is none. */
export function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : []
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** A natural number, 0 where there is none. */
export function countOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0
}

/** An instant as {@link formatInstant} writes it, in milliseconds. */
export function instantOf(value: unknown): number | undefined {
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,3})?Z$/.test(value)) return undefined
  const at = Date.parse(value)
  return Number.isNaN(at) ? undefined : at
}
