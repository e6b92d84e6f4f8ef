import { describe, expect, test } from 'vitest'
import { guard, MAX_FILE_BYTES } from '../../src/config/guard.ts'
import { parse } from '../../src/config/parse.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

/** `line:column CODE` of every refusal; empty when the file is parsed. */
function refusals(content: string | Uint8Array): string[] {
  const parsed = parse(typeof content === 'string' ? bytes(content) : content)
  return parsed.ok ? [] : parsed.refusals.map(({ line, column, code }) => `${line}:${column} ${code}`)
}

describe('a file is refused before the parser [P2]', () => {
  test.each([900, 2000, 5000])('nested %i deep, which aborts the process when parsed twice', (depth) => {
    const file = bytes('['.repeat(depth))
    expect(refusals(file)).toEqual(['1:65 PH1002'])
    expect(refusals(file)).toEqual(['1:65 PH1002'])
  })

  test('a file nested in block style is refused at the level too many', () => {
    const levels = Array.from({ length: 70 }, (_, level) => `${' '.repeat(level)}k:`).join('\n')
    expect(refusals(levels)).toEqual(['65:66 PH1002'])
  })

  test('64 levels are accepted and 65 are not', () => {
    expect(refusals(`a: ${'['.repeat(63)}${']'.repeat(63)}`)).toEqual([])
    expect(refusals(`a: ${'['.repeat(64)}${']'.repeat(64)}`)).toEqual(['1:67 PH1002'])
  })

  test('a mebibyte is accepted and one byte more is not', () => {
    const text = (size: number) => `a: ${'x'.repeat(size - 3)}`
    expect(refusals(text(MAX_FILE_BYTES))).toEqual([])
    expect(refusals(text(MAX_FILE_BYTES + 1))).toEqual(['1:1 PH1001'])
  })

  test.each([
    ['bytes that are not UTF-8', Uint8Array.of(0x61, 0x3a, 0x20, 0xff), '1:1'],
    ['a byte order mark', '\uFEFFa: 1', '1:1'],
    ['a control character', 'a: 1\nb: \u0007', '2:4'],
    ['a bidirectional override', 'a: 1\nbc: x\u202Ey', '2:6'],
    ['a zero-width space', 'a: x\u200By', '1:5'],
    ['a line separator', 'a: x\u2028b: y', '1:5'],
    ['a carriage return alone', 'a: 1\rb: 2', '1:5'],
    ['an escape that comes to a control character', 'a: 1\nb: "\\e[31m"', '2:4'],
    ['an escape that comes to a bidirectional override', 'a: "\\u202e"', '1:4'],
  ])('for %s', (_, content, place) => {
    expect(refusals(content)).toEqual([`${place} PH1006`])
  })

  test.each([
    ['an alias', 'a: *b', '1:4 PH1005'],
    ['an anchor', 'a: 1\nb: &c 2', '2:4 PH1005'],
    ['a cron without quotes, once', 'cron: * * * * *', '1:7 PH1005'],
    ['a tag', 'a: !!str 1', '1:4 PH1007'],
    ['a tag of its own', 'a: !include x', '1:4 PH1007'],
    ['a directive', '%YAML 1.1\n---\na: no', '1:1 PH1007'],
    ['a merge key', 'a: 1\n<<: { b: 1 }', '2:1 PH1007'],
    ['a number beyond 2^53', 'a: 9007199254740993', '1:4 PH1007'],
    ['a duplicate key', 'a: 1\nb: 2\na: 3', '3:1 PH1004'],
    ['a key that is a number and a text', '1: a\n"1": b', '2:1 PH1004'],
    ['an open bracket', 'a: [1', '1:6 PH1003'],
    ['a tab as indentation', 'a:\n\tb: 1', '2:1 PH1003'],
    ['a key that is a list', '? [a]\n: 1', '1:3 PH1003'],
  ])('for %s', (_, content, expected) => {
    expect(refusals(content)).toEqual([expected])
  })

  test('text that only looks like an alias, an anchor, a tag or a directive is text', () => {
    expect(refusals('a: "*b"\nc: |\n  &x *y\n  !z\n  %YAML\nd: x&y*z!')).toEqual([])
    expect(refusals('--- |\n&x\n')).toEqual([])
  })

  test('every kind of trouble in a file is reported at once', () => {
    expect(refusals('a: &x 1\nb: *x\nc: !y 1')).toEqual(['1:4 PH1005', '2:4 PH1005', '3:4 PH1007'])
  })

  test('a file of nothing but mistakes is reported a hundred times and no more', () => {
    expect(refusals('- *a\n'.repeat(5000))).toHaveLength(100)
  })

  test('100,000 levels are refused without being read to the end', () => {
    const guarded = guard(bytes('['.repeat(100_000)))
    expect(guarded).toMatchObject({ ok: false, refusals: [{ code: 'PH1002', offset: 64 }] })
  })
})

describe('a file is several documents', () => {
  test('empty ones are nothing, and those that are no mapping are ignored', () => {
    const parsed = parse(bytes('---\n---\na: 1\n---\n# nothing\n---\n- 1\n---\ntext\n'))
    expect(parsed).toMatchObject({ ok: true, ignored: 2, documents: [{ value: { a: 1 }, line: 3 }] })
  })

  test('a List is its entries, at the places that they have in it', () => {
    const parsed = parse(bytes('apiVersion: v1\nkind: List\nitems:\n  - a: 1\n    b: 2\n  - 3\n  - c: 4\n'))
    expect(parsed).toMatchObject({ ok: true, ignored: 1, documents: [{ line: 4 }, { value: { c: 4 }, line: 7 }] })
    const [first] = parsed.ok ? parsed.documents : []
    expect(first?.placeOf(['b'])).toEqual({ line: 5, column: 8 })
  })

  test('places are right with the line ends of Windows', () => {
    const parsed = parse(bytes('a: 1\r\nb:\r\n  c: 2\r\n'))
    const [first] = parsed.ok ? parsed.documents : []
    expect(first?.placeOf(['b', 'c'])).toEqual({ line: 3, column: 6 })
    expect(first?.placeOfKey(['b', 'c'])).toEqual({ line: 3, column: 3 })
  })

  test('a key called __proto__ is a key and nothing else', () => {
    const parsed = parse(bytes('__proto__: { polluted: 1 }'))
    expect(parsed.ok && Object.keys(parsed.documents[0]!.value)).toEqual(['__proto__'])
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })
})
