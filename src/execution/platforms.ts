import type { Content, Platform, PlatformManifest } from '../model/artifact.ts'

/** The platform manifests that are wanted; an artifact that is no index is taken as it is: its manifest does not say. */
export function manifestsFor(content: Content, platforms: readonly Platform[]): readonly PlatformManifest[] {
  if (!content.isIndex || platforms.length === 0) return content.manifests
  return content.manifests.filter(
    ({ platform }) => platform !== undefined && platforms.some((wanted) => covers(wanted, platform)),
  )
}

/**
 * What an index lists of the wanted platforms and the registry does not hold, as words; undefined: nothing. An index
 * that a proxy cache trimmed, or that is still arriving.
 */
export function absentOf({ absent }: Content, platforms: readonly Platform[]): string | undefined {
  const missing = absent.filter(
    ({ platform }) =>
      platforms.length === 0 || (platform !== undefined && platforms.some((wanted) => covers(wanted, platform))),
  )
  if (missing.length === 0) return undefined
  const of = platformsOf(missing).join(', ') || `${missing.length} of its manifests`
  return `the index lists ${of}, which the registry does not hold: a proxy cache trimmed it, or it is still arriving`
}

/** The platforms of manifests, each once, sorted. */
export function platformsOf(manifests: readonly { readonly platform: Platform | undefined }[]): Platform[] {
  return [...new Set(manifests.flatMap(({ platform }) => platform ?? []))].sort()
}

/** `linux/arm` covers `linux/arm/v7`, which covers only itself. */
function covers(wanted: Platform, platform: Platform): boolean {
  return platform === wanted || platform.startsWith(`${wanted}/`)
}
