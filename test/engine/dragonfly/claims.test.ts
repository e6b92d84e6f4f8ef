import { describe, expect, test } from 'vitest'
import { claimsOf, verdictOf, type Question } from '../../../src/engine/dragonfly/claims.ts'
import { parseFileUrl } from '../../../src/model/artifact.ts'
import type { JobRow } from '../../../src/engine/dragonfly/wire.ts'
import type { Verdict } from '../../../src/model/task.ts'
import { digest } from '../../support/examples.ts'

const [config, layer, other] = [digest('config'), digest('layer'), digest('other')]
const question: Question = {
  repository: 'library/app',
  scope: 'single_seed_peer',
  blobs: [config, layer],
  cluster: 1,
  requiredShare: 1,
  peers: {},
}

const url = (blob: string, repository = 'library/app') => `https://r.example/v2/${repository}/blobs/${blob}`
const done = (blob: string, host = 'seed-0') => ({ url: url(blob), hostname: host, ip: `10.0.0.${host.slice(-1)}` })

/** One entry of `job_states`. */
function told(cluster: number, success: unknown, failure: unknown = null): Record<string, unknown> {
  const results = [{ scheduler_cluster_id: cluster, success_tasks: success, failure_tasks: failure }]
  return { state: 'SUCCESS', error: '', results }
}

function row(states: unknown, overrides: Partial<JobRow> = {}): JobRow {
  return {
    id: 1,
    type: 'preheat',
    state: 'SUCCESS',
    bio: '',
    url: '',
    createdAt: undefined,
    echo: { keys: new Set(), byDigest: undefined },
    result: { job_states: states },
    clusters: [],
    secrets: [],
    ...overrides,
  }
}

function cached(states: unknown, overrides: Partial<Question> = {}, clusters: readonly number[] = []): unknown {
  return claimsOf(row(states, { clusters }), { ...question, ...overrides })?.cached
}

describe('SUCCESS is believed as far as success_tasks', () => {
  test.each([
    ['every blob listed', [told(1, [done(config), done(layer)])], [config, layer]],
    ['one blob short', [told(1, [done(layer)])], [layer]],
    ['null list', [told(1, null)], []],
    ['empty list', [told(1, [])], []],
    ['no results', [{ state: 'SUCCESS', error: '', results: null }], undefined],
    ['no job_states', null, undefined],
    ['garbage', 'x', undefined],
    ['results of another cluster only', [told(2, [done(config), done(layer)])], undefined],
  ])('%s', (_, states, expected) => {
    expect(cached(states)).toEqual(expected)
  })

  test('blobs of another repository or another image prove nothing', () => {
    const foreign = { ...done(config), url: url(config, 'library/other') }

    expect(cached([told(1, [foreign, done(other)])])).toEqual([])
  })

  test('a query on a blob’s URL does not hide it', () => {
    expect(cached([told(1, [{ ...done(config), url: `${url(config)}?ns=docker.io` }])])).toEqual([config])
  })

  test('a URL that only ends in the digest is no blob', () => {
    expect(cached([told(1, [{ ...done(config), url: `https://r.example/v2/library/app/blobs/x/${config}` }])])).toEqual(
      [],
    )
  })

  test('before 2.3.1 a layer is an entry of its own: they add up', () => {
    expect(cached([told(1, [done(config)]), told(1, [done(layer)])])).toEqual([config, layer])
  })

  test('entries without a shape are passed over', () => {
    expect(
      cached([null, 7, { results: [null, { scheduler_cluster_id: '1' }] }, told(1, [null, 3, {}, done(config)])]),
    ).toEqual([config])
  })
})

describe('a job for several clusters', () => {
  test('a blob counts when every cluster that the job went to lists it', () => {
    const states = [told(1, [done(config), done(layer)]), told(2, [done(layer)])]

    expect(cached(states, { cluster: undefined }, [1, 2])).toEqual([layer])
  })

  test('a cluster that the job went to and that says nothing shows nothing', () => {
    expect(cached([told(1, [done(config), done(layer)])], { cluster: undefined }, [1, 2])).toEqual([])
  })

  test('where the manager does not tell the clusters, those of the result count', () => {
    const states = [told(1, [done(config), done(layer)]), told(2, [done(config)])]

    expect(cached(states, { cluster: undefined })).toEqual([config])
  })
})

describe('scopes with many hosts', () => {
  const scope = 'all_peers'

  test('a blob counts when every host that lists something lists it', () => {
    const states = [told(1, [done(config, 'a0'), done(config, 'b1'), done(layer, 'a0')])]

    expect(cached(states, { scope })).toEqual([config])
  })

  test('a blob that failed on some host does not count; what that host hides is not held against the others', () => {
    const states = [told(1, [done(config, 'a0'), done(layer, 'a0')], [done(layer, 'b1')])]

    expect(cached(states, { scope })).toEqual([config])
  })

  test.each([
    [1, [config]],
    [0.67, [config]],
    [0.66, [config, layer]],
  ])(
    'a share of %d is of the hosts that list something and of those that failed the blob',
    (requiredShare, expected) => {
      const list = [done(config, 'a0'), done(config, 'b1'), done(layer, 'a0'), done(layer, 'b1')]

      expect(cached([told(1, list, [done(layer, 'c2')])], { scope, requiredShare })).toEqual(expected)
    },
  )

  test('a blob that everybody failed is not cached, whatever the share', () => {
    const states = [told(1, [done(config, 'a0')], [done(layer, 'b1')])]

    expect(cached(states, { scope, requiredShare: 0.01 })).toEqual([config])
  })

  test('a host that was named and is not heard of lacks every blob', () => {
    const states = [told(1, [done(config, 'a0'), done(layer, 'a0')])]
    const ips = ['10.0.0.0', '10.0.0.7', '10.0.0.7']

    expect(cached(states, { scope, peers: { ips } })).toEqual([])
    expect(cached(states, { scope, peers: { ips }, requiredShare: 0.5 })).toEqual([config, layer])
    expect(cached(states, { peers: { ips } })).toEqual([config, layer])
  })

  test('a host that was named and failed another blob is heard of', () => {
    const states = [told(1, [done(config, 'a0')], [done(layer, 'b1')])]

    expect(cached(states, { scope, peers: { ips: ['10.0.0.0', '10.0.0.1'] } })).toEqual([config])
  })

  test.each(['all_peers', 'all_seed_peers'] as const)('a host that is unknown holds nothing with %s', (scope) => {
    const unknown = { url: url(config), hostname: 'unknown', ip: 'unknown' }

    expect(cached([told(1, [unknown])], { scope })).toEqual([])
  })

  test('a blob that a single seed peer both fetched and failed is not cached', () => {
    expect(cached([told(1, [done(config), done(layer)], [done(layer, 'b1')])])).toEqual([config])
  })

  test('a host that both fetched and failed a blob lacks it', () => {
    const states = [told(1, [done(layer, 'a0'), done(layer, 'b1')], [done(layer, 'b1')])]

    expect(cached(states, { scope, requiredShare: 0.5 })).toEqual([layer])
    expect(cached(states, { scope, requiredShare: 0.51 })).toEqual([])
  })

  test('a failure on a host that is unknown is a failure', () => {
    const failed = { url: url(layer), hostname: 'unknown', ip: 'unknown', description: '401' }

    expect(cached([told(1, [done(layer)], [failed])])).toEqual([])
    expect(cached([told(1, [done(layer)], [failed])], { scope })).toEqual([])
  })

  test('one seed each is enough for a single seed peer, whichever it is', () => {
    expect(cached([told(1, [done(config, 'a0'), done(layer, 'b1')])])).toEqual([config, layer])
  })
})

test('a file is shown by its own URL, to the letter', () => {
  const file = parseFileUrl('https://models.example.com/llama.gguf?v=1')
  const of = { repository: undefined, blobs: [file] }
  const listed = (text: string) => told(1, [{ url: text, hostname: 'seed-0', ip: '10.0.0.1' }])

  expect(cached([listed(file)], of)).toEqual([file])
  expect(cached([listed('https://models.example.com/llama.gguf')], of)).toEqual([])
  expect(cached([told(1, [{ url: 7 }])], of)).toEqual([])
})

test('hosts are counted once, by name and address', () => {
  const states = [told(1, [done(config, 'a0'), done(layer, 'a0'), { ...done(layer, 'a0'), ip: '10.9.9.9' }])]

  expect(claimsOf(row(states), question)).toMatchObject({ peers: 2, peerNames: ['a0 10.0.0.0', 'a0 10.9.9.9'] })
})

test.each(['unknown', 'unknow'])('a host that is told as %s has fetched the blob, and is no host to count', (word) => {
  const unknown = { url: url(config), hostname: word, ip: word }

  expect(claimsOf(row([told(1, [unknown])]), question)).toMatchObject({ cached: [config], peers: 0, peerNames: [] })
})

test('a failure tells the errors of its tasks once, without credentials, cut and on one line', () => {
  const failed = (error: string) => ({ state: 'FAILURE', error, results: null })
  const states = [failed('no seed\npeer; Authorization: Bearer s3cret-token'), failed(''), failed('x'.repeat(300))]

  const verdict = verdictOf(row(states, { state: 'FAILURE', secrets: ['Bearer s3cret-token'] }), question)

  expect(verdict).toMatchObject({ said: 'failure', claims: undefined })
  const { message } = verdict as { message: string }
  expect(message).toMatch(/^no seed peer; Authorization: \[secret\]; x+…$/)
  expect(message.length).toBe(200)
})

describe('a FAILURE is what the wanted blobs show', () => {
  const foreign = { state: 'FAILURE', error: 'download foreign layer failed', results: null }
  const both = [told(1, [done(config)]), told(1, [done(layer)])]

  test.each([
    ['all are there and a foreign layer failed it', [...both, foreign], {}, [], 'success', [config, layer]],
    [
      'all are there in each of its clusters',
      [...both, foreign],
      { cluster: undefined },
      [1],
      'success',
      [config, layer],
    ],
    ['one is short', [told(1, [done(config)]), foreign], {}, [], 'failure', [config]],
    ['nothing is listed', [foreign], {}, [], 'failure', undefined],
    ['one of its clusters lists nothing', [...both, foreign], { cluster: undefined }, [1, 2], 'failure', []],
    ['nothing is wanted', [...both, foreign], { blobs: [] }, [], 'failure', []],
    ['its clusters are not told', [...both, foreign], { cluster: undefined }, [], 'failure', [config, layer]],
  ])('%s', (_, states, overrides, clusters, said, shown) => {
    const verdict = verdictOf(row(states, { state: 'FAILURE', clusters }), { ...question, ...overrides })

    expect(verdict).toMatchObject({ said, message: 'download foreign layer failed' })
    expect((verdict as Verdict).claims?.cached).toEqual(shown)
  })
})

test('a manager that gives up says nothing, and the verdict says that', () => {
  const states = [{ state: 'STARTED', error: '', results: null }]

  expect(verdictOf(row(states, { state: 'FAILURE' }), question)).toEqual({
    said: 'failure',
    claims: undefined,
    message: expect.stringContaining('gave no error'),
  })
})

test('what a failed host said is kept beside a SUCCESS', () => {
  const failed = { ...done(layer, 'b1'), description: 'rpc error: 401' }

  expect(verdictOf(row([told(1, [done(config)], [failed])]), question)).toMatchObject({
    said: 'success',
    message: 'rpc error: 401',
  })
})

test.each(['success', 'STARTED', '', 'DONE'])('the state %j is none [E10]', (state) => {
  expect(verdictOf(row([told(1, [done(config), done(layer)])], { state }), question)).toBeUndefined()
})
