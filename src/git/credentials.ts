import { OperatorError } from '../model/errors.ts'
import { SourceError } from '../model/source.ts'
import { authHeader, type GitAuth } from '../model/auth.ts'
import { Secret, type ReadSecret } from '../model/secret.ts'
import { keyTrouble, sshCommand, withSshFolder } from './ssh.ts'

/** Who asks a git remote, for one operation. */
export type Credential =
  | Held
  /** A key and known hosts, in a folder that is gone after the operation. */
  | { readonly type: 'ssh'; readonly folder: string }

/** What git can be handed in its environment. */
type Held =
  | { readonly type: 'none' }
  | { readonly type: 'basic'; readonly username: Secret; readonly password: Secret }
  /** `name: value` */
  | { readonly type: 'header'; readonly header: Secret }

/** What secrets say. Read anew for each operation, kept by nobody. */
type Material = Held | { readonly type: 'ssh'; readonly identity: Secret; readonly knownHosts: Secret }

/** How one git process is handed a credential: by its environment alone. */
export interface Presentation {
  /** Arguments before the subcommand. */
  readonly flags: readonly string[]
  /** Values of `-c`. */
  readonly config: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** What must never be repeated in a message, as a remote may echo it. */
  readonly values: readonly string[]
}

/**
 * What git runs to learn the password; the value itself is in the environment of that one git process.
 * `get` is the only question that it answers, so nothing is ever stored.
 */
const HELPER = `!f() { test "$1" = get && printf 'username=%s\\npassword=%s\\n' "$PREHEATD_GIT_USERNAME" "$PREHEATD_GIT_PASSWORD"; }; f`

/** Both ways are scoped to the origin of `url`: git asks the helper, or sends the header, for no other. */
export function presentation(credential: Credential, url: URL): Presentation {
  switch (credential.type) {
    case 'none':
      return { flags: [], config: [], env: {}, values: [] }
    case 'basic': {
      const username = credential.username.reveal()
      const password = credential.password.reveal()
      return {
        flags: [],
        config: [`credential.${url.origin}.helper=${HELPER}`],
        env: { PREHEATD_GIT_USERNAME: username, PREHEATD_GIT_PASSWORD: password },
        // A token may stand in either place. A short user name is no secret, and may be a word such as `git`.
        values: [`${username}:${password}`, password, ...(username.length >= 16 ? [username] : [])],
      }
    }
    case 'header': {
      const header = credential.header.reveal()
      const value = header.slice(header.indexOf(':') + 1).trim()
      return {
        flags: [`--config-env=http.${url.origin}.extraHeader=PREHEATD_GIT_HEADER`],
        config: [],
        env: { PREHEATD_GIT_HEADER: header },
        values: [header, value, ...value.split(' ').slice(1)],
      }
    }
    case 'ssh':
      return {
        flags: [],
        config: [],
        env: { GIT_SSH_COMMAND: sshCommand(credential.folder), GIT_SSH_VARIANT: 'ssh' },
        values: [],
      }
    default:
      return credential satisfies never
  }
}

/**
 * Runs `work` with the credential as it reads now. When the remote refuses it, it is read once more, and `work` runs
 * once more only if it changed meanwhile: a rotation is survived, a wrong password is not tried twice.
 * @throws {SourceError} also for a secret that cannot be read or sent
 */
export async function withCredential<T>(
  url: URL,
  auth: GitAuth,
  read: ReadSecret,
  work: (credential: Credential) => Promise<T>,
): Promise<T> {
  const material = await readMaterial(url, auth, read)
  try {
    return await presented(material, work)
  } catch (error) {
    if (!(error instanceof SourceError) || error.state !== 'AuthenticationFailed') throw error
    const fresh = await readMaterial(url, auth, read)
    if (isSame(material, fresh)) throw error
    return await presented(fresh, work)
  }
}

async function presented<T>(material: Material, work: (credential: Credential) => Promise<T>): Promise<T> {
  if (material.type !== 'ssh') return await work(material)
  return await withSshFolder(material.identity, material.knownHosts, (folder) => work({ type: 'ssh', folder }))
}

async function readMaterial(url: URL, auth: GitAuth, read: ReadSecret): Promise<Material> {
  if ((auth.type === 'ssh') !== (url.protocol === 'ssh:')) {
    const why = auth.type === 'ssh' ? 'auth.type ssh is for ssh addresses' : 'an ssh address needs auth.type ssh'
    throw new SourceError('Invalid', 'PH4006', `git remote refused: ${why}`)
  }
  try {
    const credential = await materialOf(url, auth, read)
    if (credential.type === 'ssh') return credential
    if (valuesOf(credential).some((value) => /\p{Cc}/u.test(value))) {
      throw new SourceError('AuthenticationFailed', 'PH4001', 'the secret holds a control character or a line break')
    }
    return credential
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    throw new SourceError('AuthenticationFailed', error.code, error.message, { cause: error })
  }
}

async function materialOf(url: URL, auth: GitAuth, read: ReadSecret): Promise<Material> {
  if (auth.type === 'ssh') {
    const identity = await read(auth.secret, 'identity', url)
    const trouble = keyTrouble(identity.reveal())
    if (trouble !== undefined)
      throw new SourceError(
        'AuthenticationFailed',
        'PH4001',
        `secret ${auth.secret}/identity cannot be used: ${trouble}`,
      )
    return { type: 'ssh', identity, knownHosts: await read(auth.secret, 'known_hosts', url) }
  }
  if (auth.type === 'basic') {
    return {
      type: 'basic',
      username: await read(auth.secret, 'username', url),
      password: await read(auth.secret, 'password', url),
    }
  }
  const header = await authHeader(auth, read, url)
  if (header === undefined) return { type: 'none' }
  return { type: 'header', header: new Secret(`${header.name}: ${header.value.reveal()}`) }
}

function valuesOf(material: Material): string[] {
  switch (material.type) {
    case 'none':
      return []
    case 'basic':
      return [material.username.reveal(), material.password.reveal()]
    case 'header':
      return [material.header.reveal()]
    case 'ssh':
      return [material.identity.reveal(), material.knownHosts.reveal()]
    default:
      return material satisfies never
  }
}

function isSame(a: Material, b: Material): boolean {
  const [left, right] = [valuesOf(a), valuesOf(b)]
  return left.length === right.length && left.every((value, i) => value === right[i])
}
