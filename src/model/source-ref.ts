import { compareBuild, parse, satisfies, validRange } from 'semver'

/** What of the config repository is in force. */
export type SourceRef =
  | { readonly type: 'branch'; readonly name: string }
  | { readonly type: 'tag'; readonly name: string }
  /** The highest tag in the range. */
  | { readonly type: 'semver'; readonly range: string }
  /** All of its hexadecimal digits. */
  | { readonly type: 'commit'; readonly id: string }

/** For messages: `branch main`. */
export function refText(ref: SourceRef): string {
  switch (ref.type) {
    case 'branch':
    case 'tag':
      return `${ref.type} ${ref.name}`
    case 'semver':
      return `tag in ${ref.range}`
    case 'commit':
      return `commit ${ref.id.slice(0, 12)}`
    default:
      return ref satisfies never
  }
}

/** May a push of this ref, `refs/heads/main`, have moved it? */
export function followsRef(ref: SourceRef, pushed: string): boolean {
  switch (ref.type) {
    case 'branch':
      return pushed === `refs/heads/${ref.name}`
    case 'tag':
      return pushed === `refs/tags/${ref.name}`
    case 'semver':
      return pushed.startsWith('refs/tags/')
    case 'commit':
      return false
    default:
      return ref satisfies never
  }
}

/** Can {@link highestVersion} understand it? */
export function isVersionRange(range: string): boolean {
  return validRange(spaced(range)) !== null
}

/**
 * The tag of the highest version in the range, `v1.2.3` or `1.2.3`; undefined: there is none. A prerelease counts only
 * where the range itself names one: `>=1.0.0-0` (as Flux has it). Of two tags of one version the later by name is taken,
 * so that the answer does not depend on the order that the remote lists them in.
 */
export function highestVersion(tags: Iterable<string>, range: string): string | undefined {
  const wanted = spaced(range)
  const includePrerelease = /[0-9xX*]-[0-9A-Za-z]/.test(wanted)
  let best: string | undefined
  for (const tag of tags) {
    // The parser trims; a tag that needs it is none of a version.
    if (!/^v?\d/.test(tag) || parse(tag) === null || !satisfies(tag, wanted, { includePrerelease })) continue
    const order = best === undefined ? 1 : compareBuild(tag, best)
    if (order > 0 || (order === 0 && tag > best!)) best = tag
  }
  return best
}

/** Others write a comma between two comparators. */
function spaced(range: string): string {
  return range.replaceAll(/\s*,\s*/g, ' ')
}
