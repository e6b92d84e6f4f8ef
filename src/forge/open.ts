import { createHash } from 'node:crypto'
import { HttpOrigin, type HttpAnswer, type HttpRequest } from '../http.ts'
import { excerpt, type EdgeError } from '../model/errors.ts'
import { RateLimit } from '../rate-limit.ts'
import type { Dialect, Known } from './dialect.ts'
import type { CommitStatus, Forge, ForgePorts, ForgeSettings } from './forge.ts'
import { gitea } from './gitea.ts'
import { github } from './github.ts'
import { gitlab } from './gitlab.ts'
import { refusal, spentForMs, wordsOf } from './refusal.ts'

const dialects = { github, gitlab, gitea } as const satisfies Record<ForgeSettings['type'], Dialect>

const TIMEOUT_MS = 15_000
/** A hundred statuses with their creators. */
const MAX_BYTES = 4 * 1024 * 1024
/** Statuses that we give one commit. */
const MAX_CONTEXTS = 50
/** Commits whose statuses are remembered. */
const MAX_COMMITS = 20
/** GitHub and GitLab take no longer one. */
const CONTEXT_LENGTH = 255
const OURS = 'preheatd/'

/** Sends nothing yet. */
export function openForge(settings: ForgeSettings, ports: ForgePorts): Forge {
  return new StatusForge(settings, dialects[settings.type], ports)
}

/** What stands beside one commit. */
interface Board {
  /** By context in lower case, since GitHub takes `A` and `a` for the same. */
  readonly known: Map<string, Known>
  pipeline: number | undefined
}

class StatusForge implements Forge {
  readonly #settings: ForgeSettings
  readonly #dialect: Dialect
  readonly #ports: ForgePorts
  readonly #who: string
  readonly #api: string
  readonly #http: HttpOrigin
  /** GitHub asks for a second between requests that change something. */
  readonly #turns: RateLimit
  /** By commit, the one used longest ago first. */
  readonly #boards = new Map<string, Board>()

  constructor(settings: ForgeSettings, dialect: Dialect, ports: ForgePorts) {
    this.#settings = settings
    this.#dialect = dialect
    this.#ports = ports
    this.#who = `notification ${settings.name}`
    this.#api = dialect.api(settings.root)
    this.#http = new HttpOrigin(this.#api, this.#who, { unreachable: 'PH8031', unintelligible: 'PH8032' }, undefined)
    this.#turns = new RateLimit(ports.clock, 1)
  }

  async post(asked: CommitStatus, signal: AbortSignal): Promise<'delivered' | 'unchanged' | 'full'> {
    const status = {
      ...asked,
      context: short(asked.context),
      description: excerpt(asked.description, this.#dialect.descriptionLength),
    }
    const board = await this.#boardOf(status.commit, signal)
    const key = status.context.toLowerCase()
    const before = board.known.get(key)
    if (before?.state === status.state && before.description === status.description) return 'unchanged'
    if (before === undefined && board.known.size >= MAX_CONTEXTS) return 'full'
    const { path, body } = this.#dialect.create(status, { ...this.#settings, pipeline: board.pipeline })
    const answer = await this.#send({ method: 'POST', url: path, body: JSON.stringify(body) }, signal)
    const words = this.#wordsOf(answer)
    const stands = this.#dialect.standsAlready(answer.status, words)
    if (!stands && !isFine(answer)) throw this.#refusal('a status', answer, words)
    board.known.set(key, { context: status.context, state: status.state, description: status.description })
    board.pipeline ??= isFine(answer) ? this.#dialect.listed([parsed(answer)])[0]?.pipeline : undefined
    return stands ? 'unchanged' : 'delivered'
  }

  /** What stands there is asked once a commit, so that a daemon which was started anew repeats nothing. */
  async #boardOf(commit: string, signal: AbortSignal): Promise<Board> {
    const board = this.#boards.get(commit) ?? (await this.#read(commit, signal))
    this.#boards.delete(commit)
    this.#boards.set(commit, board)
    const [oldest] = this.#boards.keys()
    if (this.#boards.size > MAX_COMMITS && oldest !== undefined) this.#boards.delete(oldest)
    return board
  }

  async #read(commit: string, signal: AbortSignal): Promise<Board> {
    const url = this.#dialect.list(this.#settings.repository, commit)
    const answer = await this.#send({ method: 'GET', url }, signal)
    if (!isFine(answer)) {
      const refused = this.#refusal('the list of statuses', answer, this.#wordsOf(answer))
      // A token that may post and not read is good enough.
      if (refused.fault !== 'rejected') throw refused
      return { known: new Map(), pipeline: undefined }
    }
    const ours = this.#dialect.listed(parsed(answer)).filter(({ context }) => context.startsWith(OURS))
    return {
      known: new Map(ours.map((one) => [one.context.toLowerCase(), one])),
      pipeline: ours.find(({ pipeline }) => pipeline !== undefined)?.pipeline,
    }
  }

  async #send(request: Pick<HttpRequest, 'method' | 'url' | 'body'>, signal: AbortSignal): Promise<HttpAnswer> {
    const { read, clock } = this.#ports
    await this.#turns.take(signal)
    const token = await read(this.#settings.secret, 'token', new URL(this.#api))
    const answer = await this.#http.send(
      {
        ...request,
        headers: {
          ...this.#dialect.headers,
          ...(request.body !== undefined && { 'content-type': 'application/json' }),
        },
        secretHeader: this.#dialect.authorization(token),
        timeoutMs: TIMEOUT_MS,
        maxBytes: MAX_BYTES,
      },
      signal,
    )
    const spent = spentForMs(answer, clock.now())
    if (spent !== undefined) this.#turns.pause(clock.now() + spent)
    return answer
  }

  #wordsOf(answer: HttpAnswer): string {
    return this.#ports.scrub(wordsOf(answer))
  }

  #refusal(action: string, answer: HttpAnswer, words: string): EdgeError {
    return refusal(this.#who, action, answer, words, this.#ports.clock.now())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#http[Symbol.asyncDispose]()
  }
}

function isFine({ status }: HttpAnswer): boolean {
  return status >= 200 && status < 300
}

/** What is no JSON lists nothing. */
function parsed({ bytes }: HttpAnswer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

/** Two that are alike up to where they are cut stay two. */
function short(context: string): string {
  if (context.length <= CONTEXT_LENGTH) return context
  const mark = createHash('sha256').update(context).digest('hex').slice(0, 8)
  return `${context.slice(0, CONTEXT_LENGTH - 9)}-${mark}`
}
