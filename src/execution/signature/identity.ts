import type { Signer } from '@sigstore/verify'
import type { Trust } from '../../model/signature.ts'

type Identity = Trust['identities'][number]
type Extensions = NonNullable<NonNullable<Signer['identity']>['oids']>

// fulcio/docs/oid-info.md: the issuer as a DER string, and as bare text in certificates of before 2022.
const ISSUER = '1.3.6.1.4.1.57264.1.8'
const ISSUER_BARE = '1.3.6.1.4.1.57264.1.1'
const SUBJECT_ALT_NAME = '2.5.29.17'
const EXTENDED_KEY_USAGE = '2.5.29.37'
const CODE_SIGNING = Buffer.from('06082b06010505070303', 'hex')

const UTF8_STRING = 0x0c
const SEQUENCE = 0x30
const EMAIL = 0x81
const URI = 0x86

/**
 * Whether a certificate's extensions name exactly this issuer and, as its only name, this subject. The wanted bytes
 * are compared with those of the certificate: the library's own policy takes the subject for an unanchored regular
 * expression, looks at the first of several names, and reads text as ASCII with the high bit dropped.
 */
export function isIdentity(extensions: Extensions, { issuer, subject }: Identity): boolean {
  const issuers = values(extensions, ISSUER)
  const issuerIs =
    issuers.length > 0
      ? all(issuers, [der(UTF8_STRING, Buffer.from(issuer))])
      : all(values(extensions, ISSUER_BARE), [Buffer.from(issuer)])
  const names = [URI, EMAIL].map((tag) => der(SEQUENCE, der(tag, Buffer.from(subject))))
  return issuerIs && all(values(extensions, SUBJECT_ALT_NAME), names)
}

/** Fulcio signs nothing else; a private authority may also issue certificates for servers. */
export function isForCodeSigning(extensions: Extensions): boolean {
  return values(extensions, EXTENDED_KEY_USAGE).some((value) => value.includes(CODE_SIGNING))
}

function values(extensions: Extensions, oid: string): Buffer[] {
  return extensions.filter((extension) => extension.oid?.id.join('.') === oid).map(({ value }) => value)
}

function all(found: readonly Buffer[], wanted: readonly Buffer[]): boolean {
  return found.length > 0 && found.every((value) => wanted.some((want) => want.equals(value)))
}

/** One DER element of less than 64 KiB; a longer one equals nothing. */
function der(tag: number, content: Buffer): Buffer {
  const length = content.length
  const header = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...header]), content])
}
