import type { Clock } from '../../model/clock.ts'
import type { Instant } from '../../model/duration.ts'

/** What a manager showed of itself is believed this long: it may be replaced by a newer one. */
const REMEMBERED_MS = 3_600_000

/** Something that a manager showed of itself, for as long as it is believed. */
export class Remembered<T> {
  readonly #clock: Clock
  #shown: { readonly value: T; readonly at: Instant } | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Undefined: it never showed it, or long ago. */
  get value(): T | undefined {
    if (this.#shown === undefined) return undefined
    const age = this.#clock.now() - this.#shown.at
    return age >= 0 && age < REMEMBERED_MS ? this.#shown.value : undefined
  }

  show(value: T): void {
    this.#shown = { value, at: this.#clock.now() }
  }

  forget(): void {
    this.#shown = undefined
  }
}
