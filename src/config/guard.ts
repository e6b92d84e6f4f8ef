import { CST, Lexer, Parser } from 'yaml'
import type { Code } from '../model/codes.ts'

/** Bytes of one file. */
export const MAX_FILE_BYTES = 2 ** 20

/** Collections inside collections. */
const MAX_DEPTH = 64

/** Why a file is refused, and at which UTF-16 offset of its text. */
export interface Refusal {
  readonly code: Code
  readonly offset: number
  readonly message: string
  readonly help?: string
}

export type Guarded =
  | { readonly ok: true; readonly text: string; readonly tokens: readonly CST.Token[] }
  | { readonly ok: false; readonly text: string; readonly refusals: readonly Refusal[] }

/**
 * Looks at a file before the YAML composer does. The composer recurses, and a deeply nested flow sequence makes V8 abort
 * the process when it is parsed a second time (gitops-practices.md §0); the lexer and the CST parser are iterative, so
 * depth is counted there and the walk stops at the first level too many.
 */
export function guard(bytes: Uint8Array): Guarded {
  if (bytes.byteLength > MAX_FILE_BYTES)
    return refused('', [
      { code: 'PH1001', offset: 0, message: `${bytes.byteLength} bytes; the limit is ${MAX_FILE_BYTES}` },
    ])
  const text = decode(bytes)
  if (text === undefined) return refused('', [{ code: 'PH1006', offset: 0, message: 'the file is not UTF-8' }])
  const forbidden = forbiddenCharacters(text)
  return forbidden.length > 0 ? refused(text, forbidden) : tokenize(text)
}

/**
 * Control characters, bidirectional ones that make a review show something else than what is parsed (Trojan Source),
 * zero-width ones, and a carriage return alone, which hides a line on a terminal. The regular expression is shared with
 * what escapes such as `"\u202e"` come to.
 */
export function forbiddenCharacter(text: string): { readonly offset: number; readonly name: string } | undefined {
  const offset = text.search(FORBIDDEN)
  return offset === -1 ? undefined : { offset, name: nameOf(text.codePointAt(offset)!) }
}

const FORBIDDEN = /\r(?!\n)|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

function nameOf(codePoint: number): string {
  return `U+${codePoint.toString(16).toUpperCase().padStart(4, '0')}`
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

function forbiddenCharacters(text: string): Refusal[] {
  const found = forbiddenCharacter(text)
  if (found === undefined) return []
  const message =
    found.offset === 0 && text.startsWith('\uFEFF')
      ? 'the file begins with a byte order mark'
      : `the character ${found.name} is not accepted`
  return [{ code: 'PH1006', offset: found.offset, message }]
}

function tokenize(text: string): Guarded {
  const parser = new Parser()
  const tokens: CST.Token[] = []
  const refusals: Refusal[] = []
  // After the marker of a scalar comes its text, which may begin with any character.
  let scalarNext = false
  for (const lexeme of new Lexer().lex(text)) {
    const offset = parser.offset
    const type: string = scalarNext ? 'text' : (CST.tokenType(lexeme) ?? 'unknown')
    scalarNext = type === 'scalar'
    const refusal = featureRefusal(type, offset)
    if (refusal !== undefined) refusals.push(refusal)
    for (const token of parser.next(lexeme)) tokens.push(token)
    // The document and the scalar that is being read are no levels.
    const depth = parser.stack.length - 1 - (parser.stack.at(-1)?.type === 'scalar' ? 1 : 0)
    if (depth > MAX_DEPTH)
      return refused(text, [...refusals, { code: 'PH1002', offset, message: `nested deeper than ${MAX_DEPTH} levels` }])
  }
  if (refusals.length > 0) return refused(text, refusals)
  for (const token of parser.end()) tokens.push(token)
  return { ok: true, text, tokens }
}

function featureRefusal(type: string, offset: number): Refusal | undefined {
  switch (type) {
    case 'alias':
      return {
        code: 'PH1005',
        offset,
        message: 'an alias is not accepted',
        help: 'Put text that begins with * into quotes, such as a pattern or a cron; write any other value out.',
      }
    case 'anchor':
      return {
        code: 'PH1005',
        offset,
        message: 'an anchor is not accepted',
        help: 'Put text that begins with & into quotes; write shared values out where they are used.',
      }
    case 'tag':
      return { code: 'PH1007', offset, message: 'a tag is not accepted' }
    case 'directive-line':
      return { code: 'PH1007', offset, message: 'a directive is not accepted' }
    default:
      return undefined
  }
}

function refused(text: string, refusals: readonly Refusal[]): Guarded {
  return { ok: false, text, refusals }
}
