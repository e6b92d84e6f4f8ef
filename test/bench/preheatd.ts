import { artifactsOf, PROJECT } from './artifacts.ts'
import type { Believed, Place } from './contenders.ts'
import { runToEnd, type EndedCommand } from './measure.ts'
import { engineOptionsOf, PER_SECOND, visibleMs, type Scenario } from './scenarios.ts'
import { openSite, policyYaml, resourceYaml, runYaml } from '../support/site.ts'

/** What preheatd did. */
export interface Ran {
  /** By its report, in the words of its states. */
  readonly believed: Believed
  readonly ended: EndedCommand
  /** When its process was started, since the epoch. */
  readonly startedAt: number
  /** On the branch of reports. */
  readonly commits: number
}

/**
 * `preheatd once --wait` as it was built: a process of its own, a git remote over http, the store on the disk. What is
 * declared is what its defaults say, but for the limits that would measure the limit: open artifacts, requests at once
 * and requests a second to the registry, and to the engine what the engine takes.
 */
export async function runPreheatd(scenario: Scenario, place: Place, nodeArgs: readonly string[]): Promise<Ran> {
  await using site = await openSite()
  const limited = scenario.engine === 'dragonfly'
  const perSecond = limited ? PER_SECOND * scenario.scale : 10_000
  await site.repository.commit({
    'registries/harbor.yaml': resourceYaml('Registry', 'harbor', {
      type: 'harbor',
      endpoint: place.registry,
      engineAuth: { type: scenario.tokenLifeS === undefined ? 'none' : 'token' },
      limits: { requestsPerSecond: 10_000, listConcurrency: 16, openArtifacts: 100_000 },
    }),
    'providers/stub.yaml': resourceYaml('Provider', 'stub', {
      vendor: 'dragonfly',
      endpoint: place.engine,
      default: true,
      limits: { submitsInFlight: limited ? 16 : 64, requestsPerSecond: perSecond },
      dragonfly: { pollSchedule: pollSchedule(scenario) },
    }),
    [`projects/${PROJECT}/all.yaml`]: policyYaml('all', {
      project: PROJECT,
      limits: { maxArtifacts: scenario.n },
      ...(scenario.faults && { retry: { attempts: 2, backoff: '500ms' } }),
    }),
    [`projects/${PROJECT}/run.yaml`]: runYaml('bench', `${PROJECT}/all`),
  })
  await site.configure({ concurrency: { requests: 256 } })
  const startedAt = Date.now()
  const ended = await runToEnd(['once', '--wait', '--config', site.configFile], nodeArgs)
  const files = await site.repository.files('preheat-reports').catch(() => ({}))
  const reports = Object.entries(files).filter(([path]) => path.startsWith('executions/'))
  if (reports.length !== 1) throw new Error(`preheatd wrote ${reports.length} reports and said:\n${ended.said}`)
  return {
    believed: believedOf(reports[0]![1], scenario.n),
    ended,
    startedAt,
    commits: await site.repository.countCommits('preheat-reports'),
  }
}

/** The ages at which the stub rewrites its rows; where its state is live, when the job is over, and doubling. */
function pollSchedule(scenario: Scenario): string[] {
  const { visibilityMs } = engineOptionsOf(scenario)
  const first = visibleMs(scenario)
  // A row is a little younger for who was told of it by an answer. From 10 s up preheatd allows for that itself.
  const margin = (visibilityMs?.[0] ?? first) >= 10_000 ? 0 : 20
  const ages = visibilityMs?.slice(0, 4) ?? [1, 2, 4, 8].map((times) => times * first)
  return ages.map((ms) => `${Math.ceil(ms) + margin}ms`)
}

// A report of ten thousand tasks is 7 MB of YAML in block style: its lines are read as they are written.
const LINE = /^\s+(repository|state): "?([\w/.-]+)"?$/

/** The state of each artifact by the report. */
function believedOf(report: string, n: number): Map<number, string> {
  const indices = new Map(artifactsOf(n).map(({ repository }, index) => [repository, index]))
  const believed = new Map<number, string>()
  let current: number | undefined
  for (const line of report.split('\n')) {
    const [, key, value = ''] = LINE.exec(line) ?? []
    if (key === 'repository') current = indices.get(value)
    if (key === 'state' && current !== undefined) {
      believed.set(current, value)
      current = undefined
    }
  }
  return believed
}
