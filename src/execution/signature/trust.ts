import { createPublicKey, type KeyObject } from 'node:crypto'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toTrustMaterial, Verifier } from '@sigstore/verify'
import { excerpt } from '../../model/errors.ts'
import type { Trust } from '../../model/signature.ts'

const MAX_FILE_LENGTH = 1024 * 1024
const MIN_RSA_BITS = 2048
const CURVES = ['prime256v1', 'secp384r1', 'secp521r1']

/**
 * A public key in PEM form, or what is wrong with it as the end of a sentence that begins with its name. Node would
 * derive a public key from a private one or from a certificate; neither is taken.
 */
export function readKey(pem: string): KeyObject | string {
  const labels = [...pem.slice(0, MAX_FILE_LENGTH).matchAll(/-----BEGIN ([^-]*)-----/g)].map((match) => match[1])
  if (labels.some((label) => label?.includes('PRIVATE KEY')))
    return 'is a private key: remove it, replace the pair everywhere, and commit the public key only'
  if (labels.length !== 1 || !['PUBLIC KEY', 'RSA PUBLIC KEY'].includes(labels[0] ?? ''))
    return 'is not one public key in PEM form (-----BEGIN PUBLIC KEY-----)'
  let key: KeyObject
  try {
    key = createPublicKey(pem)
  } catch {
    return 'is not a public key that can be read'
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type === 'rsa') {
    const bits = details?.modulusLength ?? 0
    return bits < MIN_RSA_BITS ? `is an RSA key of ${bits} bits; ${MIN_RSA_BITS} are the least that is accepted` : key
  }
  if (type === 'ed25519' || (type === 'ec' && CURVES.includes(details?.namedCurve ?? ''))) return key
  return `is a key of type ${details?.namedCurve ?? type ?? 'unknown'}; ECDSA (P-256, P-384, P-521), RSA and Ed25519 are accepted`
}

/**
 * What certificates are checked with, or what is wrong with a `trusted_root.json`. A certificate needs a time that the
 * root's log or timestamp authority proves, because it lives for minutes and its key may leak later; where the root
 * names transparency or certificate logs, an entry in one is demanded too.
 */
export function readRoot(json: string): Verifier | string {
  if (json.length > MAX_FILE_LENGTH) return 'is larger than 1 MiB'
  try {
    const root = TrustedRoot.fromJSON(JSON.parse(json))
    if (root.certificateAuthorities.length === 0)
      return 'is no Sigstore trusted root: it names no certificate authority'
    if (root.tlogs.length + root.timestampAuthorities.length === 0)
      return 'names neither a transparency log nor a timestamp authority, so no signing time can be proven'
    return new Verifier(toTrustMaterial(root), {
      timestampThreshold: 1,
      tlogThreshold: Math.min(1, root.tlogs.length),
      ctlogThreshold: Math.min(1, root.ctlogs.length),
    })
  } catch (error) {
    return `is no Sigstore trusted root: ${excerpt(String(error))}`
  }
}

/** What makes this trust unusable, a message each that names the file; empty when nothing does. Never throws. */
export function checkTrust(trust: Trust): readonly string[] {
  const problems: string[] = []
  for (const { name, pem } of trust.keys) {
    const key = readKey(pem)
    if (typeof key === 'string') problems.push(`${excerpt(name)} ${key}`)
  }
  if (trust.trustedRoot !== undefined) {
    const root = readRoot(trust.trustedRoot.json)
    if (typeof root === 'string') problems.push(`${excerpt(trust.trustedRoot.name)} ${root}`)
  } else if (trust.identities.length > 0) {
    problems.push('identities need a trusted root, because certificates cannot be checked without one')
  }
  return problems
}
