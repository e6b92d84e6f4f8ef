import { readFile } from 'node:fs/promises'
import { setTimeout as nap } from 'node:timers/promises'
import { Pool } from 'undici'
import { Closers } from '../../src/closers.ts'
import { FakeHarbor } from '../doubles/harbor.ts'
import { startCli, type RunningCli } from '../support/cli.ts'
import { declareReceivers, deliveriesAbout, type Hook, type Pushed } from '../support/deliveries.ts'
import { Postgres } from '../support/postgres.ts'
import { openSite } from '../support/site.ts'
import { Violation } from './engines.ts'
import { randomOf } from './seeded.ts'
import { cpuMsOf, startStub } from './stub.ts'

/** Who receives. `floor`: the same HTTP server, which reads a delivery, says yes and keeps nothing. */
export const RECEIVERS = ['floor', 'embedded', 'postgres'] as const

/** What came of one second of deliveries; a line of the results, with units in its names. */
export interface Burst {
  readonly scenario: 'deliveries'
  readonly receiver: (typeof RECEIVERS)[number]
  readonly round: number
  readonly seed: number
  /** Deliveries in that second. */
  readonly n: number
  /** Answers, each from the moment for which its delivery was planned to the end of its answer. */
  readonly answer_p50_ms: number
  readonly answer_p99_ms: number
  readonly answer_max_ms: number
  /** How much later than planned the sender began: part of every answer above. */
  readonly late_p99_ms: number
  /** Answered with 202. */
  readonly accepted: number
  /** What they were about, and what became of that. */
  readonly artifacts: number | undefined
  readonly executions: number | undefined
  readonly cpu_us_per_delivery: number
  readonly rss_mb: number | undefined
}

/** A burst with what the bench adds to it. */
export interface BurstLine extends Burst {
  readonly at: string
  readonly commit: string
  readonly machine: Readonly<Record<string, unknown>>
}

const PROJECTS = ['team-a', 'team-b', 'team-c', 'team-d']
/** Longer than a burst, so that each policy has one execution of it. */
const DEBOUNCE = '3s'
const CONNECTIONS = 128
const PATIENCE_MS = 120_000
const SUCCEEDED = /"digest":"([^"]+)"[^\n]*"message":"task\.changed"[^\n]*"state":"Succeeded"/g

/**
 * Sends `n` deliveries within a second, at moments that were drawn beforehand whatever is answered, to a receiver that
 * keeps nothing and to daemons on both stores in turn, and waits for all that they lead to. The first round meets
 * processes that have just started.
 * @throws {Violation} when a delivery was not accepted, or an artifact was not preheated
 */
export async function benchDeliveries(
  { n, rounds, seed }: { readonly n: number; readonly rounds: number; readonly seed: number },
  emit: (burst: Burst) => Promise<void>,
): Promise<void> {
  await using closers = new Closers()
  const floor = closers.use(await startStub('stub-receiver.ts', {}))
  const postgres = closers.use(await Postgres.start('on'))
  const daemons = {
    embedded: closers.use(await startDaemon(undefined)),
    postgres: closers.use(await startDaemon(await postgres.database())),
  }
  for (let round = 1; round <= rounds; round++) {
    const plan = plannedMs(n, randomOf(seed + round))
    for (const receiver of RECEIVERS) {
      const daemon = receiver === 'floor' ? undefined : daemons[receiver]
      const pushed = await pushArtifacts(daemon?.harbor, n, round)
      const hooks = hooksAbout(pushed, n, round)
      const cpuMs = () => daemon?.cpuMs() ?? floor.cpuMs()
      const before = await cpuMs()
      const answers = await send(daemon?.endpoint ?? floor.endpoint, hooks, plan)
      const spentMs = (await cpuMs()) - before
      const executions = await daemon?.executionsOf(new Set(pushed.map(({ digest }) => digest)))
      const burst: Burst = {
        scenario: 'deliveries',
        receiver,
        round,
        seed,
        n,
        answer_p50_ms: quantile(
          answers.map(({ ms }) => ms),
          0.5,
        ),
        answer_p99_ms: quantile(
          answers.map(({ ms }) => ms),
          0.99,
        ),
        answer_max_ms: quantile(
          answers.map(({ ms }) => ms),
          1,
        ),
        late_p99_ms: quantile(
          answers.map(({ lateMs }) => lateMs),
          0.99,
        ),
        accepted: answers.filter(({ status }) => status === 202).length,
        artifacts: daemon && pushed.length,
        executions,
        cpu_us_per_delivery: (spentMs * 1000) / n,
        rss_mb: daemon && (await daemon.rssMb()),
      }
      await emit(burst)
      if (burst.accepted < n) throw new Violation(`${receiver} accepted ${burst.accepted} of ${n} deliveries`)
    }
  }
}

/** Moments within a second as independent senders choose them, in order. */
function plannedMs(n: number, random: () => number): number[] {
  return Array.from({ length: n }, () => random() * 1000).sort((a, b) => a - b)
}

interface Answer {
  readonly status: number
  readonly ms: number
  readonly lateMs: number
}

/** Open loop: a receiver that is slow is not sent less. @param plan when to send each, in milliseconds from now */
async function send(endpoint: string, hooks: readonly Hook[], plan: readonly number[]): Promise<Answer[]> {
  const pool = new Pool(endpoint, { connections: CONNECTIONS })
  const startAt = performance.now() + 100
  const post = async ({ path, headers, body }: Hook, plannedAt: number): Promise<Answer> => {
    const lateMs = performance.now() - plannedAt
    const answer = await pool.request({ method: 'POST', path, headers, body })
    await answer.body.dump()
    return { status: answer.statusCode, ms: performance.now() - plannedAt, lateMs }
  }
  const answers: Promise<Answer>[] = []
  try {
    while (answers.length < hooks.length) {
      const now = performance.now()
      for (let at = due(answers.length); at <= now; at = due(answers.length))
        answers.push(post(hooks[answers.length]!, at))
      await nap(1)
    }
    return await Promise.all(answers)
  } finally {
    await pool.close()
  }

  function due(index: number): number {
    return index < hooks.length ? startAt + plan[index]! : Infinity
  }
}

interface ReceivingDaemon extends AsyncDisposable {
  readonly harbor: FakeHarbor
  readonly endpoint: string
  cpuMs(): Promise<number>
  rssMb(): Promise<number>
  /** Waits until each of these is preheated, and all has ended. @returns how many executions that took since the last */
  executionsOf(digests: ReadonlySet<string>): Promise<number>
}

/** `preheatd run` as it was built. @param databaseUrl of a PostgreSQL; undefined: its own store */
async function startDaemon(databaseUrl: string | undefined): Promise<ReceivingDaemon> {
  const closers = new Closers()
  const site = closers.use(await openSite({ requestsPerSecond: 10_000 }))
  const harbor = closers.use(await FakeHarbor.start())
  for (const project of PROJECTS) harbor.project(project)
  await declareReceivers(site, harbor, PROJECTS, DEBOUNCE)
  const state = databaseUrl !== undefined && { state: { dir: site.stateDir, databaseUrlEnv: 'PREHEATD_DATABASE_URL' } }
  await site.configure({ ...state })
  const env = {
    // Nothing else is to be done meanwhile.
    PREHEATD_SOURCE_INTERVAL: '1h',
    ...(databaseUrl !== undefined && { PREHEATD_DATABASE_URL: databaseUrl }),
  }
  const running = startCli(['run', '--config', site.configFile], env)
  const endpoint = await running.listens('http.webhooks')
  let logged = 0
  return {
    harbor,
    endpoint,
    cpuMs: () => cpuMsOf(running.process.pid!),
    async rssMb() {
      const status = await readFile(`/proc/${running.process.pid!}/status`, 'latin1')
      return (Number(/VmHWM:\s*(\d+)/.exec(status)?.[1]) * 1024) / 1e6
    },
    async executionsOf(digests) {
      const executions = await executionsOf(running, logged, digests)
      logged = running.stderr().length
      return executions
    },
    async [Symbol.asyncDispose]() {
      running.process.kill('SIGTERM')
      await running.ended()
      await closers[Symbol.asyncDispose]()
    },
  }
}

/** Told by its log, since a report whose result is the one before waits to be sent. */
async function executionsOf(running: RunningCli, logged: number, digests: ReadonlySet<string>): Promise<number> {
  const giveUpAt = performance.now() + PATIENCE_MS
  while (performance.now() < giveUpAt) {
    await nap(500)
    const lines = running.stderr().slice(logged)
    const succeeded = new Set([...lines.matchAll(SUCCEEDED)].map(([, digest]) => digest))
    const [begun, ended] = ['started', 'ended'].map((what) => lines.split(`"message":"execution.${what}"`).length - 1)
    if (begun === ended && [...digests].every((digest) => succeeded.has(digest))) return begun!
  }
  throw new Violation('not every artifact of a delivery that was accepted was preheated')
}

/** A fifth as many artifacts as there are deliveries, over all projects. */
async function pushArtifacts(harbor: FakeHarbor | undefined, n: number, round: number): Promise<Pushed[]> {
  return await Promise.all(
    Array.from({ length: Math.ceil(n / 5) }, async (_, i): Promise<Pushed> => {
      const [project, repository, tag] = [PROJECTS[i % PROJECTS.length]!, `app-${i}`, `v${round}`]
      const image = { project, repository, tags: [tag], layers: 1, seed: `${round} ${i}` }
      const digest = (await harbor?.push(image))?.digest ?? `sha256:${'0'.repeat(64)}`
      return { repository: `${project}/${repository}`, tag, digest }
    }),
  )
}

/** About one artifact after the other, and then about each once more, as builds and scans of many teams overlap. */
function hooksAbout(pushed: readonly Pushed[], n: number, round: number): Hook[] {
  const all = pushed.map((one, i) => deliveriesAbout(one, `${round}-${i}`, 1_763_800_000 + round * 100))
  return Array.from({ length: n }, (_, i) => all[i % all.length]![Math.floor(i / all.length)]!)
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]!
}
