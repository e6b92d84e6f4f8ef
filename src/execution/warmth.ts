import type { Digest } from '../model/artifact.ts'
import type { Candidate } from '../model/candidate.ts'
import type { Clock } from '../model/clock.ts'
import type { Instant } from '../model/duration.ts'
import { OperatorError } from '../model/errors.ts'
import type { WarmQuestion, WarmthView } from '../model/operations.ts'
import type { Provider } from '../model/provider.ts'
import type { Located } from '../model/resource.ts'
import type { Task } from '../model/task.ts'
import type { ArtifactSource, ProjectRules } from '../registry/registry.ts'
import type { Store } from '../store/store.ts'
import { choose } from './choose.ts'
import { answerOf, type Looking } from './look.ts'
import type { Drivers } from './loop.ts'
import { anyPolicy, askedOf, placeOf, type Asked, type Place } from './place.ts'

export interface WarmthPorts {
  /** What is declared. */
  readonly objects: readonly Located[]
  readonly drivers: Pick<Drivers, 'source'> & { engine(provider: Provider): Promise<Looking> }
  readonly ledger: Pick<Store, 'warm'>
  readonly clock: Clock
  /** Masks secrets that the other side sent back to us. */
  readonly scrub: (text: string) => string
}

/**
 * Is an image warm, by what evidence, how old? Submits nothing.
 * @throws {OperatorError} for an image or a provider that nobody knows
 * @throws {EdgeError} when the registry cannot tell
 */
export async function warmth(
  { reference, provider: named, waitMs }: WarmQuestion,
  { objects, drivers, ledger, clock, scrub }: WarmthPorts,
  signal: AbortSignal,
): Promise<WarmthView> {
  const place = placeOf(reference, objects)
  const { registry, repository, tag } = place
  const source = await drivers.source(registry)
  const digest = reference.digest ?? (await resolve(place, source, signal))
  const asked = askedOf(place, named, objects)
  const { candidates, reasons } = await candidatesOf(place, digest, asked, source, clock.now(), signal)
  const until = clock.now() + waitMs
  const answers = await Promise.all(
    asked.providers.map((provider) => {
      const tasks = candidates.filter((task) => task.provider === provider.name)
      const lookout = { provider, tasks, reason: reasons.get(provider.name), ledger, until, clock }
      return answerOf(lookout, () => drivers.engine(provider), signal)
    }),
  )
  const now = clock.now()
  return {
    registry: registry.name,
    repository,
    tag,
    digest,
    warm: answers.every(({ warm }) => warm),
    providers: answers.map(({ provider, warm, from, reason, evidence }) => ({
      name: provider,
      warm,
      from,
      reason: reason && scrub(reason),
      evidence,
      ageMs: evidence && now - evidence.observedAt,
    })),
  }
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

/**
 * The tasks that the daemon would make of this one image: they know under which key warmth is remembered and what an
 * engine has to be asked for. Chosen by the daemon's own rules, from a listing of this image alone.
 */
async function candidatesOf(
  { registry, repository, tag }: Place,
  digest: Digest,
  { providers, routes }: Asked,
  source: ArtifactSource,
  now: Instant,
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
