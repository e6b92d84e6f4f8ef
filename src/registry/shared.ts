import type { Content, Digest } from '../model/artifact.ts'
import type { Candidate } from '../model/candidate.ts'
import type { Clock } from '../model/clock.ts'
import type { Instant } from '../model/duration.ts'
import type { Secret } from '../model/secret.ts'
import type { SignatureKind, SignatureMaterial } from '../model/signature.ts'
import type { Vulnerability } from '../model/vulnerability.ts'
import type { ArtifactSource, Detail, ListQuery, ProjectRules } from './registry.ts'

/** How long a listing is kept for others: executions of one slot that wait for their turn to select. */
const KEPT_MS = 600_000
/** A project holds up to some 10,000 artifacts, 10 MB of them. */
const MAX_LISTINGS = 8
/** Rules that changed less long ago may go unseen, as they would by an execution that began that much earlier. */
const RULES_KEPT_MS = 5_000

interface Listing {
  readonly startedAt: Instant
  readonly details: readonly Detail[]
  readonly candidates: Promise<readonly Candidate[]>
}

/**
 * A registry that is listed once however many policies ask. A thousand policies of one slot share the listing that the
 * first of them asked for, since it began after all of them did; whoever begins later has it listed anew.
 */
export class SharedSource implements ArtifactSource {
  readonly #source: ArtifactSource
  readonly #clock: Clock
  /** By project, oldest first. */
  readonly #listings = new Map<string, Listing>()
  readonly #rules = new Map<string, { readonly at: Instant; readonly rules: Promise<ProjectRules> }>()

  constructor(source: ArtifactSource, clock: Clock) {
    this.#source = source
    this.#clock = clock
  }

  list(query: ListQuery, signal: AbortSignal): Promise<readonly Candidate[]> {
    // Of an event, or of artifacts that are named: nobody else wants just these.
    if (query.repositories !== undefined) return this.#source.list(query, signal)
    const now = this.#clock.now()
    for (const [key, { startedAt }] of this.#listings) if (now - startedAt > KEPT_MS) this.#listings.delete(key)
    const key = JSON.stringify(query.project ?? null)
    const kept = this.#listings.get(key)
    const details = query.details.filter((detail) => kept?.details.includes(detail) !== true)
    if (kept !== undefined && kept.startedAt >= query.since && details.length === 0) return kept.candidates
    // What others asked for and is still fresh is asked for again, or two policies would take it from each other.
    const all = kept !== undefined && kept.startedAt >= query.since ? [...kept.details, ...details] : query.details
    const candidates = this.#source.list({ ...query, details: all }, signal)
    this.#listings.delete(key)
    this.#listings.set(key, { startedAt: now, details: all, candidates })
    candidates.catch(() => {
      if (this.#listings.get(key)?.candidates === candidates) this.#listings.delete(key)
    })
    if (this.#listings.size > MAX_LISTINGS) this.#listings.delete(this.#listings.keys().next().value!)
    return candidates
  }

  projectRules(project: string | undefined, signal: AbortSignal): Promise<ProjectRules> {
    const now = this.#clock.now()
    const key = JSON.stringify(project ?? null)
    const kept = this.#rules.get(key)
    if (kept !== undefined && now - kept.at < RULES_KEPT_MS && now >= kept.at) return kept.rules
    const rules = this.#source.projectRules(project, signal)
    this.#rules.set(key, { at: now, rules })
    rules.catch(() => this.#rules.delete(key))
    return rules
  }

  identify(signal: AbortSignal): Promise<string> {
    return this.#source.identify(signal)
  }

  sample(project: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    return this.#source.sample(project, signal)
  }

  resolve(repository: string, tag: string, signal: AbortSignal): Promise<Digest | undefined> {
    return this.#source.resolve(repository, tag, signal)
  }

  signatureKinds(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly SignatureKind[]> {
    return this.#source.signatureKinds(repository, digest, signal)
  }

  signatures(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly SignatureMaterial[]> {
    return this.#source.signatures(repository, digest, signal)
  }

  vulnerabilities(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly Vulnerability[]> {
    return this.#source.vulnerabilities(repository, digest, signal)
  }

  pullThrough(repository: string, reference: string, signal: AbortSignal): Promise<Digest> {
    return this.#source.pullThrough(repository, reference, signal)
  }

  content(repository: string, digest: Digest, signal: AbortSignal): Promise<Content> {
    return this.#source.content(repository, digest, signal)
  }

  authorize(repository: string, signal: AbortSignal): Promise<Secret | undefined> {
    return this.#source.authorize(repository, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]()
  }
}
