import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import ts from 'typescript'
import { killRun, RUN_SIZES } from './support/kill-run.ts'
import { useOwnGit } from './support/repository.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** Half of a run is waiting for other processes. */
const RUNS_AT_ONCE = 3

/** Faults, by id, in a few words; docs/faults.md has who wrote them down. */
const CATALOGUE: Readonly<Record<string, string>> = {
  K1: 'killed after selection, before it is on the disk',
  K2: 'killed after the intent, before the POST',
  K3: 'killed after the POST, before its answer',
  K4: 'killed after the answer, before it is on the disk',
  K5: 'killed with 10,000 jobs open',
  K6: 'killed with a report under way',
  K7: 'killed while the state is written',
  K8: 'locks and half files of a killed git',
  K9: 'SIGTERM with work in flight',
  K10: 'stopped for minutes, then continued',
  K11: 'out of memory, or a loop that does not turn',
  K12: 'two daemons on one state',
  G1: 'the remote is down for an hour',
  G2: 'a credential or host key is refused',
  G3: 'a branch is rewritten',
  G4: 'others push reports at once',
  G5: 'a branch is gone, a repository empty',
  G6: 'the disk is full',
  G7: 'the mirror is corrupt',
  G8: 'a fetch hangs, or never ends',
  G9: 'a hook refuses the push',
  G10: '10,000 policies change, then back',
  G11: 'submodules, filters and hooks',
  E1: '429 with and without Retry-After',
  E2: 'bursts of 5xx',
  E3: 'slow answers, large bodies',
  E4: 'a connection that breaks off',
  E5: 'a job that never ends',
  E6: 'a job id that is gone or another’s',
  E7: 'the manager restarts: PENDING for ever',
  E8: 'two policies want one digest',
  E9: 'SUCCESS without every blob',
  E10: 'an answer that makes no sense',
  E11: 'exists already; an engine token that expired',
  E12: 'an engine is away with 5,000 jobs open',
  E13: 'a pull token dies before the engine uses it',
  R1: 'odd challenges, foreign realms',
  R2: '429 in the middle of a listing',
  R3: 'artifacts come and go while they are listed',
  R4: '50,000 tags, 5,000 repositories',
  R5: 'a robot’s token dies, its password changes',
  R6: 'a tag moves before it is submitted',
  R7: 'a next page elsewhere, or in a circle',
  R8: 'a listing that is not whole',
  R9: 'missing children, nothing to preheat',
  P1: 'one broken file among many',
  P2: 'files that are made to exhaust a parser',
  P3: 'names that are, or look, the same',
  P4: 'unknown fields, wrong types',
  P5: 'links, submodules, hostile file names',
  P6: 'a policy’s name as a path',
  P7: 'patterns that never end',
  P8: 'cron that is none',
  P9: 'clocks change in spring and autumn',
  P10: 'the clock jumps',
  P11: 'policies deleted while they run, or by the thousand',
  S1: 'addresses inside the network',
  S2: 'secrets in whatever comes out',
  S3: 'webhooks without a right signature',
  S4: 'webhooks that are sent again',
  S5: 'bodies of a gigabyte, bombs',
  S6: 'slow, large and too many requests',
  S7: 'hostile names in metrics and logs',
  S8: 'options and protocols in git addresses',
}

/** A release has a test of each of these. */
const MUST_HAVE: ReadonlySet<string> = new Set('K3 K6 G4 G6 E4 E7 E9 E13 R3 R8 P1 P9 P10 S1 S2 S6'.split(' '))

interface Tested {
  readonly file: string
  readonly line: number
  readonly title: string
}

/** Titles of tests and groups, those that are skipped left out. */
function titlesOf(file: string, text: string): Tested[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  const found: Tested[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node)) {
      const [title] = node.arguments
      const callee = node.expression.getText(source)
      if (/\.(?:skip|todo)\b/.test(callee)) return
      if (/^(?:test|it|describe)\b/.test(callee) && title !== undefined && isTitle(title)) {
        const { line } = source.getLineAndCharacterOfPosition(title.getStart(source))
        found.push({ file, line: line + 1, title: title.getText(source).slice(1, -1) })
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

function isTitle(node: ts.Node): boolean {
  return ts.isStringLiteralLike(node) || ts.isTemplateExpression(node)
}

/** Tests by the fault that their titles name: `… [K3] [I4]`. */
async function testsByFault(): Promise<{ tests: ReadonlyMap<string, readonly Tested[]>; unknown: readonly Tested[] }> {
  const tests = new Map<string, Tested[]>()
  const unknown: Tested[] = []
  const folder = join(ROOT, 'test')
  const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.test.ts')).sort()
  for (const name of files) {
    const path = join(folder, name)
    for (const tested of titlesOf(relative(ROOT, path), await readFile(path, 'utf8'))) {
      for (const [, id = ''] of tested.title.matchAll(/\[([KGERPS]\d+)\]/g)) {
        if (id in CATALOGUE) tests.set(id, [...(tests.get(id) ?? []), tested])
        else unknown.push(tested)
      }
    }
  }
  return { tests, unknown }
}

function tableOf(tests: ReadonlyMap<string, readonly Tested[]>): string {
  const rows = Object.entries(CATALOGUE).map(([id, words]) => {
    const found = tests.get(id) ?? []
    const where = found[0] === undefined ? '—' : `${found[0].file}:${found[0].line}`
    const more = found.length > 1 ? ` and ${found.length - 1} more` : ''
    return `${MUST_HAVE.has(id) ? '*' : ' '} ${id.padEnd(4)}${words.padEnd(54)}${where}${more}`
  })
  return [...rows, '* a must-have'].join('\n')
}

/** Runs seeds one after another, some at once. @returns how many kills and violations; a run that fails is one of these */
async function killRuns(seeds: readonly number[]): Promise<{ kills: number; violations: number }> {
  const left = [...seeds]
  const sum = { kills: 0, violations: 0 }
  const work = async () => {
    for (let seed = left.shift(); seed !== undefined; seed = left.shift()) {
      const { kills, violations } = await killRun(seed, RUN_SIZES.short).catch((error: unknown) => ({
        kills: [],
        violations: [error instanceof Error ? (error.stack ?? error.message) : String(error)],
      }))
      sum.kills += kills.length
      sum.violations += violations.length
      say(`seed ${seed}: ${kills.length} kills, ${violations.length} violations`)
      if (violations.length > 0) say([...violations, `it was killed: ${kills.join(', ')}`].join('\n'))
    }
  }
  await Promise.all(Array.from({ length: RUNS_AT_ONCE }, work))
  return sum
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** @returns the exit code */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      list: { type: 'boolean', default: false },
      seeds: { type: 'string', default: '5' },
      from: { type: 'string', default: '1' },
    },
  })
  const [count, from] = [Number(values.seeds), Number(values.from)]
  if (!Number.isSafeInteger(count) || count < 1 || !Number.isSafeInteger(from)) {
    say('--seeds is a number of runs, at least 1, and --from the first seed')
    return 2
  }
  const { tests, unknown } = await testsByFault()
  const ids = Object.keys(CATALOGUE)
  const untested = ids.filter((id) => !tests.has(id))
  const lacking = untested.filter((id) => MUST_HAVE.has(id))
  say(tableOf(tests))
  say(`${ids.length - untested.length} of ${ids.length} faults have a test`)
  say(`without one: ${untested.join(' ') || 'none'}`)
  say(`must-haves: ${MUST_HAVE.size - lacking.length} of ${MUST_HAVE.size}`)
  if (lacking.length > 0) say(`must-haves without a test: ${lacking.join(' ')}`)
  for (const { file, line, title } of unknown) say(`no such fault: ${file}:${line} ${title}`)
  if (lacking.length > 0 || unknown.length > 0) return 1
  if (values.list) return 0

  const seeds = Array.from({ length: count }, (_, i) => from + i)
  const { kills, violations } = await killRuns(seeds)
  say(`${count} seeded runs, ${kills} kills, ${violations} violations of I1–I6`)
  return violations === 0 ? 0 : 1
}

useOwnGit()
process.exitCode = await main()
