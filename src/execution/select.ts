import { createHash } from 'node:crypto'
import type { Artifact, Candidate, Digest } from '../model/artifact.ts'
import { compileDoublestar } from '../model/doublestar.ts'
import type { Filters, PreheatPolicy } from '../model/policy.ts'

/** Which rule left a tag out: the first that does, in Harbor's order with the exclusions after what they exclude from. */
type LeaveOutRule =
  'untagged' | 'signature-tag' | 'repository' | 'exclude.repository' | 'tag' | 'exclude.tag' | 'label' | 'type'

/** A tag that was listed and is not preheated, and why. */
export interface LeftOut {
  readonly repository: string
  /** Undefined for an artifact without tags. */
  readonly tag: string | undefined
  /** Undefined where no filter wanted the tag, so that nobody asked. */
  readonly digest: Digest | undefined
  readonly rule: LeaveOutRule
  readonly message: string
}

/**
 * Signatures, attestations and SBOMs that cosign and others push beside an image, under a tag made of its digest. No
 * image, whatever the pattern says: Harbor preheats them on events (contracts/harbor.md §2.11).
 */
const SIGNATURE_TAG = /^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$/

type NameRule = Extract<LeaveOutRule, 'signature-tag' | 'repository' | 'exclude.repository' | 'tag' | 'exclude.tag'>

/** Why a tag is out by name; undefined: it is in. */
type NameVerdict = (name: string, tag: string) => { readonly rule: NameRule; readonly message: string } | undefined

/**
 * Do the name filters want this tag? For {@link ListQuery}; labels and type are another matter.
 * @throws {TypeError} on a malformed pattern, which validation refuses.
 */
export function nameFilter(filters: Filters): (name: string, tag: string) => boolean {
  const verdict = nameVerdict(filters)
  return (name, tag) => verdict(name, tag) === undefined
}

/**
 * Which artifacts a policy covers, each once with the tags that selected it, by repository and digest; and for every
 * tag that is left out the rule that decided. A candidate whose type is not known yet passes: its content will tell.
 * @throws {TypeError} on a malformed pattern, which validation refuses.
 */
export function select(
  candidates: readonly Candidate[],
  { filters }: Pick<PreheatPolicy, 'filters'>,
): { readonly artifacts: Artifact[]; readonly leftOut: LeftOut[] } {
  const byName = nameVerdict(filters)
  const selected = new Map<string, { repository: string; digest: Digest; tags: Set<string> }>()
  const leftOut: LeftOut[] = []
  for (const candidate of candidates) {
    const { repository, name, digest, tags } = candidate
    if (tags.length === 0) leftOut.push({ repository, tag: undefined, digest, rule: 'untagged', message: 'has no tag' })
    const byContent = contentVerdict(candidate, filters)
    for (const tag of tags) {
      const verdict = byName(name, tag) ?? byContent
      if (verdict !== undefined) {
        leftOut.push({ repository, tag, digest, ...verdict })
        continue
      }
      if (digest === undefined) throw new Error(`${repository}:${tag} is wanted and was listed without its digest`)
      const key = `${repository}@${digest}`
      const artifact = selected.get(key) ?? { repository, digest, tags: new Set() }
      artifact.tags.add(tag)
      selected.set(key, artifact)
    }
  }
  const artifacts = [...selected.values()]
    .sort((a, b) => compare(a.repository, b.repository) || compare(a.digest, b.digest))
    .map(({ repository, digest, tags }) => ({ repository, digest, tags: [...tags].sort(compare) }))
  return { artifacts, leftOut: leftOut.sort(byPlace) }
}

/** `sha256:…`, equal for equal selections: the same content under the same tags. */
export function selectionDigest(artifacts: readonly Artifact[]): string {
  const lines = artifacts.map(
    ({ repository, digest, tags }) => `${repository}@${digest}#${[...tags].sort(compare).join(',')}`,
  )
  return `sha256:${createHash('sha256').update(lines.sort(compare).join('\n')).digest('hex')}`
}

function nameVerdict({ repositories, tags, exclude }: Filters): NameVerdict {
  const wantsRepository = firstMatch(repositories)
  const excludesRepository = firstMatch(exclude.repositories)
  const wantsTag = firstMatch(tags)
  const excludesTag = firstMatch(exclude.tags)
  return (name, tag) => {
    if (SIGNATURE_TAG.test(tag))
      return { rule: 'signature-tag', message: 'the tag is that of a signature or attestation' }
    // A nameless repository is what is left of a project's own name; Harbor matches none.
    if (name === '' || wantsRepository(name) === undefined)
      return { rule: 'repository', message: 'no pattern of filters.repositories matches' }
    const repositoryPattern = excludesRepository(name)
    if (repositoryPattern !== undefined)
      return {
        rule: 'exclude.repository',
        message: `filters.exclude.repositories has ${JSON.stringify(repositoryPattern)}`,
      }
    if (wantsTag(tag) === undefined) return { rule: 'tag', message: 'no pattern of filters.tags matches' }
    const tagPattern = excludesTag(tag)
    if (tagPattern !== undefined)
      return { rule: 'exclude.tag', message: `filters.exclude.tags has ${JSON.stringify(tagPattern)}` }
    return undefined
  }
}

function contentVerdict(
  { labels, type }: Candidate,
  filters: Filters,
): { readonly rule: 'label' | 'type'; readonly message: string } | undefined {
  const missing = filters.labels.filter((label) => labels?.includes(label) !== true)
  if (missing.length > 0) return { rule: 'label', message: `lacks the label ${missing.join(', ')}` }
  if (type !== undefined && !filters.types.some((wanted) => wanted === type))
    return { rule: 'type', message: `is of type ${type}, and filters.types has ${filters.types.join(', ')}` }
  return undefined
}

/** The first of the patterns that matches. */
function firstMatch(patterns: readonly string[]): (name: string) => string | undefined {
  const compiled = patterns.map((pattern) => ({ pattern, matches: compileDoublestar(pattern) }))
  return (name) => compiled.find(({ matches }) => matches(name))?.pattern
}

function byPlace(a: LeftOut, b: LeftOut): number {
  return (
    compare(a.repository, b.repository) || compare(a.tag ?? '', b.tag ?? '') || compare(a.digest ?? '', b.digest ?? '')
  )
}

/** By code unit, which no locale changes. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
