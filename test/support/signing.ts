import { createHash, generateKeyPairSync, randomInt, sign, type KeyObject } from 'node:crypto'
import { initializeCA } from '@sigstore/mock/dist/fulcio/ca.js'
import { initializeTLog } from '@sigstore/mock/dist/rekor/tlog.js'
import { initializeTSA } from '@sigstore/mock/dist/timestamp/tsa.js'
import { parseDigest, type Digest } from '../../src/model/artifact.ts'
import type { SignatureMaterial, Trust } from '../../src/model/signature.ts'

type SimpleSigning = Extract<SignatureMaterial, { kind: 'simple-signing' }>
type BundleMaterial = Extract<SignatureMaterial, { kind: 'bundle' }>
type Identity = Trust['identities'][number]

const SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1'

/** Any digest; equal names make equal digests. */
export function digestOf(name: string): Digest {
  return parseDigest(`sha256:${sha256(Buffer.from(name)).toString('hex')}`)
}

/** Keys as cosign writes them, and what signs with them as cosign does. */
export interface KeyPair {
  readonly publicPem: string
  readonly privatePem: string
  readonly publicKey: KeyObject
  readonly sign: (message: Uint8Array) => Buffer
}

/** Default is what `cosign generate-key-pair` makes. `hash` is null for Ed25519. */
export function keyPair(
  kind: 'P-256' | 'P-384' | 'P-521' | 'RSA' | 'RSA-1024' | 'Ed25519' | 'secp256k1' = 'P-256',
  hash: string | null = kind === 'Ed25519' ? null : 'sha256',
): KeyPair {
  const { publicKey, privateKey } = generate(kind)
  return {
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey,
    sign: (message) => sign(hash, message, privateKey),
  }
}

function generate(kind: Parameters<typeof keyPair>[0] & string): { publicKey: KeyObject; privateKey: KeyObject } {
  if (kind === 'RSA' || kind === 'RSA-1024')
    return generateKeyPairSync('rsa', { modulusLength: kind === 'RSA' ? 2048 : 1024 })
  if (kind === 'Ed25519') return generateKeyPairSync('ed25519')
  return generateKeyPairSync('ec', { namedCurve: kind })
}

/** cosign's classic form by key: one layer of `sha256-<hex>.sig`. */
export function simpleSigning(digest: Digest, pair: KeyPair, type?: string): SimpleSigning {
  const payload = simplePayload(digest, type)
  return {
    kind: 'simple-signing',
    foundIn: digestOf('sig'),
    payload,
    annotations: { 'dev.cosignproject.cosign/signature': pair.sign(payload).toString('base64') },
  }
}

function simplePayload(digest: Digest, type = 'cosign container image signature'): Buffer {
  const image = { 'docker-manifest-digest': digest }
  return Buffer.from(
    JSON.stringify({ critical: { identity: { 'docker-reference': '' }, image, type }, optional: null }),
  )
}

/** What a DSSE envelope says, where it is not what cosign 3 says. */
export interface Saying {
  /** Default is the digest alone. */
  readonly subjects?: readonly Digest[]
  readonly predicateType?: string
  readonly payloadType?: string
  readonly statementType?: string
}

/** A bundle v0.3 as cosign 3 attaches it, by key. */
export function bundleByKey(digest: Digest, pair: KeyPair, saying: Saying = {}): BundleMaterial {
  const { envelope, message } = dsse(digest, saying)
  return bundle({ dsseEnvelope: envelope(pair.sign(message)) }, { publicKey: { hint: 'any' }, tlogEntries: [] })
}

/** A bundle that signs a file, as `cosign sign-blob` makes it; the file is not in it. */
export function messageBundle(file: Uint8Array, pair: KeyPair): BundleMaterial {
  const messageDigest = { algorithm: 'SHA2_256', digest: sha256(file).toString('base64') }
  const messageSignature = { messageDigest, signature: pair.sign(file).toString('base64') }
  return bundle({ messageSignature }, { publicKey: { hint: '' }, tlogEntries: [] })
}

/** A bundle with one value replaced, found by its path of names. */
export function changed(material: BundleMaterial, path: readonly (string | number)[], value: unknown): BundleMaterial {
  const json = JSON.parse(Buffer.from(material.json).toString())
  let parent = json
  for (const name of path.slice(0, -1)) parent = parent[name]
  parent[path.at(-1) ?? ''] = value
  return { ...material, json: Buffer.from(JSON.stringify(json)) }
}

function bundle(content: object, verificationMaterial: object, version = '.v0.3+json'): BundleMaterial {
  const json = { mediaType: `application/vnd.dev.sigstore.bundle${version}`, verificationMaterial, ...content }
  return { kind: 'bundle', foundIn: digestOf('bundle'), json: Buffer.from(JSON.stringify(json)) }
}

function dsse(digest: Digest, saying: Saying) {
  const { subjects = [digest], predicateType = SIGN_PREDICATE } = saying
  const { payloadType: type = 'application/vnd.in-toto+json', statementType = 'https://in-toto.io/Statement/v1' } =
    saying
  const payload = Buffer.from(
    JSON.stringify({
      _type: statementType,
      subject: subjects.map((subject) => ({ digest: { sha256: subject.slice('sha256:'.length) } })),
      predicateType,
      predicate: {},
    }),
  )
  return {
    payload,
    message: Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]),
    envelope: (signature: Buffer) => ({
      payload: payload.toString('base64'),
      payloadType: type,
      signatures: [{ sig: signature.toString('base64'), keyid: '' }],
    }),
  }
}

/** How a keyless signature proves when it was made. */
type Proof =
  /** Rekor v1, as `cosign sign` does. */
  | 'log'
  | 'timestamp authority'
  /** Rekor v2: an entry that tells no time, and a timestamp. */
  | 'log v2'
  | 'nothing'

export interface KeylessOptions extends Saying {
  readonly proof?: Proof
  /** How the bundle is written; default 0.3. */
  readonly version?: '0.1' | '0.2' | '0.3'
  /** When the log or the timestamp authority saw the signature; default now, while the certificate is valid. */
  readonly seenAt?: Date
  /** DER, for the signer's public key (SPKI, DER); default is Fulcio's, with a certificate timestamp. */
  readonly certify?: (publicKey: Buffer) => Buffer
}

type RootPart = 'certificateAuthorities' | 'tlogs' | 'ctlogs' | 'timestampAuthorities'

/** A whole Sigstore of one's own in memory: Fulcio, its certificate log, Rekor and a timestamp authority. */
export interface Sigstore {
  /** `trusted_root.json` of these parts; default all. */
  readonly trustedRoot: (parts?: readonly RootPart[]) => string
  readonly simpleSigning: (digest: Digest, identity: Identity, options?: KeylessOptions) => Promise<SimpleSigning>
  readonly bundle: (digest: Digest, identity: Identity, options?: KeylessOptions) => Promise<BundleMaterial>
  /** A second authority beside Fulcio, in the same root, without a certificate log. */
  readonly authority: CertificateAuthority
}

export async function sigstore(): Promise<Sigstore> {
  const [fulcioKeys, ctKeys, logKeys, tsaKeys] = [ecKeys(), ecKeys(), ecKeys(), ecKeys()]
  const fulcio = await initializeCA(fulcioKeys, certificateLog(ctKeys))
  const authority = certificateAuthority()
  const tsaRoot = await initializeTSA(tsaKeys)
  const validFor = { start: '2020-01-01T00:00:00Z' }
  const log = (keys: { publicKey: KeyObject }, baseUrl: string) => {
    const rawBytes = keys.publicKey.export({ type: 'spki', format: 'der' })
    return {
      baseUrl,
      hashAlgorithm: 'SHA2_256',
      publicKey: { rawBytes: rawBytes.toString('base64'), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor },
      logId: { keyId: sha256(rawBytes).toString('base64') },
    }
  }
  const chain = (...certificates: Buffer[]) => ({
    certChain: { certificates: certificates.map((certificate) => ({ rawBytes: certificate.toString('base64') })) },
    validFor,
  })
  const parts: Readonly<Record<RootPart, readonly object[]>> = {
    certificateAuthorities: [chain(fulcio.rootCertificate), chain(authority.root)],
    tlogs: [log(logKeys, 'https://rekor.example.com')],
    ctlogs: [log(ctKeys, 'https://ct.example.com')],
    timestampAuthorities: [chain(tsaRoot.intCertificate, tsaRoot.rootCertificate)],
  }

  async function certificateFor(publicKey: Buffer, { issuer, subject }: Identity, options: KeylessOptions) {
    return (
      options.certify?.(publicKey) ??
      fulcio.issueCertificate({
        publicKey,
        subjectAltName: subject,
        extensions: [{ oid: '1.3.6.1.4.1.57264.1.8', value: issuer }],
      })
    )
  }

  async function logged(body: object, seenAt: Date | undefined): Promise<LogEntry> {
    const rekor = await initializeTLog('https://rekor.example.com', logKeys, seenAt)
    const [entry] = Object.values<LogEntry>(await rekor.log(body))
    return entry!
  }

  async function timestamp(signature: Buffer, seenAt: Date | undefined): Promise<string> {
    // The clock of a token is set when its authority is made; its certificates are the first one's.
    // In whole seconds: asn1js writes some fractions in a form that the verifier does not read.
    const time = new Date(Math.floor((seenAt ?? new Date()).getTime() / 1000) * 1000)
    const tsa = Object.assign(tsaRoot, { getCurrentTime: () => time })
    const token = await tsa.timestamp({
      artifactHash: sha256(signature),
      hashAlgorithmOID: '2.16.840.1.101.3.4.2.1',
      nonce: randomInt(1_000_000),
      policyOID: '1.3.6.1.4.1.57264.2',
    })
    return token.toString('base64')
  }

  return {
    authority,
    trustedRoot: (wanted = ['certificateAuthorities', 'tlogs', 'ctlogs', 'timestampAuthorities']) =>
      JSON.stringify({
        mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
        ...Object.fromEntries(wanted.map((part) => [part, parts[part]])),
      }),

    async simpleSigning(digest, identity, options = {}) {
      const pair = keyPair()
      const certificate = await certificateFor(spki(pair), identity, options)
      const material = simpleSigning(digest, pair)
      const signature = material.annotations['dev.cosignproject.cosign/signature'] ?? ''
      const annotations: Record<string, string> = {
        ...material.annotations,
        'dev.sigstore.cosign/certificate': pem(certificate),
        'dev.sigstore.cosign/chain': pem(fulcio.rootCertificate),
      }
      const { proof = 'log', seenAt } = options
      if (proof === 'log') {
        const body = hashedRekord(sha256(material.payload), signature, certificate)
        const { verification, body: logBody, integratedTime, logIndex, logID } = await logged(body, seenAt)
        annotations['dev.sigstore.cosign/bundle'] = JSON.stringify({
          SignedEntryTimestamp: verification.signedEntryTimestamp,
          Payload: { body: logBody, integratedTime, logIndex, logID },
        })
      }
      if (proof === 'timestamp authority') {
        const token = await timestamp(Buffer.from(signature, 'base64'), seenAt)
        annotations['dev.sigstore.cosign/rfc3161timestamp'] = JSON.stringify({ SignedRFC3161Timestamp: token })
      }
      return { ...material, annotations }
    },

    async bundle(digest, identity, options = {}) {
      const { proof = 'log', version = '0.3', seenAt } = options
      const pair = keyPair()
      const certificate = await certificateFor(spki(pair), identity, options)
      const { envelope, message, payload } = dsse(digest, options)
      const signature = pair.sign(message)
      const rawBytes = certificate.toString('base64')
      const tlogEntries: object[] = []
      if (proof === 'log' || proof === 'log v2') {
        const body =
          proof === 'log'
            ? dsseRecord(payload, signature, certificate)
            : hashedRekordV2(sha256(message), signature, certificate)
        const { inclusionPromise, ...entry } = logEntry(body, await logged(body, seenAt))
        tlogEntries.push(proof === 'log' ? { ...entry, inclusionPromise } : { ...entry, integratedTime: '0' })
      }
      const rfc3161Timestamps =
        proof === 'timestamp authority' || proof === 'log v2'
          ? [{ signedTimestamp: await timestamp(signature, seenAt) }]
          : []
      return bundle(
        { dsseEnvelope: envelope(signature) },
        {
          ...(version === '0.3'
            ? { certificate: { rawBytes } }
            : { x509CertificateChain: { certificates: [{ rawBytes }] } }),
          tlogEntries,
          timestampVerificationData: { rfc3161Timestamps },
        },
        version === '0.3' ? undefined : `+json;version=${version}`,
      )
    },
  }
}

/** Of RFC 6962, section 3.2. That of @sigstore/mock 0.11.0 writes no signature with pkijs 3.4. */
function certificateLog({ publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject }) {
  const rawBytes = publicKey.export({ type: 'spki', format: 'der' })
  const logID = sha256(rawBytes)
  return {
    publicKey: rawBytes,
    logID,
    log: (certificate: ArrayBuffer, issuerID: ArrayBuffer) => {
      const tbs = firstElement(Buffer.from(certificate))
      const time = Buffer.alloc(8)
      time.writeBigUInt64BE(BigInt(Date.now()))
      const none = Buffer.from([0, 0])
      const entry = Buffer.concat([Buffer.from([0, 1]), Buffer.from(issuerID), uint(3, tbs.length), tbs])
      const signature = sign('sha256', Buffer.concat([none, time, entry, none]), privateKey)
      const hashAndKey = Buffer.from([4, 3])
      const sct = [Buffer.from([0]), logID, time, none, hashAndKey, uint(2, signature.length), signature]
      const bytes = Buffer.concat(sct)
      return Promise.resolve(new Uint8Array([...uint(2, bytes.length), ...bytes]).buffer)
    },
  }
}

/** The first element of a DER sequence, whole; both longer than 255 bytes and shorter than 64 KiB. */
function firstElement(sequence: Buffer): Buffer {
  return sequence.subarray(4, 8 + sequence.readUInt16BE(6))
}

function uint(size: number, value: number): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeUIntBE(value, 0, size)
  return bytes
}

/** As Rekor answers. */
interface LogEntry {
  readonly body: string
  readonly integratedTime: number
  readonly logIndex: number
  readonly logID: string
  readonly verification: {
    readonly signedEntryTimestamp: string
    readonly inclusionProof: {
      readonly logIndex: number
      readonly treeSize: number
      readonly rootHash: string
      readonly checkpoint: string
    }
  }
}

function logEntry(body: { kind: string; apiVersion: string }, entry: LogEntry) {
  const { signedEntryTimestamp, inclusionProof } = entry.verification
  return {
    logIndex: String(entry.logIndex),
    logId: { keyId: Buffer.from(entry.logID, 'hex').toString('base64') },
    kindVersion: { kind: body.kind, version: body.apiVersion },
    integratedTime: String(entry.integratedTime),
    inclusionPromise: { signedEntryTimestamp },
    inclusionProof: {
      logIndex: String(inclusionProof.logIndex),
      treeSize: String(inclusionProof.treeSize),
      rootHash: Buffer.from(inclusionProof.rootHash, 'hex').toString('base64'),
      hashes: [],
      checkpoint: { envelope: inclusionProof.checkpoint },
    },
    canonicalizedBody: entry.body,
  }
}

function hashedRekord(hash: Buffer, signature: string, certificate: Buffer) {
  const publicKey = { content: Buffer.from(pem(certificate)).toString('base64') }
  const data = { hash: { algorithm: 'sha256', value: hash.toString('hex') } }
  return { kind: 'hashedrekord', apiVersion: '0.0.1', spec: { data, signature: { content: signature, publicKey } } }
}

function hashedRekordV2(hash: Buffer, signature: Buffer, certificate: Buffer) {
  const verifier = { x509Certificate: { rawBytes: certificate.toString('base64') } }
  const hashedRekordV002 = {
    data: { algorithm: 'SHA2_256', digest: hash.toString('base64') },
    signature: { content: signature.toString('base64'), verifier },
  }
  return { kind: 'hashedrekord', apiVersion: '0.0.2', spec: { hashedRekordV002 } }
}

function dsseRecord(payload: Buffer, signature: Buffer, certificate: Buffer) {
  const verifier = Buffer.from(pem(certificate)).toString('base64')
  const payloadHash = { algorithm: 'sha256', value: sha256(payload).toString('hex') }
  const signatures = [{ signature: signature.toString('base64'), verifier }]
  return { kind: 'dsse', apiVersion: '0.0.1', spec: { payloadHash, signatures } }
}

/** What a certificate of {@link CertificateAuthority} says, where it is not what Fulcio would say. */
export interface CertificateContent {
  readonly issuer: string
  /** The alternative names in order. */
  readonly names: readonly { readonly type: 'email' | 'uri'; readonly value: string | Buffer }[]
  /** Which extension holds the issuer: 8 as a DER string, 1 (before 2022) bare. Default 8. */
  readonly issuerExtension?: 1 | 8
  /** Default code signing; given, for servers. */
  readonly usage?: 'server'
}

/** Issues what Fulcio would not: valid from 2020 to 2049, without a certificate timestamp. */
interface CertificateAuthority {
  readonly root: Buffer
  readonly certify: (content: CertificateContent) => (publicKey: Buffer) => Buffer
}

function certificateAuthority(): CertificateAuthority {
  const { publicKey, privateKey } = ecKeys()
  const algorithm = Buffer.from('300a06082a8648ce3d040302', 'hex')
  const name = (cn: string) =>
    der(0x30, der(0x31, der(0x30, Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from(cn)))))
  const extension = (oid: string, value: Buffer) => der(0x30, Buffer.from(oid, 'hex'), der(0x04, value))
  const issue = (subject: string, key: Buffer, extensions: Buffer[]) => {
    const tbs = der(
      0x30,
      der(0xa0, der(0x02, Buffer.from([2]))),
      der(0x02, Buffer.from([1 + randomInt(100)])),
      algorithm,
      name('other authority'),
      der(0x30, der(0x17, Buffer.from('200101000000Z')), der(0x17, Buffer.from('491231235959Z'))),
      name(subject),
      key,
      der(0xa3, der(0x30, ...extensions)),
    )
    return der(0x30, tbs, algorithm, der(0x03, Buffer.from([0]), sign('sha256', tbs, privateKey)))
  }
  const isAuthority = extension('0603551d13', der(0x30, der(0x01, Buffer.from([0xff]))))
  return {
    root: issue('other authority', publicKey.export({ type: 'spki', format: 'der' }), [isAuthority]),
    certify:
      ({ issuer, names, issuerExtension = 8, usage }) =>
      (key) =>
        issue('signer', key, [
          extension(
            '0603551d25',
            der(0x30, Buffer.from(usage === 'server' ? '06082b06010505070301' : '06082b06010505070303', 'hex')),
          ),
          extension(
            '0603551d11',
            der(0x30, ...names.map(({ type, value }) => der(type === 'uri' ? 0x86 : 0x81, Buffer.from(value)))),
          ),
          extension(
            `060a2b0601040183bf30010${issuerExtension}`,
            issuerExtension === 8 ? der(0x0c, Buffer.from(issuer)) : Buffer.from(issuer),
          ),
        ]),
  }
}

function der(tag: number, ...content: Buffer[]): Buffer {
  const value = Buffer.concat(content)
  const n = value.length
  return Buffer.concat([
    Buffer.from([tag, ...(n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 255])]),
    value,
  ])
}

function ecKeys() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

function spki(pair: KeyPair): Buffer {
  return pair.publicKey.export({ type: 'spki', format: 'der' })
}

function pem(certificate: Buffer): string {
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}
