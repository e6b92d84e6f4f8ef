import type { Content, Digest } from '../../src/model/artifact.ts'
import type { Candidate } from '../../src/model/candidate.ts'
import type { SignatureKind, SignatureMaterial } from '../../src/model/signature.ts'
import type { Vulnerability } from '../../src/model/vulnerability.ts'
import { EdgeError } from '../../src/model/errors.ts'
import { distinctBlobs } from '../../src/model/artifact.ts'
import type { Engine, Health, Inspection, Observation, Probe, WantedJob } from '../../src/engine/engine.ts'
import type { ArtifactSource, ListQuery, ProjectRules } from '../../src/registry/registry.ts'
import type { Job, Order } from '../../src/model/task.ts'
import { manifest } from './examples.ts'

/** A registry in memory: it lists what it is given and knows one manifest for each digest. */
export class MemorySource implements ArtifactSource {
  rules: ProjectRules = {
    signatures: [],
    severity: undefined,
    allowlist: { ids: [], expiresAt: undefined },
    isProxyCache: false,
  }
  /** By digest. */
  readonly kinds = new Map<Digest, readonly SignatureKind[]>()
  readonly materials = new Map<Digest, readonly SignatureMaterial[]>()
  readonly reports = new Map<Digest, readonly Vulnerability[]>()
  /** What a proxy cache holds once it was asked, by `name:tag` or `name@digest`. */
  readonly upstream = new Map<string, Digest>()
  /** Where tags point now, where not at what was listed; undefined: nowhere. */
  readonly tags = new Map<string, Digest | undefined>()
  /** Every call beyond the listing, in order: `scan report library/app@sha256:…`. */
  readonly asked: string[] = []
  readonly contents = new Map<Digest, Content | EdgeError>()
  readonly read: Digest[] = []
  readonly candidates: Candidate[]

  constructor(candidates: Candidate[]) {
    this.candidates = candidates
  }

  list({ repositories }: ListQuery): Promise<Candidate[]> {
    return Promise.resolve(this.candidates.filter(({ repository }) => repositories?.includes(repository) !== false))
  }

  identify(): Promise<string> {
    return Promise.resolve('in memory')
  }

  sample(): Promise<string | undefined> {
    return Promise.resolve(this.candidates[0]?.repository)
  }

  resolve(repository: string, tag: string): Promise<Digest | undefined> {
    if (this.tags.has(`${repository}:${tag}`)) return Promise.resolve(this.tags.get(`${repository}:${tag}`))
    const found = this.candidates.find((one) => one.repository === repository && one.tags.includes(tag))
    return Promise.resolve(found?.digest)
  }

  projectRules(): Promise<ProjectRules> {
    return Promise.resolve(this.rules)
  }

  signatureKinds(repository: string, digest: Digest): Promise<readonly SignatureKind[]> {
    this.asked.push(`kinds ${repository}@${digest}`)
    return Promise.resolve(this.kinds.get(digest) ?? [])
  }

  signatures(repository: string, digest: Digest): Promise<readonly SignatureMaterial[]> {
    this.asked.push(`signatures ${repository}@${digest}`)
    return Promise.resolve(this.materials.get(digest) ?? [])
  }

  vulnerabilities(repository: string, digest: Digest): Promise<readonly Vulnerability[]> {
    this.asked.push(`report ${repository}@${digest}`)
    const report = this.reports.get(digest)
    return report === undefined
      ? Promise.reject(new EdgeError('rejected', 'PH6003', `registry harbor has no report of ${repository}@${digest}`))
      : Promise.resolve(report)
  }

  pullThrough(repository: string, reference: string): Promise<Digest> {
    this.asked.push(`pull-through ${repository} ${reference}`)
    const found = this.upstream.get(`${repository}${reference.startsWith('sha256:') ? '@' : ':'}${reference}`)
    return found === undefined
      ? Promise.reject(
          new EdgeError('rejected', 'PH6003', `registry harbor has nothing there: ${repository} ${reference}`),
        )
      : Promise.resolve(found)
  }

  content(_repository: string, digest: Digest): Promise<Content> {
    this.read.push(digest)
    const known = this.contents.get(digest) ?? {
      digest,
      type: 'image',
      isIndex: false,
      manifests: [manifest({ digest })],
      absent: [],
    }
    return known instanceof EdgeError ? Promise.reject(known) : Promise.resolve(known)
  }

  authorize(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** An engine in memory: one job an order, ended at the second look with every blob cached, unless told otherwise. */
export class MemoryEngine implements Engine {
  readonly submitted: { readonly taskId: string; readonly id: string }[] = []
  /** Resolves when a submission may go on; by default at once. */
  gate: (order: Order) => Promise<void> = () => Promise.resolve()
  observation: (order: Order, job: Job) => Observation | EdgeError = (order) => ({
    kind: 'ended',
    verdict: {
      said: 'success',
      claims: {
        kind: 'success_tasks',
        source: 'claimed-by-engine',
        cached: 'file' in order ? [order.file] : distinctBlobs(order.manifests).map(({ digest }) => digest),
        peers: 1,
      },
      message: undefined,
    },
  })
  #inFlight = 0
  mostInFlight = 0

  health(): Promise<Health> {
    return Promise.resolve({ ok: true, detail: 'in memory' })
  }

  inspect(): Promise<Inspection> {
    return Promise.resolve({})
  }

  abilities(): Promise<{ evidence: 'claimed-by-engine'; clusters: string[] }> {
    return Promise.resolve({ evidence: 'claimed-by-engine', clusters: [] })
  }

  jobs(order: Order): Promise<WantedJob[]> {
    const parts = 'file' in order ? [undefined] : order.manifests.map(({ digest }) => digest)
    return Promise.resolve(
      parts.map((manifest) => ({
        key: `${manifest ?? 'file'}@all`,
        manifest,
        cluster: undefined,
        ids: [],
        state: 'wanted',
      })),
    )
  }

  async submit(order: Order): Promise<string> {
    this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight)
    try {
      await this.gate(order)
      const id = `${this.submitted.length + 1}`
      this.submitted.push({ taskId: order.taskId, id })
      return id
    } finally {
      this.#inFlight--
    }
  }

  observe(order: Order, job: Job): Promise<Observation> {
    const seen = this.observation(order, job)
    return seen instanceof EdgeError ? Promise.reject(seen) : Promise.resolve(seen)
  }

  /** Jobs that {@link find} knows, by task. */
  readonly lost = new Map<string, string>()

  find(order: Order): Promise<string | undefined> {
    return Promise.resolve(this.lost.get(order.taskId))
  }

  probe(): Promise<Probe> {
    return Promise.resolve({ kind: 'ended', claims: undefined })
  }

  /** Half a minute after every look: of a job that stays open for an hour there are some looks, not millions. */
  nextLook(_submittedAt: number, now: number): number {
    return now + 30_000
  }

  overdueAt(order: Order, submittedAt: number): number {
    return submittedAt + order.timeoutMs
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
