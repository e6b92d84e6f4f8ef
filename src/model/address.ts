/** Is this URL's host the machine itself, whatever a resolver says? */
export function isLoopback(url: URL): boolean {
  const host = hostOf(url)
  return host === 'localhost' || host.endsWith('.localhost') || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

/** Would a credential that goes to this URL be seen by whoever is in between? */
export function isExposed(url: URL): boolean {
  return url.protocol === 'http:' && !isLoopback(url)
}

/**
 * Does this URL name an address that is never contacted: link-local, or a cloud's metadata service (contracts: the same
 * that are refused when a name is resolved)? `URL` has already brought `0xA9FEA9FE` and the like into dotted form.
 */
export function isRefusedHost(url: URL): boolean {
  const host = hostOf(url)
  return isRefusedIpv4(embeddedIpv4(host) ?? host) || METADATA.has(host) || /^fe[89ab][0-9a-f]:/.test(host)
}

// AWS over IPv6, Google Cloud by name.
const METADATA = new Set(['fd00:ec2::254', 'metadata.google.internal', 'metadata.goog'])

function isRefusedIpv4(host: string): boolean {
  // Alibaba Cloud and Oracle Cloud have metadata services that are not link-local.
  return /^169\.254\.\d+\.\d+$/.test(host) || host === '100.100.100.200' || host === '192.0.0.192'
}

/** `::ffff:a9fe:a9fe`, as URL writes an IPv4 address in IPv6 clothing. */
function embeddedIpv4(host: string): string | undefined {
  const match = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(host)
  if (match === null) return undefined
  const [high, low] = [Number.parseInt(match[1]!, 16), Number.parseInt(match[2]!, 16)]
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
}
