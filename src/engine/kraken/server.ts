import { addressOf } from './wire.ts'
import { refusal, silence, type Role } from './refusal.ts'
import { isExposed } from '../../model/address.ts'
import { HttpOrigin, type HttpAnswer, type HttpRequest, type TlsMaterial } from '../../http.ts'
import { RateLimit } from '../../rate-limit.ts'
import { authHeader } from '../../model/auth.ts'
import type { Clock } from '../../model/clock.ts'
import { EdgeError } from '../../model/errors.ts'
import type { Provider } from '../../model/provider.ts'
import type { ReadSecret, SecretHeader } from '../../model/secret.ts'

/** What the driver needs from its surroundings. */
export interface KrakenPorts {
  readonly read: ReadSecret
  readonly clock: Clock
  random(): number
}

/** A question to one server, and how a message calls it. */
export interface Question extends Pick<HttpRequest, 'method' | 'url' | 'body'> {
  readonly action: string
  /** Default 30 s. */
  readonly timeoutMs?: number
}

/** The proxy and the workers of an origin take 5 s to say that they are busy; a stat of the backend is in the request. */
const TIMEOUT_MS = 30_000
/** The hashes of the pieces of a blob: a number of ten digits for each 4 MiB or so. */
const MAX_BYTES = 4 * 2 ** 20

/** One of the declared servers of a Kraken cluster: it gets so many requests a second, and no redirect is followed. */
export class KrakenServer implements AsyncDisposable {
  /** `host:port` */
  readonly address: string
  readonly who: string
  readonly #url: URL
  readonly #role: Role
  readonly #provider: Provider
  readonly #ports: KrakenPorts
  readonly #origin: HttpOrigin
  readonly #perSecond: RateLimit

  constructor(url: string, role: Role, provider: Provider, tls: TlsMaterial | undefined, ports: KrakenPorts) {
    this.#url = new URL(url)
    this.address = addressOf(url)!
    this.who = `provider ${provider.name}, ${role} ${this.address}`
    this.#role = role
    this.#provider = provider
    this.#ports = ports
    this.#origin = new HttpOrigin(url, this.who, { unreachable: 'PH5001', unintelligible: 'PH5008' }, tls)
    this.#perSecond = new RateLimit(ports.clock, provider.limits.requestsPerSecond)
  }

  /**
   * Any status is an answer.
   * @throws {EdgeError} for a silence
   * @throws {OperatorError} for a secret that cannot be used
   */
  async ask(question: Question, signal: AbortSignal): Promise<Asked> {
    const { method, url, body, timeoutMs = TIMEOUT_MS } = question
    await this.#perSecond.take(signal)
    const auth = await this.#authHeader()
    try {
      const answer = await this.#origin.send(
        {
          method,
          url,
          ...(body !== undefined && { body, headers: { 'content-type': 'application/json' } }),
          secretHeader: auth,
          timeoutMs,
          maxBytes: MAX_BYTES,
        },
        signal,
      )
      return { answer, refused: () => this.#refusal(question.action, answer, auth) }
    } catch (error) {
      throw error instanceof EdgeError ? silence(this.who, this.#role, error) : error
    }
  }

  #refusal(action: string, answer: HttpAnswer, auth: SecretHeader | undefined): EdgeError {
    const now = this.#ports.clock.now()
    const error = refusal(this.who, this.#role, action, answer, auth ? [auth.value.reveal()] : [], now)
    if (answer.status === 429 && error.retryAfterMs !== undefined) this.#perSecond.pause(now + error.retryAfterMs)
    return error
  }

  /** Read at every request, so that a rotated secret is used at the next. */
  async #authHeader(): Promise<SecretHeader | undefined> {
    const { auth, allowPlainHttp } = this.#provider
    if (auth.type !== 'none' && isExposed(this.#url) && !allowPlainHttp)
      throw new EdgeError('rejected', 'PH3012', `${this.who}: its credential would go over plain http`)
    return await authHeader(auth, this.#ports.read, this.#url)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#origin[Symbol.asyncDispose]()
  }
}

/** An answer, and the error that it is when it is not the one wanted. */
export interface Asked {
  readonly answer: HttpAnswer
  readonly refused: () => EdgeError
}
