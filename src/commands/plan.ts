import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { choose, type Choice } from '../execution/choose.ts'
import { CannotBegin, newExecution, openRuns } from '../begin.ts'
import { Closers } from '../closers.ts'
import { systemClock } from '../clock.ts'
import { openRevision } from '../git/revision.ts'
import type { LeftOut } from '../execution/select.ts'
import { scrubbed, type Drivers } from '../execution/loop.ts'
import { DeadlineError, withDeadline } from '../deadline.ts'
import type { Subject } from '../model/artifact.ts'
import type { Code } from '../model/codes.ts'
import { EdgeError, OperatorError } from '../model/errors.ts'
import { formatDuration, type Instant } from '../model/duration.ts'
import { policyAddress, type PreheatPolicy } from '../model/policy.ts'
import type { Provider } from '../model/provider.ts'
import { ofKind, ownPolicies, type Located } from '../model/resource.ts'
import { SourceError } from '../model/source.ts'
import { manifestsOf } from '../model/task.ts'
import { targetsOf } from '../model/targets.ts'
import { isEmpty, plan as makePlan, type Plan } from '../plan/plan.ts'
import type { EngineNote, Preview, PreviewItem } from '../plan/preview.ts'
import { renderJson } from '../plan/render/json.ts'
import { renderMarkdown } from '../plan/render/markdown.ts'
import { renderText, type Style } from '../plan/render/text.ts'
import type { PlanContext } from '../plan/render/words.ts'
import { readConfig } from '../reconcile.ts'
import { parseStatus } from '../report/status.ts'
import type { Applied, Store } from '../store/store.ts'
import { connectControl } from '../serve/client.ts'
import { exit, type Exit, type Io } from './command.ts'
import type { Settings } from '../settings.ts'
import { linesOf, type LineOf } from '../config/lines.ts'
import { ConfigReader } from '../config/reader.ts'
import { loadSettings, openDrivers, openLedgerOf, openPublisher, openSecretsOf, readerOf } from './open.ts'
import { userName } from './operator.ts'
import { loadFolder, problemsText } from './validate.ts'
import { scratchFolder } from './scratch.ts'

export interface PlanOptions {
  readonly base?: string
  readonly config?: string
  readonly detailedExitcode: boolean
  readonly output: 'text' | 'markdown' | 'json'
}

/** What a folder would change, and with a daemon's configuration what it would preheat. Applies nothing. */
export async function plan(dir: string, options: PlanOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  const now = systemClock.now()
  const settings = options.config === undefined ? undefined : await loadSettings(options.config, io)
  const reader = settings === undefined ? new ConfigReader() : readerOf(settings)
  const desired = await loadFolder(dir, reader, signal)
  const current = options.base === undefined ? undefined : await appliedAt(dir, options.base, reader, now, signal)
  const changes = makePlan(desired, current, now)
  const { previews, instance, warmth, engines } =
    settings === undefined ? OFFLINE : await preview(dir, changes, settings, now, io, signal)
  const context: PlanContext = { now, base: options.base, warmth, instance, engines }
  io.out(render(changes, previews, context, options.output, io))

  if (changes.problems.some(({ severity }) => severity === 'error')) {
    io.err(await problemsText(dir, desired, io))
    return exit.invalid
  }
  if (previews.some(({ error }) => error !== undefined)) return exit.failed
  return options.detailedExitcode && !isEmpty(changes) ? exit.changes : exit.ok
}

/**
 * What is in force once a revision of the folder's own repository has been applied.
 * @throws {OperatorError} PH4002 where there is no such revision
 */
async function appliedAt(
  dir: string,
  rev: string,
  reader: ConfigReader,
  now: Instant,
  signal: AbortSignal,
): Promise<Applied> {
  const tree = await openRevision(dir, rev, '.', signal).catch((error: unknown) => {
    if (!(error instanceof SourceError) || error.code !== 'PH4002') throw error
    const help = 'Name a revision of the repository that holds the folder, and fetch it first where it is a remote’s.'
    throw new OperatorError(error.code, error.message, { help, cause: error })
  })
  const config = await readConfig(tree, reader, signal)
  const { objects, problems } = makePlan(config, undefined, now)
  return { config: config.config, appliedAt: now, objects, problems }
}

interface Previews {
  readonly previews: readonly Preview[]
  readonly instance: string | undefined
  readonly warmth: string | undefined
  readonly engines: readonly EngineNote[]
}

const OFFLINE: Previews = { previews: [], instance: undefined, warmth: undefined, engines: [] }

/** For each engine, longer than any request of it. */
const ENGINE_MS = 40_000

/** What the policies that this plan touches would do now, with the daemon's credentials and what it knows to be warm. */
async function preview(
  dir: string,
  changes: Plan,
  settings: Settings,
  now: Instant,
  io: Io,
  signal: AbortSignal,
): Promise<Previews> {
  await using closers = new Closers()
  const secrets = openSecretsOf(settings, io)
  const drivers = closers.use(openDrivers(secrets))
  const memory = await memoryOf(settings, closers, signal)
  const warmth = memory?.name ?? (await reportedWarmth())

  const touched = new Set(changes.changes.filter(({ action }) => action !== 'delete').map(({ key }) => key))
  const retargeted = new Set(changes.retargeted.map(({ policy }) => policy))
  const runs = openRuns(changes, (await memory?.usedRuns()) ?? new Set(), now)
  const policies = [...ofKind(changes.objects, 'PreheatPolicy'), ...ownPolicies(runs)].filter(
    ({ key, resource }) => resource.enabled && (touched.has(key) || retargeted.has(policyAddress(resource))),
  )
  const scrub = secrets.scrubber()
  const previews: Preview[] = []
  for (const located of policies) {
    // What the plan was made of; a folder that changed meanwhile costs the line, and nothing else.
    const line = linesOf(await readFile(join(dir, located.file)).catch(() => undefined), located.line)
    const ports = { drivers, ledger: memory ?? COLD, now, scrub }
    previews.push(await previewOf(located, line, changes, ports, signal))
  }
  const engines = await askEngines(
    policies.map(({ resource }) => resource),
    ofKind(changes.objects, 'Provider').map(({ resource }) => resource),
    { drivers, scrub },
    signal,
  )
  return { previews, instance: settings.instance, warmth, engines }

  async function reportedWarmth(): Promise<string> {
    // Not the daemon's own mirror: it may be at work in it.
    const scratch = scratchFolder('plan')
    try {
      await using publisher = openPublisher(settings, secrets, scratch.name)
      const text = await publisher.read('status.yaml', signal)
      const seenAt = text === undefined ? undefined : lastLook(text, settings.instance)
      return seenAt === undefined
        ? 'unknown, since no ledger is at hand and status.yaml knows no evidence'
        : `unknown by image, since no ledger is at hand; the last evidence in status.yaml is ${formatDuration(Math.max(0, now - seenAt))} old`
    } catch (error) {
      if (!(error instanceof SourceError)) throw error
      return `unknown, since no ledger is at hand and status.yaml cannot be read (${error.code})`
    } finally {
      scratch.removeCallback()
    }
  }
}

/** Somebody who knows what is warm, and which runs are used up. */
interface Memory extends Pick<Store, 'warm' | 'usedRuns'> {
  /** In the words of the plan. */
  readonly name: string
}

/** The daemon that lives here, or what one has left; undefined where none ever lived. */
async function memoryOf(settings: Settings, closers: Closers, signal: AbortSignal): Promise<Memory | undefined> {
  const { dir, databaseUrl } = settings.state
  const daemon = await connectControl(dir, userName())
  if (daemon !== undefined) {
    closers.use(daemon)
    return {
      name: 'as the daemon that runs here knows',
      warm: (keys) => daemon.remembered(keys, signal),
      usedRuns: () => daemon.usedRuns(signal),
    }
  }
  const ledger = await openLedgerOf(settings)
  if (ledger === undefined) return undefined
  closers.use(ledger)
  const place = databaseUrl === undefined ? 'state folder' : 'database'
  return {
    name: `as the ledger of the ${place} says`,
    warm: (keys) => ledger.warm(keys),
    usedRuns: () => ledger.usedRuns(),
  }
}

const COLD: Pick<Store, 'warm'> = { warm: () => Promise.resolve([]) }

interface PreviewPorts {
  readonly drivers: Drivers
  readonly ledger: Pick<Store, 'warm'>
  readonly now: Instant
  /** Masks secrets that a registry sent back to us. */
  readonly scrub: (text: string) => string
}

async function previewOf(
  { resource: policy, file }: Located<PreheatPolicy>,
  line: LineOf,
  { config, objects }: Plan,
  { drivers, ledger, now, scrub }: PreviewPorts,
  signal: AbortSignal,
): Promise<Preview> {
  const empty = { policy: policyAddress(policy), registry: policy.registry, items: [], leftOut: [] }
  try {
    const { id, snapshot } = newExecution(
      policy,
      { type: 'manual', acceptedAt: now, by: 'plan' },
      now,
      undefined,
      { config, objects },
      now,
    )
    const source = await drivers.source(snapshot.registry)
    const choice = await choose(id, snapshot, 'preheat', { source, ledger, since: now, now }, signal)
    if (choice.kind === 'blocked') return { ...empty, blocked: { code: choice.code, message: choice.message } }
    return {
      ...empty,
      items: itemsOf({ ...choice, tasks: choice.tasks.map((task) => scrubbed(task, scrub)) }),
      leftOut: grouped(choice.leftOut, (rule) => {
        const field = fieldOf(rule, policy)
        return field === undefined ? '' : ` (${file}:${line(field)})`
      }),
    }
  } catch (error) {
    if (error instanceof EdgeError || error instanceof OperatorError)
      return { ...empty, error: { code: error.code, message: scrub(error.message) } }
    if (error instanceof CannotBegin) return { ...empty, error: { code: 'PH8007', message: error.message } }
    throw error
  }
}

/** Asks each provider of the policies once; one that cannot be asked is a note, because the plan is about the registry. */
async function askEngines(
  policies: readonly PreheatPolicy[],
  providers: readonly Provider[],
  { drivers, scrub }: Pick<PreviewPorts, 'drivers' | 'scrub'>,
  signal: AbortSignal,
): Promise<EngineNote[]> {
  const uses = policies.flatMap((policy) => {
    const targets = targetsOf(policy, providers)
    return targets.ok ? targets.targets : []
  })
  const ask = async (provider: Provider): Promise<EngineNote> => {
    const { name } = provider
    const failed = (code: Code, message: string): EngineNote => ({
      provider: name,
      ignored: [],
      doubtfulScopes: [],
      error: { code, message: scrub(message) },
    })
    try {
      const {
        version,
        ignored = [],
        doubtfulScopes = [],
      } = await withDeadline(ENGINE_MS, signal, async (during) => (await drivers.engine(provider)).abilities(during))
      const wanted = new Set(uses.filter((use) => use.provider.name === name).map(({ scope }) => scope))
      return { provider: name, version, ignored, doubtfulScopes: doubtfulScopes.filter((scope) => wanted.has(scope)) }
    } catch (error) {
      if (signal.aborted) throw signal.reason
      if (error instanceof EdgeError || error instanceof OperatorError) return failed(error.code, error.message)
      if (error instanceof DeadlineError) return failed('PH5001', error.message)
      throw error
    }
  }
  return await Promise.all(
    providers.filter(({ name, enabled }) => enabled && uses.some((use) => use.provider.name === name)).map(ask),
  )
}

function itemsOf({ tasks, skips }: Extract<Choice, { kind: 'chosen' }>): Preview['items'] {
  return [
    ...tasks.map(({ subject, provider, sizeBytes, order, error }) => ({
      ...named(subject),
      provider,
      action: 'preheat' as const,
      sizeBytes,
      blobs: manifestsOf(order).flatMap(({ blobs }) => blobs),
      reason: error === undefined ? 'not known warm' : `${error.code} ${error.message}`,
    })),
    ...skips.map(({ subject, provider, reason }) => ({
      ...named(subject),
      provider,
      action: 'skip' as const,
      sizeBytes: undefined,
      reason,
    })),
  ]
}

function named(subject: Subject): Pick<PreviewItem, 'reference' | 'tags' | 'digest'> {
  if ('file' in subject) return { reference: subject.file, tags: [], digest: undefined }
  const { repository, tags, digest } = subject
  return { reference: repository, tags, digest }
}

/** When evidence was last seen, as far as an instance has reported. */
function lastLook(status: string, instance: string): Instant | undefined {
  const own = parseStatus(status).find((section) => section.instance === instance)?.statuses ?? []
  const looks = own.flatMap(({ outcome }) =>
    outcome?.observedAt === undefined ? [] : [Date.parse(outcome.observedAt)],
  )
  return looks.length === 0 ? undefined : Math.max(...looks)
}

/** Where in a policy a rule stands; undefined: it is not the policy's, but the project's or the registry's. */
function fieldOf(rule: LeftOut['rule'], { criteria }: PreheatPolicy): string | undefined {
  const { signature, vulnerability } = criteria
  switch (rule) {
    case 'repository':
      return 'spec.filters.repositories'
    case 'exclude.repository':
      return 'spec.filters.exclude.repositories'
    case 'tag':
      return 'spec.filters.tags'
    case 'exclude.tag':
      return 'spec.filters.exclude.tags'
    case 'label':
      return 'spec.filters.labels'
    case 'type':
      return 'spec.filters.types'
    case 'newest':
      return 'spec.filters.newest'
    case 'platform':
      return 'spec.platforms'
    case 'named':
      return 'spec.artifacts'
    case 'signature':
      return ['required', 'verified'].includes(signature.mode) ? 'spec.criteria.signature' : undefined
    case 'vulnerability':
      return vulnerability.mode === 'below' ? 'spec.criteria.vulnerability' : undefined
    case 'untagged':
    case 'signature-tag':
    case 'gone':
      return undefined
    default:
      return rule satisfies never
  }
}

/**
 * One line a repository and rule: a registry has more tags than a reviewer has patience. `explain` has each tag.
 * @param place of a rule, as ` (projects/library/a.yaml:12)`
 */
function grouped(leftOut: readonly LeftOut[], place: (rule: LeftOut['rule']) => string): Preview['leftOut'] {
  const groups = new Map<string, { reference: string; reason: string; count: number }>()
  for (const { repository, rule, message } of leftOut) {
    const key = `${repository} ${rule}`
    const group = groups.get(key)
    if (group === undefined) groups.set(key, { reference: repository, reason: `${message}${place(rule)}`, count: 1 })
    else group.count++
  }
  return [...groups.values()]
}

function render(
  changes: Plan,
  previews: readonly Preview[],
  context: PlanContext,
  output: PlanOptions['output'],
  io: Io,
): string {
  if (output === 'json') return renderJson(changes, previews, context)
  if (output === 'markdown') return renderMarkdown(changes, previews, context)
  const { outColors: paint } = io
  const styles: Record<Style, (text: string) => string> = {
    create: paint.green,
    update: paint.yellow,
    delete: paint.red,
    heading: paint.bold,
    faint: paint.dim,
    trouble: paint.red,
  }
  return renderText(changes, previews, context, (style, text) => styles[style](text))
}
