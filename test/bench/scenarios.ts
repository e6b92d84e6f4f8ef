import type { EngineOptions } from './stub-engine.ts'
import { VISIBILITY_S, visibleS, type Work } from './harbor-model.ts'
import type { Fault } from './seeded.ts'

export type ScenarioName = 'B1' | 'B2' | 'B3' | 'B3p' | 'B12'

/** What is measured, in the engine's own seconds: on the wall they are `scale` times shorter. */
export interface Scenario extends Work {
  readonly name: ScenarioName
  /** `live`: its state is true at once and it takes any number of POSTs. */
  readonly engine: 'live' | 'dragonfly'
  readonly faults: { readonly share: number; readonly kinds: readonly Fault[] } | undefined
  readonly scale: number
  readonly seed: number
  readonly repeats: number
}

/** What can be said on the command line. */
export interface Chosen {
  readonly scenarios: readonly ScenarioName[]
  readonly smoke: boolean
  readonly seed: number
  /** How a job of B12 is lost. */
  readonly lost: 'gone' | 'stuck'
  /** These in place of the scenario's own. */
  readonly n: number | undefined
  readonly scale: number | undefined
  readonly repeats: number | undefined
  readonly tokenLifeS: number | undefined
}

/** A manager's limit of POSTs, a second and cluster (manager/config `DefaultClusterJobRateLimit`). */
export const PER_SECOND = 10
/** What Harbor's tokens live, with the leeway that its registry gives them. */
const TOKEN_LIFE_S = 1860
const SHORT_TOKEN_LIFE_S = 20

type Size = Pick<Scenario, 'n' | 'jobS' | 'scale' | 'repeats' | 'tokenLifeS'>

/** Every scenario that was asked for, in every size. */
export function scenariosOf(chosen: Chosen): Scenario[] {
  return chosen.scenarios.flatMap((name) => {
    const sizes = chosen.smoke ? SMOKE[name] : FULL[name]
    const named =
      chosen.n === undefined ? sizes : sizes.filter((one, i) => sizes.findIndex(({ jobS }) => jobS === one.jobS) === i)
    return named.map((size) => ({
      name,
      engine: name === 'B3' || name === 'B3p' ? ('dragonfly' as const) : ('live' as const),
      visibilityS: name === 'B3' || name === 'B3p' ? VISIBILITY_S : undefined,
      faults: name === 'B12' ? { share: 0.05, kinds: ['partial' as const, chosen.lost, 'lying' as const] } : undefined,
      seed: chosen.seed,
      jobS: size.jobS,
      n: chosen.n ?? size.n,
      scale: chosen.scale ?? size.scale,
      repeats: chosen.repeats ?? size.repeats,
      tokenLifeS: size.tokenLifeS === undefined ? undefined : (chosen.tokenLifeS ?? size.tokenLifeS),
    }))
  })
}

function size(n: number, jobS: number, scale: number, repeats: number, tokenLifeS?: number): Size {
  return { n, jobS, scale, repeats, tokenLifeS }
}

const FULL: Readonly<Record<ScenarioName, readonly Size[]>> = {
  B1: [size(100, 0.1, 1, 5), size(1000, 0.1, 1, 5), size(10_000, 0.1, 1, 3)],
  B2: [2, 30].flatMap((jobS) => [100, 1000, 10_000].map((n) => size(n, jobS, 1, 3))),
  B3: [size(600, 2, 1, 3), size(10_000, 2, 10, 3)],
  B3p: [size(600, 2, 1, 3, SHORT_TOKEN_LIFE_S), size(10_000, 2, 10, 3, TOKEN_LIFE_S)],
  B12: [size(1000, 0.1, 1, 3)],
}

const SMOKE: Readonly<Record<ScenarioName, readonly Size[]>> = {
  B1: [size(300, 0.1, 1, 1)],
  B2: [size(200, 2, 1, 1)],
  B3: [size(600, 2, 10, 1)],
  B3p: [size(600, 2, 10, 1, SHORT_TOKEN_LIFE_S)],
  B12: [size(60, 0.1, 1, 1)],
}

/** The engine of a scenario as its stub is told. */
export function engineOptionsOf(scenario: Scenario): EngineOptions {
  const { n, seed, jobS, visibilityS, scale, tokenLifeS, faults } = scenario
  const limited = scenario.engine === 'dragonfly'
  return {
    n,
    seed,
    jobMs: (jobS * 1000) / scale,
    visibilityMs: visibilityS?.map((age) => (age * 1000) / scale),
    perSecond: limited ? PER_SECOND * scale : undefined,
    latencyScale: limited ? scale : undefined,
    tokenLifeMs: tokenLifeS === undefined ? undefined : (tokenLifeS * 1000) / scale,
    faults,
  }
}

/** How long after a job's creation its end can be seen on the wall. */
export function visibleMs(scenario: Scenario): number {
  return (visibleS(scenario) * 1000) / scenario.scale
}

/**
 * What the engine itself takes at least, on the wall: the last POST that it lets in, and until that one's end can be
 * seen. A bucket begins with a second's worth. Where it takes any number, its rate is what the floor reached.
 * @returns undefined where it takes any number and no floor was measured
 */
export function boundS(scenario: Scenario, floorRps: number | undefined): number | undefined {
  const perSecond = engineOptionsOf(scenario).perSecond
  if (perSecond === undefined && floorRps === undefined) return undefined
  const posts =
    perSecond === undefined ? scenario.n / (floorRps ?? Infinity) : Math.max(0, scenario.n - perSecond) / perSecond
  return posts + visibleMs(scenario) / 1000
}
