import { formatInstant, type Instant } from '../model/duration.ts'
import type { Event } from '../model/events.ts'
import type { Execution } from '../model/execution.ts'
import type { Problem } from '../model/problem.ts'
import { policyAddress } from '../model/policy.ts'
import { isSettled, type Job, type Task } from '../model/task.ts'
import type { Evidence, LedgerEntry } from '../model/evidence.ts'
import type { ConditionView, ExecutionView, Operations, StatusView, WarmthView } from '../model/operations.ts'

/** RFC 3339 with `Z` and milliseconds, as in reports. */
type Time = string

/** `GET status`. What the API says as JSON; a field that is undefined is left out. */
export interface StatusBody {
  readonly instance: string
  readonly version: string
  readonly leads: boolean
  readonly source: {
    readonly revision: string | undefined
    readonly appliedAt: Time | undefined
    readonly trouble: { readonly code: string; readonly message: string } | undefined
  }
  readonly policies: readonly PolicyBody[]
  readonly providers: readonly ProviderBody[]
  readonly waitingReports: number
  readonly problems: readonly Problem[]
}

export interface PolicyBody {
  readonly policy: string
  readonly registry: string
  readonly conditions: readonly ConditionView[]
  readonly suspended: string | undefined
  readonly nextSlot: Time | undefined
  readonly last: ExecutionBody | undefined
}

export interface ProviderBody {
  readonly provider: string
  readonly vendor: string
  readonly enabled: boolean
  readonly silentUntil: Time | undefined
  readonly openTasks: number
}

export interface ExecutionBody {
  readonly id: string
  readonly policy: string
  readonly state: string
  readonly result: string | undefined
  readonly startedAt: Time
  readonly endedAt: Time | undefined
  readonly cause: string
  readonly tasks: Readonly<Record<string, number>>
}

/** `GET executions/{id}`. */
export interface ExecutionDetailBody {
  readonly id: string
  readonly policy: string
  readonly state: string
  readonly result: string | undefined
  readonly reason: { readonly code: string; readonly message: string } | undefined
  readonly cause: Execution['cause']['type']
  readonly at: Time
  readonly startedAt: Time
  readonly endedAt: Time | undefined
  readonly commit: string
  readonly selection: { readonly considered: number; readonly selected: number; readonly skipped: number } | undefined
  readonly tasks: readonly TaskBody[]
}

export interface TaskBody {
  readonly id: string
  /** One of the two. */
  readonly artifact:
    { readonly repository: string; readonly tags: readonly string[]; readonly digest: string } | undefined
  readonly file: string | undefined
  readonly provider: string
  readonly state: string
  readonly attempts: number
  readonly sizeBytes: number | undefined
  readonly jobs: readonly JobBody[]
  readonly evidence: EvidenceBody | undefined
  /** How many blobs are known to be absent. */
  readonly missing: number | undefined
  readonly error: { readonly code: string; readonly message: string } | undefined
  readonly startedAt: Time | undefined
  /** Of a task that is open: when something is done for it next. */
  readonly nextAt: Time | undefined
  readonly endedAt: Time | undefined
}

interface JobBody {
  /** The engine's id; undefined until it gave one. */
  readonly id: string | undefined
  readonly cluster: string | undefined
  readonly state: Job['state']
  readonly doneBytes: number | undefined
  readonly totalBytes: number | undefined
}

interface EvidenceBody extends Omit<Evidence, 'observedAt'> {
  readonly observedAt: Time
}

/** `GET warmth`. */
export interface WarmthBody extends Omit<WarmthView, 'providers'> {
  readonly providers: readonly (Omit<WarmthView['providers'][number], 'evidence'> & {
    readonly evidence: EvidenceBody | undefined
  })[]
}

/** How long an explanation may take: a registry is listed, and what is in its project is looked into. */
export const EXPLAIN_MS = 30 * 60_000
/** How long an answer about warmth may take beyond what was to be waited for. */
export const WARM_MS = 2 * 60_000
/** Keys of the ledger in one question. */
export const MAX_KEYS = 1000

/** An entry of `POST ledger`. */
export interface LedgerEntryBody {
  readonly key: string
  readonly warmAt: Time
  readonly evidence: EvidenceBody
}

/** What was announced of one execution; the data of a server-sent event whose name is `name`. */
export type EventBody =
  | { readonly name: 'execution.started'; readonly at: Time; readonly execution: string; readonly policy: string }
  | {
      readonly name: 'execution.selected'
      readonly at: Time
      readonly execution: string
      readonly tasks: number
      readonly sizeBytes: number
      /** Of a size that nobody knows, and not in `sizeBytes`. */
      readonly unsized: number
    }
  | {
      readonly name: 'execution.ended'
      readonly at: Time
      readonly execution: string
      readonly result: string
      readonly reason: { readonly code: string; readonly message: string } | undefined
    }
  | { readonly name: 'task.changed'; readonly at: Time; readonly execution: string; readonly task: TaskBody }

export function statusBody(status: StatusView): StatusBody {
  const { source, policies, providers } = status
  return {
    ...status,
    source: { ...source, appliedAt: time(source.appliedAt) },
    policies: policies.map((one) => ({
      ...one,
      nextSlot: time(one.nextSlot),
      last: one.last && executionBody(one.last),
    })),
    providers: providers.map((one) => ({ ...one, silentUntil: time(one.silentUntil) })),
  }
}

export function executionBody(execution: ExecutionView): ExecutionBody {
  return { ...execution, startedAt: formatInstant(execution.startedAt), endedAt: time(execution.endedAt) }
}

type Found = NonNullable<Awaited<ReturnType<Operations['execution']>>>

export function executionDetailBody({ execution, tasks }: Found): ExecutionDetailBody {
  const { id, snapshot, state, cause, at, startedAt } = execution
  const isEnded = execution.state === 'Ended'
  const selection = execution.state === 'Selecting' ? undefined : execution.selection
  return {
    id,
    policy: policyAddress(snapshot.policy),
    state,
    result: isEnded ? execution.result : undefined,
    reason: isEnded ? execution.reason : undefined,
    cause: cause.type,
    at: formatInstant(at),
    startedAt: formatInstant(startedAt),
    endedAt: isEnded ? formatInstant(execution.endedAt) : undefined,
    commit: snapshot.config.commit,
    selection: selection && {
      considered: selection.considered,
      selected: selection.selected,
      skipped: selection.skipped,
    },
    tasks: tasks.map(taskBody),
  }
}

/** Without its order and blobs, which may be thousands. */
function taskBody(task: Task): TaskBody {
  const { subject } = task
  const settled = isSettled(task) ? task : undefined
  const evidence = settled?.evidence
  return {
    id: task.id,
    artifact:
      'file' in subject ? undefined : { repository: subject.repository, tags: subject.tags, digest: subject.digest },
    file: 'file' in subject ? subject.file : undefined,
    provider: task.provider,
    state: task.state,
    attempts: task.attempts,
    sizeBytes: task.sizeBytes,
    jobs: task.jobs.map(jobBody),
    evidence: evidence && evidenceBody(evidence),
    missing: settled?.missing.length,
    error: task.error,
    startedAt: time(task.startedAt),
    nextAt: 'nextAt' in task ? formatInstant(task.nextAt) : undefined,
    endedAt: time(settled?.endedAt),
  }
}

function jobBody(job: Job): JobBody {
  const progress = job.state === 'open' ? job.progress : undefined
  return {
    id: job.ids.at(-1),
    cluster: job.cluster?.name,
    state: job.state,
    doneBytes: progress?.doneBytes,
    totalBytes: progress?.totalBytes,
  }
}

/** It has no other fields than these: they are what the document of the API promises. */
function evidenceBody({ kind, source, observedAt, blobs, of, peers }: Evidence): EvidenceBody {
  return { kind, source, observedAt: formatInstant(observedAt), blobs, of, peers }
}

export function warmthBody(warmth: WarmthView): WarmthBody {
  return {
    ...warmth,
    providers: warmth.providers.map((one) => ({ ...one, evidence: one.evidence && evidenceBody(one.evidence) })),
  }
}

export function entryBody({ key, warmAt, evidence }: LedgerEntry): LedgerEntryBody {
  return { key, warmAt: formatInstant(warmAt), evidence: evidenceBody(evidence) }
}

/** What {@link entryBody} wrote. */
export function entryOf({ key, warmAt, evidence }: LedgerEntryBody): LedgerEntry {
  return {
    key,
    warmAt: Date.parse(warmAt),
    evidence: { ...evidence, observedAt: Date.parse(evidence.observedAt) },
  }
}

/** An event of this execution; undefined for all others. */
export function eventBody(at: Instant, event: Event, executionId: string): EventBody | undefined {
  const when = formatInstant(at)
  switch (event.name) {
    case 'execution.started': {
      const { id, snapshot } = event.execution
      if (id !== executionId) return undefined
      return { name: event.name, at: when, execution: id, policy: policyAddress(snapshot.policy) }
    }
    case 'execution.selected': {
      const { execution, tasks, sizeBytes, unsized } = event
      if (execution.id !== executionId) return undefined
      return { name: event.name, at: when, execution: execution.id, tasks, sizeBytes, unsized }
    }
    case 'execution.ended': {
      const { id, result, reason } = event.execution
      return id === executionId ? { name: event.name, at: when, execution: id, result, reason } : undefined
    }
    case 'task.changed': {
      const { task } = event
      if (task.executionId !== executionId) return undefined
      return { name: event.name, at: when, execution: task.executionId, task: taskBody(task) }
    }
    case 'config.problem':
    case 'loop.failed':
    case 'plan.applied':
    case 'provider.circuit':
    case 'poll.failed':
    case 'reports.failed':
    case 'reports.pushed':
    case 'run.waiting':
    case 'slot.missed':
    case 'source.failed':
    case 'source.rewritten':
    case 'source.unchanged':
    case 'state.moved-aside':
      return undefined
    default:
      return event satisfies never
  }
}

function time(at: Instant | undefined): Time | undefined {
  return at === undefined ? undefined : formatInstant(at)
}
