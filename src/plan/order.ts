/** A comparison by code units of a text, the same on every machine and in every locale. */
export function byText<T>(textOf: (one: T) => string): (a: T, b: T) => number {
  return (a, b) => {
    const left = textOf(a)
    const right = textOf(b)
    return left < right ? -1 : left > right ? 1 : 0
  }
}
