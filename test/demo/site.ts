import { readFile, mkdir, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMap, parseDocument, type Document } from 'yaml'
import { Closers } from '../../src/closers.ts'
import { nextSlot } from '../../src/model/schedule.ts'
import { FakeDragonfly, TOKEN } from '../doubles/dragonfly.ts'
import { GitServer } from '../doubles/git-server.ts'
import { FakeHarbor } from '../doubles/harbor.ts'
import type { BuiltImage } from '../support/oci-images.ts'
import { git, temporaryFolder, type Repository } from '../support/repository.ts'

const EXAMPLE = fileURLToPath(new URL('../../policies-example/', import.meta.url))
/** The example's request for a run; the demo commits it later than the rest. */
const RUN_FILE = 'projects/library/hotfix.yaml'
/** Its other one, of an image that the demo does not have. */
const OTHER_RUN_FILE = 'projects/library/rollback.yaml'
/** Schedules of the example that would fire so soon are put off, so that each demo shows the same. */
const QUIET_MS = 5 * 60_000

const GIT_PASSWORD = 'demo-git-password'
const US_TOKEN = 'ZGVtby1kcmFnb25mbHktdG9rZW4tb2YtdGhlLXVzLTAwMDI'

/** The world of the demo: servers, a folder, a clone of the config repository and the daemon's configuration. */
export interface DemoSite extends AsyncDisposable {
  /** Holds `policies/`, the clone, and `preheatd.yaml`. */
  readonly root: string
  readonly checkout: string
  readonly stateDir: string
  readonly repository: Repository
  readonly images: DemoImages
  readonly engines: Readonly<Record<'dragonfly-eu' | 'dragonfly-us', FakeDragonfly>>
  /** What the daemon and the commands get as their environment. */
  readonly env: Readonly<Record<string, string>>
  /** Nothing of these may ever be seen. */
  readonly secrets: readonly string[]
  /** The text of {@link RUN_FILE}, which is not in the repository yet. */
  readonly run: { readonly path: string; readonly text: string }
}

type DemoImages = Readonly<Record<'shop' | 'web' | 'lint' | 'debian' | 'alpine', BuiltImage>>

/** Starts everything; what was started is stopped when the site is disposed of, or when starting fails. */
export async function openDemoSite(): Promise<DemoSite> {
  const closers = new Closers()
  try {
    return await open(closers)
  } catch (error) {
    await closers[Symbol.asyncDispose]()
    throw error
  }
}

async function open(closers: Closers): Promise<DemoSite> {
  const root = closers.use(await temporaryFolder()).path
  const gitServer = closers.use(await GitServer.start(join(root, 'git')))
  gitServer.auth = { type: 'basic', username: 'preheatd', password: GIT_PASSWORD }
  const harbor = closers.use(await FakeHarbor.start())
  const images = await fill(harbor)
  // Looked at as a real manager looks at its jobs, 60 times as often.
  const pace = { jobMs: 700, looksMs: [0, 500, 1500, 3500, 7500] }
  const engines = {
    'dragonfly-eu': closers.use(
      await FakeDragonfly.start({
        ...pace,
        clusters: [
          { id: 1, name: 'eu-1' },
          { id: 2, name: 'eu-2' },
        ],
      }),
    ),
    'dragonfly-us': closers.use(
      await FakeDragonfly.start({ ...pace, tokens: [{ token: US_TOKEN }], clusters: [{ id: 7, name: 'us-1' }] }),
    ),
  }

  const endpoints = {
    harbor: harbor.endpoint,
    'dragonfly-eu': engines['dragonfly-eu'].endpoint,
    'dragonfly-us': engines['dragonfly-us'].endpoint,
  }
  const example = await readExample()
  const policies = Object.fromEntries(
    [...example].flatMap(([path, text]) =>
      path.startsWith('.preheatd/') ? [] : [[path, localized(text, endpoints, Date.now())]],
    ),
  )
  const { [RUN_FILE]: run, [OTHER_RUN_FILE]: _, ...first } = policies
  const repository = await gitServer.create('preheat.git')
  await repository.commit(first, { message: 'Preheat what library releases' })
  const checkout = join(root, 'policies')
  await git(root, 'clone', '--quiet', repository.dir, checkout)

  const bindings = {
    'git-read': gitServer.origin,
    'git-write': gitServer.origin,
    'harbor-robot': harbor.endpoint,
    'dragonfly-eu': engines['dragonfly-eu'].endpoint,
    'dragonfly-us': engines['dragonfly-us'].endpoint,
  }
  const config = parseDocument(example.get('.preheatd/preheatd.yaml')!)
  config.setIn(['source', 'url'], gitServer.url('preheat.git'))
  config.setIn(['source', 'interval'], '1s')
  config.setIn(['reports', 'flushInterval'], '1s')
  config.setIn(['secrets', 'dir'], join(root, 'secrets'))
  for (const [name, url] of Object.entries(bindings))
    config.setIn(['secrets', 'bindings', name, 'hosts'], [new URL(url).host])
  config.setIn(['state', 'dir'], join(root, 'data'))
  config.setIn(['http'], { probes: '127.0.0.1:0', api: '127.0.0.1:0', webhooks: '127.0.0.1:0' })
  // Submissions are announced there.
  config.setIn(['log', 'level'], 'debug')
  await writeFile(join(root, 'preheatd.yaml'), String(config))
  await writeSecrets(join(root, 'secrets'), {
    'git-read': { username: 'preheatd', password: GIT_PASSWORD },
    'git-write': { username: 'preheatd', password: GIT_PASSWORD },
    'harbor-robot': harbor.account,
    'dragonfly-us': { token: US_TOKEN },
  })

  return {
    root,
    checkout,
    stateDir: join(root, 'data'),
    repository,
    images,
    engines,
    env: { DRAGONFLY_EU_TOKEN: TOKEN },
    secrets: [GIT_PASSWORD, harbor.account.password, TOKEN, US_TOKEN],
    run: { path: RUN_FILE, text: run! },
    [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
  }
}

/** Real artifacts, some of them left out by every policy. */
async function fill(harbor: FakeHarbor): Promise<DemoImages> {
  const image = { project: 'library', layers: 3, layerBytes: 128 * 1024 }
  const platforms = ['linux/amd64', 'linux/arm64']
  const images = {
    shop: await harbor.push({ ...image, repository: 'shop', tags: ['v1.4.0', 'latest'], platforms, seed: 'shop' }),
    web: await harbor.push({ ...image, repository: 'web', tags: ['v2.1.0'], seed: 'web' }),
    lint: await harbor.push({ ...image, repository: 'tools/lint', tags: ['latest'], seed: 'lint' }),
    debian: await harbor.push({
      ...image,
      repository: 'base/debian',
      tags: ['12'],
      labels: ['approved'],
      platforms,
      seed: 'debian',
    }),
    alpine: await harbor.push({ ...image, repository: 'alpine', tags: ['3.22'], labels: ['approved'], seed: 'alpine' }),
  }
  await harbor.push({ ...image, repository: 'web', tags: ['v2.2.0-rc1'], seed: 'candidate' })
  await harbor.push({ ...image, repository: 'base/debian', tags: ['13'], seed: 'not approved' })
  // What a proxy cache would have fetched by now.
  const upstream = { ...image, project: 'dockerhub' }
  await harbor.push({ ...upstream, repository: 'library/nginx', tags: ['1.27'], seed: 'nginx' })
  await harbor.push({ ...upstream, repository: 'grafana/grafana', tags: ['11.3.0'], seed: 'grafana' })
  return images
}

async function readExample(): Promise<Map<string, string>> {
  const entries = await readdir(EXAMPLE, { recursive: true, withFileTypes: true })
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(EXAMPLE.length))
  return new Map(
    await Promise.all(files.map(async (path) => [path, await readFile(join(EXAMPLE, path), 'utf8')] as const)),
  )
}

/** A file of the example, aimed at the servers of the demo; all else of it stays, comments too. */
function localized(text: string, endpoints: Readonly<Record<string, string>>, now: number): string {
  const document = parseDocument(text)
  const name = String(document.getIn(['metadata', 'name']))
  switch (document.get('kind')) {
    case 'Registry':
      document.setIn(['spec', 'endpoint'], endpoints[name])
      document.setIn(['spec', 'engineEndpoint'], endpoints[name])
      break
    case 'Provider':
      document.setIn(['spec', 'endpoint'], endpoints[name])
      document.setIn(['spec', 'dragonfly', 'pollSchedule'], ['1s', '2s', '4s', '8s'])
      break
    case 'PreheatPolicy':
      putOff(document, now)
      break
    default:
      return text
  }
  return String(document)
}

/** Moves a schedule that fires soon by half an hour. */
function putOff(document: Document, now: number): void {
  const place = ['spec', 'trigger', 'schedule']
  const schedule = document.getIn(place)
  if (!isMap(schedule)) return
  const { cron, timeZone = 'UTC' } = schedule.toJSON() as { cron: string; timeZone?: string }
  const next = nextSlot({ cron, timeZone }, now)
  if (next === undefined || next > now + QUIET_MS) return
  const [, ...rest] = cron.split(' ')
  document.setIn([...place, 'cron'], [(new Date(next).getUTCMinutes() + 29) % 60, ...rest].join(' '))
}

async function writeSecrets(dir: string, secrets: Readonly<Record<string, object>>): Promise<void> {
  for (const [name, keys] of Object.entries(secrets)) {
    for (const [key, value] of Object.entries(keys)) {
      const file = join(dir, name, key)
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, String(value))
    }
  }
}
