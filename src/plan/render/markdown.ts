import { formatSize } from '../../model/size.ts'
import type { Change } from '../diff.ts'
import type { Plan } from '../plan.ts'
import { totals, type Preview, type PreviewItem } from '../preview.ts'
import { fenced, markdownText } from './markdown-text.ts'
import {
  brokenOf,
  counted,
  imageText,
  printable,
  remarksOf,
  shown,
  signOf,
  slotText,
  summaryLine,
  type PlanContext,
} from './words.ts'

/** GitHub takes 65,536 characters a comment; the difference is left for what a bot puts around it. */
const MAX_CHARACTERS = 60_000
/** Of a list that stays at every detail. */
const MAX_LINES = 50

/** How much is left out to fit, least first. */
const DETAILS = ['all', 'no skipped images', 'no images', 'summary', 'numbers'] as const
type Detail = (typeof DETAILS)[number]

/**
 * A plan as a comment on a pull request. Its first line is a marker that a bot finds its own comment by. What users
 * wrote is shown and does nothing: no mention, no link, no HTML. At most 60,000 characters: skipped images, then all
 * images, then everything but the summary, then the findings are left out until it fits, and a note says so.
 */
export function renderMarkdown(plan: Plan, previews: readonly Preview[], context: PlanContext): string {
  for (const detail of DETAILS.slice(0, -1)) {
    const text = renderDetail(plan, previews, context, detail)
    if (text.length <= MAX_CHARACTERS) return text
  }
  return renderDetail(plan, previews, context, 'numbers')
}

function renderDetail(plan: Plan, previews: readonly Preview[], context: PlanContext, detail: Detail): string {
  const instance = context.instance?.replaceAll(/[^A-Za-z0-9._-]/g, '_').slice(0, 128) ?? 'default'
  const against = context.base === undefined ? 'everything is new' : `compared with ${markdownText(context.base)}`
  const blocks = [
    `<!-- preheatd:plan:${instance.replaceAll('--', '__')} -->`,
    `### preheatd plan, ${against}`,
    summaryTable(plan),
    `**${summaryLine(plan, previews)}**`,
    ...(context.warmth === undefined ? [] : [`What is warm: ${markdownText(context.warmth)}`]),
    ...(detail === 'all' ? [] : [noteOf(detail)]),
    ...(detail === 'numbers'
      ? []
      : [...troubles(plan, previews), ...engines(context), ...retargeted(plan), ...providersTable(previews)]),
    ...(detail === 'numbers' || detail === 'summary' ? [] : details(plan, previews, detail)),
  ]
  return `${blocks.join('\n\n')}\n`
}

function noteOf(detail: Exclude<Detail, 'all'>): string {
  const what = {
    'no skipped images': 'skipped images are left out',
    'no images': 'lists of images are left out',
    summary: 'only the summary is shown',
    numbers: 'only numbers are shown',
  }[detail]
  return `> Shortened to fit a comment: ${what}. Run \`preheatd plan\` for all of it.`
}

function summaryTable({ changes, unchanged, stalled, invalid }: Plan): string {
  const count = (action: Change['action']) => changes.filter((one) => one.action === action).length
  return [
    '| Create | Update | Delete | Unchanged | Stalled | Invalid |',
    '|---:|---:|---:|---:|---:|---:|',
    `| ${count('create')} | ${count('update')} | ${count('delete')} | ${unchanged} | ${stalled.length} | ${invalid.length} |`,
  ].join('\n')
}

function troubles(plan: Plan, previews: readonly Preview[]): string[] {
  const broken = brokenOf(plan).flatMap(({ name, isKept, findings }) => [
    `- **${isKept ? 'Stalled' : 'Invalid'}** ${markdownText(name)}${isKept ? ' stays as it was' : ''}`,
    ...findings.slice(0, 5).map((finding) => `  - ${markdownText(finding, 300)}`),
  ])
  const failed = previews.flatMap(({ policy, error, blocked }) => {
    const trouble = error ?? blocked
    return trouble === undefined
      ? []
      : `- **${error ? 'Failed' : 'Blocked'}** ${markdownText(policy)}: ${trouble.code} ${markdownText(trouble.message)}`
  })
  return atMost([...broken, ...failed])
}

function engines({ engines: asked }: PlanContext): string[] {
  const lines = remarksOf(asked).map(
    ({ severity, text }) => `- **${severity === 'warning' ? 'Warning' : 'Note'}** ${markdownText(text, 300)}`,
  )
  return atMost(lines)
}

function retargeted(plan: Plan): string[] {
  const names = (providers: readonly string[]) => (providers.length === 0 ? 'none' : markdownText(providers.join(', ')))
  const lines = plan.retargeted.map(
    ({ policy, before, after }) => `- ${markdownText(policy)}: ${names(before)} → ${names(after)}`,
  )
  return lines.length === 0 ? [] : ['Sent elsewhere, because providers changed:', ...atMost(lines)]
}

function providersTable(previews: readonly Preview[]): string[] {
  const { providers } = totals(previews)
  if (providers.length === 0) return []
  const rows = providers
    .slice(0, MAX_LINES)
    .map(
      ({ provider, images, files, sizeBytes }) =>
        `| ${markdownText(provider)} | ${images}${files > 0 ? `, and ${counted(files, 'file')}` : ''} | ${formatSize(sizeBytes)} |`,
    )
  return [['| Provider | Images to preheat | Bytes |', '|---|---:|---:|', ...rows].join('\n')]
}

/** One block a change, with the preview of its policy; then policies that did not change. */
function details(plan: Plan, previews: readonly Preview[], detail: Detail): string[] {
  const ofPolicy = (change: Change) =>
    change.kind === 'PreheatPolicy' && change.action !== 'delete'
      ? previews.filter(({ policy, registry }) => change.key === `PreheatPolicy/${registry}/${policy}`)
      : []
  const shownAbove = new Set(plan.changes.flatMap(ofPolicy))
  return [
    ...plan.changes.map((change) =>
      folded(`${signOf(change.action)} ${change.kind} ${change.name} (${change.file}:${change.line})`, [
        ...(change.fields.length === 0 ? [] : [fenced('diff', change.fields.flatMap(diffLines))]),
        ...nextRuns(change, plan),
        ...ofPolicy(change).flatMap((preview) => images(preview, detail)),
      ]),
    ),
    ...previews
      .filter((preview) => !shownAbove.has(preview))
      .map((preview) => folded(`Images of ${preview.policy}`, images(preview, detail))),
  ]
}

function folded(summary: string, blocks: readonly string[]): string {
  return [
    `<details><summary>${markdownText(summary, 400)}</summary>`,
    ...(blocks.length === 0 ? [] : blocks),
    '</details>',
  ].join('\n\n')
}

/** Markers at column 0, where forges colour them. */
function diffLines({ path, before, after }: Change['fields'][number]): string[] {
  return [
    ...(before === undefined ? [] : [`- ${printable(path)}: ${shown(before)}`]),
    ...(after === undefined ? [] : [`+ ${printable(path)}: ${shown(after)}`]),
  ]
}

function nextRuns(change: Change, plan: Plan): string[] {
  const next = plan.next.find(({ key }) => key === change.key)
  if (next === undefined || next.at.length === 0) return []
  return [`Next runs: ${next.at.map((at) => markdownText(slotText(at, next.timeZone))).join('; ')}`]
}

function images({ items, leftOut }: Preview, detail: Detail): string[] {
  const preheat = items.filter(({ action }) => action === 'preheat')
  const skipped = items.length - preheat.length
  const left = leftOut.reduce((sum, { count }) => sum + count, 0)
  const tallies = `${counted(preheat.length, 'task')} to preheat, ${skipped} skipped, ${left} left out.`
  if (detail === 'no images') return [tallies]
  const rows = (detail === 'all' ? items : preheat).map(row)
  return [
    tallies,
    ...(rows.length === 0
      ? []
      : [['| | Image | Digest | Provider | Size | Why |', '|---|---|---|---|---:|---|', ...rows].join('\n')]),
    ...(detail !== 'all' || leftOut.length === 0
      ? []
      : [
          leftOut
            .map(
              ({ reference, reason, count }) =>
                `- left out: ${markdownText(`${reference}: ${reason} (${count})`, 300)}`,
            )
            .join('\n'),
        ]),
  ]
}

function row(item: PreviewItem): string {
  const size = item.sizeBytes === undefined ? 'unknown' : formatSize(item.sizeBytes)
  return `| ${item.action} | ${markdownText(imageText(item), 300)} | ${markdownText(item.digest?.slice(7, 19) ?? 'file')} | ${markdownText(item.provider)} | ${size} | ${markdownText(item.reason)} |`
}

/** The lines as one list that stays short whatever the plan. */
function atMost(lines: readonly string[]): string[] {
  if (lines.length === 0) return []
  const more = lines.length - MAX_LINES
  return [[...lines.slice(0, MAX_LINES), ...(more > 0 ? [`- and ${more} more`] : [])].join('\n')]
}
