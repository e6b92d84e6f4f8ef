import { openEmbeddedStore } from '../../src/store/embedded.ts'
import { FakeHarbor } from '../doubles/harbor.ts'
import { cli, startCli, type RunningCli } from './cli.ts'
import { Witness, type History } from './history.ts'
import {
  bounds,
  boundedDuplicates,
  conservation,
  durableReports,
  intentFirst,
  liveness,
  scheduleConservation,
  truth,
  type WatchedSchedule,
} from './invariants.ts'
import { addHarbor, openSite, policyYaml, providerYaml, runYaml, type Site } from './site.ts'

/** How large a run is. `images` are preheated at once by a PreheatRun, beside two an hourly slot. */
export interface RunSize {
  readonly images: number
  readonly kills: number
}

/** `long` is for one look in depth, `short` for hundreds. */
export const RUN_SIZES = { long: { images: 60, kills: 20 }, short: { images: 6, kills: 3 } } as const

/** What a run came to. */
export interface KillRun {
  /** Where it was killed, in order: `before saveStep 3`, `at push 1`. */
  readonly kills: readonly string[]
  /** Of I1–I7 and I9; empty: none. */
  readonly violations: readonly string[]
  readonly seen: Seen
}

/** What a run is judged by. */
export interface Seen {
  readonly history: History
  /** `repository@digest` of what the registry has, by policy. */
  readonly artifacts: ReadonlyMap<string, readonly string[]>
  readonly schedule: WatchedSchedule
  readonly lastMs: number
  readonly undisturbedMs: number
}

const SUBMITS_IN_FLIGHT = 4
const HOUR_MS = 3_600_000
/** Slots of so long are due at the beginning, the older ones of them too late. */
const HOURS_BEHIND = 40
const HOURS_ALLOWED = 30
const RUN = 'first'
/** Whatever else happens, this many starts are made for each kill that is wanted. */
const STARTS_A_KILL = 4

/** A place to be killed at. `most`: the n-th of them is chosen, n at random up to this. */
type Point = { readonly name: string; readonly most: number } &
  /** Right before or right after something is written; the process kills itself (crash-point.mjs). */
  (
    | { readonly kind: 'write'; readonly when: 'before' | 'after' }
    /** When a double is asked for something and has not answered yet. */
    | { readonly kind: 'request'; readonly of: 'harbor' | 'dragonfly' | 'git'; readonly asks: RegExp }
  )

const WRITES = { apply: 1, begin: 1, selected: 1, saveStep: 8, release: 8, end: 1, markSent: 1 }

const POINTS: readonly Point[] = [
  ...Object.entries(WRITES).flatMap(([name, most]): Point[] => [
    { kind: 'write', when: 'before', name, most },
    { kind: 'write', when: 'after', name, most },
  ]),
  { kind: 'request', name: 'list', of: 'harbor', asks: /^GET \/api\/v2\.0\/projects\/\w+\/artifacts/, most: 1 },
  { kind: 'request', name: 'manifest', of: 'harbor', asks: /^GET \/v2\/.+\/manifests\//, most: 6 },
  { kind: 'request', name: 'tag', of: 'harbor', asks: /^HEAD \/v2\/.+\/manifests\//, most: 4 },
  { kind: 'request', name: 'token', of: 'harbor', asks: /^GET \/service\/token/, most: 4 },
  { kind: 'request', name: 'submission', of: 'dragonfly', asks: /^POST \/oapi\/v1\/jobs$/, most: 8 },
  { kind: 'request', name: 'look', of: 'dragonfly', asks: /^GET \/oapi\/v1\/jobs/, most: 4 },
  { kind: 'request', name: 'fetch', of: 'git', asks: /\/git-upload-pack$/, most: 1 },
  { kind: 'request', name: 'push asked for', of: 'git', asks: /service=git-receive-pack$/, most: 1 },
  { kind: 'request', name: 'push', of: 'git', asks: /\/git-receive-pack$/, most: 1 },
]

/**
 * Kills preheatd with SIGKILL at places that the seed chooses, starts it again, and in the end, undisturbed, lets it
 * finish and asks every invariant. All that is random comes from the seed but for what the machine is doing meanwhile.
 */
export async function killRun(seed: number, { images, kills: wanted }: RunSize): Promise<KillRun> {
  await using site = await openSite({ requestsPerSecond: 10_000 })
  await using harbor = await FakeHarbor.start()
  const { schedule, artifacts } = await prepare(site, harbor, images)
  const witness = await Witness.of(site)
  const random = randomOf(seed)
  const kills: string[] = []
  const points: Point[] = []
  for (let starts = 0; kills.length < wanted; starts++) {
    if (starts === wanted * STARTS_A_KILL)
      throw new Error(`only ${kills.length} of ${wanted} kills hit: ${kills.join()}`)
    // All of them before one is chosen again.
    if (points.length === 0) points.push(...shuffled(POINTS, random))
    const point = points.pop()!
    if (point.name === 'apply') await site.repository.commit({ 'projects/nightly/hourly.yaml': hourly(starts) })
    // Some starts have nothing but a slot's images to work at.
    const nth = 1 + Math.floor(random() * Math.min(point.most, images / 3))
    const isDone = random() < 0.5
    if (!(await isKilledAt(point, nth, isDone, site, harbor))) continue
    kills.push(`${point.kind === 'write' ? point.when : isDone ? 'at' : 'instead of'} ${point.name} ${nth}`)
    witness.noteKill()
  }

  const began = performance.now()
  const last = await cli(['once', '--config', site.configFile, '--wait'])
  const lastMs = performance.now() - began
  const seen = { history: await witness.history(), artifacts, schedule, lastMs, undisturbedMs: images * 500 }
  const failed = last.code === 0 ? [] : [`it ended with ${last.code}: ${last.stderr}`]
  return { kills, violations: [...failed, ...violationsOf(seen)], seen }
}

/** Of I1–I7 and I9, and that no image ended in any other way than well, since its manager has it. */
export function violationsOf({ history, artifacts, schedule, lastMs, undisturbedMs }: Seen): string[] {
  return [
    ...conservation(history, artifacts),
    ...intentFirst(history),
    ...boundedDuplicates(history),
    ...truth(history),
    ...durableReports(history),
    ...scheduleConservation(history, schedule, [RUN]),
    ...liveness(history, { lastMs, undisturbedMs }),
    ...bounds(history, SUBMITS_IN_FLIGHT),
    ...history.stored.tasks.flatMap(({ id, state }) => (state === 'Succeeded' ? [] : [`${id} ended as ${state}`])),
  ]
}

/** Two policies: one that a PreheatRun asks for, and one whose schedule stands so many hours back. */
async function prepare(site: Site, harbor: FakeHarbor, images: number): Promise<Pick<Seen, 'schedule' | 'artifacts'>> {
  const push = async (project: string, count: number) => {
    const names: string[] = []
    for (let i = 0; i < count; i++) {
      const image = { project, repository: `app-${i}`, tags: ['v1'], layers: 1, seed: `${project} ${i}` }
      names.push(`${project}/app-${i}@${(await harbor.push(image)).digest}`)
    }
    return names
  }
  const artifacts = new Map([
    ['team/release', await push('team', images)],
    ['nightly/hourly', await push('nightly', 2)],
  ])
  await site.repository.commit({
    'registries/harbor.yaml': await addHarbor(site, harbor),
    'providers/dragonfly-eu.yaml': providerYaml(site, 'dragonfly-eu', {
      limits: { submitsInFlight: SUBMITS_IN_FLIGHT, requestsPerSecond: 1000 },
      dragonfly: { pollSchedule: ['100ms', '200ms', '400ms', '800ms', '2s', '4s'] },
    }),
    'projects/team/release.yaml': policyYaml('release', { project: 'team', registry: 'harbor' }),
    'projects/nightly/hourly.yaml': hourly(0),
  })
  await site.configure()
  const first = await cli(['once', '--config', site.configFile])
  if (first.code !== 0) throw new Error(`the site is broken: ${first.stderr}`)
  await site.repository.commit({ 'projects/team/run.yaml': runYaml(RUN, 'team/release') })

  const from = Date.now() - HOURS_BEHIND * HOUR_MS
  await using store = await openEmbeddedStore(site.stateDir)
  for (const state of await store.schedules()) await store.miss({ ...state, until: from }, [])
  const schedule = {
    policyKey: 'PreheatPolicy/harbor/nightly/hourly',
    policy: 'nightly/hourly',
    everyMs: HOUR_MS,
    from,
    startingDeadlineMs: HOURS_ALLOWED * HOUR_MS,
  }
  return { schedule, artifacts }
}

/** @param version something that changes and means nothing */
function hourly(version: number): string {
  return policyYaml('hourly', {
    project: 'nightly',
    registry: 'harbor',
    description: `version ${version}`,
    refresh: { mode: 'always' },
    trigger: {
      type: 'scheduled',
      schedule: { cron: '0 * * * *', catchUp: 'all', startingDeadline: `${HOURS_ALLOWED}h` },
    },
  })
}

/**
 * Starts `once --wait`, which finishes what is open and begins one slot.
 * @param isDone whether a double does what it was asked for all the same; nobody ever hears of it
 * @returns whether it got there; else it ended by itself
 */
async function isKilledAt(
  point: Point,
  nth: number,
  isDone: boolean,
  site: Site,
  harbor: FakeHarbor,
): Promise<boolean> {
  const args = ['once', '--config', site.configFile, '--wait']
  const running =
    point.kind === 'write' ? startCli(args, crashingAt(`${point.when} ${point.name} ${nth}`)) : startCli(args)
  if (point.kind === 'request') armDoubles(point, nth, isDone, site, harbor, running)
  const { signal, code, stderr } = await running.ended()
  harbor.onRequest = undefined
  site.dragonfly.trouble = () => undefined
  site.gitServer.calm()
  if (signal === null && code !== 0) throw new Error(`it ended with ${code ?? 'nothing'}: ${stderr}`)
  return signal === 'SIGKILL'
}

/**
 * The environment in which a process kills itself at one write of its store.
 * @param point `before saveStep 3`, or `after`
 */
export function crashingAt(point: string): Record<string, string> {
  const preload = new URL('crash-point.mjs', import.meta.url).href
  return { NODE_OPTIONS: `--import=${preload}`, PREHEATD_TEST_CRASH_AT: point }
}

function armDoubles(
  { of, asks }: Extract<Point, { kind: 'request' }>,
  nth: number,
  isDone: boolean,
  { dragonfly, gitServer }: Site,
  harbor: FakeHarbor,
  { process }: RunningCli,
): void {
  let left = nth
  /** @returns whether the process is dead by now */
  const strike = (): boolean => {
    if (--left === 0) process.kill('SIGKILL')
    return left <= 0
  }
  const refused = new Error('nobody is there')
  switch (of) {
    case 'dragonfly':
      dragonfly.trouble = (request) =>
        !asks.test(request) || !strike()
          ? undefined
          : isDone
            ? { kind: 'cut' }
            : { kind: 'answer', status: 503, body: '' }
      break
    case 'harbor':
      harbor.onRequest = ({ method, path }) => {
        if (asks.test(`${method} ${path}`) && strike() && !isDone) throw refused
      }
      break
    case 'git':
      // A git that outlives its daemon gets through where it is done, and does not where it is not.
      gitServer.next(
        { does: 'wait', for: () => (strike() && !isDone ? Promise.reject(refused) : Promise.resolve()) },
        asks,
        Infinity,
      )
      break
    default:
      of satisfies never
  }
}

function shuffled<T>(all: readonly T[], random: () => number): T[] {
  const order = all.map((one) => ({ one, at: random() }))
  return order.sort((a, b) => a.at - b.at).map(({ one }) => one)
}

/** Numbers that look random and are the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
