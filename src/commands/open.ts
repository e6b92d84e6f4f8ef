import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../clock.ts'
import type { Closers } from '../closers.ts'
import { formatProblem } from '../config/render-problems.ts'
import { Daemon } from '../daemon.ts'
import { OpenDrivers } from '../drivers.ts'
import { openFolderSource } from '../git/folder.ts'
import { openGitSource } from '../git/mirror.ts'
import { openFolderPublisher, openGitPublisher } from '../git/publish.ts'
import { OperatorError } from '../model/errors.ts'
import type { Emit } from '../model/events.ts'
import type { Publisher, Source } from '../model/source.ts'
import { logTo, openLog } from '../observe/log.ts'
import { progressTo } from '../observe/progress.ts'
import { openSecrets, type Secrets } from '../secrets.ts'
import { readSettings, type Settings } from '../settings.ts'
import { openEmbeddedStore } from '../store/embedded.ts'
import type { Io } from './command.ts'

/** @throws {OperatorError} PH8001 with every problem of the file */
export async function loadSettings(file: string, io: Io): Promise<Settings> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
    throw new OperatorError('PH8001', `cannot read ${file} (${code})`, {
      help: 'Name the daemon’s configuration with --config or PREHEATD_CONFIG.',
    })
  }
  const read = readSettings(text, file, io.env)
  if (!read.ok) {
    for (const problem of read.problems) io.err(`${formatProblem(problem, text, io.errColors.isColorSupported)}\n`)
    throw new OperatorError(
      'PH8001',
      `${file} has ${read.problems.length} problem${read.problems.length === 1 ? '' : 's'}`,
    )
  }
  for (const warning of read.warnings) io.err(`warning: ${warning}\n`)
  return read.settings
}

/** What a command of a person announces: lines for eyes, or the daemon's own log where a machine reads along. */
export function emitFor(output: 'text' | 'json', settings: Settings, secrets: Secrets, io: Io): Emit {
  const scrub = secrets.scrubber()
  if (output === 'json') return logTo(openLog(settings.log, scrub, process.stderr))
  const { green, red, dim } = io.errColors
  return progressTo(
    (line) => {
      io.err(`${scrub(line)}\n`)
    },
    { good: green, bad: red, dim },
  )
}

/**
 * Opens everything that the settings name and composes it. What is opened is closed by `closers`, in reverse.
 * @throws {OperatorError} for a state folder that is in use or unusable
 */
export async function openDaemon(settings: Settings, secrets: Secrets, emit: Emit, closers: Closers): Promise<Daemon> {
  const { state, instance, source, reports, concurrency, graceMs } = settings
  const store = closers.use(await openEmbeddedStore(state.dir))
  const mirrors = join(state.dir, 'git')
  await mkdir(mirrors, { recursive: true, mode: 0o700 })
  return new Daemon({
    source: closers.use(openSource(settings, secrets, mirrors)),
    publisher: closers.use(openPublisher(settings, secrets, mirrors)),
    store,
    drivers: closers.use(openDrivers(secrets)),
    clock: systemClock,
    emit,
    random: Math.random,
    scrub: secrets.scrubber(),
    settings: {
      instance,
      intervalMs: source.intervalMs,
      flushIntervalMs: reports.flushIntervalMs,
      flushRestMs: reports.flushRestMs,
      maxCommitsPerHour: reports.maxCommitsPerHour,
      selections: concurrency.selections,
      requests: concurrency.requests,
      graceMs,
    },
  })
}

/**
 * Where the configuration comes from.
 * @param mirrors the folder for its mirror; one that no other process uses
 */
export function openSource({ source }: Settings, { read }: Secrets, mirrors: string): Source {
  if (source.type === 'dir') return openFolderSource(source.dir)
  const { url, branch, path, auth } = source
  return openGitSource({ url, branch, path, dir: join(mirrors, 'source.git'), auth, read })
}

/**
 * Where reports go.
 * @param mirrors the folder for its mirror; one that no other process uses
 */
export function openPublisher({ reports }: Settings, { read }: Secrets, mirrors: string): Publisher {
  if (reports.type === 'folder') return openFolderPublisher(reports.dir)
  const { url, branch, auth, author } = reports
  const dir = join(mirrors, 'reports.git')
  return openGitPublisher({ url, branch, dir, auth, read, author, clock: systemClock, random: Math.random })
}

export function openDrivers({ read, tls }: Secrets): OpenDrivers {
  return new OpenDrivers({ read, tls, clock: systemClock, random: Math.random })
}

export function openSecretsOf({ secrets }: Settings, io: Io): Secrets {
  return openSecrets(secrets, io.env)
}
