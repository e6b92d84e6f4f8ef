/** What is wrong with an artifact on the engine, whatever its rows say. */
export type Fault =
  /** SUCCESS, and the last blob is missing and not listed. */
  | 'partial'
  /** SUCCESS, and nothing is cached and nothing listed. */
  | 'lying'
  /** The row is gone when it would show its end, and nothing is cached. */
  | 'gone'
  /** The row stays PENDING for ever, and nothing is cached. */
  | 'stuck'

/** Numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const [LEAST_MS, MOST_MS] = [50, 500]

/** How long a manager takes to answer a POST: log-normal, 19 of 20 within 50 to 500 ms, the others cut to that. */
export function latencyMs(random: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const sigma = Math.log(MOST_MS / LEAST_MS) / 4
  return Math.min(MOST_MS, Math.max(LEAST_MS, Math.sqrt(LEAST_MS * MOST_MS) * Math.exp(sigma * normal)))
}

/** Which of `n` artifacts have which fault: `share` of them each, to the number. */
export function faultsOf(seed: number, n: number, share: number, kinds: readonly Fault[]): Map<number, Fault> {
  const random = randomOf(seed)
  const drawn = Array.from({ length: n }, (_, index) => ({ index, at: random() })).sort((a, b) => a.at - b.at)
  const each = Math.round(n * share)
  return new Map(
    kinds.flatMap((kind, i) =>
      drawn.slice(i * each, (i + 1) * each).map(({ index }): [number, Fault] => [index, kind]),
    ),
  )
}
