import type { Subject } from '../model/artifact.ts'
import { codes } from '../model/codes.ts'
import { formatSize } from '../model/size.ts'
import type { Emit, Event } from '../model/events.ts'
import type { EndedExecution, Execution } from '../model/execution.ts'
import { policyAddress } from '../model/policy.ts'
import { isSettled, type Job, type JobProgress, type Task } from '../model/task.ts'

/** How words are painted; identity where colours are off. */
export interface Paint {
  good(text: string): string
  bad(text: string): string
  dim(text: string): string
}

/** How many steps of a job's progress are worth a line each. */
const STEPS = 10

/**
 * What goes on, a line an event, for a person who watches. Of looks at a task that runs, only those that found other
 * jobs or a tenth more of a job's bytes.
 */
export function progressTo(write: (line: string) => void, paint: Paint): Emit {
  /** By task that runs: what was last said of it. */
  const said = new Map<string, string>()
  return (event) => {
    if (event.name === 'task.changed') {
      const { task } = event
      const news = task.state === 'Running' ? newsOf(task) : undefined
      if (news !== undefined && said.get(task.id) === news) return
      if (news === undefined) said.delete(task.id)
      else said.set(task.id, news)
    }
    const line = lineOf(event, paint)
    if (line !== undefined) write(line)
  }
}

/** What of a task that runs is worth another line once it differs. */
function newsOf({ jobs }: Task): string {
  return openJobs(jobs)
    .map(({ id, progress }) => `${id} ${progress === undefined ? '' : Math.floor(shareOf(progress) * STEPS)}`)
    .join(', ')
}

function lineOf(event: Event, paint: Paint): string | undefined {
  switch (event.name) {
    case 'source.unchanged':
      return paint.dim(`► source has not moved from ${short(event.revision)}`)
    case 'source.failed':
      return `${paint.bad(`✗ source ${event.state} ${event.code}: ${event.message}`)}\n  help: ${codes[event.code].remedy}`
    case 'source.rewritten':
      return paint.bad(`► the branch was rewritten: ${short(event.from)} is not in the history of ${short(event.to)}`)
    case 'plan.applied': {
      const { revision, created, updated, deleted, stalled } = event
      const text = `applied ${short(revision)}: ${created} created, ${updated} updated, ${deleted} deleted`
      return stalled === 0 ? `${paint.good('✔')} ${text}` : `${paint.bad('✗')} ${text}, ${stalled} stalled`
    }
    case 'config.problem': {
      const { file, line, column, severity, code, message } = event.problem
      return `${file}:${line}:${column}: ${paint.bad(severity)} ${code} ${message}`
    }
    case 'execution.started':
      return `► ${policyOf(event.execution)} ${paint.dim(event.execution.id)} began`
    case 'execution.selected':
      return `► ${policyOf(event.execution)} ${event.tasks} tasks, ${amount(event.sizeBytes, event.unsized)} to preheat`
    case 'execution.ended':
      return ended(event.execution, paint)
    case 'slot.missed':
      return paint.bad(`► slot ${new Date(event.slot).toISOString()} of ${event.policyKey} missed: ${event.reason}`)
    case 'run.waiting':
      return `► PreheatRun ${event.run} waits: ${event.reason}`
    case 'task.changed':
      return taskLine(event.task, paint)
    case 'reports.pushed':
      return `${paint.good('✔')} ${event.reports === 0 ? 'status' : plural(event.reports, 'report')} pushed as ${short(event.revision)}`
    case 'reports.failed':
      return paint.bad(`✗ ${plural(event.waiting, 'report')} waiting ${event.code}: ${event.message}`)
    case 'provider.circuit':
      return event.openUntil === undefined
        ? `${paint.good('✔')} provider ${event.provider} answers again`
        : paint.bad(
            `✗ provider ${event.provider} does not answer; its tasks wait until ${new Date(event.openUntil).toISOString()}`,
          )
    case 'state.moved-aside':
      return paint.bad(
        `✗ the state was corrupt ${event.code}: ${event.message}; it lies in ${event.file}, a new one is begun`,
      )
    case 'poll.failed':
      return paint.bad(`✗ registry ${event.registry} ${event.code}: ${event.message}`)
    case 'loop.failed':
      return paint.bad(`✗ ${event.loop}: ${event.error instanceof Error ? event.error.message : String(event.error)}`)
    default:
      return event satisfies never
  }
}

function ended(execution: EndedExecution, paint: Paint): string {
  const good = execution.result === 'Success' || execution.result === 'Skipped'
  const skipped = execution.selection?.skipped ?? 0
  const tail = [
    skipped > 0 ? `${skipped} skipped` : '',
    execution.reason === undefined ? '' : `${execution.reason.code} ${execution.reason.message}`,
  ]
    .filter(Boolean)
    .join(', ')
  return `${good ? paint.good('✔') : paint.bad('✗')} ${policyOf(execution)} ${execution.result}${tail === '' ? '' : ` (${tail})`}`
}

function taskLine(task: Task, paint: Paint): string | undefined {
  const what = `${nameOf(task.subject)} → ${task.provider}`
  if (isSettled(task)) {
    const { evidence } = task
    const shown = evidence === undefined ? '' : ` ${evidence.blobs}/${evidence.of} blobs`
    const why = task.error === undefined ? '' : ` ${task.error.code} ${task.error.message}`
    return `  ${task.state === 'Succeeded' ? paint.good('✔') : paint.bad('✗')} ${what} ${task.state}${shown}${why}`
  }
  if (task.state === 'Running') {
    const jobs = openJobs(task.jobs).map(jobText)
    return paint.dim(
      `  … ${what} Running, ${jobs.length === 0 ? 'its caches are looked at' : `job ${jobs.join(', ')}`}`,
    )
  }
  return task.error === undefined
    ? undefined
    : paint.dim(`  … ${what} ${task.state}, ${task.error.code} ${task.error.message}`)
}

function nameOf(subject: Subject): string {
  return 'file' in subject ? subject.file : `${subject.repository}:${subject.tags.join(',')}`
}

function openJobs(jobs: readonly Job[]): Extract<Job, { state: 'open' }>[] {
  return jobs.flatMap((job) => (job.state === 'open' ? [job] : []))
}

/** `3.9 GiB`, `3.9 GiB and 2 of unknown size`. */
function amount(sizeBytes: number, unsized: number): string {
  if (unsized === 0) return formatSize(sizeBytes)
  return `${sizeBytes > 0 ? `${formatSize(sizeBytes)} and ` : ''}${unsized} of unknown size`
}

/** `17`, and with its progress `17 (1.5 GiB of 6.0 GiB, 25 %)`. */
function jobText({ id, progress }: Extract<Job, { state: 'open' }>): string {
  if (progress === undefined) return id
  const { doneBytes, totalBytes } = progress
  return `${id} (${formatSize(doneBytes)} of ${formatSize(totalBytes)}, ${Math.floor(shareOf(progress) * 100)} %)`
}

/** 0 to 1; of nothing all is there. */
function shareOf({ doneBytes, totalBytes }: JobProgress): number {
  return totalBytes <= 0 ? 1 : Math.min(1, doneBytes / totalBytes)
}

function policyOf({ snapshot }: Execution): string {
  return policyAddress(snapshot.policy)
}

function short(revision: string): string {
  return revision.startsWith('sha256:') ? revision.slice(0, 19) : revision.slice(0, 12)
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
