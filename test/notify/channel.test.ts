import { createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { ManualClock } from '../support/clock.ts'
import { ScriptedServer, never } from '../support/engine.ts'
import { EXAMPLE_AT } from '../support/examples.ts'
import { notice } from '../support/notice.ts'
import { pumped, turn, until } from '../support/pump.ts'
import { Secret } from '../../src/model/secret.ts'
import type { Channel, ChannelSettings } from '../../src/notify/channel.ts'
import { openChannel } from '../../src/notify/open.ts'
import { slackText } from '../../src/notify/slack.ts'

const KEY = 'canary-signing-key-55aa'
const clock = () => new ManualClock(EXAMPLE_AT)

function opened(
  type: ChannelSettings['type'],
  url: string,
  at = clock(),
  secret = () => KEY,
  destinations: string[] = [],
): Channel {
  return openChannel(
    { name: 'on-call', type, url, secret: 'hook', instance: 'eu' },
    {
      read: (name, key, destination) => {
        destinations.push(`${name}/${key} for ${destination.href}`)
        return Promise.resolve(new Secret(secret()))
      },
      clock: at,
      scrub: (text) => text.replaceAll(KEY, '[secret]'),
    },
  )
}

test('a webhook is signed over the very bytes that it sends', async () => {
  await using server = await ScriptedServer.start({ status: 204 })
  const destinations: string[] = []
  await using channel = opened('webhook', `${server.endpoint}/hooks/preheat/`, clock(), () => KEY, destinations)
  await channel.deliver(notice({ url: 'https://git.example.com/reports' }), never)

  const [seen] = server.seen
  const signature = createHmac('sha256', KEY).update(seen!.body).digest('hex')
  expect(seen).toMatchObject({
    line: 'POST /hooks/preheat/',
    headers: { 'x-signature': `sha256=${signature}`, 'content-type': 'application/json' },
  })
  expect(JSON.parse(seen!.body)).toEqual({
    involvedObject: { apiVersion: 'preheatd.io/v1alpha1', kind: 'PreheatPolicy', name: 'library/release-images' },
    severity: 'error',
    timestamp: '2026-11-21T02:00:00.000Z',
    message: 'Failed: PH6001 registry harbor does not answer',
    reason: 'ExecutionFailed',
    metadata: {
      execution: '20261121T020000Z-3f9a1c07',
      revision: notice().revision,
      url: 'https://git.example.com/reports',
      id: expect.stringMatching(/^[0-9a-f]{32}-\d+$/) as string,
    },
    reportingController: 'preheatd',
    reportingInstance: 'eu',
  })
  expect(destinations).toEqual([`hook/token for ${server.endpoint}/hooks/preheat/`])
})

test('a rotated signing key is in force at the next message', async () => {
  await using server = await ScriptedServer.start({ status: 200 })
  let key = 'one'
  const at = clock()
  await using channel = opened('webhook', server.endpoint, at, () => key)
  await pumped(at, channel.deliver(notice(), never))
  key = 'two'
  await pumped(at, channel.deliver(notice(), never))

  const signatures = server.seen.map(({ headers }) => headers['x-signature'])
  const expected = ['one', 'two'].map((one, i) => createHmac('sha256', one).update(server.seen[i]!.body).digest('hex'))
  expect(signatures).toEqual(expected.map((hex) => `sha256=${hex}`))
})

test('the secret part of a Slack address comes from the secret', async () => {
  await using server = await ScriptedServer.start({ status: 200, body: 'ok' })
  await using channel = opened('slack', `${server.endpoint}/services/`, clock(), () => 'T000/B000/XXXX')
  await channel.deliver(notice(), never)

  expect(server.seen[0]!.line).toBe('POST /services/T000/B000/XXXX')
  expect(JSON.parse(server.seen[0]!.body)).toEqual({ text: slackText(notice(), 'eu') })
})

test.each(['../admin', 'a?b=c', 'a//b', 'https://evil.example.com/x', '/a'])(
  'a secret of %s leads no message astray and is not shown',
  async (rest) => {
    await using server = await ScriptedServer.start({ status: 200 })
    await using channel = opened('slack', server.endpoint, clock(), () => rest)

    const refused = await channel.deliver(notice(), never).catch((error: unknown) => error)

    expect(refused).toMatchObject({ code: 'PH7001' })
    expect((refused as Error).message).not.toContain(rest)
    expect(server.seen).toEqual([])
  },
)

test('nothing in a message is mark-up of Slack or calls everybody', () => {
  const text = slackText(
    notice({
      message: 'a <!channel> & <https://evil.example.com|here> @channel @All @sha256:abc',
      url: 'https://git.example.com/a|b',
    }),
    'eu',
  )
  expect(text).toBe(
    [
      '*Error* PreheatPolicy library/release-images ExecutionFailed',
      'a &lt;!channel&gt; &amp; &lt;https://evil.example.com|here&gt; @\u200bchannel @\u200bAll @sha256:abc',
      'instance eu · execution 20261121T020000Z-3f9a1c07 · commit 4f2b8c0d1e3a · <https://git.example.com/a%7Cb|reports>',
    ].join('\n'),
  )
})

test.each([
  [429, 'unavailable', 'PH8031', 30_000],
  [503, 'unavailable', 'PH8031', 30_000],
  [408, 'unavailable', 'PH8031', 30_000],
  [404, 'rejected', 'PH8032', undefined],
  [410, 'rejected', 'PH8032', undefined],
  [302, 'rejected', 'PH8032', undefined],
])('HTTP %d is %s, and an echoed secret is not repeated', async (status, fault, code, retryAfterMs) => {
  const headers = { 'retry-after': '30', location: 'http://127.0.0.1:1/' }
  await using server = await ScriptedServer.start({ status, headers, body: `no ${KEY}` })
  await using channel = opened('webhook', server.endpoint)

  const refused = await channel.deliver(notice(), never).catch((error: unknown) => error)

  expect(refused).toMatchObject({ fault, code, retryAfterMs })
  expect((refused as Error).message).toContain(`notification on-call answered with HTTP ${status}: no [secret]`)
})

test('a link-local address is never contacted', async () => {
  await using channel = opened('webhook', 'http://169.254.169.254/latest')
  await expect(channel.deliver(notice(), never)).rejects.toMatchObject({ code: 'PH3013' })
})

test('one message a second, as Slack asks for', async () => {
  await using server = await ScriptedServer.start({ status: 200 })
  const at = clock()
  await using channel = opened('webhook', server.endpoint, at)
  await channel.deliver(notice(), never)
  const second = channel.deliver(notice(), never)
  await until(() => at.nextWake !== undefined)
  await turn()
  expect(server.seen).toHaveLength(1)
  expect(at.nextWake).toBe(EXAMPLE_AT + 1000)

  at.advance(1000)
  await second
  expect(server.seen).toHaveLength(2)
})
