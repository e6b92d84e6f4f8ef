import { EdgeError } from '../model/errors.ts'

/** For whoever reads that a manager and a registry do not come together by TLS. */
const TLS_REMEDY =
  'check the scheme of engineEndpoint and the registry’s certificate, which a manager trusts by its job.preheat.tls'

// Go's words, crypto/x509, crypto/tls and net/http of 1.23. A handshake that timed out or was cut is none of these.
const TLS_REFUSAL =
  /\bx509: |server gave HTTP response to HTTPS client|first record does not look like a TLS handshake|remote error: tls: (?:bad certificate|certificate required|handshake failure|protocol version not supported|unrecognized name)/

/**
 * Words that mean: the same again will fail again. There is no machine-readable code.
 * @see dragonflyoss/dragonfly manager/job/preheat.go, internal/job/image.go; distribution's client errors; v2.0.1 to v2.5.1
 */
const LASTING =
  /unauthorized|(?:^|[\s:])denied: |(?:manifest|name|blob) (?:unknown|invalid)|no matching manifest|\bip \S+ is invalid|(?:candidate|active) schedulers not found|parse access url failed|invalid params|unknown preheat type|error parsing HTTP 40[0134]/i

/**
 * What a Dragonfly manager's 500 to a submission means, whichever of its APIs it came by; undefined: a retry may help.
 * @param refused who answered what with which words
 */
export function lastingRefusal(refused: string, words: string | undefined): EdgeError | undefined {
  if (words === undefined) return undefined
  if (TLS_REFUSAL.test(words)) return new EdgeError('rejected', 'PH5002', `${refused}; ${TLS_REMEDY}`)
  return LASTING.test(words) ? new EdgeError('rejected', 'PH5002', refused) : undefined
}
