import { parse } from './parse.ts'

/** The 1-based line of a field, as `spec.filters.tags[0]`; of the nearest thing around it where it is not written. */
export type LineOf = (field: string) => number

/**
 * Where the fields of one document stand.
 * @param bytes of its file; undefined, or not to be parsed: every field stands at the document's own line
 * @param line of the document's start
 */
export function linesOf(bytes: Uint8Array | undefined, line: number): LineOf {
  const parsed = bytes && parse(bytes)
  const document = parsed?.ok === true ? parsed.documents.find((one) => one.line === line) : undefined
  return (field) => document?.placeOf(stepsOf(field)).line ?? line
}

/** `spec.filters.tags[0]` as steps. */
function stepsOf(field: string): (string | number)[] {
  return [...field.matchAll(/([^.[\]]+)|\[(\d+)\]/g)].map(([, key, index]) => key ?? Number(index))
}
