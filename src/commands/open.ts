import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../clock.ts'
import type { Closers } from '../closers.ts'
import { ConfigReader } from '../config/reader.ts'
import { formatProblem } from '../config/render-problems.ts'
import { Daemon, type Loop } from '../daemon.ts'
import { OpenDrivers } from '../drivers.ts'
import { makeFolder } from '../folder.ts'
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
import { openEmbeddedStore, openLedger, usable } from '../store/embedded.ts'
import { openPostgresLedger, openPostgresStore, type SharedStore } from '../store/postgres.ts'
import type { Ledger, Store } from '../store/store.ts'
import { version } from '../version.ts'
import type { Io } from './command.ts'

/** @throws {OperatorError} PH8001 with every problem of the file */
export async function loadSettings(file: string, io: Io): Promise<Settings> {
  return settingsFrom(await textOf(file), file, io)
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
    throw new OperatorError('PH8001', `cannot read ${file} (${code})`, {
      help: 'Name the daemon’s configuration with --config or PREHEATD_CONFIG.',
    })
  }
}

/** The settings that a text of the file means. @throws {OperatorError} as {@link loadSettings} does */
export function settingsFrom(text: string, file: string, io: Io): Settings {
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

/** A daemon and its memory. */
export interface Composition {
  readonly daemon: Daemon
  readonly store: Store
}

/**
 * Opens everything that the settings name and composes it. What is opened is closed by `closers`, in reverse.
 * @param current the settings as they are now. Those that `changesOf` calls live are asked for at every use, the others
 *   here and once
 * @param beat told each time that one of its loops turns
 * @throws {OperatorError} for a state that is in use, unusable or another instance's
 */
export async function openDaemon(
  current: () => Settings,
  secrets: Secrets,
  emit: Emit,
  beat: (loop: Loop) => void,
  closers: Closers,
): Promise<Composition> {
  const settings = current()
  const { state, instance, concurrency, graceMs } = settings
  let replicas = 1
  const { store, shared } = await openState(settings, emit)
  closers.use(store)
  refuseOthers(await store.take(instance), settings)
  if (shared !== undefined)
    closers.use(
      await shared.join((workers) => {
        replicas = workers
      }),
    )
  const mirrors = join(state.dir, 'git')
  await usable(state.dir, () => makeFolder(mirrors, 0o700))
  const daemon = new Daemon({
    election: shared,
    beat,
    source: closers.use(openSource(settings, secrets, mirrors)),
    reader: readerOf(settings),
    publisher: closers.use(openPublisher(settings, secrets, mirrors)),
    store,
    drivers: closers.use(openDrivers(secrets, () => replicas)),
    clock: systemClock,
    emit,
    random: Math.random,
    scrub: secrets.scrubber(),
    settings: {
      instance,
      get intervalMs() {
        return current().source.intervalMs
      },
      get flushIntervalMs() {
        return current().reports.flushIntervalMs
      },
      get flushRestMs() {
        return current().reports.flushRestMs
      },
      get maxCommitsPerHour() {
        return current().reports.maxCommitsPerHour
      },
      get peers() {
        return current().reports.peers
      },
      selections: concurrency.selections,
      requests: concurrency.requests,
      graceMs,
    },
  })
  return { daemon, store }
}

/** The embedded store in the state folder, or the database that several share. */
async function openState(
  { state }: Settings,
  emit: Emit,
): Promise<{ readonly store: Store; readonly shared: SharedStore | undefined }> {
  if (state.databaseUrl !== undefined) {
    const shared = await openPostgresStore(state.databaseUrl.reveal())
    return { store: shared.store, shared }
  }
  const store = await openEmbeddedStore(state.dir, (aside) => {
    emit({ name: 'state.moved-aside', code: 'PH8011', ...aside })
  })
  return { store, shared: undefined }
}

/**
 * What is remembered, read beside whoever works by it; undefined where nothing has been applied yet.
 * @throws {OperatorError} PH8003 when it cannot be read; PH8014 when it is another instance's
 */
export async function openLedgerOf(settings: Settings): Promise<Ledger | undefined> {
  const { dir, databaseUrl } = settings.state
  const ledger = databaseUrl === undefined ? await openLedger(dir) : await openPostgresLedger(databaseUrl.reveal())
  if (ledger === undefined) return undefined
  try {
    refuseOthers(await ledger.instance(), settings)
  } catch (error) {
    await ledger[Symbol.asyncDispose]()
    throw error
  }
  return ledger
}

/** Schedules, warmth and reports of one instance are not another's. @param owner undefined: nobody's yet */
function refuseOthers(owner: string | undefined, { instance, state }: Settings): void {
  if (owner === undefined || owner === instance) return
  const place = state.databaseUrl === undefined ? `the state in ${state.dir}` : 'the state in the database'
  throw new OperatorError('PH8014', `${place} is of the instance ${owner}, and metadata.name is ${instance}`)
}

/** What reads it; what else than the commit decides about its meaning is the part of it that is looked at, and we. */
export function readerOf({ source }: Settings): ConfigReader {
  if (source.type === 'dir') return new ConfigReader(source.matchLabels, version)
  // One that nobody verified is looked at again once it has to be signed.
  const verified = source.signers === undefined ? '' : ' verified'
  return new ConfigReader(source.matchLabels, `${version} ${source.path}${verified}`)
}

/**
 * Where the configuration comes from.
 * @param mirrors the folder for its mirror; one that no other process uses
 */
export function openSource({ source }: Settings, secrets: Secrets, mirrors: string): Source {
  if (source.type === 'dir') return openFolderSource(source.dir)
  const { url, ref, path, auth, signers } = source
  return openGitSource({
    url,
    ref,
    path,
    dir: join(mirrors, 'source.git'),
    auth,
    read: secrets.read,
    signers: signers === undefined ? undefined : () => secrets.signers(signers),
  })
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

/** @param replicas how many daemons share the limits; a command of a person asks little */
export function openDrivers({ read, tls, tlsRevision }: Secrets, replicas: () => number = () => 1): OpenDrivers {
  return new OpenDrivers({ read, tls, tlsRevision, replicas, clock: systemClock, random: Math.random })
}

export function openSecretsOf({ secrets }: Settings, io: Io): Secrets {
  return openSecrets(secrets, io.env)
}
