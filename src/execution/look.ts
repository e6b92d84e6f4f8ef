import type { Engine } from '../engine/engine.ts'
import type { Clock } from '../model/clock.ts'
import { ageText, type Instant } from '../model/duration.ts'
import { EdgeError, OperatorError } from '../model/errors.ts'
import type { Evidence } from '../model/evidence.ts'
import type { Provider } from '../model/provider.ts'
import { isSettled, type Job, type OpenTask, type Task } from '../model/task.ts'
import type { Store } from '../store/store.ts'
import { nextStep, planned, probed } from './transition.ts'

/** How often the ledger is looked at while somebody waits. */
const LOOK_EVERY_MS = 1_000
/** How often an engine that showed too little is looked at again. */
const PROBE_EVERY_MS = 15_000
/** A look that an engine has begun is followed for this long, whether anybody waits or not. */
const PROBE_GRACE_MS = 30_000

/** Is it warm on a provider, and who said so? */
export interface Answer {
  readonly provider: string
  readonly warm: boolean
  readonly evidence: Evidence | undefined
  /** Who said so. */
  readonly from: 'ledger' | 'probe' | undefined
  /** Why it is not known warm. */
  readonly reason: string | undefined
}

/** An engine as far as it is looked at: nothing can be submitted to it. */
export type Looking = Pick<Engine, 'jobs' | 'probe'>

/** What is looked for on one provider, and for how long. */
export interface Lookout {
  readonly provider: Provider
  /** Any of them would do. */
  readonly tasks: readonly Task[]
  /** Why there are no tasks. */
  readonly reason: string | undefined
  readonly ledger: Pick<Store, 'warm'>
  readonly until: Instant
  readonly clock: Clock
}

/** Looks at the ledger and, where that knows nothing fresh, at the engine, until one of them shows it or time is up. */
export async function answerOf(lookout: Lookout, open: () => Promise<Looking>, signal: AbortSignal): Promise<Answer> {
  const { provider, tasks, ledger, clock } = lookout
  const cold = (reason: string): Answer => ({
    provider: provider.name,
    warm: false,
    evidence: undefined,
    from: undefined,
    reason,
  })
  const found = (evidence: Evidence, from: 'ledger' | 'probe'): Answer => ({
    provider: provider.name,
    warm: true,
    evidence,
    from,
    reason: undefined,
  })
  if (!provider.enabled) return cold('the provider is disabled')
  if (tasks.length === 0) return cold(lookout.reason ?? 'nothing of it would be preheated there')
  const graceUntil = Math.max(lookout.until, clock.now() + PROBE_GRACE_MS)
  let looks = tasks.map((task) => new Look(task))
  let probeAt = clock.now()
  for (;;) {
    const entries = await ledger.warm(tasks.map(({ ledgerKey }) => ledgerKey))
    const [newest] = [...entries].sort((a, b) => b.warmAt - a.warmAt)
    if (newest !== undefined && clock.now() - newest.warmAt < provider.cacheLifetimeMs)
      return found({ ...newest.evidence, observedAt: newest.warmAt }, 'ledger')

    if (probeAt <= clock.now()) {
      for (const look of looks) await look.goOn(open, clock, signal)
      const seen = looks.find((look) => look.evidence !== undefined)?.evidence
      if (seen !== undefined) return found(seen, 'probe')
    }
    const isOpen = looks.some((look) => look.reason === undefined)
    const now = clock.now()
    if (now >= (isOpen ? graceUntil : lookout.until)) {
      const age = newest && `the ledger’s evidence is ${ageText(now - newest.warmAt)} old, over cacheLifetime`
      const reason = looks.map((look) => look.reason).find((one) => one !== undefined)
      return cold([age, reason ?? 'the engine has not answered yet whether it has it'].filter(Boolean).join('; '))
    }
    if (isOpen) probeAt = Math.max(now, Math.min(...looks.map((look) => look.lookAt)))
    else if (probeAt <= now) {
      probeAt = now + PROBE_EVERY_MS
      looks = tasks.map((task) => new Look(task))
    }
    const last = isOpen ? graceUntil : lookout.until
    await clock.sleepUntil(Math.min(last, Math.max(probeAt, now), now + LOOK_EVERY_MS), signal)
  }
}

/** One look at an engine for one task, which may take several questions. */
class Look {
  /** Set once it has ended with everything there. */
  evidence: Evidence | undefined
  /** Set once it has ended otherwise. */
  reason: string | undefined
  lookAt: Instant = 0
  #task: Task

  constructor(task: Task) {
    this.#task = { ...task, purpose: 'look' }
    if (isSettled(task)) this.reason = task.error?.message ?? 'it cannot be preheated'
  }

  /** The questions that are due. */
  async goOn(open: () => Promise<Looking>, clock: Clock, signal: AbortSignal): Promise<void> {
    if (this.reason !== undefined || this.evidence !== undefined) return
    try {
      const engine = await open()
      let task = this.#task
      while (!isSettled(task)) {
        const next: OpenTask = task.jobs.length === 0 ? await this.#begin(task, engine, clock, signal) : task
        const step = nextStep(next)
        // A look submits nothing, whatever comes of it.
        if (step?.kind !== 'probe') throw new Error(`a look at ${task.id} asks for more than looking`)
        this.#task = task = next
        this.lookAt = step.job.lookAt
        if (step.job.lookAt > clock.now()) return
        const probe = await engine.probe(task.order, step.job, step.job.notes, signal)
        this.#task = task = probed(task, step.job.key, probe, clock.now(), 0)
      }
      if (task.state === 'Succeeded') this.evidence = task.evidence
      else this.reason = shortfallOf(task.evidence, task.missing.length)
    } catch (error) {
      if (!(error instanceof EdgeError || error instanceof OperatorError)) throw error
      this.reason = `${error.code} ${error.message}`
    }
  }

  async #begin(task: OpenTask, engine: Looking, clock: Clock, signal: AbortSignal): Promise<OpenTask> {
    const jobs: readonly Job[] = await engine.jobs(task.order, signal)
    return planned(task, jobs, clock.now())
  }
}

function shortfallOf(evidence: Evidence | undefined, missing: number): string {
  if (evidence === undefined) return 'nothing of it is in the ledger, and the engine does not let itself be looked at'
  return `the engine shows ${evidence.blobs} of ${evidence.of} blobs (${missing} missing)`
}
