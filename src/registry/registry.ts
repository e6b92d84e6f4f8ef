import type { Candidate, Content, Digest } from '../model/artifact.ts'
import type { Secret } from '../model/secret.ts'

/** What to list. */
export interface ListQuery {
  /** Harbor project; the repository prefix of an `oci` registry, where undefined means all of it. */
  readonly project: string | undefined
  /**
   * Does any name filter want this tag? `name` is without the project prefix. An `oci` source resolves the digest of
   * wanted tags only; the others come back without one.
   */
  wants(name: string, tag: string): boolean
}

/** What a Harbor project demands of an artifact before it may be pulled; an `oci` registry demands nothing. */
export interface ProjectRules {
  /** `enable_content_trust` or `enable_content_trust_cosign`. */
  readonly contentTrust: boolean
  /** `prevent_vul`. */
  readonly preventVulnerable: boolean
}

/**
 * A registry, read. One object per declared Registry; safe for concurrent calls; limits and retries are inside.
 * Every method throws {@link EdgeError} for every refusal and silence, {@link OperatorError} for a secret that cannot
 * be used, or the signal's own reason.
 */
export interface ArtifactSource extends AsyncDisposable {
  /**
   * Every artifact of the project, accessories and untagged ones left out.
   * A listing that is not whole throws; it never returns a short list.
   */
  list(query: ListQuery, signal: AbortSignal): Promise<Candidate[]>

  /** Proves that it answers and takes the credential. @returns what it is, for a person: `Harbor v2.12.2-0a1b2c3d` */
  identify(signal: AbortSignal): Promise<string>

  /** Some repository of the project, of which the credential may read the tags; undefined: there is none yet. */
  sample(project: string | undefined, signal: AbortSignal): Promise<string | undefined>

  /** What a tag points at now; undefined when there is no such tag. */
  resolve(repository: string, tag: string, signal: AbortSignal): Promise<Digest | undefined>

  /** @throws {EdgeError} PH6003 when there is no such project. */
  projectRules(project: string | undefined, signal: AbortSignal): Promise<ProjectRules>

  /** What stands behind a digest, read and verified; an index is followed to its platform manifests. */
  content(repository: string, digest: Digest, signal: AbortSignal): Promise<Content>

  /**
   * The `Authorization` value that an engine pulls `repository` with, minted now; undefined for anonymous pulls.
   * Not cached: what it returns has its whole life before it.
   */
  authorize(repository: string, signal: AbortSignal): Promise<Secret | undefined>
}
