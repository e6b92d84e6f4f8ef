import { describe, expect, test, vi } from 'vitest'
import { parseDigest } from '../../src/model/artifact.ts'
import { Quota } from '../../src/registry/quota.ts'
import { RegistryHttp } from '../../src/registry/http.ts'
import { ManualClock } from '../support/clock.ts'
import { registry } from '../support/examples.ts'
import { buildImage } from '../support/oci-images.ts'
import { failureOf, listen, never, open } from './fixtures.ts'
import type { Clock } from '../../src/model/clock.ts'

const NOW = Date.parse('2026-11-21T02:00:00Z')

/** A clock that tells how long it was asked to wait. */
function patientClock(): { readonly clock: Clock; readonly waits: number[]; readonly pass: (ms: number) => void } {
  let now = NOW
  const waits: number[] = []
  const clock: Clock = {
    now: () => now,
    sleepUntil: (until) => {
      waits.push(until - now)
      now = Math.max(now, until)
      return Promise.resolve()
    },
  }
  return { clock, waits, pass: (ms) => void (now += ms) }
}

describe('the next pull where none is left', () => {
  test.each([
    ['as the window gives back', { 'ratelimit-limit': '100;w=21600' }, 216_000],
    ['at the reset, in seconds', { 'ratelimit-reset': '40' }, 40_000],
    ['at the reset, since 1970', { 'ratelimit-reset': String(NOW / 1000 + 50) }, 50_000],
    ['at Retry-After', { 'retry-after': '30', 'ratelimit-reset': '40' }, 30_000],
    ['in a minute where nothing tells', {}, 60_000],
    ['in a minute where nonsense tells', { 'ratelimit-limit': '0;w=21600' }, 60_000],
  ])('is %s', async (_what, more, waitMs) => {
    const { clock, waits } = patientClock()
    const quota = new Quota('registry hub', clock)

    quota.learn({ 'ratelimit-remaining': '0;w=21600', ...more })
    await quota.take(never)

    expect(waits).toEqual([waitMs])
  })

  test('is one at a time, until the registry says that there are more', async () => {
    const { clock, waits } = patientClock()
    const quota = new Quota('registry hub', clock)

    quota.learn({ 'ratelimit-remaining': '0', 'ratelimit-reset': '10' })
    await quota.take(never)
    quota.learn({ 'ratelimit-remaining': '0', 'ratelimit-reset': '10' })
    await quota.take(never)
    quota.learn({ 'ratelimit-remaining': '7;w=21600' })
    await quota.take(never)

    expect(waits).toEqual([10_000, 10_000])
  })

  test('comes no later because HEADs were answered meanwhile', async () => {
    const { clock, waits, pass } = patientClock()
    const quota = new Quota('registry hub', clock)

    quota.learn({ 'ratelimit-remaining': '0', 'ratelimit-limit': '100;w=21600' })
    pass(200_000)
    quota.learn({ 'ratelimit-remaining': '0', 'ratelimit-limit': '100;w=21600' })
    await quota.take(never)

    expect(waits).toEqual([16_000])
  })

  test('is not waited for when it is more than five minutes away, and takes nobody’s turn', async () => {
    const { clock, waits } = patientClock()
    const quota = new Quota('registry hub', clock)

    quota.learn({ 'ratelimit-remaining': '0', 'ratelimit-reset': '600' })
    const errors = [await failureOf(quota.take(never)), await failureOf(quota.take(never))]

    const expected = {
      code: 'PH6001',
      fault: 'unavailable',
      retryAfterMs: 600_000,
      message: expect.stringContaining('in 10 minutes'),
    }
    expect(errors).toMatchObject([expected, expected])
    expect(waits).toEqual([])
  })
})

test('a registry that says nothing of pulls is not waited for', async () => {
  const { clock, waits } = patientClock()
  const quota = new Quota('registry hub', clock)

  quota.learn({})
  quota.learn({ 'ratelimit-remaining': 'plenty' })
  await quota.take(never)

  expect(waits).toEqual([])
})

test('where no pull is left a GET waits for one, and a HEAD does not', async () => {
  const image = buildImage()
  const headers = {
    'ratelimit-limit': '100;w=21600',
    'ratelimit-remaining': '0;w=21600',
    'docker-content-digest': image.digest,
  }
  await using server = await listen(() => ({ headers, body: image.documents.get(image.digest)!.bytes.toString() }))
  const { source, clock } = await open(server.endpoint, { type: 'oci' })

  await source.resolve('app', 'v1', never)
  await source.resolve('app', 'v2', never)
  expect(clock.waits).toEqual([])

  await source.content('app', parseDigest(image.digest), never)
  expect(clock.waits).toEqual([216_000])
})

test('after a 429 nobody else asks before the time that it names', async () => {
  let refused = 0
  await using server = await listen(() => (refused++ === 0 ? { status: 429, headers: { 'retry-after': '20' } } : {}))
  const clock = new ManualClock(0)
  const limits = { requestsPerSecond: 1000, listConcurrency: 4, openArtifacts: 1 }
  await using http = new RegistryHttp(registry({ endpoint: server.endpoint, limits }), clock, undefined)
  const send = () => http.send({ method: 'GET', url: '/', kind: 'detail' }, never)

  const first = send()
  await vi.waitUntil(() => clock.nextWake !== undefined)
  const second = send()
  expect(clock.nextWake).toBe(20_000)
  clock.set(19_999)
  // Long enough for a request to arrive.
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  expect(server.requests).toHaveLength(1)

  while (server.requests.length < 3) {
    if (clock.nextWake !== undefined) clock.set(clock.nextWake)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect([(await first).status, (await second).status]).toEqual([200, 200])
})
