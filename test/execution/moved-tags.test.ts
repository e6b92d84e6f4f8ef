import { expect, test } from 'vitest'
import { movedTags } from '../../src/execution/moved-tags.ts'
import type { Digest } from '../../src/model/artifact.ts'
import { EdgeError, OperatorError } from '../../src/model/errors.ts'
import type { SettledTask } from '../../src/model/task.ts'
import { ManualClock } from '../support/clock.ts'
import { settledTask } from '../support/ended.ts'
import { artifact, digest, EXAMPLE_AT, EXAMPLE_FILE, fileOrder } from '../support/examples.ts'

const never = new AbortController().signal

/** A registry that remembers what it was asked for, and answers as it is told. */
class AskedSource {
  readonly asked: string[] = []
  answer: (tag: string, signal: AbortSignal) => Promise<Digest | undefined> = () => Promise.resolve(digest(1))
  opens = 0

  /** What is asked of it in the end. */
  readonly open = () => {
    this.opens++
    return Promise.resolve({
      resolve: (repository: string, tag: string, signal: AbortSignal) => {
        this.asked.push(`${repository}:${tag}`)
        return this.answer(tag, signal)
      },
    })
  }
}

const preheated = (tags: readonly string[], more: Partial<SettledTask> = {}) =>
  settledTask({ subject: artifact({ tags: [...tags] }), jobs: [JOB], ...more })
const JOB = { ids: ['17'] } as unknown as SettledTask['jobs'][number]

test('tags that point elsewhere than at what they selected are told, with where they point, or that they are gone [R6]', async () => {
  const source = new AskedSource()
  source.answer = (tag) => Promise.resolve({ latest: digest(2), v1: digest(1) }[tag])

  const moved = await movedTags([preheated(['v1', 'latest', 'gone'])], source.open, new ManualClock(EXAMPLE_AT), never)

  expect(moved).toEqual([
    { artifact: 'library/app:gone', digest: undefined },
    { artifact: 'library/app:latest', digest: digest(2) },
  ])
})

test('a tag is asked for once however many providers its artifact went to, and no more than ten of an artifact', async () => {
  const source = new AskedSource()
  const tags = Array.from({ length: 12 }, (_, index) => `v${index}`)

  await movedTags(
    [preheated(tags), preheated(tags, { provider: 'other' })],
    source.open,
    new ManualClock(EXAMPLE_AT),
    never,
  )

  expect(source.asked).toEqual(tags.slice(0, 10).map((tag) => `library/app:${tag}`))
})

test.each([
  ['was known to be warm', preheated(['v1'], { jobs: [] })],
  ['was looked at and not sent', preheated(['v1'], { purpose: 'look' })],
  ['is a file', preheated([], { subject: { file: EXAMPLE_FILE }, order: fileOrder() })],
])('nothing is asked about what %s', async (_, task) => {
  const source = new AskedSource()
  expect(await movedTags([task], source.open, new ManualClock(EXAMPLE_AT), never)).toEqual([])
  expect(source.opens).toBe(0)
})

test('of a tag that the registry refuses to tell nothing is claimed', async () => {
  const source = new AskedSource()
  const refusal = new EdgeError('rejected', 'PH6002', 'not yours')
  source.answer = (tag) => (tag === 'v1' ? Promise.reject(refusal) : Promise.resolve(digest(2)))

  const moved = await movedTags([preheated(['v1', 'latest'])], source.open, new ManualClock(EXAMPLE_AT), never)

  expect(moved).toEqual([{ artifact: 'library/app:latest', digest: digest(2) }])
})

test.each([
  ['does not answer', new EdgeError('unavailable', 'PH6001', 'no answer')],
  ['cannot be used any more', new OperatorError('PH1007', 'its secret is gone')],
])('a registry that %s fails nothing and is asked nothing more', async (_, error) => {
  const source = new AskedSource()
  const letGo: boolean[] = []
  source.answer = (tag, signal) => {
    if (tag === 'v1') return Promise.reject(error)
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        letGo.push(true)
        reject(new Error('let go'))
      })
    })
  }

  expect(await movedTags([preheated(['latest', 'v1'])], source.open, new ManualClock(EXAMPLE_AT), never)).toEqual([])
  expect(letGo).toEqual([true])
})

test('a registry that cannot be opened fails nothing', async () => {
  const open = () => Promise.reject(new OperatorError('PH1007', 'its secret is gone'))
  expect(await movedTags([preheated(['v1'])], open, new ManualClock(EXAMPLE_AT), never)).toEqual([])
})

test('a registry that hangs is waited for a minute, and let go', async () => {
  const source = new AskedSource()
  const clock = new ManualClock(EXAMPLE_AT)
  let letGo: AbortSignal | undefined
  source.answer = (tag, signal) => {
    if (tag === 'latest') return Promise.resolve(digest(2))
    letGo = signal
    return new Promise(() => undefined)
  }

  const asked = movedTags([preheated(['latest', 'v1'])], source.open, clock, never)
  await expect.poll(() => letGo).toBeDefined()
  expect(clock.nextWake).toBe(EXAMPLE_AT + 60_000)
  clock.advance(60_000)

  expect(await asked).toEqual([{ artifact: 'library/app:latest', digest: digest(2) }])
  expect(letGo?.aborted).toBe(true)
})

test('of hundreds of tags that are asked for at once nothing is warned of', async () => {
  const source = new AskedSource()
  const warnings: Error[] = []
  const warn = (warning: Error) => warnings.push(warning)
  process.on('warning', warn)
  source.answer = (_tag, signal) => {
    signal.addEventListener('abort', () => undefined)
    return Promise.resolve(digest(1))
  }
  const tasks = Array.from({ length: 30 }, (_, n) =>
    preheated(['v1'], { subject: artifact({ repository: `library/app-${n}`, tags: ['v1'] }) }),
  )

  await movedTags(tasks, source.open, new ManualClock(EXAMPLE_AT), never)
  await new Promise(setImmediate)
  process.off('warning', warn)

  expect(source.asked).toHaveLength(30)
  expect(warnings).toEqual([])
})

test('a shutdown does not wait for the registry, and claims nothing', async () => {
  const source = new AskedSource()
  source.answer = () => new Promise(() => undefined)
  const shutdown = new AbortController()
  const reason = new Error('shutdown')

  const asked = movedTags([preheated(['v1'])], source.open, new ManualClock(EXAMPLE_AT), shutdown.signal)
  await expect.poll(() => source.asked).toHaveLength(1)
  shutdown.abort(reason)

  await expect(asked).rejects.toBe(reason)
})
