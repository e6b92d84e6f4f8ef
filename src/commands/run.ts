import { Closers } from '../closers.ts'
import { watchFolder } from '../git/folder.ts'
import { logTo, openLog } from '../observe/log.ts'
import { version } from '../version.ts'
import { exit, type Exit, type Io } from './command.ts'
import { loadSettings, openDaemon, openSecretsOf } from './open.ts'

/** The daemon. Ends when `stop` aborts, with nothing lost. */
export async function run(configFile: string, io: Io, stop: AbortSignal): Promise<Exit> {
  const settings = await loadSettings(configFile, io)
  const secrets = openSecretsOf(settings, io)
  const log = openLog(settings.log, secrets.scrubber(), process.stderr)
  await using closers = new Closers()
  const daemon = await openDaemon(settings, secrets, logTo(log), closers)
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
  await daemon.run(stop)
  log.info('daemon.stopped')
  return exit.ok
}
