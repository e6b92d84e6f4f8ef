import { systemClock } from '../../clock.ts'
import type { Drivers } from '../../execution/loop.ts'
import { isLoopback } from '../../model/address.ts'
import { formatDuration, type Instant } from '../../model/duration.ts'
import { policyAddress, type PreheatPolicy } from '../../model/policy.ts'
import type { Registry } from '../../model/registry.ts'
import type { Secret } from '../../model/secret.ts'
import type { ProjectRules } from '../../registry/registry.ts'
import { attempt, type Finding, type Good } from './finding.ts'
import { harborTraps } from './traps.ts'

/** A registry, the projects that policies are about, and what engines are given to pull with. */
export async function checkRegistry(
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
