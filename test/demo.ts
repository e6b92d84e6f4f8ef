import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pc from 'picocolors'
import { parseDocument } from 'yaml'
import { Closers } from '../src/closers.ts'
import { nextSlot } from '../src/model/schedule.ts'
import { openLedger } from '../src/store/embedded.ts'
import { Condenser, DaemonLog, type Entry } from './demo/daemon-log.ts'
import { openDemoSite, type DemoSite } from './demo/site.ts'
import { cli, startCli, type RunningCli } from './support/cli.ts'
import type { BuiltImage } from './support/oci-images.ts'
import { git, useOwnGit } from './support/repository.ts'
import { reportsOn } from './support/site.ts'

const POLICY_FILE = 'projects/library/release-images.yaml'
const RELEASE = 'library/release-images'
const HOTFIX = 'library/base-images'
/** What the daemon takes at most to see a merged change, beside what commands take here. */
const TO_NOTICE_MS = 3_000
/** What a manual execution takes from commit to report; where there is as much time before the slot, it goes first. */
const TO_PREHEAT_MS = 14_000

const { bold, dim, green, red, cyan } = pc.createColors(process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '')

/** The main job, from a config repository to proven warmth and a report, with the CLI as it was built. */
async function demo(stop: AbortSignal): Promise<void> {
  const startedAt = Date.now()
  await using site = await openDemoSite()
  print(
    'Doubles run on this machine: a Harbor with real artifacts, the managers of two Dragonflies, and a git remote\n' +
      'that asks for a password. The config repository is policies-example/ with their addresses in it. The rest is\n' +
      'preheatd as it was built, a process of its own.',
  )

  heading('What CI runs before a change is merged')
  await preheatd(site, ['validate', 'policies'], stop)
  const planMs = await preheatd(site, ['plan', 'policies', '--config', 'preheatd.yaml'], stop, WITHOUT_FIELDS)

  heading('The daemon starts: first reconcile')
  await using closers = new Closers()
  const { running, log } = startDaemon(site, closers, stop)
  await log.find(0, 'the first commit is applied', 30_000, ({ message }) => message === 'plan.applied')
  await log.find(0, 'the branch of reports is begun', 15_000, ({ message }) => message === 'reports.pushed')

  heading('A schedule changes')
  // The next minute, unless a plan, a merge and a look at it could take longer than until then.
  const slot = Math.ceil((Date.now() + TO_NOTICE_MS + 2 * planMs) / 60_000) * 60_000
  await changeSchedule(site, slot, log, stop)

  const preheatHotfix = () => runCommitted(site, log)
  const preheatReleases = () => runScheduled(slot, log)
  const isEarly = slot - Date.now() > TO_PREHEAT_MS
  const executions = isEarly
    ? { hotfix: await preheatHotfix(), release: await preheatReleases() }
    : { release: await preheatReleases(), hotfix: await preheatHotfix() }

  heading('SIGTERM')
  running.process.kill('SIGTERM')
  const ended = await running.ended()
  await log
    .find(0, 'the daemon said goodbye', 1000, ({ message }) => message === 'daemon.stopped')
    .catch(() => undefined)
  check('the daemon ended with 0', ended.code === 0, ended.stderr)

  heading('What is in git now')
  await showReports(site, executions.hotfix)

  heading('What that proves')
  proveWarmth(site)
  const reports = await reportsOn(site.repository)
  for (const { report, text } of reports) {
    const { policy, result, tasks } = report.spec
    check(
      `the report of ${policy} says ${result}: evidence for every blob of ${tasks.length} tasks`,
      result === 'Success' &&
        tasks.every(({ state, evidence }) => state === 'Succeeded' && evidence?.blobs === evidence?.of),
      text,
    )
  }
  const reported = reports.map(({ report }) => report.metadata.name)
  check(
    'each of the two executions has one report, and there is no other',
    reported.sort().join() === Object.values(executions).sort().join(),
    reported.join(' '),
  )
  const seen = [ended.stderr, ended.stdout, ...Object.values(await site.repository.files('preheat-reports'))].join('\n')
  check('no password and no token is in the log or in a report', !site.secrets.some((one) => seen.includes(one)), '')
  print(`\n${green('All of it')} in ${Math.round((Date.now() - startedAt) / 1000)} s.`)
}

interface Filter {
  readonly command: string
  readonly hides: RegExp
}

const ALL: Filter = { command: '', hides: /(?!)/ }
/** Every field of a new object is a line of the plan. */
const WITHOUT_FIELDS: Filter = { command: ` | grep -v '^    +'`, hides: /^ {4}\+/ }

/** Runs a command to its end and shows what it says. @returns how long it took, in milliseconds */
async function preheatd(
  site: DemoSite,
  args: readonly string[],
  stop: AbortSignal,
  filter: Filter = ALL,
): Promise<number> {
  const startedAt = Date.now()
  command(`preheatd ${args.join(' ')}${filter.command}`)
  const { code, stdout, stderr } = await cli(args, site.env, site.root)
  stop.throwIfAborted()
  const lines = stdout.split('\n').filter((line) => !filter.hides.test(line))
  print(indented(lines.join('\n')))
  check(`preheatd ${args[0]} ends with 0`, code === 0, `${code}: ${stderr}`, 'silently')
  return Date.now() - startedAt
}

function startDaemon(site: DemoSite, closers: Closers, stop: AbortSignal): { running: RunningCli; log: DaemonLog } {
  command('preheatd run --config preheatd.yaml')
  const running = startCli(['run', '--config', 'preheatd.yaml'], site.env, site.root)
  closers.use({
    async [Symbol.asyncDispose]() {
      const timer = setTimeout(() => running.process.kill('SIGKILL'), 5000)
      running.process.kill('SIGTERM')
      await running.ended()
      clearTimeout(timer)
    },
  })
  const condenser = new Condenser()
  const show = (entry: Entry) => {
    const text = condenser.textOf(entry)
    const isBad = entry.level === 'warn' || entry.level === 'error'
    if (text !== undefined) print(`  ${dim(`${entry.timestamp.slice(11, 19)} │`)} ${isBad ? red(text) : text}`)
  }
  return { running, log: new DaemonLog(running, show, stop) }
}

/** Commits another schedule, shows the plan of it as a reviewer sees it, merges it and waits until it is in force. */
async function changeSchedule(site: DemoSite, slot: number, log: DaemonLog, stop: AbortSignal): Promise<void> {
  const file = join(site.checkout, POLICY_FILE)
  const document = parseDocument(await git(site.checkout, 'show', `HEAD:${POLICY_FILE}`))
  const cron = `${new Date(slot).getUTCMinutes()} * * * *`
  document.setIn(['spec', 'trigger', 'schedule', 'cron'], cron)
  await git(site.checkout, 'switch', '--quiet', '-c', 'hourly')
  await writeFile(file, String(document))
  await git(site.checkout, 'commit', '--quiet', '-am', 'Preheat releases every hour')
  await preheatd(site, ['plan', 'policies', '--base', 'origin/main'], stop)

  const before = await schedules(site)
  const since = log.length
  command('git push origin hourly:main')
  await git(site.checkout, 'push', '--quiet', 'origin', 'hourly:main')
  await log.find(since, 'the merged change is applied', 15_000, ({ message }) => message === 'plan.applied')
  const after = await schedules(site)
  const moved = [...after].filter(([key, state]) => before.get(key) !== state).map(([key]) => key)
  check(
    `of ${after.size} schedules, that of ${RELEASE} alone was armed anew`,
    moved.length === 1 && moved[0] === `PreheatPolicy/harbor/${RELEASE}` && before.size === after.size,
    moved.join(' '),
  )
  check(
    'it fires next when the commit says so',
    nextSlot({ cron, timeZone: 'Europe/Berlin' }, Date.now()) === slot,
    `${cron} at ${new Date().toISOString()}`,
    'silently',
  )
}

/** Where every schedule stands, read beside the daemon. */
async function schedules(site: DemoSite): Promise<Map<string, string>> {
  await using ledger = await openLedger(site.stateDir)
  const states = (await ledger?.schedules()) ?? []
  return new Map(states.map(({ policyKey, fingerprint, until }) => [policyKey, `${fingerprint} ${until}`]))
}

/** @returns the execution */
async function runCommitted(site: DemoSite, log: DaemonLog): Promise<string> {
  heading('Somebody asks for a run, by a commit')
  const { path, text } = site.run
  print(indented(withoutComments(text)))
  await git(site.checkout, 'switch', '--quiet', '-c', 'hotfix')
  await writeFile(join(site.checkout, path), text)
  await git(site.checkout, 'add', path)
  await git(site.checkout, 'commit', '--quiet', '-m', 'Preheat the rebuilt base images')
  const since = log.length
  command('git push origin hotfix:main')
  await git(site.checkout, 'push', '--quiet', 'origin', 'hotfix:main')
  return await untilReported(log, since, HOTFIX, 15_000)
}

/** @returns the execution */
async function runScheduled(slot: number, log: DaemonLog): Promise<string> {
  heading('The schedule fires')
  const leftMs = Math.max(0, slot - Date.now())
  print(dim(`  in ${Math.ceil(leftMs / 1000)} s, at ${new Date(slot).toISOString().slice(11, 16)} UTC`))
  return await untilReported(log, 0, RELEASE, leftMs + 15_000)
}

/** Waits until a policy's execution has begun, ended and been reported. */
async function untilReported(log: DaemonLog, since: number, policy: string, toBeginMs: number): Promise<string> {
  const isOf = (entry: Entry) => entry.policy?.endsWith(`/${policy}`) === true
  const begun = await log.find(
    since,
    `${policy} begins`,
    toBeginMs,
    (entry) => entry.message === 'execution.started' && isOf(entry),
  )
  const ended = await log.find(
    since,
    `${policy} ends`,
    30_000,
    (entry) => entry.message === 'execution.ended' && isOf(entry),
  )
  check(`${policy} ends in Success`, ended.result === 'Success', JSON.stringify(ended), 'silently')
  const pushed = ({ message, timestamp, reports = 0 }: Entry) =>
    message === 'reports.pushed' && reports > 0 && timestamp > ended.timestamp
  await log.find(since, `the report of ${policy} is pushed`, 15_000, pushed)
  return begun.execution!
}

/** Shows the branch of reports as anybody reads it, with the report of one execution. */
async function showReports(site: DemoSite, execution: string): Promise<void> {
  const branch = 'origin/preheat-reports'
  const shown = async (...args: string[]) => {
    command(`git ${args.join(' ')}`)
    const text = await git(site.checkout, ...args)
    print(indented(text))
    return text.trim().split('\n')
  }
  await git(site.checkout, 'fetch', '--quiet', 'origin')
  const paths = await shown('ls-tree', '-r', '--name-only', branch)
  const path = paths.find((one) => one.endsWith(`/${execution}.yaml`))
  check(`${execution} has its report`, path !== undefined, paths.join('\n'), 'silently')
  await shown('show', `${branch}:${path}`)
  await shown('show', `${branch}:README.md`)
}

/** Compares what was wanted with what the engines really hold, which is more than they tell the daemon. */
function proveWarmth({ engines, images: { shop, web, lint, debian, alpine } }: DemoSite): void {
  const amd64 = manifestsOf([shop, web, lint], ['linux/amd64'])
  const both = manifestsOf([shop, web, lint, debian, alpine], ['linux/amd64', 'linux/arm64'])
  const wanted = [
    { name: 'eu-1', engine: engines['dragonfly-eu'], cluster: 1, manifests: amd64 },
    { name: 'eu-2', engine: engines['dragonfly-eu'], cluster: 2, manifests: amd64 },
    { name: 'us-1', engine: engines['dragonfly-us'], cluster: 7, manifests: both },
  ]
  for (const { name, engine, cluster, manifests } of wanted) {
    const blobs = new Set(manifests.flatMap((manifest) => manifest.blobs.map(({ digest }) => digest)))
    const held = engine.cached(cluster)
    check(
      `cluster ${name} holds the ${blobs.size} blobs of the ${manifests.length} selected manifests, and no other`,
      blobs.size === held.size && [...blobs].every((blob) => held.has(blob)),
      `it holds ${[...held].join(' ')}`,
    )
  }
  const jobs = wanted.flatMap(({ engine, cluster }) =>
    engine.posts.filter(({ clusterIds }) => clusterIds?.includes(cluster)).map(({ url }) => `${cluster} ${url}`),
  )
  const due = wanted.reduce((sum, { manifests }) => sum + manifests.length, 0)
  check(
    `${jobs.length} jobs were submitted, one for each of them in each cluster, and none twice`,
    jobs.length === due && new Set(jobs).size === due,
    jobs.join('\n'),
  )
}

function manifestsOf(images: readonly BuiltImage[], platforms: readonly string[]): BuiltImage['manifests'] {
  return images.flatMap(({ manifests }) =>
    manifests.filter(({ platform }) => platform === undefined || platforms.includes(platform)),
  )
}

let headings = 0

function heading(text: string): void {
  print(`\n${bold(`${++headings}. ${text}`)}`)
}

function command(text: string): void {
  print(`\n  ${cyan(`$ ${text}`)}`)
}

/** @throws {Error} with the details when it is not so */
function check(fact: string, isSo: boolean, details: string, how: 'aloud' | 'silently' = 'aloud'): void {
  if (!isSo) throw new Error(`not so: ${fact}\n${details}`)
  if (how === 'aloud') print(`  ${green('✔')} ${fact}`)
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function indented(text: string): string {
  return text.trimEnd().replaceAll(/^(?=.)/gm, '  ')
}

function withoutComments(text: string): string {
  return text.replaceAll(/^ *#.*\n/gm, '')
}

/** By a person; not a failure to explain. */
class Stopped extends Error {
  override toString(): string {
    return `It was ${this.message}; nothing is left behind.`
  }
}

useOwnGit()
const stop = new AbortController()
process.exitCode = 1
for (const [name, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.on(name, () => {
    process.exitCode = code
    stop.abort(new Stopped(`stopped by ${name}`))
  })
}
// Whatever goes wrong beside the main line, processes and folders are cleaned up.
process.on('uncaughtException', (error) => {
  stop.abort(error)
})
// Who reads along may leave.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error) => {
    stop.abort(error)
  })
try {
  await demo(stop.signal)
  process.exitCode = 0
} catch (error) {
  const said = error instanceof Stopped || !(error instanceof Error) ? String(error) : error.stack
  process.stderr.write(`\n${red('The demo did not come to its end.')} ${said}\n`)
}
