import { EventEmitter, once } from 'node:events'
import { createInterface } from 'node:readline'
import type { RunningCli } from '../support/cli.ts'

/** A line of the daemon's log; which fields there are is told by `message`. */
export interface Entry {
  readonly message: string
  readonly timestamp: string
  readonly level: string
  readonly execution?: string
  readonly policy?: string
  readonly result?: string
  readonly cause?: { readonly type: string; readonly slot?: number; readonly run?: { readonly name: string } }
  readonly task?: string
  readonly tasks?: number
  readonly sizeBytes?: number
  readonly durationMs?: number
  readonly provider?: string
  readonly repository?: string
  readonly digest?: string
  readonly state?: string
  readonly jobs?: readonly string[]
  readonly error?: unknown
  readonly revision?: string
  readonly created?: number
  readonly updated?: number
  readonly deleted?: number
  readonly reports?: number
  readonly version?: string
  readonly instance?: string
}

/** The log of a daemon that runs, line by line. */
export class DaemonLog {
  readonly #entries: Entry[] = []
  readonly #arrivals = new EventEmitter()
  readonly #ended = new AbortController()
  readonly #stop: AbortSignal

  /** @param show is called with every line as it is written */
  constructor(running: RunningCli, show: (entry: Entry) => void, stop: AbortSignal) {
    this.#stop = stop
    createInterface({ input: running.process.stderr! }).on('line', (line) => {
      const entry = entryOf(line)
      this.#entries.push(entry)
      show(entry)
      this.#arrivals.emit('entry')
    })
    void running.ended().then(({ code, signal }) => {
      this.#ended.abort(new Error(`the daemon ended with ${signal ?? code}`))
    })
  }

  /** Where the log stands now, for {@link find}. */
  get length(): number {
    return this.#entries.length
  }

  /** The first line after a place of which this is true; waits for it. */
  async find(since: number, what: string, withinMs: number, isIt: (entry: Entry) => boolean): Promise<Entry> {
    const late = AbortSignal.timeout(withinMs)
    const signal = AbortSignal.any([late, this.#ended.signal, this.#stop])
    try {
      for (let place = since; ; place++) {
        while (place >= this.#entries.length) await once(this.#arrivals, 'entry', { signal })
        const entry = this.#entries[place]!
        if (isIt(entry)) return entry
      }
    } catch (error) {
      if (late.aborted) throw new Error(`not within ${withinMs / 1000} s: ${what}`, { cause: error })
      throw signal.reason
    }
  }
}

function entryOf(line: string): Entry {
  try {
    return JSON.parse(line) as Entry
  } catch {
    // What the command itself says, before and beside its log.
    return { message: line, timestamp: new Date().toISOString(), level: 'info' }
  }
}

/** Log lines as lines for a person; those that tell nothing new are left out. */
export class Condenser {
  readonly #tasks = new Map<string, string>()

  /** @returns undefined: there is nothing to see */
  textOf(entry: Entry): string | undefined {
    const text = textOf(entry)
    if (entry.task === undefined || text === undefined) return text
    if (this.#tasks.get(entry.task) === text) return undefined
    this.#tasks.set(entry.task, text)
    return text
  }
}

function textOf(entry: Entry): string | undefined {
  switch (entry.message) {
    case 'daemon.started':
      return `preheatd ${entry.version} runs as instance ${entry.instance}`
    case 'daemon.stopped':
      return 'stopped'
    case 'source.unchanged':
      return undefined
    case 'plan.applied':
      return `applied ${short(entry.revision)}: ${entry.created} created, ${entry.updated} updated, ${entry.deleted} deleted`
    case 'execution.started':
      return `${policyOf(entry)} began: ${causeOf(entry)}`
    case 'execution.selected':
      return `${policyOf(entry)} has ${entry.tasks} tasks, ${((entry.sizeBytes ?? 0) / 2 ** 20).toFixed(1)} MiB`
    case 'task.changed':
      return taskText(entry)
    case 'execution.ended':
      return `${policyOf(entry)} ended: ${entry.result}, after ${((entry.durationMs ?? 0) / 1000).toFixed(1)} s`
    case 'reports.pushed':
      return `pushed ${short(entry.revision)}${entry.reports === 0 ? '' : ` with the report`}`
    default:
      return entry.level === 'info' ? entry.message : JSON.stringify(entry)
  }
}

function taskText({ repository, digest, provider, state, jobs = [], error }: Entry): string | undefined {
  // Each job of a task is announced; what is of interest is that all of them run.
  if (state === 'Submitting' && error === undefined) return undefined
  const tail = [
    ...(jobs.length === 0 ? [] : [`job ${jobs.join(' and ')}`]),
    ...(error === undefined ? [] : [JSON.stringify(error)]),
  ]
  return `  ${repository}@${digest?.slice(0, 15)} → ${provider} ${[state, ...tail].join(', ')}`
}

function causeOf({ cause }: Entry): string {
  return cause?.slot === undefined
    ? `PreheatRun ${cause?.run?.name}`
    : `slot ${new Date(cause.slot).toISOString().slice(11, 16)} UTC`
}

function policyOf({ policy }: Entry): string {
  return policy?.split('/').slice(-2).join('/') ?? ''
}

function short(revision: string | undefined): string {
  return revision?.slice(0, 10) ?? ''
}
