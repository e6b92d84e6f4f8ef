import { describe, expect, it } from 'vitest'
import type { UsedRun } from '../../src/store/store.ts'
import { mergeRuns, parseRuns } from '../../src/report/runs.ts'
import { digest, EXAMPLE_AT } from '../support/examples.ts'

const run = (name: string, overrides: Partial<UsedRun> = {}): UsedRun => ({
  name,
  digest: digest(name),
  executionId: '20261121T020000Z-3f9a1c07',
  policy: 'library/release-images',
  usedAt: EXAMPLE_AT,
  ...overrides,
})

describe('runs.yaml', () => {
  it('keeps every run that was used up, readable again', () => {
    const text = mergeRuns(undefined, [run('b', { usedAt: EXAMPLE_AT + 1 }), run('a')])
    expect(text).toBe(`\
apiVersion: preheatd.io/v1alpha1
kind: UsedRuns
runs:
  - name: a
    digest: ${digest('a')}
    policy: library/release-images
    execution: 20261121T020000Z-3f9a1c07
    usedAt: 2026-11-21T02:00:00.000Z
  - name: b
    digest: ${digest('b')}
    policy: library/release-images
    execution: 20261121T020000Z-3f9a1c07
    usedAt: 2026-11-21T02:00:00.001Z
`)
    expect(parseRuns(text)).toEqual([run('a'), run('b', { usedAt: EXAMPLE_AT + 1 })])
  })

  it('is changed by no run that it holds, and is the same in either order', () => {
    const text = mergeRuns(undefined, [run('a'), run('b')])
    expect(mergeRuns(text, [run('b'), run('a')])).toBe(text)
    expect(mergeRuns(mergeRuns(undefined, [run('b')]), [run('a')])).toBe(text)
  })

  it('knows a run by name and content, and keeps its first use', () => {
    const changed = run('a', { digest: digest('changed') })
    const later = run('a', { usedAt: EXAMPLE_AT + 5 })
    const text = mergeRuns(undefined, [later, changed])
    expect(parseRuns(text)).toHaveLength(2)
    expect(parseRuns(mergeRuns(text, [run('a')]))).toContainEqual(run('a'))
    expect(parseRuns(mergeRuns(mergeRuns(undefined, [run('a')]), [later]))).toEqual([run('a')])
  })

  it('keeps entries that it does not understand', () => {
    const text = `runs:\n  - {name: x, digest: sha256:1, from: the future}\n`
    const merged = mergeRuns(text, [run('a')])
    expect(merged).toContain('from: the future')
    expect(parseRuns(merged)).toEqual([run('a')])
  })

  it('keeps a broken file as comments and goes on', () => {
    const broken = '<<<<<<< mine\nruns: [\u0000\n- old\n'
    const merged = mergeRuns(broken, [run('a')])
    expect(merged).toMatch(/^# <<<<<<< mine\n# runs: \[\n# - old\napiVersion: /)
    const again = mergeRuns(merged, [run('b')])
    expect(again).toMatch(/^# <<<<<<< mine\n# runs: \[\n# - old\napiVersion: /)
    expect(parseRuns(again)).toEqual([run('a'), run('b')])
  })

  it.each(['', 'runs: 3', '[', '['.repeat(50_000), 'a: &a [1]\nruns: [*a]', 'x'.repeat(5 * 2 ** 20)])(
    'tells of no runs when it cannot be read: case %#',
    (broken) => {
      expect(parseRuns(broken)).toEqual([])
    },
  )

  it('is not read where it is bigger or deeper than anything that we write', () => {
    const text = mergeRuns(undefined, [run('a')])
    expect(parseRuns(`${text}padding: ${'x'.repeat(1000)}\n`)).toEqual([run('a')])
    expect(parseRuns(`${text}padding: ${'x'.repeat(4 * 2 ** 20)}\n`)).toEqual([])
    expect(parseRuns(`${text}padding: ${'['.repeat(100)}${']'.repeat(100)}\n`)).toEqual([])
  })
})
