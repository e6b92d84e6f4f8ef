import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Clock } from '../model/clock.ts'
import type { Instant } from '../model/duration.ts'
import type { Emit, Event } from '../model/events.ts'
import { policyAddress } from '../model/policy.ts'
import { executedKind } from '../model/resource.ts'
import { isSettled } from '../model/task.ts'
import type { StatusView } from '../model/operations.ts'

export interface MetricsPorts {
  readonly version: string
  readonly clock: Clock
  /** Asked at most every {@link SNAPSHOT_MS}, however often somebody scrapes. */
  readonly status: () => Promise<StatusView>
  readonly pulses: () => readonly { readonly loop: string; readonly ageMs: number }[]
}

/** Names that get series of their own; the rest share those of {@link OTHER}. */
const MAX_NAMES = 1000
const OTHER = '_other'
const SNAPSHOT_MS = 5_000
/** Seconds: a look at what is warm already, up to a night. */
const DURATIONS = [1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 21_600, 43_200]

/** A policy as labels. Never an image, a tag, a digest, a message: their number has no bound. */
interface PolicyLabels extends Partial<Record<string, string>> {
  readonly registry: string
  readonly policy: string
}

const OTHERS: PolicyLabels = { registry: OTHER, policy: OTHER }

/**
 * What Prometheus asks for, in a registry of its own: counters of what is announced, and gauges of how it stands when it
 * is asked.
 */
export class Metrics {
  readonly #ports: MetricsPorts
  readonly #registry = new Registry()
  readonly #policies = new Names()
  readonly #providers = new Names()
  /** Of executions that ended in this life and before. */
  readonly #successAt = new Map<string, Instant>()
  #snapshot: { readonly at: Instant; readonly taken: Promise<void> } | undefined

  readonly #executions = this.#counter('preheatd_execution_total', 'Executions that ended', [
    'registry',
    'policy',
    'result',
  ])
  readonly #durations = new Histogram({
    name: 'preheatd_execution_duration_seconds',
    help: 'From the beginning of an execution to its end',
    labelNames: ['result'],
    buckets: DURATIONS,
    registers: [this.#registry],
  })
  readonly #bytes = this.#counter('preheatd_execution_bytes_total', 'Bytes of what was preheated with evidence', [
    'provider',
  ])
  readonly #tasks = this.#counter('preheatd_task_total', 'Tasks that settled', ['provider', 'state'])
  readonly #missed = this.#counter('preheatd_schedule_missed_total', 'Slots that did not run', ['registry', 'policy'])
  readonly #syncs = this.#counter('preheatd_source_sync_total', 'Looks at the source, by what came of them', ['result'])
  readonly #commits = this.#counter('preheatd_report_commits_total', 'Pushes of reports', ['result'])
  readonly #webhooks = this.#counter('preheatd_webhook_requests_total', 'Requests to the receivers of webhooks', [
    'receiver',
    'result',
  ])
  readonly #notified = this.#counter('preheatd_notify_total', 'What was to be told, by what became of it', [
    'notification',
    'result',
  ])
  readonly #failures = this.#counter('preheatd_loop_failures_total', 'Loops that had to be begun anew', ['loop'])

  readonly #statusUp = this.#gauge('preheatd_status_up', 'Could the state be read for the gauges below?', [])
  readonly #leader = this.#gauge('preheatd_leader', 'Does this replica sync, run schedules and send reports?', [])
  readonly #sourceUp = this.#gauge('preheatd_source_up', 'Did the last look at the source succeed?', [])
  readonly #appliedAt = this.#gauge(
    'preheatd_config_applied_timestamp_seconds',
    'When the plan in force was applied',
    [],
  )
  readonly #problems = this.#gauge('preheatd_config_problems', 'Findings of the configuration in force', ['severity'])
  readonly #queue = this.#gauge('preheatd_report_queue_depth', 'Reports that are not in git yet', [])
  readonly #conditions = this.#gauge(
    'preheatd_reconcile_condition',
    'How many objects of this name have this condition: 1 or 0, more for _other',
    ['kind', 'registry', 'name', 'type', 'status'],
  )
  readonly #suspended = this.#gauge('preheatd_suspend_status', 'Is it suspended? Of _other, how many are', [
    'kind',
    'registry',
    'name',
  ])
  readonly #nextAt = this.#gauge('preheatd_schedule_next_timestamp_seconds', 'Next slot; of _other the first', [
    'registry',
    'policy',
  ])
  readonly #lastSuccess = this.#gauge(
    'preheatd_last_success_timestamp_seconds',
    'End of the last execution whose result was Success or Skipped; of _other the earliest',
    ['registry', 'policy'],
  )
  readonly #up = this.#gauge('preheatd_provider_up', 'Does it answer?', ['provider'])
  readonly #circuit = this.#gauge('preheatd_circuit_open', 'Do its tasks wait until it answers?', ['scope', 'name'])
  readonly #open = this.#gauge('preheatd_open_tasks', 'Tasks that have not settled', ['provider'])
  readonly #beats = this.#gauge('preheatd_loop_heartbeat_timestamp_seconds', 'When a loop last beat', ['loop'])

  constructor(ports: MetricsPorts) {
    this.#ports = ports
    this.#gauge('preheatd_build_info', 'The build that runs', ['version']).set({ version: ports.version }, 1)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Node's own figures too: memory, processor, the event loop's lag. */
  collectProcess(): void {
    collectDefaultMetrics({ register: this.#registry })
  }

  /** The text that is scraped. */
  async render(): Promise<string> {
    const now = this.#ports.clock.now()
    const age = now - (this.#snapshot?.at ?? -Infinity)
    // A clock that went back makes no snapshot last.
    if (this.#snapshot === undefined || age >= SNAPSHOT_MS || age < 0) this.#snapshot = { at: now, taken: this.#take() }
    await this.#snapshot.taken
    this.#beats.reset()
    for (const { loop, ageMs } of this.#ports.pulses()) this.#beats.set({ loop }, (now - ageMs) / 1000)
    return await this.#registry.metrics()
  }

  /** @param receiver of a bounded number: what is declared, or `unknown` */
  countWebhook(receiver: string, result: string): void {
    this.#webhooks.inc({ receiver, result })
  }

  /** @param notification as it is configured */
  countNotification(notification: string, result: string): void {
    this.#notified.inc({ notification, result })
  }

  /** A listener of what the daemon announces. */
  readonly emit: Emit = (event) => {
    this.#count(event)
  }

  #count(event: Event): void {
    switch (event.name) {
      case 'execution.ended': {
        const { policyKey, snapshot, result, startedAt, endedAt } = event.execution
        const isOfPolicy = executedKind(policyKey) === 'PreheatPolicy'
        const { registry } = snapshot.policy
        const policy = policyAddress(snapshot.policy)
        // A run with artifacts of its own ends once: as a series it would never change again.
        const labels = isOfPolicy ? this.#labelsOf(registry, policy) : OTHERS
        this.#executions.inc({ ...labels, result })
        this.#durations.observe({ result }, Math.max(0, endedAt - startedAt) / 1000)
        if (isOfPolicy && isGood(result)) this.#succeeded(registry, policy, endedAt)
        break
      }
      case 'task.changed': {
        const { task } = event
        if (!isSettled(task)) break
        const provider = this.#providers.labelOf(task.provider)
        this.#tasks.inc({ provider, state: task.state })
        if (task.state === 'Succeeded' && task.purpose !== 'look') this.#bytes.inc({ provider }, task.sizeBytes ?? 0)
        break
      }
      case 'slot.missed': {
        const [, registry = '', ...address] = event.policyKey.split('/')
        this.#missed.inc({ ...this.#labelsOf(registry, address.join('/')) })
        break
      }
      case 'source.unchanged':
        this.#syncs.inc({ result: 'unchanged' })
        break
      case 'plan.applied':
        this.#syncs.inc({ result: 'applied' })
        break
      case 'source.failed':
        this.#syncs.inc({ result: event.state })
        break
      case 'reports.pushed':
        this.#commits.inc({ result: 'pushed' })
        break
      case 'reports.failed':
        this.#commits.inc({ result: 'failed' })
        break
      case 'loop.failed':
        this.#failures.inc({ loop: event.loop })
        break
      case 'config.problem':
      case 'execution.selected':
      case 'execution.started':
      case 'poll.failed':
      case 'provider.circuit':
      case 'run.waiting':
      case 'source.rewritten':
      case 'state.moved-aside':
        break
      default:
        event satisfies never
    }
  }

  async #take(): Promise<void> {
    const of = [this.#leader, this.#sourceUp, this.#appliedAt, this.#problems, this.#queue, this.#conditions]
    for (const gauge of [...of, this.#suspended, this.#nextAt, this.#lastSuccess, this.#up, this.#circuit, this.#open])
      gauge.reset()
    let status: StatusView
    try {
      status = await this.#ports.status()
    } catch {
      this.#statusUp.set(0)
      return
    }
    this.#statusUp.set(1)
    this.#leader.set(status.leads ? 1 : 0)
    this.#sourceUp.set(status.source.trouble === undefined ? 1 : 0)
    if (status.source.appliedAt !== undefined) this.#appliedAt.set(status.source.appliedAt / 1000)
    this.#queue.set(status.waitingReports)
    for (const severity of ['error', 'warning'])
      this.#problems.set({ severity }, status.problems.filter((one) => one.severity === severity).length)
    this.#setPolicies(status)
    this.#setProviders(status)
  }

  #setPolicies({ policies }: StatusView): void {
    const declared = new Set(policies.map(({ registry, policy }) => `${registry}/${policy}`))
    for (const name of this.#policies.forgetAllBut(declared)) this.#forget(name)
    for (const name of [...this.#successAt.keys()]) if (!declared.has(name)) this.#successAt.delete(name)
    const nextAt = new Earliest(this.#nextAt)
    const lastSuccess = new Earliest(this.#lastSuccess)
    for (const { registry, policy, conditions, suspended, nextSlot, last } of policies) {
      const labels = this.#labelsOf(registry, policy)
      const object = { kind: 'PreheatPolicy', registry: labels.registry, name: labels.policy }
      for (const { type, status } of conditions)
        this.#conditions.inc({ ...object, type, status: status ? 'True' : 'False' })
      this.#suspended.inc(object, suspended === undefined ? 0 : 1)
      if (nextSlot !== undefined) nextAt.set(labels, nextSlot)
      if (last?.endedAt !== undefined && isGood(last.result)) this.#succeeded(registry, policy, last.endedAt)
      const successAt = this.#successAt.get(`${registry}/${policy}`)
      if (successAt !== undefined) lastSuccess.set(labels, successAt)
    }
  }

  #setProviders({ providers }: StatusView): void {
    const declared = new Set(providers.map(({ provider }) => provider))
    for (const provider of this.#providers.forgetAllBut(declared)) {
      this.#bytes.remove({ provider })
      for (const state of SETTLED) this.#tasks.remove({ provider, state })
    }
    for (const { provider, silentUntil, openTasks } of providers) {
      const label = this.#providers.labelOf(provider)
      this.#open.inc({ provider: label }, openTasks)
      if (label === OTHER) continue
      this.#up.set({ provider }, silentUntil === undefined ? 1 : 0)
      this.#circuit.set({ scope: 'provider', name: provider }, silentUntil === undefined ? 0 : 1)
    }
  }

  #labelsOf(registry: string, policy: string): PolicyLabels {
    const label = this.#policies.labelOf(`${registry}/${policy}`)
    return label === OTHER ? OTHERS : { registry, policy }
  }

  #succeeded(registry: string, policy: string, at: Instant): void {
    const name = `${registry}/${policy}`
    this.#successAt.set(name, Math.max(at, this.#successAt.get(name) ?? 0))
  }

  /** The series of a policy that is not declared any more make room for others'. */
  #forget(name: string): void {
    const registry = name.slice(0, name.indexOf('/'))
    const policy = name.slice(registry.length + 1)
    for (const result of RESULTS) this.#executions.remove({ registry, policy, result })
    this.#missed.remove({ registry, policy })
  }

  #counter<L extends string>(name: string, help: string, labelNames: L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] })
  }

  #gauge<L extends string>(name: string, help: string, labelNames: L[]): Gauge<L> {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] })
  }
}

const RESULTS = ['Success', 'PartialSuccess', 'Unverified', 'Failed', 'Stopped', 'Skipped', 'Blocked', 'Missed']

const SETTLED = ['Succeeded', 'Partial', 'Unverified', 'Failed', 'Lost', 'Stopped']

function isGood(result: string | undefined): boolean {
  return result === 'Success' || result === 'Skipped'
}

/** The first names get labels of their own. */
class Names {
  readonly #known = new Set<string>()

  labelOf(name: string): string {
    if (this.#known.has(name)) return name
    if (this.#known.size >= MAX_NAMES) return OTHER
    this.#known.add(name)
    return name
  }

  /** @returns those that it knew */
  forgetAllBut(names: ReadonlySet<string>): string[] {
    const gone = [...this.#known].filter((name) => !names.has(name))
    for (const name of gone) this.#known.delete(name)
    return gone
  }
}

/** Instants of which several may share a series; the earliest is the one that an alert is about. */
class Earliest {
  readonly #gauge: Gauge<'registry' | 'policy'>
  #ofOthers = Infinity

  constructor(gauge: Gauge<'registry' | 'policy'>) {
    this.#gauge = gauge
  }

  set(labels: PolicyLabels, at: Instant): void {
    if (labels.policy === OTHER) this.#ofOthers = Math.min(this.#ofOthers, at)
    this.#gauge.set(labels, (labels.policy === OTHER ? this.#ofOthers : at) / 1000)
  }
}
