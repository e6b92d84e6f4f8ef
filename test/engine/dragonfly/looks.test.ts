import { expect, test } from 'vitest'
import { Looks } from '../../../src/engine/dragonfly/looks.ts'
import type { Manager } from '../../../src/engine/dragonfly/manager.ts'
import type { Clock } from '../../../src/model/clock.ts'
import { EXAMPLE_AT } from '../../support/examples.ts'
import { never } from '../../support/engine.ts'

/** From so many on a walk through the list is cheaper than a request each. */
const MANY = 12
const PAGE = 256

/** A manager whose newest job is number `newest`, without those that are `gone`; each page is `pageBytes` long. */
function stageOf(newest: number, { gone = [], pageBytes = 0 }: { gone?: readonly number[]; pageBytes?: number } = {}) {
  const requests: string[] = []
  const stage = { now: EXAMPLE_AT, turn: Promise.resolve(), requests }
  const row = (id: number) => ({ id, type: 'preheat', state: 'SUCCESS', bio: '', args: {} })
  const list = Array.from({ length: newest }, (_, i) => newest - i).filter((id) => !gone.includes(id))
  const manager = {
    turn: () => stage.turn,
    get: (path: string) => {
      requests.push(path.replace('/oapi/v1/jobs', ''))
      const [, page] = /[?&]page=(\d+)/.exec(path) ?? []
      const start = (Number(page) - 1) * PAGE
      const told = page === undefined ? row(Number(path.split('/').at(-1))) : list.slice(start, start + PAGE).map(row)
      const bytes = Buffer.from(JSON.stringify(told).padEnd(page === undefined ? 0 : pageBytes))
      return Promise.resolve({ answer: { status: 200, headers: {}, bytes } })
    },
  } as unknown as Manager
  const looks = new Looks('preheat', manager, { now: () => stage.now } as Clock)
  const look = (id: number, signal = never) => looks.look(`${id}`, 0, signal)
  return Object.assign(stage, { look, lookAtAll: (ids: readonly number[]) => Promise.all(ids.map((id) => look(id))) })
}

const listed = (page: number) => `?type=preheat&page=${page}&per_page=${PAGE}`
const newestOf = (newest: number, count: number) => Array.from({ length: count }, (_, i) => newest - i)

test('a walk ends at the page that has the last who waits', async () => {
  const stage = stageOf(1000)

  await stage.lookAtAll(newestOf(1000, MANY))

  expect(stage.requests).toEqual([listed(1)])
})

test('a job that is not on the list, and newer than the oldest read, does not prolong a walk', async () => {
  const stage = stageOf(1000, { gone: [990] })

  await stage.lookAtAll(newestOf(1000, MANY))

  expect(stage.requests).toEqual([listed(1), '/990'])
})

test('rows of a walk are kept up to a size, and those of the pages beyond it are asked for again', async () => {
  const stage = stageOf(1000, { pageBytes: 10 * 2 ** 20 })
  await stage.lookAtAll([...newestOf(1000, MANY), 700])
  expect(stage.requests).toEqual([listed(1), listed(2)])

  await stage.look(900)
  expect(stage.requests).toHaveLength(2)
  await stage.look(699)
  expect(stage.requests.slice(2)).toEqual(['/699'])
})

test('rows of a walk are kept for seconds, and not by a clock that was set back', async () => {
  const stage = stageOf(1000)
  await stage.lookAtAll(newestOf(1000, MANY))
  stage.now += 4_999
  await stage.look(900)
  expect(stage.requests).toHaveLength(1)

  stage.now = EXAMPLE_AT - 1
  await stage.look(900)
  expect(stage.requests.slice(1)).toEqual(['/900'])
})

test('who has gone before their turn is not asked for', async () => {
  const stage = stageOf(1000)
  let begin: () => void = () => undefined
  stage.turn = new Promise((resolve) => (begin = resolve))
  const stop = new AbortController()
  const gone = newestOf(1000, MANY).map((id) => stage.look(id, stop.signal))
  const stays = stage.look(1)

  stop.abort(new Error('stopping'))
  begin()

  expect(await stays).toMatchObject({ id: 1 })
  expect((await Promise.allSettled(gone)).every(({ status }) => status === 'rejected')).toBe(true)
  expect(stage.requests).toEqual(['/1'])
})
