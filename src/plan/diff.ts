import type { Kind, Located, Resource } from '../model/resource.ts'
import { policyAddress } from '../model/policy.ts'
import { fieldsOf, type Json } from './document.ts'
import { byText } from './order.ts'

/** One field that a change touches. Undefined: it does not stand there. */
export interface FieldChange {
  /** `spec.trigger.schedule.cron` */
  readonly path: string
  readonly before: Json | undefined
  readonly after: Json | undefined
}

/** One object that a commit creates, updates or deletes. */
export interface Change {
  readonly action: 'create' | 'update' | 'delete'
  readonly key: string
  readonly kind: Kind
  /** As users write it: `library/release-images`. */
  readonly name: string
  /** Where it stands, or stood. */
  readonly file: string
  readonly line: number
  /** All fields of a new object, those that differ of an updated one, none of a deleted one. */
  readonly fields: readonly FieldChange[]
}

const KINDS: readonly Kind[] = ['Registry', 'Provider', 'PreheatPolicy', 'PreheatRun']

/**
 * What turns `before` into `after`, by key and by value: a file's name, place, comments and formatting are no change.
 * What others refer to comes first, then by name, so that the same inputs always print the same plan.
 */
export function diff(before: readonly Located[], after: readonly Located[]): Change[] {
  const old = new Map(before.map((one) => [one.key, one]))
  const kept = new Set(after.map(({ key }) => key))
  const changes = [
    ...after.flatMap((one) => changeOf(old.get(one.key), one)),
    ...before.filter(({ key }) => !kept.has(key)).map((one) => change('delete', one, [])),
  ]
  return changes.sort(byText(({ kind, key }) => `${KINDS.indexOf(kind)} ${key}`))
}

/** Equal values, whether or not they have been through JSON, which drops what is undefined. */
export function isSame(a: unknown, b: unknown): boolean {
  // Mostly it is the very same value, of a file that nobody touched; else the fields mostly stand in one order, and need
  // no sorting.
  return a === b || JSON.stringify(a) === JSON.stringify(b) || canonical(a) === canonical(b)
}

/** `library/release-images`, `dragonfly-eu`. */
export function nameOf(resource: Resource): string {
  return resource.kind === 'PreheatPolicy' ? policyAddress(resource) : resource.name
}

function changeOf(before: Located | undefined, after: Located): Change[] {
  if (before === undefined) {
    return [
      change(
        'create',
        after,
        fieldsOf(after.resource).map(({ path, value }) => ({ path, before: undefined, after: value })),
      ),
    ]
  }
  return isSame(before.resource, after.resource)
    ? []
    : [change('update', after, fieldChanges(before.resource, after.resource))]
}

function change(
  action: Change['action'],
  { key, resource, file, line }: Located,
  fields: readonly FieldChange[],
): Change {
  return { action, key, kind: resource.kind, name: nameOf(resource), file, line, fields }
}

/** In the order of the new document; what was removed comes last. */
function fieldChanges(before: Resource, after: Resource): FieldChange[] {
  const old = new Map(fieldsOf(before).map(({ path, value }) => [path, value]))
  const now = new Map(fieldsOf(after).map(({ path, value }) => [path, value]))
  return [...new Set([...now.keys(), ...old.keys()])]
    .map((path) => ({ path, before: old.get(path), after: now.get(path) }))
    .filter((one) => !isSame(one.before, one.after))
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(byText(([name]) => name)))
      : inner,
  )
}
