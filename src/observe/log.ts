import { Writable } from 'node:stream'
import winston from 'winston'
import { OperatorError } from '../model/errors.ts'
import type { Emit, Event } from '../model/events.ts'

export interface LogSettings {
  readonly level: 'error' | 'warn' | 'info' | 'debug'
  readonly format: 'json' | 'text'
}

export type Log = winston.Logger

/**
 * Structured logs, a line an event.
 *
 * @param scrub masks what secrets it knows: the second fence behind a type that cannot be printed
 */
export function openLog(
  { level, format }: LogSettings,
  scrub: (text: string) => string,
  out: NodeJS.WritableStream,
): Log {
  const { combine, timestamp, json, errors, printf } = winston.format
  const line =
    format === 'json'
      ? json()
      : printf(({ timestamp: at, level: severity, message, ...fields }) => {
          return `${String(at)} ${severity.padEnd(5)} ${String(message)} ${JSON.stringify(fields)}`
        })
  const scrubbed = winston.format((info) => {
    const text = info[MESSAGE]
    if (typeof text === 'string') info[MESSAGE] = scrub(text)
    return info
  })
  const log = winston.createLogger({ level, format: combine(errors({ stack: true }), timestamp(), line, scrubbed()) })
  log.pipe(linesTo(out, level))
  return log
}

/** Where winston puts the line that a format made. */
const MESSAGE = Symbol.for('message')

/** winston leaves it to its transports to drop what is below the level. */
function linesTo(out: NodeJS.WritableStream, level: LogSettings['level']): Writable {
  const { levels } = winston.config.npm
  return new Writable({
    objectMode: true,
    write(info: { readonly level: string; readonly [MESSAGE]: string }, _encoding, done) {
      if ((levels[info.level] ?? 0) > levels[level]) done()
      else
        out.write(`${info[MESSAGE]}\n`, () => {
          done()
        })
    },
  })
}

/**
 * Constant messages, variable fields: a log store can then group by message and search by field. error = a bug of
 * ours; warn = an operator should look today; info = what happened; debug = why.
 */
export function logTo(log: Log): Emit {
  return (event) => {
    log.log(levelOf(event), event.name, fieldsOf(event))
  }
}

function levelOf(event: Event): string {
  switch (event.name) {
    case 'loop.failed':
    case 'state.moved-aside':
      return 'error'
    case 'source.failed':
    case 'source.rewritten':
    case 'reports.failed':
    case 'slot.missed':
    case 'poll.failed':
      return 'warn'
    case 'provider.circuit':
      return event.openUntil === undefined ? 'info' : 'warn'
    case 'execution.ended':
      return event.execution.result === 'Success' || event.execution.result === 'Skipped' ? 'info' : 'warn'
    case 'task.changed':
      return 'endedAt' in event.task ? 'info' : 'debug'
    case 'source.unchanged':
      return 'debug'
    case 'config.problem':
    case 'execution.selected':
    case 'execution.started':
    case 'plan.applied':
    case 'reports.pushed':
    case 'run.waiting':
      return 'info'
    default:
      return event satisfies never
  }
}

/** What a search wants, and not the whole value: a task carries every blob of its image. */
function fieldsOf(event: Event): object {
  switch (event.name) {
    case 'execution.started':
      return { execution: event.execution.id, policy: event.execution.policyKey, cause: event.execution.cause }
    case 'execution.selected': {
      const { execution, tasks, sizeBytes, unsized } = event
      return { execution: execution.id, policy: execution.policyKey, tasks, sizeBytes, unsized }
    }
    case 'execution.ended': {
      const { id, policyKey, result, reason, selection, startedAt, endedAt } = event.execution
      return { execution: id, policy: policyKey, result, reason, selection, durationMs: endedAt - startedAt }
    }
    case 'task.changed': {
      const { id, provider, subject, state, attempts, error } = event.task
      const jobs = event.task.jobs.flatMap((job) => job.ids.slice(-1))
      return {
        task: id,
        provider,
        ...('file' in subject ? { file: subject.file } : { repository: subject.repository, digest: subject.digest }),
        state,
        attempts,
        jobs,
        error,
      }
    }
    case 'loop.failed':
      return {
        loop: event.loop,
        ...(event.error instanceof OperatorError && { code: event.error.code }),
        error: event.error instanceof Error ? (event.error.stack ?? event.error.message) : String(event.error),
      }
    case 'config.problem':
    case 'plan.applied':
    case 'poll.failed':
    case 'provider.circuit':
    case 'reports.failed':
    case 'reports.pushed':
    case 'run.waiting':
    case 'slot.missed':
    case 'source.failed':
    case 'source.rewritten':
    case 'source.unchanged':
    case 'state.moved-aside': {
      // winston would append a field called `message` to the message, by which logs are grouped.
      return Object.fromEntries(
        Object.entries(event).flatMap(([key, value]) =>
          key === 'name' ? [] : [[key === 'message' ? 'reason' : key, value]],
        ),
      )
    }
    default:
      return event satisfies never
  }
}
