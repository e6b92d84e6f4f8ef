import { createHmac } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EXAMPLE_AT } from '../support/examples.ts'
import { SECRET, webhooksStage, type WebhooksStage } from './webhooks-stage.ts'

let stage: WebhooksStage

beforeEach(async () => {
  stage = await webhooksStage()
})

afterEach(async () => {
  await stage[Symbol.asyncDispose]()
})

const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' }
const PUSH = JSON.stringify({ ref: 'refs/heads/main', after: '4f2' })

function hmac(body: string, algorithm = 'sha256', key: string | Buffer = SECRET) {
  return createHmac(algorithm, key).update(body).digest('hex')
}

type Headers = Readonly<Record<string, string>>

/** What each forge sends for a push, as they send it: with the headers of those that they resemble. */
const FORGES: readonly { readonly forge: string; readonly body: string; readonly headers: (hex: string) => Headers }[] =
  [
    {
      forge: 'GitHub',
      body: PUSH,
      headers: (hex) => ({
        'x-github-event': 'push',
        'x-github-delivery': 'd1',
        'x-hub-signature': `sha1=${hex.slice(0, 40)}`,
        'x-hub-signature-256': `sha256=${hex}`,
      }),
    },
    {
      forge: 'Gitea',
      body: PUSH,
      headers: (hex) => ({
        'x-gitea-event': 'push',
        'x-gitea-delivery': 'd1',
        'x-gitea-signature': hex,
        'x-gogs-event': 'push',
        'x-gogs-signature': 'not looked at',
        'x-github-event': 'push',
        'x-hub-signature-256': 'sha256=not-looked-at',
      }),
    },
    {
      forge: 'Forgejo',
      body: PUSH,
      headers: (hex) => ({
        'x-forgejo-event': 'push',
        'x-forgejo-signature': hex,
        'x-gitea-event': 'push',
        'x-gitea-signature': 'not looked at',
        'x-github-event': 'push',
      }),
    },
    {
      forge: 'Gogs',
      body: PUSH,
      headers: (hex) => ({ 'x-gogs-event': 'push', 'x-gogs-signature': hex, 'x-github-event': 'push' }),
    },
    {
      forge: 'Bitbucket Server',
      body: JSON.stringify({ changes: [{ ref: { id: 'refs/heads/other' } }, { ref: { id: 'refs/heads/main' } }] }),
      headers: (hex) => ({ 'x-event-key': 'repo:refs_changed', 'x-hub-signature': `sha256=${hex}` }),
    },
    {
      forge: 'Bitbucket Cloud',
      body: JSON.stringify({
        push: { changes: [{ new: null, old: null }, { new: { type: 'branch', name: 'main' } }] },
      }),
      headers: (hex) => ({ 'x-event-key': 'repo:push', 'x-hook-uuid': 'h1', 'x-hub-signature': `sha256=${hex}` }),
    },
    {
      forge: 'a generic sender',
      body: PUSH,
      headers: (hex) => ({ 'x-signature': `sha256=${hex}` }),
    },
  ]

test.each(FORGES)('a push of $forge that is signed with the secret makes the source looked at', async (sent) => {
  const answer = await stage.post('source', sent.body, { ...JSON_TYPE, ...sent.headers(hmac(sent.body)) })

  expect(answer).toEqual({ status: 202, result: 'accepted' })
  expect(stage.nudges()).toBe(1)
})

test.each(FORGES)('a push of $forge is refused with a wrong, short, long or foreign signature [S3]', async (sent) => {
  const right = hmac(sent.body)
  const wrong = [
    hmac(sent.body, 'sha256', 'another secret'),
    hmac(`${sent.body} `),
    hmac(sent.body, 'sha1'),
    hmac(sent.body, 'sha512'),
    right.slice(0, -1),
    right.slice(0, -2),
    `${right}00`,
    `${right}, ${right}`,
    'z'.repeat(64),
    '',
  ]
  for (const hex of wrong)
    expect(await stage.post('source', sent.body, { ...JSON_TYPE, ...sent.headers(hex) }), hex).toEqual({
      status: 401,
      result: 'unauthorized',
    })

  expect(stage.nudges()).toBe(0)
  expect(stage.counts.get('source unauthorized')).toBe(wrong.length)
})

test('SHA-512 is a proof and SHA-1 is none, whatever it signs [S3]', async () => {
  const sign = (algorithm: string) => ({ ...JSON_TYPE, 'x-signature': `${algorithm}=${hmac(PUSH, algorithm)}` })

  expect((await stage.post('source', PUSH, sign('sha1'))).status).toBe(401)
  expect((await stage.post('source', PUSH, sign('sha512'))).status).toBe(202)
})

test('a sender that shows nothing is refused before its body is read', async () => {
  const answer = await stage.raw(
    'POST /hooks/source HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n',
    'x-github-event: push\r\ncontent-length: 1000000\r\n\r\n',
  )
  expect(answer).toMatch(/^HTTP\/1\.1 401 /)
})

test('with an empty secret nobody is believed', async () => {
  stage.secrets.set('source', '')
  const signed = { ...JSON_TYPE, 'x-signature': `sha256=${hmac(PUSH, 'sha256', '')}` }

  expect((await stage.post('source', PUSH, signed)).status).toBe(401)
  expect((await stage.post('source', PUSH, { ...JSON_TYPE, ...gitlab, 'x-gitlab-token': '' })).status).toBe(401)
})

test('a rotated secret is used at the next request', async () => {
  const signed = (secret: string) => ({ ...JSON_TYPE, 'x-signature': `sha256=${hmac(PUSH, 'sha256', secret)}` })
  stage.secrets.set('source', 'rotated')

  expect((await stage.post('source', PUSH, signed(SECRET))).status).toBe(401)
  expect((await stage.post('source', PUSH, signed('rotated'))).status).toBe(202)
})

test('a signature header that is there twice is refused, right or not [S3]', async () => {
  const right = `x-hub-signature-256: sha256=${hmac(PUSH)}\r\n`
  const request = (signatures: string) =>
    stage.raw(
      'POST /hooks/source HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n',
      `x-github-event: push\r\n${signatures}content-length: ${PUSH.length}\r\n\r\n${PUSH}`,
    )

  expect(await request(right + right)).toMatch(/^HTTP\/1\.1 401 /)
  expect(await request(`x-hub-signature-256: sha256=${'0'.repeat(64)}\r\n${right}`)).toMatch(/^HTTP\/1\.1 401 /)
  expect(stage.nudges()).toBe(0)
  expect(await request(right)).toMatch(/^HTTP\/1\.1 202 /)
})

const gitlab = { 'x-gitlab-event': 'Push Hook', 'x-gitlab-event-uuid': 'u1' }
const GITLAB_PUSH = JSON.stringify({ object_kind: 'push', ref: 'refs/heads/main' })

test('GitLab shows the secret token, and anything else is refused', async () => {
  const send = (token: string) =>
    stage.post('source', GITLAB_PUSH, { ...JSON_TYPE, ...gitlab, 'x-gitlab-token': token })

  for (const token of ['', 'x', SECRET.slice(0, -1), `${SECRET}x`, `${SECRET}, ${SECRET}`])
    expect((await send(token)).status, token).toBe(401)
  expect(await send(SECRET)).toEqual({ status: 202, result: 'accepted' })
})

const KEY = Buffer.alloc(32, 7)

function standard(body: string, { at = EXAMPLE_AT, id = 'msg_1', key = KEY } = {}) {
  const timestamp = `${Math.floor(at / 1000)}`
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return {
    ...JSON_TYPE,
    ...gitlab,
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${signature}`,
  }
}

test('GitLab may sign by Standard Webhooks, with several keys while they are rotated', async () => {
  stage.secrets.set('source', `whsec_${KEY.toString('base64')}`)
  const headers = standard(GITLAB_PUSH)
  const other = standard(GITLAB_PUSH, { key: Buffer.alloc(32, 8) })['webhook-signature']
  const both = { ...headers, 'webhook-signature': `${other} ${headers['webhook-signature']}` }

  expect(await stage.post('source', GITLAB_PUSH, both)).toEqual({ status: 202, result: 'accepted' })
})

test('what Standard Webhooks signs is all of it: body, id and time', async () => {
  stage.secrets.set('source', `whsec_${KEY.toString('base64')}`)
  const right = standard(GITLAB_PUSH)
  const signature = right['webhook-signature']
  const wrong: readonly Headers[] = [
    standard(`${GITLAB_PUSH} `),
    { ...right, 'webhook-id': 'msg_2' },
    { ...right, 'webhook-timestamp': `${Math.floor(EXAMPLE_AT / 1000) + 1}` },
    { ...right, 'webhook-timestamp': 'now' },
    { ...right, 'webhook-signature': `${signature}, ${signature}` },
    { ...right, 'webhook-signature': signature.replace('v1,', 'v2,') },
    { ...right, 'webhook-signature': Array(9).fill(signature).join(' ') },
    standard(GITLAB_PUSH, { key: Buffer.from(`whsec_${KEY.toString('base64')}`) }),
    // A signing key is never a token.
    { ...JSON_TYPE, ...gitlab, 'x-gitlab-token': `whsec_${KEY.toString('base64')}` },
  ]
  for (const headers of wrong) expect((await stage.post('source', GITLAB_PUSH, headers)).status).toBe(401)

  expect(stage.nudges()).toBe(0)
  expect((await stage.post('source', GITLAB_PUSH, right)).status).toBe(202)
})

test('a signed timestamp is refused when it is more than five minutes away [S4]', async () => {
  stage.secrets.set('source', `whsec_${KEY.toString('base64')}`)
  const minutes = (count: number) => EXAMPLE_AT + count * 60_000

  for (const at of [minutes(-5) - 1000, minutes(5) + 1000])
    expect(await stage.post('source', GITLAB_PUSH, standard(GITLAB_PUSH, { at }))).toEqual({
      status: 401,
      result: 'stale',
    })
  for (const at of [minutes(-5), minutes(5)])
    expect((await stage.post('source', GITLAB_PUSH, standard(GITLAB_PUSH, { at, id: `${at}` }))).status).toBe(202)
})

test('a delivery that is sent a thousand times makes the source looked at once [S4]', async () => {
  const headers = { ...JSON_TYPE, 'x-github-event': 'push', 'x-hub-signature-256': `sha256=${hmac(PUSH)}` }
  const first = await stage.post('source', PUSH, { ...headers, 'x-github-delivery': 'd1' })
  const again = await Promise.all(
    Array.from({ length: 999 }, () => stage.post('source', PUSH, { ...headers, 'x-github-delivery': 'd1' })),
  )

  expect(first.status).toBe(202)
  expect(new Set(again.map(({ status, result }) => `${status} ${result}`))).toEqual(new Set(['200 replayed']))
  expect(stage.nudges()).toBe(1)
  expect(stage.counts.get('source replayed')).toBe(999)
})

test('a body that is signed is the same delivery under another id, sender or scheme of header', async () => {
  const signature = `sha256=${hmac(PUSH)}`
  await stage.post('source', PUSH, { ...JSON_TYPE, 'x-github-event': 'push', 'x-hub-signature-256': signature })

  for (const disguise of [
    { 'x-github-event': 'push', 'x-github-delivery': 'another', 'x-hub-signature-256': signature },
    { 'x-signature': signature },
  ])
    expect((await stage.post('source', PUSH, { ...JSON_TYPE, ...disguise })).result).toBe('replayed')
  expect(stage.nudges()).toBe(1)
})

test('after five minutes a delivery is forgotten, and costs one more look', async () => {
  const send = () => stage.post('source', PUSH, { ...JSON_TYPE, 'x-signature': `sha256=${hmac(PUSH)}` })
  await send()
  stage.clock.advance(299_999)
  expect((await send()).result).toBe('replayed')
  stage.clock.advance(1)
  expect((await send()).result).toBe('accepted')
})

test.each([
  ['GitHub ping', { 'x-github-event': 'ping' }, '{"zen":"…"}'],
  ['an event that is none of ours', { 'x-github-event': 'star' }, PUSH],
  ['another branch', { 'x-github-event': 'push' }, '{"ref":"refs/heads/other"}'],
  ['a tag of the same name', { 'x-github-event': 'push' }, '{"ref":"refs/tags/main"}'],
  ['a push without ref', { 'x-github-event': 'push' }, '{}'],
  ['a ref that is no text', { 'x-github-event': 'push' }, '{"ref":{"toString":1}}'],
  ['the prototype', { 'x-github-event': 'push' }, '{"__proto__":{"ref":"refs/heads/main"}}'],
] as const)('%s, authentic, is answered with a 2xx and makes nothing', async (_, event, body) => {
  const { status } = await stage.post('source', body, {
    ...JSON_TYPE,
    ...event,
    'x-hub-signature-256': `sha256=${hmac(body)}`,
  })
  expect(status).toBe(event['x-github-event'] === 'ping' ? 200 : 202)
  expect(stage.nudges()).toBe(0)
})

test('a ping with a wrong signature is refused', async () => {
  const headers = { ...JSON_TYPE, 'x-github-event': 'ping', 'x-hub-signature-256': `sha256=${hmac('other')}` }
  expect((await stage.post('source', '{}', headers)).status).toBe(401)
})

test('Bitbucket tries the connection unsigned, and that is all that it can do', async () => {
  expect(await stage.post('source', '{"test":true}', { ...JSON_TYPE, 'x-event-key': 'diagnostics:ping' })).toEqual({
    status: 200,
    result: 'ping',
  })
  expect((await stage.post('source', PUSH, { ...JSON_TYPE, 'x-event-key': 'repo:push' })).status).toBe(401)
  expect(stage.nudges()).toBe(0)
})

test.each([
  ['a branch of Bitbucket Cloud that was deleted', 'repo:push', { push: { changes: [branchChange('old', 'branch')] } }],
  ['its tag of the same name', 'repo:push', { push: { changes: [branchChange('new', 'tag')] } }],
  ['changes that are none', 'repo:push', { push: { changes: [null, 1, 'x', { new: [] }] } }],
  ['changes that are no list', 'repo:refs_changed', { changes: { ref: { id: 'refs/heads/main' } } }],
  ['another event with the shape of a push', 'repo:fork', { changes: [{ ref: { id: 'refs/heads/main' } }] }],
])('of Bitbucket: %s', async (what, event, payload) => {
  const body = JSON.stringify(payload)
  const headers = { ...JSON_TYPE, 'x-event-key': event, 'x-hub-signature': `sha256=${hmac(body)}` }

  expect((await stage.post('source', body, headers)).status).toBe(202)
  expect(stage.nudges()).toBe(what.endsWith('deleted') ? 1 : 0)
})

function branchChange(side: 'new' | 'old', type: string) {
  return { new: null, old: null, [side]: { type, name: 'main' } }
}

test('GitLab says what it is in the body: a system hook that is a push counts, a merge request does not', async () => {
  const headers = { ...JSON_TYPE, 'x-gitlab-event': 'System Hook', 'x-gitlab-token': SECRET }
  const merge = JSON.stringify({ object_kind: 'merge_request', ref: 'refs/heads/main' })

  expect((await stage.post('source', merge, headers)).result).toBe('ignored')
  expect((await stage.post('source', GITLAB_PUSH, headers)).result).toBe('accepted')
})

test('a generic sender need not say what moved', async () => {
  const headers = { ...JSON_TYPE, 'x-signature': `sha256=${hmac('{"build":7}')}` }
  expect((await stage.post('source', '{"build":7}', headers)).result).toBe('accepted')
})
