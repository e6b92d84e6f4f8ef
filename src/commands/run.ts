import { setMaxListeners } from 'node:events'
import { changesOf } from '../changes.ts'
import { systemClock } from '../clock.ts'
import { Closers } from '../closers.ts'
import { LOOPS, type Daemon } from '../daemon.ts'
import { watchFolder } from '../git/folder.ts'
import { OperatorError } from '../model/errors.ts'
import type { Emit } from '../model/events.ts'
import { openNotifier } from '../notifier.ts'
import { logTo, openLog, type Log } from '../observe/log.ts'
import { Metrics } from '../observe/metrics.ts'
import { DaemonOperations } from '../operate.ts'
import type { Secrets } from '../secrets.ts'
import type { Heartbeats } from '../serve/heartbeats.ts'
import { heartbeatsOf, serve, type ServingPorts } from '../serving.ts'
import type { Settings } from '../settings.ts'
import { version } from '../version.ts'
import { watchFile } from '../watch-file.ts'
import { exit, type Exit, type Io } from './command.ts'
import { loadSettings, openDaemon, openSecretsOf, settingsFrom } from './open.ts'

/** The daemon. Ends when `stop` aborts, with nothing lost. A changed configuration is taken up under way. */
export async function run(configFile: string, io: Io, stop: AbortSignal): Promise<Exit> {
  let settings = await loadSettings(configFile, io)
  let former: Former | undefined
  for (;;) {
    const ended = await runUntilChanged(settings, former, configFile, io, stop)
    if (ended === undefined) return exit.ok
    settings = ended.next
    former = ended.former
  }
}

/** What became of settings before these. */
type Former =
  /** A daemon ran by them. */
  | { readonly are: 'proven'; readonly settings: Settings }
  /** None could be composed by them; they may still stand in the file. */
  | { readonly are: 'refused'; readonly settings: Settings }

/**
 * One composition of the daemon, from its start until `stop`, or until the file says what needs another one. What can be
 * taken up live is, and a file with problems changes nothing.
 * @param former proven ones are gone back to when these cannot be composed, as with a state folder that is not ours
 * @returns the settings to compose the next one by; undefined: it was stopped
 */
async function runUntilChanged(
  initial: Settings,
  former: Former | undefined,
  configFile: string,
  io: Io,
  stop: AbortSignal,
): Promise<{ readonly next: Settings; readonly former: Former } | undefined> {
  let settings = initial
  const secrets = openSecretsOf(settings, io)
  const logFor = ({ log: how }: Settings): Log => openLog(how, secrets.scrubber(), process.stderr)
  let log = logFor(settings)
  let announce = logTo(log)
  const heartbeats = heartbeatsOf(LOOPS)
  await using closers = new Closers()
  let composed: Composed
  try {
    composed = await compose(
      () => settings,
      secrets,
      heartbeats,
      {
        emit: (event) => {
          announce(event)
        },
        report: (what, error) => {
          log.error('part.failed', { what, error: words(error) })
        },
        listening: (what, address) => {
          log.info('http.listening', { what, address })
        },
      },
      closers,
    )
  } catch (error) {
    if (former?.are !== 'proven' || !(error instanceof OperatorError)) throw error
    log.error('config.refused', { code: error.code, reason: error.message })
    return { next: former.settings, former: { are: 'refused', settings: initial } }
  }
  const { daemon } = composed

  const change = new AbortController()
  const end = AbortSignal.any([stop, change.signal])
  setMaxListeners(0, end)
  let next: Settings | undefined
  const take = (text: string) => {
    if (end.aborted) return
    let after: Settings
    try {
      after = settingsFrom(text, configFile, io)
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error
      log.error('config.refused', { code: error.code, reason: error.message })
      return
    }
    if (former?.are === 'refused' && isSame(former.settings, after)) return
    const { live, needsRestart } = changesOf(settings, after)
    if (live.length === 0 && needsRestart.length === 0) return
    log.info('config.changed', { live, needsRestart })
    if (needsRestart.length > 0) {
      next = after
      change.abort(new Error('the configuration changed'))
      return
    }
    settings = after
    secrets.rebind(after.secrets)
    log = logFor(after)
    announce = logTo(log)
    daemon.nudge()
  }
  closers.use(await watchFile(configFile, take))
  const { source } = settings
  if (source.type === 'dir') {
    closers.use(
      watchFolder(source.dir, () => {
        daemon.nudge()
      }),
    )
  }
  log.info('daemon.started', {
    version,
    instance: settings.instance,
    source: source.type === 'dir' ? source.dir : source.url,
  })
  await daemon.run(end)
  log.info('daemon.stopped')
  return next === undefined || stop.aborted ? undefined : { next, former: { are: 'proven', settings } }
}

function isSame(before: Settings, after: Settings): boolean {
  const { live, needsRestart } = changesOf(before, after)
  return live.length === 0 && needsRestart.length === 0
}

interface Composed {
  readonly daemon: Daemon
}

/** The daemon with all that listens, and all that listens to it. */
async function compose(
  current: () => Settings,
  secrets: Secrets,
  heartbeats: Heartbeats,
  { emit: log, report, listening }: Pick<ServingPorts, 'report' | 'listening'> & { readonly emit: Emit },
  closers: Closers,
): Promise<Composed> {
  const settings = current()
  const listeners: Emit[] = [log]
  const emit: Emit = (event) => {
    for (const listener of listeners) listener(event)
  }
  const { daemon, store } = await openDaemon(
    current,
    secrets,
    emit,
    (loop) => {
      heartbeats.beat(loop)
    },
    closers,
  )
  const operations = new DaemonOperations(daemon, store, systemClock, settings.instance)
  const metrics = new Metrics({
    version,
    clock: systemClock,
    status: () => operations.status(),
    pulses: () => heartbeats.pulses(),
  })
  metrics.collectProcess()
  listeners.push(metrics.emit)
  const last = await store.lastExecutions()
  const notifier = closers.use(
    openNotifier(settings, {
      read: secrets.read,
      clock: systemClock,
      random: Math.random,
      scrub: secrets.scrubber(),
      applied: () => store.applied(),
      lastResults: new Map(last.map(({ execution }) => [execution.policyKey, execution.result])),
      onOutcome({ notification, kind, error }) {
        metrics.countNotification(notification, kind)
        if (error !== undefined) report(`notification ${notification}`, error)
      },
    }),
  )
  listeners.push((event) => {
    notifier.tell(event)
  })
  const ports = {
    settings,
    secrets,
    daemon,
    operations,
    store,
    clock: systemClock,
    heartbeats,
    metrics,
    report,
    listening,
  }
  await serve(ports, closers)
  return { daemon }
}

function words(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
