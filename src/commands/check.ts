import { Closers } from '../closers.ts'
import type { Drivers } from '../execution/loop.ts'
import { codes } from '../model/codes.ts'
import { executables, ofKind, type Located } from '../model/resource.ts'
import { targetsOf } from '../model/targets.ts'
import type { Finding } from './check/finding.ts'
import { checkProvider } from './check/provider.ts'
import { checkRegistry } from './check/registry.ts'
import { checkReports, checkSource } from './check/surroundings.ts'
import { versionTraps } from './check/traps.ts'
import { exit, type Exit, type Io } from './command.ts'
import { loadSettings, openDrivers, openSecretsOf } from './open.ts'
import { scratchFolder } from './scratch.ts'

export interface CheckOptions {
  readonly config: string
  readonly output: 'text' | 'json'
}

/**
 * Reaches everything that the daemon reaches, with the daemon's credentials, and says of each what came of it. Takes no
 * lock, so that it may run beside the daemon, and changes nothing anywhere.
 */
export async function check(options: CheckOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  const settings = await loadSettings(options.config, io)
  const secrets = openSecretsOf(settings, io)
  // Not the daemon's own mirrors: it may be at work in them.
  const scratch = scratchFolder('check')
  try {
    await using closers = new Closers()
    const drivers = closers.use(openDrivers(secrets))
    const checkWhatIsDeclared = async () => {
      const { findings, objects } = await checkSource(settings, secrets, scratch.name, signal)
      return { source: findings, declared: await checkDeclared(objects, drivers, signal) }
    }
    const [reported, { source, declared }] = await Promise.all([
      checkReports(settings, secrets, scratch.name, signal),
      checkWhatIsDeclared(),
    ])
    const findings = [...source, reported, ...declared]
    io.out(render(findings, options.output, io, secrets.scrubber()))
    return findings.every(({ ok }) => ok) ? exit.ok : exit.failed
  } finally {
    scratch.removeCallback()
  }
}

/** Every registry and provider, all at once. */
async function checkDeclared(objects: readonly Located[], drivers: Drivers, signal: AbortSignal): Promise<Finding[]> {
  const policies = executables(objects).map(({ resource }) => resource)
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
