import { access, constants } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import tmp from 'tmp'
import { Closers } from '../closers.ts'
import type { Config } from '../config/load.ts'
import { DeadlineError, withDeadline } from '../deadline.ts'
import type { Abilities } from '../engine/engine.ts'
import type { Drivers } from '../execution/loop.ts'
import { checkPush } from '../git/check.ts'
import { isLoopback } from '../model/address.ts'
import { codes, type Code } from '../model/codes.ts'
import { EdgeError, OperatorError } from '../model/errors.ts'
import { policyAddress, type PreheatPolicy } from '../model/policy.ts'
import type { Provider } from '../model/provider.ts'
import type { Registry } from '../model/registry.ts'
import { ofKind, type Located } from '../model/resource.ts'
import { SourceError } from '../model/source.ts'
import { targetsOf } from '../model/targets.ts'
import { readConfig } from '../reconcile.ts'
import type { Secrets } from '../secrets.ts'
import type { Settings } from '../settings.ts'
import { openLedger } from '../store/embedded.ts'
import { exit, type Exit, type Io } from './command.ts'
import { loadSettings, openDrivers, openSecretsOf, openSource } from './open.ts'

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
  const name = source.type === 'dir' ? source.dir : `${source.url} ${source.branch}`
  let config: Config | undefined
  const reached = await attempt({ kind: 'source', name }, 'PH4003', signal, async (during) => {
    await using opened = openSource(settings, secrets, scratch)
    const revision = await opened.observe(during)
    config = await readConfig(await opened.fetch(revision, during), during)
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
  const used = new Set(
    policies.flatMap((policy) => {
      const targets = targetsOf(policy, providers)
      return targets.ok ? targets.targets.map(({ provider }) => provider.name) : []
    }),
  )
  const parts = [
    ...ofKind(objects, 'Registry').map(({ resource }) => {
      const own = policies.filter(({ registry }) => registry === resource.name)
      return checkRegistry(resource, own, drivers, signal)
    }),
    ...providers.map((provider) => checkProvider(provider, used.has(provider.name), drivers, signal)),
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
  const [, major, minor] = /^Harbor v?(\d+)\.(\d+)/.exec(harbor) ?? []
  const [, bound, ...digits] = /^(>=? )?(\d+)\.(\d+)\.(\d+)/.exec(manager) ?? []
  if (major === undefined || minor === undefined || digits.length === 0) return []
  const of = Number(major) * 100 + Number(minor)
  const [x = 0, y = 0, z = 0] = digits.map(Number)
  const at = (x * 100 + y) * 1000 + z
  const name = `Harbor ${major}.${minor}`
  if (of < 212 && at >= 204_001)
    return [`${name}’s own preheating fails here: managers since 2.4.1 lack the API that it uses`]
  if (of >= 213 && at < 202_000)
    return [
      `${name}’s own preheating ${bound === undefined ? 'fails' : 'may fail'} here with 422: it names scopes that managers before 2.2.0 call otherwise`,
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
    return { detail: `${version} at ${registry.endpoint}`, version, warnings }
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
          warnings: demandsOf(rules).map((demand) => `demands ${demand}: ${named.join(', ')} will be Blocked (PH8005)`),
        }
      }),
    ),
  )
  const pull = await attempt({ kind: 'pull', name }, 'PH6001', signal, (during) =>
    checkPull(registry, samples.sort()[0], drivers, during),
  )
  return [identity, ...projectFindings, pull]
}

function demandsOf(rules: { readonly contentTrust: boolean; readonly preventVulnerable: boolean }): string[] {
  return [
    ...(rules.contentTrust ? ['signed artifacts'] : []),
    ...(rules.preventVulnerable ? ['artifacts without vulnerabilities'] : []),
  ]
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
        : `engines get a credential for ${repository}, by engineAuth ${registry.engineAuth.type}`,
  }
}

async function checkProvider(
  provider: Provider,
  isUsed: boolean,
  drivers: Drivers,
  signal: AbortSignal,
): Promise<Finding> {
  const place = { kind: 'provider', name: provider.name } as const
  const warnings = isUsed ? [] : ['no policy uses it']
  if (!provider.enabled)
    return { ...place, ok: true, code: undefined, detail: 'disabled, so it was not asked', warnings }
  const found = await attempt(place, 'PH5001', signal, async (during) => {
    const engine = await drivers.engine(provider)
    const health = await engine.health(during)
    if (!health.ok) throw new EdgeError('rejected', health.code, health.detail)
    const abilities = await engine.abilities(during)
    const version = provider.vendor === 'dragonfly' ? abilities.version : undefined
    return { detail: `${health.detail}; ${abilitiesText(abilities)}`, version, warnings: abilityWarnings(abilities) }
  })
  return { ...found, warnings: [...found.warnings, ...warnings] }
}

function abilitiesText({ version, evidence, clusters }: Abilities): string {
  return [
    `version ${version ?? 'not told'}`,
    `evidence ${evidence}`,
    ...(clusters.length > 0 ? [`clusters ${clusters.join(', ')}`] : []),
  ].join(', ')
}

function abilityWarnings({ evidence, ignored = [] }: Abilities): string[] {
  return [
    ...(evidence === 'none' ? ['it shows nobody what it holds: every task of it ends Unverified'] : []),
    ...ignored.map((setting) => `this version drops without a word: ${setting}`),
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
    const rows = findings.map(({ kind, name, ok, code, detail, warnings }) => ({
      kind,
      name,
      ok,
      code: code ?? null,
      detail: scrub(detail),
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
