/** How a loop does that has said that it would beat. */
export interface Pulse {
  readonly loop: string
  /** Since its last beat, or since it was expected. */
  readonly ageMs: number
  readonly isLate: boolean
}

interface Expected {
  readonly withinMs: number
  beatAt: number
}

/**
 * Who of the daemon's loops still turns. A loop says once how often it will beat, and beats each time round whatever came
 * of it: an engine or a forge that does not answer is no reason to be restarted.
 */
export class Heartbeats {
  readonly #elapsed: () => number
  readonly #loops = new Map<string, Expected>()

  /** @param elapsed milliseconds of a clock that nobody sets: a wall clock that jumps would make every loop late */
  constructor(elapsed: () => number = () => performance.now()) {
    this.#elapsed = elapsed
  }

  /** From now on this loop is late when it has not beaten for `withinMs`. */
  expect(loop: string, withinMs: number): void {
    this.#loops.set(loop, { withinMs, beatAt: this.#elapsed() })
  }

  /** @throws {TypeError} for a loop that nobody expects */
  beat(loop: string): void {
    const expected = this.#loops.get(loop)
    if (expected === undefined) throw new TypeError(`nobody expects the loop ${loop} to beat`)
    expected.beatAt = this.#elapsed()
  }

  pulses(): Pulse[] {
    const now = this.#elapsed()
    return [...this.#loops].map(([loop, { withinMs, beatAt }]) => {
      const ageMs = now - beatAt
      return { loop, ageMs, isLate: ageMs > withinMs }
    })
  }
}
