import { createHash } from 'node:crypto'
import type { BuiltImage } from '../support/oci-images.ts'

/** How a proxy-cache project is set up. */
export interface ProxyOptions {
  /** Names without a slash are sent on to `library/`. */
  readonly isDockerHub?: boolean
  /** Until a manifest that was asked for is stored; default 200 s, after which Harbor fetches the blobs itself. */
  readonly storeAfterMs?: number
  /** Harbor writes a whole index anew, by its own layout, unless it came in that. */
  readonly rewritesIndexes?: boolean
}

/** Where a proxy-cache project keeps what it has. */
export interface LocalStore {
  /** By tag or digest. */
  find(repository: string, reference: string): BuiltImage | undefined
  add(repository: string, image: BuiltImage, tags: readonly string[]): void
}

/** What to do with a request for a manifest. */
export type ProxyAnswer =
  /** What Harbor does for every other project. */
  | { readonly kind: 'local' }
  | { readonly kind: 'moved'; readonly location: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'upstream'; readonly digest: string; readonly mediaType: string; readonly bytes: Buffer }

interface Event {
  readonly at: number
  run(at: number): void
}

const CHILD_LOOKS = 20
const CHILD_LOOK_MS = 20_000
const TAG_TRIES = 60
const TAG_TRY_MS = 10_000

/**
 * A proxy-cache project as Harbor runs it (src/controller/proxy, src/server/middleware/repoproxy): manifests are
 * answered at once and stored late, an index only with the manifests that are there by then, a tag only after a HEAD.
 */
export class ProxyCache {
  /** As Harbor last found its upstream. */
  health: 'healthy' | 'unhealthy' = 'healthy'
  readonly registryId: number
  readonly #project: string
  readonly #options: ProxyOptions
  readonly #local: LocalStore
  /** By repository, without the project. */
  readonly #upstream = new Map<
    string,
    { readonly images: Map<string, BuiltImage>; readonly tags: Map<string, string> }
  >()
  /** Indexes that were read once: answered from memory for a week, and never stored again. */
  readonly #remembered = new Set<string>()
  /** What became of an index, for the tags. */
  readonly #written = new Map<string, string>()
  #events: Event[] = []

  constructor(project: string, registryId: number, options: ProxyOptions, local: LocalStore) {
    this.#project = project
    this.registryId = registryId
    this.#options = options
    this.#local = local
  }

  /** Puts an image upstream; a tag that points elsewhere moves. */
  put(repository: string, image: BuiltImage, tags: readonly string[]): void {
    const known = this.#upstream.get(repository) ?? { images: new Map(), tags: new Map() }
    known.images.set(image.digest, image)
    for (const tag of tags) known.tags.set(tag, image.digest)
    this.#upstream.set(repository, known)
  }

  /** Does everything that was due by `now`. */
  settle(now: number): void {
    for (;;) {
      const [next] = this.#events.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at)
      if (next === undefined) return
      this.#events = this.#events.filter((one) => one !== next)
      next.run(next.at)
    }
  }

  manifest(method: string, repository: string, reference: string, now: number): ProxyAnswer {
    if (this.#options.isDockerHub === true && !repository.includes('/'))
      return { kind: 'moved', location: `/v2/${this.#project}/library/${repository}/manifests/${reference}` }
    const held = this.#local.find(repository, reference)
    const isDigest = reference.startsWith('sha256:')
    if (this.health !== 'healthy' || (held !== undefined && isDigest)) return { kind: 'local' }
    const known = this.#upstream.get(repository)
    const digest = isDigest ? reference : known?.tags.get(reference)
    const document = digest && [...(known?.images.values() ?? [])].map((one) => one.documents.get(digest)).find(Boolean)
    if (digest === undefined || document === undefined) return { kind: 'missing' }
    const answer = { kind: 'upstream', digest, ...(document as { mediaType: string; bytes: Buffer }) } as const
    if (held?.digest === digest || this.#remembered.has(`${repository}@${digest}`)) return answer
    if (method === 'HEAD')
      this.#at(now + TAG_TRY_MS, this.#tagging(repository, isDigest ? '' : reference, digest, TAG_TRIES))
    else this.#store(repository, digest, isDigest ? [] : [reference], now)
    return answer
  }

  #store(repository: string, digest: string, tags: readonly string[], now: number): void {
    const image = [...this.#upstream.get(repository)!.images.values()].find(({ documents }) => documents.has(digest))!
    const children = childrenOf(image.documents.get(digest)!.bytes)
    if (children === undefined) {
      this.#at(now + (this.#options.storeAfterMs ?? 200_000), () => {
        this.#local.add(repository, only(image, digest), tags)
      })
      return
    }
    this.#remembered.add(`${repository}@${digest}`)
    this.#at(now + CHILD_LOOK_MS, this.#indexing(repository, image, children, CHILD_LOOKS))
  }

  #indexing(repository: string, image: BuiltImage, children: readonly string[], left: number): Event['run'] {
    return (at) => {
      const there = children.filter((child) => this.#local.find(repository, child) !== undefined)
      if (there.length < children.length && left > 1) {
        this.#at(at + CHILD_LOOK_MS, this.#indexing(repository, image, children, left - 1))
        return
      }
      if (there.length === 0) return
      const isWhole = there.length === children.length && this.#options.rewritesIndexes !== true
      const written = isWhole ? image : trimmed(image, there)
      this.#written.set(image.digest, written.digest)
      this.#local.add(repository, written, [])
    }
  }

  #tagging(repository: string, tag: string, digest: string, left: number): Event['run'] {
    return (at) => {
      const image = this.#local.find(repository, this.#written.get(digest) ?? digest)
      if (image !== undefined) this.#local.add(repository, image, [tag])
      else if (left > 1) this.#at(at + TAG_TRY_MS, this.#tagging(repository, tag, digest, left - 1))
    }
  }

  #at(at: number, run: Event['run']): void {
    this.#events.push({ at, run })
  }
}

/** What an index lists, attestations too; undefined for a manifest. */
export function childrenOf(bytes: Buffer): string[] | undefined {
  const { manifests } = JSON.parse(bytes.toString()) as { manifests?: { digest: string }[] }
  return manifests?.map(({ digest }) => digest)
}

/** One manifest of an image, as an image. */
function only(image: BuiltImage, digest: string): BuiltImage {
  const document = image.documents.get(digest)!
  const manifests = image.manifests.filter((one) => one.digest === digest)
  const { mediaType } = document
  return { ...image, digest, mediaType, isIndex: false, manifests, documents: new Map([[digest, document]]) }
}

/** An index of those manifests only, in Harbor's layout. */
function trimmed(image: BuiltImage, kept: readonly string[]): BuiltImage {
  const index = JSON.parse(image.documents.get(image.digest)!.bytes.toString()) as { manifests: { digest: string }[] }
  const manifests = index.manifests.filter((one) => kept.includes(one.digest))
  const bytes = Buffer.from(JSON.stringify({ ...index, manifests }, undefined, 3))
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  return {
    ...image,
    digest,
    manifests: image.manifests.filter((one) => kept.includes(one.digest)),
    documents: new Map([[digest, { mediaType: image.mediaType, bytes }]]),
  }
}
