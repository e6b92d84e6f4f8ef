import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { ClientName, ClientWork } from './client.ts'
import type { Believed } from './contenders.ts'
import { HARBOR, modelHarbor, modelScript } from './harbor-model.ts'
import { historyOf, type History } from './history.ts'
import { runPreheatd, type Ran } from './preheatd.ts'
import { boundS, engineOptionsOf, PER_SECOND, type Scenario } from './scenarios.ts'
import { faultsOf, type Fault } from './seeded.ts'
import type { EngineEvent } from './stub-engine.ts'
import { cpuMsOf, startStub, type Stub } from './stub.ts'

/** Who does the work. */
export type Contender =
  'floor' | 'ideal' | 'seq' | 'par10' | 'preheatd' | 'harbor-model, 10 workers' | 'harbor-model, 300 workers'

/** One line of the results; names carry their units, and times are those on the wall. */
export interface Run {
  readonly scenario: Scenario['name']
  readonly contender: Contender
  /** Computed in virtual time and not measured. */
  readonly is_model: boolean
  readonly round: number
  readonly seed: number
  readonly n: number
  /** By how much everything of the engine and the tokens is faster than it really is. */
  readonly scale: number
  readonly engine: {
    readonly kind: Scenario['engine']
    readonly t_s: number
    readonly limit_per_s: number | undefined
    readonly visibility_s: readonly number[] | undefined
    readonly token_life_s: number | undefined
  }
  readonly makespan_s: number
  readonly bound_s: number | undefined
  readonly r3: number | undefined
  /** From the start of its process to its end; preheatd only. */
  readonly wall_s: number | undefined
  /** From the start of its process to its first POST. */
  readonly first_submit_s: number | undefined
  readonly done_p50_s: number
  readonly done_p95_s: number
  readonly states: Readonly<Record<string, number>>
  /** Artifacts that nobody said anything about. */
  readonly lost: number
  readonly dup_posts: number
  readonly expired_tokens: number
  /** Called a success, and not all of it is cached. */
  readonly false_success: number
  readonly http: History['http']
  readonly artifacts_per_s: number
  readonly floor_rps: number | undefined
  readonly ideal_aps: number | undefined
  readonly r1: number | undefined
  readonly r2: number | undefined
  readonly cpu_s: number | undefined
  readonly cpu_us_per_artifact: number | undefined
  readonly rss_peak_mb: number | undefined
  readonly loop_lag_p99_ms: number | undefined
  readonly git_commits: number | undefined
  /** What others took of the processor meanwhile, in cores. */
  readonly foreign_cores: number | undefined
  readonly steal: number | undefined
}

/** A result that the bench does not accept. */
export class Violation extends Error {}

/** A script that would take longer than this is computed. */
const LONGEST_SCRIPT_S = 15
const SCRIPT_POST_S = 0.2

/**
 * Runs a scenario as often as it says: floor, ideal, scripts and preheatd one after another, again and again, so that
 * what the machine does meanwhile falls on all of them.
 * @param nodeArgs for preheatd's process
 * @param emit gets every run when it is over
 * @throws {Violation}
 */
export async function benchEngine(
  scenario: Scenario,
  nodeArgs: readonly string[],
  emit: (run: Run) => Promise<void>,
): Promise<void> {
  const faults = faultsOf(scenario.seed, scenario.n, scenario.faults?.share ?? 0, scenario.faults?.kinds ?? [])
  for (let round = 1; round <= scenario.repeats; round++) {
    let floorRps: number | undefined
    let idealAps: number | undefined
    for (const contender of contendersOf(scenario)) {
      const scriptS = scriptSecondsOf(scenario, contender)
      const basis = { scenario, contender, round, faults, floorRps, idealAps }
      if (contender.startsWith('harbor-model') || (scriptS ?? 0) > LONGEST_SCRIPT_S) {
        if (round === 1) await emit(modelledRun(basis, scriptS))
        continue
      }
      const { run, believed } = await measuredRun(basis, nodeArgs)
      if (contender === 'floor') floorRps = run.artifacts_per_s
      if (contender === 'ideal') idealAps = run.artifacts_per_s
      await emit(run)
      if (contender !== 'preheatd') continue
      check(run, faults)
      checkTruth(believed, faults)
    }
  }
}

/** What every run of a round is told. */
interface Basis {
  readonly scenario: Scenario
  readonly contender: Contender
  readonly round: number
  readonly faults: ReadonlyMap<number, Fault>
  readonly floorRps: number | undefined
  readonly idealAps: number | undefined
}

function contendersOf({ engine, faults }: Scenario): Contender[] {
  const floor: Contender[] = engine === 'live' && faults === undefined ? ['floor'] : []
  return [...floor, 'ideal', 'preheatd', 'par10', 'seq', 'harbor-model, 10 workers', 'harbor-model, 300 workers']
}

/** How long a script would take on the wall; undefined for what is none. */
function scriptSecondsOf(scenario: Scenario, contender: Contender): number | undefined {
  const width = contender === 'seq' ? 1 : contender === 'par10' ? 10 : undefined
  if (width === undefined) return undefined
  const postS = scenario.engine === 'dragonfly' ? SCRIPT_POST_S : 0
  const givenUpS = scenario.faults?.kinds.includes('stuck') === true ? Infinity : 0
  return modelScript(scenario, width, 1, postS) / scenario.scale + givenUpS
}

async function measuredRun(basis: Basis, nodeArgs: readonly string[]): Promise<{ run: Run; believed: Believed }> {
  const { scenario, contender } = basis
  const before = await machineUse()
  let history: History
  let believed: Believed
  let ran: Ran | undefined
  {
    const engineOptions = engineOptionsOf(scenario)
    await using engine: Stub<EngineEvent[]> = await startStub('stub-engine.ts', engineOptions)
    await using registry = await startStub('stub-registry.ts', {
      n: scenario.n,
      tokenLifeMs: engineOptions.tokenLifeMs,
    })
    const place = { engine: engine.endpoint, registry: registry.endpoint }
    if (contender === 'preheatd') {
      ran = await runPreheatd(scenario, place, nodeArgs)
      believed = ran.believed
    } else believed = await runClient({ contender: contender as ClientName, scenario, place })
    history = historyOf(await engine.log())
  }
  return { run: runOf(basis, history, believed, ran, foreignUse(before, await machineUse())), believed }
}

/** In a process of its own that has just started, as preheatd is: one that ran before is twice as fast. */
async function runClient(work: ClientWork): Promise<Believed> {
  const child = fork(fileURLToPath(new URL('client.ts', import.meta.url)), [JSON.stringify(work)])
  const ended = once(child, 'exit')
  const sent = once(child, 'message') as Promise<[readonly (readonly [number, string])[]]>
  const [code] = (await Promise.race([ended, sent.then(() => ended)])) as [number]
  if (code !== 0) throw new Error(`${work.contender} ended with ${code}`)
  const [believed] = await sent
  return new Map(believed)
}

function runOf(
  basis: Basis,
  history: History,
  believed: Believed,
  ran: Ran | undefined,
  foreign: { readonly foreign_cores: number; readonly steal: number },
): Run {
  const { scenario, contender, floorRps, idealAps, faults } = basis
  const makespanS = history.makespanMs / 1000
  const aps = scenario.n / makespanS
  const bound = boundS(scenario, contender === 'floor' ? aps : floorRps)
  const isFloor = contender === 'floor'
  const { post, get, list } = history.http
  const isSuccess = (state: string) => state.toLowerCase() === 'succeeded'
  return {
    ...identityOf(basis),
    is_model: false,
    makespan_s: makespanS,
    bound_s: isFloor ? undefined : bound,
    r3: isFloor || bound === undefined ? undefined : makespanS / bound,
    wall_s: ran && ran.ended.wallMs / 1000,
    first_submit_s: ran && ((history.firstPostAt ?? NaN) - ran.startedAt) / 1000,
    done_p50_s: history.doneP50Ms / 1000,
    done_p95_s: history.doneP95Ms / 1000,
    states: counted(believed.values()),
    lost: isFloor ? 0 : scenario.n - believed.size,
    dup_posts: history.again,
    expired_tokens: history.expired,
    false_success: [...believed].filter(([index, state]) => isSuccess(state) && faults.has(index)).length,
    http: history.http,
    artifacts_per_s: aps,
    floor_rps: floorRps,
    ideal_aps: idealAps,
    r1: floorRps && !isFloor ? (post + get + list) / makespanS / floorRps : undefined,
    r2: idealAps && contender !== 'ideal' ? aps / idealAps : undefined,
    cpu_s: ran && ran.ended.cpuMs / 1000,
    cpu_us_per_artifact: ran && (ran.ended.cpuMs * 1000) / scenario.n,
    rss_peak_mb: ran && ran.ended.peakBytes / 1e6,
    loop_lag_p99_ms: ran?.ended.lagMs,
    git_commits: ran?.commits,
    ...foreign,
  }
}

/** Harbor and the scripts in virtual time; what they take on the engine's clock is divided like everything else. */
function modelledRun(basis: Basis, scriptS: number | undefined): Run {
  const { scenario, contender, faults } = basis
  const workers = contender === 'harbor-model, 300 workers' ? 300 : 10
  const harbor = modelHarbor(scenario, { ...HARBOR, workers })
  const makespanS = scriptS ?? harbor.makespanS / scenario.scale
  const { expired, timedOut } = scriptS === undefined ? harbor : { expired: 0, timedOut: 0 }
  const kinds = [...faults.values()]
  // Both believe SUCCESS; a row that is gone or never ends is a failure to them.
  const believedFalsely = kinds.filter((kind) => kind === 'partial' || kind === 'lying').length
  const failed = expired + timedOut + kinds.length - believedFalsely
  const bound = boundS(scenario, basis.floorRps)
  return {
    ...identityOf(basis),
    is_model: true,
    makespan_s: makespanS,
    bound_s: bound,
    r3: bound && makespanS / bound,
    wall_s: undefined,
    first_submit_s: undefined,
    done_p50_s: makespanS / 2,
    done_p95_s: makespanS * 0.95,
    states: { succeeded: scenario.n - failed, ...(failed > 0 && { failed }) },
    lost: 0,
    dup_posts: 0,
    expired_tokens: expired,
    false_success: believedFalsely,
    http: { post: scenario.n, get: 0, list: 0, probe: 0, health: 0, s429: 0 },
    artifacts_per_s: scenario.n / makespanS,
    floor_rps: undefined,
    ideal_aps: undefined,
    r1: undefined,
    r2: undefined,
    cpu_s: undefined,
    cpu_us_per_artifact: undefined,
    rss_peak_mb: undefined,
    loop_lag_p99_ms: undefined,
    git_commits: undefined,
    foreign_cores: undefined,
    steal: undefined,
  }
}

function identityOf({ scenario, contender, round }: Basis) {
  const { name, seed, n, scale, engine, jobS, visibilityS, tokenLifeS } = scenario
  return {
    scenario: name,
    contender,
    round,
    seed,
    n,
    scale,
    engine: {
      kind: engine,
      t_s: jobS,
      limit_per_s: engine === 'dragonfly' ? PER_SECOND : undefined,
      visibility_s: visibilityS?.slice(0, 4),
      token_life_s: tokenLifeS,
    },
  }
}

/** What a state of preheatd may be where the engine has this fault; no fault: only `Succeeded`. */
const TRUE_STATES: Readonly<Record<Fault | 'none', readonly string[]>> = {
  none: ['Succeeded'],
  partial: ['Partial'],
  // Known to be absent, or not to be seen: whichever, it is not called warm.
  lying: ['Failed', 'Unverified'],
  gone: ['Failed', 'Unverified', 'Lost'],
  stuck: ['Lost'],
}
const MOST_LOOKS = 1.2
/** A busy machine brings POSTs together that were sent apart. */
const MOST_REFUSED = 0.05

/** Counts and states, and no second. @throws {Violation} */
function check(run: Run, faults: ReadonlyMap<number, Fault>): void {
  const { scenario, n, http, states, false_success, lost, dup_posts, expired_tokens, engine } = run
  const demand = (holds: boolean, what: string) => {
    if (!holds) throw new Violation(`${scenario}, n=${n}, round ${run.round}: ${what}`)
  }
  demand(lost === 0, `${lost} artifacts are in no report`)
  demand(false_success === 0, `${false_success} are called Succeeded and are not cached`)
  demand(expired_tokens === 0, `${expired_tokens} jobs were sent with a token that died on them`)
  const taken = http.post - http.s429
  if (faults.size > 0) {
    demand(taken >= n && taken <= n + 2 * faults.size, `${taken} jobs for ${n} artifacts`)
    return
  }
  demand(states['Succeeded'] === n, `${n} artifacts, and the states are ${JSON.stringify(states)}`)
  demand(taken === n && dup_posts === 0, `${taken} jobs for ${n} artifacts, ${dup_posts} of them again`)
  demand(http.get + http.list <= MOST_LOOKS * n, `${http.get} looks and ${http.list} listings for ${n} artifacts`)
  if (engine.limit_per_s !== undefined)
    demand(http.s429 <= n * MOST_REFUSED, `${http.s429} of ${http.post} POSTs were over the engine's limit`)
}

/** Is every artifact reported as what it is? @throws {Violation} */
function checkTruth(believed: Believed, faults: ReadonlyMap<number, Fault>): void {
  const wrong = [...believed].filter(([index, state]) => !TRUE_STATES[faults.get(index) ?? 'none'].includes(state))
  if (wrong.length === 0) return
  const examples = wrong.slice(0, 5).map(([index, state]) => `${faults.get(index) ?? 'none'} as ${state}`)
  throw new Violation(`${wrong.length} are reported as what they are not: ${examples.join(', ')}`)
}

function counted(states: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const state of states) counts[state] = (counts[state] ?? 0) + 1
  return counts
}

interface Use {
  readonly atMs: number
  readonly busyMs: number
  readonly stealMs: number
  readonly ownMs: number
}

/** What the machine and the bench have used; a stub and preheatd count when they have ended. */
async function machineUse(): Promise<Use> {
  const [first = ''] = (await readFile('/proc/stat', 'latin1')).split('\n')
  const [user = 0, nice = 0, system = 0, , , irq = 0, soft = 0, steal = 0] = first
    .split(/\s+/)
    .slice(1)
    .map((ticks) => Number(ticks) * 10)
  return {
    atMs: performance.now(),
    busyMs: user + nice + system + irq + soft,
    stealMs: steal,
    ownMs: await cpuMsOf('self'),
  }
}

function foreignUse(before: Use, after: Use): { foreign_cores: number; steal: number } {
  const ms = after.atMs - before.atMs
  const foreign = after.busyMs - before.busyMs - (after.ownMs - before.ownMs)
  return { foreign_cores: Math.max(0, foreign / ms), steal: (after.stealMs - before.stealMs) / ms }
}
