import { connect } from 'node:net'
import { setTimeout as nap } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Agent, request, type Dispatcher } from 'undici'
import { FakeHarbor } from '../doubles/harbor.ts'
import { startCli, type RunningCli } from '../support/cli.ts'
import {
  declareReceivers,
  deliveriesAbout,
  forgePush,
  FORGES,
  harborPush,
  HOOK_SECRET,
  webhookCounts,
  type Hook,
  type Pushed,
} from '../support/deliveries.ts'
import { openSite, policyYaml, reportsOn, type Site } from '../support/site.ts'

const DELIVERIES = 500
const PROJECTS = ['team-a', 'team-b', 'team-c', 'team-d']
const ARTIFACTS = 96
/** Only a push of the forge makes the daemon look at its source; a burst is over before its events are acted on. */
const ENV = { PREHEATD_SOURCE_INTERVAL: '1h', PREHEATD_SOURCE_WEBHOOK_SECRET_REF_NAME: 'hook' }

interface Sent {
  readonly hook: Hook
  /** Undefined: not answered. */
  readonly status: number | undefined
}

/** All at once, over as many connections as there are senders. @param answered is told of each answer */
async function sendAll(
  origin: string,
  hooks: readonly Hook[],
  answered: (count: number) => void = () => undefined,
): Promise<Sent[]> {
  const senders = new Agent({ connections: 100 })
  let count = 0
  const send = async (hook: Hook): Promise<Sent> => {
    try {
      const status = await post(origin, hook, senders)
      answered(++count)
      return { hook, status }
    } catch {
      return { hook, status: undefined }
    }
  }
  const sent = await Promise.all(hooks.map(send))
  await senders.destroy()
  return sent
}

async function post(origin: string, { path, headers, body }: Hook, dispatcher?: Dispatcher): Promise<number> {
  const answer = await request(`${origin}${path}`, { method: 'POST', headers, body, ...(dispatcher && { dispatcher }) })
  await answer.body.dump()
  return answer.statusCode
}

function isAnswered({ status }: Sent): boolean {
  return status !== undefined && status < 300
}

async function pushArtifacts(harbor: FakeHarbor): Promise<Pushed[]> {
  return await Promise.all(
    Array.from({ length: ARTIFACTS }, async (_, i) => {
      const [project, repository] = [PROJECTS[i % PROJECTS.length]!, `app-${i}`]
      const { digest } = await harbor.push({ project, repository, tags: ['v1'], layers: 1, seed: `${i}` })
      return { repository: `${project}/${repository}`, tag: 'v1', digest }
    }),
  )
}

/** Resolves when these were all given to the engine, and every execution has ended. */
async function settled(site: Site, daemon: RunningCli, pushed: readonly Pushed[]): Promise<void> {
  const api = await daemon.listens('http.api')
  for (;;) {
    const urls = new Set(site.dragonfly.posts.map(({ url }) => url))
    const body = (await (await fetch(`${api}/api/v1/executions?limit=100`)).json()) as {
      readonly executions: readonly { readonly state: string }[]
    }
    const isOver = body.executions.length > 0 && body.executions.every(({ state }) => state === 'Ended')
    if (isOver && pushed.every(({ digest }) => [...urls].some((url) => url?.endsWith(digest)))) return
    await nap(200)
  }
}

test(
  `${DELIVERIES} deliveries in a burst, killed in the middle: what was answered leads to its effect, once, and is known when it is sent again [S4]`,
  { timeout: 300_000 },
  async () => {
    await using site = await openSite({ requestsPerSecond: 10_000 })
    await using harbor = await FakeHarbor.start()
    const pushed = await pushArtifacts(harbor)
    await declareReceivers(site, harbor, PROJECTS, '10s')
    await site.configure()
    const first = startCli(['run', '--config', site.configFile], ENV)
    const origin = await first.listens('http.webhooks')
    const tip = await site.repository.commit({
      'projects/team-a/later.yaml': policyYaml('later', { project: 'team-a' }),
    })
    const about = pushed.flatMap((one, i) => deliveriesAbout(one, `delivery-${i}`, 1_763_800_000))
    const forge = Array.from({ length: DELIVERIES - about.length }, (_, i) =>
      forgePush(FORGES[i % FORGES.length]!, `push-${i}`),
    )
    // One of the forge after every 24 of the registry.
    const hooks = [...about.keys()].flatMap((i) => [about[i]!, ...(i % 24 === 23 ? [forge[(i - 23) / 24]!] : [])])
    expect(hooks).toHaveLength(DELIVERIES)

    const sent = await sendAll(origin, hooks, (count) => {
      if (count === DELIVERIES / 2) first.process.kill('SIGKILL')
    })
    expect(await first.ended()).toMatchObject({ signal: 'SIGKILL' })
    const unanswered = sent.filter((one) => !isAnswered(one)).map(({ hook }) => hook)
    expect(sent.filter(isAnswered).map(({ status }) => status)).not.toContain(200)
    expect(unanswered.length).toBeGreaterThan(0)

    const second = startCli(['run', '--config', site.configFile], ENV)
    const again = await second.listens('http.webhooks')
    const retried = await sendAll(again, unanswered)
    expect(retried.filter((one) => !isAnswered(one))).toEqual([])
    // What a sender takes for lost, and was not.
    const known = sent.filter((one) => isAnswered(one) && one.hook.path !== '/hooks/source').map(({ hook }) => hook)
    const replayed = await sendAll(again, known)
    expect(new Set(replayed.map(({ status }) => status))).toEqual(new Set([200]))
    const counts = await webhookCounts(await second.listens('http.probes'))
    expect(counts.get('registries/harbor replayed')).toBeGreaterThanOrEqual(known.length)

    await settled(site, second, pushed)
    second.process.kill('SIGTERM')
    expect(await second.ended()).toMatchObject({ code: 0 })
    const reports = await reportsOn(site.repository)
    const warmed = reports.flatMap(({ report }) => report.spec.tasks).filter(({ state }) => state === 'Succeeded')
    // A delivery that came after its execution had begun has one of its own, which shares the engine's job.
    expect(new Set(warmed.map(({ artifact }) => artifact.digest))).toEqual(new Set(pushed.map(({ digest }) => digest)))
    expect(site.dragonfly.posts).toHaveLength(ARTIFACTS)
    // The five deliveries about an artifact, and all artifacts of a project, became few executions.
    expect(reports.length).toBeLessThan(ARTIFACTS / 2)
    expect(`${first.stderr()}${second.stderr()}`).toContain(`"revision":"${tip}"`)
  },
)

test(
  'what is forged, too large, too slow, sent again or no JSON is refused by a process with the status that says so, and counted [S3] [S4] [S5] [S6]',
  { timeout: 120_000 },
  async () => {
    await using site = await openSite()
    await using harbor = await FakeHarbor.start()
    harbor.project('team-a')
    await declareReceivers(site, harbor, ['team-a'], '1h')
    await site.configure()
    const daemon = startCli(['run', '--config', site.configFile], ENV)
    const [origin, probes] = [await daemon.listens('http.webhooks'), await daemon.listens('http.probes')]
    const right = harborPush({ repository: 'team-a/app', tag: 'v1', digest: `sha256:${'1'.repeat(64)}` }, 1)
    const push = forgePush('github', 'push-1')
    const changed = (hook: Hook, headers: Readonly<Record<string, string>>, body = hook.body): Hook => ({
      ...hook,
      headers: { ...hook.headers, ...headers },
      body,
    })

    const { hostname, port } = new URL(origin)
    const slow = connect(Number(port), hostname)
    slow.setEncoding('utf8')
    slow.write(
      `POST ${right.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: ${HOOK_SECRET}\r\n` +
        'content-length: 1000\r\n\r\n{',
    )
    const refusedAsSlow = (async () => {
      let answer = ''
      for await (const text of slow) answer += String(text)
      return answer
    })()

    const statuses: number[] = []
    for (const hook of [
      right,
      right,
      changed(right, { authorization: 'guessed' }),
      changed(push, { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` }),
      changed(push, {}, `${push.body} `),
      changed(right, {}, right.body.padEnd((1 << 20) + 1)),
      changed(right, { 'content-type': 'text/plain' }),
      changed(right, { 'content-encoding': 'gzip' }),
      changed(right, {}, '{"type":'),
      { ...right, path: '/hooks/registries/unheard-of' },
      push,
      push,
    ])
      statuses.push(await post(origin, hook))

    expect(statuses).toEqual([202, 200, 401, 401, 401, 413, 415, 415, 400, 404, 202, 200])
    expect(await refusedAsSlow).toMatch(/^HTTP\/1\.1 408 /)
    expect(Object.fromEntries(await webhookCounts(probes))).toEqual({
      'registries/harbor accepted': 1,
      'registries/harbor replayed': 1,
      'registries/harbor unauthorized': 1,
      'registries/harbor too_large': 1,
      'registries/harbor too_slow': 1,
      'registries/harbor wrong_content': 2,
      'registries/harbor malformed': 1,
      'source unauthorized': 2,
      'source accepted': 1,
      'source replayed': 1,
      'unknown unknown': 1,
    })
    daemon.process.kill('SIGTERM')
    const { code, stderr } = await daemon.ended()
    expect(code).toBe(0)
    expect(stderr).not.toContain(HOOK_SECRET)
  },
)
