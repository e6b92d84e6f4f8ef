import { Composer, Parser, isMap, isNode, isScalar, isSeq, visit, type CST, type Document, type Node } from 'yaml'
import { excerpt } from '../model/errors.ts'
import { forbiddenCharacter, guard, type Refusal } from './guard.ts'
import { placesIn, type Place } from './place.ts'

/** Steps from a document's root to a value: keys of mappings, indexes of sequences. */
export type Path = readonly (string | number)[]

/** One YAML document that is a mapping, or one entry of a List. */
export interface YamlDocument {
  readonly value: Readonly<Record<string, unknown>>
  /** 1-based line of its first key. */
  readonly line: number
  /** Where the value at `path` stands; where there is none, its key, or the nearest thing around it. */
  placeOf(path: Path): Place
  /** Where the key at the end of `path` stands; likewise. */
  placeOfKey(path: Path): Place
}

export type Parsed =
  | {
      readonly ok: true
      readonly documents: readonly YamlDocument[]
      /** Documents that are no mapping: nothing of ours. */
      readonly ignored: number
    }
  | { readonly ok: false; readonly refusals: readonly PlacedRefusal[] }

type PlacedRefusal = Omit<Refusal, 'offset'> & Place

/** Bytes as documents with places. Every refusal of the file is reported, and one refuses all of it. */
export function parse(bytes: Uint8Array): Parsed {
  const guarded = guard(bytes)
  const placeAt = placesIn(guarded.text)
  if (!guarded.ok) return { ok: false, refusals: placed(guarded.refusals, placeAt) }

  const composed = compose(guarded.tokens, guarded.text)
  const refusals = composed.flatMap((document) => [...complaints(document), ...surprises(document)])
  if (refusals.length > 0) return { ok: false, refusals: placed(refusals, placeAt) }

  const documents: YamlDocument[] = []
  let ignored = 0
  for (const [index, document] of composed.entries()) {
    const root = document.contents
    if (root === null || (isScalar(root) && root.value === null)) continue
    const value: unknown = document.toJS({ maxAliasCount: 0 })
    if (isMap(root) && isRecord(value))
      documents.push(located(guarded.text, index, value, placeAt(startOf(root)).line, placeAt))
    else ignored++
  }
  const entries = documents.flatMap(unwrapped)
  const mappings = entries.filter((entry) => entry !== undefined)
  return { ok: true, documents: mappings, ignored: ignored + entries.length - mappings.length }
}

function compose(tokens: Iterable<CST.Token>, text: string): Document.Parsed[] {
  const composer = new Composer({ version: '1.2', merge: false, strict: true, uniqueKeys: true, stringKeys: true })
  return [...composer.compose(tokens, false, text.length)]
}

/** `kind: List` as its entries, with the places that they have in the list; undefined for one that is no mapping. */
function unwrapped(document: YamlDocument): (YamlDocument | undefined)[] {
  const { kind, apiVersion, items } = document.value
  if (kind !== 'List' || !(apiVersion === 'v1' || apiVersion === 'preheatd.io/v1alpha1') || !Array.isArray(items))
    return [document]
  return items.flatMap((item: unknown, index) =>
    isRecord(item) ? unwrapped(inside(document, index, item)) : [undefined],
  )
}

function inside(list: YamlDocument, index: number, value: Record<string, unknown>): YamlDocument {
  const below = (path: Path): Path => ['items', index, ...path]
  return {
    value,
    line: list.placeOf(below([])).line,
    placeOf: (path) => list.placeOf(below(path)),
    placeOfKey: (path) => list.placeOfKey(below(path)),
  }
}

/**
 * Nodes take many times the memory of their text, and few documents are ever asked for a place: what was accepted once
 * is composed again for that, and the answers are kept.
 */
function located(
  text: string,
  index: number,
  value: Record<string, unknown>,
  line: number,
  placeAt: (offset: number) => Place,
): YamlDocument {
  const known = new Map<string, Place>()
  const placeIn = (part: 'key' | 'value', path: Path): Place => {
    const name = JSON.stringify([part, ...path])
    const answer = known.get(name)
    if (answer !== undefined) return answer
    const root = compose(new Parser().parse(text), text)[index]!.contents!
    const place = placeAt(startOf(walk(root, path)[part]))
    known.set(name, place)
    return place
  }
  return {
    value,
    line,
    placeOf: (path) => placeIn('value', path),
    placeOfKey: (path) => placeIn('key', path),
  }
}

/** The key and the value at `path`, or of the last step that exists. An empty value stands where its key does. */
function walk(root: Node, path: Path): { readonly key: Node; readonly value: Node } {
  let here = { key: root, value: root }
  for (const step of path) {
    const next = child(here.value, step)
    if (next === undefined) return { key: here.key, value: here.key }
    here = next
  }
  return isScalar(here.value) && here.value.source === '' ? { key: here.key, value: here.key } : here
}

function child(node: Node, step: string | number): { key: Node; value: Node } | undefined {
  if (isMap(node)) {
    const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
    if (pair === undefined || !isNode(pair.key)) return undefined
    return { key: pair.key, value: isNode(pair.value) ? pair.value : pair.key }
  }
  const item = isSeq(node) ? node.items[Number(step)] : undefined
  return isNode(item) ? { key: item, value: item } : undefined
}

function startOf(node: Node): number {
  // A block collection begins at its first entry; a flow one at its bracket.
  return node.range?.[0] ?? 0
}

function complaints(document: Document.Parsed): Refusal[] {
  const errors = document.errors.map((error): Refusal => {
    const message = excerpt(error.message)
    if (error.code === 'DUPLICATE_KEY')
      return { code: 'PH1004', offset: error.pos[0], message: 'this key is there twice' }
    return { code: 'PH1003', offset: error.pos[0], message }
  })
  const warnings = document.warnings.map((warning): Refusal => ({
    code: 'PH1007',
    offset: warning.pos[0],
    message: excerpt(warning.message),
  }))
  return [...errors, ...warnings]
}

/** What YAML would read as something else than what stands there. */
function surprises(document: Document.Parsed): Refusal[] {
  const found: Refusal[] = []
  visit(document, {
    Pair(_, { key }) {
      if (isScalar(key) && key.value === '<<' && key.type === 'PLAIN')
        found.push({ code: 'PH1007', offset: startOf(key), message: 'a merge key is not accepted' })
    },
    Scalar(_, { value, range }) {
      const offset = range?.[0] ?? 0
      if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value))
        found.push({ code: 'PH1007', offset, message: 'this number is beyond 2^53 and would lose digits' })
      const forbidden = typeof value === 'string' ? forbiddenCharacter(value) : undefined
      if (forbidden !== undefined)
        found.push({ code: 'PH1006', offset, message: `the text holds the character ${forbidden.name}` })
    },
  })
  return found
}

/** One a line and code: five stars of a cron are one mistake. A file of nothing else does not fill the terminal. */
function placed(refusals: readonly Refusal[], placeAt: (offset: number) => Place): PlacedRefusal[] {
  const byLine = new Map<string, PlacedRefusal>()
  for (const { offset, ...refusal } of refusals) {
    const place = placeAt(offset)
    const line = `${refusal.code} ${place.line}`
    if (!byLine.has(line)) byLine.set(line, { ...refusal, ...place })
    if (byLine.size === MAX_REFUSALS) break
  }
  return [...byLine.values()]
}

const MAX_REFUSALS = 100

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
