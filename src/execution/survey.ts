import type { Digest } from '../model/artifact.ts'
import type { Candidate } from '../model/candidate.ts'
import type { Instant } from '../model/duration.ts'
import type { EventSubject, Snapshot, Unresolved } from '../model/execution.ts'
import type { ArtifactSource } from '../registry/registry.ts'
import type { Considered } from './appraise.ts'
import { demandsOf, detailsOf, type Demands } from './criteria.ts'
import { findNamed, repositoryOf } from './named.ts'
import { artifactsOf, hasFilters, select, type LeftOut, type Picked } from './select.ts'

/** What a registry holds of a policy's project, and what of it the policy wants by its filters and by name. */
export interface Survey {
  readonly candidates: readonly Candidate[]
  readonly demands: Demands
  /** By repository and digest, each once; not appraised yet. */
  readonly wanted: readonly Considered[]
  readonly leftOut: readonly LeftOut[]
  /** Artifacts that the policy names and the registry does not have. */
  readonly unresolved: readonly Unresolved[]
}

/**
 * Lists what a policy may mean, and resolves the tags that it wants: a digest is what an execution preheats, wherever
 * the tag goes afterwards.
 *
 * @param since the listing has to have begun then or later
 * @throws {EdgeError} when the registry could not be read whole: a short selection would pass for the whole one
 */
export async function survey(
  { policy, subjects }: Pick<Snapshot, 'policy' | 'subjects'>,
  source: ArtifactSource,
  since: Instant,
  signal: AbortSignal,
): Promise<Survey> {
  const { project } = policy
  const rules = await source.projectRules(project, signal)
  const demands = demandsOf(policy.criteria, rules)
  const repositories = repositoriesOf(policy, subjects)
  const candidates = await source.list({ project, repositories, details: detailsOf(demands), since }, signal)
  const { picked, leftOut } = select(candidates, policy.filters)
  const meant = subjects === undefined ? picked : picked.filter((one) => mayBeAbout(one, subjects))
  const resolved = await resolveTags(meant, source, signal)
  const wanted = subjects === undefined ? resolved.picked : resolved.picked.filter((one) => isAbout(one, subjects))
  const named =
    subjects === undefined ? await findNamed(policy, candidates, rules, source, signal) : { found: [], unresolved: [] }
  return {
    candidates,
    demands,
    wanted: merged(wanted, named.found),
    leftOut: [...leftOut, ...resolved.leftOut],
    unresolved: named.unresolved,
  }
}

/** Those that have to be listed; undefined: all of the project. */
function repositoriesOf(
  policy: Snapshot['policy'],
  subjects: readonly EventSubject[] | undefined,
): readonly string[] | undefined {
  if (subjects === undefined && hasFilters(policy.filters)) return undefined
  const named =
    subjects?.map(({ repository }) => repository) ?? policy.artifacts.map((one) => repositoryOf(one, policy))
  return [...new Set(named)].sort()
}

/** Is it the tag that an event named, or its digest, or an index that lists the digest? A scan may be of a child. */
function isAbout({ candidate, tag }: Picked, subjects: readonly EventSubject[]): boolean {
  const { repository, digest, children } = candidate
  return subjects.some(
    ({ repository: of, reference }) =>
      of === repository && (reference === tag || reference === digest || children.some((child) => child === reference)),
  )
}

/** Likewise, where the digest is still to be asked for. */
function mayBeAbout(one: Picked, subjects: readonly EventSubject[]): boolean {
  const { repository, digest } = one.candidate
  const isOpen =
    digest === undefined && subjects.some((of) => of.repository === repository && of.reference.includes(':'))
  return isOpen || isAbout(one, subjects)
}

/** Asks for the digests of what was listed without one. A tag that is gone since is left out. */
async function resolveTags(
  picked: readonly Picked[],
  source: Pick<ArtifactSource, 'resolve'>,
  signal: AbortSignal,
): Promise<{ readonly picked: readonly Picked[]; readonly leftOut: readonly LeftOut[] }> {
  const resolved = await Promise.all(
    picked.map(async ({ candidate, tag }) => {
      const digest = candidate.digest ?? (await source.resolve(candidate.repository, tag, signal))
      return { candidate: { ...candidate, digest }, tag }
    }),
  )
  return {
    picked: resolved.filter(({ candidate }) => candidate.digest !== undefined),
    leftOut: resolved.flatMap(({ candidate: { repository, digest }, tag }) =>
      digest === undefined
        ? [{ repository, tag, digest, rule: 'gone', message: 'was deleted since it was listed' }]
        : [],
    ),
  }
}

/** Each artifact once, with the tags of the filters and of the names. */
function merged(picked: readonly Picked[], named: readonly Considered[]): Considered[] {
  const told = new Map(picked.map(({ candidate }) => [keyOf(candidate), candidate]))
  const all = new Map<string, Considered>()
  for (const artifact of artifactsOf(picked)) {
    const { signatures, scan } = told.get(keyOf(artifact))!
    all.set(keyOf(artifact), { ...artifact, signatures, scan, isNamed: false })
  }
  for (const one of named) {
    const known = all.get(keyOf(one))
    const tags = [...new Set([...(known?.tags ?? []), ...one.tags])].sort()
    all.set(keyOf(one), { ...one, ...known, tags, isNamed: true })
  }
  return [...all].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one)
}

function keyOf({ repository, digest }: { readonly repository: string; readonly digest: Digest | undefined }): string {
  return `${repository}\n${digest ?? ''}`
}
