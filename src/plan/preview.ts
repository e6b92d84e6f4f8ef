import type { Blob, Digest } from '../model/artifact.ts'
import type { Code } from '../model/codes.ts'
import type { Scope } from '../model/provider.ts'

/** What a run of one policy would do now, with `plan --config`. */
export interface Preview {
  /** `library/release-images` */
  readonly policy: string
  readonly registry: string
  /** It could not be found out, and why. */
  readonly error?: { readonly code: Code; readonly message: string }
  /** It would submit nothing: a limit or a rule forbids it. */
  readonly blocked?: { readonly code: Code; readonly message: string }
  /** One a repository, digest and provider, and one a file and provider. */
  readonly items: readonly PreviewItem[]
  /** What the registry lists and the policy does not cover, grouped as finely as the caller likes. */
  readonly leftOut: readonly LeftOut[]
}

export interface PreviewItem {
  /** Repository with the project, `library/app`, or the URL of a file. */
  readonly reference: string
  readonly tags: readonly string[]
  /** Undefined for a file, which has none before it was downloaded. */
  readonly digest: Digest | undefined
  readonly provider: string
  readonly action: 'preheat' | 'skip'
  /** Undefined where it was not looked up or nobody knows it. */
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

/** What the engine of a policy with a preview told of itself, asked once however many policies use it. */
export interface EngineNote {
  readonly provider: string
  /** It could not be asked, and why: no failure of the plan, which is about the registry. */
  readonly error?: { readonly code: Code; readonly message: string }
  /** As far as it can be told: `>= 2.3.1`. */
  readonly version?: string | undefined
  /** Settings of the Provider that it would drop without a word, as a person would write them. */
  readonly ignored: readonly string[]
  /** Scopes that a policy wants of it and that it may refuse. */
  readonly doubtfulScopes: readonly Scope[]
}

/** What all previews come to. */
export interface Totals {
  /** Distinct images to preheat, however many providers get them. */
  readonly images: number
  /** Distinct files likewise; how big they are nobody knows. */
  readonly files: number
  /** Bytes of images over all providers, what one provider gets twice counted once. */
  readonly sizeBytes: number
  readonly skipped: number
  readonly providers: readonly ProviderTotal[]
}

interface ProviderTotal {
  readonly provider: string
  readonly images: number
  readonly files: number
  readonly sizeBytes: number
}

/** Sums up what would be preheated; what a blocked or failed policy lists counts for nothing. */
export function totals(previews: readonly Preview[]): Totals {
  const open = previews.filter(({ error, blocked }) => error === undefined && blocked === undefined)
  const items = open.flatMap(({ registry, items }) =>
    items.map((item) => ({ item, name: nameOf(item, registry), isFile: item.digest === undefined })),
  )
  const wanted = items.filter(({ item }) => item.action === 'preheat')
  const distinct = (some: typeof items, isFile: boolean) =>
    new Set(some.filter((one) => one.isFile === isFile).map(({ name }) => name)).size
  const providers = [...new Set(wanted.map(({ item }) => item.provider))].sort().map((provider) => {
    const own = wanted.filter(({ item }) => item.provider === provider)
    return {
      provider,
      images: distinct(own, false),
      files: distinct(own, true),
      sizeBytes: distinctBytes(own.map(({ item }) => item)),
    }
  })
  return {
    images: distinct(wanted, false),
    files: distinct(wanted, true),
    sizeBytes: providers.reduce((sum, one) => sum + one.sizeBytes, 0),
    skipped: new Set(
      items.filter(({ item }) => item.action === 'skip').map(({ item, name }) => `${item.provider} ${name}`),
    ).size,
    providers,
  }
}

/** A file is the same whatever registry its policy names. */
function nameOf({ reference, digest }: PreviewItem, registry: string): string {
  return digest === undefined ? reference : `${registry}/${reference}@${digest}`
}

/** By blob where blobs are known, else by image; a file adds nothing that is known. */
function distinctBytes(items: readonly PreviewItem[]): number {
  const sizes = new Map<Digest, number>()
  for (const { digest, sizeBytes, blobs } of items) {
    if (blobs !== undefined) for (const blob of blobs) sizes.set(blob.digest, blob.sizeBytes)
    else if (digest !== undefined) sizes.set(digest, sizeBytes ?? 0)
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0)
}
