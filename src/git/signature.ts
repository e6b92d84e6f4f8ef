import { OperatorError, excerpt } from '../model/errors.ts'
import type { SignerKeys } from '../model/secret.ts'
import { SourceError } from '../model/source.ts'
import { failureOf } from './failure.ts'
import { readObjects, type GitObject } from './objects.ts'
import { withPrivateFolder } from './private-folder.ts'
import { mirrorCall, run } from './run.ts'

/** Reads the keys of who may sign, anew for each commit. @throws {OperatorError} */
export type ReadSigners = () => Promise<SignerKeys>

/** A commit, or a tag, that somebody has to vouch for. */
export interface Head {
  /** Where it is in the mirror. */
  readonly ref: string
  /** The tag that it was fetched as; undefined: it was no tag. */
  readonly tag: string | undefined
  /** How messages call what is followed: `branch main`. */
  readonly followed: string
}

/** A commit and a tag hold little but their message. */
const MAX_SIGNED_BYTES = 16 * 1024 * 1024

/**
 * Proves that somebody with one of these keys signed the commit, or the annotated tag of this very name that points at
 * it. Git verifies by ssh-keygen and gpg, with these keys alone.
 * @throws {SourceError} PH4010 when nobody did, saying who signed it; PH7001 when there are no keys
 */
export async function verifyHead(gitDir: string, head: Head, read: ReadSigners, signal: AbortSignal): Promise<void> {
  const keys = await signersOf(read)
  const names = [head.ref, `${head.ref}^{commit}`]
  const [tip, commit] = await readObjects(gitDir, names, 'mirror', 2 * MAX_SIGNED_BYTES, undefined, signal)
  if (tip === undefined || commit === undefined)
    throw new SourceError('MirrorBroken', 'PH4004', 'the mirror is broken (nothing to verify)')
  const subjects = tip.type === 'tag' ? [tip, commit] : [commit]
  await withPrivateFolder('signers', filesOf(keys), async (folder) => {
    const doubts: string[] = []
    for (const subject of subjects) {
      const doubt = await doubtOf(gitDir, subject, head.tag, keys, folder, signal)
      if (doubt === undefined) return
      doubts.push(doubt)
    }
    const why = doubts.join('; ')
    throw new SourceError('VerificationFailed', 'PH4010', `${head.followed} is not trusted: ${why}`)
  })
}

async function signersOf(read: ReadSigners): Promise<SignerKeys> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    throw new SourceError('VerificationFailed', error.code, error.message, { cause: error })
  }
}

/** Why nobody who is trusted vouches for it; undefined: somebody does. */
async function doubtOf(
  gitDir: string,
  { id, type, bytes }: GitObject,
  tag: string | undefined,
  keys: SignerKeys,
  folder: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const text = bytes.toString('utf8')
  const what = `${type} ${id.slice(0, 12)}`
  if (type === 'tag') {
    const name = /^tag (.*)$/m.exec(text)?.[1] ?? ''
    // A signature vouches for the name that is inside it; the ref may be called anything.
    if (name !== tag) return `${what} is the one of ${excerpt(name, 80)}`
  }
  const format = formatOf(type, text)
  switch (format) {
    case 'none':
      return `${what} of ${authorOf(text)} is not signed`
    case 'unknown':
      return `${what} is signed neither with an ssh key nor with OpenPGP`
    case 'ssh':
      if (!keys.files.has('allowed_signers'))
        return `${what} is signed with an ssh key, and secret ${keys.secret} has no allowed_signers`
      break
    case 'openpgp':
      if (![...keys.files.keys()].some(isOpenPgp))
        return `${what} is signed with OpenPGP, and secret ${keys.secret} has no .asc file`
      break
    default:
      return format satisfies never
  }
  const ending = await run(
    {
      ...mirrorCall(`verify-${type}`, gitDir, [`verify-${type}`, '--raw', id]),
      config: [
        'gpg.format=openpgp',
        'gpg.program=gpg',
        'gpg.ssh.program=ssh-keygen',
        // Whom it trusts is said by files of the machine.
        'gpg.x509.program=false',
        `gpg.ssh.allowedSignersFile=${folder}/allowed_signers`,
        'gpg.minTrustLevel=fully',
      ],
      env: { GNUPGHOME: folder, TMPDIR: folder },
    },
    signal,
  )
  if (ending.exitCode === 0) return undefined
  if (/^error: cannot run /m.test(ending.stderr)) throw failureOf(ending)
  const why = format === 'ssh' ? sshDoubt(ending.stderr) : openPgpDoubt(ending.stderr)
  return `${what} ${why ?? `cannot be verified (${excerpt(ending.stderr)})`}`
}

/** Where git looks for a signature: a header of a commit, the end of a tag's message. */
function formatOf(type: string, text: string): 'none' | 'ssh' | 'openpgp' | 'unknown' {
  const gap = text.indexOf('\n\n')
  const armor =
    type === 'commit'
      ? /^gpgsig (-----BEGIN .*-----)$/m.exec(text.slice(0, gap))?.[1]
      : /[^]*^(-----BEGIN .*-----)$/m.exec(text.slice(gap))?.[1]
  switch (armor) {
    case undefined:
      return 'none'
    case '-----BEGIN SSH SIGNATURE-----':
      return 'ssh'
    case '-----BEGIN PGP SIGNATURE-----':
    case '-----BEGIN PGP MESSAGE-----':
      return 'openpgp'
    default:
      return 'unknown'
  }
}

function authorOf(text: string): string {
  return excerpt(/^(?:author|tagger) (.*?) \d+ [+-]\d{4}$/m.exec(text)?.[1] ?? 'nobody', 120)
}

/** What ssh-keygen (OpenSSH 9.2) says of a signature that holds, by a key that it does not take. */
function sshDoubt(stderr: string): string | undefined {
  const key = /^Good "git" signature with (\S+ key \S+)$/m.exec(stderr)?.[1]
  if (key !== undefined) return `is signed with the ${key}, which allowed_signers has for nobody at that time`
  return /incorrect signature|could not verify signature/i.test(stderr)
    ? 'has a signature that is not one of its content'
    : undefined
}

/** Status lines of gpg: doc/DETAILS of GnuPG. */
function openPgpDoubt(stderr: string): string | undefined {
  const status = (word: string) => new RegExp(`^\\[GNUPG:\\] ${word} (\\S+) ?(.*)$`, 'm').exec(stderr)
  const missing = status('ERRSIG')
  if (missing !== null) {
    const fingerprint = missing[2]?.split(' ')[5]
    const key = fingerprint === undefined || fingerprint === '-' ? missing[1]! : fingerprint
    return status('NO_PUBKEY') === null
      ? `is signed with OpenPGP key ${key}, in a way that gpg does not know`
      : `is signed with OpenPGP key ${key}, which no .asc file holds`
  }
  const signedBy = (word: string) => {
    const found = status(word)
    return found === null ? undefined : `${excerpt(found[2] ?? '', 120)} (OpenPGP key ${found[1]!})`
  }
  const reasons = {
    BADSIG: 'but the content is another one',
    EXPSIG: 'with a signature that has expired',
    EXPKEYSIG: 'with a key that has expired',
    REVKEYSIG: 'with a key that was revoked',
  }
  for (const [word, reason] of Object.entries(reasons)) {
    const signer = signedBy(word)
    if (signer !== undefined) return `is signed by ${signer}, ${reason}`
  }
  return undefined
}

function isOpenPgp(name: string): boolean {
  return name.endsWith('.asc')
}

/** Of a folder that ssh-keygen and gpg read, so that they know these keys, look at no others and ask nobody. */
function filesOf({ secret, files }: SignerKeys): Readonly<Record<string, string | Uint8Array>> {
  const keyring = [...files].flatMap(([name, text]) => (isOpenPgp(name) ? unarmored(`${secret}/${name}`, text) : []))
  return {
    allowed_signers: files.get('allowed_signers') ?? '',
    'keys.gpg': Buffer.concat(keyring),
    'gpg.conf': [
      'no-default-keyring',
      'keyring keys.gpg',
      // To be in the secret is to be trusted.
      'trust-model always',
      'no-auto-key-retrieve',
      'no-auto-key-import',
      'batch',
      'no-tty',
      '',
    ].join('\n'),
  }
}

/** RFC 9580, 6.2: headers, an empty line, base64, perhaps a checksum. */
const ARMOR =
  /^-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:.+\n)*\n([A-Za-z0-9+/=\n]+?)\n(?:=[A-Za-z0-9+/]{4}\n)?-----END PGP PUBLIC KEY BLOCK-----$/gm

/** A keyring is its keys one after another. */
function unarmored(name: string, text: string): Buffer[] {
  const blocks = [...text.replaceAll(/[ \t]*\r?\n/g, '\n').matchAll(ARMOR)]
  const keys = blocks.map(([, base64]) => Buffer.from(base64!, 'base64'))
  // The first packet of a key: tag 6, in the old or the new form.
  if (keys.length === 0 || !keys.every(([first = 0]) => (first & 0xfc) === 0x98 || first === 0xc6))
    throw new SourceError('VerificationFailed', 'PH7001', `secret ${name} is no public OpenPGP key in ASCII armor`)
  return keys
}
