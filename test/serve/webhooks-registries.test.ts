import { afterEach, beforeEach, expect, test } from 'vitest'
import { digest, EXAMPLE_AT } from '../support/examples.ts'
import { SECRET, webhooksStage, type WebhooksStage } from './webhooks-stage.ts'

let stage: WebhooksStage

beforeEach(async () => {
  stage = await webhooksStage()
})

afterEach(async () => {
  await stage[Symbol.asyncDispose]()
})

const D1 = digest(1)
const D2 = digest(2)
const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const NOTIFICATIONS = 'application/vnd.docker.distribution.events.v1+json'

/** `contracts/harbor.md` §5. */
function harborPush(resource: object = {}, repository = 'library/sub/app') {
  return {
    type: 'PUSH_ARTIFACT',
    occur_at: 1680501893,
    operator: 'admin',
    event_data: {
      resources: [{ digest: D1, tag: 'v1', resource_url: 'harbor.example.com/library/sub/app:v1', ...resource }],
      repository: { name: 'sub/app', namespace: 'library', repo_full_name: repository, repo_type: 'private' },
    },
  }
}

function harborScan(scan: object, resource: object) {
  return {
    type: 'SCANNING_COMPLETED',
    operator: 'auto',
    event_data: {
      resources: [{ digest: D1, resource_url: 'harbor.example.com/library/app', ...resource }],
      repository: { repo_full_name: 'library/app' },
      scan,
    },
  }
}

function notification(id: string, target: object = {}, action = 'push') {
  return { id, action, target: { mediaType: OCI_MANIFEST, digest: D1, repository: 'team/app', tag: 'v1', ...target } }
}

function cloudEvent(type: string, data: unknown, id = 'uuid-1') {
  return { specversion: '1.0', id, source: '/projects/1/webhook/policies/2', type, operator: 'admin', data }
}

function send(payload: unknown, headers: Readonly<Record<string, string>> = {}) {
  return stage.post('registries/harbor', JSON.stringify(payload), {
    'content-type': 'application/json',
    authorization: SECRET,
    ...headers,
  })
}

function heard() {
  return [...stage.inbox.values()].map(({ key, receivedAt, registry, ...event }) => {
    expect(key).toMatch(/^[0-9a-f]{64}$/)
    expect(receivedAt).toBe(EXAMPLE_AT)
    expect(registry).toBe('harbor')
    return event
  })
}

const PUSHED = { kind: 'push', repository: 'library/sub/app', tag: 'v1', digest: D1 }

test.each([
  ['a push', harborPush(), [PUSHED]],
  [
    'a push by digest, whose tag is the digest',
    harborPush({ tag: D1 }),
    [{ kind: 'push', repository: 'library/sub/app', digest: D1 }],
  ],
  ['a push of a tag that cannot be one', harborPush({ tag: '../../x' }), []],
  [
    'a push whose digest cannot be one',
    harborPush({ digest: 'sha256:1' }),
    [{ kind: 'push', repository: 'library/sub/app', tag: 'v1' }],
  ],
  ['a push to a repository that cannot be one', harborPush({}, 'library/../app?x=1'), []],
  [
    'a push of a signature',
    harborPush({ tag: `${D2.replace(':', '-')}.sig` }),
    [{ kind: 'sign', repository: 'library/sub/app', digest: D2 }],
  ],
  [
    'a push of an index of referrers',
    harborPush({ tag: D2.replace(':', '-') }),
    [{ kind: 'sign', repository: 'library/sub/app', digest: D2 }],
  ],
  ['a push of an attestation', harborPush({ tag: `${D2.replace(':', '-')}.att` }), []],
  [
    'a scan',
    harborScan({ scan_type: 'vulnerability' }, { tag: 'v1', scan_overview: {} }),
    [{ kind: 'scan', repository: 'library/app', digest: D1 }],
  ],
  [
    'a scan by an older Harbor',
    harborScan({}, { scan_overview: {} }),
    [{ kind: 'scan', repository: 'library/app', digest: D1 }],
  ],
  ['an SBOM', harborScan({ scan_type: 'sbom' }, { scan_overview: {} }), []],
  ['an SBOM that does not say so', harborScan({}, { sbom_overview: {} }), []],
  ['a pull', { ...harborPush(), type: 'PULL_ARTIFACT' }, []],
  ['an event of a later Harbor', { ...harborPush(), type: 'ARTIFACT_DREAMT' }, []],
  ['no event data', { type: 'PUSH_ARTIFACT' }, []],
  [
    'resources of other sorts',
    { type: 'PUSH_ARTIFACT', event_data: { resources: [null, 1, 'x', []], repository: { repo_full_name: 'a/b' } } },
    [],
  ],
] as const)('of Harbor: %s', async (_, payload, events) => {
  const answer = await send(payload)

  expect(answer).toEqual({ status: 202, result: events.length === 0 ? 'ignored' : 'accepted' })
  expect(heard()).toEqual(events)
})

test.each([
  ['Harbor pushed', cloudEvent('harbor.artifact.pushed', harborPush().event_data), [PUSHED]],
  [
    'Harbor scanned',
    cloudEvent('harbor.scan.completed', harborScan({}, {}).event_data),
    [{ kind: 'scan', repository: 'library/app', digest: D1 }],
  ],
  ['Harbor deleted', cloudEvent('harbor.artifact.deleted', harborPush().event_data), []],
  [
    'zot updated',
    cloudEvent('zotregistry.image.updated', zot()),
    [{ kind: 'push', repository: 'app', tag: 'v1', digest: D1 }],
  ],
  [
    'zot under another prefix',
    cloudEvent('com.example.image.updated', zot()),
    [{ kind: 'push', repository: 'app', tag: 'v1', digest: D1 }],
  ],
  ['zot by digest', cloudEvent('zotregistry.image.updated', zot({ reference: D1 })), []],
  ['zot deleted', cloudEvent('zotregistry.image.deleted', zot()), []],
] as const)('as CloudEvent: %s', async (_, payload, events) => {
  const answer = await send(payload, { 'content-type': 'application/cloudevents+json; charset=UTF-8' })

  expect(answer.status).toBe(202)
  expect(heard()).toEqual(events)
})

function zot(overrides: object = {}) {
  return { name: 'app', reference: 'v1', digest: D1, mediaType: OCI_MANIFEST, manifest: '{}', ...overrides }
}

test('zot writes the attributes of a CloudEvent as headers, and its id makes it known', async () => {
  const attributes = { 'ce-specversion': '1.0', 'ce-source': 'zotregistry.dev', 'ce-type': 'zotregistry.image.updated' }

  expect((await send(zot(), { ...attributes, 'ce-id': '1' })).result).toBe('accepted')
  expect((await send(zot(), { ...attributes, 'ce-id': '1' })).result).toBe('replayed')
  expect((await send(zot(), { ...attributes, 'ce-id': '2' })).result).toBe('accepted')
  expect(heard()).toHaveLength(2)
})

test.each([NOTIFICATIONS, NOTIFICATIONS.replace('v1+', 'v2+')])(
  'notifications of %s hold many events',
  async (type) => {
    const events = [
      notification('1'),
      notification('2', { tag: 'v2', digest: D2 }),
      notification('3', { mediaType: 'application/octet-stream' }),
      notification('4', { tag: '' }),
      notification('5', { tag: undefined }),
      notification('6', {}, 'pull'),
      notification('7', {}, 'delete'),
      notification('8', { repository: 'Team/App' }),
      notification('9', { tag: `${D1.replace(':', '-')}.sig`, digest: D2 }),
      null,
      'x',
    ]
    expect((await send({ events }, { 'content-type': type })).status).toBe(202)
    expect(heard()).toEqual([
      { kind: 'push', repository: 'team/app', tag: 'v1', digest: D1 },
      { kind: 'push', repository: 'team/app', tag: 'v2', digest: D2 },
      { kind: 'sign', repository: 'team/app', digest: D1 },
    ])
  },
)

test('of notifications that come again in another company only the new one counts', async () => {
  const type = { 'content-type': NOTIFICATIONS }
  await send({ events: [notification('1')] }, type)

  expect((await send({ events: [notification('1'), notification('2')] }, type)).result).toBe('accepted')
  expect(heard()).toHaveLength(2)
  expect(await send({ events: [notification('2'), notification('1')] }, type)).toEqual({
    status: 200,
    result: 'replayed',
  })
})

test('what has no id is the same delivery when it is the same to the byte, at the same receiver', async () => {
  stage.secrets.set('registries/other', SECRET)
  expect((await send(harborPush())).result).toBe('accepted')
  expect((await send(harborPush())).result).toBe('replayed')
  expect((await send({ ...harborPush(), occur_at: 1680501894 })).result).toBe('accepted')

  const headers = { 'content-type': 'application/json', authorization: SECRET }
  expect((await stage.post('registries/other', JSON.stringify(harborPush()), headers)).result).toBe('accepted')
  expect(stage.inbox.size).toBe(3)
})

test('the same artifact twice in one request is two deliveries', async () => {
  const { resources, repository } = harborPush().event_data
  await send({ ...harborPush(), event_data: { repository, resources: [...resources, ...resources] } })
  expect(heard()).toEqual([PUSHED, PUSHED])
})

test('the secret may come verbatim, as bearer token, or as password', async () => {
  const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`
  const right = [SECRET, `Bearer ${SECRET}`, `bearer ${SECRET}`, basic(`zot:${SECRET}`), basic(`:${SECRET}`)]
  for (const [n, authorization] of right.entries())
    expect((await send({ ...harborPush(), n }, { authorization })).status, authorization).toBe(202)

  stage.secrets.set('registries/harbor', 'Bearer verbatim')
  expect((await send({ ...harborPush(), n: 9 }, { authorization: 'Bearer verbatim' })).status).toBe(202)
})

test('any other authorization is refused, and nothing is written', async () => {
  const wrong = [
    '',
    'x',
    SECRET.slice(1),
    `${SECRET}x`,
    `Bearer  `,
    `Token ${SECRET}`,
    'Basic !',
    'Basic ',
    `Bearer Bearer ${SECRET}`,
  ]
  for (const authorization of wrong)
    expect((await send(harborPush(), { authorization })).status, authorization).toBe(401)
  stage.secrets.set('registries/harbor', '')
  expect((await send(harborPush(), { authorization: '' })).status).toBe(401)
  expect((await send(harborPush(), { authorization: 'Bearer ' })).status).toBe(401)

  expect(stage.inbox.size).toBe(0)
  expect(stage.counts.get('registries/harbor unauthorized')).toBe(wrong.length + 2)
})

test('an authorization that is there twice is refused', async () => {
  const body = JSON.stringify(harborPush())
  const request = (authorizations: string) =>
    stage.raw(
      'POST /hooks/registries/harbor HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n',
      `${authorizations}content-length: ${body.length}\r\n\r\n${body}`,
    )
  expect(await request(`authorization: ${SECRET}\r\nauthorization: ${SECRET}\r\n`)).toMatch(/^HTTP\/1\.1 401 /)
  expect(await request(`authorization: ${SECRET}\r\n`)).toMatch(/^HTTP\/1\.1 202 /)
})

test.each([
  'registries/nobody',
  'registries/..%2fsource',
  'registries/a%0Ab',
  `registries/${'a'.repeat(129)}`,
  'source/x',
  '',
])('there is nothing at /hooks/%s, and it becomes no label', async (path) => {
  // Whoever asks for the secret is never asked for such a name.
  for (const name of ['../source', 'a\nb', 'a'.repeat(129)]) stage.secrets.set(`registries/${name}`, SECRET)
  const headers = { 'content-type': 'application/json', authorization: SECRET }
  expect((await stage.post(path, '{}', headers)).status).toBe(404)
  expect([...stage.counts.keys()]).toEqual(['unknown unknown'])
})

test('an inbox that cannot be written makes the sender try again, and says why to the log only', async () => {
  stage.refuse = new Error('disk full')
  expect(await send(harborPush())).toEqual({ status: 503, result: 'failed' })
  expect(stage.reported).toEqual([stage.refuse])

  stage.refuse = undefined
  expect((await send(harborPush())).result).toBe('accepted')
})
