import { expect, test } from 'vitest'
import type { Detail, ListQuery } from '../../src/registry/registry.ts'
import { SharedSource } from '../../src/registry/shared.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT, candidate } from '../support/examples.ts'
import { MemorySource } from '../support/ports.ts'

const never = new AbortController().signal

class CountingSource extends MemorySource {
  readonly listed: (readonly Detail[])[] = []
  rulesAsked = 0
  fails = false

  override list(query: ListQuery) {
    this.listed.push(query.details)
    return this.fails ? Promise.reject(new Error('torn')) : super.list(query)
  }

  override projectRules() {
    this.rulesAsked++
    return super.projectRules()
  }
}

function site() {
  const clock = new ManualClock(EXAMPLE_AT)
  const source = new CountingSource([candidate()])
  const shared = new SharedSource(source, clock)
  const list = (since: number, project: string | undefined = 'library', details: Detail[] = []) =>
    shared.list({ project, details, since }, never)
  return { clock, source, shared, list }
}

test('a thousand policies of one slot are one listing', async () => {
  const { clock, source, list } = site()
  const slot = clock.now()

  await Promise.all(Array.from({ length: 500 }, () => list(slot)))
  clock.advance(60_000)
  await Promise.all(Array.from({ length: 500 }, () => list(slot)))

  expect(source.listed).toHaveLength(1)
})

test('an execution that began after the listing did has it listed anew', async () => {
  const { clock, source, list } = site()
  await list(clock.now())
  clock.advance(1)

  await list(clock.now())

  expect(source.listed).toHaveLength(2)
})

test('another project is another listing', async () => {
  const { clock, source, list } = site()
  await list(clock.now(), 'a')
  await list(clock.now(), 'b')
  await list(clock.now(), undefined)
  await list(clock.now(), 'a')

  expect(source.listed).toHaveLength(3)
})

test('a criterion that needs more has it listed again, with what others needed', async () => {
  const { clock, source, list } = site()
  const slot = clock.now()
  await list(slot, 'library', ['scan'])
  await list(slot, 'library', [])
  await list(slot, 'library', ['signatures'])
  await list(slot, 'library', ['scan'])

  expect(source.listed).toEqual([['scan'], ['scan', 'signatures']])
})

test('a listing that failed is nobody else’s answer', async () => {
  const { clock, source, list } = site()
  source.fails = true
  await expect(list(clock.now())).rejects.toThrow('torn')
  source.fails = false

  expect(await list(clock.now())).toHaveLength(1)
})

test('rules are asked for once in five seconds', async () => {
  const { clock, source, shared } = site()
  await Promise.all([shared.projectRules('library', never), shared.projectRules('library', never)])
  clock.advance(4_999)
  await shared.projectRules('library', never)
  expect(source.rulesAsked).toBe(1)
  clock.advance(1)
  await shared.projectRules('library', never)
  expect(source.rulesAsked).toBe(2)
})
