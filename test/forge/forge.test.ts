import { expect, test } from 'vitest'
import { FORGE_COMMIT, FORGE_TOKEN, FakeForge, primaryLimit, secondaryLimit, type ForgeKind } from '../doubles/forge.ts'
import { ManualClock } from '../support/clock.ts'
import { never } from '../support/engine.ts'
import { pumped, turn, until } from '../support/pump.ts'
import { ScriptedServer } from '../support/engine.ts'
import { openForge } from '../../src/forge/open.ts'
import { github } from '../../src/forge/github.ts'
import type { CommitStatus, Forge, ForgePorts } from '../../src/forge/forge.ts'
import { OperatorError } from '../../src/model/errors.ts'
import { Secret } from '../../src/model/secret.ts'

const START = Date.parse('2026-11-21T02:00:00Z')

function ports(clock: ManualClock, token = FORGE_TOKEN): ForgePorts {
  return {
    read: () => Promise.resolve(new Secret(token)),
    clock,
    scrub: (text) => text.replaceAll(token, '[secret]'),
  }
}

function opened(forge: FakeForge, clock: ManualClock, over: Partial<ForgePorts> = {}): Forge {
  const { kind: type, root, repository } = forge
  const settings = { name: 'commits', type, root, repository, ref: 'main', secret: 'forge' }
  return openForge(settings, { ...ports(clock), ...over })
}

function status(overrides: Partial<CommitStatus> = {}): CommitStatus {
  return {
    commit: FORGE_COMMIT,
    context: 'preheatd/eu',
    state: 'success',
    description: '3 objects in force',
    url: 'https://git.example.com/reports',
    ...overrides,
  }
}

const kinds: ForgeKind[] = ['github', 'gitlab', 'gitea']

test.each([
  ['github', 'failure'],
  ['gitlab', 'failed'],
  ['gitea', 'failure'],
] as const)('%s shows a failure beside the commit in its own words', async (kind, word) => {
  await using server = await FakeForge.start(kind)
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)

  expect(await pumped(clock, forge.post(status({ state: 'failure' }), never))).toBe('delivered')

  expect(server.standing()).toMatchObject([
    { context: 'preheatd/eu', state: word, description: '3 objects in force', url: 'https://git.example.com/reports' },
  ])
})

test.each(kinds)('what stands on %s already is not posted again, by the next process neither', async (kind) => {
  await using server = await FakeForge.start(kind)
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  await pumped(clock, forge.post(status(), never))

  expect(await pumped(clock, forge.post(status(), never))).toBe('unchanged')
  await using next = opened(server, clock)
  expect(await pumped(clock, next.post(status(), never))).toBe('unchanged')
  expect(await pumped(clock, next.post(status({ description: 'other' }), never))).toBe('delivered')

  expect(server.asked.filter((line) => line.startsWith('POST'))).toHaveLength(2)
  expect(server.asked.filter((line) => line.startsWith('GET'))).toHaveLength(2)
})

test('GitLab’s refusal to go from a state to the same is no failure', async () => {
  await using server = await FakeForge.start('gitlab')
  server.maySee = false
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  await pumped(clock, forge.post(status({ state: 'pending' }), never))
  await using next = opened(server, clock)

  expect(await pumped(clock, next.post(status({ state: 'pending' }), never))).toBe('unchanged')
  expect(server.posted).toHaveLength(1)
})

test('a transition that GitLab refuses for another reason is a failure', async () => {
  await using server = await FakeForge.start('gitlab')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  server.maySee = false
  server.troubles.push(
    { status: 200, body: '[]' },
    { status: 400, body: '{"message":"Cannot transition status via :run from :success"}' },
  )

  await expect(pumped(clock, forge.post(status(), never))).rejects.toMatchObject({ fault: 'rejected', code: 'PH8032' })
})

test('all statuses of a commit go into one pipeline of GitLab, by the next process too', async () => {
  await using server = await FakeForge.start('gitlab', 'group/sub group/preheat')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  await pumped(clock, forge.post(status(), never))
  await pumped(clock, forge.post(status({ context: 'preheatd/eu/library/a' }), never))
  await using next = opened(server, clock)
  await pumped(clock, next.post(status({ context: 'preheatd/eu/library/b' }), never))

  expect(server.posted.map(({ pipeline, ref }) => [pipeline, ref])).toEqual([
    [1, 'main'],
    [1, 'main'],
    [1, 'main'],
  ])
})

test('GitHub’s secondary limit is a pause as long as it asks for, and never a refusal', async () => {
  await using server = await FakeForge.start('github')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  await pumped(clock, forge.post(status(), never))
  server.troubles.push(secondaryLimit(45))

  await expect(pumped(clock, forge.post(status({ state: 'failure' }), never))).rejects.toMatchObject({
    fault: 'unavailable',
    code: 'PH8031',
    retryAfterMs: 45_000,
  })
  server.troubles.push({ status: 403, body: '{"message":"You have exceeded a secondary rate limit."}' })
  await expect(pumped(clock, forge.post(status({ state: 'failure' }), never))).rejects.toMatchObject({
    fault: 'unavailable',
    retryAfterMs: 60_000,
  })
  server.troubles.push({ status: 403, body: '{}', headers: { 'retry-after': '7' } })
  await expect(pumped(clock, forge.post(status({ state: 'failure' }), never))).rejects.toMatchObject({
    fault: 'unavailable',
    retryAfterMs: 7_000,
  })
})

test('a spent budget is waited for until it is reset, by whoever asks next', async () => {
  await using server = await FakeForge.start('github')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  await pumped(clock, forge.post(status(), never))
  server.troubles.push(primaryLimit(START + 600_000))
  await expect(pumped(clock, forge.post(status({ state: 'failure' }), never))).rejects.toMatchObject({
    fault: 'unavailable',
  })

  await pumped(clock, forge.post(status({ state: 'failure' }), never))

  expect(clock.now()).toBeGreaterThanOrEqual(START + 600_000)
  expect(server.standing()).toMatchObject([{ state: 'failure' }])
})

test('a second lies between two requests', async () => {
  await using server = await FakeForge.start('gitea')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  const posting = forge.post(status(), never)
  await until(() => server.asked.length === 1 && clock.nextWake !== undefined)

  expect(clock.nextWake).toBe(START + 1000)
  await turn()
  expect(server.asked).toHaveLength(1)
  clock.advance(1000)
  await posting
  expect(server.posted).toHaveLength(1)
})

test('a commit gets fifty statuses and no more, and those that it has still change', async () => {
  await using server = await FakeForge.start('github')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  for (let i = 1; i <= 50; i++)
    expect(await pumped(clock, forge.post(status({ context: `preheatd/eu/p${i}` }), never))).toBe('delivered')

  expect(await pumped(clock, forge.post(status({ context: 'preheatd/eu/p51' }), never))).toBe('full')
  expect(await pumped(clock, forge.post(status({ context: 'preheatd/EU/p1', state: 'failure' }), never))).toBe(
    'delivered',
  )
  expect(server.standing()).toHaveLength(50)
})

test('statuses of others do not count', async () => {
  await using server = await FakeForge.start('github')
  const others = Array.from({ length: 60 }, (_, i) => ({ context: `ci/${i}`, state: 'success', description: '' }))
  server.troubles.push({ status: 200, body: JSON.stringify({ statuses: others }) })
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)

  expect(await pumped(clock, forge.post(status(), never))).toBe('delivered')
})

test('what stands beside the last twenty commits is remembered, and older ones are asked for again', async () => {
  await using server = await FakeForge.start('github')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  const commits = Array.from({ length: 21 }, (_, i) => i.toString(16).padStart(40, '0'))
  for (const commit of commits) {
    server.commits.add(commit)
    await pumped(clock, forge.post(status({ commit }), never))
  }
  const asked = server.asked.length
  expect(await pumped(clock, forge.post(status({ commit: commits[20]! }), never))).toBe('unchanged')
  expect(server.asked).toHaveLength(asked)
  expect(await pumped(clock, forge.post(status({ commit: commits[0]! }), never))).toBe('unchanged')
  expect(server.asked).toHaveLength(asked + 1)
})

test('a link that GitLab would refuse for its length is left out', async () => {
  await using server = await FakeForge.start('gitlab')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  const url = `https://git.example.com/${'x'.repeat(255)}`

  await pumped(clock, forge.post(status({ url }), never))

  expect(server.standing()).toMatchObject([{ state: 'success', url: undefined }])
})

test('a long description is cut to what the forge takes, and two long contexts stay two', async () => {
  await using server = await FakeForge.start('github')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  const long = `preheatd/eu/${'x'.repeat(300)}`
  await pumped(clock, forge.post(status({ context: `${long}a`, description: 'word '.repeat(100) }), never))
  await pumped(clock, forge.post(status({ context: `${long}b`, description: 'word '.repeat(100) }), never))

  expect(server.standing().map(({ context, description }) => [context.length, description.length])).toEqual([
    [255, 140],
    [255, 140],
  ])
})

test('a refused credential is named and not shown, though the forge echoes it', async () => {
  await using server = await FakeForge.start('github')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock, ports(clock, 'canary-wrong-token'))

  const refused = await pumped(clock, forge.post(status(), never)).catch((error: unknown) => error)

  expect(refused).toMatchObject({ fault: 'rejected', code: 'PH8032' })
  expect((refused as Error).message).toBe(
    'notification commits answered a status with HTTP 401: Bad credentials: Bearer [secret]',
  )
})

test('a commit that the forge does not know is refused for good, and an overloaded one is tried again', async () => {
  await using server = await FakeForge.start('github')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)

  await expect(pumped(clock, forge.post(status({ commit: 'a'.repeat(40) }), never))).rejects.toMatchObject({
    fault: 'rejected',
    message: expect.stringContaining('No commit found') as string,
  })
  server.troubles.push({ status: 502, body: '<html>' })
  await expect(pumped(clock, forge.post(status(), never))).rejects.toMatchObject({ fault: 'unavailable' })
})

test('a secret that may not go to the forge goes nowhere', async () => {
  await using server = await FakeForge.start('github')
  const clock = new ManualClock(START)
  const destinations: string[] = []
  await using forge = opened(server, clock, {
    read: (_secret, key, destination) => {
      destinations.push(`${key} ${destination.href}`)
      return Promise.reject(new OperatorError('PH7002', 'not bound'))
    },
  })

  await expect(pumped(clock, forge.post(status(), never))).rejects.toMatchObject({ code: 'PH7002' })
  expect(destinations).toEqual([`token ${server.root}/api/v3`])
  expect(server.asked).toEqual([])
})

test('a redirect takes the token nowhere', async () => {
  await using elsewhere = await ScriptedServer.start({ status: 200 })
  await using server = await FakeForge.start('github')
  const clock = new ManualClock(START)
  await using forge = opened(server, clock)
  const moved = { status: 301, headers: { location: `${elsewhere.endpoint}/repositories/1/statuses` } }
  server.troubles.push({ status: 200, body: '{}' }, moved)

  await expect(pumped(clock, forge.post(status(), never))).rejects.toMatchObject({
    fault: 'rejected',
    message: expect.stringContaining('was the repository moved?') as string,
  })
  expect(elsewhere.seen).toEqual([])
})

test.each([
  ['https://github.com', 'https://api.github.com'],
  ['https://octo.ghe.com', 'https://api.octo.ghe.com'],
  ['https://github.example.com', 'https://github.example.com/api/v3'],
])('the API of %s is at %s', (root, api) => {
  expect(github.api(root)).toBe(api)
})
