import { formatSize } from '../model/size.ts'
import type { Emit, Event } from '../model/events.ts'
import type { EndedExecution, Execution } from '../model/execution.ts'
import type { Task } from '../model/task.ts'

/** How words are painted; identity where colours are off. */
export interface Paint {
  good(text: string): string
  bad(text: string): string
  dim(text: string): string
}

/** What goes on, a line an event, for a person who watches. */
export function progressTo(write: (line: string) => void, paint: Paint): Emit {
  return (event) => {
    const line = lineOf(event, paint)
    if (line !== undefined) write(line)
  }
}

function lineOf(event: Event, paint: Paint): string | undefined {
  switch (event.name) {
    case 'source.unchanged':
      return paint.dim(`► source has not moved from ${short(event.revision)}`)
    case 'source.failed':
      return paint.bad(`✗ source ${event.state} ${event.code}: ${event.message}`)
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
      return `► ${policyOf(event.execution)} ${event.tasks} tasks, ${formatSize(event.sizeBytes)} to preheat`
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
  const what = `${task.artifact.repository}:${task.artifact.tags.join(',')} → ${task.provider}`
  if ('endedAt' in task) {
    const { evidence } = task
    const shown = evidence === undefined ? '' : ` ${evidence.blobs}/${evidence.of} blobs`
    const why = task.error === undefined ? '' : ` ${task.error.code} ${task.error.message}`
    return `  ${task.state === 'Succeeded' ? paint.good('✔') : paint.bad('✗')} ${what} ${task.state}${shown}${why}`
  }
  const jobs = task.jobs.flatMap((job) => (job.state === 'open' ? [job.id] : []))
  if (task.state === 'Running') return paint.dim(`  … ${what} Running, job ${jobs.join(', ')}`)
  return task.error === undefined
    ? undefined
    : paint.dim(`  … ${what} ${task.state}, ${task.error.code} ${task.error.message}`)
}

function policyOf(execution: Execution): string {
  return execution.policyKey.split('/').slice(2).join('/')
}

function short(revision: string): string {
  return revision.startsWith('sha256:') ? revision.slice(0, 19) : revision.slice(0, 12)
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
