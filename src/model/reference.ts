import type { Digest } from './artifact.ts'

/** `harbor.example.com/library/app:v1@sha256:…`, taken apart. */
export interface Reference {
  /** All of it before the tag: the host, if there is one, is still in front. */
  readonly name: string
  readonly tag: string | undefined
  readonly digest: Digest | undefined
}

const REFERENCE = /^([\w.:/[\]-]+?)(?::(\w[\w.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$/

/** Undefined for what names neither a tag nor a digest, or is no reference at all. */
export function parseReference(text: string): Reference | undefined {
  const [, name, tag, digest] = REFERENCE.exec(text) ?? []
  if (name === undefined || !/\/?[^/]$/.test(name) || (tag === undefined && digest === undefined)) return undefined
  return { name, tag, digest: digest as Digest | undefined }
}

/** What {@link parseReference} took apart; of an image that has no tag or no digest, what there is. */
export function referenceText({ name, tag, digest }: { readonly [F in keyof Reference]: string | undefined }): string {
  return `${name}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
}
