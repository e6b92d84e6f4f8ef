import { createHash } from 'node:crypto'
import { rcompare, parse as parseVersion, type SemVer } from 'semver'
import type { Artifact, ArtifactType, Digest, FileUrl } from '../model/artifact.ts'
import type { Candidate } from '../model/candidate.ts'
import { compileDoublestar } from '../model/doublestar.ts'
import type { Filters, Newest } from '../model/policy.ts'

/** What may leave an artifact out, in the order in which it is asked: Harbor's, exclusions after what they exclude from. */
type Rule =
  | 'untagged'
  | 'signature-tag'
  | 'repository'
  | 'exclude.repository'
  | 'tag'
  | 'exclude.tag'
  | 'label'
  | 'type'
  | 'newest'
  | 'named'
  | 'gone'
  | 'signature'
  | 'vulnerability'
  | 'platform'

/** What one rule says of one tag. */
export interface Verdict {
  readonly rule: Rule
  /** `unknown`: it cannot be told before the registry is asked more. */
  readonly says: 'in' | 'out' | 'unknown'
  readonly message: string
  /** The field of the policy that decided: `spec.filters.tags[0]`; undefined where no field of it did. */
  readonly field: string | undefined
}

/** A tag that was listed and is not preheated, and why: the first rule that says so. */
export interface LeftOut {
  readonly repository: string
  /** Undefined for an artifact without tags, or as a whole. */
  readonly tag: string | undefined
  /** Undefined where no filter wanted the tag, so that nobody asked. */
  readonly digest: Digest | undefined
  readonly rule: Rule
  readonly message: string
}

/** A tag that all filters want, and what was listed of it. */
export interface Picked {
  readonly candidate: Candidate
  readonly tag: string
}

/** Asks one rule; undefined: the policy does not use it. */
type Judge = (candidate: Candidate, tag: string) => Verdict | undefined

/**
 * Signatures, attestations and SBOMs that cosign and others push beside an image, under a tag made of its digest. No
 * image, whatever the pattern says: Harbor preheats them on events (contracts/harbor.md §2.11).
 */
const SIGNATURE_TAG = /^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$/

/**
 * Which tags the filters cover; and for every tag that is left out the rule that decided. A candidate whose type is not
 * known yet passes: its content will tell.
 * @throws {TypeError} on a malformed pattern, which validation refuses.
 */
export function select(
  candidates: readonly Candidate[],
  filters: Filters,
): { readonly picked: Picked[]; readonly leftOut: LeftOut[] } {
  if (!hasFilters(filters)) return { picked: [], leftOut: [] }
  const judges = judgesOf(filters)
  const wanted: Picked[] = []
  const leftOut: LeftOut[] = []
  for (const candidate of candidates) {
    const { repository, digest, tags } = candidate
    if (tags.length === 0) leftOut.push({ repository, tag: undefined, digest, rule: 'untagged', message: 'has no tag' })
    for (const tag of tags) {
      const out = firstOut(judges, candidate, tag)
      if (out === undefined) wanted.push({ candidate, tag })
      else leftOut.push({ repository, tag, digest, rule: out.rule, message: out.message })
    }
  }
  const { newest } = filters
  if (newest === undefined) return { picked: wanted, leftOut: leftOut.sort(byPlace) }
  const isNewest = newestOf(wanted, newest)
  for (const one of wanted) {
    const { says, message } = isNewest(one)
    const { repository, digest } = one.candidate
    if (says === 'out') leftOut.push({ repository, tag: one.tag, digest, rule: 'newest', message })
  }
  return { picked: wanted.filter((one) => isNewest(one).says === 'in'), leftOut: leftOut.sort(byPlace) }
}

/** Is anything looked for beside what is named? If not, nothing is left out either. */
export function hasFilters({ repositories }: Filters): boolean {
  return repositories.length > 0
}

/** Would the filters that go by name want this tag? */
export function nameFilter(filters: Filters): (name: string, tag: string) => boolean {
  const judges = nameJudges(filters)
  return (name, tag) => !judges.some((judge) => judge({ name }, tag)?.says === 'out')
}

/**
 * What every filter says of every listed tag, those after the one that decided included.
 * @throws {TypeError} on a malformed pattern
 */
export function explainFilters(
  candidates: readonly Candidate[],
  filters: Filters,
): { readonly candidate: Candidate; readonly tag: string; readonly verdicts: readonly Verdict[] }[] {
  if (!hasFilters(filters)) return []
  const judges = judgesOf(filters)
  const all = candidates.flatMap((candidate) =>
    candidate.tags.map((tag) => ({
      candidate,
      tag,
      verdicts: judges.flatMap((judge) => judge(candidate, tag) ?? []),
    })),
  )
  const { newest } = filters
  if (newest === undefined) return all
  const isNewest = newestOf(
    all.filter(({ verdicts }) => verdicts.every(({ says }) => says !== 'out')),
    newest,
  )
  return all.map((one) => ({ ...one, verdicts: [...one.verdicts, isNewest(one)] }))
}

/** Each artifact once with the tags that selected it, by repository and digest. What has no digest yet is left out. */
export function artifactsOf(picked: readonly Picked[]): Artifact[] {
  const found = new Map<string, { repository: string; digest: Digest; tags: Set<string> }>()
  for (const { candidate, tag } of picked) {
    const { repository, digest } = candidate
    if (digest === undefined) continue
    const key = `${repository}@${digest}`
    const artifact = found.get(key) ?? { repository, digest, tags: new Set<string>() }
    artifact.tags.add(tag)
    found.set(key, artifact)
  }
  return [...found.values()]
    .sort((a, b) => compare(a.repository, b.repository) || compare(a.digest, b.digest))
    .map(({ repository, digest, tags }) => ({ repository, digest, tags: [...tags].sort(compare) }))
}

/** `sha256:…`, equal for equal selections: the same content under the same tags, and the same files. */
export function selectionDigest(artifacts: readonly Artifact[], files: readonly FileUrl[] = []): string {
  const lines = [
    ...artifacts.map(({ repository, digest, tags }) => `${repository}@${digest}#${[...tags].sort(compare).join(',')}`),
    ...files.map((file) => `file ${file}`),
  ]
  return `sha256:${createHash('sha256').update(lines.sort(compare).join('\n')).digest('hex')}`
}

/** Does the policy want what turned out to be of this type? */
export function wantsType({ types }: Filters, type: ArtifactType): boolean {
  return types.some((wanted) => wanted === 'any' || wanted === type)
}

/** By repository, tag and digest. */
export function byPlace(a: LeftOut, b: LeftOut): number {
  return (
    compare(a.repository, b.repository) || compare(a.tag ?? '', b.tag ?? '') || compare(a.digest ?? '', b.digest ?? '')
  )
}

function judgesOf(filters: Filters): readonly Judge[] {
  return [...nameJudges(filters), labelJudge(filters), typeJudge(filters)]
}

type NameJudge = (candidate: Pick<Candidate, 'name'>, tag: string) => Verdict | undefined

function nameJudges({ repositories, tags, exclude }: Filters): readonly NameJudge[] {
  const wantsRepository = firstMatch(repositories)
  const excludesRepository = firstMatch(exclude.repositories)
  const wantsTag = firstMatch(tags)
  const excludesTag = firstMatch(exclude.tags)
  return [
    (_, tag) =>
      SIGNATURE_TAG.test(tag)
        ? {
            rule: 'signature-tag',
            says: 'out',
            message: 'the tag is that of a signature or attestation',
            field: undefined,
          }
        : undefined,
    // A nameless repository is what is left of a project's own name; Harbor matches none.
    ({ name }) => wanting('repository', 'filters.repositories', name === '' ? undefined : wantsRepository(name)),
    ({ name }) => excluding('exclude.repository', 'filters.exclude.repositories', excludesRepository(name)),
    (_, tag) => wanting('tag', 'filters.tags', wantsTag(tag)),
    (_, tag) => excluding('exclude.tag', 'filters.exclude.tags', excludesTag(tag)),
  ]
}

function labelJudge({ labels: wanted }: Filters): Judge {
  return ({ labels }) => {
    if (wanted.length === 0) return undefined
    const missing = wanted.filter((label) => labels?.includes(label) !== true)
    const field = 'spec.filters.labels'
    return missing.length > 0
      ? { rule: 'label', says: 'out', message: `lacks the label ${missing.join(', ')}`, field }
      : { rule: 'label', says: 'in', message: `carries ${wanted.join(', ')}`, field }
  }
}

function typeJudge(filters: Filters): Judge {
  const wanted = filters.types.join(', ')
  const field = 'spec.filters.types'
  return ({ type }) => {
    if (type === undefined) return { rule: 'type', says: 'unknown', message: 'its manifest will tell its type', field }
    return wantsType(filters, type)
      ? { rule: 'type', says: 'in', message: `is of type ${type}`, field }
      : { rule: 'type', says: 'out', message: `is of type ${type}, and filters.types has ${wanted}`, field }
  }
}

function wanting(rule: 'repository' | 'tag', field: string, match: Match | undefined): Verdict {
  return match === undefined
    ? { rule, says: 'out', message: `no pattern of ${field} matches`, field: `spec.${field}` }
    : { rule, says: 'in', message: `${JSON.stringify(match.pattern)} matches`, field: `spec.${field}[${match.index}]` }
}

function excluding(
  rule: 'exclude.repository' | 'exclude.tag',
  field: string,
  match: Match | undefined,
): Verdict | undefined {
  if (match === undefined) return undefined
  const message = `${field} has ${JSON.stringify(match.pattern)}`
  return { rule, says: 'out', message, field: `spec.${field}[${match.index}]` }
}

function firstOut(judges: readonly Judge[], candidate: Candidate, tag: string): Verdict | undefined {
  for (const judge of judges) {
    const verdict = judge(candidate, tag)
    if (verdict?.says === 'out') return verdict
  }
  return undefined
}

interface Match {
  readonly pattern: string
  readonly index: number
}

/** The first of the patterns that matches. */
function firstMatch(patterns: readonly string[]): (name: string) => Match | undefined {
  const compiled = patterns.map((pattern, index) => ({ pattern, index, matches: compileDoublestar(pattern) }))
  return (name) => compiled.find(({ matches }) => matches(name))
}

/** Among what the filters before it want, the newest of each repository. */
function newestOf(wanted: readonly Picked[], { count, by }: Newest): (one: Picked) => Verdict {
  const rankOf = by === 'pushed' ? byPush : byVersion
  const ranks = new Map<string, (one: Picked) => number | undefined>()
  for (const [repository, own] of grouped(wanted)) ranks.set(repository, rankOf(own))
  const field = 'spec.filters.newest'
  return (one) => {
    const rank = ranks.get(one.candidate.repository)?.(one)
    if (rank === undefined) {
      const message = by === 'pushed' ? 'the registry does not say when it was pushed' : 'the tag is no version'
      return { rule: 'newest', says: 'out', message, field }
    }
    const message = `number ${rank} of the newest by ${by}, and filters.newest.count is ${count}`
    return { rule: 'newest', says: rank <= count ? 'in' : 'out', message, field }
  }
}

/** Counts artifacts, so that five tags of one image are one; pushed at once, the higher digest is the newer. */
function byPush(own: readonly Picked[]): (one: Picked) => number | undefined {
  const artifacts = new Map(own.map(({ candidate }) => [candidate.digest ?? '', candidate.pushedAt]))
  const order = [...artifacts]
    .filter(([, at]) => at !== undefined)
    .sort(([a, at], [b, bt]) => bt! - at! || compare(b, a))
    .map(([digest]) => digest)
  const ranks = new Map(order.map((digest, index) => [digest, index + 1]))
  return ({ candidate }) => ranks.get(candidate.digest ?? '')
}

/** Counts versions, so that `v1.2.0` and `1.2.0` are one. */
function byVersion(own: readonly Picked[]): (one: Picked) => number | undefined {
  const versions = new Map<string, SemVer>()
  for (const { tag } of own) {
    const version = parseVersion(tag)
    if (version !== null) versions.set(version.version, version)
  }
  const order = [...versions.values()].sort(rcompare).map(({ version }) => version)
  const ranks = new Map(order.map((version, index) => [version, index + 1]))
  return ({ tag }) => ranks.get(parseVersion(tag)?.version ?? '')
}

function grouped(wanted: readonly Picked[]): Map<string, Picked[]> {
  const groups = new Map<string, Picked[]>()
  for (const one of wanted) {
    const group = groups.get(one.candidate.repository)
    if (group === undefined) groups.set(one.candidate.repository, [one])
    else group.push(one)
  }
  return groups
}

/** By code unit, which no locale changes. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
