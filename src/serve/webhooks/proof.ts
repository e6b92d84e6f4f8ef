import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { Instant } from '../../model/duration.ts'
import type { Secret } from '../../model/secret.ts'

/** By what a sender shows that it knows the secret of a receiver. */
export type Proof =
  /** The secret itself. */
  | { readonly scheme: 'token'; readonly token: string }
  /** An HMAC of the body in hex. */
  | { readonly scheme: 'hmac'; readonly algorithm: 'sha256' | 'sha512'; readonly hex: string }
  /** https://www.standardwebhooks.com: an HMAC of `id.timestamp.body` in base64, one or several `v1,…`. */
  | { readonly scheme: 'standard'; readonly id: string; readonly timestamp: string; readonly signatures: string }

/** `stale`: authentic, and too old or too far ahead to be more than a replay. */
export type Verdict = 'authentic' | 'forged' | 'stale'

/** Standard Webhooks' own tolerance. */
const TOLERANCE_MS = 300_000
/** More is no rotation of keys. */
const MAX_SIGNATURES = 8
/** How Standard Webhooks, and so GitLab, write a signing key; such a key is never a token. */
const SIGNING_KEY = /^whsec_(?<key>[A-Za-z0-9+/]+={0,2})$/
const HEX_CHARS = { sha256: 64, sha512: 128 }

/** Does the proof hold for these raw bytes? Compared in constant time. With an empty secret nothing holds. */
export function verify(proof: Proof, body: Uint8Array, secret: Secret, now: Instant): Verdict {
  const key = SIGNING_KEY.exec(secret.reveal())?.groups?.['key']
  if (proof.scheme === 'standard') return key === undefined ? 'forged' : verifyStandard(proof, body, key, now)
  if (key !== undefined || secret.reveal() === '') return 'forged'
  const holds = proof.scheme === 'token' ? isSame(proof.token, secret.reveal()) : isSigned(proof, body, secret)
  return holds ? 'authentic' : 'forged'
}

/**
 * Does this `Authorization` hold the secret: verbatim, as Harbor and notifications send what they were configured with,
 * as bearer token, or as basic password? Two headers arrive here as one, joined by a comma, and hold nothing.
 */
export function isAuthorized(authorization: string, secret: Secret): boolean {
  const expected = secret.reveal()
  if (expected === '') return false
  const bearer = /^bearer +(?<token>.+)$/i.exec(authorization)?.groups?.['token'] ?? ''
  const basic = /^basic +(?<pair>[A-Za-z0-9+/]+={0,2})$/i.exec(authorization)?.groups?.['pair'] ?? ''
  const pair = Buffer.from(basic, 'base64').toString()
  const password = pair.slice(pair.indexOf(':') + 1)
  return [authorization, bearer, password].map((given) => isSame(given, expected)).includes(true)
}

/** Digests are compared, so that neither length nor content shows in the time that it takes. */
function isSame(given: string, expected: string): boolean {
  return timingSafeEqual(sha256(given), sha256(expected))
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function isSigned(proof: Extract<Proof, { scheme: 'hmac' }>, body: Uint8Array, secret: Secret): boolean {
  if (proof.hex.length !== HEX_CHARS[proof.algorithm] || !/^[0-9a-f]*$/i.test(proof.hex)) return false
  const expected = createHmac(proof.algorithm, secret.reveal()).update(body).digest()
  return timingSafeEqual(Buffer.from(proof.hex, 'hex'), expected)
}

function verifyStandard(
  { id, timestamp, signatures }: Extract<Proof, { scheme: 'standard' }>,
  body: Uint8Array,
  key: string,
  now: Instant,
): Verdict {
  const given = signatures.split(' ')
  const isWellFormed = given.every((one) => /^v1a?,[A-Za-z0-9+/]+={0,2}$/.test(one)) && /^\d{1,12}$/.test(timestamp)
  if (!isWellFormed || given.length > MAX_SIGNATURES) return 'forged'
  const signed = createHmac('sha256', Buffer.from(key, 'base64')).update(`${id}.${timestamp}.`).update(body)
  const expected = `v1,${signed.digest('base64')}`
  if (!given.map((one) => isSame(one, expected)).includes(true)) return 'forged'
  return Math.abs(now - Number(timestamp) * 1000) > TOLERANCE_MS ? 'stale' : 'authentic'
}
