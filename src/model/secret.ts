import { inspect } from 'node:util'

/** A credential that cannot be logged, stringified or serialised by accident. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The only way out; every call site is a place to review. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return '[secret]'
  }
}

/** A request header whose value must not be seen. */
export interface SecretHeader {
  readonly name: string
  readonly value: Secret
}

/**
 * Reads one key of a named secret for one destination, anew at each call, so that a rotated secret is used at once.
 * @throws {SecretError} when the secret is not bound to the destination's host, or has no such key.
 */
export type ReadSecret = (secret: string, key: SecretKey, destination: URL) => Promise<Secret>

export type SecretKey = 'username' | 'password' | 'token' | 'value' | 'identity' | 'known_hosts'

/** Public keys of who may sign, as files: `allowed_signers` of ssh-keygen, and `*.asc` with OpenPGP keys. */
export interface SignerKeys {
  /** The secret that they are in. */
  readonly secret: string
  /** By name; at least one. */
  readonly files: ReadonlyMap<string, string>
}
