import { createHash } from 'node:crypto'
import { bundleFromJSON, type Bundle } from '@sigstore/bundle'
import type { Digest } from '../../model/artifact.ts'
import { excerpt } from '../../model/errors.ts'
import type { SignatureMaterial } from '../../model/signature.ts'

const MAX_BYTES = 1024 * 1024
const IN_TOTO = 'application/vnd.in-toto+json'
const STATEMENTS: readonly unknown[] = ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1']
const SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1'

/** How near a material came to a signature that the policy accepts; a later one is nearer. */
export const NEARNESS = ['nothing', 'unreadable', 'no signature', 'other digest', 'signer', 'certificate'] as const

/** Why a material does not count, for a person. */
export interface Miss {
  readonly nearness: (typeof NEARNESS)[number]
  readonly reason: string
}

/** A material that says of itself that it signs the wanted digest. Nothing about the signature is checked yet. */
export interface Claim {
  /** What the signature covers. */
  readonly message: Buffer
  readonly signature: Buffer
  /** SHA-256 values by which a log may know the message. */
  readonly logged: readonly Buffer[]
  /** Where a certificate stands beside the signature; throws what a parser throws. */
  readonly certified: (() => Bundle) | undefined
}

/** @throws whatever a parser throws at text that is not what it says it is. */
export function readClaim(digest: Digest, material: SignatureMaterial): Claim | Miss {
  return material.kind === 'bundle' ? fromBundle(digest, material.json) : fromSimpleSigning(digest, material)
}

/** cosign/specs/SIGNATURE_SPEC.md: the payload is signed as it stands, the rest are annotations of its layer. */
function fromSimpleSigning(
  digest: Digest,
  { payload, annotations }: Extract<SignatureMaterial, { kind: 'simple-signing' }>,
): Claim | Miss {
  if (payload.byteLength > MAX_BYTES) return { nearness: 'unreadable', reason: 'the signed payload is over 1 MiB' }
  const critical = field(parse(payload), 'critical')
  if (field(critical, 'type') !== 'cosign container image signature')
    return { nearness: 'no signature', reason: 'the signed payload is not about a container image' }
  const signed = field(field(critical, 'image'), 'docker-manifest-digest')
  if (signed !== digest) return otherDigest(signed)
  const message = Buffer.from(payload)
  const signature = Buffer.from(annotations['dev.cosignproject.cosign/signature'] ?? '', 'base64')
  const certificate = annotations['dev.sigstore.cosign/certificate']
  return {
    message,
    signature,
    logged: [sha256(message)],
    certified:
      certificate === undefined ? undefined : () => toBundle(sha256(message), signature, certificate, annotations),
  }
}

/** The classic form's annotations as the bundle that they were before there were bundles. */
function toBundle(
  digest: Buffer,
  signature: Buffer,
  certificate: string,
  annotations: Readonly<Record<string, string>>,
): Bundle {
  return bundleFromJSON({
    mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
    verificationMaterial: {
      // The leaf only: intermediates are taken from the trusted root.
      x509CertificateChain: { certificates: [{ rawBytes: pemBody(certificate) }] },
      tlogEntries: logEntries(annotations['dev.sigstore.cosign/bundle']),
      timestampVerificationData: { rfc3161Timestamps: timestamps(annotations) },
    },
    messageSignature: {
      messageDigest: { algorithm: 'SHA2_256', digest: digest.toString('base64') },
      signature: signature.toString('base64'),
    },
  })
}

function pemBody(certificate: string): string {
  const body = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/.exec(certificate)?.[1]
  if (body === undefined) throw new TypeError('the certificate is not in PEM form')
  return body.replaceAll(/\s/g, '')
}

/** Rekor's answer as cosign keeps it: `{SignedEntryTimestamp, Payload: {body, integratedTime, logIndex, logID}}`. */
function logEntries(annotation: string | undefined): unknown[] {
  if (annotation === undefined) return []
  const entry: unknown = JSON.parse(annotation)
  const payload = field(entry, 'Payload')
  const canonicalizedBody = text(field(payload, 'body'))
  const body = parse(Buffer.from(canonicalizedBody, 'base64'))
  return [
    {
      logIndex: String(field(payload, 'logIndex')),
      integratedTime: String(field(payload, 'integratedTime')),
      logId: { keyId: Buffer.from(text(field(payload, 'logID')), 'hex').toString('base64') },
      kindVersion: { kind: field(body, 'kind'), version: field(body, 'apiVersion') },
      inclusionPromise: { signedEntryTimestamp: text(field(entry, 'SignedEntryTimestamp')) },
      canonicalizedBody,
    },
  ]
}

function timestamps(annotations: Readonly<Record<string, string>>): unknown[] {
  const annotation = annotations['dev.sigstore.cosign/rfc3161timestamp']
  return annotation === undefined
    ? []
    : [{ signedTimestamp: text(field(JSON.parse(annotation), 'SignedRFC3161Timestamp')) }]
}

/** What the verifier leaves to its caller is checked here: the payload's type, the statement's predicate and subject. */
function fromBundle(digest: Digest, json: Uint8Array): Claim | Miss {
  if (json.byteLength > MAX_BYTES) return { nearness: 'unreadable', reason: 'the bundle is over 1 MiB' }
  const bundle = bundleFromJSON(parse(json))
  if (bundle.content.$case !== 'dsseEnvelope')
    return {
      nearness: 'no signature',
      reason: 'the bundle signs a file that is not beside it; cosign’s bundles for images hold a statement',
    }
  const { payload, payloadType, signatures } = bundle.content.dsseEnvelope
  if (payloadType !== IN_TOTO)
    return { nearness: 'no signature', reason: `the bundle signs ${excerpt(payloadType)}, not an in-toto statement` }
  const statement = parse(payload)
  const predicate = field(statement, 'predicateType')
  if (!STATEMENTS.includes(field(statement, '_type')) || predicate !== SIGN_PREDICATE)
    return { nearness: 'no signature', reason: `an attestation (${shown(predicate)}) is not a signature` }
  const subjects = field(statement, 'subject')
  const hex = (Array.isArray(subjects) ? subjects : []).map((subject) => field(field(subject, 'digest'), 'sha256'))
  if (!hex.includes(digest.slice('sha256:'.length))) return otherDigest(`sha256:${shown(hex[0])}`)
  const message = preAuthEncoding(payloadType, payload)
  return {
    message,
    // bundleFromJSON refuses any number but one.
    signature: signatures[0]!.sig,
    // Rekor v1 knows a DSSE envelope by its payload, Rekor v2's hashedrekord by what is signed.
    logged: [sha256(payload), sha256(message)],
    certified: bundle.verificationMaterial.content.$case === 'publicKey' ? undefined : () => bundle,
  }
}

/** secure-systems-lab/dsse protocol.md: what a DSSE signature covers. */
function preAuthEncoding(payloadType: string, payload: Buffer): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `
  return Buffer.concat([Buffer.from(head), payload])
}

function otherDigest(signed: unknown): Miss {
  return { nearness: 'other digest', reason: `signature is for another digest ${shown(signed)}` }
}

function parse(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('an annotation lacks a field')
  return value
}

function shown(value: unknown): string {
  return typeof value === 'string' ? excerpt(value, 100) : 'without a name'
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}
