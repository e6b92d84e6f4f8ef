import type { Content, Digest } from '../model/artifact.ts'
import type { Candidate } from '../model/candidate.ts'
import type { Instant } from '../model/duration.ts'
import type { SignatureKind, SignatureMaterial } from '../model/signature.ts'
import type { Allowlist, Vulnerability } from '../model/vulnerability.ts'
import type { Secret } from '../model/secret.ts'

/** What of a listing takes more than the listing: asked for only where a criterion needs it. */
export type Detail = 'scan' | 'signatures'

/** What to list. */
export interface ListQuery {
  /** Harbor project; the repository prefix of an `oci` registry, where undefined means all of it. */
  readonly project: string | undefined
  /** Only these, with the project, each whole; undefined: all of the project. One that is not there holds nothing. */
  readonly repositories?: readonly string[] | undefined
  readonly details: readonly Detail[]
  /** A listing that somebody else asked for and that began at this instant or later will do. */
  readonly since: Instant
}

/** What a Harbor project demands of an artifact before it may be pulled; an `oci` registry demands nothing. */
export interface ProjectRules {
  /** Kinds of signature that have to be there: `enable_content_trust_cosign` and `enable_content_trust`. */
  readonly signatures: readonly SignatureKind[]
  /** `prevent_vul`: only what is strictly below this, as Harbor stores it (`none`, `low`…); undefined: all may pass. */
  readonly severity: string | undefined
  /** The one in effect: the system's or the project's own. */
  readonly allowlist: Allowlist
  /** Is the project a proxy cache of another registry? */
  readonly isProxyCache: boolean
}

/**
 * A registry, read. One object per declared Registry; safe for concurrent calls; limits and retries are inside.
 * Every method throws {@link EdgeError} for every refusal and silence, {@link OperatorError} for a secret that cannot
 * be used, or the signal's own reason.
 */
export interface ArtifactSource extends AsyncDisposable {
  /**
   * Every artifact of the project, accessories and untagged ones left out; an `oci` registry lists a candidate a tag
   * and no digests, which {@link resolve} tells.
   * A listing that is not whole throws; it never returns a short list.
   */
  list(query: ListQuery, signal: AbortSignal): Promise<readonly Candidate[]>

  /** Proves that it answers and takes the credential. @returns what it is, for a person: `Harbor v2.12.2-0a1b2c3d` */
  identify(signal: AbortSignal): Promise<string>

  /** Some repository of the project, of which the credential may read the tags; undefined: there is none yet. */
  sample(project: string | undefined, signal: AbortSignal): Promise<string | undefined>

  /** What a tag points at now; undefined when there is no such tag. Costs no pull where pulls are counted. */
  resolve(repository: string, tag: string, signal: AbortSignal): Promise<Digest | undefined>

  /** @throws {EdgeError} PH6003 when there is no such project. */
  projectRules(project: string | undefined, signal: AbortSignal): Promise<ProjectRules>

  /**
   * Which kinds of signature stand beside an artifact, whoever made them: accessories of a Harbor, referrers and
   * cosign's tags of any other.
   */
  signatureKinds(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly SignatureKind[]>

  /** All that may be a signature of the artifact, at most 100, each of them checked against its own digest only. */
  signatures(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly SignatureMaterial[]>

  /** What the scanner found in an artifact, one by one. @throws {EdgeError} PH6003 for a registry that has no scanner */
  vulnerabilities(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly Vulnerability[]>

  /**
   * Has a proxy-cache project fetch what it does not hold yet, and waits until it does.
   * @param reference a tag or a digest
   * @returns the digest that the registry ended up with, which may not be the upstream's
   */
  pullThrough(repository: string, reference: string, signal: AbortSignal): Promise<Digest>

  /** What stands behind a digest, read and verified; an index is followed to its platform manifests. */
  content(repository: string, digest: Digest, signal: AbortSignal): Promise<Content>

  /**
   * The `Authorization` value that an engine pulls `repository` with, minted now; undefined for anonymous pulls.
   * Not cached: what it returns has its whole life before it.
   */
  authorize(repository: string, signal: AbortSignal): Promise<Secret | undefined>
}
