import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Closers } from '../../src/closers.ts'
import { readerOf } from '../../src/commands/open.ts'
import { Daemon } from '../../src/daemon.ts'
import { openFolderSource } from '../../src/git/folder.ts'
import { openFolderPublisher } from '../../src/git/publish.ts'
import type { Candidate } from '../../src/model/candidate.ts'
import type { Event } from '../../src/model/events.ts'
import type { Publisher } from '../../src/model/source.ts'
import { DaemonOperations } from '../../src/operate.ts'
import type { Store } from '../../src/store/store.ts'
import { ManualClock } from './clock.ts'
import { candidate, EXAMPLE_AT } from './examples.ts'
import { MemoryEngine, MemorySource } from './ports.ts'
import { passed } from './pump.ts'
import { temporaryFolder } from './repository.ts'
import { policyYaml, resourceYaml } from './site.ts'
import { describeOnEachStore, watched, type NewPlace } from './stores.ts'

/** A daemon that runs, and what it runs on. */
export interface Place extends AsyncDisposable {
  readonly store: Store
  readonly clock: ManualClock
  readonly source: MemorySource
  readonly engine: MemoryEngine
  readonly publisher: Publisher
  readonly events: Event[]
  readonly daemon: Daemon
  readonly operations: DaemonOperations
  readonly policyFile: string
  /** Stops the daemon, and waits for its end. */
  stop(): Promise<void>
  /** Moves the clock from sleeper to sleeper until it is so. */
  until(isSo: () => boolean | Promise<boolean>): Promise<void>
  /** `Success of push app:v1`: what has ended, oldest first. */
  ended(): string[]
}

/** A daemon with a policy of this spec, and what its registry has. */
type NewDaemon = (spec: Readonly<Record<string, unknown>>, artifacts?: Candidate[]) => Promise<Place>

/** A suite about daemons on every store there is. */
export function describeDaemonsOnEachStore(suite: (place: NewDaemon) => void): void {
  describeOnEachStore((newPlace) => {
    suite((spec, artifacts = [candidate()]) => placeOn(newPlace, spec, artifacts))
  })
}

/** A daemon that runs, with a folder of configuration, and a registry and an engine in memory. */
async function placeOn(
  newPlace: NewPlace,
  spec: Readonly<Record<string, unknown>>,
  artifacts: Candidate[],
): Promise<Place> {
  const closers = new Closers()
  const folder = closers.use(await temporaryFolder())
  const config = {
    'registry.yaml': resourceYaml('Registry', 'harbor', { type: 'harbor', endpoint: 'https://harbor.example.com' }),
    'provider.yaml': resourceYaml('Provider', 'eu', { vendor: 'dragonfly', endpoint: 'https://dragonfly.example.com' }),
    'projects/library/release.yaml': policyYaml('release', { project: 'library', ...spec }),
  }
  for (const [path, text] of Object.entries(config)) {
    const file = join(folder.path, 'config', path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, text)
  }
  const clock = new ManualClock(EXAMPLE_AT)
  const state = closers.use(await newPlace())
  const { store, work } = watched(closers.use(await state.open()))
  const source = new MemorySource(artifacts)
  const engine = new MemoryEngine()
  const events: Event[] = []
  const publisher = openFolderPublisher(join(folder.path, 'reports'))
  const daemon = new Daemon({
    election: undefined,
    beat: () => undefined,
    source: openFolderSource(join(folder.path, 'config')),
    reader: readerOf({ source: { type: 'dir', dir: '', matchLabels: {}, intervalMs: 60_000 } } as never),
    publisher,
    store,
    drivers: { engine: () => Promise.resolve(engine), source: () => Promise.resolve(source) },
    clock,
    emit: (event) => events.push(event),
    random: () => 0,
    scrub: (text) => text,
    settings: {
      instance: 'test',
      intervalMs: 60_000,
      flushIntervalMs: 60_000,
      flushRestMs: 300_000,
      maxCommitsPerHour: 30,
      peers: 'counts',
      selections: 4,
      requests: 64,
      graceMs: 5_000,
    },
  })
  const stop = new AbortController()
  const running = daemon.run(stop.signal)
  const one: Place = {
    store,
    clock,
    source,
    engine,
    publisher,
    events,
    daemon,
    async stop() {
      stop.abort(new Error('the test is over'))
      await running
    },
    policyFile: join(folder.path, 'config', 'projects/library/release.yaml'),
    operations: new DaemonOperations(daemon, store, clock, 'test'),
    async until(isSo) {
      for (let moves = 0; moves < 20_000;) {
        if (await isSo()) return
        if (await passed(clock, work)) moves++
      }
      throw new Error('it never came to be so')
    },
    ended: () =>
      events.flatMap((event) =>
        event.name === 'execution.ended' ? `${event.execution.result} ${event.execution.cause.type}` : [],
      ),
    async [Symbol.asyncDispose]() {
      await one.stop()
      await closers[Symbol.asyncDispose]()
    },
  }
  await one.until(() => daemon.applied !== undefined)
  return one
}
