import type { Subject } from '../model/artifact.ts'
import { formatInstant, type Instant } from '../model/duration.ts'
import { excerpt } from '../model/errors.ts'
import type { Cause, EndedExecution } from '../model/execution.ts'
import { named } from '../model/evidence.ts'
import { policyAddress, type PreheatPolicy } from '../model/policy.ts'
import { isSettled, manifestsOf, type Job, type SettledTask, type Task } from '../model/task.ts'
import { byText } from '../plan/order.ts'
import { toYaml } from './yaml-text.ts'

/** What a driver says of task ids is longer than most. */
const MAX_SAID = 400

/** What a report says of the peers that hold blobs: how many, or also their host names and addresses. */
export type Peers = 'counts' | 'names'

/** A file of the reports branch. */
export interface ReportFile {
  readonly path: string
  readonly text: string
}

/** Harbor's rule for names; what it allows is a safe file name on every system that a branch is checked out on. */
const SLUG = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/
/** One component of an OCI repository name (distribution-spec 1.1, "Pulling manifests"). */
const COMPONENT = /^[A-Za-z0-9]+(?:(?:\.|_|__|-+)[A-Za-z0-9]+)*$/
/** Of an event's subjects that a report names. */
const NAMED_SUBJECTS = 100
const EXECUTION_ID = /^\d{8}T\d{6}Z-[0-9a-f]{8}$/

/**
 * The report of one execution, `kind: ExecutionReport` of resources.md §4. Pure and stable to the byte: rendered again
 * after a crash it makes no second commit.
 * @throws {TypeError} when a name that would become part of the path is none, or a task has not settled: both are bugs.
 */
export function renderExecutionReport(
  execution: EndedExecution,
  tasks: readonly Task[],
  instance: string,
  peers: Peers,
): ReportFile {
  const { snapshot, selection, reason } = execution
  return {
    path: reportPath(execution, instance),
    text: toYaml({
      apiVersion: 'preheatd.io/v1alpha1',
      kind: 'ExecutionReport',
      metadata: { name: execution.id },
      spec: {
        policy: policyAddress(snapshot.policy),
        trigger: { type: execution.cause.type, cause: causeOf(execution.cause) },
        config: {
          commit: excerpt(snapshot.config.commit),
          author: excerpt(snapshot.config.author),
          subject: excerpt(snapshot.config.subject),
        },
        startedAt: formatInstant(execution.startedAt),
        endedAt: formatInstant(execution.endedAt),
        result: execution.result,
        reason: reason && { code: reason.code, message: excerpt(reason.message) },
        selection: selection && {
          digest: selection.digest,
          considered: selection.considered,
          selected: selection.selected,
          skipped: selection.skipped,
          unresolved: selection.unresolved?.map(({ artifact, code, message }) => ({
            artifact: excerpt(artifact, 300),
            code,
            message: excerpt(message),
          })),
          movedTags: selection.movedTags?.map(({ artifact, digest }) => ({ artifact: excerpt(artifact, 400), digest })),
        },
        tasks: settledTasks(tasks).map((task) => renderTask(task, peers)),
      },
    }),
  }
}

/** Where the report of an execution stands on the branch. @throws {TypeError} as {@link renderExecutionReport} does. */
export function reportPath(execution: Pick<EndedExecution, 'id' | 'at' | 'snapshot'>, instance: string): string {
  if (!EXECUTION_ID.test(execution.id)) throw new TypeError(`not an execution id: ${JSON.stringify(execution.id)}`)
  const { policy } = execution.snapshot
  return `executions/${dayFolder(execution.at)}/${slug(instance)}/${projectFolder(policy)}/${slug(policy.name)}/${execution.id}.yaml`
}

/** `2026/11/21`, in UTC. */
export function dayFolder(at: Instant): string {
  return formatInstant(at).slice(0, 10).replaceAll('-', '/')
}

/** @throws {TypeError} for anything but a name by Harbor's rule of at most 128 characters. */
export function slug(text: string): string {
  if (text.length > 128 || !SLUG.test(text)) throw new TypeError(`not a name: ${JSON.stringify(text.slice(0, 150))}`)
  return text
}

/** The tasks in the order of reports: by repository and digest or by URL, then by provider, which name a task. */
export function settledTasks(tasks: readonly Task[]): SettledTask[] {
  const settled = tasks.filter(isSettled)
  if (settled.length !== tasks.length) throw new TypeError('an ended execution has tasks that have not settled')
  return settled.sort(byText(({ subject, provider }) => `${orderOf(subject)}\n${provider}`))
}

/** `__` for a slash cannot make two reports one file: the id holds a hash of the policy. */
function projectFolder({ project }: PreheatPolicy): string {
  if (project === undefined) return '_'
  const components = project.split('/')
  if (project.length > 200 || !components.every((component) => COMPONENT.test(component))) {
    throw new TypeError(`not a project: ${JSON.stringify(project.slice(0, 250))}`)
  }
  return components.join('__')
}

function causeOf(cause: Cause): unknown {
  if ('slot' in cause) return { slot: formatInstant(cause.slot) }
  if ('upkeep' in cause) return { [cause.upkeep === 'drift' ? 'drift' : 'keepWarm']: formatInstant(cause.at) }
  if ('acceptedAt' in cause)
    return {
      acceptedAt: formatInstant(cause.acceptedAt),
      by: excerpt(cause.by),
      reason: cause.reason && excerpt(cause.reason),
    }
  if ('subjects' in cause)
    return {
      since: formatInstant(cause.since),
      events: cause.events,
      subjects: cause.subjects
        .slice(0, NAMED_SUBJECTS)
        .map(
          ({ repository, reference }) =>
            `${excerpt(repository, 300)}${reference.includes(':') ? '@' : ':'}${excerpt(reference)}`,
        ),
    }
  return { run: { name: cause.run.name, digest: cause.run.digest, reason: excerpt(cause.run.reason) } }
}

function orderOf(subject: Subject): string {
  return 'file' in subject ? subject.file : `${subject.repository}\n${subject.digest}`
}

function renderTask(task: SettledTask, peers: Peers): unknown {
  const { evidence, error } = task
  return {
    ...subjectOf(task),
    provider: task.provider,
    state: task.state,
    error: error && { code: error.code, message: excerpt(error.message) },
    missing: task.missing.length > 0 ? [...task.missing].sort() : undefined,
    jobs: task.jobs.flatMap(renderJob),
    evidence: evidence && {
      kind: evidence.kind,
      source: evidence.source,
      observedAt: formatInstant(evidence.observedAt),
      blobs: evidence.blobs,
      of: evidence.of,
      peers: evidence.peers,
      peerNames: peers === 'names' ? peerNames(task.jobs) : undefined,
    },
    attempts: task.attempts,
    startedAt: task.startedAt === undefined ? undefined : formatInstant(task.startedAt),
    endedAt: formatInstant(task.endedAt),
  }
}

/** Undefined: no engine named any. */
function peerNames(jobs: readonly Job[]): string[] | undefined {
  const names = jobs.flatMap((job) => (job.state === 'ended' ? (job.verdict.claims?.peerNames ?? []) : []))
  return names.length === 0 ? undefined : named(names.map((name) => excerpt(name)))
}

/** `artifact`, or `file`, which has no size that anybody could know. */
function subjectOf({ subject, order, sizeBytes }: SettledTask): object {
  if ('file' in subject) return { file: subject.file }
  return {
    artifact: {
      repository: excerpt(subject.repository, 300),
      tags: subject.tags.map((tag) => excerpt(tag)),
      digest: subject.digest,
      platforms: manifestsOf(order).flatMap(({ platform }) => (platform === undefined ? [] : excerpt(platform))),
      sizeBytes,
    },
  }
}

/** Once an id. What was said of a job is said of the last submission of it, the others were given up. */
function renderJob(job: Job): unknown[] {
  const message =
    job.state === 'ended' && job.verdict.message !== undefined ? excerpt(job.verdict.message, MAX_SAID) : undefined
  return job.ids.map((id, index) => ({
    id: excerpt(id),
    cluster: job.cluster && excerpt(job.cluster.name),
    message: index === job.ids.length - 1 ? message : undefined,
  }))
}
