import { createHash } from 'node:crypto'
import {
  parseDigest,
  parseFileUrl,
  type Artifact,
  type Content,
  type Digest,
  type PlatformManifest,
} from '../../src/model/artifact.ts'
import type { Candidate } from '../../src/model/candidate.ts'
import type { Execution, Snapshot, Target } from '../../src/model/execution.ts'
import type { PreheatPolicy, Schedule } from '../../src/model/policy.ts'
import type { Provider } from '../../src/model/provider.ts'
import type { Registry } from '../../src/model/registry.ts'
import { resourceKey, type Located, type Resource } from '../../src/model/resource.ts'
import type { ArtifactRun, PolicyRun } from '../../src/model/run.ts'
import type { ArtifactOrder, FileOrder, OpenTask, Task } from '../../src/model/task.ts'

/** 2026-11-21T02:00:00Z, the instant of every example. */
export const EXAMPLE_AT = Date.parse('2026-11-21T02:00:00Z')

/** A digest of its own for every number or word. */
export function digest(of: number | string): Digest {
  return parseDigest(`sha256:${createHash('sha256').update(`${of}`).digest('hex')}`)
}

export function registry(overrides: Partial<Registry> = {}): Registry {
  return {
    kind: 'Registry',
    name: 'harbor',
    labels: {},
    type: 'harbor',
    endpoint: 'https://harbor.example.com',
    auth: { type: 'none' },
    engineEndpoint: 'https://harbor.example.com',
    engineAuth: { type: 'auto' },
    tls: {},
    limits: { requestsPerSecond: 20, listConcurrency: 4, openArtifacts: 300 },
    repositories: [],
    allowPlainHttp: false,
    webhook: undefined,
    ...overrides,
  }
}

export function provider(overrides: Partial<Provider> = {}): Provider {
  return {
    kind: 'Provider',
    name: 'dragonfly-eu',
    labels: {},
    vendor: 'dragonfly',
    endpoint: 'https://dragonfly-manager.example.com:8080',
    description: '',
    enabled: true,
    isDefault: false,
    auth: { type: 'none' },
    tls: {},
    projects: ['**'],
    platforms: [],
    cacheLifetimeMs: 5 * 3_600_000,
    limits: { submitsInFlight: 16, requestsPerSecond: 10 },
    dragonfly: {
      clusters: 'all',
      scope: 'single_seed_peer',
      timeoutMs: 3_600_000,
      pollScheduleMs: [30_000, 90_000, 210_000, 450_000],
      peers: {},
      requiredShare: 1,
      taskId: 'auto',
      options: {},
    },
    kraken: undefined,
    allowPlainHttp: false,
    ...overrides,
  }
}

export function policy(overrides: Partial<PreheatPolicy> = {}): PreheatPolicy {
  return {
    kind: 'PreheatPolicy',
    name: 'release-images',
    labels: {},
    description: '',
    enabled: true,
    registry: 'harbor',
    project: 'library',
    providers: [{ name: 'dragonfly-eu' }],
    providerSelector: undefined,
    suspend: undefined,
    filters: {
      repositories: ['**'],
      tags: ['**'],
      labels: [],
      exclude: { repositories: [], tags: [] },
      types: ['image', 'cnai'],
      newest: undefined,
    },
    artifacts: [],
    files: [],
    criteria: { signature: { mode: 'inherit' }, vulnerability: { mode: 'inherit' } },
    trigger: { type: 'manual' },
    platforms: [],
    refresh: 'missing',
    keepWarmMs: undefined,
    drift: { mode: 'off', intervalMs: 3_600_000 },
    limits: { maxArtifacts: 1000, maxBytes: undefined },
    retry: { attempts: 3, backoffMs: 5000 },
    timeoutMs: undefined,
    deadlineMs: undefined,
    ...overrides,
  }
}

/** A policy whose schedule is the given cron; in UTC unless the overrides say otherwise. */
export function scheduledPolicy(
  cron: string,
  overrides: Partial<PreheatPolicy> = {},
  timing: Partial<Schedule> = {},
): PreheatPolicy {
  const schedule: Schedule = {
    cron,
    timeZone: 'UTC',
    startingDeadlineMs: 3_600_000,
    catchUp: 'once',
    concurrency: 'forbid',
    spreadMs: 0,
    ...timing,
  }
  return policy({ trigger: { type: 'scheduled', schedule }, ...overrides })
}

export function preheatRun(overrides: Partial<PolicyRun> = {}): PolicyRun {
  return {
    kind: 'PreheatRun',
    name: 'hotfix-2026-11-21',
    labels: {},
    policy: 'library/release-images',
    reason: 'CVE-2026-1234 hotfix',
    refresh: undefined,
    expiresAt: undefined,
    digest: digest('run'),
    ...overrides,
  }
}

/** One with artifacts of its own: `app:v1`, at the default provider. */
export function artifactRun(overrides: Partial<ArtifactRun> = {}): ArtifactRun {
  const { policy: _, refresh, ...run } = preheatRun()
  const { name = run.name } = overrides
  return {
    ...run,
    ownPolicy: policy({
      name,
      artifacts: [{ name: 'app', reference: { tag: 'v1' } }],
      filters: { ...policy().filters, repositories: [], tags: [] },
    }),
    ...overrides,
  }
}

export function candidate(overrides: Partial<Candidate> = {}): Candidate {
  return {
    repository: 'library/app',
    name: 'app',
    digest: digest(1),
    tags: ['v1'],
    labels: [],
    type: 'image',
    pushedAt: undefined,
    children: [],
    signatures: undefined,
    scan: undefined,
    ...overrides,
  }
}

export function artifact(overrides: Partial<Artifact> = {}): Artifact {
  return { repository: 'library/app', digest: digest(1), tags: ['v1'], ...overrides }
}

/** An image that is no index. */
export function content(overrides: Partial<Content> = {}): Content {
  return { digest: digest(1), type: 'image', isIndex: false, manifests: [manifest()], absent: [], ...overrides }
}

/** One platform with a config and a layer. */
export function manifest(overrides: Partial<PlatformManifest> = {}): PlatformManifest {
  return {
    digest: digest(1),
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    platform: undefined,
    sizeBytes: 500,
    blobs: [
      { digest: digest('config'), sizeBytes: 1500 },
      { digest: digest('layer'), sizeBytes: 30_000_000 },
    ],
    ...overrides,
  }
}

export function order(overrides: Partial<ArtifactOrder> = {}): ArtifactOrder {
  return {
    taskId: '20261121T020000Z-3f9a1c07/1',
    engineEndpoint: 'https://harbor.example.com',
    repository: 'library/app',
    digest: digest(1),
    manifests: [manifest()],
    scope: 'single_seed_peer',
    clusters: undefined,
    timeoutMs: 3_600_000,
    ...overrides,
  }
}

export const EXAMPLE_FILE = parseFileUrl('https://models.example.com/llama.gguf')

export function fileOrder(overrides: Partial<FileOrder> = {}): FileOrder {
  const { taskId, scope, clusters, timeoutMs } = order()
  return { taskId, scope, clusters, timeoutMs, file: EXAMPLE_FILE, ...overrides }
}

/** What a task preheats, which is no file. */
export function artifactOf({ subject }: Pick<Task, 'subject'>): Artifact {
  if ('file' in subject) throw new TypeError(`${subject.file} is a file`)
  return subject
}

/** Its order likewise. */
export function artifactOrderOf({ order }: Pick<Task, 'order'>): ArtifactOrder {
  if ('file' in order) throw new TypeError(`${order.file} is a file`)
  return order
}

/** A task that nobody has touched yet; its order carries its id. */
export function task(overrides: Partial<OpenTask> = {}): OpenTask {
  const id = overrides.id ?? '20261121T020000Z-3f9a1c07/1'
  return {
    id,
    executionId: '20261121T020000Z-3f9a1c07',
    provider: 'dragonfly-eu',
    registry: 'harbor',
    subject: artifact(),
    platforms: [],
    sizeBytes: 30_001_500,
    order: order({ taskId: id }),
    ledgerKey: `dragonfly-eu library/app@${digest(1)}`,
    retry: { attempts: 3, backoffMs: 5000 },
    purpose: 'preheat',
    attempts: 0,
    jobs: [],
    startedAt: undefined,
    error: undefined,
    faults: 0,
    state: 'Pending',
    nextAt: EXAMPLE_AT,
    ...overrides,
  }
}

export function target(overrides: Partial<Target> = {}): Target {
  return { provider: provider(), scope: 'single_seed_peer', clusters: undefined, ...overrides }
}

export function snapshot(overrides: Partial<Snapshot> = {}): Snapshot {
  return {
    policy: policy(),
    registry: registry(),
    targets: [target()],
    refresh: 'missing',
    config: { commit: '4f2d'.repeat(10), author: 'Ada <ada@example.com>', subject: 'Preheat the release images' },
    ...overrides,
  }
}

type Selecting = Extract<Execution, { state: 'Selecting' }>

/** A scheduled execution that has just begun; spread it with another state's fields for a later one. */
export function execution(overrides: Partial<Selecting> = {}): Selecting {
  return {
    id: '20261121T020000Z-3f9a1c07',
    policyKey: 'PreheatPolicy/harbor/library/release-images',
    cause: { type: 'scheduled', slot: EXAMPLE_AT },
    at: EXAMPLE_AT,
    snapshot: snapshot(),
    startedAt: EXAMPLE_AT + 120,
    state: 'Selecting',
    ...overrides,
  }
}

/** The resource as if it were read from the first line of `file`. */
export function located<R extends Resource>(resource: R, file = 'example.yaml'): Located<R> {
  return { resource, key: resourceKey(resource), file, line: 1 }
}
