import pLimit, { type LimitFunction } from 'p-limit'
import { CannotBegin } from './begin.ts'
import { waitFor } from './deadline.ts'
import { explain } from './explain.ts'
import type { ConfigReader } from './config/reader.ts'
import type { Looking } from './execution/look.ts'
import type { Drivers } from './execution/loop.ts'
import { warmth } from './execution/warmth.ts'
import type { Clock } from './model/clock.ts'
import { formatInstant, type Instant } from './model/duration.ts'
import { EdgeError } from './model/errors.ts'
import type { ExplanationView, WarmQuestion, WarmthView } from './model/operations.ts'
import type { Provider } from './model/provider.ts'
import type { Registry } from './model/registry.ts'
import type { Source } from './model/source.ts'
import type { Applied, Store } from './store/store.ts'

/** Requests to engines at once that are made because somebody asks; all others are the tasks'. */
export const ASKED = 4

/** What the daemon answers with, and how far it may go for it. */
export interface QuestionPorts {
  readonly source: Source
  readonly reader: ConfigReader
  readonly store: Store
  readonly drivers: Drivers
  readonly clock: Clock
  /** Masks secrets that the other side sent back to us. */
  readonly scrub: (text: string) => string
  /** Where selections wait their turn. */
  readonly selections: LimitFunction
  /** What is in force. */
  readonly applied: () => Applied | undefined
  /** Providers that stopped answering, and until when they are left alone. */
  readonly silentUntil: () => ReadonlyMap<string, Instant>
}

/** What people ask and a registry or an engine has to be asked for, beside what the daemon does of its own accord. */
export class Questions {
  readonly #ports: QuestionPorts
  readonly #asked = pLimit(ASKED)

  constructor(ports: QuestionPorts) {
    this.#ports = ports
  }

  /**
   * Why a policy's artifacts are in or out. It is work like a selection, and waits its turn among those.
   * @param artifact as {@link explain} has it
   * @throws {CannotBegin | SourceError | EdgeError | OperatorError}
   */
  async explain(policy: string, artifact: string | undefined, signal: AbortSignal): Promise<ExplanationView> {
    const { store, reader, clock, selections } = this.#ports
    const turn = selections(async () => {
      signal.throwIfAborted()
      const ports = { ...this.#ports, reader: reader.fork(), ledger: store, now: clock.now() }
      return await explain(policy, artifact, ports, signal)
    })
    return await waitFor(turn, signal)
  }

  /**
   * Is an image warm? Of the daemon's requests such questions get {@link ASKED} at once, and a provider that stopped
   * answering is not asked.
   * @throws {CannotBegin | EdgeError | OperatorError}
   */
  async warm(question: WarmQuestion, signal: AbortSignal): Promise<WarmthView> {
    const { applied, drivers, store } = this.#ports
    const inForce = applied()
    if (inForce === undefined) throw new CannotBegin('no configuration has been applied yet')
    const asked = {
      source: (registry: Registry) => drivers.source(registry),
      engine: (one: Provider) => this.#looking(one),
    }
    const ports = { ...this.#ports, objects: inForce.objects, drivers: asked, ledger: store }
    return await warmth(question, ports, signal)
  }

  /** @throws {EdgeError} for one that stopped answering */
  async #looking(provider: Provider): Promise<Looking> {
    const { drivers, clock } = this.#ports
    const silentUntil = this.#ports.silentUntil().get(provider.name) ?? -Infinity
    if (silentUntil > clock.now()) {
      const message = `provider ${provider.name} stopped answering, and is asked again at ${formatInstant(silentUntil)}`
      throw new EdgeError('unavailable', 'PH5001', message)
    }
    const engine = await drivers.engine(provider)
    const asked = async <T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> =>
      await waitFor(
        this.#asked(() => {
          signal.throwIfAborted()
          return ask()
        }),
        signal,
      )
    return {
      jobs: (order, signal) => asked(() => engine.jobs(order, signal), signal),
      probe: (order, job, notes, signal) => asked(() => engine.probe(order, job, notes, signal), signal),
    }
  }
}
