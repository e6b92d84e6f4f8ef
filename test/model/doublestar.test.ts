import { minimatch } from 'minimatch'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  MAX_ALTERNATIVES,
  MAX_PATTERN_LENGTH,
  compileDoublestar,
  matchDoublestar,
  patternError,
} from '../../src/model/doublestar.ts'
import recorded from './doublestar-recorded.json' with { type: 'json' }

// contracts/harbor.md, Appendix A, word for word.
// prettier-ignore
const MATCHING: [string, string][] = [
  ['**', 'nginx'], ['**', 'a/b/c'], ['*', 'nginx'], ['**/*', 'nginx'], ['**/*', 'a/b'], ['a/**', 'a/b'],
  ['a/**', 'a/b/c'], ['a/**/c', 'a/c'], ['a/**/c', 'a/b/x/c'], ['**/nginx', 'nginx'], ['**/nginx', 'lib/nginx'],
  ['ng?nx', 'nginx'], ['v1.*', 'v1.2.3'], ['v1**', 'v1.2.3'], ['**1', 'v1'], ['{latest,v*}', 'v2'],
  ['{a/b,c}', 'a/b'], ['{a/b,c}', 'c'], ['{a/*,c}', 'a/x'], ['{a/**,c}', 'a/x/y'], ['{a,{b,c}}', 'c'],
  ['{,x}', 'x'], ['{,x}', ''], ['v{1,2}.*', 'v2.0'], ['{v1, v2}', ' v2'], ['v1,v2', 'v1,v2'], ['[a-c]x', 'bx'],
  ['[^a-c]x', 'dx'], ['[!a-c]x', '!x'], ['a}', 'a}'], ['\\*', '*'], ['\\{a\\}', '{a}'], ['*', ''], ['**', ''],
  ['v[0-9]*', 'v12'], ['{redis}', 'redis'], ['zgila/alpine*', 'zgila/alpine3'], ['v1.{2,3}-*', 'v1.3-rc'],
  ['*-*-*', 'a-b-c'], ['**/*-dev', 'x/y-dev'], ['{**,c}', 'nginx'], ['{**}', 'a'], ['{**,library/**}', 'library/x'],
  ['v{1..3}', 'v1..3'], ['*', '.hidden'], ['**', '.a/.b'], ['app-{a,b}/**', 'app-a/x'], ['{app,lib}/*', 'lib/x'],
  ['*/*', 'a/b'], ['release-?.?', 'release-1.2'], ['?', 'é'], ['{a\\,b,c}', 'a,b'], ['**/**', 'a'], ['***', 'abc'],
]
// prettier-ignore
const NOT_MATCHING: [string, string][] = [
  ['*', 'a/b'], ['a/**', 'a'], ['nginx', 'library/nginx'], ['?', '/'], ['a**', 'a/b'], ['a**b', 'a/b'],
  ['{latest,v*}', 'edge'], ['{**,c}', 'a/x/y'], ['{v1, v2}', 'v2'], ['v1,v2', 'v1'], ['[!a-c]x', 'dx'],
  ['V1', 'v1'], ['a//b', 'a/b'], ['/a', 'a'], ['a/', 'a'], ['[[:digit:]]', '1'], ['v+([0-9])', 'v1'],
  ['!(latest)', 'v1'], ['a[', 'b'], ['x{a,[', 'y'], ['{**}', 'a/b'], ['v{1..3}', 'v2'], ['*/*', 'a/b/c'],
  ['a/**/', 'a/b'], ['a\\/b', 'a/b'], ['***', 'a/b'],
]
// prettier-ignore
const FAILING: [string, string][] = [
  ['[]', 'x'], ['[a', 'a'], ['{a', 'a'], ['[', 'x'], ['{a,[}', 'a'], ['{a,[}', 'b'],
]

describe('the vectors of the contract', () => {
  it.each(MATCHING)('%j matches %j', (pattern, name) => {
    expect(matchDoublestar(pattern, name)).toBe(true)
  })

  it.each(NOT_MATCHING)('%j does not match %j', (pattern, name) => {
    expect(matchDoublestar(pattern, name)).toBe(false)
  })

  it.each(FAILING)('%j is found malformed while %j is matched', (pattern, name) => {
    expect(() => matchDoublestar(pattern, name)).toThrow(TypeError)
  })

  it('the empty pattern matches everything, as in Harbor, which does not ask doublestar then', () => {
    expect(['', 'a', 'a/b'].map((name) => matchDoublestar('', name))).toEqual([true, true, true])
  })
})

describe('answers recorded from doublestar v1.3.4 itself', () => {
  const answer = ([pattern, name]: string[]) => {
    try {
      return matchDoublestar(pattern!, name!)
    } catch (error) {
      return error instanceof TypeError ? 'error' : error
    }
  }

  it.each(['true', 'false', 'error'] as const)('all that it calls %s we call so too', (said) => {
    const others = recorded[said].filter((pair) => String(answer(pair)) !== said)
    expect(recorded[said].length).toBeGreaterThanOrEqual(100)
    expect(others).toEqual([])
  })

  it('two of its quirks are kept: alternatives that go on hide one that ends, and a star needs a character', () => {
    expect(matchDoublestar('{a,a/b}', 'a')).toBe(false)
    expect(matchDoublestar('v*{,-rc}', 'v1')).toBe(false)
  })

  it('a name that ends before braces with a slash inside, at which it fails, is decided by the alternatives', () => {
    const names = ['app', 'app/x', 'app/x/y', 'apps']
    expect(names.map((name) => matchDoublestar('app{,/**}', name))).toEqual([true, true, true, false])
    expect(matchDoublestar('team{-a/x,b}', 'team')).toBe(false)
  })
})

it('agrees with minimatch where the two dialects are the same', () => {
  const random = seeded(20261122)
  // No `[!`, `{**,…}`, `{1..3}`, `[[:…:]]`; no trailing `/**`, whose reading differs; braces with a slash inside only as
  // whole components and with equally many, and none behind a star, where doublestar has quirks of its own.
  // prettier-ignore
  const components = () => pick([word(), `${word()}*`, `*${word()}`, '*', `?${word()}`, '[a-c]', '[^a-c]', `{${word()},${word()}}`,
    `${word()}{${word()},${word()}}`, `{${word()}/*,${word()}/${word()}}`, `{${word()},{${word()},${word()}*}}`, '**'])
  const word = () => pick(['a', 'b', 'ab', 'v1'])
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!
  const some = (most: number, one: () => string) =>
    Array.from({ length: 1 + Math.floor(random() * most) }, one)
      .join('/')
      .replace(/\/?\*\*$/, '/x')
  const name = () => some(3, () => pick([word(), `${word()}${word()}`, 'x', '.a']))
  const differences = new Set<string>()
  let matches = 0
  for (let round = 0; round < 20_000; round++) {
    const [pattern, candidate] = [some(3, components), name()]
    const options = { dot: true, noext: true, nonegate: true, nocomment: true, platform: 'linux' as const }
    const oracle = minimatch(candidate, pattern, options)
    const ours = matchDoublestar(pattern, candidate)
    if (ours !== oracle) differences.add(`${pattern} ${candidate}: minimatch ${oracle}`)
    if (ours) matches++
  }
  expect([...differences]).toEqual([])
  expect(matches).toBeGreaterThan(500)
})

describe('validation', () => {
  it.each([
    ['a[', 'a [ is not closed'],
    ['[]', 'a [] is empty'],
    ['[]a]', 'a [] is empty'],
    ['x/[a-]', 'a range in [] lacks one of its ends; write \\- for the character'],
    ['[-a]', 'a range in [] lacks one of its ends; write \\- for the character'],
    ['x{a,[', 'a { is not closed'],
    ['{a,[}', 'a [ is not closed'],
    ['**/{a', 'a { is not closed'],
    ['v1\\', 'ends in a backslash'],
    ['a'.repeat(MAX_PATTERN_LENGTH + 1), 'longer than 512 characters'],
    ['{a,b}'.repeat(10), 'its braces stand for more than 1000 alternatives'],
  ])('%j is refused before it is used, with the reason', (pattern, reason) => {
    expect(patternError(pattern)).toBe(reason)
  })

  it.each([...MATCHING.map(([pattern]) => pattern), '', 'a'.repeat(MAX_PATTERN_LENGTH)])('%j is fine', (pattern) => {
    expect(patternError(pattern)).toBeUndefined()
  })

  it('braces may stand for as many alternatives as the cap says', () => {
    const tens = `{${Array.from({ length: 10 }, (_, i) => i).join(',')}}`
    expect(MAX_ALTERNATIVES).toBe(1000)
    expect(patternError(tens.repeat(3))).toBeUndefined()
    expect(patternError(`${tens.repeat(3)}{a,b}`)).toBeDefined()
  })

  it('what it lets pass never throws, and what it refuses for its syntax is what can throw', () => {
    const random = seeded(7)
    const parts = ['a', 'b', '/', '*', '**', '?', '[ab]', '[^a]', '[', ']', '{', '}', ',', '\\', '-', '{a,b}', '{a/b,}']
    const join = (from: readonly string[], length: number) =>
      Array.from({ length }, () => from[Math.floor(random() * from.length)]).join('')
    let fine = 0
    for (let round = 0; round < 5000; round++) {
      const pattern = join(parts, 1 + Math.floor(random() * 7))
      if (patternError(pattern) !== undefined) continue
      fine++
      for (const name of ['a', 'b', 'a/b', join(['a', 'b', '/', '-'], 5)]) {
        expect(() => matchDoublestar(pattern, name), pattern).not.toThrow()
      }
    }
    expect(fine).toBeGreaterThan(1000)
  })
})

describe('P7: no pattern within the caps is slow [P7]', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  // A backtracking matcher needs more steps for each of these than there are nanoseconds in a year.
  it.each([
    [`${'*a'.repeat(200)}b`, 'a'.repeat(255)],
    [`${'**/'.repeat(150)}b`, `${'a/'.repeat(120)}a`],
    [`${'{a,a}'.repeat(9)}${'*a'.repeat(100)}b`, 'a'.repeat(255)],
    [`${'**/{a,*}/'.repeat(9)}b`, `${'a/'.repeat(120)}a`],
    [`${'{,a}'.repeat(9)}b`, 'a'.repeat(255)],
  ])('%s is decided in steps that the sizes of pattern and name bound', (pattern, name) => {
    const remembered = vi.spyOn(Map.prototype, 'set')
    const matches = compileDoublestar(pattern)
    const states = remembered.mock.calls.length
    expect(states).toBeLessThan(8 * MAX_PATTERN_LENGTH)
    remembered.mockClear()
    expect(matches(name)).toBe(false)
    expect(remembered.mock.calls.length).toBeLessThanOrEqual(2 * states * (name.length + 1))
  })
})

/** Mulberry32. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
