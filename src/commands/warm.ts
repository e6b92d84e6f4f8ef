import tmp from 'tmp'
import { Closers } from '../closers.ts'
import { systemClock } from '../clock.ts'
import type { Engine } from '../engine/engine.ts'
import { choose } from '../execution/choose.ts'
import { nameFilter } from '../execution/select.ts'
import { nextStep, planned, probed } from '../execution/transition.ts'
import type { Digest } from '../model/artifact.ts'
import type { Candidate } from '../model/candidate.ts'
import type { Clock } from '../model/clock.ts'
import { formatDuration, formatInstant, type Instant } from '../model/duration.ts'
import { EdgeError, OperatorError } from '../model/errors.ts'
import type { Evidence } from '../model/evidence.ts'
import type { Target } from '../model/execution.ts'
import type { NamedArtifact, PreheatPolicy } from '../model/policy.ts'
import type { Provider } from '../model/provider.ts'
import type { Registry } from '../model/registry.ts'
import { ofKind, type Located } from '../model/resource.ts'
import { targetsOf } from '../model/targets.ts'
import { isSettled, type Job, type OpenTask, type Task } from '../model/task.ts'
import { readConfig } from '../reconcile.ts'
import type { ArtifactSource, ProjectRules } from '../registry/registry.ts'
import type { Secrets } from '../secrets.ts'
import type { Settings } from '../settings.ts'
import { openLedger, type Ledger } from '../store/embedded.ts'
import { exit, type Exit, type Io } from './command.ts'
import { loadSettings, openDrivers, openSecretsOf, openSource, readerOf } from './open.ts'

export interface WarmOptions {
  readonly config: string
  readonly provider?: string
  /** How long to wait for evidence; 0: what is known now. */
  readonly wait: number
  readonly output: 'text' | 'json'
}

/** `harbor.example.com/library/app:v1@sha256:…`, taken apart. */
export interface Reference {
  /** All of it before the tag: the host, if there is one, is still in front. */
  readonly name: string
  readonly tag: string | undefined
  readonly digest: Digest | undefined
}

/** How often the ledger is looked at while somebody waits. */
const LOOK_EVERY_MS = 1_000
/** How often an engine that showed too little is looked at again. */
const PROBE_EVERY_MS = 15_000
/** A look that an engine has begun is followed for this long, whether anybody waits or not. */
const PROBE_GRACE_MS = 30_000

const REFERENCE = /^([\w.:/[\]-]+?)(?::(\w[\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$/

/** Undefined for what names neither a tag nor a digest, or is no reference at all. */
export function parseReference(text: string): Reference | undefined {
  const [, name, tag, digest] = REFERENCE.exec(text) ?? []
  if (name === undefined || !/\/?[^/]$/.test(name) || (tag === undefined && digest === undefined)) return undefined
  return { name, tag, digest: digest as Digest | undefined }
}

/** Is an image warm, by what evidence, how old: a gate for a deploy. Submits nothing. */
export async function warm(reference: Reference, options: WarmOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  const settings = await loadSettings(options.config, io)
  await using closers = new Closers()
  const secrets = openSecretsOf(settings, io)
  const drivers = closers.use(openDrivers(secrets))
  const state = closers.use(new State(settings.state.dir))
  const scrub = secrets.scrubber()
  try {
    const objects = await declared(state, settings, secrets, signal)
    const place = placeOf(reference, objects)
    const source = await drivers.source(place.registry)
    const digest = reference.digest ?? (await resolve(place, source, signal))
    const asked = askedOf(place, options.provider, objects)
    const { candidates, reasons } = await candidatesOf(place, digest, asked, source, signal)
    const until = systemClock.now() + options.wait
    const answers = await Promise.all(
      asked.providers.map(async (provider): Promise<Answer> => {
        const tasks = candidates.filter((task) => task.provider === provider.name)
        const lookout = { provider, tasks, reason: reasons.get(provider.name), state, until, clock: systemClock }
        return answerOf(lookout, () => drivers.engine(provider), signal)
      }),
    )
    io.out(render({ place, digest, answers, now: systemClock.now() }, options.output, io, scrub))
    return answers.every((answer) => answer.warm) ? exit.ok : exit.failed
  } catch (error) {
    if (error instanceof EdgeError) throw new OperatorError(error.code, scrub(error.message))
    if (error instanceof OperatorError) {
      const help = error.help === undefined ? {} : { help: error.help }
      throw new OperatorError(error.code, scrub(error.message), help)
    }
    throw error
  }
}

/** What a daemon that may be alive knows; opened as soon as there is something to open. */
class State implements AsyncDisposable {
  readonly #dir: string
  #ledger: Ledger | undefined

  constructor(dir: string) {
    this.#dir = dir
  }

  async applied(): Promise<readonly Located[] | undefined> {
    return (await (await this.#open())?.applied())?.objects
  }

  async warm(keys: readonly string[]): ReturnType<Ledger['warm']> {
    return (await (await this.#open())?.warm(keys)) ?? []
  }

  async #open(): Promise<Ledger | undefined> {
    return (this.#ledger ??= await openLedger(this.#dir))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ledger?.[Symbol.asyncDispose]()
  }
}

/** What the daemon works by; where there is none, what its source declares now. */
async function declared(
  state: State,
  settings: Settings,
  secrets: Secrets,
  signal: AbortSignal,
): Promise<readonly Located[]> {
  const applied = await state.applied()
  if (applied !== undefined) return applied
  const scratch = tmp.dirSync({ unsafeCleanup: true, prefix: 'preheatd-warm' })
  try {
    await using source = openSource(settings, secrets, scratch.name)
    const tree = await source.fetch(await source.observe(signal), signal)
    return (await readConfig(tree, readerOf(settings), signal)).objects
  } finally {
    scratch.removeCallback()
  }
}

interface Place {
  readonly registry: Registry
  readonly repository: string
  readonly tag: string | undefined
  /** Policies whose filters cover it, disabled ones too: what they warmed is warm. */
  readonly policies: readonly PreheatPolicy[]
}

/** Which registry the reference means, and who has it preheated. */
function placeOf(reference: Reference, objects: readonly Located[]): Place {
  const registries = ofKind(objects, 'Registry').map(({ resource }) => resource)
  const policies = ofKind(objects, 'PreheatPolicy').map(({ resource }) => resource)
  const [first = '', ...rest] = reference.name.split('/')
  const places = (among: readonly Registry[], repository: string): Place[] =>
    among.map((registry) => ({
      registry,
      repository,
      tag: reference.tag,
      policies: policies.filter((policy) => covers(policy, registry, repository, reference)),
    }))

  const atHost = registries.filter(({ endpoint, engineEndpoint }) =>
    [endpoint, engineEndpoint].some((url) => new URL(url).host === first),
  )
  const named = rest.length > 0 && atHost.length > 0
  const found = named ? places(atHost, rest.join('/')) : places(registries, reference.name)
  if (!named && /[.:]/.test(first) && rest.length > 0 && found.every((one) => one.policies.length === 0)) {
    const hosts = registries.map(({ endpoint }) => new URL(endpoint).host).join(', ')
    throw new OperatorError('PH3001', `no declared Registry is at ${first}; there is ${hosts || 'none'}`)
  }
  const covered = found.filter((one) => one.policies.length > 0)
  const [only, ...others] = covered.length > 0 ? covered : found
  if (only === undefined) throw new OperatorError('PH3001', 'no Registry is declared')
  if (others.length > 0) {
    const names = [only, ...others].map(({ registry }) => registry.name).join(', ')
    throw new OperatorError('PH3017', `${reference.name} may be in the registries ${names}`, {
      help: 'Write the host of the registry before the repository.',
    })
  }
  return only
}

/** By the name filters, where a reference without a tag is covered under any, or because the policy names it. */
function covers(
  { registry, project, filters, artifacts }: PreheatPolicy,
  { name }: Registry,
  repository: string,
  { tag, digest }: Reference,
): boolean {
  const prefix = project === undefined ? '' : `${project}/`
  if (registry !== name || !repository.startsWith(prefix)) return false
  const named = artifacts.filter((one) => one.name === repository.slice(prefix.length))
  const isMeant = ({ reference }: NamedArtifact) =>
    'tag' in reference
      ? tag === undefined || reference.tag === tag
      : digest === undefined || reference.digest === digest
  if (named.some(isMeant)) return true
  const anyTag = { ...filters, tags: ['**'], exclude: { ...filters.exclude, tags: [] } }
  return nameFilter(tag === undefined ? anyTag : filters)(repository.slice(prefix.length), tag ?? 'latest')
}

async function resolve(
  { registry, repository, tag = 'latest' }: Place,
  source: ArtifactSource,
  signal: AbortSignal,
): Promise<Digest> {
  const digest = await source.resolve(repository, tag, signal)
  if (digest !== undefined) return digest
  throw new OperatorError('PH6003', `registry ${registry.name} has no ${repository}:${tag}`)
}

interface Asked {
  readonly providers: readonly Provider[]
  /** How they are reached, by the policies that do. */
  readonly routes: readonly { readonly policy: PreheatPolicy; readonly targets: readonly Target[] }[]
}

/** Which providers have to have it. */
function askedOf(
  { registry, repository, policies }: Place,
  named: string | undefined,
  objects: readonly Located[],
): Asked {
  const providers = ofKind(objects, 'Provider').map(({ resource }) => resource)
  if (named !== undefined && !providers.some(({ name }) => name === named))
    throw new OperatorError('PH3002', `no provider is called ${named}`)
  const routes = policies.flatMap((policy) => {
    const targets = targetsOf(policy, providers)
    return targets.ok ? [{ policy, targets: targets.targets }] : []
  })
  const enabled = routes.filter(({ policy }) => policy.enabled).flatMap(({ targets }) => targets)
  const wanted =
    named === undefined
      ? new Set(enabled.filter(({ provider }) => provider.enabled).map(({ provider }) => provider.name))
      : new Set([named])
  const isReached = (name: string) =>
    routes.some(({ targets }) => targets.some(({ provider }) => provider.name === name))
  if (wanted.size > 0 && [...wanted].every(isReached))
    return { providers: providers.filter(({ name }) => wanted.has(name)), routes }
  const policy = anyPolicy(registry, repository, named)
  const targets = targetsOf(policy, providers)
  if (!targets.ok) throw new OperatorError(targets.code, targets.message)
  return {
    providers: targets.targets.map(({ provider }) => provider),
    routes: [...routes, { policy, targets: targets.targets }],
  }
}

/** Where no policy speaks of it: the image as a whole, as the provider would have it. */
function anyPolicy({ name }: Registry, repository: string, provider: string | undefined): PreheatPolicy {
  return {
    kind: 'PreheatPolicy',
    name: 'warm',
    labels: {},
    description: '',
    enabled: true,
    registry: name,
    project: repository.includes('/') ? repository.split('/')[0] : undefined,
    providers: provider === undefined ? [] : [{ name: provider }],
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
    criteria: { signature: { mode: 'ignored' }, vulnerability: { mode: 'ignored' } },
    trigger: { type: 'manual' },
    platforms: [],
    refresh: 'always',
    keepWarmMs: undefined,
    drift: { mode: 'off', intervalMs: 0 },
    limits: { maxArtifacts: 1, maxBytes: undefined },
    retry: { attempts: 0, backoffMs: 0 },
    timeoutMs: undefined,
    deadlineMs: undefined,
  }
}

/**
 * The tasks that the daemon would make of this one image: they know under which key warmth is remembered and what an
 * engine has to be asked for. Chosen by the daemon's own rules, from a listing of this image alone.
 */
async function candidatesOf(
  { registry, repository, tag }: Place,
  digest: Digest,
  { providers, routes }: Asked,
  source: ArtifactSource,
  signal: AbortSignal,
): Promise<{ readonly candidates: readonly Task[]; readonly reasons: ReadonlyMap<string, string> }> {
  const candidates = new Map<string, Task>()
  const reasons = new Map<string, string>()
  for (const { policy, targets } of routes) {
    const asked = targets.filter(
      ({ provider }) => provider.enabled && providers.some(({ name }) => name === provider.name),
    )
    if (asked.length === 0) continue
    // Of the policy itself only what decides how the image goes there. A task that fell short ends: nothing is submitted.
    const any = anyPolicy(registry, repository, undefined)
    const { project, platforms, timeoutMs } = policy
    const name = project === undefined ? repository : repository.slice(project.length + 1)
    // What a policy names is wanted of whatever type.
    const isNamed = policy.artifacts.some((one) => one.name === name)
    const filters = { ...any.filters, types: isNamed ? (['any'] as const) : policy.filters.types }
    const snapshot = {
      policy: { ...any, project, platforms, timeoutMs, filters },
      registry,
      targets: asked,
      refresh: 'always' as const,
      config: { commit: '', author: '', subject: '' },
    }
    const candidate = { ...UNTOLD, repository, name, digest, tags: [tag ?? 'latest'] }
    const now = systemClock.now()
    const choice = await choose(
      'warm',
      snapshot,
      'preheat',
      {
        source: alone(candidate, source),
        ledger: { warm: () => Promise.resolve([]) },
        since: now,
        now,
      },
      signal,
    )
    if (choice.kind === 'blocked') continue
    for (const task of choice.tasks) candidates.set(task.ledgerKey, task)
    for (const { message } of choice.leftOut) for (const { provider } of asked) reasons.set(provider.name, message)
  }
  return { candidates: [...candidates.values()], reasons }
}

/** What a listing would tell, and nobody asks for here. */
const UNTOLD = {
  labels: undefined,
  type: undefined,
  pushedAt: undefined,
  children: [],
  signatures: undefined,
  scan: undefined,
}

const NO_RULES: ProjectRules = {
  signatures: [],
  severity: undefined,
  allowlist: { ids: [], expiresAt: undefined },
  isProxyCache: false,
}

/** A source that lists one artifact and demands nothing of it: the question is where it is, not whether it may go. */
function alone(candidate: Candidate, source: ArtifactSource): ArtifactSource {
  return {
    list: () => Promise.resolve([candidate]),
    projectRules: () => Promise.resolve(NO_RULES),
    content: (repository, digest, signal) => source.content(repository, digest, signal),
    identify: (signal) => source.identify(signal),
    sample: (project, signal) => source.sample(project, signal),
    resolve: (repository, tag, signal) => source.resolve(repository, tag, signal),
    authorize: (repository, signal) => source.authorize(repository, signal),
    signatureKinds: (repository, digest, signal) => source.signatureKinds(repository, digest, signal),
    signatures: (repository, digest, signal) => source.signatures(repository, digest, signal),
    vulnerabilities: (repository, digest, signal) => source.vulnerabilities(repository, digest, signal),
    pullThrough: (repository, reference, signal) => source.pullThrough(repository, reference, signal),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

interface Answer {
  readonly provider: string
  readonly warm: boolean
  readonly evidence: Evidence | undefined
  /** Who said so. */
  readonly from: 'ledger' | 'probe' | undefined
  /** Why it is not known warm. */
  readonly reason: string | undefined
}

interface Lookout {
  readonly provider: Provider
  readonly tasks: readonly Task[]
  /** Why there are no tasks. */
  readonly reason: string | undefined
  readonly state: State
  readonly until: Instant
  readonly clock: Clock
}

/** Looks at the ledger and, where that knows nothing fresh, at the engine, until one of them shows it or time is up. */
async function answerOf(lookout: Lookout, open: () => Promise<Engine>, signal: AbortSignal): Promise<Answer> {
  const { provider, tasks, state, clock } = lookout
  const cold = (reason: string): Answer => ({
    provider: provider.name,
    warm: false,
    evidence: undefined,
    from: undefined,
    reason,
  })
  const found = (evidence: Evidence, from: 'ledger' | 'probe'): Answer => ({
    provider: provider.name,
    warm: true,
    evidence,
    from,
    reason: undefined,
  })
  if (!provider.enabled) return cold('the provider is disabled')
  if (tasks.length === 0) return cold(lookout.reason ?? 'nothing of it would be preheated there')
  const graceUntil = Math.max(lookout.until, clock.now() + PROBE_GRACE_MS)
  let looks = tasks.map((task) => new Look(task))
  let probeAt = clock.now()
  for (;;) {
    const entries = await state.warm(tasks.map(({ ledgerKey }) => ledgerKey))
    const [newest] = [...entries].sort((a, b) => b.warmAt - a.warmAt)
    if (newest !== undefined && clock.now() - newest.warmAt < provider.cacheLifetimeMs)
      return found({ ...newest.evidence, observedAt: newest.warmAt }, 'ledger')

    if (probeAt <= clock.now()) {
      for (const look of looks) await look.goOn(open, clock, signal)
      const seen = looks.find((look) => look.evidence !== undefined)?.evidence
      if (seen !== undefined) return found(seen, 'probe')
    }
    const isOpen = looks.some((look) => look.reason === undefined)
    const now = clock.now()
    if (now >= (isOpen ? graceUntil : lookout.until)) {
      const age = newest && `the ledger’s evidence is ${inWords(now - newest.warmAt)} old, over cacheLifetime`
      const reason = looks.map((look) => look.reason).find((one) => one !== undefined)
      return cold([age, reason ?? 'the engine has not answered yet whether it has it'].filter(Boolean).join('; '))
    }
    if (isOpen) probeAt = Math.max(now, Math.min(...looks.map((look) => look.lookAt)))
    else if (probeAt <= now) {
      probeAt = now + PROBE_EVERY_MS
      looks = tasks.map((task) => new Look(task))
    }
    const last = isOpen ? graceUntil : lookout.until
    await clock.sleepUntil(Math.min(last, Math.max(probeAt, now), now + LOOK_EVERY_MS), signal)
  }
}

/** One look at an engine for one task, which may take several questions. */
class Look {
  /** Set once it has ended with everything there. */
  evidence: Evidence | undefined
  /** Set once it has ended otherwise. */
  reason: string | undefined
  lookAt: Instant = 0
  #task: Task

  constructor(task: Task) {
    this.#task = { ...task, purpose: 'look' }
    if (isSettled(task)) this.reason = task.error?.message ?? 'it cannot be preheated'
  }

  /** The questions that are due. */
  async goOn(open: () => Promise<Engine>, clock: Clock, signal: AbortSignal): Promise<void> {
    if (this.reason !== undefined || this.evidence !== undefined) return
    try {
      const engine = await open()
      let task = this.#task
      while (!isSettled(task)) {
        const next: OpenTask = task.jobs.length === 0 ? await this.#begin(task, engine, clock, signal) : task
        const step = nextStep(next)
        // A look submits nothing, whatever comes of it.
        if (step?.kind !== 'probe') throw new Error(`a look at ${task.id} asks for more than looking`)
        this.#task = task = next
        this.lookAt = step.job.lookAt
        if (step.job.lookAt > clock.now()) return
        const probe = await engine.probe(task.order, step.job, step.job.notes, signal)
        this.#task = task = probed(task, step.job.key, probe, clock.now(), 0)
      }
      if (task.state === 'Succeeded') this.evidence = task.evidence
      else this.reason = shortfallOf(task.evidence, task.missing.length)
    } catch (error) {
      if (!(error instanceof EdgeError || error instanceof OperatorError)) throw error
      this.reason = `${error.code} ${error.message}`
    }
  }

  async #begin(task: OpenTask, engine: Engine, clock: Clock, signal: AbortSignal): Promise<OpenTask> {
    const jobs: readonly Job[] = await engine.jobs(task.order, signal)
    return planned(task, jobs, clock.now())
  }
}

function shortfallOf(evidence: Evidence | undefined, missing: number): string {
  if (evidence === undefined) return 'nothing of it is in the ledger, and the engine does not let itself be looked at'
  return `the engine shows ${evidence.blobs} of ${evidence.of} blobs (${missing} missing)`
}

interface Outcome {
  readonly place: Place
  readonly digest: Digest
  readonly answers: readonly Answer[]
  readonly now: Instant
}

function render(
  { place, digest, answers, now }: Outcome,
  output: WarmOptions['output'],
  { outColors: { green, red } }: Io,
  scrub: (text: string) => string,
): string {
  const { registry, repository, tag } = place
  if (output === 'json') {
    const document = {
      registry: registry.name,
      repository,
      tag,
      digest,
      warm: answers.every((answer) => answer.warm),
      providers: answers.map(({ provider, warm, from, reason, evidence }) => ({
        name: provider,
        warm,
        from,
        reason: reason && scrub(reason),
        evidence: evidence && { ...evidence, observedAt: formatInstant(evidence.observedAt) },
        ageMs: evidence && now - evidence.observedAt,
      })),
    }
    return `${JSON.stringify(document, undefined, 2)}\n`
  }
  const image = `${repository}@${digest}`
  return answers
    .map(({ provider, evidence, reason = '' }) => {
      if (evidence === undefined) return `${red('✗')} ${image} is not known warm on ${provider}: ${scrub(reason)}\n`
      const { kind, blobs, of, observedAt, source } = evidence
      const age = inWords(now - observedAt)
      return `${green('✔')} ${image} is warm on ${provider}: ${kind}, ${blobs} of ${of} blobs, ${age} ago (${source})\n`
    })
    .join('')
}

/** To the second; `3m12s`. */
function inWords(ageMs: number): string {
  return formatDuration(Math.floor(Math.max(0, ageMs) / 1000) * 1000)
}
