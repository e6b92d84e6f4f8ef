import { expect, test } from 'vitest'
import { progressTo, type Paint } from '../../src/observe/progress.ts'
import type { Job, JobProgress, OpenTask, Task } from '../../src/model/task.ts'
import { artifactRun, digest, EXAMPLE_FILE, execution, fileOrder, task } from '../support/examples.ts'

const GIB = 2 ** 30
const plain: Paint = { good: (text) => text, bad: (text) => text, dim: (text) => text }

function open(id: string, progress?: JobProgress): Job {
  const identity = { key: id, manifest: digest(1), cluster: undefined, ids: [id] }
  return { ...identity, state: 'open', id, submittedAt: 0, lookAt: 0, ...(progress && { progress }) }
}

function running(...jobs: Job[]): OpenTask {
  return { ...task(), state: 'Running', jobs }
}

/** The lines that these tasks make, one after another. */
function linesOf(...tasks: Task[]): string[] {
  const lines: string[] = []
  const emit = progressTo((line) => lines.push(line), plain)
  for (const one of tasks) emit({ name: 'task.changed', task: one })
  return lines
}

function done(gib: number): JobProgress {
  return { doneBytes: gib * GIB, totalBytes: 6 * GIB }
}

test('a job that tells its bytes is shown with them, and one that tells none by its id', () => {
  expect(linesOf(running(open('17', done(1.5)), open('18')))).toEqual([
    '  … library/app:v1 → dragonfly-eu Running, job 17 (1.5 GiB of 6.0 GiB, 25 %), 18',
  ])
})

test('an execution is called as its reports are, also that of a run with artifacts of its own', () => {
  const { ownPolicy } = artifactRun()
  const snapshotOf = { ...execution().snapshot, policy: ownPolicy }
  const lines: string[] = []
  const started = execution({ policyKey: 'PreheatRun/hotfix-2026-11-21', snapshot: snapshotOf })
  progressTo((line) => lines.push(line), plain)({ name: 'execution.started', execution: started })

  expect(lines.join()).toContain(`library/${ownPolicy.name}`)
})

test('a source that cannot be used is told with what to do', () => {
  const lines: string[] = []
  progressTo(
    (line) => lines.push(line),
    plain,
  )({
    name: 'source.failed',
    state: 'RefNotFound',
    code: 'PH4002',
    message: 'the remote has no branch nope',
  })

  expect(lines).toEqual([
    expect.stringMatching(/^✗ source RefNotFound PH4002: the remote has no branch nope\n {2}help: Check the name /),
  ])
})

test('a job of no bytes is whole', () => {
  expect(linesOf(running(open('17', { doneBytes: 0, totalBytes: 0 })))).toEqual([
    expect.stringMatching(/job 17 \(0 B of 0 B, 100 %\)$/),
  ])
})

test('looks make a line for a tenth more, and not for every look', () => {
  const shares = [0, 0.5, 1, 1, 1.1, 2, 6].map((gib) => running(open('17', done(gib))))

  expect(linesOf(...shares).map((line) => /(\d+) %/.exec(line)?.[1])).toEqual(['0', '16', '33', '100'])
})

test('looks that tell nothing make one line, and another job of the task makes another', () => {
  const lines = linesOf(running(open('17')), running(open('17')), running(open('17'), open('18')), running(open('18')))

  expect(lines.map((line) => /job (.*)$/.exec(line)?.[1])).toEqual(['17', '17, 18', '18'])
})

test('a task that went back and runs again is shown again', () => {
  const back = { ...task(), state: 'Pending', error: { code: 'PH5001', message: 'refused' } } as const

  expect(linesOf(running(open('17')), back, running(open('17')))).toHaveLength(3)
})

test('two tasks do not hide each other', () => {
  expect(linesOf(running(open('17')), { ...running(open('17')), id: 'another' })).toHaveLength(2)
})

test('a task of which only the caches are looked at says so', () => {
  const verdict = { said: 'gone', claims: undefined, message: undefined } as const
  const probing: Job = { ...open('17'), state: 'probing', verdict, notes: undefined, lookAt: 0 }

  expect(linesOf(running(probing))).toEqual([expect.stringMatching(/Running, its caches are looked at$/)])
})

test('a file is shown by its URL', () => {
  const file = task({ subject: { file: EXAMPLE_FILE }, order: fileOrder(), sizeBytes: undefined })
  expect(linesOf({ ...file, state: 'Running', jobs: [open('17')] })).toEqual([
    `  … ${EXAMPLE_FILE} → dragonfly-eu Running, job 17`,
  ])
})

test.each([
  [3 * GIB, 0, '3.0 GiB'],
  [3 * GIB, 2, '3.0 GiB and 2 of unknown size'],
  [0, 1, '1 of unknown size'],
  [0, 0, '0 B'],
])('a selection of %d known bytes and %d unknown sizes is %s to preheat', (sizeBytes, unsized, amount) => {
  const lines: string[] = []
  const selection = { digest: 'sha256:0', considered: 3, selected: 3, skipped: 0 }
  const running = { ...execution(), state: 'Running' as const, selection }
  progressTo(
    (line) => lines.push(line),
    plain,
  )({ name: 'execution.selected', execution: running, tasks: 3, sizeBytes, unsized })
  expect(lines).toEqual([`► library/release-images 3 tasks, ${amount} to preheat`])
})
