import { OperatorError, excerpt } from '../model/errors.ts'
import { formatSize } from '../model/size.ts'
import type { EventBody, ExecutionDetailBody, TaskBody } from '../serve/wire.ts'
import { exit, type Exit, type Io } from './command.ts'
import { throughDaemon, type OperatorOptions } from './operator.ts'

export interface LogsOptions extends OperatorOptions {
  /** Goes on until the execution has ended. */
  readonly follow: boolean
}

/**
 * What the daemon remembers of an execution since it was started, an event a line; of one that it remembers nothing of,
 * how its tasks stand.
 * @param task its id or the number at the id's end; undefined: all
 */
export async function logs(
  execution: string,
  task: string | undefined,
  options: LogsOptions,
  io: Io,
  signal: AbortSignal,
): Promise<Exit> {
  return await throughDaemon(options.config, io, async (daemon) => {
    const isWanted = (id: string) => task === undefined || id === task || id === `${execution}/${task}`
    const detail = await daemon.execution(execution, signal)
    if (task !== undefined && !detail.tasks.some(({ id }) => isWanted(id)) && detail.state !== 'Selecting')
      throw new OperatorError('PH8104', `execution ${execution} has no task ${JSON.stringify(excerpt(task, 100))}`)
    const write = (event: EventBody) => {
      if (event.name === 'task.changed' ? !isWanted(event.task.id) : task !== undefined) return
      io.out(`${options.output === 'json' ? JSON.stringify(event) : line(event, io)}\n`)
    }
    let remembered = 0
    let hasEnded = detail.state === 'Ended'
    for await (const event of daemon.events(execution, options.follow ? 'end' : 'now', signal)) {
      if (remembered === 0 && event.name !== 'execution.started') io.err(OLDER)
      remembered++
      hasEnded ||= event.name === 'execution.ended'
      write(event)
    }
    if (remembered === 0) {
      io.err(OLDER)
      for (const event of standIn(detail)) write(event)
    }
    if (!options.follow || hasEnded || (await daemon.execution(execution, signal)).state === 'Ended') return exit.ok
    io.err('the daemon closed the stream before the execution had ended\n')
    return exit.failed
  })
}

const OLDER = 'what came before is not remembered: the daemon was started since, or forgot it\n'

/** Of an execution that nobody remembers: how its tasks stand, and its end. */
function standIn(detail: ExecutionDetailBody): EventBody[] {
  const { id, tasks, result, reason, endedAt, startedAt } = detail
  return [
    ...tasks.map((task): EventBody => ({
      name: 'task.changed',
      at: task.endedAt ?? task.startedAt ?? startedAt,
      execution: id,
      task,
    })),
    ...(result === undefined || endedAt === undefined
      ? []
      : [{ name: 'execution.ended', at: endedAt, execution: id, result, reason } as const]),
  ]
}

function line(event: EventBody, io: Io): string {
  const { dim, green, red } = io.outColors
  const at = dim(event.at)
  switch (event.name) {
    case 'execution.started':
      return `${at} ${event.policy} ${event.execution} began`
    case 'execution.selected': {
      const unsized = event.unsized === 0 ? '' : ` and ${event.unsized} of unknown size`
      return `${at} ${event.tasks} tasks, ${formatSize(event.sizeBytes)}${unsized} to preheat`
    }
    case 'execution.ended': {
      const paint = event.result === 'Success' || event.result === 'Skipped' ? green : red
      return `${at} ${paint(event.result)}${why(event.reason)}`
    }
    case 'task.changed':
      return `${at} ${taskText(event.task, io)}`
    default:
      return event satisfies never
  }
}

function taskText(task: TaskBody, { outColors: { green, red } }: Io): string {
  const { id, provider, state, artifact, evidence, jobs, error, nextAt } = task
  const what = artifact === undefined ? (task.file ?? '') : `${artifact.repository}:${artifact.tags.join(',')}`
  const paint = state === 'Succeeded' ? green : nextAt === undefined ? red : (text: string) => text
  const shown = evidence === undefined ? '' : ` ${evidence.blobs}/${evidence.of} blobs ${evidence.source}`
  const open = jobs.flatMap((job) => (job.state === 'open' && job.id !== undefined ? [jobText(job)] : []))
  const number = id.slice(id.lastIndexOf('/') + 1)
  return `task ${number} ${what} → ${provider} ${paint(state)}${shown}${open.length > 0 ? ` job ${open.join(', ')}` : ''}${why(error)}`
}

function jobText({ id, doneBytes, totalBytes }: TaskBody['jobs'][number]): string {
  const progress =
    doneBytes === undefined || totalBytes === undefined
      ? ''
      : ` (${formatSize(doneBytes)} of ${formatSize(totalBytes)})`
  return `${id ?? ''}${progress}`
}

function why(error: { readonly code: string; readonly message: string } | undefined): string {
  return error === undefined ? '' : ` ${error.code} ${excerpt(error.message)}`
}
