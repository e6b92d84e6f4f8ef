import type { Abilities, Inspection } from '../../engine/engine.ts'
import type { Drivers } from '../../execution/loop.ts'
import { parseDigest } from '../../model/artifact.ts'
import { EdgeError } from '../../model/errors.ts'
import type { Target } from '../../model/execution.ts'
import type { Provider } from '../../model/provider.ts'
import type { Order } from '../../model/task.ts'
import { attempt, type Finding } from './finding.ts'
import { providerTraps } from './traps.ts'

/**
 * A provider: that it answers, what it can do, and whether it can do what is wanted of it.
 * @param uses what policies want of it
 */
export async function checkProvider(
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
    return {
      detail,
      version,
      warnings: [
        ...abilityWarnings(abilities),
        ...scopeWarnings(uses, abilities),
        ...providerTraps(provider, abilities),
      ],
    }
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

function abilitiesText({ version, evidence, clusters, taskIds }: Abilities & Inspection): string {
  return [
    `version ${version ?? 'not told'}`,
    `evidence ${evidence}`,
    ...(clusters.length > 0 ? [`clusters ${clusters.join(', ')}`] : []),
    ...(taskIds === undefined ? [] : [`task ids ${taskIds}`]),
  ].join(', ')
}

function scopeWarnings(uses: readonly Target[], { doubtfulScopes = [] }: Abilities): string[] {
  const wanted = new Set(uses.map(({ scope }) => scope))
  return doubtfulScopes
    .filter((scope) => wanted.has(scope))
    .map(
      (scope) =>
        `this version may not know the scope ${scope}, and would refuse it (PH3007): managers know it since 2.1.66`,
    )
}

function abilityWarnings({ evidence, ignored = [], warnings = [] }: Abilities & Inspection): string[] {
  return [
    ...(evidence === 'none' ? ['it shows nobody what it holds: every task of it ends Unverified'] : []),
    ...ignored.map((setting) => `this version drops without a word: ${setting}`),
    ...warnings,
  ]
}
