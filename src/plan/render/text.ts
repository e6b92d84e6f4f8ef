import { formatSize } from '../../model/size.ts'
import type { Change } from '../diff.ts'
import type { Plan } from '../plan.ts'
import { totals, type Preview, type PreviewItem } from '../preview.ts'
import {
  amount,
  brokenOf,
  fieldSign,
  fieldText,
  imageText,
  printable,
  remarksOf,
  signOf,
  slotText,
  summaryLine,
  type PlanContext,
} from './words.ts'

/** What a stretch of text is, for a terminal to colour. */
export type Style = 'create' | 'update' | 'delete' | 'heading' | 'faint' | 'trouble'

/** Gives text its colour; the identity where there are none. */
export type Paint = (style: Style, text: string) => string

/** A plan for a terminal. The last line is {@link summaryLine}, never painted. */
export function renderText(plan: Plan, previews: readonly Preview[], context: PlanContext, paint: Paint): string {
  const blocks = [
    header(plan, context, paint),
    ...(plan.changes.length === 0 ? [] : [legend(paint)]),
    ...plan.changes.map((change) => changeBlock(change, plan, paint)),
    ...previews.map((preview) => previewBlock(preview, paint)),
    providersBlock(previews, paint),
    enginesBlock(context, paint),
    retargetedBlock(plan, paint),
    ...brokenBlocks(plan, paint),
    [summaryLine(plan, previews)],
  ]
  return `${blocks
    .filter((block) => block.length > 0)
    .map((block) => block.join('\n'))
    .join('\n\n')}\n`
}

function header({ config }: Plan, { base, warmth }: PlanContext, paint: Paint): string[] {
  const against = base === undefined ? 'with nothing: everything is new' : `with ${printable(base)}`
  return [
    paint('faint', `${printable(config.commit).slice(0, 80)} compared ${against}`),
    ...(warmth === undefined ? [] : [paint('faint', `What is warm: ${printable(warmth)}`)]),
  ]
}

function legend(paint: Paint): string[] {
  return [`  ${paint('create', '+ create')}   ${paint('update', '~ update')}   ${paint('delete', '- delete')}`]
}

function changeBlock(change: Change, plan: Plan, paint: Paint): string[] {
  const next = plan.next.find(({ key }) => key === change.key)
  return [
    `${paint(change.action, `${signOf(change.action)} ${change.kind} ${printable(change.name)}`)}  ${paint('faint', `${printable(change.file)}:${change.line}`)}`,
    ...change.fields.map((field) => {
      const style = { '+': 'create', '~': 'update', '-': 'delete' }[fieldSign(field)] as Style
      return `    ${paint(style, fieldSign(field))} ${fieldText(field)}`
    }),
    ...(next === undefined ? [] : next.at.map((at) => `    next run ${slotText(at, next.timeZone)}`)),
  ]
}

function previewBlock({ policy, registry, error, blocked, items, leftOut }: Preview, paint: Paint): string[] {
  const trouble = error ?? blocked
  return [
    paint('heading', `Images of ${printable(policy)} from ${printable(registry)}`),
    ...(trouble === undefined
      ? []
      : [`    ${paint('trouble', `${error ? 'failed' : 'blocked'} ${trouble.code}`)} ${printable(trouble.message)}`]),
    ...items.map((item) => `    ${itemText(item, paint)}`),
    ...leftOut.map(
      ({ reference, reason, count }) =>
        `    ${paint('faint', 'left out')} ${printable(reference)}: ${printable(reason)}${count === 1 ? '' : ` (${count})`}`,
    ),
    ...(trouble === undefined && items.length === 0 ? ['    nothing to preheat'] : []),
  ]
}

function itemText(item: PreviewItem, paint: Paint): string {
  const verb = item.action === 'preheat' ? paint('create', 'preheat') : paint('faint', 'skip   ')
  const size = item.sizeBytes === undefined ? 'size unknown' : formatSize(item.sizeBytes)
  return `${verb} ${imageText(item)} ${paint('faint', item.digest?.slice(0, 19) ?? 'file')} to ${printable(item.provider)}, ${size}: ${printable(item.reason)}`
}

function providersBlock(previews: readonly Preview[], paint: Paint): string[] {
  const { providers, skipped } = totals(previews)
  if (providers.length === 0) return []
  return [
    paint('heading', 'In all'),
    ...providers.map(
      ({ provider, images, files, sizeBytes }) =>
        `    ${printable(provider)}: ${amount(images, files)}, ${formatSize(sizeBytes)}`,
    ),
    ...(skipped === 0 ? [] : [`    ${skipped} skipped`]),
  ]
}

function enginesBlock({ engines }: PlanContext, paint: Paint): string[] {
  return remarksOf(engines).map(
    ({ severity, text }) => `${paint(severity === 'warning' ? 'trouble' : 'faint', severity)} ${printable(text)}`,
  )
}

function retargetedBlock({ retargeted }: Plan, paint: Paint): string[] {
  if (retargeted.length === 0) return []
  const names = (providers: readonly string[]) =>
    providers.length === 0 ? 'none' : providers.map(printable).join(', ')
  return [
    paint('heading', 'Sent elsewhere, because providers changed'),
    ...retargeted.map(({ policy, before, after }) => `    ${printable(policy)}: ${names(before)} -> ${names(after)}`),
  ]
}

function brokenBlocks(plan: Plan, paint: Paint): string[][] {
  return brokenOf(plan).map(({ name, isKept, findings }) => [
    paint('trouble', `${isKept ? 'Stalled' : 'Invalid'}: ${name}${isKept ? ' stays as it was' : ''}`),
    ...findings.map((finding) => `    ${finding}`),
  ])
}
