/** The known word that somebody most likely meant; undefined when none is near. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let best: { readonly word: string; readonly distance: number } | undefined
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase().slice(0, 128), candidate.toLowerCase().slice(0, 128))
    if (distance < (best?.distance ?? allowance(word) + 1)) best = { word: candidate, distance }
  }
  return best?.word
}

/** One letter of three may be wrong, and two neighbours may have changed places in a short word. */
function allowance(word: string): number {
  return Math.max(2, Math.floor(word.length / 3))
}

/** Letters to insert, delete or replace. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1)))
    row = next
  }
  return row[to.length]!
}
