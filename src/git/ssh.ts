import type { Secret } from '../model/secret.ts'
import { withPrivateFolder } from './private-folder.ts'

/**
 * Runs `work` with a folder that holds `identity` and `known_hosts`, since ssh reads both from files only.
 * @throws {SourceError} when the folder cannot be made
 */
export async function withSshFolder<T>(
  identity: Secret,
  knownHosts: Secret,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const files = { identity: asFile(identity.reveal()), known_hosts: asFile(knownHosts.reveal()) }
  return await withPrivateFolder('ssh', files, work)
}

/**
 * The command line that git starts ssh with: nobody's configuration, one key, one file of host keys that must know the
 * host, never a question.
 * @param folder of {@link withSshFolder}
 */
export function sshCommand(folder: string): string {
  const options = [
    'IdentitiesOnly=yes',
    'IdentityAgent=none',
    'PreferredAuthentications=publickey',
    `UserKnownHostsFile=${folder}/known_hosts`,
    'GlobalKnownHostsFile=/dev/null',
    'StrictHostKeyChecking=yes',
    'VerifyHostKeyDNS=no',
    'UpdateHostKeys=no',
    'CheckHostIP=no',
    'BatchMode=yes',
    'ForwardAgent=no',
    'ClearAllForwardings=yes',
    'ConnectTimeout=10',
    'ServerAliveInterval=15',
    'ServerAliveCountMax=3',
    'LogLevel=ERROR',
  ]
  return `ssh -F /dev/null -i ${folder}/identity ${options.map((option) => `-o ${option}`).join(' ')}`
}

/** Why this cannot be the private key of a process that nobody watches; undefined: it looks like one. */
export function keyTrouble(identity: string): string | undefined {
  const body = /^-----BEGIN ([A-Z ]*PRIVATE KEY)-----\r?\n([^]*?)\r?\n-----END \1-----\s*$/.exec(identity.trimStart())
  if (body === null) {
    const isPublic = /^(?:ssh-|ecdsa-|sk-|-----BEGIN (?:[A-Z0-9]+ )*PUBLIC KEY)/.test(identity.trimStart())
    return isPublic
      ? 'it is the public key; the private one is wanted'
      : 'it is no private key in PEM or OpenSSH format'
  }
  const [, label, text = ''] = body
  const isLocked = label === 'OPENSSH PRIVATE KEY' ? cipherOf(text) !== 'none' : isEncryptedPem(label!, text)
  return isLocked ? 'it has a passphrase, and nobody is there to type it: use a key without one' : undefined
}

/** PROTOCOL.key of OpenSSH: magic, then the cipher's name behind its length. */
function cipherOf(base64: string): string | undefined {
  const bytes = Buffer.from(base64, 'base64')
  const magic = 'openssh-key-v1\0'
  if (bytes.length < magic.length + 4 || bytes.toString('latin1', 0, magic.length) !== magic) return undefined
  const length = bytes.readUInt32BE(magic.length)
  return length > 64 ? undefined : bytes.toString('latin1', magic.length + 4, magic.length + 4 + length)
}

function isEncryptedPem(label: string, text: string): boolean {
  return label.startsWith('ENCRYPTED') || /^Proc-Type:.*ENCRYPTED/m.test(text)
}

/** OpenSSH refuses a key whose last line does not end. */
function asFile(text: string): string {
  return `${text.replaceAll('\r\n', '\n').trimEnd()}\n`
}
