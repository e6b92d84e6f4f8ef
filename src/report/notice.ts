import { subjectKey } from '../model/artifact.ts'
import { formatDuration, type Instant } from '../model/duration.ts'
import { excerpt } from '../model/errors.ts'
import type { Event } from '../model/events.ts'
import type { EndedExecution, Result } from '../model/execution.ts'
import type { Notice, NoticeObject } from '../model/notice.ts'
import { policyAddress } from '../model/policy.ts'
import type { Problem } from '../model/problem.ts'
import { executedKind } from '../model/resource.ts'
import { isSettled, type SettledTask } from '../model/task.ts'
import { isFailure } from './result.ts'

/** A state that the forge shows beside the commit. */
export interface Verdict {
  readonly state: 'success' | 'failure'
  readonly description: string
}

/** `good` results are one state: to find everything warm is as good as to have warmed it. */
type Standing = 'good' | 'stopped' | 'unverified' | 'bad'

const STANDINGS: Readonly<Record<Result, Standing>> = {
  Success: 'good',
  Skipped: 'good',
  Stopped: 'stopped',
  Unverified: 'unverified',
  PartialSuccess: 'bad',
  Failed: 'bad',
  Blocked: 'bad',
  Missed: 'bad',
}

const MESSAGE_LENGTH = 1000
/** Executions under way that are remembered; their tasks are all that is known of them. */
const MAX_EXECUTIONS = 1000
/** Problems of one commit that a message names. */
const NAMED = 3
/** Problems of one commit that are kept until it is applied. */
const MAX_PROBLEMS = 1000

/** What the tasks of an execution came to, as far as this process saw them. */
interface Course {
  /** Artifacts that were warm and are not any more. */
  readonly drifted: number
  /** Artifacts that were repaired. */
  readonly healed: number
  /** `library/app@sha256:…: PH5003 …` of the first that drifted or failed. */
  readonly first: string | undefined
}

const UNEVENTFUL: Course = { drifted: 0, healed: 0, first: undefined }

/** What of all that happens is worth telling. It remembers what was told last, so that only changes are told. */
export class NoticeBoard {
  readonly #instance: string
  /** By key of the policy. */
  readonly #results: Map<string, Result>
  readonly #courses = new Map<string, Course>()
  readonly #silent = new Set<string>()
  #problems: Problem[] = []
  #isSourceFailing = false

  /** @param lastResults of every policy by its key, from before this process began */
  constructor(instance: string, lastResults: ReadonlyMap<string, Result>) {
    this.#instance = instance
    this.#results = new Map(lastResults)
  }

  /** Takes note of an event. @returns what to tell of it */
  take(event: Event, now: Instant): Notice[] {
    switch (event.name) {
      case 'task.changed':
        if (isSettled(event.task)) this.#follow(event.task)
        return []
      case 'execution.ended':
        return this.#ended(event.execution)
      case 'provider.circuit':
        return this.#circuit(event.provider, event.openUntil, now)
      case 'config.problem':
        if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(event.problem)
        return []
      case 'plan.applied': {
        const problems = this.#problems
        this.#problems = []
        return [...this.#sourceAnswers(event.revision, now), ...this.#configured(event.revision, problems, now)]
      }
      case 'source.unchanged':
        return this.#sourceAnswers(event.revision, now)
      case 'source.failed':
        return this.#sourceFailed(`${event.state}: ${event.message} (${event.code})`, now)
      case 'execution.selected':
      case 'execution.started':
      case 'loop.failed':
      case 'poll.failed':
      case 'reports.failed':
      case 'reports.pushed':
      case 'run.waiting':
      case 'slot.missed':
      case 'source.rewritten':
      case 'state.moved-aside':
        return []
      default:
        return event satisfies never
    }
  }

  #follow(task: SettledTask): void {
    const before = this.#courses.get(task.executionId) ?? UNEVENTFUL
    const isDrifted = task.error?.code === 'PH5010'
    const isHealed =
      task.purpose === 'heal' && task.state === 'Succeeded' && task.jobs.some(({ ids }) => ids.length > 0)
    if (!isDrifted && !isHealed && !isFailure(task)) return
    const words = task.error === undefined ? task.state : `${task.error.code} ${task.error.message}`
    this.#courses.set(task.executionId, {
      drifted: before.drifted + (isDrifted ? 1 : 0),
      healed: before.healed + (isHealed ? 1 : 0),
      first: before.first ?? (isHealed ? undefined : `${subjectKey(task.subject)} at ${task.provider}: ${words}`),
    })
    const [oldest] = this.#courses.keys()
    if (this.#courses.size > MAX_EXECUTIONS && oldest !== undefined) this.#courses.delete(oldest)
  }

  #ended(execution: EndedExecution): Notice[] {
    const { id, policyKey, result, cause, endedAt, snapshot } = execution
    const course = this.#courses.get(id) ?? UNEVENTFUL
    const kind = executedKind(policyKey)
    // A run with artifacts of its own has no result before, and none after.
    const before = kind === 'PreheatPolicy' ? this.#results.get(policyKey) : undefined
    this.#courses.delete(id)
    if (kind === 'PreheatPolicy') this.#results.set(policyKey, result)
    const standing = STANDINGS[result]
    const about = {
      object: { kind, name: policyAddress(snapshot.policy), key: policyKey },
      at: endedAt,
      executionId: id,
      revision: snapshot.config.commit,
      url: undefined,
    } as const
    if (course.drifted > 0) {
      const message = `${counted(course.drifted, 'artifact')} not warm any more, first ${course.first ?? ''}`
      return [{ ...about, severity: 'error', reason: 'DriftFound', message: cut(message) }]
    }
    const healed: Notice[] =
      course.healed === 0
        ? []
        : [
            {
              ...about,
              severity: 'info',
              reason: 'DriftHealed',
              message: `${counted(course.healed, 'artifact')} not warm any more, preheated again`,
            },
          ]
    const isChanged = kind === 'PreheatPolicy' && (before === undefined || STANDINGS[before] !== standing)
    const reason =
      standing === 'bad'
        ? 'ExecutionFailed'
        : isChanged
          ? 'ResultChanged'
          : cause.type === 'manual' || (course.healed === 0 && didSomething(execution))
            ? 'ExecutionEnded'
            : undefined
    if (reason === undefined) return healed
    const was = before === undefined || before === result ? '' : ` (was ${before})`
    const severity = standing === 'bad' || standing === 'unverified' ? 'error' : 'info'
    return [...healed, { ...about, severity, reason, message: cut(`${result}${was}${detail(execution, course)}`) }]
  }

  #circuit(provider: string, openUntil: Instant | undefined, at: Instant): Notice[] {
    const object = { kind: 'Provider', name: provider, key: `Provider/${provider}` } as const
    const about = { object, at, executionId: undefined, revision: undefined, url: undefined }
    if (openUntil === undefined) {
      if (!this.#silent.delete(provider)) return []
      return [{ ...about, severity: 'info', reason: 'ProviderRecovered', message: 'it answers again' }]
    }
    if (this.#silent.has(provider)) return []
    this.#silent.add(provider)
    const wait = formatDuration(Math.max(1000, Math.round((openUntil - at) / 1000) * 1000))
    const message = `it does not answer; its tasks wait, and it is asked again in ${wait}`
    return [{ ...about, severity: 'error', reason: 'ProviderUnreachable', message }]
  }

  #configured(revision: string, problems: readonly Problem[], at: Instant): Notice[] {
    if (problems.length === 0) return []
    const isError = problems.some(({ severity }) => severity === 'error')
    return [
      {
        severity: isError ? 'error' : 'info',
        reason: isError ? 'ConfigInvalid' : 'ConfigWarning',
        object: this.#self,
        at,
        message: cut(namely(problems)),
        executionId: undefined,
        revision,
        url: undefined,
      },
    ]
  }

  #sourceFailed(message: string, at: Instant): Notice[] {
    if (this.#isSourceFailing) return []
    this.#isSourceFailing = true
    const about = { object: this.#self, at, executionId: undefined, revision: undefined, url: undefined }
    return [{ ...about, severity: 'error', reason: 'SourceFailed', message: cut(message) }]
  }

  #sourceAnswers(revision: string, at: Instant): Notice[] {
    if (!this.#isSourceFailing) return []
    this.#isSourceFailing = false
    const about = { object: this.#self, at, executionId: undefined, revision, url: undefined }
    return [{ ...about, severity: 'info', reason: 'SourceRecovered', message: 'the source can be used again' }]
  }

  get #self(): NoticeObject {
    return { kind: 'DaemonConfig', name: this.#instance, key: `DaemonConfig/${this.#instance}` }
  }
}

/** What the forge shows beside a commit that was applied: the same for the same commit, whenever it is asked. */
export function commitVerdict(objects: number, problems: readonly Problem[]): Verdict {
  const errors = problems.filter(({ severity }) => severity === 'error')
  if (errors.length > 0) return { state: 'failure', description: cut(namely(errors)) }
  const warnings = problems.length === 0 ? '' : `, ${counted(problems.length, 'warning')}`
  return { state: 'success', description: `${counted(objects, 'object')} in force${warnings}` }
}

/** What it shows for a policy whose execution began under that commit: only what was shown to be warm is a success. */
export function executionVerdict(execution: EndedExecution): Verdict {
  return {
    state: STANDINGS[execution.result] === 'good' ? 'success' : 'failure',
    description: cut(`${execution.result}${detail(execution, UNEVENTFUL)}`),
  }
}

/** To find everything warm, or to look at it and find it there, is no news. */
function didSomething({ result, cause }: EndedExecution): boolean {
  return result !== 'Skipped' && !('upkeep' in cause && cause.upkeep === 'drift')
}

function detail({ selection, reason }: EndedExecution, { first }: Course): string {
  const counts = selection === undefined ? '' : `, ${selection.selected} selected, ${selection.skipped} skipped`
  const why = reason === undefined ? first : `${reason.code} ${reason.message}`
  return why === undefined ? counts : `${counts}: ${why}`
}

function namely(problems: readonly Problem[]): string {
  const named = [...problems]
    .sort((a, b) => Number(b.severity === 'error') - Number(a.severity === 'error'))
    .slice(0, NAMED)
    .map(({ file, line, code, message }) => `${file}:${line} ${code} ${message}`)
  const more = problems.length > NAMED ? `; and ${problems.length - NAMED} more` : ''
  return `${counted(problems.length, 'problem')}: ${named.join('; ')}${more}`
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function cut(text: string): string {
  return excerpt(text, MESSAGE_LENGTH)
}
