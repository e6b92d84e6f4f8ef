import { setMaxListeners } from 'node:events'

/** Nobody answered in time. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError'
}

/**
 * Runs `work` under its caller's signal and a deadline, and leaves nothing behind on either.
 *
 * Not `AbortSignal.any`: on Node 20 each use leaves an entry on its sources until they die (20.20: some 60 bytes a
 * call), and the signal of a daemon lives as long as the daemon.
 *
 * @throws {DeadlineError} after `ms`; the signal's reason when that aborts first.
 */
export async function withDeadline<T>(
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const both = new AbortController()
  // One for each request of the work under way, and those are bounded; Node warns from the eleventh on.
  setMaxListeners(0, both.signal)
  const timer = setTimeout(() => {
    both.abort(new DeadlineError(`no answer within ${ms} ms`))
  }, ms)
  const pass = () => {
    both.abort(signal.reason)
  }
  signal.addEventListener('abort', pass, { once: true })
  try {
    return await work(both.signal)
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', pass)
  }
}

/**
 * Waits for work that others share or hold, under the caller's own signal: the wait ends, the work goes on.
 * @throws the signal's reason as soon as it aborts
 */
export function waitFor<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      reject(signal.reason as Error)
    }
    if (signal.aborted) leave()
    signal.addEventListener('abort', leave, { once: true })
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', leave)
    })
  })
}
