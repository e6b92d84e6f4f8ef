import { Cron } from 'croner'
import type { Instant } from './duration.ts'
import type { Schedule } from './policy.ts'

/** What decides when a schedule fires. */
export type Timing = Pick<Schedule, 'cron' | 'timeZone'>

/**
 * Compiled patterns kept. One holds 83 kB, most of it croner's table of years, and compiling one takes 0.12 ms: cheap
 * enough to be done again, too big to be kept for each of 10,000 policies.
 */
const KEPT_PATTERNS = 32

const LONGEST_CRON = 256

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC']
const WEEKDAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT']

interface Field {
  readonly name: string
  readonly min: number
  readonly max: number
  /** The first stands for `min`. */
  readonly words: readonly string[]
}

const FIELDS: readonly Field[] = [
  { name: 'minute', min: 0, max: 59, words: [] },
  { name: 'hour', min: 0, max: 23, words: [] },
  { name: 'day of month', min: 1, max: 31, words: [] },
  { name: 'month', min: 1, max: 12, words: MONTHS },
  { name: 'weekday', min: 0, max: 6, words: WEEKDAYS },
]

/**
 * Why a schedule is refused; undefined when it is fine. Five fields, or six of which the first is `0`, single spaces
 * between them, and `CRON_TZ=` or `TZ=` before them: Harbor's grammar (contracts/harbor.md §1.3.1) without the ways
 * round its own checks. A schedule that never fires is refused too.
 */
export function checkCron(cron: string, timeZone: string): string | undefined {
  try {
    const pattern = compile({ cron, timeZone })
    return pattern.nextRun(new Date(0)) === null ? 'it never fires: no month of its has such a day' : undefined
  } catch (error) {
    if (error instanceof TypeError) return error.message
    throw error
  }
}

/** Equal for two schedules that fire alike, however they are written. @throws {TypeError} as {@link checkCron} says */
export function canonicalTiming(timing: Timing): string {
  const { fields, timeZone } = read(timing)
  return `${timeZone} ${fields.join(' ')}`
}

/** The first slot strictly after `after`; undefined when there is none. @throws {TypeError} as {@link checkCron} says */
export function nextSlot(timing: Timing, after: Instant): Instant | undefined {
  return compile(timing).nextRun(new Date(after))?.getTime()
}

/**
 * The slots in (after, until], oldest first; of more than `limit` the newest.
 * @throws {TypeError} as {@link checkCron} says
 */
export function slotsBetween(timing: Timing, after: Instant, until: Instant, limit: number): Instant[] {
  return between(compile(timing), after, until, limit)
}

/** {@link nextSlot} and {@link slotsBetween} for many schedules that share patterns. */
export class SlotCalculator {
  /** Least recently used first. */
  readonly #patterns = new Map<string, Cron>()

  next(timing: Timing, after: Instant): Instant | undefined {
    return this.#pattern(timing).nextRun(new Date(after))?.getTime()
  }

  between(timing: Timing, after: Instant, until: Instant, limit: number): Instant[] {
    return between(this.#pattern(timing), after, until, limit)
  }

  /** How many compiled patterns it holds now. */
  get size(): number {
    return this.#patterns.size
  }

  #pattern(timing: Timing): Cron {
    const key = `${timing.timeZone} ${timing.cron}`
    const pattern = this.#patterns.get(key) ?? compile(timing)
    this.#patterns.delete(key)
    this.#patterns.set(key, pattern)
    const [oldest] = this.#patterns.keys()
    if (this.#patterns.size > KEPT_PATTERNS && oldest !== undefined) this.#patterns.delete(oldest)
    return pattern
  }
}

function between(pattern: Cron, after: Instant, until: Instant, limit: number): Instant[] {
  // Mostly nothing is due, and that is seen at a fifth of what walking backwards takes.
  const next = pattern.nextRun(new Date(after))?.getTime()
  if (next === undefined || next > until) return []
  // croner's runs before a reference end before its second, so the second after `until` is the one that includes it.
  const reference = (Math.floor(until / 1000) + 1) * 1000
  const slots: Instant[] = []
  // Mostly one is due. A step back takes 40 µs: none is made beyond the first slot, and one at the beginning.
  let batch = 1
  for (let before = reference; slots.length < limit; batch *= 2) {
    const found = pattern.previousRuns(Math.min(batch, limit - slots.length), new Date(before))
    for (const run of found) {
      const slot = run.getTime()
      if (slot >= next) slots.push(slot)
      if (slot <= next) return slots.reverse()
    }
    if (found.length < Math.min(batch, limit)) break
    before = slots.at(-1)!
  }
  return slots.reverse()
}

/** @throws {TypeError} saying why the schedule is refused. */
function compile(timing: Timing): Cron {
  const { fields, timeZone } = read(timing)
  return new Cron(`0 ${fields.join(' ')}`, {
    mode: '6-part',
    timezone: timeZone,
    // A list of times, `30 2,14 * * *`, is as fixed as a single one when clocks change: once in the autumn, and after
    // the gap in the spring.
    fixedTimeRule: 'no-wildcard',
  })
}

/** The five fields, and the time zone that counts. @throws {TypeError} saying why the schedule is refused. */
function read({ cron, timeZone }: Timing): { readonly fields: readonly string[]; readonly timeZone: string } {
  if (cron.length > LONGEST_CRON) throw new TypeError(`longer than ${LONGEST_CRON} characters`)
  checkTimeZone(timeZone)
  const prefix = /^(?:CRON_)?TZ=(\S*) /.exec(cron)
  if (prefix) checkTimeZone(prefix[1]!)
  const fields = fiveFields(prefix ? cron.slice(prefix[0].length) : cron)
  return {
    fields: fields.map((text, index) => portable(text, FIELDS[index]!)),
    timeZone: prefix?.[1] ?? timeZone,
  }
}

function checkTimeZone(timeZone: string): void {
  // Offsets, which some versions of Intl accept, are no zones: they have no rules for summer.
  if (!/^[A-Za-z][\w+/-]*$/.test(timeZone) || !isTimeZone(timeZone)) {
    throw new TypeError(`${JSON.stringify(timeZone)} is not an IANA time zone such as Europe/Berlin`)
  }
}

/** Zones that were found good; asking Intl takes 0.1 ms, and every policy asks. Bounded, for spelling is free in case. */
const goodTimeZones = new Set<string>()
const KEPT_TIME_ZONES = 1000

function isTimeZone(timeZone: string): boolean {
  if (goodTimeZones.has(timeZone)) return true
  const isGood = knowsTimeZone(timeZone)
  if (isGood && goodTimeZones.size < KEPT_TIME_ZONES) goodTimeZones.add(timeZone)
  return isGood
}

function knowsTimeZone(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone }).resolvedOptions().timeZone !== ''
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

function fiveFields(text: string): readonly string[] {
  if (text.startsWith('@'))
    throw new TypeError(`${JSON.stringify(text)}: write the fields out, descriptors are refused`)
  if (!/^\S+(?: \S+)*$/.test(text)) throw new TypeError('fields are separated by one space each, with none around them')
  const fields = text.split(' ')
  if (fields.length === 5) return fields
  if (fields.length !== 6) throw new TypeError(`${fields.length} fields; write five, or six with 0 for the seconds`)
  if (fields[0] !== '0') throw new TypeError('the seconds must be 0')
  return fields.slice(1)
}

/** One field in the words that robfig/cron, which Harbor uses, and croner understand alike. */
function portable(text: string, field: Field): string {
  const items = text.split(',').map((item) => portableItem(item, field))
  // `*` in a list, or with a step of 1, leaves the field unrestricted for robfig/cron and not for croner, which would
  // join the two day fields by "or".
  return items.includes('*') ? '*' : items.join(',')
}

function portableItem(item: string, field: Field): string {
  const parts = /^(?:([*?])|(\w+)(?:-(\w+))?)(?:\/(\d+))?$/.exec(item)
  if (!parts) throw new TypeError(`${field.name}: cannot read ${JSON.stringify(item)}`)
  const [, star, from, to, stepText] = parts
  const step = stepText === undefined ? 1 : Number(stepText)
  if (step < 1 || step > field.max) throw new TypeError(`${field.name}: a step must be between 1 and ${field.max}`)
  if (star !== undefined) return step === 1 ? '*' : `*/${step}`
  const low = valueOf(from!, field)
  if (to === undefined && stepText === undefined) return `${low}`
  const high = to === undefined ? field.max : valueOf(to, field)
  if (low > high) throw new TypeError(`${field.name}: ${JSON.stringify(item)} ends before it begins`)
  // A step, even one of 1, would make the field a repeating one to croner.
  return step === 1 ? `${low}-${high}` : `${low}-${high}/${step}`
}

function valueOf(text: string, field: Field): number {
  const word = field.words.indexOf(text.toUpperCase())
  if (word !== -1) return field.min + word
  const value = /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN
  if (value >= field.min && value <= field.max) return value
  if (field.name === 'weekday' && value === 7) throw new TypeError('weekday: 7 is refused, Sunday is 0')
  const known = field.words.length === 0 ? '' : ` or ${field.words[0]!}-${field.words.at(-1)!}`
  throw new TypeError(`${field.name}: ${JSON.stringify(text)} is not ${field.min}-${field.max}${known}`)
}
