import { setTimeout as nap } from 'node:timers/promises'
import { Pool } from 'undici'
import { artifactsOf, type BenchArtifact } from './artifacts.ts'
import { engineOptionsOf, visibleMs, type Scenario } from './scenarios.ts'

/** Where a contender works. */
export interface Place {
  readonly engine: string
  readonly registry: string
}

/** What a contender believes of each artifact, by its index. */
export type Believed = ReadonlyMap<number, string>

const AT_ONCE = 64

/** As many POSTs as the engine answers, and not a look at what becomes of them. */
export async function runFloor(scenario: Scenario, place: Place): Promise<Believed> {
  await using client = new Client(scenario, place)
  await inLanes(AT_ONCE, scenario.n, (index) => client.post(index))
  return new Map()
}

/**
 * The fastest that is right where nothing ever fails: 64 submissions in flight as the engine lets them in, any number of
 * jobs open, a look when a job's end can be seen. It keeps no journal, reads no registry and writes no report.
 */
export async function runIdeal(scenario: Scenario, place: Place): Promise<Believed> {
  await using client = new Client(scenario, place)
  const { perSecond } = engineOptionsOf(scenario)
  const looks: Promise<string>[] = []
  const submit = async (index: number) => {
    const id = await client.post(index)
    looks[index] = id === undefined ? Promise.resolve('refused') : client.ended(id, visibleMs(scenario), 50)
  }
  // The engine's bucket counts from the first.
  await submit(0)
  const firstAt = performance.now()
  await inLanes(AT_ONCE, scenario.n - 1, async (index) => {
    if (perSecond !== undefined) await until(firstAt + ((index + 3) / perSecond - 1) * 1000)
    await submit(index + 1)
  })
  return new Map(await Promise.all(looks.map(async (look, index): Promise<[number, string]> => [index, await look])))
}

/** A script: submits, looks every second until it has ended, takes the next; `width` of these side by side. */
export async function runScript(scenario: Scenario, place: Place, width: number): Promise<Believed> {
  await using client = new Client(scenario, place)
  const believed = new Map<number, string>()
  await inLanes(width, scenario.n, async (index) => {
    const id = await client.post(index)
    const everyMs = 1000 / scenario.scale
    believed.set(index, id === undefined ? 'refused' : await client.ended(id, everyMs, everyMs))
  })
  return believed
}

class Client implements AsyncDisposable {
  readonly #scenario: Scenario
  readonly #place: Place
  readonly #engine: Pool
  readonly #registry: Pool
  readonly #artifacts: readonly BenchArtifact[]

  constructor(scenario: Scenario, place: Place) {
    this.#scenario = scenario
    this.#place = place
    this.#engine = new Pool(place.engine, { connections: AT_ONCE })
    this.#registry = new Pool(place.registry, { connections: AT_ONCE })
    this.#artifacts = artifactsOf(scenario.n)
  }

  /** The job's id; undefined: not taken. What preheatd sends, byte for byte but for the mark. */
  async post(index: number): Promise<number | undefined> {
    const { repository, digest } = this.#artifacts[index]!
    const url = `${this.#place.registry}/v2/${repository}/manifests/${digest}`
    const authorization = await this.#token(repository)
    const args = { type: 'image', url, scope: 'single_seed_peer', timeout: 3_600_000_000_000, ...authorization }
    const body = JSON.stringify({ type: 'preheat', bio: `bench/${index}`, args, scheduler_cluster_ids: [1] })
    for (;;) {
      const headers = { 'content-type': 'application/json' }
      const answer = await this.#engine.request({ method: 'POST', path: '/oapi/v1/jobs', headers, body })
      if (answer.statusCode === 200) return ((await answer.body.json()) as { id: number }).id
      await answer.body.dump()
      if (answer.statusCode !== 429) return undefined
      await nap(1000 / this.#scenario.scale)
    }
  }

  /** How a job ended, looked at after `firstMs` and then every `everyMs`; one that will not is given up in time. */
  async ended(id: number, firstMs: number, everyMs: number): Promise<string> {
    const giveUpAt = performance.now() + visibleMs(this.#scenario) + 10_000
    for (let ms = firstMs; performance.now() < giveUpAt; ms = everyMs) {
      await nap(ms)
      const answer = await this.#engine.request({ method: 'GET', path: `/oapi/v1/jobs/${id}` })
      const { state } = (await answer.body.json()) as { state?: string }
      if (answer.statusCode !== 200) return 'gone'
      if (state !== 'PENDING') return state === 'SUCCESS' ? 'succeeded' : 'failed'
    }
    return 'never ended'
  }

  async #token(repository: string): Promise<{ headers?: { Authorization: string } }> {
    if (this.#scenario.tokenLifeS === undefined) return {}
    const path = `/service/token?scope=repository:${repository}:pull`
    const answer = await this.#registry.request({ method: 'GET', path })
    return { headers: { Authorization: `Bearer ${((await answer.body.json()) as { token: string }).token}` } }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#engine.close(), this.#registry.close()])
  }
}

/** @param at by performance.now(); a timer counts from the last turn of the event loop and may be early */
async function until(at: number): Promise<void> {
  for (let ms = at - performance.now(); ms > 0; ms = at - performance.now()) await nap(Math.ceil(ms))
}

/** Does `work` for 0 to n - 1, `width` at a time, in order of beginning. */
async function inLanes(width: number, n: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < n) await work(next++)
  }
  await Promise.all(Array.from({ length: width }, lane))
}
