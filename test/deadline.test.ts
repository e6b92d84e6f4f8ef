import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { DeadlineError, waitFor, withDeadline } from '../src/deadline.ts'

/** Ends with the signal's reason and not before. */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error)
    })
  })
}

describe('withDeadline', () => {
  test('work that takes too long is told so', async () => {
    await expect(withDeadline(20, new AbortController().signal, untilAborted)).rejects.toThrow(DeadlineError)
  })

  test('work that is done in time is left alone, and nothing of it stays on the signal', async () => {
    const stop = new AbortController()
    let inner: AbortSignal | undefined

    const result = await withDeadline(20, stop.signal, (signal) => {
      inner = signal
      return Promise.resolve('done')
    })
    await new Promise((resolve) => setTimeout(resolve, 40))

    expect(result).toBe('done')
    expect(inner?.aborted).toBe(false)
    expect(getEventListeners(stop.signal, 'abort')).toEqual([])
  })

  test('work of many requests at once is no leak', async () => {
    const warnings: Error[] = []
    const listen = (warning: Error) => warnings.push(warning)
    process.on('warning', listen)
    const stop = new AbortController()

    const work = withDeadline(60_000, stop.signal, (signal) =>
      Promise.all(Array.from({ length: 12 }, () => untilAborted(signal))),
    )
    stop.abort(new Error('stopping'))

    await expect(work).rejects.toThrow('stopping')
    // Told at the next turn.
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', listen)
    expect(warnings).toEqual([])
  })

  test('the caller’s reason reaches the work as it is', async () => {
    const stop = new AbortController()
    const reason = new Error('stopping')
    const work = withDeadline(60_000, stop.signal, untilAborted)

    stop.abort(reason)

    await expect(work).rejects.toBe(reason)
  })

  test('under a signal that has aborted nothing begins', async () => {
    const reason = new Error('stopping')
    let begun = false
    const work = withDeadline(60_000, AbortSignal.abort(reason), () => {
      begun = true
      return Promise.resolve()
    })

    await expect(work).rejects.toBe(reason)
    expect(begun).toBe(false)
  })
})

describe('waitFor', () => {
  test('the wait ends with the signal, though the work goes on', async () => {
    const stop = new AbortController()
    const reason = new Error('stopping')
    const wait = waitFor(new Promise<never>(() => undefined), stop.signal)

    stop.abort(reason)

    await expect(wait).rejects.toBe(reason)
    await expect(waitFor(Promise.resolve(1), stop.signal)).rejects.toBe(reason)
  })

  test('what the work comes to is handed on, and nothing of it stays on the signal', async () => {
    const stop = new AbortController()
    const failure = new Error('no')

    expect(await waitFor(Promise.resolve(1), stop.signal)).toBe(1)
    await expect(waitFor(Promise.reject(failure), stop.signal)).rejects.toBe(failure)
    await new Promise(setImmediate)
    expect(getEventListeners(stop.signal, 'abort')).toEqual([])
  })

  test('work that fails after its waiter left disturbs nobody', async () => {
    const stop = new AbortController()
    let fail: (error: Error) => void = () => undefined
    const work = new Promise<never>((_, reject) => (fail = reject))
    const wait = waitFor(work, stop.signal)
    stop.abort(new Error('stopping'))
    await expect(wait).rejects.toThrow('stopping')

    // vitest fails the run for a rejection that nobody handles.
    fail(new Error('late'))
    await new Promise(setImmediate)
  })
})
