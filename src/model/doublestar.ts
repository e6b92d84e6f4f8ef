/**
 * Patterns as Harbor matches them: `Match` of github.com/bmatcuk/doublestar v1.3.4 (contracts/harbor.md §2.4), quirks
 * included, so that a policy moved here selects what it selected there. What a pattern may still match is always one
 * of its own tails, with the braces at its head resolved; tails are the states of an automaton, and each is tried at
 * each place of a name at most once, where v1.3.4 backtracks.
 */

/** UTF-16 units. */
export const MAX_PATTERN_LENGTH = 512

/** Patterns without braces that one with braces stands for. */
export const MAX_ALTERNATIVES = 1000

/** Ordinary patterns have one state a character; only braces and classes that overlap make more. */
const MAX_STATES = 4096

/** Why a pattern is malformed or over a cap; undefined when it is fine. Matching a fine pattern never throws. */
export function patternError(pattern: string): string | undefined {
  try {
    const states = compile(pattern)
    for (const { step } of states) if (step.kind === 'malformed') return step.reason
    return undefined
  } catch (error) {
    if (error instanceof TypeError) return error.message
    throw error
  }
}

/**
 * Does the whole of `name` match? Names are repositories and tags: no backslash in them escapes anything.
 * @throws {TypeError} when matching reaches a malformed part of the pattern, or the pattern is over a cap.
 */
export function matchDoublestar(pattern: string, name: string): boolean {
  return compileDoublestar(pattern)(name)
}

/**
 * {@link matchDoublestar} for many names.
 * @throws {TypeError} when the pattern is over a cap; the function returned, when it reaches a malformed part.
 */
export function compileDoublestar(pattern: string): (name: string) => boolean {
  // Not doublestar, but Harbor before it asks doublestar: an empty filter is no filter.
  if (pattern === '') return () => true
  const start = compile(pattern).at(-1)!
  return (name) => {
    const verdict = new Matching(name).matches(start, 0)
    if (typeof verdict === 'string') throw new TypeError(verdict)
    return verdict
  }
}

const UNCLOSED_BRACES = 'a { is not closed'

/** What one tail of a pattern asks for next. */
type Step =
  | { readonly kind: 'end' }
  | { readonly kind: 'malformed'; readonly reason: string }
  | { readonly kind: 'braces'; readonly options: readonly State[] }
  | { readonly kind: 'slash' | 'star' | 'any'; readonly rest: State }
  | { readonly kind: 'character'; readonly character: string; readonly rest: State }
  | { readonly kind: 'class'; readonly negated: boolean; readonly ranges: readonly Range[]; readonly rest: State }

/** First and last code point. */
type Range = readonly [number, number]

interface State {
  readonly id: number
  readonly step: Step
  /** The tail begins with `**` as a whole component: what follows its slash; `all` where nothing does. */
  readonly globstar: State | 'all' | undefined
  /** Whether a component of a name may end before this tail. */
  readonly ending: Ending
}

/**
 * `never`; `here`: the pattern can end too; a state: the pattern goes on there with the next component;
 * `by-option`: as the alternatives say; `malformed`: braces that could tell are not closed.
 */
type Ending = 'never' | 'here' | 'by-option' | 'malformed' | State

/** What is left of the pattern after one component; undefined: no match; a string: why it is malformed. */
type Tails = readonly State[] | undefined | string

/** The states of a pattern, that of the whole of it last. @throws {TypeError} over a cap */
function compile(pattern: string): State[] {
  if (pattern.length > MAX_PATTERN_LENGTH) throw new TypeError(`longer than ${MAX_PATTERN_LENGTH} characters`)
  const states = new Map<string, State>()
  const alternatives = new Map<State, number>()
  const stateOf = (text: string): State => {
    const known = states.get(text)
    if (known !== undefined) return known
    const step = stepOf(text, stateOf)
    const state: State = {
      id: states.size,
      step,
      globstar: text === '**' ? 'all' : text.startsWith('**/') ? stateOf(text.slice(3)) : undefined,
      ending: endingOf(text, stateOf),
    }
    const sum = countAlternatives(step, alternatives)
    if (sum > MAX_ALTERNATIVES) throw new TypeError(`its braces stand for more than ${MAX_ALTERNATIVES} alternatives`)
    if (states.size >= MAX_STATES) throw new TypeError('its braces and classes overlap too much')
    alternatives.set(state, sum)
    states.set(text, state)
    return state
  }
  stateOf(pattern)
  return [...states.values()]
}

function countAlternatives(step: Step, counted: ReadonlyMap<State, number>): number {
  if (step.kind === 'braces') return step.options.reduce((sum, option) => sum + counted.get(option)!, 0)
  return 'rest' in step ? counted.get(step.rest)! : 1
}

function stepOf(text: string, stateOf: (text: string) => State): Step {
  if (text === '') return { kind: 'end' }
  const character = String.fromCodePoint(text.codePointAt(0)!)
  switch (character) {
    case '/':
      return { kind: 'slash', rest: stateOf(text.slice(1)) }
    case '*':
      return { kind: 'star', rest: stateOf(text.slice(1)) }
    case '?':
      return { kind: 'any', rest: stateOf(text.slice(1)) }
    case '[':
      return classStep(text, stateOf)
    case '{': {
      const braces = splitBraces(text)
      if (braces === undefined) return { kind: 'malformed', reason: UNCLOSED_BRACES }
      return { kind: 'braces', options: braces.options.map((option) => stateOf(option + braces.tail)) }
    }
    case '\\': {
      if (text.length === 1) return { kind: 'malformed', reason: 'ends in a backslash' }
      const escaped = String.fromCodePoint(text.codePointAt(1)!)
      return { kind: 'character', character: escaped, rest: stateOf(text.slice(1 + escaped.length)) }
    }
    default:
      return { kind: 'character', character, rest: stateOf(text.slice(character.length)) }
  }
}

/** Splits `{a,{b,c}}tail` at the commas of its outermost braces; undefined when they are not closed. */
function splitBraces(text: string): { readonly options: readonly string[]; readonly tail: string } | undefined {
  const options: string[] = []
  let depth = 0
  let from = 1
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '\\') at++
    else if (character === '{') depth++
    else if (character === '}') depth--
    if (depth === 0 || (character === ',' && depth === 1)) {
      options.push(text.slice(from, at))
      from = at + 1
    }
    if (depth === 0) return { options, tail: text.slice(from) }
  }
  return undefined
}

/** A bracket is escaped by the one character before it, whatever that one's own escape. */
function indexUnescaped(text: string, wanted: string, from: number): number {
  let searched = from
  for (;;) {
    const at = text.indexOf(wanted, searched)
    if (at <= searched || text[at - 1] !== '\\') return at
    searched = at + 1
  }
}

function classStep(text: string, stateOf: (text: string) => State): Step {
  const close = indexUnescaped(text, ']', 1)
  if (close === -1) return { kind: 'malformed', reason: 'a [ is not closed' }
  if (close === 1) return { kind: 'malformed', reason: 'a [] is empty' }
  const body = Array.from(text.slice(1, close))
  const negated = body[0] === '^'
  const ranges: Range[] = []
  let at = negated ? 1 : 0
  const bound = (): number | undefined => {
    if (body[at] === '-') return undefined
    if (body[at] === '\\') at++
    return body[at++]?.codePointAt(0)
  }
  while (at < body.length) {
    const low = bound()
    let high = low
    if (body[at] === '-') {
      at++
      high = bound()
    }
    if (low === undefined || high === undefined) {
      return { kind: 'malformed', reason: 'a range in [] lacks one of its ends; write \\- for the character' }
    }
    ranges.push([low, high])
  }
  return { kind: 'class', negated, ranges, rest: stateOf(text.slice(close + 1)) }
}

function endingOf(text: string, stateOf: (text: string) => State): Ending {
  const slash = indexUnescaped(text, '/', 0)
  const component = slash === -1 ? text : text.slice(0, slash)
  const empty = canBeEmpty(component)
  // v1.3.4 fails here when a slash inside braces cuts them in two, as in `app{,/**}` at the end of `app`. The
  // alternatives say what is meant.
  if (empty === undefined) return canBeEmpty(text) === undefined ? 'malformed' : 'by-option'
  if (!empty) return 'never'
  return slash === -1 ? 'here' : stateOf(text.slice(slash + 1))
}

/** Undefined: braces that are not closed. */
function canBeEmpty(component: string): boolean | undefined {
  if (component === '' || component === '*' || component === '**') return true
  if (!component.startsWith('{')) return false
  const braces = splitBraces(component)
  if (braces === undefined) return undefined
  const tail = canBeEmpty(braces.tail)
  if (tail !== true) return tail
  for (const option of braces.options) {
    const empty = canBeEmpty(option)
    if (empty !== false) return empty
  }
  return false
}

/** One name being matched. */
class Matching {
  readonly #components: readonly (readonly string[])[]
  readonly #verdicts = new Map<string, boolean | string>()
  readonly #tails = new Map<string, Tails>()

  constructor(name: string) {
    this.#components = name.split('/').map((component) => Array.from(component))
  }

  /** Does the tail match from this component on? A string: why it is malformed. */
  matches(state: State, component: number): boolean | string {
    const key = `${state.id} ${component}`
    let verdict = this.#verdicts.get(key)
    if (verdict === undefined) {
      verdict = this.#decide(state, component)
      this.#verdicts.set(key, verdict)
    }
    return verdict
  }

  #decide(state: State, component: number): boolean | string {
    const isLast = component === this.#components.length - 1
    if (state.globstar === 'all') return true
    if (state.globstar !== undefined) {
      // A malformed part behind a globstar is no match, not an error.
      if (this.matches(state.globstar, component) === true) return true
      return !isLast && this.matches(state, component + 1)
    }
    const tails = this.#walk(state, component, 0)
    if (tails === undefined || typeof tails === 'string') return tails ?? false
    // `{a,a/b}` does not match `a`: v1.3.4 takes the pattern as ended only where no alternative goes on.
    if (isLast) return tails.length === 0
    for (const tail of tails) {
      const verdict = this.matches(tail, component + 1)
      if (verdict !== false) return verdict
    }
    return false
  }

  /** Walks along one component to its end. */
  #walk(from: State, component: number, start: number): Tails {
    const characters = this.#components[component]!
    let state = from
    let at = start
    for (; at < characters.length; at++) {
      const { step } = state
      switch (step.kind) {
        case 'end':
        case 'slash':
          return undefined
        case 'malformed':
          return step.reason
        case 'any':
          break
        case 'character':
          if (characters[at] !== step.character) return undefined
          break
        case 'class':
          if (isInClass(step, characters[at]!.codePointAt(0)!) === step.negated) return undefined
          break
        case 'star':
          if (step.rest.step.kind === 'end') return []
          if (step.rest.step.kind === 'slash') return [step.rest.step.rest]
          return this.#star(step.rest, component, at)
        case 'braces':
          return this.#once(state, component, at, () => this.#braces(step.options, component, at))
        default:
          return step satisfies never
      }
      state = step.rest
    }
    return this.#atEnd(state, component === this.#components.length - 1)
  }

  /** The first place at which the rest matches; a star never stands for nothing at the very end of a component. */
  #star(rest: State, component: number, start: number): Tails {
    const { length } = this.#components[component]!
    for (let at = start; at < length; at++) {
      const tails = this.#once(rest, component, at, () => this.#walk(rest, component, at))
      if (tails !== undefined) return tails
    }
    return undefined
  }

  #braces(options: readonly State[], component: number, at: number): Tails {
    return united(options.map((option) => this.#walk(option, component, at)))
  }

  #atEnd(state: State, isLast: boolean): Tails {
    if (state.ending === 'never') return undefined
    if (state.ending === 'here') return []
    if (state.ending === 'malformed') return UNCLOSED_BRACES
    if (state.ending !== 'by-option') return [state.ending]
    const options = state.step.kind === 'braces' ? state.step.options : []
    const tails = options.map((option) => this.#atEnd(option, isLast))
    return isLast && tails.some((one) => Array.isArray(one) && one.length === 0) ? [] : united(tails)
  }

  #once(state: State, component: number, at: number, find: () => Tails): Tails {
    const key = `${state.id} ${component} ${at}`
    if (this.#tails.has(key)) return this.#tails.get(key)
    const tails = find()
    this.#tails.set(key, tails)
    return tails
  }
}

function united(all: readonly Tails[]): Tails {
  const malformed = all.find((tails) => typeof tails === 'string')
  if (malformed !== undefined) return malformed
  const matching = all.filter((tails) => typeof tails === 'object')
  return matching.length === 0 ? undefined : [...new Set(matching.flat())]
}

function isInClass(step: Extract<Step, { kind: 'class' }>, point: number): boolean {
  return step.ranges.some(([low, high]) => low <= point && point <= high)
}
