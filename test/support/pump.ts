import type { ManualClock } from './clock.ts'

const PATIENCE_MS = 8_000

/** Lets time pass, from one sleeper to the next, and everything else happen, until the condition holds. */
export async function pump(clock: ManualClock, condition: () => boolean): Promise<void> {
  const began = performance.now()
  while (!condition()) {
    if (performance.now() - began > PATIENCE_MS) throw new Error('it did not come to that')
    await turn()
    if (!condition() && clock.nextWake !== undefined) clock.set(clock.nextWake)
  }
}

/** {@link pump} until the promise settles. */
export async function pumped<T>(clock: ManualClock, promise: PromiseLike<T>): Promise<T> {
  let isSettled = false
  const mark = () => {
    isSettled = true
  }
  promise.then(mark, mark)
  await pump(clock, () => isSettled)
  return await promise
}

/** Lets everything happen that needs no time to pass, until the condition holds. */
export async function until(condition: () => boolean): Promise<void> {
  const began = performance.now()
  while (!condition()) {
    if (performance.now() - began > PATIENCE_MS) throw new Error('it did not come to that')
    await turn()
  }
}

/** One turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/**
 * One turn of the event loop, and then time passes to the next sleeper; not while a store is at work, which is waited
 * for instead.
 * @param work see `watched`
 * @returns did time pass?
 */
export async function passed(clock: ManualClock, work: () => Promise<unknown> | undefined): Promise<boolean> {
  await turn()
  const busy = work()
  if (busy !== undefined) await busy
  if (busy !== undefined || clock.nextWake === undefined) return false
  clock.set(Math.max(clock.nextWake, clock.now()))
  return true
}
