import type { ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { FakeCache, orderOf } from './pull-through/fake-cache.ts'
import { ManualClock } from '../support/clock.ts'
import { EXAMPLE_AT, provider, task } from '../support/examples.ts'
import { buildImage } from '../support/oci-images.ts'
import { settledWith } from '../support/settled.ts'
import { openPullThrough } from '../../src/engine/pull-through/pull-through.ts'
import { Secret } from '../../src/model/secret.ts'
import type { OpenTask } from '../../src/model/task.ts'

interface Scenario {
  /** What the cache does to the last blob of the last platform, or to what `of` names; default: what it should. */
  readonly does?: (response: ServerResponse, bytes: Buffer) => void
  readonly of?: RegExp
  /** How often, before it does what it should; default always. */
  readonly times?: number
  /** Default: more than it takes. */
  readonly timeoutMs?: number
  readonly platforms?: readonly string[]
  readonly purpose?: OpenTask['purpose']
  readonly state: string
  readonly code?: string
  readonly says?: RegExp
  /** Of the three of each platform; undefined: there is no evidence. */
  readonly blobs?: number
  /** Rounds of submission; default 1. */
  readonly attempts?: number
}

const json = { 'content-type': 'application/json' }
const answer =
  (status: number, headers: Record<string, string | number> = {}, body = '') =>
  (response: ServerResponse) => {
    response.writeHead(status, headers).end(body)
  }
const upstreamSays = (code: string) =>
  answer(500, json, JSON.stringify({ errors: [{ code: 'UNKNOWN', detail: { errors: [{ code }] } }] }))
const whole = { state: 'Succeeded', blobs: 3 }
const both = ['linux/amd64', 'linux/arm64']

const scenarios: Readonly<Record<string, Scenario>> = {
  'a whole image': whole,
  'an index': { platforms: both, state: 'Succeeded', blobs: 6 },
  'a cut, and then the whole': { does: (response) => response.destroy(), times: 1, ...whole, attempts: 2 },
  'a cut every time': {
    does: (response) => response.destroy(),
    state: 'Failed',
    code: 'PH5001',
    says: /edge-cache does not answer/,
    attempts: 3,
  },
  nothing: {
    does: () => undefined,
    timeoutMs: 200,
    state: 'Failed',
    code: 'PH5001',
    says: /did not let library\/app@sha256:\w+ be read within 200 ms/,
    attempts: 3,
  },
  '429 with a delay, and then the whole': { does: answer(429, { 'retry-after': 17 }), times: 1, ...whole },
  'the rate limit of its upstream, and then the whole': { does: upstreamSays('TOOMANYREQUESTS'), times: 1, ...whole },
  'other bytes': {
    does: (response, bytes) => response.end(Buffer.alloc(bytes.length)),
    state: 'Failed',
    code: 'PH6008',
    says: /serves other bytes as blob sha256:\w+ of library\/app/,
  },
  'a page for people instead of a manifest': {
    does: answer(200, { 'content-type': 'text/html' }, '<html>welcome</html>'),
    of: /manifests/,
    state: 'Failed',
    code: 'PH6008',
    says: /serves other bytes as manifest/,
  },
  'that it has no such blob, or that its upstream is not healthy': {
    does: answer(404, json, '{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}'),
    state: 'Failed',
    code: 'PH6003',
    says: /BLOB_UNKNOWN: blob unknown to registry; does it cache this registry, and is its upstream healthy\?$/,
  },
  'one platform, and of the other nothing': {
    platforms: both,
    does: answer(404),
    state: 'Partial',
    code: 'PH6003',
    says: /read blob/,
    blobs: 3,
  },
  'all platforms, and not their index': {
    platforms: both,
    does: answer(404),
    of: /index/,
    state: 'Partial',
    code: 'PH6003',
    says: /read manifest/,
    blobs: 3,
  },
  'that its upstream refuses it': {
    does: upstreamSays('DENIED'),
    state: 'Failed',
    code: 'PH6002',
    says: /upstream refuses the cache’s own credential/,
  },
  '401': { does: answer(401), state: 'Failed', code: 'PH5007', says: /HTTP 401/ },
  '500': { does: answer(500), state: 'Failed', code: 'PH5001', says: /HTTP 500/, attempts: 3 },
  'a redirect to a metadata service': {
    does: answer(307, { location: 'http://169.254.169.254/latest/' }),
    state: 'Failed',
    code: 'PH3013',
    says: /redirects to 169\.254\.169\.254/,
  },
  'a whole image, when it is only looked at': {
    purpose: 'look',
    state: 'Unverified',
    code: 'PH5004',
    says: /cannot be looked at: asked for a blob, it fetches it/,
    attempts: 0,
  },
  'a whole image, when it is healed': { purpose: 'heal', ...whole },
}

test.each(Object.entries(scenarios))('what becomes of a task whose cache gives %s', async (_, scenario) => {
  const { platforms, does, purpose = 'preheat', state, code, says, blobs, attempts = 1 } = scenario
  const image = buildImage({ ...(platforms && { platforms }), attestation: false })
  await using cache = await FakeCache.start(image)
  const last = image.manifests.at(-1)!.blobs.at(-1)!.digest
  const of = scenario.of?.source === 'index' ? new RegExp(`${image.digest}$`) : (scenario.of ?? new RegExp(`${last}$`))
  let left = scenario.times ?? Infinity
  cache.interfere = (request, response) => {
    if (does === undefined || !of.test(request.url!) || left <= 0) return false
    left -= 1
    does(response, image.blobs.get(last)!)
    return true
  }
  const clock = new ManualClock(EXAMPLE_AT)
  const declared = provider({
    name: 'edge-cache',
    vendor: 'pull-through',
    endpoint: cache.endpoint,
    limits: { submitsInFlight: 16, requestsPerSecond: 100_000 },
  })
  await using engine = openPullThrough(declared, undefined, { read: () => Promise.resolve(new Secret('')), clock })
  const order = orderOf(image, { timeoutMs: scenario.timeoutMs ?? 20_000 })

  const settled = await settledWith(engine, task({ order, purpose }), clock)

  expect([settled.state, settled.error?.code, settled.evidence?.blobs, settled.attempts]).toEqual([
    state,
    code,
    blobs,
    attempts,
  ])
  if (says) expect(settled.error?.message).toMatch(says)
  if (settled.evidence) expect(settled.evidence).toMatchObject({ kind: 'read_through', source: 'observed' })
})
