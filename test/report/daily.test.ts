import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { compactInstant } from '../../src/model/duration.ts'
import { dailyPath, lineOfExecution, lineOfMissed, mergeDaily, type DailyLine } from '../../src/report/daily.ts'
import { idleReport, unsentReport } from '../support/ended.ts'
import { EXAMPLE_AT } from '../support/examples.ts'

const HOUR = 3_600_000

/** The execution of a slot so many hours after the first, that found nothing to do. */
const idle = (hours: number) => {
  const at = EXAMPLE_AT + hours * HOUR
  return lineOfExecution(
    idleReport({ id: `${compactInstant(at)}-3f9a1c07`, at, cause: { type: 'scheduled', slot: at } }),
  )
}
const missed = (hours: number, reason = 'the daemon was down') =>
  lineOfMissed({
    policyKey: 'PreheatPolicy/harbor/library/release-images',
    policy: 'library/release-images',
    slot: EXAMPLE_AT + hours * HOUR,
    reason,
  })
const merge = (existing: string | undefined, ...lines: DailyLine[]) => mergeDaily(existing, EXAMPLE_AT, 'eu', lines)

describe('the file of a day', () => {
  it('counts slots due, run, with nothing to do and missed, and says why', () => {
    expect(merge(undefined, missed(3), idle(0), lineOfExecution(unsentReport({})), missed(2), idle(1))).toBe(`\
apiVersion: preheatd.io/v1alpha1
kind: DailyReport
metadata:
  name: 2026-11-21
spec:
  instance: eu
  policies:
    - policy: library/release-images
      registry: harbor
      due: 4
      run: 2
      nothingToDo: 2
      repeatedFailures: 0
      missed: 2
      reasons:
        - reason: the daemon was down
          count: 2
      counted:
        recent:
          - 20261121T020000Z-3f9a1c07
          - 20261121T030000Z-3f9a1c07
        missedUntil: 2026-11-21T05:00:00.000Z
`)
  })

  it('is changed by no line that it holds already', () => {
    const lines = [idle(0), idle(1), missed(2), idle(3)]
    const once = merge(undefined, ...lines)
    expect(merge(once, ...lines)).toBe(once)
    expect(merge(once, ...lines, idle(4))).toBe(merge(once, idle(4)))
  })

  it('is the same in one flush or several, in either order', () => {
    const all = merge(undefined, idle(0), idle(1), idle(2))
    expect(merge(merge(undefined, idle(0), idle(1)), idle(2))).toBe(all)
    expect(merge(merge(undefined, idle(2)), idle(1), idle(0))).toBe(all)
  })

  it('stays small and counts nothing twice however often a policy runs', () => {
    const lines = Array.from({ length: 1000 }, (_, index) => idle(index / 60))
    const text = merge(undefined, ...lines)
    expect(text.length).toBeLessThan(1000)
    expect(parse(text).spec.policies[0]).toMatchObject({ due: 1000, run: 1000, nothingToDo: 1000 })
    expect(merge(text, ...lines)).toBe(text)
  })

  it('keeps a bounded number of reasons', () => {
    const lines = Array.from({ length: 100 }, (_, index) => missed(index / 10, `reason ${index}`))
    const [policy] = parse(merge(undefined, ...lines)).spec.policies as {
      missed: number
      reasons: { count: number }[]
    }[]
    expect(policy!.missed).toBe(100)
    expect(policy!.reasons.length).toBeLessThanOrEqual(9)
    expect(policy!.reasons.reduce((sum, { count }) => sum + count, 0)).toBe(100)
  })

  it('keeps policies of one name in two registries apart', () => {
    const other: DailyLine = { ...idle(0), registry: 'quay' }
    expect(parse(merge(undefined, idle(0), other)).spec.policies).toHaveLength(2)
  })

  it('counts a manual execution as run and not as due', () => {
    const manual = idleReport({ cause: { type: 'manual', acceptedAt: EXAMPLE_AT, by: 'ada' } })
    expect(parse(merge(undefined, lineOfExecution(manual))).spec.policies[0]).toMatchObject({ due: 0, run: 1 })
  })

  it.each(['', '{', '- 1', 'spec: {policies: [3, {policy: x}]}', '['.repeat(50_000)])(
    'is begun anew when it cannot be read: case %#',
    (broken) => {
      expect(merge(broken, idle(0))).toBe(merge(undefined, idle(0)))
    },
  )

  it('has the day and the instance in its path', () => {
    expect(dailyPath(EXAMPLE_AT, 'eu')).toBe('daily/2026/11/21/eu.yaml')
    expect(() => dailyPath(EXAMPLE_AT, '../x')).toThrow(TypeError)
  })
})
