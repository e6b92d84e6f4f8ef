import { execFile } from 'node:child_process'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe } from 'vitest'
import type { Signer } from './repository.ts'
import { sshKey } from './sshd.ts'

const execute = promisify(execFile)

const hasGpg = await execute('gpg', ['--version']).then(
  () => true,
  () => false,
)

/**
 * A suite that needs Debian's `gnupg`: left out where that is not installed, unless `PREHEATD_TEST_REQUIRE_REAL=1` turns
 * the absence into a failure.
 */
export const describeWithGpg = describe.skipIf(!hasGpg && process.env['PREHEATD_TEST_REQUIRE_REAL'] !== '1')

/** One who signs, and the text of the file that trusts them. */
export interface Signatory extends Signer {
  /** A line of `allowed_signers`, or an armored key. */
  readonly trust: string
  /** What messages call the key. */
  readonly fingerprint: string
}

/** Signs with a new ssh key that is kept below `folder`. */
export async function sshSigner(folder: string, principal = 'ada@example.com'): Promise<Signatory> {
  const { identity, line } = await sshKey()
  const dir = await mkdtemp(join(folder, 'ssh-signer-'))
  await writeFile(join(dir, 'key'), identity, { mode: 0o600 })
  await writeFile(join(dir, 'key.pub'), `${line}\n`)
  const { stdout } = await execute('ssh-keygen', ['-l', '-f', join(dir, 'key.pub')])
  return {
    config: ['gpg.format=ssh', `user.signingKey=${dir}/key`],
    env: {},
    trust: `${principal} ${line.split(' ').slice(0, 2).join(' ')}\n`,
    fingerprint: stdout.split(' ')[1]!,
  }
}

/**
 * Signs with a new OpenPGP key whose home is below `folder`.
 * @param at seconds at which the key is made and signs
 * @param validFor as gpg takes it: `0` for ever, `seconds=60`
 */
export async function gpgSigner(folder: string, { at, validFor = '0' }: { at?: number; validFor?: string } = {}) {
  const dir = await mkdtemp(join(folder, 'gpg-'))
  const user = 'Ada Lovelace <ada@example.com>'
  const env = { GNUPGHOME: dir }
  if (at !== undefined) await writeFile(join(dir, 'gpg.conf'), `faked-system-time ${at}\n`)
  const gpg = async (...args: string[]) =>
    (await execute('gpg', ['--batch', '--quiet', ...args], { env: { ...process.env, ...env } })).stdout
  await gpg(
    '--pinentry-mode',
    'loopback',
    '--passphrase',
    '',
    '--quick-generate-key',
    user,
    'ed25519',
    'sign',
    validFor,
  )
  const [, fingerprint] = /^fpr:+([0-9A-F]+):$/m.exec(await gpg('--with-colons', '--list-keys')) ?? []
  const signatory: Signatory = {
    config: ['gpg.format=openpgp', `user.signingKey=${fingerprint!}`],
    env,
    trust: await gpg('--armor', '--export', fingerprint!),
    fingerprint: fingerprint!,
  }
  return {
    ...signatory,
    /** The key, with word that nobody is to trust it any more. */
    async revoked(): Promise<string> {
      const file = join(dir, 'openpgp-revocs.d', `${fingerprint!}.rev`)
      await execute('sed', ['-i', 's/^:---/---/', file])
      await gpg('--import', file)
      return await gpg('--armor', '--export', fingerprint!)
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await execute('gpgconf', ['--kill', 'all'], { env: { ...process.env, ...env } })
    },
  }
}
