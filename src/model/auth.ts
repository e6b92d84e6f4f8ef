import { Secret, type ReadSecret, type SecretHeader } from './secret.ts'

/** How a request says who asks. The secret is a name; the value stays in the daemon's own configuration. */
export type Auth =
  | { readonly type: 'none' }
  | { readonly type: 'basic'; readonly secret: string }
  | { readonly type: 'bearer'; readonly secret: string }
  | { readonly type: 'custom'; readonly secret: string; readonly header: string }

/** How git says who asks. */
export type GitAuth = Exclude<Auth, { readonly type: 'custom' }> | { readonly type: 'ssh'; readonly secret: string }

/** File names below the daemon's `secrets.dir`. */
export interface Tls {
  readonly caFile?: string
  readonly certFile?: string
  readonly keyFile?: string
  readonly insecureSkipVerify?: boolean
}

/**
 * The header for one request to `destination`, read at this moment; undefined for `none`.
 * @throws {SecretError} as {@link ReadSecret} does.
 */
export async function authHeader(auth: Auth, read: ReadSecret, destination: URL): Promise<SecretHeader | undefined> {
  switch (auth.type) {
    case 'none':
      return undefined
    case 'basic': {
      const username = await read(auth.secret, 'username', destination)
      const password = await read(auth.secret, 'password', destination)
      return { name: 'authorization', value: basic(username, password) }
    }
    case 'bearer': {
      const token = await read(auth.secret, 'token', destination)
      return { name: 'authorization', value: new Secret(`Bearer ${token.reveal()}`) }
    }
    case 'custom':
      return { name: auth.header.toLowerCase(), value: await read(auth.secret, 'value', destination) }
    default:
      return auth satisfies never
  }
}

function basic(username: Secret, password: Secret): Secret {
  return new Secret(`Basic ${Buffer.from(`${username.reveal()}:${password.reveal()}`).toString('base64')}`)
}
