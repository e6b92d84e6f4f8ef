import { access, constants } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import tmp from 'tmp'
import { Closers } from '../closers.ts'
import type { Config } from '../config/load.ts'
import { DeadlineError, withDeadline } from '../deadline.ts'
import type { Abilities, Inspection } from '../engine/engine.ts'
import { systemClock } from '../clock.ts'
import type { Drivers } from '../execution/loop.ts'
import { checkPush } from '../git/check.ts'
import { isLoopback } from '../model/address.ts'
import { codes, type Code } from '../model/codes.ts'
import { EdgeError, OperatorError } from '../model/errors.ts'
import { parseDigest } from '../model/artifact.ts'
import { formatDuration, type Instant } from '../model/duration.ts'
import { policyAddress, type PreheatPolicy } from '../model/policy.ts'
import type { Provider } from '../model/provider.ts'
import type { Target } from '../model/execution.ts'
import type { Registry } from '../model/registry.ts'
import { ofKind, type Located } from '../model/resource.ts'
import type { Order } from '../model/task.ts'
import type { ProjectRules } from '../registry/registry.ts'
import { SourceError } from '../model/source.ts'
import type { Secret } from '../model/secret.ts'
import { targetsOf } from '../model/targets.ts'
import { refText } from '../model/source-ref.ts'
import { readConfig } from '../reconcile.ts'
import type { Secrets } from '../secrets.ts'
import type { Settings } from '../settings.ts'
import { openLedger } from '../store/embedded.ts'
import { exit, type Exit, type Io } from './command.ts'
import { loadSettings, openDrivers, openSecretsOf, openSource, readerOf } from './open.ts'

export interface CheckOptions {
  readonly config: string
  readonly output: 'text' | 'json'
}

/** One thing that the daemon has to reach, and what came of reaching for it. */
interface Finding {
  readonly kind: 'source' | 'config' | 'reports' | 'registry' | 'project' | 'pull' | 'provider'
  readonly name: string
  readonly ok: boolean
  /** Undefined: it is ok. */
  readonly code: Code | undefined
  readonly detail: string
  /** What mends it, where the code's own remedy is not the one. */
  readonly help?: string | undefined
  readonly warnings: readonly string[]
  /** Of a Dragonfly manager or a Harbor, as far as it tells. */
  readonly version?: string | undefined
}

type Place = Pick<Finding, 'kind' | 'name'>

/** What a part comes to when it goes well. */
interface Good {
  readonly detail: string
  readonly version?: string | undefined
  readonly warnings?: readonly string[]
}

/** One part; longer than any request of it, so that what went wrong is said by whoever knows. */
const PART_MS = 60_000
/** Kraken's `castore.cache_cleanup.tti` where nothing is configured. */
const KRAKEN_IDLE_MS = 6 * 3_600_000

/**
 * Reaches everything that the daemon reaches, with the daemon's credentials, and says of each what came of it. Takes no
 * lock, so that it may run beside the daemon, and changes nothing anywhere.
 */
export async function check(options: CheckOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  const settings = await loadSettings(options.config, io)
  const secrets = openSecretsOf(settings, io)
  // Not the daemon's own mirrors: it may be at work in them.
  const scratch = tmp.dirSync({ unsafeCleanup: true, prefix: 'preheatd-check' })
  try {
    await using closers = new Closers()
    const drivers = closers.use(openDrivers(secrets))
    const reports = checkReports(settings, secrets, scratch.name, signal)
    const source = await checkSource(settings, secrets, scratch.name, signal)
    const [reported, declared] = await Promise.all([reports, checkDeclared(source.objects, drivers, signal)])
    const findings = [...source.findings, reported, ...declared]
    io.out(render(findings, options.output, io, secrets.scrubber()))
    return findings.every(({ ok }) => ok) ? exit.ok : exit.failed
  } finally {
    scratch.removeCallback()
  }
}

/** The branch, and the configuration at its tip. */
async function checkSource(
  settings: Settings,
  secrets: Secrets,
  scratch: string,
  signal: AbortSignal,
): Promise<{ readonly findings: readonly Finding[]; readonly objects: readonly Located[] }> {
  const { source } = settings
  const name = source.type === 'dir' ? source.dir : `${source.url} ${refText(source.ref)}`
  let config: Config | undefined
  const reached = await attempt({ kind: 'source', name }, 'PH4003', signal, async (during) => {
    await using opened = openSource(settings, secrets, scratch)
    const revision = await opened.observe(during)
    config = await readConfig(await opened.fetch(revision, during), readerOf(settings), during)
    return { detail: `readable, at ${revision.slice(0, 19)}` }
  })
  if (config !== undefined) return { findings: [reached, configFinding(config)], objects: config.objects }
  const known = await appliedObjects(settings)
  const warning =
    known === undefined
      ? 'registries and providers were not asked: nobody knows which there are'
      : 'registries and providers are those that the daemon applied last'
  return { findings: [{ ...reached, warnings: [warning] }], objects: known ?? [] }
}

function configFinding({ config, objects, problems }: Config): Finding {
  const errors = problems.filter(({ severity }) => severity === 'error')
  const warnings = problems.filter(({ severity }) => severity === 'warning')
  const lines = (some: Config['problems']) =>
    some.map(({ file, line, code, message }) => `${file}:${line}: ${code} ${message}`)
  const count = `${objects.length} object${objects.length === 1 ? '' : 's'}`
  const [first] = errors
  const place = { kind: 'config', name: config.commit.slice(0, 19) } as const
  if (first === undefined) return { ...place, ok: true, code: undefined, detail: count, warnings: lines(warnings) }
  const detail = `${count}, ${errors.length} error${errors.length === 1 ? '' : 's'}: ${lines(errors.slice(0, 1)).join('')}`
  return {
    ...place,
    ok: false,
    code: first.code,
    detail,
    help: first.help,
    warnings: lines([...errors.slice(1), ...warnings]),
  }
}

/** What a daemon applied, where one has been. */
async function appliedObjects({ state }: Settings): Promise<readonly Located[] | undefined> {
  try {
    await using ledger = await openLedger(state.dir)
    return (await ledger?.applied())?.objects
  } catch (error) {
    if (error instanceof OperatorError) return undefined
    throw error
  }
}

/** Reads where reports go and comes as near to a push as can be without one. */
function checkReports(
  { reports }: Settings,
  { read }: Secrets,
  scratch: string,
  signal: AbortSignal,
): Promise<Finding> {
  if (reports.type === 'folder')
    return attempt({ kind: 'reports', name: reports.dir }, 'PH8003', signal, () => checkFolder(reports.dir))
  const { url, branch, auth } = reports
  return attempt({ kind: 'reports', name: `${url} ${branch}` }, 'PH4003', signal, async (during) => {
    const dir = join(scratch, 'push.git')
    const exists = await checkPush({ url, branch, dir, auth, read }, during)
    const branchIs = exists ? 'readable' : 'not there yet: the first report makes it'
    return { detail: `${branchIs}; a push was tried without being made, so rules on the branch itself are not known` }
  })
}

async function checkFolder(dir: string): Promise<Good> {
  for (let folder = dir; ; folder = dirname(folder)) {
    try {
      await access(folder, constants.W_OK)
      return { detail: folder === dir ? 'writable' : `made by the first report, in ${folder}` }
    } catch (error) {
      const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unusable'
      if (reason !== 'ENOENT' || folder === dirname(folder))
        throw new OperatorError('PH8003', `reports cannot be written to ${dir} (${reason})`)
    }
  }
}

/** Every registry and provider, all at once. */
async function checkDeclared(objects: readonly Located[], drivers: Drivers, signal: AbortSignal): Promise<Finding[]> {
  const policies = ofKind(objects, 'PreheatPolicy').map(({ resource }) => resource)
  const providers = ofKind(objects, 'Provider').map(({ resource }) => resource)
  const uses = policies.flatMap((policy) => {
    const targets = targetsOf(policy, providers)
    return targets.ok ? targets.targets : []
  })
  const parts = [
    ...ofKind(objects, 'Registry').map(({ resource }) => {
      const own = policies.filter(({ registry }) => registry === resource.name)
      return checkRegistry(resource, own, drivers, signal)
    }),
    ...providers.map((provider) => {
      const own = uses.filter((target) => target.provider.name === provider.name)
      return checkProvider(provider, own, drivers, signal)
    }),
  ]
  const findings = (await Promise.all(parts)).flat()
  const harbors = findings.flatMap(({ kind, version }) =>
    kind === 'registry' && version !== undefined ? [version] : [],
  )
  return findings.map((finding) => {
    const { kind, version, warnings } = finding
    if (kind !== 'provider' || version === undefined) return finding
    return {
      ...finding,
      warnings: [...warnings, ...new Set(harbors.flatMap((harbor) => versionTraps(harbor, version)))],
    }
  })
}

/**
 * What goes wrong between a Harbor and a Dragonfly manager where both are at work, Harbor preheating beside preheatd
 * (contracts/dragonfly.md §5.4).
 * @param harbor `Harbor v2.12.2-0a1b2c3d`
 * @param manager `2.3.1`, or a lower bound of it
 */
export function versionTraps(harbor: string, manager: string): string[] {
  const [of, at] = [harborOf(harbor), managerOf(manager)]
  if (of === undefined || at === undefined) return []
  if (of.number < 212 && at.number >= release(2, 4, 1))
    return [`${of.name}’s own preheating fails here: managers since 2.4.1 lack the API that it uses`]
  if (of.number >= 213 && at.number < release(2, 2, 0))
    return [
      `${of.name}’s own preheating ${at.isBound ? 'may fail' : 'fails'} here with 422: it names scopes that managers before 2.2.0 call otherwise`,
    ]
  return []
}

async function checkRegistry(
  registry: Registry,
  policies: readonly PreheatPolicy[],
  drivers: Drivers,
  signal: AbortSignal,
): Promise<Finding[]> {
  const { name, engineEndpoint } = registry
  const warnings = [
    ...(isLoopback(new URL(engineEndpoint))
      ? [`engineEndpoint ${engineEndpoint} is loopback: no node pulls from there, and Dragonfly refuses it since 2.1.1`]
      : []),
    ...(policies.length === 0 ? ['no policy is about it'] : []),
  ]
  const identity = await attempt({ kind: 'registry', name }, 'PH6001', signal, async (during) => {
    const source = await drivers.source(registry)
    const version = await source.identify(during)
    return { detail: `${version} at ${registry.endpoint}`, version, warnings: [...warnings, ...harborTraps(version)] }
  })
  // One line says it: the projects behind a registry that is not there, or does not know us, add nothing.
  if (!identity.ok) return [{ ...identity, warnings }]

  const samples: string[] = []
  const projects = [...new Set(policies.map(({ project }) => project))].sort()
  const projectFindings = await Promise.all(
    projects.map((project) =>
      attempt({ kind: 'project', name: `${name}/${project ?? ''}` }, 'PH6001', signal, async (during) => {
        const source = await drivers.source(registry)
        const rules = await source.projectRules(project, during)
        const sample = await source.sample(project, during)
        if (sample !== undefined) samples.push(sample)
        const named = policies.filter((policy) => policy.project === project).map(policyAddress)
        return {
          detail: sample === undefined ? 'readable, and empty' : `listed, and ${sample} can be read`,
          warnings: demandsOf(rules).map((demand) => `demands ${demand}, whatever ${named.join(', ')} say`),
        }
      }),
    ),
  )
  const pull = await attempt({ kind: 'pull', name }, 'PH6001', signal, (during) =>
    checkPull(registry, samples.sort()[0], drivers, during),
  )
  return [identity, ...projectFindings, pull]
}

function demandsOf({ signatures, severity }: ProjectRules): string[] {
  return [
    ...signatures.map((kind) => `a ${kind} signature`),
    ...(severity === undefined ? [] : [`a scan with nothing as severe as ${severity}`]),
  ]
}

/** What listing takes from a Harbor that is older (contracts/harbor.md, Appendix C). */
export function harborTraps(version: string): string[] {
  const of = harborOf(version)
  if (of === undefined || of.number >= 212) return []
  return [`${of.name} lists its repositories one by one: a listing takes more requests than since 2.12`]
}

/** `Harbor v2.12.2-0a1b2c3d` is `Harbor 2.12` and 212; undefined for what is no Harbor, or tells no version. */
function harborOf(version: string): { readonly name: string; readonly number: number } | undefined {
  const [, major, minor] = /^Harbor v?(\d+)\.(\d+)/.exec(version) ?? []
  if (major === undefined || minor === undefined) return undefined
  return { name: `Harbor ${major}.${minor}`, number: Number(major) * 100 + Number(minor) }
}

/** The release that a manager is of at least, comparable by {@link release}; undefined where none is told. */
function managerOf(version: string | undefined): { readonly isBound: boolean; readonly number: number } | undefined {
  const [, bound, ...digits] = /^(>=? )?(\d+)\.(\d+)\.(\d+)/.exec(version ?? '') ?? []
  if (digits.length === 0) return undefined
  const [x = 0, y = 0, z = 0] = digits.map(Number)
  return { isBound: bound !== undefined, number: release(x, y, z) }
}

function release(major: number, minor: number, patch: number): number {
  return (major * 1000 + minor) * 1000 + patch
}

/** What engines are given to pull with. */
async function checkPull(
  registry: Registry,
  repository: string | undefined,
  drivers: Drivers,
  signal: AbortSignal,
): Promise<Good> {
  if (registry.engineAuth.type === 'none') return { detail: 'engines pull anonymously, as engineAuth says' }
  if (repository === undefined) return { detail: 'not checked: no repository is known to mint a token for' }
  const source = await drivers.source(registry)
  const authorization = await source.authorize(repository, signal)
  return {
    detail:
      authorization === undefined
        ? 'engines pull anonymously: the registry has no token service'
        : [
            `engines get a credential for ${repository}, by engineAuth ${registry.engineAuth.type}`,
            ...lifeText(authorization, systemClock.now()),
          ].join(', '),
  }
}

/** How long a pull token lives that says so itself, as Harbor's does. */
export function lifeText(authorization: Secret, now: Instant): string[] {
  const [, payload] = /^Bearer [\w-]+\.([\w-]+)\.[\w-]*$/i.exec(authorization.reveal()) ?? []
  if (payload === undefined) return []
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString())
    if (typeof claims !== 'object' || claims === null || !('exp' in claims) || typeof claims.exp !== 'number') return []
    const from = 'iat' in claims && typeof claims.iat === 'number' ? claims.iat : now / 1000
    const lifeS = Math.round(claims.exp - from)
    return lifeS > 0 ? [`which expires ${formatDuration(lifeS * 1000)} after it is minted`] : ['which has expired']
  } catch {
    return []
  }
}

async function checkProvider(
  provider: Provider,
  uses: readonly Target[],
  drivers: Drivers,
  signal: AbortSignal,
): Promise<Finding> {
  const place = { kind: 'provider', name: provider.name } as const
  const warnings = uses.length > 0 ? [] : ['no policy uses it']
  if (!provider.enabled)
    return { ...place, ok: true, code: undefined, detail: 'disabled, so it was not asked', warnings }
  const found = await attempt(place, 'PH5001', signal, async (during) => {
    const engine = await drivers.engine(provider)
    const health = await engine.health(during)
    if (!health.ok) throw new EdgeError('rejected', health.code, health.detail)
    const abilities = { ...(await engine.abilities(during)), ...(await engine.inspect(during)) }
    for (const order of emptyOrders(provider, uses)) await engine.jobs(order, during)
    const version = provider.vendor === 'dragonfly' ? abilities.version : undefined
    const detail = [health.detail, abilitiesText(abilities), ...expiryText(provider)].join('; ')
    return { detail, version, warnings: [...abilityWarnings(abilities), ...providerTraps(provider, abilities)] }
  })
  return { ...found, warnings: [...found.warnings, ...warnings] }
}

/** Orders for nothing, for all that policies want of a provider: an engine refuses clusters and settings at them. */
function emptyOrders(provider: Provider, uses: readonly Target[]): Order[] {
  const { scope, timeoutMs } = provider.dragonfly
  const wanted = uses.length > 0 ? uses : [{ scope, clusters: undefined }]
  return wanted.map(({ scope, clusters }) => ({
    taskId: 'check',
    engineEndpoint: provider.endpoint,
    repository: 'check',
    digest: parseDigest(`sha256:${'0'.repeat(64)}`),
    manifests: [],
    scope,
    clusters,
    timeoutMs,
  }))
}

/**
 * A personal access token is for `/oapi/v1`; its record, with the expiry, is told below `/api/v1` to those who sign in
 * (contracts/dragonfly.md §2.1, §2.2). One that has expired is refused, and says so itself.
 */
function expiryText({ vendor, auth }: Provider): string[] {
  return vendor === 'dragonfly' && auth.type !== 'none'
    ? ['expiry unknown: the token may not read personal access tokens']
    : []
}

/**
 * What is known to go wrong with an engine of this vendor and version, or with what its Provider declares
 * (contracts/dragonfly.md §1.7, §2.1, §3.5; contracts/kraken-and-registries.md §0).
 */
export function providerTraps(
  provider: Provider,
  { version, clusters }: Pick<Abilities, 'version' | 'clusters'>,
): string[] {
  const { vendor, kraken, cacheLifetimeMs, dragonfly } = provider
  if (vendor === 'dragonfly') {
    const at = managerOf(version)?.number
    // Told versions are of releases that can be told apart: `>= 2.2.3` is below 2.3.1, and `>= 2.3.1` below 2.4.4.
    const isBefore = (bound: number) => at !== undefined && at < bound
    const look = 'a job whose record is gone'
    return [
      ...(isBefore(release(2, 2, 1)) && provider.auth.type !== 'none'
        ? ['managers before 2.2.2 take any token that exists: an expired one is refused only after an upgrade']
        : []),
      ...(isBefore(release(2, 3, 1))
        ? [`managers before 2.3.1 do not ask hosts what they hold: ${look} ends Unverified`]
        : isBefore(release(2, 4, 4))
          ? [`managers before 2.4.0 tell that a blob is there, not that it is whole: ${look} ends Unverified on them`]
          : []),
      ...(clusters.length === 0 && dragonfly.clusters === 'all'
        ? [
            'it lists no clusters, so one job goes to all and the first failure hides the others: give the token the scope cluster',
          ]
        : []),
    ]
  }
  if (kraken === undefined) return []
  return [
    ...(kraken.backend === 'registry'
      ? ['its origins read from a registry, which denies them OCI manifests: such images are refused up front (PH3007)']
      : []),
    ...(cacheLifetimeMs > KRAKEN_IDLE_MS
      ? [
          `origins drop what nobody has read for 6h unless castore.cache_cleanup.tti says otherwise, and cacheLifetime is ${formatDuration(cacheLifetimeMs)}`,
        ]
      : []),
  ]
}

function abilitiesText({ version, evidence, clusters, taskIds }: Abilities & Inspection): string {
  return [
    `version ${version ?? 'not told'}`,
    `evidence ${evidence}`,
    ...(clusters.length > 0 ? [`clusters ${clusters.join(', ')}`] : []),
    ...(taskIds === undefined ? [] : [`task ids ${taskIds}`]),
  ].join(', ')
}

function abilityWarnings({ evidence, ignored = [], warnings = [] }: Abilities & Inspection): string[] {
  return [
    ...(evidence === 'none' ? ['it shows nobody what it holds: every task of it ends Unverified'] : []),
    ...ignored.map((setting) => `this version drops without a word: ${setting}`),
    ...warnings,
  ]
}

/**
 * Runs one part to its end, whatever that is.
 * @param silent the code for no answer in time
 */
async function attempt(
  place: Place,
  silent: Code,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<Good>,
): Promise<Finding> {
  try {
    const { detail, version, warnings = [] } = await withDeadline(PART_MS, signal, work)
    return { ...place, ok: true, code: undefined, detail, version, warnings }
  } catch (error) {
    if (signal.aborted) throw signal.reason
    const failed = (code: Code, detail: string, help?: string) => ({
      ...place,
      ok: false,
      code,
      detail,
      help,
      warnings: [],
    })
    if (error instanceof OperatorError) return failed(error.code, error.message, error.help)
    if (error instanceof EdgeError || error instanceof SourceError) return failed(error.code, error.message)
    if (error instanceof DeadlineError) return failed(silent, error.message)
    throw error
  }
}

function render(
  findings: readonly Finding[],
  output: CheckOptions['output'],
  { outColors: { green, red, yellow } }: Io,
  scrub: (text: string) => string,
): string {
  if (output === 'json') {
    const rows = findings.map(({ kind, name, ok, code, detail, version, warnings }) => ({
      kind,
      name,
      ok,
      code: code ?? null,
      detail: scrub(detail),
      version: version ?? null,
      warnings: warnings.map(scrub),
    }))
    return `${JSON.stringify(rows, undefined, 2)}\n`
  }
  const text = findings.flatMap(({ kind, name, ok, code, detail, help, warnings }) => [
    ok ? `${green('✔')} ${kind} ${name}  ${detail}` : `${red('✗')} ${kind} ${name}  ${code ?? ''} ${detail}`,
    ...(code === undefined ? [] : [`    help: ${help ?? codes[code].remedy}`]),
    ...warnings.map((warning) => `    ${yellow('warning:')} ${warning}`),
  ])
  return `${scrub(text.join('\n'))}\n`
}
