import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

export type ForgeKind = 'github' | 'gitlab' | 'gitea'

export const FORGE_TOKEN = 'canary-forge-token-7c1d'
export const FORGE_COMMIT = '4f2b8c0d1e3a5967788990aabbccddeeff001122'

/** One status as it was taken. */
export interface PostedStatus {
  readonly commit: string
  readonly context: string
  readonly state: string
  readonly description: string
  readonly url: string | undefined
  /** GitLab's. */
  readonly ref: string | undefined
  readonly pipeline: number | undefined
}

/** Answers the next request instead of the forge. */
export interface ForgeTrouble {
  readonly status: number
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** GitHub's secondary limit, which has no budget that could be looked at. */
export function secondaryLimit(retryAfterSeconds: number): ForgeTrouble {
  const message = 'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.'
  return { status: 403, body: JSON.stringify({ message }), headers: { 'retry-after': `${retryAfterSeconds}` } }
}

/** GitHub's primary limit. */
export function primaryLimit(resetAt: number): ForgeTrouble {
  return {
    status: 403,
    body: JSON.stringify({ message: 'API rate limit exceeded for user ID 1.' }),
    headers: { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': `${Math.ceil(resetAt / 1000)}` },
  }
}

const WORD = { github: 'Bearer', gitlab: 'Bearer', gitea: 'token' } as const
const STATES: Readonly<Record<ForgeKind, readonly string[]>> = {
  github: ['error', 'failure', 'pending', 'success'],
  gitlab: ['pending', 'running', 'success', 'failed', 'canceled', 'skipped'],
  gitea: ['pending', 'success', 'error', 'failure', 'warning'],
}
const EVENTS: Readonly<Record<string, string>> = { pending: 'enqueue', running: 'run' }

/** The commit statuses of one repository, as GitHub Enterprise Server, GitLab or Gitea serves them. */
export class FakeForge implements AsyncDisposable {
  readonly kind: ForgeKind
  readonly repository: string
  readonly posted: PostedStatus[] = []
  /** `POST /api/v3/…` of every request, refused ones too. */
  readonly asked: string[] = []
  readonly commits = new Set([FORGE_COMMIT])
  /** Taken from the front, one a request. */
  readonly troubles: ForgeTrouble[] = []
  /** Headers of every answer: what is left of the budget. */
  budget: Readonly<Record<string, string>> = {}
  /** May the token list what stands there? */
  maySee = true
  #pipelines = 0
  readonly #server: Server

  private constructor(kind: ForgeKind, repository: string) {
    this.kind = kind
    this.repository = repository
    this.#server = createServer((request, response) => {
      void this.#answer(request, response)
    })
  }

  static async start(kind: ForgeKind, repository = 'platform/preheat'): Promise<FakeForge> {
    const forge = new FakeForge(kind, repository)
    forge.#server.listen(0, '127.0.0.1')
    await once(forge.#server, 'listening')
    return forge
  }

  get root(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** What stands beside the commit: the newest of each context. */
  standing(commit = FORGE_COMMIT): PostedStatus[] {
    const all = this.posted.filter((one) => one.commit === commit)
    return [...new Map(all.map((one) => [one.context.toLowerCase(), one])).values()]
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request)
    this.asked.push(`${request.method} ${request.url}`)
    const trouble = this.troubles.shift()
    const { status, body: answer, headers } = trouble ?? this.#decide(request, body)
    response.writeHead(status, { 'content-type': 'application/json', ...this.budget, ...headers }).end(answer)
  }

  #decide({ method = '', url = '', headers }: IncomingMessage, body: string): ForgeTrouble {
    if (headers.authorization !== `${WORD[this.kind]} ${FORGE_TOKEN}`) {
      return refused(401, `Bad credentials: ${headers.authorization ?? 'none'}`)
    }
    const path = url.split('?')[0]!
    const found = new RegExp(this.#pattern()).exec(path)
    if (found === null) return refused(404, 'Not Found')
    const { list, commit = '' } = found.groups ?? {}
    if (!this.commits.has(commit)) {
      return this.kind === 'github' ? refused(422, `No commit found for SHA: ${commit}`) : refused(404, 'Not Found')
    }
    if ((list === undefined) !== (method === 'POST')) return refused(405, 'Method Not Allowed')
    if (list !== undefined) return this.maySee ? this.#listed(commit) : refused(403, 'Resource not accessible')
    return this.#take(commit, JSON.parse(body) as Record<string, unknown>)
  }

  #pattern(): string {
    if (this.kind === 'gitlab') {
      const project = `^/api/v4/projects/${encodeURIComponent(this.repository)}`
      return `${project}/(?:statuses/|(?<list>repository/commits/))(?<commit>[0-9a-f]+)(?:/statuses)?$`
    }
    const base = `^/api/${this.kind === 'github' ? 'v3' : 'v1'}/repos/${this.repository}`
    return `${base}/(?:statuses/|(?<list>commits/))(?<commit>[0-9a-f]+)(?:/status)?$`
  }

  #listed(commit: string): ForgeTrouble {
    const statuses = this.standing(commit).map(({ context, state, description, pipeline }) =>
      this.kind === 'gitlab'
        ? { name: context, status: state, description, pipeline_id: pipeline }
        : { context, [this.kind === 'gitea' ? 'status' : 'state']: state, description },
    )
    return { status: 200, body: JSON.stringify(this.kind === 'gitlab' ? statuses : { state: 'success', statuses }) }
  }

  #take(commit: string, body: Record<string, unknown>): ForgeTrouble {
    const word = (value: unknown) => (typeof value === 'string' ? value : '')
    const context = word(this.kind === 'gitlab' ? body['name'] : body['context'])
    const state = word(body['state'])
    const description = word(body['description'])
    if (!STATES[this.kind].includes(state)) return refused(422, 'Validation Failed: state')
    const limit = this.kind === 'github' ? 140 : 255
    if (description.length > limit) return refused(422, `Validation Failed: description is too long (${limit})`)
    if (context.length > 255) return refused(422, 'Validation Failed: context is too long')
    const before = this.standing(commit).find((one) => one.context === context)
    // Only one that has not ended is taken up again; the others are followed by a new one.
    if (this.kind === 'gitlab' && before?.state === state && state in EVENTS) {
      const event = EVENTS[state]!
      return refused(
        400,
        `Cannot transition status via :${event} from :${state} (Reason(s): Status cannot transition via "${event}")`,
      )
    }
    const asked = typeof body['pipeline_id'] === 'number' ? body['pipeline_id'] : undefined
    const pipeline = this.kind === 'gitlab' ? (asked ?? ++this.#pipelines) : undefined
    const ref = typeof body['ref'] === 'string' ? body['ref'] : undefined
    const url = typeof body['target_url'] === 'string' ? body['target_url'] : undefined
    this.posted.push({ commit, context, state, description, url, ref, pipeline })
    const told = this.kind === 'gitlab' ? { name: context, status: state, pipeline_id: pipeline } : { context, state }
    return { status: 201, body: JSON.stringify(told) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

function refused(status: number, message: string): ForgeTrouble {
  return { status, body: JSON.stringify({ message }) }
}
