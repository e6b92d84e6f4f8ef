import type { Instant } from '../../model/duration.ts'
import { formatSize } from '../../model/size.ts'
import type { Change, FieldChange } from '../diff.ts'
import type { Json } from '../document.ts'
import { isEmpty, problemsOf, type Plan } from '../plan.ts'
import { totals, type EngineNote, type Preview, type PreviewItem } from '../preview.ts'

/** What a rendering says about where its plan comes from. */
export interface PlanContext {
  readonly now: Instant
  /** What it was compared with, `origin/main`; undefined: nothing, so everything is new. */
  readonly base: string | undefined
  /** `ledger of the state folder`, `status.yaml of 3 h ago`: whence it is known what is warm. Undefined: not asked. */
  readonly warmth: string | undefined
  /** Undefined: planned without a daemon's configuration. */
  readonly instance: string | undefined
  /** What engines told of themselves; empty where none was asked. */
  readonly engines: readonly EngineNote[]
}

/** What is to be said of one engine; undefined: nothing. */
export interface EngineRemark {
  readonly severity: 'warning' | 'note'
  /** `dragonfly-eu: this manager (>= 2.1.57) ignores peers.count (known since 2.2.3)` */
  readonly text: string
}

/** A warning for settings that an engine ignores, a note for one that could not be asked. */
export function remarksOf(engines: readonly EngineNote[]): EngineRemark[] {
  return engines.flatMap(({ provider, error, version, ignored, doubtfulScopes }): EngineRemark[] => {
    if (error !== undefined) {
      const text = `${provider}: could not be asked what it would ignore: ${error.code} ${error.message}`
      return [{ severity: 'note', text }]
    }
    const manager = `${provider}: this manager (${version ?? 'version not told'})`
    return [
      ...(ignored.length === 0 ? [] : [`${manager} ignores ${ignored.join(', ')}`]),
      ...doubtfulScopes.map((scope) => `${manager} may refuse the scope ${scope} (PH3007), known since 2.1.66`),
    ].map((text) => ({ severity: 'warning', text }))
  })
}

/** `+`, `~` or `-`. */
export function signOf(action: Change['action']): string {
  return { create: '+', update: '~', delete: '-' }[action]
}

/**
 * The last line of a plan, for eyes and for grep. Without previews there is nothing to say about images.
 * `Plan: 1 to create, 2 to update, 0 to delete; 9 images to preheat, 3.9 GiB.` or `No changes.`
 */
export function summaryLine(plan: Plan, previews: readonly Preview[]): string {
  const { images, files, sizeBytes } = totals(previews)
  if (isEmpty(plan) && images === 0 && files === 0) return 'No changes.'
  const count = (action: Change['action']) => plan.changes.filter((one) => one.action === action).length
  const objects = `${count('create')} to create, ${count('update')} to update, ${count('delete')} to delete`
  return previews.length === 0
    ? `Plan: ${objects}.`
    : `Plan: ${objects}; ${amount(images, files)} to preheat, ${formatSize(sizeBytes)}${files > 0 ? ' and the files' : ''}.`
}

/** `9 images`, `9 images and 1 file`. */
export function amount(images: number, files: number): string {
  return files === 0 ? counted(images, 'image') : `${counted(images, 'image')} and ${counted(files, 'file')}`
}

/** `1 image`, `9 images`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** A value in one line, so that no user's string can write to a terminal. */
export function shown(value: Json): string {
  const text = printable(JSON.stringify(value))
  return text.length <= 300 ? text : `${text.slice(0, 299)}…`
}

/** Text with control, bidirectional and line-breaking characters spelled out. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (one) => `\\u{${one.codePointAt(0)!.toString(16)}}`)
}

/** `spec.trigger.schedule.cron: "0 2 * * *" -> "0 4 * * *"` */
export function fieldText({ path, before, after }: FieldChange): string {
  const values = [before, after].flatMap((value) => (value === undefined ? [] : shown(value)))
  return `${printable(path)}: ${values.join(' -> ')}`
}

/** `+` for a field that is new, `-` for one that is gone, `~` for one with another value. */
export function fieldSign({ before, after }: FieldChange): string {
  return before === undefined ? '+' : after === undefined ? '-' : '~'
}

/** `2026-11-22 04:30 Europe/Berlin (03:30 UTC)`, the date again where it differs. */
export function slotText(at: Instant, timeZone: string): string {
  const utc = minuteText(at, 'UTC')
  if (timeZone === 'UTC') return `${utc} UTC`
  const local = minuteText(at, timeZone)
  return `${local} ${timeZone} (${utc.slice(0, 10) === local.slice(0, 10) ? utc.slice(11) : utc} UTC)`
}

/** `library/app:v1,latest`, or the bare repository where there is no tag, or a file's URL. */
export function imageText({ reference, tags }: PreviewItem): string {
  return printable(tags.length === 0 ? reference : `${reference}:${tags.join(',')}`)
}

/** Something broken, once an object or file, with what is wrong with it in lines. */
export interface Broken {
  /** `PreheatPolicy/harbor/library/x`, or the file where the identity could not be read. */
  readonly name: string
  /** Kept in force as it was; else it never was in force. */
  readonly isKept: boolean
  /** `file:line:column: severity CODE message` */
  readonly findings: readonly string[]
}

/** Everything broken in a plan: what is kept first. */
export function brokenOf(plan: Plan): Broken[] {
  const finding = ({ file, line, column, severity, code, message }: Plan['problems'][number]) =>
    printable(`${file}:${line}:${column}: ${severity} ${code} ${message}`)
  return [
    ...plan.stalled.map(({ key, problems }) => ({
      name: printable(key),
      isKept: true,
      findings: problems.map(finding),
    })),
    ...plan.invalid.map((one) => ({
      name: printable(one.key ?? one.file),
      isKept: false,
      findings: problemsOf(one, plan.problems).map(finding),
    })),
  ]
}

function minuteText(at: Instant, timeZone: string): string {
  const parts = new Intl.DateTimeFormat('en', {
    timeZone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(at)
  const part = (type: Intl.DateTimeFormatPartTypes) => parts.find((one) => one.type === type)?.value ?? ''
  return `${part('year')}-${part('month')}-${part('day')} ${part('hour')}:${part('minute')}`
}
