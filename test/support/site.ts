import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parse, stringify } from 'yaml'
import { Closers } from '../../src/closers.ts'
import { FakeDragonfly, TOKEN, type DragonflyOptions } from '../doubles/dragonfly.ts'
import { GitServer } from '../doubles/git-server.ts'
import { FakeHarbor } from '../doubles/harbor.ts'
import type { BuiltImage } from './oci-images.ts'
import { temporaryFolder, type Repository } from './repository.ts'

/** What git asks for. */
export const GIT_PASSWORD = 'git-pässword/with+odd=characters'

/**
 * A place to run preheatd in: a config repository behind a password, a Dragonfly manager behind a token, a folder with
 * secrets and the daemon's own configuration. Everything is a real server; a test adds the registry.
 */
export interface Site extends AsyncDisposable {
  readonly root: string
  readonly gitServer: GitServer
  readonly repository: Repository
  readonly dragonfly: FakeDragonfly
  readonly configFile: string
  readonly stateDir: string
  /** Writes `preheatd.yaml` anew with these sections over the usual ones. */
  configure(overrides?: Readonly<Record<string, unknown>>): Promise<void>
  /** A secret as Kubernetes mounts it. */
  secret(name: string, keys: Readonly<Record<string, string>>): Promise<void>
  /** Hosts that a secret may be sent to. */
  bind(name: string, host: string): void
}

export async function openSite(dragonflyOptions: DragonflyOptions = {}): Promise<Site> {
  const closers = new Closers()
  const folder = closers.use(await temporaryFolder())
  const root = folder.path
  const gitServer = closers.use(await GitServer.start(join(root, 'git')))
  gitServer.auth = { type: 'basic', username: 'preheatd', password: GIT_PASSWORD }
  const repository = await gitServer.create('config.git')
  const dragonfly = closers.use(
    await FakeDragonfly.start({
      tokens: [{ token: TOKEN }],
      jobMs: 20,
      lookEveryMs: 50,
      ...dragonflyOptions,
    }),
  )
  const bindings: Record<string, { hosts: string[] }> = {
    git: { hosts: [new URL(gitServer.origin).host] },
    'dragonfly-eu': { hosts: [new URL(dragonfly.endpoint).host] },
  }
  const site: Site = {
    root,
    gitServer,
    repository,
    dragonfly,
    configFile: join(root, 'preheatd.yaml'),
    stateDir: join(root, 'data'),
    async configure(overrides = {}) {
      const document = {
        apiVersion: 'preheatd.io/v1alpha1',
        kind: 'DaemonConfig',
        metadata: { name: 'eu' },
        source: {
          url: gitServer.url('config.git'),
          ref: { branch: 'main' },
          interval: '1s',
          auth: { type: 'basic', secretRef: { name: 'git' } },
        },
        reports: { flushInterval: '1s' },
        secrets: { dir: join(root, 'secrets'), bindings },
        state: { dir: join(root, 'data') },
        http: { probes: '127.0.0.1:0', api: '127.0.0.1:0', webhooks: '127.0.0.1:0' },
        ...overrides,
      }
      await writeFile(site.configFile, stringify(document))
    },
    async secret(name, keys) {
      for (const [key, value] of Object.entries(keys)) {
        const path = join(root, 'secrets', name, key)
        await mkdir(dirname(path), { recursive: true })
        await writeFile(path, `${value}\n`)
      }
    },
    bind(name, host) {
      bindings[name] = { hosts: [...(bindings[name]?.hosts ?? []), host] }
    },
    [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
  }
  await site.secret('git', { username: 'preheatd', password: GIT_PASSWORD })
  await site.secret('dragonfly-eu', { token: TOKEN })
  return site
}

/** A site with a Harbor in which nothing is yet. */
export interface HarborSite extends AsyncDisposable {
  readonly site: Site
  readonly harbor: FakeHarbor
}

/** A Harbor and a provider that the first commit declares, beside these files, and a daemon's configuration. */
export async function openHarborSite(
  files: Readonly<Record<string, string>> = {},
  dragonflyOptions: DragonflyOptions = {},
): Promise<HarborSite> {
  const closers = new Closers()
  const site = closers.use(await openSite(dragonflyOptions))
  const harbor = closers.use(await FakeHarbor.start())
  await site.repository.commit({
    'registries/harbor.yaml': await addHarbor(site, harbor),
    'providers/dragonfly-eu.yaml': providerYaml(site),
    ...files,
  })
  await site.configure()
  return { site, harbor, [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose]() }
}

/** {@link openHarborSite} with one image in it: `team/app:v1`. */
export async function openAppSite(
  files: Readonly<Record<string, string>> = {},
  dragonflyOptions: DragonflyOptions = {},
): Promise<HarborSite & { readonly app: BuiltImage }> {
  const place = await openHarborSite(files, dragonflyOptions)
  return { ...place, app: await place.harbor.push({ project: 'team', repository: 'app', tags: ['v1'] }) }
}

/** A provider that is looked at every half second. */
export function providerYaml(site: Site, name = 'dragonfly-eu', spec: Readonly<Record<string, unknown>> = {}): string {
  return resourceYaml('Provider', name, {
    vendor: 'dragonfly',
    endpoint: site.dragonfly.endpoint,
    default: true,
    auth: { mode: 'oauth', secretRef: { name: 'dragonfly-eu' } },
    dragonfly: { pollSchedule: ['500ms', '1s', '2s', '4s'] },
    ...spec,
  })
}

export function resourceYaml(kind: string, name: string, spec: Readonly<Record<string, unknown>>): string {
  return stringify({ apiVersion: 'preheatd.io/v1alpha1', kind, metadata: { name }, spec })
}

export function policyYaml(name: string, spec: Readonly<Record<string, unknown>> = {}): string {
  return resourceYaml('PreheatPolicy', name, {
    filters: { repositories: ['**'], tags: ['**'] },
    trigger: { type: 'manual' },
    retry: { attempts: 3, backoff: '500ms' },
    ...spec,
  })
}

/** A run of a policy that never expires in a test's life. */
export function runYaml(name: string, policy: string, spec: Readonly<Record<string, unknown>> = {}): string {
  return resourceYaml('PreheatRun', name, {
    policy,
    reason: 'asked for by a test',
    expiresAt: '2099-01-01T00:00:00Z',
    ...spec,
  })
}

/** A Harbor whose robot account the site's secret `harbor-robot` holds, and its Registry as YAML. */
export async function addHarbor(
  site: Site,
  harbor: FakeHarbor,
  spec: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  await site.secret('harbor-robot', harbor.account)
  site.bind('harbor-robot', new URL(harbor.endpoint).host)
  return resourceYaml('Registry', 'harbor', {
    type: 'harbor',
    endpoint: harbor.endpoint,
    auth: { type: 'basic', secretRef: { name: 'harbor-robot' } },
    limits: { requestsPerSecond: 1000, listConcurrency: 16 },
    ...spec,
  })
}

/** What a test asks of a report; the schema has the rest. */
interface ReportDocument {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly policy: string
    readonly result: string
    readonly selection: { readonly digest: string; readonly selected: number }
    readonly tasks: readonly {
      readonly artifact: { readonly repository: string; readonly digest: string; readonly tags: readonly string[] }
      readonly state: string
      readonly evidence?: { readonly blobs: number; readonly of: number }
      readonly error?: { readonly code: string; readonly message: string }
    }[]
  }
}

export interface FiledReport {
  readonly path: string
  readonly text: string
  readonly report: ReportDocument
}

/** The execution reports on a branch. */
export async function reportsOn(repository: Repository, branch = 'preheat-reports'): Promise<FiledReport[]> {
  return Object.entries(await repository.files(branch))
    .filter(([path]) => path.startsWith('executions/'))
    .map(([path, text]) => ({ path, text, report: parse(text) as ReportDocument }))
}
