import type { Digest } from '../model/artifact.ts'
import type { Candidate } from '../model/candidate.ts'
import { EdgeError } from '../model/errors.ts'
import type { Unresolved } from '../model/execution.ts'
import type { NamedArtifact, PreheatPolicy } from '../model/policy.ts'
import type { ArtifactSource, ProjectRules } from '../registry/registry.ts'
import type { Considered } from './appraise.ts'

/**
 * The artifacts that a policy names beside its filters. What a proxy-cache project does not hold is fetched through it
 * first, and goes by the digest that the registry ended up with (goharbor/harbor issue 21827).
 */
export async function findNamed(
  policy: Pick<PreheatPolicy, 'artifacts' | 'project'>,
  candidates: readonly Candidate[],
  { isProxyCache }: ProjectRules,
  source: Pick<ArtifactSource, 'resolve' | 'pullThrough'>,
  signal: AbortSignal,
): Promise<{ readonly found: readonly Considered[]; readonly unresolved: readonly Unresolved[] }> {
  const answers = await Promise.all(
    policy.artifacts.map(async (named): Promise<Considered | Unresolved> => {
      const repository = repositoryOf(named, policy)
      try {
        const digest = await digestOf(named, repository, candidates, isProxyCache, source, signal)
        const listed = candidates.find((one) => one.repository === repository && one.digest === digest)
        const tags = 'tag' in named.reference ? [named.reference.tag] : []
        if (digest !== undefined)
          return { repository, digest, tags, signatures: listed?.signatures, scan: listed?.scan, isNamed: true }
        return { artifact: nameOf(named), code: 'PH8010', message: `${repository} has no such tag` }
      } catch (error) {
        if (!(error instanceof EdgeError)) throw error
        return { artifact: nameOf(named), code: error.code, message: error.message }
      }
    }),
  )
  return {
    found: answers.filter((one) => 'digest' in one),
    unresolved: answers.filter((one) => 'message' in one),
  }
}

/** With the project. */
export function repositoryOf({ name }: NamedArtifact, { project }: Pick<PreheatPolicy, 'project'>): string {
  return project === undefined ? name : `${project}/${name}`
}

/** `nginx:1.27` or `app@sha256:…`, as the policy writes it. */
function nameOf({ name, reference }: NamedArtifact): string {
  return 'tag' in reference ? `${name}:${reference.tag}` : `${name}@${reference.digest}`
}

async function digestOf(
  { reference }: NamedArtifact,
  repository: string,
  candidates: readonly Candidate[],
  isProxyCache: boolean,
  source: Pick<ArtifactSource, 'resolve' | 'pullThrough'>,
  signal: AbortSignal,
): Promise<Digest | undefined> {
  const own = candidates.filter((one) => one.repository === repository)
  if ('digest' in reference) {
    const { digest } = reference
    const isListed = own.some((one) => one.digest === digest)
    return isProxyCache && !isListed ? source.pullThrough(repository, digest, signal) : digest
  }
  const { tag } = reference
  // A listed tag of a proxy cache may be stale: only the upstream knows where it points.
  if (isProxyCache) return source.pullThrough(repository, tag, signal)
  const listed = own.find(({ tags }) => tags.includes(tag))?.digest
  return listed ?? source.resolve(repository, tag, signal)
}
