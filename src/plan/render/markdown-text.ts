import { excerpt } from '../../model/errors.ts'

/**
 * Text from outside as Markdown that shows it and does nothing else, in a paragraph, a table cell or between HTML tags
 * alike: all punctuation that could mean something, and what makes an address a link, is a numeric entity. Forges look
 * for mentions and references in the rendered text, where an entity no longer helps; a zero-width space after the sigil
 * does (Renovate's way).
 * @param limit longest text shown, in characters
 */
export function markdownText(text: string, limit = 200): string {
  return excerpt(text, limit)
    .replaceAll(/[!-*;-@[-`{-~]|:(?=\/\/)|(?<=www)\./gi, (character) => `&#${character.charCodeAt(0)};`)
    .replaceAll(/&#(?:33|35|36|37|38|64|94|126);/g, '$&&#8203;')
}

/** A fenced block that its content cannot end. */
export function fenced(language: string, lines: readonly string[]): string {
  const content = lines.join('\n')
  const longest = Math.max(2, ...[...content.matchAll(/`+/g)].map(([run]) => run.length))
  const fence = '`'.repeat(longest + 1)
  return `${fence}${language}\n${content}\n${fence}`
}
