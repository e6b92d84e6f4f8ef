import type { Io } from './command.ts'

/** Rows under a heading, each column as wide as its widest cell; a column in which nothing stands is left out. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[], io: Io): string {
  const columns = heading.map((_, index) => index).filter((index) => rows.some((row) => (row[index] ?? '') !== ''))
  const widths = columns.map((index) => Math.max(...[heading, ...rows].map((row) => (row[index] ?? '').length)))
  const line = (row: readonly string[]) =>
    columns
      .map((index, place) => (row[index] ?? '').padEnd(widths[place]!))
      .join('  ')
      .trimEnd()
  return [io.outColors.bold(line(heading)), ...rows.map(line)].map((text) => `${text}\n`).join('')
}
