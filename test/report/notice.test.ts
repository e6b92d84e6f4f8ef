import { describe, expect, test } from 'vitest'
import { endedExecution, settledTask, taskOf } from '../support/ended.ts'
import { EXAMPLE_AT } from '../support/examples.ts'
import type { Event } from '../../src/model/events.ts'
import type { EndedExecution, Result } from '../../src/model/execution.ts'
import type { Problem } from '../../src/model/problem.ts'
import { NoticeBoard, commitVerdict, executionVerdict } from '../../src/report/notice.ts'

const KEY = endedExecution().policyKey
const REVISION = endedExecution().snapshot.config.commit

function board(last: Partial<Record<string, Result>> = { [KEY]: 'Success' }): NoticeBoard {
  return new NoticeBoard('eu', new Map(Object.entries(last) as [string, Result][]))
}

/** `severity reason message` of everything that is told of these, in order. */
function told(on: NoticeBoard, ...events: Event[]): string[] {
  return events
    .flatMap((event) => on.take(event, EXAMPLE_AT))
    .map(({ severity, reason, message }) => `${severity} ${reason} ${message}`)
}

function ended(result: Result, overrides: Partial<EndedExecution> = {}): Event {
  const cause = { type: 'scheduled', slot: EXAMPLE_AT } as const
  return { name: 'execution.ended', execution: endedExecution({ cause, result, ...overrides }) }
}

function problem(overrides: Partial<Problem> = {}): Problem {
  return { severity: 'error', code: 'PH2003', file: 'a.yaml', line: 3, column: 5, message: 'wrong', ...overrides }
}

function applied(revision = 'new'): Event {
  return { name: 'plan.applied', revision, created: 1, updated: 0, deleted: 0, stalled: 0 }
}

const COUNTS = ', 40 selected, 37 skipped'

describe('an execution that ended', () => {
  test('is told when it came to something else than the one before', () => {
    expect(told(board(), ended('Unverified'))).toEqual([`error ResultChanged Unverified (was Success)${COUNTS}`])
    expect(told(board({ [KEY]: 'Failed' }), ended('Success'))).toEqual([
      `info ResultChanged Success (was Failed)${COUNTS}`,
    ])
    expect(told(board(), ended('Stopped'))).toEqual([`info ResultChanged Stopped (was Success)${COUNTS}`])
  })

  test('is told when it is the first of its policy', () => {
    expect(told(board({}), ended('Success'))).toEqual([`info ResultChanged Success${COUNTS}`])
  })

  test('is told when it did something, and not when everything was warm: that is as good as warming it, and no news', () => {
    expect(told(board(), ended('Success'), ended('Skipped'), ended('Skipped'), ended('Success'))).toEqual([
      `info ExecutionEnded Success${COUNTS}`,
      `info ExecutionEnded Success (was Skipped)${COUNTS}`,
    ])
    expect(told(board({ [KEY]: 'Unverified' }), ended('Unverified'))).toEqual([
      `error ExecutionEnded Unverified${COUNTS}`,
    ])
  })

  test.each(['Failed', 'PartialSuccess', 'Blocked', 'Missed'] as const)('is told each time when it is %s', (result) => {
    const on = board({ [KEY]: result })
    expect(told(on, ended(result), ended(result))).toEqual([
      `error ExecutionFailed ${result}${COUNTS}`,
      `error ExecutionFailed ${result}${COUNTS}`,
    ])
  })

  test('is told to whoever asked for it, whatever it came to', () => {
    const cause = { type: 'manual', acceptedAt: EXAMPLE_AT, by: 'ann' } as const
    expect(told(board(), ended('Success', { cause }))).toEqual([`info ExecutionEnded Success${COUNTS}`])
  })

  test('names its reason, or the first task that failed', () => {
    const reason = { code: 'PH6001', message: 'registry harbor does not answer' } as const
    expect(told(board(), ended('Failed', { reason, selection: undefined }))).toEqual([
      'error ExecutionFailed Failed (was Success): PH6001 registry harbor does not answer',
    ])
    const on = board()
    const fails = (of: string) =>
      taskOf(of, { state: 'Failed', error: { code: 'PH5006', message: `no ${of}` }, executionId: endedExecution().id })
    for (const of of ['app', 'db']) on.take({ name: 'task.changed', task: fails(of) }, EXAMPLE_AT)
    const subject = fails('app').subject
    expect(told(on, ended('Failed'))).toEqual([
      `error ExecutionFailed Failed (was Success)${COUNTS}: ${'digest' in subject ? `library/app@${subject.digest}` : ''} at dragonfly-eu: PH5006 no app`,
    ])
  })

  test('carries what a search wants: policy, execution, commit and time', () => {
    expect(board().take(ended('Failed'), EXAMPLE_AT)).toMatchObject([
      {
        object: { kind: 'PreheatPolicy', name: 'library/release-images', key: KEY },
        executionId: endedExecution().id,
        revision: REVISION,
        at: endedExecution().endedAt,
      },
    ])
  })
})

describe('a run with artifacts of its own', () => {
  const of = (result: Result): Event => {
    const cause = { type: 'manual', run: { name: 'hotfix', digest: 'sha256:1', reason: '' } } as const
    return ended(result, { cause, policyKey: 'PreheatRun/hotfix' })
  }

  test('is told of as what it is, by the name in its reports', () => {
    expect(board().take(of('Success'), EXAMPLE_AT)).toMatchObject([
      { object: { kind: 'PreheatRun', name: 'library/release-images', key: 'PreheatRun/hotfix' } },
    ])
  })

  test('has no result before it that could change', () => {
    expect(told(board({ 'PreheatRun/hotfix': 'Stopped' }), of('Failed'), of('Success'))).toEqual([
      `error ExecutionFailed Failed${COUNTS}`,
      `info ExecutionEnded Success${COUNTS}`,
    ])
  })
})

describe('drift', () => {
  const cause = { type: 'scheduled', upkeep: 'drift', at: EXAMPLE_AT } as const
  const executionId = endedExecution().id

  test('is told once an execution, with how many artifacts it is about', () => {
    const on = board()
    const error = { code: 'PH5010', message: 'it was warm' } as const
    for (const of of ['app', 'db'])
      on.take({ name: 'task.changed', task: taskOf(of, { state: 'Partial', error, executionId }) }, EXAMPLE_AT)

    const [first, ...more] = told(on, ended('Failed', { cause }), ended('Failed', { cause }))

    expect(first).toMatch(
      /^error DriftFound 2 artifacts not warm any more, first library\/app@sha256:\w+ at dragonfly-eu: PH5010 it was warm$/,
    )
    expect(more).toEqual([`error ExecutionFailed Failed${COUNTS}`])
  })

  test('that was looked for and not found is no news', () => {
    expect(told(board(), ended('Success', { cause }), ended('Success', { cause }))).toEqual([])
  })

  test('is told as healed where artifacts were preheated again, and not where all was there', () => {
    const on = board()
    const job = { key: 'k', manifest: undefined, cluster: undefined, state: 'wanted' } as const
    const healed = settledTask({ purpose: 'heal', jobs: [{ ...job, ids: ['17'] }], executionId })
    const intact = settledTask({ purpose: 'heal', jobs: [{ ...job, ids: [] }], executionId })
    on.take({ name: 'task.changed', task: healed }, EXAMPLE_AT)
    on.take({ name: 'task.changed', task: intact }, EXAMPLE_AT)

    expect(told(on, ended('Success', { cause }))).toEqual([
      'info DriftHealed 1 artifact not warm any more, preheated again',
    ])
  })
})

test('a provider that falls silent is told once, and once that it answers', () => {
  const circuit = (openUntil: number | undefined): Event => ({ name: 'provider.circuit', provider: 'eu', openUntil })
  const on = board()
  expect(told(on, circuit(undefined))).toEqual([])
  expect(
    told(on, circuit(EXAMPLE_AT + 60_000), circuit(EXAMPLE_AT + 90_000), circuit(undefined), circuit(undefined)),
  ).toEqual([
    'error ProviderUnreachable it does not answer; its tasks wait, and it is asked again in 1m',
    'info ProviderRecovered it answers again',
  ])
})

test('the problems of a commit are one notice, errors first, and belong to that commit alone', () => {
  const on = board()
  const files = ['a', 'b', 'c', 'd']
  const events = files.map((file): Event => ({
    name: 'config.problem',
    problem: problem({ file: `${file}.yaml`, severity: file === 'd' ? 'error' : 'warning' }),
  }))
  expect(told(on, ...events)).toEqual([])
  const [notice, ...none] = on.take(applied(), EXAMPLE_AT)

  expect(none).toEqual([])
  expect(notice).toMatchObject({
    severity: 'error',
    reason: 'ConfigInvalid',
    revision: 'new',
    message: '4 problems: d.yaml:3 PH2003 wrong; a.yaml:3 PH2003 wrong; b.yaml:3 PH2003 wrong; and 1 more',
  })
  expect(told(on, applied('newer'))).toEqual([])
  expect(told(on, { name: 'config.problem', problem: problem({ severity: 'warning' }) }, applied('newest'))).toEqual([
    'info ConfigWarning 1 problem: a.yaml:3 PH2003 wrong',
  ])
})

test('a source that cannot be used is told once, and once that it can', () => {
  const failed: Event = { name: 'source.failed', state: 'Unreachable', code: 'PH4003', message: 'no route' }
  const unchanged: Event = { name: 'source.unchanged', revision: 'r' }
  const on = board()
  expect(told(on, unchanged, failed, failed, unchanged, unchanged)).toEqual([
    'error SourceFailed Unreachable: no route (PH4003)',
    'info SourceRecovered the source can be used again',
  ])
})

test('a message is one line and has an end', () => {
  const reason = { code: 'PH6006', message: `a\nb\u202e${'x'.repeat(5000)}` } as const
  const [notice] = board().take(ended('Failed', { reason }), EXAMPLE_AT)
  expect(notice!.message).toHaveLength(1000)
  expect(notice!.message).not.toMatch(/[\n\u202e]/)
})

test('what no more than a thousand executions under way came to is remembered', () => {
  const on = board()
  const error = { code: 'PH5010', message: 'gone' } as const
  for (let i = 0; i <= 1000; i++)
    on.take({ name: 'task.changed', task: settledTask({ state: 'Failed', error, executionId: `e${i}` }) }, EXAMPLE_AT)
  expect(told(on, ended('Failed', { id: 'e0' }))[0]).toContain('ExecutionFailed')
  expect(told(on, ended('Failed', { id: 'e1000' }))[0]).toContain('DriftFound')
})

describe('beside a commit', () => {
  test('stands how many objects are in force, or what is wrong', () => {
    expect(commitVerdict(12, [])).toEqual({ state: 'success', description: '12 objects in force' })
    expect(commitVerdict(1, [problem({ severity: 'warning' })])).toEqual({
      state: 'success',
      description: '1 object in force, 1 warning',
    })
    expect(commitVerdict(12, [problem({ severity: 'warning', file: 'w.yaml' }), problem()])).toEqual({
      state: 'failure',
      description: '1 problem: a.yaml:3 PH2003 wrong',
    })
  })

  test.each<[Result, string]>([
    ['Success', 'success'],
    ['Skipped', 'success'],
    ['Unverified', 'failure'],
    ['PartialSuccess', 'failure'],
    ['Stopped', 'failure'],
    ['Blocked', 'failure'],
  ])('an execution that is %s is a %s', (result, state) => {
    expect(executionVerdict(endedExecution({ result }))).toEqual({ state, description: `${result}${COUNTS}` })
  })
})
