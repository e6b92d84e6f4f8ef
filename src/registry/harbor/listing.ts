import { EdgeError } from '../../model/errors.ts'
import { parseJson } from '../http.ts'
import { idOf } from './wire.ts'
import type { HarborApi } from './api.ts'
import type { HttpAnswer } from '../../http.ts'

/** Harbor's maximum; more is a 422 (contracts/harbor.md §4.3). */
export const PAGE_SIZE = 100
const MAX_ENTRIES = 1_000_000
/** How often a page that does not add up is read. */
const PASSES = 3

/** A listing that Harbor serves in pages. */
export interface Listing<T> {
  /** Without a query. */
  readonly path: string
  /** What to ask for beside the page: `with_tag=true`. */
  readonly flags: readonly string[]
  /** What only tagged ones need: `tags=*`. */
  readonly filters: readonly string[]
  /** What the entries' `id` is called where listings are filtered and sorted; another name is ignored without a word. */
  readonly idColumn: 'id' | 'repository_id'
  readonly what: string
  readonly needs: string
  /** @throws {EdgeError} PH6005 */
  parse(item: unknown): T
}

interface Page<T> {
  /** Ascending. */
  readonly ids: readonly number[]
  readonly items: readonly T[]
  /** Of this page and those behind it. */
  readonly left: number
}

/**
 * Everything that is in a listing from the beginning of the walk to its end, by id, each once, in ⌈n/100⌉ requests.
 *
 * Always the first page of what comes after the last id. A page by its number would be an offset into live data: a
 * tag that moves back to an old artifact takes one entry away and adds another before it, and an entry between them
 * slips from the page that is read next to the one that was read last, while the count stays the same. Ranges and the
 * order are taken by all Harbors since 2.3 (src/lib/orm/query.go); one that does not is noticed.
 *
 * @throws {EdgeError} PH6004 when it is not whole
 */
export async function walk<T>(listing: Listing<T>, api: HarborApi, signal: AbortSignal): Promise<T[]> {
  const found: T[] = []
  let after = 0
  for (;;) {
    const page = await read(listing, after, api, signal)
    if (found.length + page.left > MAX_ENTRIES) throw torn(listing, api, `lists more than ${MAX_ENTRIES}`)
    found.push(...page.items)
    if (page.left <= PAGE_SIZE) return found
    after = page.ids.at(-1)!
  }
}

/** The URL of the first `size` entries after an id. */
export function pagePath(
  { path, flags, filters, idColumn }: Omit<Listing<unknown>, 'parse'>,
  after: number,
  size: number,
): string {
  const q = [...filters, ...(after > 0 ? [`${idColumn}=[${after + 1}~]`] : [])].join(',')
  const query = [
    ...flags,
    `sort=${idColumn}`,
    'page=1',
    `page_size=${size}`,
    ...(q === '' ? [] : [`q=${encodeURIComponent(q)}`]),
  ]
  return `${path}?${query.join('&')}`
}

/** One page, read again while it and its own count disagree: they are two queries to Harbor's database. */
async function read<T>(listing: Listing<T>, after: number, api: HarborApi, signal: AbortSignal): Promise<Page<T>> {
  let got = ''
  for (let pass = 1; pass <= PASSES; pass++) {
    const answer = await api.send({ path: pagePath(listing, after, PAGE_SIZE), kind: 'page' }, signal)
    if (answer.status !== 200) throw api.http.refusal(answer, listing.what, listing.needs)
    const page = parsePage(listing, after, api, answer)
    const size = Math.min(page.left, PAGE_SIZE)
    if (page.items.length === size) return page
    got = `answers a page with ${page.items.length} of ${size} entries`
  }
  throw torn(listing, api, got)
}

function parsePage<T>(listing: Listing<T>, after: number, api: HarborApi, answer: HttpAnswer): Page<T> {
  const items = parseJson(answer.bytes)
  if (!Array.isArray(items)) throw torn(listing, api, 'answers a page with something that is no list')
  const left = answer.headers['x-total-count'] ?? ''
  if (!/^\d{1,9}$/.test(left)) throw torn(listing, api, 'does not say how many there are (X-Total-Count)')
  const ids = items.map((item) => idOf(item, api.http.who))
  if (ids.some((id, index) => id <= (ids[index - 1] ?? after)))
    throw torn(listing, api, 'does not list by id what comes after another one (is it older than Harbor 2.3?)')
  return { ids, items: items.map((item) => listing.parse(item)), left: Number(left) }
}

function torn({ what }: { readonly what: string }, { http }: HarborApi, how: string): EdgeError {
  return new EdgeError('unavailable', 'PH6004', `${http.who} ${how}: cannot ${what}`)
}

/** Of a page that is looked at and not walked. @throws {EdgeError} */
export function entriesOf(
  answer: HttpAnswer,
  { what, needs }: { readonly what: string; readonly needs: string },
  { http }: HarborApi,
): unknown[] {
  const items = http.json(answer, what, needs)
  if (Array.isArray(items)) return items as unknown[]
  throw new EdgeError('unintelligible', 'PH6005', `${http.who} answers with something that is no list: cannot ${what}`)
}
