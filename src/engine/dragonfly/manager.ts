import { refusal, type Action } from './refusal.ts'
import { HttpOrigin, type HttpAnswer, type HttpRequest, type TlsMaterial } from '../../http.ts'
import { RateLimit } from '../../rate-limit.ts'
import { authHeader } from '../../model/auth.ts'
import type { Clock } from '../../model/clock.ts'
import type { EdgeError } from '../../model/errors.ts'
import type { Provider } from '../../model/provider.ts'
import type { ReadSecret, Secret } from '../../model/secret.ts'

/** An answer, and what it means when it is not the one wanted. */
export interface Asked {
  readonly answer: HttpAnswer
  refusal(action: Action): EdgeError
}

/** The manager reads the manifest before it answers, and gives each of its own requests 60 s (manager/job/preheat.go, v2.5.1). */
const SUBMIT_TIMEOUT_MS = 130_000
const TIMEOUT_MS = 30_000
/** 20 layers on 1,000 peers are some 4 MB of result. */
export const MAX_BYTES = 32 * 2 ** 20

/** Requests to a manager's Open API: with the token as it is now, and looks at no more than the Provider's rate. */
export class Manager implements AsyncDisposable {
  /** Whose refusals they are: `provider dragonfly-eu`. */
  readonly who: string
  readonly #provider: Provider
  readonly #read: ReadSecret
  readonly #clock: Clock
  readonly #origin: HttpOrigin
  readonly #turns: RateLimit

  constructor(provider: Provider, tls: TlsMaterial | undefined, read: ReadSecret, clock: Clock) {
    this.who = `provider ${provider.name}`
    this.#provider = provider
    this.#read = read
    this.#clock = clock
    const codes = { unreachable: 'PH5001', unintelligible: 'PH5008' } as const
    this.#origin = new HttpOrigin(provider.endpoint, this.who, codes, tls)
    this.#turns = new RateLimit(clock, provider.limits.requestsPerSecond)
  }

  /** Is it there? That needs no token and touches no database. @throws {EdgeError} when it is not, or not well */
  async healthy(signal: AbortSignal): Promise<void> {
    const answer = await this.#origin.send(
      { method: 'GET', url: '/healthy', timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES },
      signal,
    )
    if (answer.status !== 200 || answer.bytes.toString().trim() !== '"OK"')
      throw refusal(this.who, 'the question whether it is healthy', answer, [], this.#clock.now())
  }

  /** Resolves when one more look may leave. */
  async turn(signal: AbortSignal): Promise<void> {
    await this.#turns.take(signal)
  }

  /** Without a {@link turn}. @throws {EdgeError} `unintelligible` for an answer that is too long */
  async get(path: string, maxBytes: number, signal: AbortSignal): Promise<Asked> {
    return await this.#send({ method: 'GET', url: path, timeoutMs: TIMEOUT_MS, maxBytes }, undefined, signal)
  }

  /** When its turn has come. */
  async getInTurn(path: string, signal: AbortSignal): Promise<Asked> {
    await this.turn(signal)
    return await this.get(path, MAX_BYTES, signal)
  }

  /** Submits a job. @param carried a credential in its body, which the answer is searched for */
  async postJob(body: string, carried: Secret | undefined, signal: AbortSignal): Promise<Asked> {
    const headers = { 'content-type': 'application/json' }
    const timeoutMs = SUBMIT_TIMEOUT_MS
    const request = { method: 'POST', url: '/oapi/v1/jobs', body, headers, timeoutMs, maxBytes: MAX_BYTES } as const
    return await this.#send(request, carried, signal)
  }

  /** With a token that is read anew, so that a rotated one is used at the next request. */
  async #send(
    request: Omit<HttpRequest, 'secretHeader'>,
    carried: Secret | undefined,
    signal: AbortSignal,
  ): Promise<Asked> {
    const auth = await authHeader(this.#provider.auth, this.#read, new URL(this.#provider.endpoint))
    const answer = await this.#origin.send({ ...request, secretHeader: auth }, signal)
    const secrets = [auth?.value, carried].flatMap((secret) => (secret ? [secret.reveal()] : []))
    return { answer, refusal: (action: Action) => refusal(this.who, action, answer, secrets, this.#clock.now()) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#origin[Symbol.asyncDispose]()
  }
}
