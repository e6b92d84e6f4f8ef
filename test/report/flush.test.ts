import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import type { Edit } from '../../src/model/source.ts'
import { flush, type Unsent } from '../../src/report/flush.ts'
import { endedExecution, idleReport, settledTask, taskOf, unsentReport } from '../support/ended.ts'
import { digest, EXAMPLE_AT, policy, snapshot } from '../support/examples.ts'

const REPORT = 'executions/2026/11/21/eu/library/release-images/20261121T020000Z-3f9a1c07.yaml'
const DAILY = 'daily/2026/11/21/eu.yaml'

const report = unsentReport({ tasks: [settledTask(), taskOf('base', { state: 'Partial' })] })
const nothing: Unsent = {
  instance: 'eu',
  peers: 'counts',
  reports: [],
  missed: [],
  runs: [],
  last: [],
  troubles: [],
  declared: [report.execution.policyKey],
}
const missed = {
  policyKey: 'PreheatPolicy/harbor/library/nightly',
  policy: 'library/nightly',
  slot: EXAMPLE_AT - 86_400_000,
  reason: 'the daemon was down',
}
const run = {
  name: 'hotfix',
  digest: digest('run'),
  executionId: '20261121T020000Z-3f9a1c07',
  policy: 'library/release-images',
  usedAt: EXAMPLE_AT,
}
const everything: Unsent = { ...nothing, reports: [report], missed: [missed], runs: [run], last: [report] }

/** What the publisher does: each edit in order on what stands there. */
function apply(branch: ReadonlyMap<string, string>, edits: readonly Edit[]): Map<string, string> {
  const earlier = new Map<string, string>()
  for (const edit of edits) earlier.set(edit.path, edit.apply(branch.get(edit.path), earlier))
  return new Map([...branch, ...earlier])
}

/** The branch after the first flush of `unsent`. */
const written = (unsent: Unsent) => apply(new Map(), flush(unsent).edits)

describe('a flush', () => {
  it('writes the report, the days, the used runs, the status and the front page', () => {
    const branch = written(everything)
    expect([...branch.keys()]).toEqual([
      REPORT,
      DAILY,
      'daily/2026/11/20/eu.yaml',
      'runs.yaml',
      'status.yaml',
      'README.md',
    ])
    expect(branch.get('README.md')).toContain(`(${REPORT})`)
  })

  it('replayed on its own result changes nothing [K6]', () => {
    const branch = written(everything)
    expect(apply(branch, flush(everything).edits)).toEqual(branch)
  })

  it('replayed on another instance’s commit keeps both', () => {
    const both = apply(written({ ...everything, instance: 'us' }), flush(everything).edits)
    expect(both).toEqual(apply(written(everything), flush({ ...everything, instance: 'us' }).edits))
    expect(both.get('README.md')).toMatch(/## eu[^]*## us/)
  })

  it('never edits a report that stands there', () => {
    const branch = apply(new Map([[REPORT, 'as it was']]), flush(everything).edits)
    expect(branch.get(REPORT)).toBe('as it was')
  })

  it('counts an execution that found nothing to do and files no report of it', () => {
    const branch = written({ ...nothing, reports: [idleReport()], last: [idleReport()] })
    expect([...branch.keys()]).toEqual([DAILY, 'status.yaml', 'README.md'])
    expect(parse(branch.get(DAILY)!).spec.policies[0]).toMatchObject({ run: 1, nothingToDo: 1 })
    expect(branch.get('README.md')).not.toContain('](executions')
  })

  it('goes on over files that cannot be read', () => {
    const broken = new Map([...written(everything).keys()].map((path) => [path, '\u0000{[']))
    broken.delete(REPORT)
    const branch = apply(broken, flush(everything).edits)
    const clean = written(everything)
    for (const path of [DAILY, 'status.yaml', 'README.md']) expect(branch.get(path)).toBe(clean.get(path))
    expect(branch.get('runs.yaml')).toBe(`# {[\n${clean.get('runs.yaml')!}`)
  })
})

it('has no status of what is not declared any more, though its last execution is known', () => {
  const { policyKey } = report.execution
  expect(written({ ...everything, declared: [policyKey] }).get('status.yaml')).toContain('release-images')
  expect(written({ ...everything, declared: [] }).get('status.yaml')).not.toContain('release-images')
})

describe('the message of a report commit', () => {
  it('says what happened, and in trailers to what', () => {
    expect(flush(everything).message).toBe(`\
Report library/release-images: 1 succeeded, 1 partial

Preheat-Instance: eu
Preheat-Execution: 20261121T020000Z-3f9a1c07
Preheat-Policy: library/nightly
Preheat-Policy: library/release-images
Config-Commit: 4f2d4f2d4f2d4f2d4f2d4f2d4f2d4f2d4f2d4f2d`)
  })

  it('sums up several executions', () => {
    const other = unsentReport({
      execution: endedExecution({
        id: '20261121T030000Z-3f9a1c07',
        snapshot: snapshot({ policy: policy({ name: 'nightly' }) }),
      }),
    })
    expect(subject({ ...nothing, reports: [report, other] })).toBe('Report 2 executions: 2 succeeded, 1 partial')
    expect(flush({ ...nothing, reports: [report, other] }).message.match(/^Preheat-Execution: /gm)).toHaveLength(2)
    expect(subject({ ...nothing, reports: [report, idleReport()] })).toBe(
      'Report library/release-images, 2 executions: 1 succeeded, 1 partial',
    )
  })

  it('speaks of slots, runs and states where there are no executions', () => {
    expect(subject({ ...nothing, missed: [missed] })).toBe('Report library/nightly: slot missed')
    expect(subject({ ...nothing, missed: [missed, missed] })).toBe('Report 2 missed slots')
    expect(subject({ ...nothing, runs: [run] })).toBe('Report 1 used PreheatRun')
    expect(subject(nothing)).toBe('Report changed states')
  })

  it('has a subject of at most 72 characters and no line of anybody else’s', () => {
    const config = { commit: 'abc\nPreheat-Instance: us', author: 'a', subject: 's' }
    const long = policy({ name: 'x'.repeat(128) })
    const { message } = flush({
      ...nothing,
      reports: [unsentReport({ execution: endedExecution({ snapshot: snapshot({ config, policy: long }) }) })],
    })
    expect(message.split('\n')[0]!.length).toBeLessThanOrEqual(72)
    expect(message.match(/^Preheat-Instance: /gm)).toHaveLength(1)
  })
})

function subject(unsent: Unsent): string {
  return flush(unsent).message.split('\n')[0]!
}
