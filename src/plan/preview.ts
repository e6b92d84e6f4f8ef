import type { Blob, Digest } from '../model/artifact.ts'
import type { Code } from '../model/codes.ts'

/** What a run of one policy would do now, with `plan --config`. */
export interface Preview {
  /** `library/release-images` */
  readonly policy: string
  readonly registry: string
  /** It could not be found out, and why. */
  readonly error?: { readonly code: Code; readonly message: string }
  /** It would submit nothing: a limit or a rule forbids it. */
  readonly blocked?: { readonly code: Code; readonly message: string }
  /** One a repository, digest and provider. */
  readonly items: readonly PreviewItem[]
  /** What the registry lists and the policy does not cover, grouped as finely as the caller likes. */
  readonly leftOut: readonly LeftOut[]
}

export interface PreviewItem {
  /** Repository with the project: `library/app`. */
  readonly reference: string
  readonly tags: readonly string[]
  readonly digest: Digest
  readonly provider: string
  readonly action: 'preheat' | 'skip'
  /** Undefined where it was not looked up. */
  readonly sizeBytes: number | undefined
  /** Where known, so that layers shared by images count once. */
  readonly blobs?: readonly Blob[]
  /** `not known warm`, `warm since 2 h`, `provider disabled`. */
  readonly reason: string
}

interface LeftOut {
  readonly reference: string
  readonly reason: string
  readonly count: number
}

/** What all previews come to. */
export interface Totals {
  /** Distinct images to preheat, however many providers get them. */
  readonly images: number
  /** Bytes over all providers, what one provider gets twice counted once. */
  readonly sizeBytes: number
  readonly skipped: number
  readonly providers: readonly ProviderTotal[]
}

interface ProviderTotal {
  readonly provider: string
  readonly images: number
  readonly sizeBytes: number
}

/** Sums up what would be preheated; what a blocked or failed policy lists counts for nothing. */
export function totals(previews: readonly Preview[]): Totals {
  const open = previews.filter(({ error, blocked }) => error === undefined && blocked === undefined)
  const items = open.flatMap(({ registry, items }) =>
    items.map((item) => ({ item, image: `${registry}/${item.reference}@${item.digest}` })),
  )
  const wanted = items.filter(({ item }) => item.action === 'preheat')
  const providers = [...new Set(wanted.map(({ item }) => item.provider))].sort().map((provider) => {
    const own = wanted.filter(({ item }) => item.provider === provider)
    return {
      provider,
      images: new Set(own.map(({ image }) => image)).size,
      sizeBytes: distinctBytes(own.map(({ item }) => item)),
    }
  })
  return {
    images: new Set(wanted.map(({ image }) => image)).size,
    sizeBytes: providers.reduce((sum, one) => sum + one.sizeBytes, 0),
    skipped: new Set(
      items.filter(({ item }) => item.action === 'skip').map(({ item, image }) => `${item.provider} ${image}`),
    ).size,
    providers,
  }
}

/** By blob where blobs are known, else by image. */
function distinctBytes(items: readonly PreviewItem[]): number {
  const sizes = new Map<Digest, number>()
  for (const { digest, sizeBytes, blobs } of items) {
    if (blobs === undefined) sizes.set(digest, sizeBytes ?? 0)
    else for (const blob of blobs) sizes.set(blob.digest, blob.sizeBytes)
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0)
}
