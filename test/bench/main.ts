import { execFile } from 'node:child_process'
import { appendFile, mkdir } from 'node:fs/promises'
import { cpus, loadavg, release } from 'node:os'
import { dirname } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { gitBinary, useOwnGit } from '../support/repository.ts'
import type { Spread } from './measure.ts'
import { benchPolicies, type Measured } from './policies.ts'

const USAGE = 'usage: npm run bench -- policies [--n 1000] [--out FILE]\n'

/** What the numbers were measured on; the load is that of others, before. */
async function machine() {
  const { stdout } = await promisify(execFile)(await gitBinary(), ['--version'])
  return {
    cpu: cpus()[0]?.model.trim(),
    cores: cpus().length,
    kernel: release(),
    node: process.version,
    git: stdout.trim().split(' ')[2],
    load1m: loadavg()[0],
  }
}

/** A line for each thing: `validate   0.92 s (0.90–0.97)   …`. */
function table(measured: readonly Measured[]): string {
  const seconds = (ms: number) => (ms / 1000).toFixed(2)
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0)
  const spread = ({ median, min, max }: Spread, unit: string, text: (value: number) => string) =>
    `${text(median)} ${unit} (${text(min)}–${text(max)})`.padEnd(24)
  return measured
    .map(({ name, runs, wallMs, cpuMs, peakBytes, gitProcesses, aim }) =>
      [
        `  ${name.padEnd(26)}`,
        spread(wallMs, 's', seconds),
        `CPU ${spread(cpuMs, 's', seconds)}`,
        spread(peakBytes, 'MB', megabytes),
        `git ${gitProcesses}`.padEnd(8),
        `${runs} run${runs === 1 ? '' : 's'}`,
        aim === undefined ? '' : `, aim for 1,000: ${seconds(aim.wallMs)} s, ${megabytes(aim.peakBytes)} MB`,
      ].join(''),
    )
    .join('\n')
}

/** @returns undefined for what cannot be understood */
function readArguments(): { readonly n: number; readonly out: string | undefined } | undefined {
  try {
    const { values, positionals } = parseArgs({
      options: { n: { type: 'string', default: '1000' }, out: { type: 'string' } },
      allowPositionals: true,
    })
    const n = Number(values.n)
    return positionals.join() === 'policies' && Number.isSafeInteger(n) && n > 0 ? { n, out: values.out } : undefined
  } catch {
    return undefined
  }
}

async function main(): Promise<number> {
  const wanted = readArguments()
  if (wanted === undefined) {
    process.stderr.write(USAGE)
    return 64
  }
  const { n, out } = wanted
  useOwnGit()
  const facts = await machine()
  process.stdout.write(
    `${n} policies; ${facts.cores} × ${facts.cpu}, Linux ${facts.kernel}, Node ${facts.node}, git ${facts.git}; ` +
      `load before ${facts.load1m?.toFixed(2)}\n` +
      `median (least–most); CPU is that of preheatd without git's\n`,
  )
  const measured = await benchPolicies(n)
  process.stdout.write(`${table(measured)}\n`)
  const line = `${JSON.stringify({ scenario: 'policies', at: new Date().toISOString(), n, machine: facts, measured })}\n`
  process.stdout.write(line)
  if (out !== undefined) {
    await mkdir(dirname(out), { recursive: true })
    await appendFile(out, line)
  }
  return 0
}

process.exitCode = await main()
