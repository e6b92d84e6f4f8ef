import { expect, test } from 'vitest'
import { FORGE_COMMIT, FORGE_TOKEN, FakeForge } from '../doubles/forge.ts'
import { ManualClock } from '../support/clock.ts'
import { ScriptedServer } from '../support/engine.ts'
import { endedExecution } from '../support/ended.ts'
import { EXAMPLE_AT, execution, located, policy } from '../support/examples.ts'
import { pump, pumped, turn, until } from '../support/pump.ts'
import type { Event } from '../../src/model/events.ts'
import type { EndedExecution } from '../../src/model/execution.ts'
import type { PreheatPolicy } from '../../src/model/policy.ts'
import type { Problem } from '../../src/model/problem.ts'
import { Secret } from '../../src/model/secret.ts'
import { openNotifier, type Notifier } from '../../src/notifier.ts'
import type { Outcome } from '../../src/notify/outbox.ts'
import { readSettings, type Settings } from '../../src/settings.ts'
import type { Applied } from '../../src/store/store.ts'

/** Settings as a person writes them. */
function settingsOf(url: string, notifications: string): Settings {
  const text = `apiVersion: preheatd.io/v1alpha1
kind: DaemonConfig
metadata: { name: eu }
source: { url: "${url}" }
secrets: { bindings: { s: { hosts: [127.0.0.1] } } }
notifications:
${notifications}`
  const read = readSettings(text, '/etc/preheatd/preheatd.yaml', {})
  if (!read.ok) throw new Error(JSON.stringify(read.problems))
  return read.settings
}

function opened(settings: Settings, problems: readonly Problem[] = [], commit = FORGE_COMMIT) {
  const clock = new ManualClock(EXAMPLE_AT)
  const outcomes: Outcome[] = []
  const applied: Applied = {
    config: { commit, author: 'ann', subject: 'x' },
    appliedAt: EXAMPLE_AT,
    objects: [{ ...located(policy()), problems: [] }],
    problems,
  }
  const notifier = openNotifier(settings, {
    read: () => Promise.resolve(new Secret(FORGE_TOKEN)),
    clock,
    random: () => 0,
    scrub: (text) => text.replaceAll(FORGE_TOKEN, '[secret]'),
    applied: () => Promise.resolve(applied),
    lastResults: new Map(),
    onOutcome: (outcome) => outcomes.push(outcome),
  })
  return { notifier, clock, outcomes }
}

async function closed(notifier: Notifier, clock: ManualClock): Promise<void> {
  await pumped(clock, notifier[Symbol.asyncDispose]())
}

function ended(overrides: Partial<EndedExecution> = {}, of: Partial<PreheatPolicy> = {}): Event {
  const { snapshot } = execution()
  const config = { commit: FORGE_COMMIT, author: 'ann', subject: 'x' }
  const own = { ...snapshot, config, policy: policy(of) }
  return { name: 'execution.ended', execution: endedExecution({ snapshot: own, result: 'Failed', ...overrides }) }
}

function applied(revision = FORGE_COMMIT): Event {
  return { name: 'plan.applied', revision, created: 1, updated: 0, deleted: 0, stalled: 0 }
}

const unchanged: Event = { name: 'source.unchanged', revision: FORGE_COMMIT }
const statusOn = (type: string) => `  - { name: commits, type: ${type}, secretRef: { name: s } }\n`
const hook = (url: string, more = '') =>
  `  - { name: hook, type: webhook, url: "${url}", secretRef: { name: s }${more} }\n`
const reasons = (server: ScriptedServer) =>
  server.seen.map(({ body }) => {
    const { reason, involvedObject } = JSON.parse(body) as { reason: string; involvedObject: { name: string } }
    return `${reason} ${involvedObject.name}`
  })

test.each(['github', 'gitlab', 'gitea'] as const)(
  'a commit on %s shows that it is in force, and how the execution under it ended',
  async (kind) => {
    await using forge = await FakeForge.start(kind)
    const { notifier, clock, outcomes } = opened(settingsOf(`${forge.root}/platform/preheat.git`, statusOn(kind)))
    notifier.tell(applied())
    await pump(clock, () => outcomes.length === 1)
    notifier.tell(ended({ result: 'Success' }))
    await pump(clock, () => outcomes.length === 2)
    await closed(notifier, clock)

    const tree = { github: 'tree', gitlab: '-/tree', gitea: 'src/branch' }[kind]
    const url = `${forge.root}/platform/preheat/${tree}/preheat-reports`
    expect(forge.standing()).toMatchObject([
      { context: 'preheatd/eu', state: 'success', description: '1 object in force', url },
      {
        context: 'preheatd/eu/library/release-images',
        state: 'success',
        description: 'Success, 40 selected, 37 skipped',
        url,
      },
    ])
    expect(outcomes.map(({ kind: outcome, subject }) => `${outcome} ${subject}`)).toEqual([
      'delivered status of preheatd/eu',
      'delivered status of preheatd/eu/library/release-images',
    ])
  },
)

test('a commit with problems is shown as a failure', async () => {
  await using forge = await FakeForge.start('github')
  const broken: Problem = {
    severity: 'error',
    code: 'PH2003',
    file: 'a.yaml',
    line: 3,
    column: 5,
    message: `wrong ${FORGE_TOKEN}`,
  }
  const { notifier, clock, outcomes } = opened(settingsOf(`${forge.root}/platform/preheat.git`, statusOn('github')), [
    broken,
  ])
  notifier.tell(applied())
  await pump(clock, () => outcomes.length === 1)
  await closed(notifier, clock)

  expect(forge.standing()).toMatchObject([
    { state: 'failure', description: '1 problem: a.yaml:3 PH2003 wrong [secret]' },
  ])
})

test('a daemon that was killed before it told the forge tells it at its next start, and then no more', async () => {
  await using forge = await FakeForge.start('github')
  const { notifier, clock, outcomes } = opened(settingsOf(`${forge.root}/platform/preheat.git`, statusOn('github')))
  notifier.tell(unchanged)
  await pump(clock, () => outcomes.length === 1)
  notifier.tell(unchanged)
  await closed(notifier, clock)

  expect(forge.standing()).toMatchObject([{ context: 'preheatd/eu', state: 'success' }])
  expect(forge.posted).toHaveLength(1)
  expect(outcomes).toHaveLength(1)
})

test('a forge that was away gets the state of the commit when the source answers again; one that refused does not', async () => {
  await using forge = await FakeForge.start('github')
  const { notifier, clock, outcomes } = opened(settingsOf(`${forge.root}/platform/preheat.git`, statusOn('github')))
  for (let i = 0; i < 4; i++) forge.troubles.push({ status: 503 })
  notifier.tell(applied())
  await pump(clock, () => outcomes.length === 1)
  expect(outcomes[0]).toMatchObject({ kind: 'failed', error: { code: 'PH8031' } })
  forge.troubles.push({ status: 200, body: '{}' }, { status: 404, body: '{"message":"Not Found"}' })

  notifier.tell(unchanged)
  await pump(clock, () => outcomes.length === 2)
  expect(outcomes[1]).toMatchObject({ kind: 'failed', error: { code: 'PH8032' } })
  notifier.tell(unchanged)
  await closed(notifier, clock)

  expect(outcomes).toHaveLength(2)
})

test('a watched folder has no commit that a status could stand beside', async () => {
  await using forge = await FakeForge.start('github')
  const hash = `sha256:${'a'.repeat(64)}`
  const settings = settingsOf(`${forge.root}/platform/preheat.git`, statusOn('github'))
  const { notifier, clock } = opened(settings, [], hash)
  notifier.tell(applied(hash))
  const { snapshot } = execution()
  const config = { commit: hash, author: '', subject: '' }
  notifier.tell(ended({ snapshot: { ...snapshot, config } }))
  await closed(notifier, clock)

  expect(forge.asked).toEqual([])
})

test('a receiver gets what its severity and its policies let through', async () => {
  await using all = await ScriptedServer.start({ status: 200 })
  await using errors = await ScriptedServer.start({ status: 200 })
  await using team = await ScriptedServer.start({ status: 200 })
  const settings = settingsOf(
    'https://git.example.com/platform/preheat.git',
    hook(all.endpoint) +
      hook(errors.endpoint, ', severity: error').replace('hook', 'errors') +
      hook(team.endpoint, ', policies: ["team/**"]').replace('hook', 'team'),
  )
  const { notifier, clock, outcomes } = opened(settings)
  notifier.tell({ name: 'provider.circuit', provider: 'dragonfly-eu', openUntil: EXAMPLE_AT + 60_000 })
  notifier.tell({ name: 'provider.circuit', provider: 'dragonfly-eu', openUntil: undefined })
  notifier.tell(ended())
  notifier.tell(
    ended({ result: 'Success', policyKey: 'PreheatPolicy/harbor/team/app' }, { project: 'team', name: 'app' }),
  )
  // Of a run with artifacts of its own, and of the project that it names.
  notifier.tell(ended({ result: 'Failed', policyKey: 'PreheatRun/hotfix' }, { project: 'team', name: 'hotfix' }))
  await pump(clock, () => outcomes.length === 10)
  await closed(notifier, clock)

  expect(reasons(all)).toEqual([
    'ProviderUnreachable dragonfly-eu',
    'ProviderRecovered dragonfly-eu',
    'ExecutionFailed library/release-images',
    'ResultChanged team/app',
    'ExecutionFailed team/hotfix',
  ])
  expect(reasons(errors)).toEqual([
    'ProviderUnreachable dragonfly-eu',
    'ExecutionFailed library/release-images',
    'ExecutionFailed team/hotfix',
  ])
  expect(reasons(team)).toEqual(['ResultChanged team/app', 'ExecutionFailed team/hotfix'])
})

test('the same failure within five minutes is told once and counted', async () => {
  await using server = await ScriptedServer.start({ status: 200 })
  const settings = settingsOf('https://git.example.com/platform/preheat.git', hook(server.endpoint))
  const { notifier, clock, outcomes } = opened(settings)
  notifier.tell(ended())
  notifier.tell(ended())
  notifier.tell(ended())
  await pump(clock, () => outcomes.length === 3)
  await closed(notifier, clock)

  expect(server.seen).toHaveLength(1)
  expect(outcomes.filter(({ kind }) => kind === 'duplicate')).toEqual([
    { notification: 'hook', subject: 'ExecutionFailed', kind: 'duplicate' },
    { notification: 'hook', subject: 'ExecutionFailed', kind: 'duplicate' },
  ])
})

test('a secret that got into a reason is in no message', async () => {
  await using server = await ScriptedServer.start({ status: 200 })
  const settings = settingsOf('https://git.example.com/platform/preheat.git', hook(server.endpoint))
  const { notifier, clock, outcomes } = opened(settings)
  notifier.tell(ended({ reason: { code: 'PH6006', message: `echo ${FORGE_TOKEN}` } }))
  await pump(clock, () => outcomes.length === 1)
  await closed(notifier, clock)

  expect(server.seen[0]!.body).toContain('echo [secret]')
  expect(JSON.stringify(server.seen)).not.toContain(FORGE_TOKEN)
})

test('one receiver that hangs keeps neither the daemon nor the others, and closing takes five seconds', async () => {
  await using hanging = await ScriptedServer.start('hang')
  await using well = await ScriptedServer.start({ status: 200 })
  const settings = settingsOf(
    'https://git.example.com/platform/preheat.git',
    hook(hanging.endpoint).replace('hook', 'hanging') + hook(well.endpoint),
  )
  const { notifier, clock, outcomes } = opened(settings)
  notifier.tell(ended())
  await until(() => outcomes.length === 1 && hanging.seen.length === 1)
  const closing = notifier[Symbol.asyncDispose]()
  await until(() => clock.nextWake === EXAMPLE_AT + 5_000)
  clock.advance(4_999)
  await turn()
  expect(outcomes.map(({ notification, kind }) => `${notification} ${kind}`)).toEqual(['hook delivered'])

  clock.advance(1)
  await closing

  expect(outcomes.map(({ notification, kind }) => `${notification} ${kind}`)).toEqual([
    'hook delivered',
    'hanging dropped',
  ])
})

test('a forge shows the policies that it is for, and links to reports only where they are in its repository', async () => {
  await using forge = await FakeForge.start('github')
  const list = `  - { name: commits, type: github, secretRef: { name: s }, policies: ["team/**"] }\nreports: { url: "https://git.example.com/a/b.git" }\n`
  const { notifier, clock, outcomes } = opened(settingsOf(`${forge.root}/platform/preheat.git`, list))
  notifier.tell(ended())
  notifier.tell(ended({}, { project: 'team', name: 'app' }))
  await pump(clock, () => outcomes.length === 1)
  await closed(notifier, clock)

  expect(forge.standing()).toMatchObject([{ context: 'preheatd/eu/team/app', state: 'failure', url: undefined }])
})

test('the state of another commit is never shown beside one that was left meanwhile', async () => {
  await using forge = await FakeForge.start('github')
  const settings = settingsOf(`${forge.root}/platform/preheat.git`, statusOn('github'))
  const { notifier, clock } = opened(settings, [], 'b'.repeat(40))
  notifier.tell(applied())
  await closed(notifier, clock)

  expect(forge.asked).toEqual([])
})

test('a daemon that ends right after it applied a commit still says so', async () => {
  await using forge = await FakeForge.start('github')
  const settings = settingsOf(`${forge.root}/platform/preheat.git`, statusOn('github'))
  const { notifier, clock, outcomes } = opened(settings)
  notifier.tell(applied())
  await closed(notifier, clock)

  expect(outcomes).toHaveLength(1)
})
