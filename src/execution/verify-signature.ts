import { verify, type KeyObject } from 'node:crypto'
import type { Bundle } from '@sigstore/bundle'
import { toSignedEntity, type Signer, type Verifier } from '@sigstore/verify'
import type { Digest } from '../model/artifact.ts'
import { excerpt } from '../model/errors.ts'
import type { SignatureMaterial, Trust } from '../model/signature.ts'
import { NEARNESS, readClaim, type Claim, type Miss } from './signature/claim.ts'
import { isForCodeSigning, isIdentity } from './signature/identity.ts'
import { readKey, readRoot } from './signature/trust.ts'

export { checkTrust } from './signature/trust.ts'

/** Beyond these nothing is looked at: whoever may push can put any number beside an image. */
const MAX_MATERIALS = 100

/** Whether an artifact is signed as a policy demands: by whom, or what came nearest, in one line for a person. */
export type SignatureVerdict =
  { readonly ok: true; readonly by: string } | { readonly ok: false; readonly reason: string }

/** A {@link Trust} that has been read. What cannot be used is left out: it trusts nobody. */
interface Readied {
  readonly keys: readonly { readonly name: string; readonly key: KeyObject }[]
  readonly identities: Trust['identities']
  readonly root: Verifier | string
}

/**
 * Looks for one signature of `digest` by somebody in `trust`; what else stands beside the artifact does no harm. No
 * network, no clock: certificates are judged at the time that their log or timestamp proves. Never throws.
 */
export function verifySignatures(
  digest: Digest,
  materials: readonly SignatureMaterial[],
  trust: Trust,
): SignatureVerdict {
  const readied = ready(trust)
  let nearest: Miss = { nearness: 'nothing', reason: 'is not signed' }
  for (const material of materials.slice(0, MAX_MATERIALS)) {
    const outcome = judge(digest, material, readied)
    if (typeof outcome === 'string') return { ok: true, by: outcome }
    if (NEARNESS.indexOf(outcome.nearness) > NEARNESS.indexOf(nearest.nearness)) nearest = outcome
  }
  const unseen = materials.length - MAX_MATERIALS
  return { ok: false, reason: unseen > 0 ? `${nearest.reason}; ${unseen} more were not looked at` : nearest.reason }
}

function ready({ keys, identities, trustedRoot }: Trust): Readied {
  return {
    keys: keys.flatMap(({ name, pem }) => {
      const key = readKey(pem)
      return typeof key === 'string' ? [] : [{ name, key }]
    }),
    identities,
    root:
      trustedRoot === undefined || identities.length === 0
        ? 'no trusted root, so certificates cannot be checked'
        : rooted(trustedRoot),
  }
}

function rooted({ name, json }: NonNullable<Trust['trustedRoot']>): Verifier | string {
  const root = readRoot(json)
  return typeof root === 'string' ? `certificates cannot be checked: ${excerpt(name)} ${root}` : root
}

/** Who signed, or why this one does not count. */
function judge(digest: Digest, material: SignatureMaterial, trust: Readied): string | Miss {
  try {
    const claim = readClaim(digest, material)
    if ('nearness' in claim) return claim
    const signer = trust.keys.find(({ key }) => isSignedBy(key, claim))
    if (signer !== undefined) return `key ${excerpt(signer.name)}`
    if (claim.certified !== undefined) return judgeCertificate(claim, claim.certified(), trust)
    return {
      nearness: 'signer',
      reason:
        trust.keys.length === 0
          ? 'signed by a key, and the policy names no key that can be used'
          : 'signed by a key that the policy does not name, or altered afterwards',
    }
  } catch (error) {
    return {
      nearness: 'unreadable',
      reason: `what ${material.foundIn} holds cannot be read as a signature: ${excerpt(String(error))}`,
    }
  }
}

function judgeCertificate(claim: Claim, bundle: Bundle, { identities, root }: Readied): string | Miss {
  if (identities.length === 0)
    return { nearness: 'signer', reason: 'signed with a certificate, and the policy names keys only' }
  if (typeof root === 'string') return { nearness: 'signer', reason: root }
  let signer: Signer
  try {
    signer = verifyCertificate(claim, bundle, root)
  } catch (error) {
    return {
      nearness: 'certificate',
      reason: `the certificate does not hold: ${excerpt(error instanceof Error ? error.message : String(error))}`,
    }
  }
  const extensions = signer.identity?.oids ?? []
  if (!isForCodeSigning(extensions))
    return { nearness: 'certificate', reason: 'the certificate is not one for code signing' }
  const identity = identities.find((wanted) => isIdentity(extensions, wanted))
  if (identity !== undefined) return `identity ${excerpt(identity.subject)} (issuer ${excerpt(identity.issuer)})`
  const subject = excerpt(signer.identity?.subjectAlternativeName ?? 'without a name')
  const issuer = excerpt(signer.identity?.extensions?.issuer ?? 'unknown')
  return { nearness: 'certificate', reason: `the certificate is for identity ${subject} (issuer ${issuer})` }
}

/** @throws when chain, certificate log, signing time, log entry or signature do not hold. */
function verifyCertificate({ message, signature, logged }: Claim, bundle: Bundle, root: Verifier): Signer {
  const entity = toSignedEntity(bundle, message)
  for (const { inclusionProof } of entity.tlogEntries) refusePatterns(inclusionProof?.checkpoint?.envelope ?? '')
  return root.verify({
    ...entity,
    // The library's own (3.1.1) does not know a DSSE envelope that Rekor v2 logged as hashedrekord.
    signature: {
      signature,
      compareSignature: (other) => other.equals(signature),
      compareDigest: (other) => logged.some((value) => value.equals(other)),
      verifySignature: (key) => isSignedBy(key, { message, signature }),
    },
  })
}

/**
 * The library (3.1.1) uses the name before a checkpoint's signature as a regular expression: one with nested
 * repetition would hold the process for hours. A name in a signed note is a host and a path.
 */
function refusePatterns(checkpoint: string): void {
  for (const [, name] of checkpoint.matchAll(/\u2014 (\S+) /g))
    if (!/^[\w./:~-]+$/.test(name ?? '')) throw new TypeError('the checkpoint is signed by a malformed name')
}

/** cosign hashes with SHA-256 whatever the curve; the longer curves' own hash is what other Sigstore clients take. */
function isSignedBy(key: KeyObject, { message, signature }: Pick<Claim, 'message' | 'signature'>): boolean {
  return hashes(key).some((hash) => verify(hash, message, key, signature))
}

function hashes({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): (string | null)[] {
  if (type === 'ed25519') return [null]
  if (details?.namedCurve === 'secp384r1') return ['sha256', 'sha384']
  if (details?.namedCurve === 'secp521r1') return ['sha256', 'sha512']
  return ['sha256']
}
