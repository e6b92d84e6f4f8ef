import type { Artifact, Content, Digest, Platform, PlatformManifest } from '../model/artifact.ts'
import type { Candidate } from '../model/candidate.ts'
import type { Instant } from '../model/duration.ts'
import { EdgeError } from '../model/errors.ts'
import type { Filters } from '../model/policy.ts'
import type { Vulnerability } from '../model/vulnerability.ts'
import type { ArtifactSource } from '../registry/registry.ts'
import { judgePresence, judgeReport, judgeScan, judgeVerified, scanOf, type Demands } from './criteria.ts'
import { manifestsFor, platformsOf } from './platforms.ts'
import { wantsType, type LeftOut, type Verdict } from './select.ts'
import { verifySignatures } from './verify-signature.ts'

/** An artifact that the filters want, or that the policy names, with what the listing told of it. */
export interface Considered extends Artifact, Pick<Candidate, 'signatures' | 'scan'> {
  /** Beside the filters, so that none of them leaves it out. */
  readonly isNamed: boolean
}

/** What appraising may touch. */
export interface AppraisePorts {
  readonly source: Pick<ArtifactSource, 'signatureKinds' | 'signatures' | 'vulnerabilities' | 'content'>
  readonly now: Instant
}

/**
 * What the criteria say of one artifact, in Harbor's order: signatures, then vulnerabilities. Each verdict costs what it
 * takes to ask for its evidence, so whoever has seen enough stops.
 *
 * @throws {EdgeError} when the evidence cannot be read: an artifact that was not looked at is neither in nor out
 */
export async function* appraise(
  artifact: Considered,
  demands: Demands,
  platforms: readonly Platform[],
  ports: AppraisePorts,
  signal: AbortSignal,
): AsyncGenerator<Verdict, void, undefined> {
  const { repository, digest } = artifact
  const { source, now } = ports
  const parts = async () => wantedParts(await source.content(repository, digest, signal), platforms)
  if (demands.kinds.length > 0 || demands.signed) {
    const present = artifact.signatures ?? (await source.signatureKinds(repository, digest, signal))
    const verdict = judgePresence(demands, present)
    if (verdict !== undefined) yield verdict
    if (verdict?.says === 'in' && demands.kinds.length > 0)
      for (const part of await parts()) {
        const own = judgePresence(demands, await source.signatureKinds(repository, part.digest, signal))
        if (own?.says === 'out') yield ofPart(own, part, 'sign it with cosign sign --recursive')
      }
  }
  if (demands.trust !== undefined) yield await verify(artifact, demands.trust, platforms, source, signal)
  const scanned = judgeScan(demands, scanOf(artifact), now)
  if (scanned === undefined) return
  const whole =
    scanned.says === 'unknown' ? judgeReport(demands, await reportOf(repository, digest, source, signal), now) : scanned
  if (whole === undefined) return
  yield whole
  if (whole.says !== 'in') return
  for (const part of await parts()) {
    const own = judgeReport(demands, await reportOf(repository, part.digest, source, signal), now)
    if (own?.says === 'out') yield ofPart(own, part, 'scan it')
  }
}

/**
 * The manifests of an index that engines will pull. Harbor's gates look at each by itself, and at no parent: one that is
 * not signed or scanned itself is refused with 412 (goharbor/harbor src/server/middleware/{contenttrust,vulnerable}).
 */
function wantedParts(content: Content, platforms: readonly Platform[]): readonly PlatformManifest[] {
  return content.isIndex ? manifestsFor(content, platforms) : []
}

function ofPart(verdict: Verdict, { digest, platform }: PlatformManifest, remedy: string): Verdict {
  const message = `its manifest ${platform ?? digest}: ${verdict.message}; the registry would refuse the engine: ${remedy}`
  return { ...verdict, message }
}

/** Undefined: there is none. */
async function reportOf(
  repository: string,
  digest: Digest,
  source: AppraisePorts['source'],
  signal: AbortSignal,
): Promise<readonly Vulnerability[] | undefined> {
  try {
    return await source.vulnerabilities(repository, digest, signal)
  } catch (error) {
    if (error instanceof EdgeError && error.code === 'PH6003') return undefined
    throw error
  }
}

/**
 * Cosign signs the digest that it was given, mostly that of an index; where that has no signature that holds, all of
 * its manifests that are wanted have to have one each.
 */
async function verify(
  { repository, digest }: Artifact,
  trust: NonNullable<Demands['trust']>,
  platforms: readonly Platform[],
  source: AppraisePorts['source'],
  signal: AbortSignal,
): Promise<Verdict> {
  const verified = async (one: Digest) => verifySignatures(one, await source.signatures(repository, one, signal), trust)
  const whole = await verified(digest)
  if (whole.ok) return judgeVerified(whole)
  const content = await source.content(repository, digest, signal)
  const each = await Promise.all(wantedParts(content, platforms).map(async (part) => verified(part.digest)))
  const [first] = each
  return judgeVerified(first?.ok === true && each.every(({ ok }) => ok) ? first : whole)
}

/** Those that no criterion leaves out, and for the others the one that did. */
export async function appraiseAll(
  artifacts: readonly Considered[],
  demands: Demands,
  platforms: readonly Platform[],
  ports: AppraisePorts,
  signal: AbortSignal,
): Promise<{ readonly passed: readonly Considered[]; readonly leftOut: readonly LeftOut[] }> {
  const verdicts = await Promise.all(
    artifacts.map(async (artifact) => {
      for await (const verdict of appraise(artifact, demands, platforms, ports, signal))
        if (verdict.says === 'out') return verdict
      return undefined
    }),
  )
  return {
    passed: artifacts.filter((_, index) => verdicts[index] === undefined),
    leftOut: artifacts.flatMap(({ repository, digest, tags }, index) => {
      const verdict = verdicts[index]
      if (verdict === undefined) return []
      const { rule, message } = verdict
      return (tags.length > 0 ? tags : [undefined]).map((tag) => ({ repository, tag, digest, rule, message }))
    }),
  }
}

/** What the manifest itself decides: its type, and whether it holds a wanted platform. */
export function judgeContent(
  content: Content,
  { artifact, platforms }: { readonly artifact: Pick<Considered, 'isNamed'>; readonly platforms: readonly Platform[] },
  filters: Filters,
): Verdict {
  if (!artifact.isNamed && !wantsType(filters, content.type)) {
    const message = `its content is of type ${content.type}, and filters.types has ${filters.types.join(', ')}`
    return { rule: 'type', says: 'out', message, field: 'spec.filters.types' }
  }
  const wanted = platforms.join(', ') || 'any platform'
  const field = platforms.length > 0 ? 'spec.platforms' : undefined
  const manifests = manifestsFor(content, platforms)
  if (manifests.length > 0)
    return {
      rule: 'platform',
      says: 'in',
      message: `holds ${platformsOf(manifests).join(', ') || 'one manifest'}`,
      field,
    }
  const message = content.isIndex ? `the index holds none of ${wanted}` : 'it holds no manifest'
  return { rule: 'platform', says: 'out', message, field }
}
