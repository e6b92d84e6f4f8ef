import { execFile } from 'node:child_process'
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { cpus, loadavg, release } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { format } from 'prettier'
import { gitBinary, useOwnGit } from '../support/repository.ts'
import { benchDeliveries, type BurstLine } from './deliveries.ts'
import { benchEngine, Violation } from './engines.ts'
import type { Spread } from './measure.ts'
import { benchPolicies, type Measured } from './policies.ts'
import { deliveriesPart, policiesPart, resultsDocument, schedulesPart, withPart, type ResultLine } from './results.ts'
import { benchSchedules } from './schedules.ts'
import { scenariosOf, type Chosen } from './scenarios.ts'

const BENCHES = ['policies', 'schedules', 'engines', 'deliveries'] as const
const SCENARIOS = ['B1', 'B2', 'B3', 'B3p', 'B12'] as const
const LOST = ['gone', 'stuck'] as const
const USAGE = `usage: npm run bench -- [policies] [schedules] [engines] [deliveries] [--n N] [--out FILE] [--results]
  engines: [--scenario ${SCENARIOS.join('|')}]… [--smoke] [--scale S] [--repeats N] [--seed N] [--token-life SECONDS]
           [--lost gone|stuck] [--profile DIR]
  deliveries: n of them within a second; [--repeats N] [--seed N]; needs Debian's postgresql
`

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
        aim === undefined ? '' : `, aim for ${aim.policies}: ${seconds(aim.wallMs)} s, ${megabytes(aim.peakBytes)} MB`,
      ].join(''),
    )
    .join('\n')
}

/** What was asked for. */
interface Wanted {
  readonly benches: ReadonlySet<(typeof BENCHES)[number]>
  /** Policies, and schedules. */
  readonly declared: number
  readonly chosen: Chosen
  /** JSON lines are appended to it. */
  readonly out: string | undefined
  /** Makes RESULTS.md of all lines in `out`, or only of this run's. */
  readonly writesResults: boolean
  /** A folder for profiles of preheatd's processor time. */
  readonly profile: string | undefined
}

/** @returns undefined for what cannot be understood */
function readArguments(): Wanted | undefined {
  try {
    const { values, positionals } = parseArgs({
      options: {
        n: { type: 'string' },
        scenario: { type: 'string', multiple: true, default: [...SCENARIOS] },
        scale: { type: 'string' },
        repeats: { type: 'string' },
        seed: { type: 'string', default: '7' },
        'token-life': { type: 'string' },
        lost: { type: 'string', default: 'gone' },
        smoke: { type: 'boolean', default: false },
        out: { type: 'string' },
        results: { type: 'boolean', default: false },
        profile: { type: 'string' },
      },
      allowPositionals: true,
    })
    const number = (text: string | undefined) => {
      if (text === undefined) return undefined
      const value = Number(text)
      if (!Number.isFinite(value) || value <= 0) throw new Error(`${text} is no number`)
      return value
    }
    const n = number(values.n)
    if (n !== undefined && (!Number.isSafeInteger(n) || n > 99_999)) return undefined
    const benches = positionals.length === 0 ? BENCHES : BENCHES.filter((one) => positionals.includes(one))
    const scenarios = SCENARIOS.filter((one) => values.scenario.includes(one))
    const lost = LOST.find((one) => one === values.lost)
    const isUnderstood =
      benches.length >= positionals.length && scenarios.length === new Set(values.scenario).size && lost !== undefined
    if (!isUnderstood) return undefined
    return {
      benches: new Set(benches),
      declared: n ?? 10_000,
      chosen: {
        scenarios,
        smoke: values.smoke,
        seed: number(values.seed) ?? 7,
        lost,
        n,
        scale: number(values.scale),
        repeats: number(values.repeats),
        tokenLifeS: number(values['token-life']),
      },
      out: values.out,
      writesResults: values.results,
      profile: values.profile,
    }
  } catch {
    return undefined
  }
}

type Facts = Awaited<ReturnType<typeof machine>>
type Write = (line: object) => Promise<void>

async function runPolicies({ declared: n, writesResults }: Wanted, facts: Facts, write: Write): Promise<void> {
  process.stdout.write(`${n} policies; median (least–most); CPU is that of preheatd without git's\n`)
  const measured = await benchPolicies(n)
  process.stdout.write(`${table(measured)}\n`)
  const line = {
    scenario: 'policies',
    at: new Date().toISOString(),
    commit: await revision(),
    n,
    machine: facts,
    measured,
  }
  await write(line)
  if (writesResults) await writePart(policiesPart(line))
}

async function runSchedules({ declared: n, writesResults }: Wanted, facts: Facts, write: Write): Promise<void> {
  const measured = benchSchedules(n)
  const line = {
    scenario: 'schedules',
    at: new Date().toISOString(),
    commit: await revision(),
    n,
    machine: facts,
    measured,
  }
  await write(line)
  if (writesResults) await writePart(schedulesPart(line))
}

/** @returns whether every result is one that the bench accepts */
async function runEngines(
  { chosen, profile, out, writesResults }: Wanted,
  facts: Facts,
  write: Write,
): Promise<boolean> {
  const commit = await revision()
  const nodeArgs = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
  const lines: ResultLine[] = []
  let isGood = true
  for (const scenario of scenariosOf(chosen)) {
    try {
      await benchEngine(scenario, nodeArgs, async (run) => {
        const line = { ...run, at: new Date().toISOString(), commit, machine: { ...facts } }
        lines.push(line)
        await write(line)
      })
    } catch (error) {
      if (!(error instanceof Violation)) throw error
      isGood = false
      process.stderr.write(`not accepted: ${error.message}\n`)
    }
  }
  if (writesResults) await writePart(resultsDocument(out === undefined ? lines : await readLines(out)))
  return isGood
}

/** @returns whether every delivery was accepted and led to what it was about */
async function runDeliveries({ chosen, writesResults }: Wanted, facts: Facts, write: Write): Promise<boolean> {
  const commit = await revision()
  const lines: BurstLine[] = []
  try {
    await benchDeliveries({ n: chosen.n ?? 500, rounds: chosen.repeats ?? 5, seed: chosen.seed }, async (burst) => {
      const line = { ...burst, at: new Date().toISOString(), commit, machine: { ...facts } }
      lines.push(line)
      await write(line)
    })
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    process.stderr.write(`not accepted: ${error.message}\n`)
    return false
  }
  if (writesResults) await writePart(deliveriesPart(lines))
  return true
}

async function revision(): Promise<string> {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const asked = promisify(execFile)(await gitBinary(), ['-C', root, 'describe', '--always', '--dirty'])
  return await asked.then(
    ({ stdout }) => stdout.trim(),
    () => 'unknown',
  )
}

async function readLines(file: string): Promise<ResultLine[]> {
  const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line) as ResultLine).filter(({ scenario }) => scenario.startsWith('B'))
}

/** Puts a bench's part into RESULTS.md and leaves those of the others. */
async function writePart(part: string): Promise<void> {
  const file = fileURLToPath(new URL('RESULTS.md', import.meta.url))
  const document = withPart(await readFile(file, 'utf8'), part)
  await writeFile(file, await format(document, { parser: 'markdown' }))
}

async function main(): Promise<number> {
  const wanted = readArguments()
  if (wanted === undefined) {
    process.stderr.write(USAGE)
    return 64
  }
  const { benches, out } = wanted
  useOwnGit()
  const facts = await machine()
  process.stdout.write(
    `${facts.cores} × ${facts.cpu}, Linux ${facts.kernel}, Node ${facts.node}, git ${facts.git}; ` +
      `load before ${facts.load1m?.toFixed(2)}\n`,
  )
  if (out !== undefined) await mkdir(dirname(out), { recursive: true })
  const write = async (line: object) => {
    const text = `${JSON.stringify(line)}\n`
    process.stdout.write(text)
    if (out !== undefined) await appendFile(out, text)
  }
  if (benches.has('policies')) await runPolicies(wanted, facts, write)
  if (benches.has('schedules')) await runSchedules(wanted, facts, write)
  const areGood = [
    !benches.has('engines') || (await runEngines(wanted, facts, write)),
    !benches.has('deliveries') || (await runDeliveries(wanted, facts, write)),
  ]
  return areGood.includes(false) ? 1 : 0
}

process.exitCode = await main()
