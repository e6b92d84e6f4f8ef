import type { Candidate, Content, Digest } from '../../src/model/artifact.ts'
import { EdgeError } from '../../src/model/errors.ts'
import { distinctBlobs } from '../../src/model/artifact.ts'
import type { Engine, Health, Observation, Probe, WantedJob } from '../../src/engine/engine.ts'
import type { ArtifactSource, ProjectRules } from '../../src/registry/registry.ts'
import type { Job, Order } from '../../src/model/task.ts'
import { manifest } from './examples.ts'

/** A registry in memory: it lists what it is given and knows one manifest for each digest. */
export class MemorySource implements ArtifactSource {
  rules: ProjectRules = { contentTrust: false, preventVulnerable: false }
  readonly contents = new Map<Digest, Content | EdgeError>()
  readonly read: Digest[] = []
  readonly candidates: Candidate[]

  constructor(candidates: Candidate[]) {
    this.candidates = candidates
  }

  list(): Promise<Candidate[]> {
    return Promise.resolve(this.candidates)
  }

  identify(): Promise<string> {
    return Promise.resolve('in memory')
  }

  sample(): Promise<string | undefined> {
    return Promise.resolve(this.candidates[0]?.repository)
  }

  resolve(repository: string, tag: string): Promise<Digest | undefined> {
    const found = this.candidates.find((one) => one.repository === repository && one.tags.includes(tag))
    return Promise.resolve(found?.digest)
  }

  projectRules(): Promise<ProjectRules> {
    return Promise.resolve(this.rules)
  }

  content(_repository: string, digest: Digest): Promise<Content> {
    this.read.push(digest)
    const known = this.contents.get(digest) ?? {
      digest,
      type: 'image',
      isIndex: false,
      manifests: [manifest({ digest })],
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
        cached: distinctBlobs(order.manifests).map(({ digest }) => digest),
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

  abilities(): Promise<{ evidence: 'claimed-by-engine'; clusters: string[] }> {
    return Promise.resolve({ evidence: 'claimed-by-engine', clusters: [] })
  }

  jobs(order: Order): Promise<WantedJob[]> {
    return Promise.resolve(
      order.manifests.map(({ digest }) => ({
        key: `${digest}@all`,
        manifest: digest,
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

  nextLook(submittedAt: number, now: number): number {
    return Math.max(submittedAt + 30_000, now + 1)
  }

  overdueAt(order: Order, submittedAt: number): number {
    return submittedAt + order.timeoutMs
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
