import { expect, test } from 'vitest'
import { Heartbeats } from '../../src/serve/heartbeats.ts'
import { probesApp } from '../../src/serve/probes.ts'

function open() {
  const state = { elapsed: 0, isReady: true, isStarted: true }
  const heartbeats = new Heartbeats(() => state.elapsed)
  const app = probesApp({
    heartbeats,
    isReady: () => state.isReady,
    isStarted: () => state.isStarted,
    metrics: { contentType: 'text/plain; version=0.0.4', render: () => Promise.resolve('preheatd_leader 1\n') },
  })
  return { state, heartbeats, app }
}

test('a loop that has not beaten in time makes livez fail, with its name, until it beats again [K11]', async () => {
  const { state, heartbeats, app } = open()
  heartbeats.expect('source', 180_000)
  heartbeats.expect('tasks', 60_000)
  state.elapsed = 60_000
  expect((await app.request('/livez')).status).toBe(200)

  state.elapsed = 60_001
  const late = await app.request('/livez')

  expect(late.status).toBe(503)
  expect(await late.text()).toBe('[+] source beat 60 s ago\n[-] tasks beat 60 s ago\nlivez failed\n')
  heartbeats.beat('tasks')
  expect(await (await app.request('/livez')).text()).toBe('ok\n')
})

test('verbose livez lists the loops, as the API of Kubernetes does', async () => {
  const { heartbeats, app } = open()
  heartbeats.expect('reports', 60_000)

  expect(await (await app.request('/livez?verbose')).text()).toBe('[+] reports beat 0 s ago\nlivez ok\n')
})

test('a loop that nobody expects cannot beat: it would never be missed', () => {
  expect(() => {
    open().heartbeats.beat('typo')
  }).toThrow(TypeError)
})

test('readyz and startupz follow what they are told', async () => {
  const { state, app } = open()
  const status = async () => [(await app.request('/readyz')).status, (await app.request('/startupz')).status]
  expect(await status()).toEqual([200, 200])

  state.isReady = false
  expect(await status()).toEqual([503, 200])
  state.isStarted = false
  expect(await status()).toEqual([503, 503])
})

test('metrics are served as what they are', async () => {
  const answer = await open().app.request('/metrics')

  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4')
  expect(await answer.text()).toBe('preheatd_leader 1\n')
})
