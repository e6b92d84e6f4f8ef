import { describe, expect, it } from 'vitest'
import { worthOf } from '../../src/report/worth.ts'
import { endedExecution, idleReport, settledTask, unsentReport } from '../support/ended.ts'
import { digest } from '../support/examples.ts'

const previous = { result: 'Failed', selectionDigest: digest('selection'), failure: 'f1' } as const

describe('growth of the reports branch', () => {
  it('an execution that did nothing gets a file only when its selection differs from the last one', () => {
    expect(worthOf(idleReport())).toBe('nothingToDo')
    expect(worthOf({ ...idleReport(), previous: { ...previous, selectionDigest: digest('other') } })).toBe('filed')
  })

  it('the first execution of a policy gets a file whatever it did', () => {
    expect(worthOf({ ...idleReport(), previous: undefined })).toBe('filed')
  })

  it('an execution that did something gets a file each time', () => {
    expect(worthOf(unsentReport({ previous: { ...previous, result: 'Success', failure: undefined } }))).toBe('filed')
  })

  it('the same failure is filed once and then counted', () => {
    const failed = (failure: string) =>
      unsentReport({
        execution: endedExecution({ result: 'Failed', failure }),
        tasks: [settledTask({ state: 'Failed' })],
        previous,
      })
    expect(worthOf(failed('f1'))).toBe('repeatedFailure')
    expect(worthOf(failed('f2'))).toBe('filed')
    expect(worthOf({ ...failed('f1'), previous: { ...previous, failure: undefined } })).toBe('filed')
  })

  it('a listing that fails again and again is filed once', () => {
    const reason = { code: 'PH6001', message: 'no answer' } as const
    const execution = endedExecution({ result: 'Failed', selection: undefined, reason, failure: 'f1' })
    expect(worthOf({ execution, tasks: [], previous: undefined })).toBe('filed')
    expect(worthOf({ execution, tasks: [], previous })).toBe('repeatedFailure')
  })

  it('an execution that also warmed something gets a file although the same task failed again', () => {
    const execution = endedExecution({ result: 'PartialSuccess', failure: 'f1' })
    const tasks = [settledTask({ state: 'Failed' }), settledTask()]
    expect(worthOf({ execution, tasks, previous })).toBe('filed')
  })
})
