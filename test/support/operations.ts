import { parseDigest } from '../../src/model/artifact.ts'
import type { Instant } from '../../src/model/duration.ts'
import type { Event } from '../../src/model/events.ts'
import type { Evidence, LedgerEntry } from '../../src/model/evidence.ts'
import type { Execution } from '../../src/model/execution.ts'
import type { Task } from '../../src/model/task.ts'
import type {
  Asked,
  ExecutionView,
  ExplanationView,
  Operations,
  StatusView,
  WarmQuestion,
  WarmthView,
} from '../../src/model/operations.ts'
import { EXAMPLE_AT } from './examples.ts'

const DIGEST = parseDigest(`sha256:${'a'.repeat(64)}`)
/** As an engine showed it at {@link EXAMPLE_AT}. */
export const EVIDENCE: Evidence = {
  kind: 'success_tasks',
  source: 'claimed-by-engine',
  observedAt: EXAMPLE_AT,
  blobs: 3,
  of: 3,
  peers: 1,
}

/** A daemon in memory that does nothing and remembers who asked for what. */
export class MemoryOperations implements Operations {
  readonly asked: (readonly [what: string, of: string | undefined, asked: Asked])[] = []
  readonly suspended = new Set<string | undefined>()
  readonly known = new Map<string, { execution: Execution; tasks: Task[] }>()
  readonly listeners = new Set<(event: Event) => void>()
  readonly announced: { readonly at: Instant; readonly event: Event }[] = []
  listed: ExecutionView[] = []
  slots: Instant[] = []
  readonly questions: (readonly [what: string, ...of: unknown[]])[] = []
  /** How long an answer takes that others have to be asked for. */
  thinking = <T>(_signal: AbortSignal, answer: T): Promise<T> => Promise.resolve(answer)
  ledger: LedgerEntry[] = []
  used: string[] = []
  warmth: WarmthView = {
    registry: 'harbor',
    repository: 'library/app',
    tag: 'v1',
    digest: DIGEST,
    warm: true,
    providers: [
      {
        name: 'dragonfly-eu',
        warm: true,
        from: 'ledger',
        reason: undefined,
        evidence: EVIDENCE,
        ageMs: 192_000,
      },
    ],
  }
  explanation: ExplanationView = {
    policy: 'library/release-images',
    file: 'release.yaml',
    line: 1,
    why: ['it never ran'],
    blocked: undefined,
    unresolved: undefined,
    artifacts: [
      {
        repository: 'library/app',
        tag: 'v1',
        digest: DIGEST,
        outcome: 'out',
        decidedBy: 'tag',
        verdicts: [
          {
            rule: 'tag',
            says: 'out',
            message: 'v1 does not match',
            field: 'spec.filters.tags',
            file: 'release.yaml',
            line: 9,
          },
        ],
        targets: [],
      },
    ],
    files: [
      {
        file: 'models/a.bin',
        line: 12,
        targets: [{ provider: 'dragonfly-eu', action: 'preheat', reason: 'not known warm' }],
      },
    ],
  }
  /** What every change, and every question that others have to be asked, is refused with. */
  refusal: Error | undefined
  view: StatusView = {
    instance: 'eu',
    version: '0.1.0',
    leads: true,
    source: { revision: '4f2c', appliedAt: EXAMPLE_AT, trouble: undefined },
    policies: [
      {
        policy: 'library/release-images',
        registry: 'harbor',
        conditions: [
          { type: 'Ready', status: true, reason: 'Success', message: '' },
          { type: 'Reconciling', status: false, reason: 'Idle', message: '' },
          { type: 'Stalled', status: false, reason: 'Valid', message: '' },
        ],
        suspended: undefined,
        nextSlot: EXAMPLE_AT + 86_400_000,
        last: executionView(),
      },
    ],
    providers: [{ provider: 'dragonfly-eu', vendor: 'dragonfly', enabled: true, silentUntil: undefined, openTasks: 3 }],
    waitingReports: 0,
    problems: [],
  }

  status(): Promise<StatusView> {
    return Promise.resolve(this.view)
  }

  executions(policy: string | undefined, limit: number): Promise<readonly ExecutionView[]> {
    return Promise.resolve(this.listed.filter((one) => policy === undefined || one.policy === policy).slice(0, limit))
  }

  execution(id: string): ReturnType<Operations['execution']> {
    return Promise.resolve(this.known.get(id))
  }

  async begin(policy: string, asked: Asked): Promise<string> {
    await this.#note('begin', policy, asked)
    return '20261121T020000Z-3f9a1c07'
  }

  async stop(id: string, asked: Asked): Promise<boolean> {
    await this.#note('stop', id, asked)
    const found = this.known.get(id)
    return found !== undefined && found.execution.state !== 'Ended'
  }

  suspend(policy: string | undefined, asked: Asked): Promise<void> {
    this.suspended.add(policy)
    return this.#note('suspend', policy, asked)
  }

  async resume(policy: string | undefined, asked: Asked): Promise<boolean> {
    await this.#note('resume', policy, asked)
    return this.suspended.delete(policy)
  }

  reconcile(): Promise<string | undefined> {
    return Promise.resolve(this.view.source.revision)
  }

  async invalidate(provider: string, asked: Asked): Promise<number> {
    await this.#note('invalidate', provider, asked)
    return 7
  }

  async schedule(policy: string, count: number): Promise<readonly Instant[]> {
    await this.#note('schedule', policy, { by: '', reason: '' })
    return this.slots.slice(0, count)
  }

  explain(policy: string, artifact: string | undefined, signal: AbortSignal): Promise<ExplanationView> {
    this.questions.push(['explain', policy, artifact])
    if (this.refusal !== undefined) return Promise.reject(this.refusal)
    return this.thinking(signal, this.explanation)
  }

  warm(question: WarmQuestion, signal: AbortSignal): Promise<WarmthView> {
    this.questions.push(['warm', question])
    if (this.refusal !== undefined) return Promise.reject(this.refusal)
    return this.thinking(signal, this.warmth)
  }

  remembered(keys: readonly string[]): Promise<readonly LedgerEntry[]> {
    return Promise.resolve(this.ledger.filter(({ key }) => keys.includes(key)))
  }

  usedRuns(): Promise<ReadonlySet<string>> {
    return Promise.resolve(new Set(this.used))
  }

  watch(listener: (event: Event) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  journal(): readonly { readonly at: Instant; readonly event: Event }[] {
    return this.announced
  }

  announce(event: Event): void {
    for (const listener of [...this.listeners]) listener(event)
  }

  #note(what: string, of: string | undefined, asked: Asked): Promise<void> {
    if (this.refusal !== undefined) return Promise.reject(this.refusal)
    this.asked.push([what, of, asked])
    return Promise.resolve()
  }
}

export function executionView(overrides: Partial<ExecutionView> = {}): ExecutionView {
  return {
    id: '20261121T020000Z-3f9a1c07',
    policy: 'library/release-images',
    state: 'Ended',
    result: 'Success',
    startedAt: EXAMPLE_AT,
    endedAt: EXAMPLE_AT + 60_000,
    cause: 'slot 2026-11-21T02:00:00.000Z',
    tasks: { Succeeded: 2 },
    ...overrides,
  }
}
