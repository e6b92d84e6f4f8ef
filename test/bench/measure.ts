import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

/**
 * Tells at the end of a process, on its file descriptor 3, what it used. `VmHWM` begins anew with the program; `maxRSS`
 * (for where there is no /proc) begins with what the process had that started it.
 */
const TELL = `data:text/javascript,${encodeURIComponent(`
import { readFileSync, writeSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
const delay = monitorEventLoopDelay({ resolution: 10 })
delay.enable()
process.on('exit', () => {
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage()
  let peakKib = maxRSS
  try {
    peakKib = Number(/VmHWM:\\s*(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1])
  } catch {}
  writeSync(3, JSON.stringify({ peakKib, cpuUs: userCPUTime + systemCPUTime, lagMs: delay.percentile(99) / 1e6 - 10 }))
})`)}`

/** What a command cost. */
export interface Cost {
  /** From the start of its process to its end. */
  readonly wallMs: number
  /** User and system, without that of the processes that it started. */
  readonly cpuMs: number
  /** Resident memory at its highest. */
  readonly peakBytes: number
  /** How late the event loop came round, 99 of 100 times at most. */
  readonly lagMs: number
}

/** A command that has ended, however it did. */
export interface EndedCommand extends Cost {
  readonly code: number | null
  /** Both of its streams. */
  readonly said: string
}

/**
 * Runs `preheatd` as it was built to its end.
 * @throws {Error} when that is not 0
 */
export async function measure(args: readonly string[]): Promise<Cost> {
  const ended = await runToEnd(args, [])
  if (ended.code !== 0) throw new Error(`preheatd ${args.join(' ')} ended with ${ended.code}\n${ended.said}`)
  return ended
}

/**
 * Runs `preheatd` as it was built to its end, whatever that is.
 * @param nodeArgs `--cpu-prof`
 */
export async function runToEnd(args: readonly string[], nodeArgs: readonly string[]): Promise<EndedCommand> {
  const startedAt = performance.now()
  const child = spawn(process.execPath, [...nodeArgs, '--import', TELL, CLI, ...args], {
    env: { PATH: process.env['PATH'] ?? '' },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  const told = text(child.stdio[3] as Readable)
  const streams = Promise.all([text(child.stdout!), text(child.stderr!)])
  const [code] = (await once(child, 'close')) as [number | null]
  const wallMs = performance.now() - startedAt
  const said = (await streams).join('')
  const { peakKib, cpuUs, lagMs } = JSON.parse((await told) || '{}') as Partial<Told>
  if (peakKib === undefined || cpuUs === undefined || lagMs === undefined)
    throw new Error(`preheatd ${args.join(' ')} was cut off with ${code}\n${said}`)
  return { wallMs, cpuMs: cpuUs / 1000, peakBytes: peakKib * 1024, lagMs: Math.max(0, lagMs), code, said }
}

interface Told {
  readonly peakKib: number
  readonly cpuUs: number
  readonly lagMs: number
}

/** The middle of several runs, and how far they lie apart. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  return { median: sorted[Math.floor(sorted.length / 2)]!, min: sorted[0]!, max: sorted.at(-1)! }
}
