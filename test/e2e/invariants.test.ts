import { beforeAll, expect, test } from 'vitest'
import { openEmbeddedStore } from '../../src/store/embedded.ts'
import { TOKEN } from '../doubles/dragonfly.ts'
import { Witness, type History, type Reported, type Stored } from '../support/history.ts'
import { durableReports, intentFirst, noSecrets } from '../support/invariants.ts'
import { killRun, RUN_SIZES, violationsOf, type Seen } from '../support/kill-run.ts'
import { git } from '../support/repository.ts'
import { openSite } from '../support/site.ts'

let honest: Seen

beforeAll(async () => {
  const run = await killRun(1, RUN_SIZES.short)
  expect(run.violations).toEqual([])
  honest = run.seen
}, 120_000)

/** The honest history but for this. */
function doctored(change: (history: History) => Partial<History>): string[] {
  return violationsOf({ ...honest, history: { ...honest.history, ...change(honest.history) } })
}

const stored = (change: (stored: Stored) => Partial<Stored>) => (history: History) => ({
  stored: { ...history.stored, ...change(history.stored) },
})
const reported = (change: (reported: Reported) => Partial<Reported>) => (history: History) => ({
  reported: { ...history.reported, ...change(history.reported) },
})
const answeredOne = (posts: History['posts']) => posts.find(({ post }) => post.jobId !== undefined)!
const isSlot = ({ cause }: Stored['executions'][number]) => 'slot' in cause
const isRun = ({ cause }: Stored['executions'][number]) => 'run' in cause
/** With the first one changed. */
const first = <T>(all: readonly T[], change: (one: T) => unknown): T[] => [change(all[0]!) as T, ...all.slice(1)]

test.each<[string, RegExp, (history: History) => Partial<History>]>([
  ['a report is lost', /^I1 \S+ has no report/, reported(({ reports }) => ({ reports: reports.slice(1) }))],
  [
    'a report is there twice',
    /^I1 \S+ has 2 reports/,
    reported(({ reports }) => ({ reports: [...reports, reports[0]!] })),
  ],
  [
    'a report tells of another end',
    /^I1 .*other ends/,
    stored(({ tasks }) => ({ tasks: first(tasks, (task) => ({ ...task, state: 'Failed' })) })),
  ],
  [
    'another selection was frozen than is reported',
    /^I1 .*another selection/,
    stored(({ executions }) => ({
      executions: first(executions, (one) => ({ ...one, selection: { selected: 6, digest: 'sha256:0' } })),
    })),
  ],
  ['a POST without anything on the disk', /^I2 /, ({ posts }) => ({ posts: first(posts, ({ post }) => ({ post })) })],
  [
    'a POST with no more than a wish on the disk',
    /^I2 /,
    ({ posts }) => ({ posts: first(posts, ({ post, job }) => ({ post, job: { ...job, state: 'wanted' } })) }),
  ],
  ['one job twice', /^I3 .*is 2 jobs/, ({ posts }) => ({ posts: [...posts, answeredOne(posts)] })],
  [
    'one POST twice, and no kill between',
    /^I3 .*was sent 2 times/,
    ({ posts }) => ({ posts: [...posts, answeredOne(posts)], cutOff: [] }),
  ],
  [
    'a POST of a job that is known',
    /^I3 .*though it was known/,
    ({ posts }) => ({ posts: first(posts, ({ post, job }) => ({ post, job: { ...job, ids: ['1'] } })) }),
  ],
  ['a success of which nothing is cached', /^I4 .*without 2 of its blobs/, () => ({ cachedAt: () => new Set() })],
  [
    'a success that was told before it was one',
    /^I4 /,
    ({ cachedAt }) => ({ cachedAt: (at) => cachedAt(at - 3_600_000) }),
  ],
  [
    'a report that was changed',
    /^I5 a report was changed/,
    reported(({ changes }) => ({ changes: [...changes, changes[0]!.replace('A', 'M')] })),
  ],
  [
    'a report that was filed twice',
    /^I5 added twice/,
    reported(({ changes }) => ({ changes: [...changes, changes[0]!] })),
  ],
  [
    'a report that counts as sent and is nowhere',
    /^I5 \S+ counts as reported/,
    reported(({ changes }) => ({ changes: changes.slice(1) })),
  ],
  [
    'a branch that went back',
    /^I5 0{40} is not on the branch/,
    reported(({ tips }) => ({ tips: ['0'.repeat(40), ...tips] })),
  ],
  ['a broken repository', /^I5 git fsck: missing blob/, reported(() => ({ fsck: 'missing blob' }))],
  [
    'a slot that was run twice',
    /^I6 .*run twice/,
    stored(({ executions }) => ({ executions: [...executions, executions.find(isSlot)!] })),
  ],
  [
    'a slot that nobody ran',
    /^I6 .*not run that was not too old/,
    stored(({ executions }) => ({ executions: executions.filter((one) => one !== executions.find(isSlot)) })),
  ],
  [
    'a run of what is no slot',
    /^I6 .*that is no slot/,
    stored(({ executions }) => ({
      executions: executions.map((one) => (isSlot(one) ? { ...one, cause: { type: 'scheduled', slot: 1 } } : one)),
    })),
  ],
  [
    'a schedule that stands still',
    /^I6 .*no slot was run/,
    stored(({ executions }) => ({ executions: executions.filter(isRun) })),
  ],
  ['missed slots that nobody is told of', /^I6 .*2 missed slots are in no report/, stored(() => ({ missed: 2 }))],
  ...(
    [
      ['run', 'run'],
      ['missed', 'not run'],
      ['due', 'due'],
    ] as const
  ).map(([field, word]): [string, RegExp, (history: History) => Partial<History>] => [
    `a day that counts one more ${field}`,
    new RegExp(`^I6 .* were ${word}, and git counts`),
    reported(({ days }) => ({ days: [...days, { policy: 'nightly/hourly', due: 0, run: 0, missed: 0, [field]: 1 }] })),
  ]),
  [
    'a PreheatRun that was never begun',
    /^I6 PreheatRun first began 0 times/,
    stored(({ executions }) => ({ executions: executions.filter(isSlot) })),
  ],
  [
    'a PreheatRun that was begun twice',
    /^I6 PreheatRun first began 2 times/,
    stored(({ executions }) => ({ executions: [...executions, executions.find(isRun)!] })),
  ],
  [
    'an execution that does not end',
    /^I7 \S+ did not end/,
    stored(({ executions }) => ({ executions: first(executions, (one) => ({ ...one, state: 'Running' })) })),
  ],
  [
    'a report that is not sent',
    /^I7 \S+ was not reported/,
    stored(({ executions }) => ({ executions: first(executions, (one) => ({ ...one, isSent: false })) })),
  ],
  [
    'a task that does not settle',
    /^I7 \S+ did not settle/,
    stored(({ tasks }) => ({
      tasks: first(tasks, ({ id, subject }) => ({ id, subject, state: 'Running', nextAt: 0 })),
    })),
  ],
  ['more submissions at once than are allowed', /^I9 5 submissions at once/, () => ({ postsAtOnce: 5 })],
  [
    'an image that the manager has and that failed',
    / ended as Lost$/,
    stored(({ tasks }) => ({ tasks: first(tasks, (task) => ({ ...task, state: 'Lost' })) })),
  ],
])('the checker of kill runs sees %s', (_what, says, change) => {
  expect(doctored(change)).toContainEqual(expect.stringMatching(says))
})

test('the checker of kill runs sees an artifact that is in no report, no task and no count [I1]', () => {
  const [[policy, artifacts] = ['', []], ...others] = honest.artifacts
  const more = new Map([[policy, [...artifacts, 'team/app-7@sha256:7']], ...others])

  expect(violationsOf({ ...honest, artifacts: more })).toEqual([
    expect.stringMatching(/^I1 \S+ took other artifacts than the registry has/),
  ])
})

test('the checker of kill runs sees an end that takes too long [I7]', () => {
  expect(violationsOf({ ...honest, lastMs: 70_000, undisturbedMs: 4_000 })).toEqual([
    'I7 it took 70000 ms to end, and 68000 ms were allowed',
  ])
})

test.each([
  ['as it is', 'pässword/with+odd"characters'],
  ['as UTF-8 that is read as latin1', Buffer.from('pässword/with+odd"characters').toString('latin1')],
  ['in a URL', encodeURIComponent('pässword/with+odd"characters')],
  ['in JSON', JSON.stringify('pässword/with+odd"characters')],
  ['in Basic credentials', Buffer.from('pässword/with+odd"characters').toString('base64')],
  ['in base64url', Buffer.from('pässword/with+odd"characters').toString('base64url')],
])('the checker finds a secret %s [I8]', (_how, text) => {
  expect(noSecrets(['pässword/with+odd"characters'], [['a log', `before ${text} after`]])).toContain(
    'I8 pässword/w… in a log',
  )
})

test('the checker reads for itself what a manager was sent, and how a branch moved', async () => {
  await using site = await openSite()
  await (await openEmbeddedStore(site.stateDir))[Symbol.asyncDispose]()
  const witness = await Witness.of(site)
  const branch = { branch: 'preheat-reports' }
  const kept = await site.repository.commit({ 'executions/one.yaml': 'kind: ExecutionReport' }, branch)
  const gone = await site.repository.commit({ 'executions/one.yaml': 'kind: Other' }, branch)
  await git(site.repository.dir, 'update-ref', 'refs/heads/preheat-reports', kept)
  const args = { type: 'file', url: 'https://files.example.com/model.bin' }
  await fetch(`${site.dragonfly.endpoint}/oapi/v1/jobs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'preheat', bio: 'preheatd/nobody/file@1', args }),
  })

  const history = await witness.history()

  expect(intentFirst(history)).toEqual(['I2 preheatd/nobody/file@1 had no intent on the disk'])
  expect(durableReports(history)).toEqual([`I5 ${gone} is not on the branch any more`])
})
