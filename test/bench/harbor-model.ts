/** The ages at which a Dragonfly manager rewrites a row, in seconds (manager/service/job.go `pollingJob`, v2.5.1). */
export const VISIBILITY_S: readonly number[] = [30, 90, 210, ...Array.from({ length: 12 }, (_, i) => 450 + 300 * i)]

/** What Harbor's preheat is up against; all in seconds. */
export interface Work {
  readonly n: number
  /** How long a job really takes. */
  readonly jobS: number
  /** Undefined: a row is true at once. */
  readonly visibilityS: readonly number[] | undefined
  /** How old a pull token may be when the job is done; undefined: the project is public. */
  readonly tokenLifeS: number | undefined
}

/** What is set in Harbor and fixed in its code; all in seconds. */
export interface HarborSettings {
  /** `max_job_workers`: for everything that Harbor does in the background. */
  readonly workers: number
  /** The ticker of a job. */
  readonly pollS: number
  /** From one task queued to the next. */
  readonly queueS: number
  /** What an idle worker sleeps before it looks into the queue. */
  readonly pickUpS: number
  /** Health and POST before the ticker starts, hooks after it. */
  readonly overheadS: number
}

export const HARBOR: HarborSettings = { workers: 10, pollS: 10, queueS: 0.02, pickUpS: 5, overheadS: 0.11 }

/** What becomes of one execution. */
export interface Modelled {
  readonly makespanS: number
  readonly succeeded: number
  /** Sent with a token that was dead before the pull was over. */
  readonly expired: number
  /** Jobs at the hard limit of 1,801 s. */
  readonly timedOut: number
  readonly requests: number
}

const LIMIT_S = 1801

/** Until the engine's row shows that a job has ended. */
export function visibleS({ jobS, visibilityS }: Pick<Work, 'jobS' | 'visibilityS'>): number {
  return visibilityS === undefined ? jobS : (visibilityS.find((age) => age >= jobS) ?? Infinity)
}

/**
 * One execution of a preheat policy in virtual time, as goharbor/harbor v2.16 does it: candidates are queued one after
 * another with the token that each will be sent with, a worker takes one, asks for health, submits, and looks at every
 * tick until it has ended; nothing is tried again. What the database costs is left out, in Harbor's favour.
 */
export function modelHarbor(work: Work, settings: HarborSettings): Modelled {
  const { workers, pollS, queueS, pickUpS, overheadS } = settings
  const visible = visibleS(work)
  const polls = Math.max(1, Math.ceil(Math.min(visible, LIMIT_S) / pollS))
  const freeAt = Array.from({ length: Math.min(workers, work.n) }, () => 0)
  let [makespanS, expired] = [0, 0]
  for (let i = 0; i < work.n; i++) {
    const mintedAt = i * queueS
    const worker = indexOfLeast(freeAt)
    const free = freeAt[worker]!
    // One that has just ended takes the next at once.
    const begin = free > 0 && free >= mintedAt ? free : mintedAt + pickUpS
    const end = begin + overheadS + polls * pollS
    freeAt[worker] = end
    makespanS = Math.max(makespanS, end)
    if (work.tokenLifeS !== undefined && begin + overheadS - mintedAt > work.tokenLifeS) expired += 1
  }
  const timedOut = visible > LIMIT_S ? work.n - expired : 0
  // Submitting to the job service, two hooks, health, POST and the looks.
  return { makespanS, succeeded: work.n - expired - timedOut, expired, timedOut, requests: work.n * (5 + polls) }
}

/** performance-and-faults.md §1.3: the same by one formula, for where the workers are what holds it up. */
export function formulaS(work: Work, { workers, pollS, pickUpS, overheadS }: HarborSettings): number {
  const cycle = overheadS + pollS * Math.max(1, Math.ceil(visibleS(work) / pollS))
  return pickUpS + Math.ceil(work.n / workers) * cycle
}

/** A script that submits `width` at a time and looks at each every `pollS` until it has ended. */
export function modelScript(work: Work, width: number, pollS: number, postS: number): number {
  return Math.ceil(work.n / width) * (postS + pollS * Math.max(1, Math.ceil(visibleS(work) / pollS)))
}

function indexOfLeast(values: readonly number[]): number {
  let least = 0
  for (let i = 1; i < values.length; i++) if (values[i]! < values[least]!) least = i
  return least
}
