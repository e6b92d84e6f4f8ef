import type { Manager } from './manager.ts'
import { lacksPermission } from './refusal.ts'
import { parseClusters, type Cluster } from './wire.ts'
import { waitFor } from '../../deadline.ts'
import { EdgeError, excerpt } from '../../model/errors.ts'
import type { Clock } from '../../model/clock.ts'
import type { DragonflySettings } from '../../model/provider.ts'

const FRESH_MS = 60_000
const PAGE = 100
const MAX_PAGES = 100

/** The manager's clusters, asked for once a minute however many ask; undefined: the token may not list them. */
export class ClusterList implements AsyncDisposable {
  readonly #manager: Manager
  readonly #clock: Clock
  readonly #life = new AbortController()
  #asked: { readonly at: number; readonly answer: Promise<Cluster[] | undefined> } | undefined

  constructor(manager: Manager, clock: Clock) {
    this.#manager = manager
    this.#clock = clock
  }

  /** In the order of their ids. @throws what asking throws, to everybody who waited for it; the signal's reason */
  async get(signal: AbortSignal): Promise<readonly Cluster[] | undefined> {
    const now = this.#clock.now()
    if (this.#asked === undefined || now - this.#asked.at >= FRESH_MS || now < this.#asked.at) {
      // Under a signal of its own: the first who asks may leave before the others have their answer.
      const asked = { at: now, answer: this.#ask(this.#life.signal) }
      this.#asked = asked
      asked.answer.catch(() => {
        if (this.#asked === asked) this.#asked = undefined
      })
    }
    return await waitFor(this.#asked.answer, signal)
  }

  async #ask(signal: AbortSignal): Promise<Cluster[] | undefined> {
    const all = new Map<number, Cluster>()
    for (let page = 1; page <= MAX_PAGES; page += 1) {
      const asked = await this.#manager.getInTurn(`/oapi/v1/clusters?page=${page}&per_page=${PAGE}`, signal)
      if (lacksPermission(asked.answer)) return undefined
      const clusters = asked.answer.status === 200 ? parseClusters(asked.answer.bytes) : undefined
      if (clusters === undefined) throw asked.refusal('the list of clusters')
      for (const cluster of clusters) all.set(cluster.id, cluster)
      if (clusters.length < PAGE) return [...all.values()].sort((a, b) => a.id - b.id)
    }
    throw new EdgeError('unintelligible', 'PH5008', `${this.#manager.who} lists clusters without end`)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new Error('the engine was closed'))
    return Promise.resolve()
  }
}

/**
 * The clusters that an order goes to, one job each; `undefined` in place of one means a single job for all of them,
 * which is what a manager does when no cluster is named: for `all` where there is no list to go by.
 *
 * @param named the policy's own choice; undefined: the provider's
 * @param listed undefined: the token may not list clusters
 * @throws {EdgeError} PH5009 for a name that the manager does not list, PH5007 for names without a list
 */
export function chooseClusters(
  named: readonly string[] | undefined,
  settings: DragonflySettings['clusters'],
  listed: readonly Cluster[] | undefined,
  who: string,
): readonly (Cluster | undefined)[] {
  const wanted = named === undefined ? settings : { names: named }
  if (wanted === 'all') return listed === undefined || listed.length === 0 ? [undefined] : listed
  if ('ids' in wanted) {
    return [...new Set(wanted.ids)].map((id) => ({ id, name: `${id}` }))
  }
  if (listed === undefined) {
    throw new EdgeError(
      'rejected',
      'PH5007',
      `${who} does not let its token list clusters: add the scope cluster, or write clusterIds`,
    )
  }
  return [...new Set(wanted.names)].map((name) => {
    const cluster = listed.find((one) => one.name === name)
    if (cluster !== undefined) return cluster
    const known = listed.length === 0 ? 'none' : excerpt(listed.map((one) => one.name).join(', '))
    throw new EdgeError('rejected', 'PH5009', `${who} has no cluster ${excerpt(name, 128)}; it lists: ${known}`)
  })
}
