import type { SecretHeader, Secret } from '../model/secret.ts'
import type { CommitState, CommitStatus, ForgeSettings } from './forge.ts'

/** A status as the forge lists it. */
export interface Known {
  readonly context: string
  /** Undefined: one that we never post. */
  readonly state: CommitState | undefined
  readonly description: string
  /** GitLab's pipeline that shows it. */
  readonly pipeline?: number
}

/** What one forge calls things. */
export interface Dialect {
  /** Characters that a description may have. */
  readonly descriptionLength: number
  readonly headers: Readonly<Record<string, string>>
  /** Address of the API, without a slash at its end. */
  api(root: string): string
  authorization(token: Secret): SecretHeader
  /** Path of the newest status of each context. */
  list(repository: string, commit: string): string
  /** @param body parsed JSON of that list */
  listed(body: unknown): Known[]
  create(
    status: CommitStatus,
    where: Pick<ForgeSettings, 'repository' | 'ref'> & { readonly pipeline: number | undefined },
  ): { readonly path: string; readonly body: object }
  /** Says this refusal that the status stands there already? */
  standsAlready(status: number, words: string): boolean
}

/** An object's members, or none. */
export function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

/** The objects of a list, or none. */
export function objectsOf(value: unknown): Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.map(membersOf) : []
}

/** The text, or an empty one for anything else. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** `a/b` as path segments. */
export function segments(repository: string): string {
  return repository.split('/').map(encodeURIComponent).join('/')
}
