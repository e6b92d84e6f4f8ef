import { EdgeError, excerpt } from '../model/errors.ts'
import { field, parseJson, type RegistryHttp } from './http.ts'
import type { HttpAnswer } from '../http.ts'

const MAX_PAGES = 1000

/** Entries that a registry lists in pages. */
export interface Listing {
  readonly url: string
  /** Where the entries stand in the answer. */
  readonly entries: 'repositories' | 'tags' | 'manifests'
  readonly what: string
  readonly needs: string
}

/**
 * The entries page by page, by `Link` on the registry's own host only.
 * @param ask answers a page's URL
 * @throws {EdgeError} PH6004 when the listing is not whole, and as {@link RegistryHttp.refusal}
 */
export async function* pages(
  listing: Listing,
  http: RegistryHttp,
  ask: (url: string) => Promise<HttpAnswer>,
): AsyncGenerator<readonly unknown[]> {
  const seen = new Set<string>()
  let url: string | undefined = listing.url
  while (url !== undefined && !seen.has(url)) {
    if (seen.size === MAX_PAGES) throw torn(http, listing, `has more than ${MAX_PAGES} pages`)
    seen.add(url)
    const answer = await ask(url)
    if (answer.status !== 200) throw http.refusal(answer, listing.what, listing.needs)
    const page = field(parseJson(answer.bytes), listing.entries)
    // Distribution says null for none.
    if (page !== null && !Array.isArray(page)) throw torn(http, listing, `answers without ${listing.entries}`)
    yield page ?? []
    url = nextUrl(http, listing, answer, url)
  }
}

/** A listing that may not be used. */
export function torn({ who }: RegistryHttp, { what }: Listing, how: string): EdgeError {
  return new EdgeError('rejected', 'PH6004', `${who} ${how}: cannot ${what}`)
}

/** The target of `rel="next"`, also of one without angle brackets or without `rel`; undefined for none. */
export function nextLink(header: string | undefined): string | undefined {
  const links = header?.match(/<[^>]*>[^,]*|[^,]+/g) ?? []
  const next =
    links.find((link) => /;\s*rel\s*=\s*"?next"?/i.test(link)) ?? links.find((link) => !/;\s*rel\s*=/i.test(link))
  const [, bracketed, bare] = /^\s*(?:<([^>]*)>|([^\s;]+))/.exec(next ?? '') ?? []
  return bracketed ?? bare
}

function nextUrl(http: RegistryHttp, listing: Listing, answer: HttpAnswer, current: string): string | undefined {
  const link = nextLink(answer.headers['link'])
  if (link === undefined) return undefined
  const { endpoint } = http
  const to = URL.parse(link, new URL(current, endpoint).href)
  // By host: behind a proxy that ends TLS a registry takes its own scheme for http.
  if (to?.host !== endpoint.host) {
    const host = excerpt(to?.host ?? 'nowhere', 100)
    throw torn(http, listing, `goes on at another host, ${host}, which is not asked`)
  }
  return endpoint.origin + to.pathname + to.search
}
