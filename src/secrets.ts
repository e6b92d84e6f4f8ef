import { constants } from 'node:fs'
import { open, readdir, realpath, stat } from 'node:fs/promises'
import { join, sep } from 'node:path'
import type { TlsMaterial } from './http.ts'
import type { Tls } from './model/auth.ts'
import { OperatorError, excerpt } from './model/errors.ts'
import { Secret, type ReadSecret, type SecretKey, type SignerKeys } from './model/secret.ts'

/** Where one secret may be sent, and which of its keys come from the environment. */
export interface Binding {
  /** `host` for any port of it, or `host:port`; a leading `*.` stands for one or more labels. */
  readonly hosts: readonly string[]
  /** Names of variables. */
  readonly env: Readonly<Partial<Record<SecretKey, string>>>
}

export interface SecretsSettings {
  /** Absolute: a folder a secret, a file a key, as Kubernetes mounts them. Undefined: the environment is all there is. */
  readonly dir: string | undefined
  readonly bindings: ReadonlyMap<string, Binding>
}

/** The daemon's credentials. Each is read anew when it is used, so that a rotated one is in force at once. */
export interface Secrets {
  /**
   * @throws {OperatorError} PH7002 when the secret is not bound to the destination's host, PH7001 when it cannot be
   * read; neither holds anything of the value.
   */
  readonly read: ReadSecret

  /**
   * What others prove themselves with, to us: the key `token`, or `value`. It is sent nowhere, so it needs no host.
   * @throws {OperatorError} PH7001 when it cannot be read
   */
  readonly own: (name: string) => Promise<Secret>

  /**
   * The public keys in a secret's folder. They are sent nowhere, so it needs no host.
   * @throws {OperatorError} PH7001 when there are none, or they cannot be read
   */
  readonly signers: (name: string) => Promise<SignerKeys>

  /** The contents of a file that a resource's `tls` names, below the secrets' folder. @throws {OperatorError} PH7001 */
  readTlsFile(name: string): Promise<Buffer>

  /** All files of a `tls`; undefined when it changes nothing. @throws {OperatorError} PH7001 */
  readonly tls: (tls: Tls) => Promise<TlsMaterial | undefined>

  /**
   * Differs once a file of a `tls` is another one: its real place, size and time, without reading it. What was opened
   * with the older ones should be opened anew. A file that is not there has a revision too.
   */
  readonly tlsRevision: (tls: Tls) => Promise<string>

  /** From now on these are the settings. What was handed out before stays masked. */
  rebind(settings: SecretsSettings): void

  /**
   * A function that masks what secrets were read so far, raw, escaped for JSON, URL-encoded, in base64 and as the value
   * of a basic Authorization header: the second fence for logs and errors, behind a type that cannot be printed.
   */
  scrubber(): (text: string) => string
}

const NAME = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/
const TLS_FILE = /^\w[\w.-]*(?:\/\w[\w.-]*)*$/
const KEYS: ReadonlySet<string> = new Set<SecretKey>([
  'username',
  'password',
  'token',
  'value',
  'identity',
  'known_hosts',
])
/** Files of ssh, which have lines; the others fit into a header. */
const TEXTS: ReadonlySet<SecretKey> = new Set<SecretKey>(['identity', 'known_hosts'])
/** Kubernetes allows 1 MiB for a whole Secret; a token of ours goes into one header. */
const MAX_SECRET_BYTES = 64 * 1024
/** An OpenPGP key that many have certified is some 100 KiB. */
const MAX_SIGNER_BYTES = 1024 * 1024
const MAX_SIGNER_FILES = 100
/** A bundle of every public authority is some 220 KiB. */
const MAX_TLS_BYTES = 1024 * 1024

/** Opens nothing yet. @param env the process's variables, looked at anew at each read */
export function openSecrets(initial: SecretsSettings, env: Readonly<Record<string, string | undefined>>): Secrets {
  let settings = initial
  const masks = new Masks()

  const read: ReadSecret = async (name, key, destination) => {
    if (!NAME.test(name) || !KEYS.has(key)) throw unusable(`${excerpt(name, 80)}/${key} is no name of a secret`)
    const binding = settings.bindings.get(name)
    if (binding?.hosts.some((host) => isHostOf(host, destination)) !== true) {
      throw new OperatorError('PH7002', `secret ${name} is not bound to ${destination.host || destination.protocol}`)
    }
    return readAny(name, key)
  }

  const readAny = async (name: string, key: SecretKey): Promise<Secret> => {
    if (!NAME.test(name)) throw unusable(`${excerpt(name, 80)}/${key} is no name of a secret`)
    const variable = settings.bindings.get(name)?.env[key]
    const value =
      variable === undefined
        ? await readKey(settings.dir, name, key)
        : usable(env[variable], key, `environment variable ${variable} for ${name}/${key}`)
    masks.add(name, key, value)
    return new Secret(value)
  }

  const readTlsFile = async (name: string): Promise<Buffer> => {
    if (!TLS_FILE.test(name)) throw unusable(`tls file ${excerpt(name, 80)} is no file name below secrets.dir`)
    return await readBelow(settings.dir, name.split('/'), MAX_TLS_BYTES, `tls file ${name}`)
  }

  return {
    read,
    own: (name) =>
      readAny(name, 'token').catch((error: unknown) =>
        readAny(name, 'value').catch(() => Promise.reject(error as Error)),
      ),
    signers: (name) => readSigners(settings.dir, name),
    readTlsFile,
    async tls({ caFile, certFile, keyFile, insecureSkipVerify = false }) {
      if (caFile === undefined && certFile === undefined && keyFile === undefined && !insecureSkipVerify)
        return undefined
      const file = (name: string | undefined) => (name === undefined ? Promise.resolve(undefined) : readTlsFile(name))
      const [ca, cert, key] = await Promise.all([file(caFile), file(certFile), file(keyFile)])
      return { ca, cert, key, insecureSkipVerify }
    },
    async tlsRevision({ caFile, certFile, keyFile }) {
      const { dir } = settings
      const names = [caFile, certFile, keyFile].filter((name) => name !== undefined && TLS_FILE.test(name))
      const all = dir === undefined ? [] : await Promise.all(names.map((name) => revisionOf(join(dir, name!))))
      return all.join(' ')
    },
    rebind(after) {
      settings = after
    },
    scrubber: () => (text) => masks.scrub(text),
  }
}

/** Kubernetes swaps a folder above the file, an editor the file, and a script may write into it. */
async function revisionOf(path: string): Promise<string> {
  try {
    const real = await realpath(path)
    const { ino, size, mtimeMs } = await stat(real)
    return `${real}:${ino}:${size}:${mtimeMs}`
  } catch (error) {
    return reasonOf(error)
  }
}

/** Is this pattern of `bindings` one for the host, and the port, of the destination? */
function isHostOf(pattern: string, destination: URL): boolean {
  const parts = /^(\*\.)?(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(pattern)
  const url = parts && `http://${parts[2]!}`
  if (!url || !URL.canParse(url) || destination.hostname === '') return false
  // In the one spelling that a URL gives a host: lower case, punycode, shortest IPv6.
  const { hostname } = new URL(url)
  const port = destination.port || { 'http:': '80', 'https:': '443', 'ssh:': '22' }[destination.protocol]
  if (parts[3] !== undefined && Number(parts[3]) !== Number(port)) return false
  return parts[1] === undefined ? destination.hostname === hostname : destination.hostname.endsWith(`.${hostname}`)
}

async function readKey(dir: string | undefined, name: string, key: SecretKey): Promise<string> {
  const bytes = await readBelow(dir, [name, key], MAX_SECRET_BYTES, `secret ${name}/${key}`)
  // One line break at the end is an editor's; a second one is somebody's mistake, and usable() says so.
  const text = decode(bytes)
  if (text === undefined) throw unusable(`secret ${name}/${key} is not UTF-8`)
  return usable(text.replace(/\r?\n$/, ''), key, `secret ${name}/${key}`)
}

async function readSigners(dir: string | undefined, name: string): Promise<SignerKeys> {
  if (!NAME.test(name)) throw unusable(`${excerpt(name, 80)} is no name of a secret`)
  const what = `secret ${name}`
  if (dir === undefined) throw unusable(`${what}: secrets.dir is not set`)
  const path = join(dir, name)
  const names = await readdir(path).catch((error: unknown) => {
    throw unusable(`${what}: cannot read ${path} (${reasonOf(error)})`)
  })
  const wanted = names.filter((one) => one === 'allowed_signers' || /^\w.*\.asc$/.test(one)).sort()
  if (wanted.length === 0) throw unusable(`${what} has neither allowed_signers nor a file that ends in .asc`)
  if (wanted.length > MAX_SIGNER_FILES) throw unusable(`${what} has more than ${MAX_SIGNER_FILES} files of keys`)
  const files = new Map<string, string>()
  for (const one of wanted) {
    const file = `${what}/${excerpt(one, 80)}`
    const text = decode(await readBelow(dir, [name, one], MAX_SIGNER_BYTES, file))
    if (text === undefined) throw unusable(`${file} is not UTF-8`)
    files.set(one, text)
  }
  return { secret: name, files }
}

/** A value that fits into a header and into what git reads, or the text of a file of ssh. */
function usable(value: string | undefined, key: SecretKey, what: string): string {
  if (value === undefined) throw unusable(`${what} is not set`)
  if (value === '') throw unusable(`${what} is empty`)
  if (Buffer.byteLength(value) > MAX_SECRET_BYTES) throw unusable(`${what} is longer than ${MAX_SECRET_BYTES} bytes`)
  if (TEXTS.has(key)) {
    if (/(?![\t\r\n])\p{Cc}/u.test(value)) throw unusable(`${what} holds a control character`)
  } else if (/\p{Cc}/u.test(value)) throw unusable(`${what} holds a line break or a control character`)
  return value
}

function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** Reads a regular file whose real place is below `dir`: Kubernetes' own links stay inside, any other is refused. */
async function readBelow(
  dir: string | undefined,
  steps: readonly string[],
  maxBytes: number,
  what: string,
): Promise<Buffer> {
  if (dir === undefined) throw unusable(`${what}: secrets.dir is not set`)
  const path = join(dir, ...steps)
  try {
    const root = await realpath(dir)
    const real = await realpath(path)
    if (!real.startsWith(root.endsWith(sep) ? root : root + sep)) throw unusable(`${what}: ${path} leads out of ${dir}`)
    // Nothing that could have taken the file's place meanwhile is followed or waited for.
    const file = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const status = await file.stat()
      if (!status.isFile()) throw unusable(`${what}: ${path} is not a regular file`)
      if (status.size > maxBytes) throw unusable(`${what}: ${path} is larger than ${maxBytes} bytes`)
      return await file.readFile()
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof OperatorError) throw error
    throw unusable(`${what}: cannot read ${path} (${reasonOf(error)})`)
  }
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason'
  return code === 'ENOENT' || code === 'ENOTDIR' ? 'no such file' : code
}

function unusable(message: string): OperatorError {
  return new OperatorError('PH7001', message)
}

/** Values kept, so that rotation cannot fill the memory. */
const MAX_MASKS = 1000
const MASK = '[secret]'
const SHORTEST = 4
/** Shorter user names are no secrets, and may be words such as `preheatd` that logs are full of. */
const SHORTEST_USERNAME = 16

/** What was handed out, in the forms in which it might come back. */
class Masks {
  readonly #values = new Set<string>()
  /** The last of each secret: together they make the value of a header. */
  readonly #pairs = new Map<string, { username?: string; password?: string }>()
  #pattern: RegExp | undefined

  add(name: string, key: SecretKey, value: string): void {
    if (key === 'known_hosts') return
    this.#remember(value, key === 'username' ? SHORTEST_USERNAME : SHORTEST)
    if (key !== 'username' && key !== 'password') return
    const pair = { ...this.#pairs.get(name), [key]: value }
    this.#pairs.set(name, pair)
    if (pair.username !== undefined && pair.password !== undefined)
      this.#remember(`${pair.username}:${pair.password}`, SHORTEST)
  }

  #remember(value: string, shortest: number): void {
    if (value.length < shortest || this.#values.has(value)) return
    const [oldest] = this.#values
    if (this.#values.size >= MAX_MASKS && oldest !== undefined) this.#values.delete(oldest)
    this.#values.add(value)
    this.#pattern = undefined
  }

  scrub(text: string): string {
    if (this.#values.size === 0) return text
    this.#pattern ??= patternOf([...this.#values].flatMap(formsOf))
    return text.replace(this.#pattern, MASK)
  }
}

function formsOf(value: string): string[] {
  const encoded = encodeURIComponent(value)
  const base64 = Buffer.from(value).toString('base64')
  return [
    value,
    JSON.stringify(value).slice(1, -1),
    encoded,
    encoded.replaceAll(/%[0-9A-F]{2}/g, (byte) => byte.toLowerCase()),
    new URLSearchParams({ value }).toString().slice('value='.length),
    base64,
    base64.replace(/=+$/, ''),
    Buffer.from(value).toString('base64url'),
  ]
}

/** The longest first, so that nothing of a form is left behind by a shorter one inside it. */
function patternOf(forms: readonly string[]): RegExp {
  const distinct = [...new Set(forms)].sort((a, b) => b.length - a.length)
  return new RegExp(distinct.map((form) => form.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'), 'g')
}
