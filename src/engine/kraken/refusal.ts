import { redact } from '../redact.ts'
import { EdgeError, excerpt } from '../../model/errors.ts'
import { retryAfterMs, type HttpAnswer } from '../../http.ts'
import type { Instant } from '../../model/duration.ts'

/** Which of Kraken's servers is asked. */
export type Role = 'proxy' | 'origin' | 'tracker'

const SHORTEST_PAUSE_MS = 1_000
const MOST_BYTES = 65_536

const PORTS = {
  proxy:
    'this is Kraken’s nginx port; name the proxy server’s own listener (server.listener with net: tcp, --server-port up to v0.1.4)',
  origin: 'this is no origin’s blob server; name the port of the origin’s nginx',
  tracker: 'this is no tracker; name the port of the tracker’s nginx',
} as const

const CERTIFICATE =
  'it wants a client certificate that it trusts: set tls.certFile and tls.keyFile of the Provider, signed by the CA that Kraken trusts'

/** Words of a backend's failure that a setting of Kraken mends; `lasting`: the same again will fail again. */
const BACKEND = [
  {
    words: /no matches for namespace|no (?:matching )?backend/i,
    lasting: true,
    hint: 'no entry of the origins’ backends matches the repository',
  },
  { words: /exceeds size limit/i, lasting: true, hint: 'raise blobrefresh.size_limit of the origins' },
  {
    words: /client\.timeout|deadline exceeded|i\/o timeout/i,
    lasting: false,
    hint: 'raise registry_blob.timeout of the origins, which is 60s for a whole blob unless set',
  },
] as const

/**
 * What an answer means that is not the one wanted. Kraken says errors as plain text.
 * @param who `provider kraken-eu, origin origin-1:15002`
 * @param action `a notification`
 * @param secrets what the request carried; no echo of it gets into the message
 */
export function refusal(
  who: string,
  role: Role,
  action: string,
  answer: HttpAnswer,
  secrets: readonly string[],
  now: Instant,
): EdgeError {
  const words = wordsOf(answer)
  const { status, headers } = answer
  const said = words === undefined ? `HTTP ${status}` : `HTTP ${status}: ${excerpt(redact(words, secrets))}`
  const refused = `${who} answered ${action} with ${said}`
  const named = retryAfterMs(headers, now)
  if (wantsCertificate(answer)) return new EdgeError('rejected', 'PH5002', `${refused}; ${CERTIFICATE}`)
  if (status === 401) return new EdgeError('rejected', 'PH5007', refused)
  if (status === 429) {
    const pauseMs = Math.max(SHORTEST_PAUSE_MS, named ?? 0)
    return new EdgeError('unavailable', 'PH5001', refused, { retryAfterMs: pauseMs })
  }
  if (isMisrouted(role, answer)) return new EdgeError('unintelligible', 'PH5008', `${refused}; ${PORTS[role]}`)
  if (status === 404) return new EdgeError('rejected', 'PH5002', `${refused}: what it reads from has no such blob`)
  if (status === 503) {
    const busy = role === 'proxy' ? '' : '; it is not ready, or all its workers are busy'
    return new EdgeError('unavailable', 'PH5001', refused + busy, { retryAfterMs: named })
  }
  const known = BACKEND.find((one) => one.words.test(words ?? ''))
  if (status === 500 && known !== undefined) {
    const message = `${refused}; ${known.hint}`
    return known.lasting
      ? new EdgeError('rejected', 'PH5002', message)
      : new EdgeError('unavailable', 'PH5001', message)
  }
  if (status === 500 && /decode body/i.test(words ?? '')) return new EdgeError('rejected', 'PH5002', refused)
  if (status >= 500 || status === 408) return new EdgeError('unavailable', 'PH5001', refused, { retryAfterMs: named })
  if (status >= 400) return new EdgeError('rejected', 'PH5002', refused)
  return new EdgeError('unintelligible', 'PH5008', `${refused}, which is not Kraken’s answer`)
}

/**
 * What a silence means, where more is known than that nobody answered: TLS that failed, a listener that is not there.
 * @param error as the HTTP client threw it
 */
export function silence(who: string, role: Role, error: EdgeError): EdgeError {
  const code = codeOf(error.cause)
  // A TLS alert is the other side's word, and about certificates it has one to say.
  if (/^ERR_SSL_.*ALERT/.test(code)) {
    return new EdgeError('rejected', 'PH5002', `${who} ended the TLS handshake (${code}); ${CERTIFICATE}`)
  }
  if (/^ERR_SSL_|^EPROTO$/.test(code)) {
    return new EdgeError('unintelligible', 'PH5008', `${who} does not speak TLS (${code}): write http, or another port`)
  }
  if (/CERT|VERIFY|SELF_SIGNED/.test(code)) {
    const message = `${who} has a certificate that is not trusted (${code}): set tls.caFile of the Provider`
    return new EdgeError('rejected', 'PH5002', message)
  }
  if (code === 'ECONNREFUSED' && role === 'proxy') {
    const hint = 'its server listens on a unix socket until server.listener has net: tcp'
    return new EdgeError('unavailable', 'PH5001', `${error.message}; ${hint}`)
  }
  return error
}

/** Has the router of an older version no such path? Its own 404 has words, the handler's has none. */
export function isRouteMissing(answer: HttpAnswer): boolean {
  return answer.status === 405 || (answer.status === 404 && /^404 page not found/i.test(wordsOf(answer) ?? ''))
}

/** nginx with mutual TLS: Kraken's own rule is 403 to all but GET and HEAD, a stricter nginx says 400. */
export function wantsCertificate({ status, bytes }: HttpAnswer): boolean {
  return (
    status === 403 ||
    status === 495 ||
    status === 496 ||
    (status === 400 && /ssl certificate/i.test(bytes.subarray(0, MOST_BYTES).toString('latin1')))
  )
}

/** Redirects, pages made for people and routes that are not there come from another server than the one wanted. */
function isMisrouted(role: Role, answer: HttpAnswer): boolean {
  const { status } = answer
  if (status < 400) return role !== 'proxy'
  if (status === 405 || (status === 404 && role === 'proxy')) return true
  return status === 404 && (isRouteMissing(answer) || isPage(answer))
}

function wordsOf(answer: HttpAnswer): string | undefined {
  const words = isPage(answer) ? '' : answer.bytes.subarray(0, MOST_BYTES).toString('utf8').trim()
  return words === '' ? undefined : words
}

function isPage({ headers, bytes }: HttpAnswer): boolean {
  return headers['content-type']?.startsWith('text/html') === true || /^\s*</.test(bytes.subarray(0, 64).toString())
}

function codeOf(cause: unknown): string {
  if (cause instanceof AggregateError) return codeOf(cause.errors[0])
  const code: unknown = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined
  return typeof code === 'string' ? code : ''
}
