import type { Registry } from '../model/registry.ts'
import type { Kind, Resource } from '../model/resource.ts'
import type { Attachments } from './attachments.ts'
import type { YamlDocument } from './parse.ts'
import type { Documents } from './schema.ts'

/** A document of ours whose identity could be read, valid or not. */
export interface Identified {
  readonly kind: Kind
  readonly name: string
  readonly key: string
  readonly file: string
  readonly document: YamlDocument
}

/** A document that its schema accepts, as the model has it and as it was written. */
export type Declared<K extends Kind = Kind> = {
  [One in K]: Identified & {
    readonly kind: One
    readonly resource: Extract<Resource, { kind: One }>
    readonly written: Documents[One]
  }
}[K]

/** Everything that the repository declares, for rules that no schema can say. */
export interface State {
  readonly registries: readonly Declared<'Registry'>[]
  readonly providers: readonly Declared<'Provider'>[]
  readonly policies: readonly Declared<'PreheatPolicy'>[]
  readonly runs: readonly Declared<'PreheatRun'>[]
  /** Objects that their schema refuses: they keep their last good version, so that naming them is no mistake. */
  readonly broken: readonly Identified[]
  /** Something could not be read at all, and may be what others name. */
  readonly hasUnreadable: boolean
  /** Of registries by name, broken ones included; undefined where that cannot be read. */
  readonly types: ReadonlyMap<string, Registry['type'] | undefined>
  /** The files that policies name. */
  readonly attachments: Attachments
}
