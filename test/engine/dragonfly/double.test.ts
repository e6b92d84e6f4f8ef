import { expect, test } from 'vitest'
import { FakeDragonfly, TOKEN, taskIdOf } from '../../doubles/dragonfly.ts'
import { PULL_TOKEN, blobs, dragonflyStage, never, opened } from '../../support/engine.ts'

const URL_OF_A_BLOB = `https://registry.example.com/v2/app/web/blobs/sha256:${'a'.repeat(64)}`

test.each([
  [{}, '80c4ca7d2017f13a22622c6b85833484931431ce4adeba100fd5dcc3ebf5f36c'],
  [
    { tag: 't1', application: 'app1', piece_length: 4_194_304 },
    '3673ef41393855ce8a4c3b723817f8c40cc264c1ad7190982cd0c0a948f55ee9',
  ],
  [{ enable_task_id_based_blob_digest: true }, 'a'.repeat(64)],
])('a task id made with %j is that of the contract', (args, id) => {
  expect(taskIdOf(URL_OF_A_BLOB, args)).toBe(id)
})

test('a query that is filtered takes no part in a task id', () => {
  expect(taskIdOf(`${URL_OF_A_BLOB}?ns=docker.io`, {})).toBe(taskIdOf(URL_OF_A_BLOB, {}))
  expect(taskIdOf(`${URL_OF_A_BLOB}?v=1`, {})).not.toBe(taskIdOf(URL_OF_A_BLOB, {}))
  expect(taskIdOf(`${URL_OF_A_BLOB}?v=1&ns=x`, { filtered_query_params: 'v&ns' })).toBe(taskIdOf(URL_OF_A_BLOB, {}))
})

const image = { type: 'image', url: 'https://registry.example.com/v2/a/manifests/1' }
const tag = (field: string, rule: string) => `Field validation for '${field}' failed on the '${rule}' tag`

test.each<[string, unknown, number, string]>([
  ['no args', { type: 'preheat' }, 500, 'unknown preheat type'],
  ['empty args', { type: 'preheat', args: {} }, 500, 'unknown preheat type'],
  ['another type of args', { type: 'preheat', args: { type: 'model' } }, 422, tag('Type', 'oneof')],
  ['another type', { type: 'preheet', args: image }, 422, 'Unknow type'],
  ['no URL', { type: 'preheat', args: { type: 'image' } }, 500, 'invalid params: url is required'],
  ['no file', { type: 'preheat', args: { type: 'file' } }, 500, 'invalid params: url or urls is required'],
  ['a plain reference', { type: 'preheat', args: { ...image, url: 'nginx:1.25' } }, 500, 'parse access url failed'],
  ['a time in words', { type: 'preheat', args: { ...image, timeout: '30m' } }, 422, 'of type time.Duration'],
  ['pieces too short', { type: 'preheat', args: { ...image, piece_length: 0 } }, 422, tag('PieceLength', 'gte')],
  ['pieces too long', { type: 'preheat', args: { ...image, piece_length: 2 ** 27 } }, 422, tag('PieceLength', 'lte')],
  ['no host', { type: 'preheat', args: { ...image, count: 0 } }, 422, tag('Count', 'gte')],
  ['too large a share', { type: 'preheat', args: { ...image, percentage: 101 } }, 422, tag('Percentage', 'lte')],
  ['no address', { type: 'preheat', args: { ...image, ips: [] } }, 422, tag('IPs', 'gte')],
  [
    'too many addresses',
    { type: 'preheat', args: { ...image, ips: Array.from({ length: 101 }, (_, i) => `10.0.0.${i}`) } },
    422,
    tag('IPs', 'lte'),
  ],
  [
    'too many blobs at once',
    { type: 'preheat', args: { ...image, concurrent_task_count: 101 } },
    422,
    tag('ConcurrentTaskCount', 'lte'),
  ],
  [
    'too many peers at once',
    { type: 'preheat', args: { ...image, concurrent_peer_count: 1001 } },
    422,
    tag('ConcurrentPeerCount', 'lte'),
  ],
  ['a look for nothing', { type: 'get_task', args: {} }, 422, 'task_id, content_for_calculating_task_id or url'],
])('%s is refused in the manager’s words', async (_, body, status, words) => {
  await using manager = await FakeDragonfly.start()

  const answer = await fetch(`${manager.endpoint}/oapi/v1/jobs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}` },
    body: JSON.stringify(body),
  })

  expect([answer.status, await answer.text()]).toEqual([status, expect.stringContaining(words)])
})

test.each(['page=0', 'page=1.5', 'page=x', 'per_page=0', 'per_page=10000001'])(
  'a list by %s is refused',
  async (query) => {
    await using manager = await FakeDragonfly.start()

    const { status } = await fetch(`${manager.endpoint}/oapi/v1/jobs?${query}`, {
      headers: { authorization: `Bearer ${TOKEN}` },
    })

    expect(status).toBe(422)
  },
)

test('a token may stand in the URL, where it comes first', async () => {
  await using manager = await FakeDragonfly.start()
  const asked = (query: string, token: string) =>
    fetch(`${manager.endpoint}/oapi/v1/jobs${query}`, { headers: { authorization: `Bearer ${token}` } })

  expect((await asked(`?access_token=${TOKEN}`, 'wrong')).status).toBe(200)
  expect((await asked('?access_token=wrong', TOKEN)).status).toBe(401)
})

test('the removal of a row ends no job', async () => {
  await using stage = await dragonflyStage()
  const [job] = await stage.engine.jobs(stage.order, never)
  const id = await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)

  const { status } = await fetch(`${stage.manager.endpoint}/oapi/v1/jobs/${id}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${TOKEN}` },
  })

  expect(status).toBe(200)
  expect(await stage.engine.observe(stage.order, opened(job!, id), never)).toMatchObject({ verdict: { said: 'gone' } })
  expect(stage.manager.cached(1)).toEqual(new Set(blobs))
})

test('a cluster without a scheduler is left out, as long as there is another', async () => {
  const clusters = [
    { id: 1, name: 'cluster-1', scheduler: false },
    { id: 2, name: 'cluster-2' },
  ]
  await using stage = await dragonflyStage({ clusters, tokens: [{ token: TOKEN, scopes: ['job'] }] })
  const [job] = await stage.engine.jobs(stage.order, never)
  const id = await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)

  expect(await stage.engine.observe(stage.order, opened(job!, id), never)).toMatchObject({
    verdict: { claims: { cached: blobs } },
  })
  expect(stage.manager.cached(1)).toEqual(new Set())
})
