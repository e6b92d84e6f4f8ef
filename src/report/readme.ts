import { markdownText } from '../plan/render/markdown-text.ts'
import { parseStatus, type Outcome, type Status } from './status.ts'

export const README_PATH = 'README.md'

/** What {@link reportPath} makes; the text that links are made from stands on a branch that others may push to. */
const REPORT_PATH = /^executions(?:\/[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*|\/_){6}\/[0-9A-Za-z-]+\.yaml$/

/**
 * The front page of the branch: `status.yaml` as a table that any forge renders. A function of that file alone, so
 * that it changes only when a state does.
 */
export function renderReadme(statusText: string): string {
  const sections = parseStatus(statusText).map(({ instance, statuses }) => [
    `## ${markdownText(instance)}`,
    '',
    ...(statuses.length === 0 ? ['Nothing has been executed yet.'] : table(statuses)),
    '',
  ])
  return [
    '# Preheat reports',
    '',
    'Written by preheatd; changes made here are overwritten. [status.yaml](status.yaml) says the same to machines,',
    '`executions/` holds a report of every execution that did something, `daily/` counts the others.',
    '**Success** means that the engine showed evidence for every blob.',
    '',
    ...sections.flat(),
  ].join('\n')
}

function table(statuses: readonly Status[]): string[] {
  return [
    '| Policy | Provider | State | Since | Evidence of | Report |',
    '|---|---|---|---|---|---|',
    ...statuses.map((one) => {
      const name = one.kind === 'PreheatPolicy' ? one.name : `${one.kind} ${one.name}`
      const cells = [
        markdownText(name, 300),
        markdownText(one.provider ?? '–'),
        stateOf(one),
        markdownText(one.outcome?.since ?? '–'),
        markdownText(one.outcome?.observedAt ?? '–'),
        one.outcome === undefined ? '–' : linkOf(one.outcome),
      ]
      return `| ${cells.join(' | ')} |`
    }),
  ]
}

function stateOf({ state, suspended, problem, outcome }: Status): string {
  const condition =
    state !== 'Stalled'
      ? []
      : problem === undefined
        ? ['**Stalled**']
        : [`**Stalled** ${markdownText(`${problem.code} at ${problem.file}:${problem.line}`, 300)}`]
  const result =
    outcome === undefined
      ? []
      : outcome.error === undefined
        ? [outcome.result]
        : [`${outcome.result} ${markdownText(`${outcome.error.code}: ${outcome.error.message}`, 300)}`]
  return [...condition, ...suspensionOf(suspended), ...result].join(', ') || '–'
}

function suspensionOf(suspended: Status['suspended']): string[] {
  if (suspended === undefined) return []
  const until = suspended.until === undefined ? '' : ` until ${markdownText(suspended.until)}`
  return [`**Suspended**${until}${suspended.reason === '' ? '' : ` (${markdownText(suspended.reason, 300)})`}`]
}

function linkOf({ execution, report }: Outcome): string {
  const text = markdownText(execution)
  return report !== undefined && REPORT_PATH.test(report) ? `[${text}](${report})` : text
}
