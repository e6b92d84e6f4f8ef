/** What a sender wrote, none of it checked. */
export type JsonObject = Readonly<Record<string, unknown>>

/** No sender nests deeper than ten. */
const MAX_DEPTH = 64

/** The object that these bytes are; undefined when they are not UTF-8, not JSON, not an object, or nested too deeply. */
export function parseObject(bytes: Uint8Array): JsonObject | undefined {
  if (depthOf(bytes) > MAX_DEPTH) return undefined
  try {
    return asObject(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch {
    return undefined
  }
}

/** What stands at this path; undefined where there is nothing. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>((parent, name) => asObject(parent)?.[name], value)
}

/** The non-empty text at this path. */
export function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  const found = at(value, ...path)
  return typeof found === 'string' && found !== '' ? found : undefined
}

/** The entries of the list at this path; none where there is no list. */
export function listAt(value: unknown, ...path: readonly string[]): readonly unknown[] {
  const found = at(value, ...path)
  return Array.isArray(found) ? found : []
}

function asObject(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined
}

/** How deeply brackets nest outside of strings, before anything is built from them. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (inString) {
      if (byte === BACKSLASH) i++
      else if (byte === QUOTE) inString = false
    } else if (byte === QUOTE) inString = true
    else if (byte === BRACKET || byte === BRACE) deepest = Math.max(deepest, ++depth)
    else if (byte === BRACKET + 2 || byte === BRACE + 2) depth--
  }
  return deepest
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const BRACKET = 0x5b
const BRACE = 0x7b
