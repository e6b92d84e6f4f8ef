import type { Abilities } from '../../engine/engine.ts'
import { formatDuration } from '../../model/duration.ts'
import type { Provider } from '../../model/provider.ts'

/** Kraken's `castore.cache_cleanup.tti` where nothing is configured. */
const KRAKEN_IDLE_MS = 6 * 3_600_000
/** How long distribution in proxy mode and a proxy-cache project of Harbor keep what nobody pulls. */
const PULL_THROUGH_MS = 7 * 24 * 3_600_000

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

/**
 * What is known to go wrong with an engine of this vendor and version, or with what its Provider declares
 * (contracts/dragonfly.md §1.7, §2.1, §3.5; contracts/kraken-and-registries.md §0, §1.7, §4.7).
 */
export function providerTraps(
  provider: Provider,
  { version, clusters }: Pick<Abilities, 'version' | 'clusters'>,
): string[] {
  const { vendor, kraken, cacheLifetimeMs, dragonfly, tls } = provider
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
  if (vendor === 'pull-through' && cacheLifetimeMs > PULL_THROUGH_MS) {
    return [
      `distribution and Harbor drop what they cached after 7d, and cacheLifetime is ${formatDuration(cacheLifetimeMs)}`,
    ]
  }
  if (kraken === undefined) return []
  // With TLS, Kraken's nginx lets only GET and HEAD pass without a certificate, and neither counts as use.
  const isNamed = tls.certFile !== undefined || !kraken.origins.some((url) => url.startsWith('https:'))
  return [
    ...(kraken.mode === 'notify' || !isNamed
      ? [
          `${isNamed ? 'a notification' : 'without tls.certFile a submission'} does not count as use of what origins hold: keepWarm pulls it again, and keeps nothing from being dropped after 6h`,
        ]
      : []),
    ...(kraken.backend === 'registry'
      ? [
          'its origins read from a registry, which denies them OCI manifests: such images are refused up front (PH3007)',
          'the index of an image for several platforms is not preheated: a node’s pull by tag reads it first, and fails where it is an OCI index, warm as its platforms may be',
        ]
      : []),
    ...(cacheLifetimeMs > KRAKEN_IDLE_MS
      ? [
          `origins drop what nobody has read for 6h unless castore.cache_cleanup.tti says otherwise, and cacheLifetime is ${formatDuration(cacheLifetimeMs)}`,
        ]
      : []),
  ]
}
