import { describe, expect, it } from 'vitest'
import type { SettledState } from '../../src/model/task.ts'
import { failureOf, resultOf, sumUp } from '../../src/report/result.ts'
import { parseFileUrl } from '../../src/model/artifact.ts'
import { endedExecution, settledTask, taskOf } from '../support/ended.ts'
import { EXAMPLE_FILE } from '../support/examples.ts'

const tasksIn = (states: SettledState[]) => states.map((state, index) => taskOf(`${index}`, { state }))

describe('the result of an execution', () => {
  it.each<[string, SettledState[]]>([
    ['Skipped', []],
    ['Success', ['Succeeded', 'Succeeded']],
    ['Stopped', ['Succeeded', 'Stopped', 'Failed']],
    ['PartialSuccess', ['Succeeded', 'Failed']],
    ['PartialSuccess', ['Succeeded', 'Partial']],
    ['PartialSuccess', ['Succeeded', 'Unverified']],
    ['Unverified', ['Unverified', 'Unverified']],
    ['Failed', ['Unverified', 'Failed']],
    ['Failed', ['Unverified', 'Lost']],
    ['Failed', ['Unverified', 'Partial']],
    ['Failed', ['Lost']],
  ])('is %s of %j', (result, states) => {
    expect(resultOf(tasksIn(states))).toBe(result)
  })
})

describe('the fingerprint of a failure', () => {
  const failed = taskOf('app', { state: 'Failed', error: { code: 'PH5006', message: 'job 17 failed' } })

  it('does not depend on order, messages or what went well', () => {
    const other = taskOf('base', { state: 'Lost' })
    const again = { ...failed, error: { code: 'PH5006', message: 'job 18 failed' } as const }
    expect(failureOf([other, taskOf('ok'), again], undefined)).toBe(failureOf([failed, other], undefined))
  })

  it('depends on the artifact or file, the provider, the state and the code', () => {
    const others = [
      { ...failed, provider: 'dragonfly-us' },
      { ...failed, state: 'Lost' as const },
      { ...failed, error: { code: 'PH5007', message: 'job 17 failed' } as const },
      taskOf('base', { state: 'Failed', error: failed.error }),
      { ...failed, subject: { file: EXAMPLE_FILE } },
      { ...failed, subject: { file: parseFileUrl('https://models.example.com/other.gguf') } },
    ]
    const fingerprints = [failed, ...others].map((one) => failureOf([one], undefined))
    expect(new Set(fingerprints).size).toBe(7)
  })

  it('is that of the reason where nothing was begun, and none where nothing failed', () => {
    const reason = { code: 'PH6001', message: 'no answer after 30 s' } as const
    expect(failureOf([], reason)).toBe(failureOf([], { ...reason, message: 'connection refused' }))
    expect(failureOf([], reason)).not.toBe(failureOf([], { ...reason, code: 'PH6002' }))
    expect(failureOf([settledTask(), settledTask({ state: 'Unverified' })], undefined)).toBeUndefined()
  })
})

describe('an execution in a few words', () => {
  it('counts its tasks by state', () => {
    expect(sumUp(endedExecution(), tasksIn(['Partial', 'Succeeded', 'Succeeded', 'Lost']))).toBe(
      '2 succeeded, 1 partial, 1 lost',
    )
  })

  it('says why there were none', () => {
    expect(sumUp(endedExecution({ result: 'Skipped' }), [])).toBe('nothing to preheat')
    expect(sumUp(endedExecution({ result: 'Blocked', reason: { code: 'PH8004', message: 'over' } }), [])).toBe(
      'blocked (PH8004)',
    )
    expect(sumUp(endedExecution({ result: 'Stopped' }), [])).toBe('stopped')
  })
})
