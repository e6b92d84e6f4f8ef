import type { ConfigCommit } from '../model/execution.ts'
import type { Problem } from '../model/problem.ts'
import type { SourceEntry } from '../model/source.ts'
import type { Attachments } from './attachments.ts'
import { load, readFile, readFiles, type Config, type FileText, type Loaded, type ReadFiles } from './load.ts'

/**
 * Reads one commit after the other and remembers what the files of the last one said, by their blobs, so that a file
 * that did not change is not parsed again, wherever it stands now, and what they came to, so that what did not change is
 * not judged again and is the very same value. What is remembered is bounded as one commit is.
 */
export class ConfigReader {
  /** Differs when the same commit may now mean something else. */
  readonly view: string
  readonly #matchLabels: Readonly<Record<string, string>>
  readonly #part: string
  #texts: ReadonlyMap<string, FileText> = new Map()
  #added = new Map<string, FileText>()
  #read: ReadFiles | undefined
  #loaded: Loaded | undefined

  /**
   * @param matchLabels labels that a policy or run must have to be taken; none: all are taken
   * @param view what else decides what a commit means, such as `source.path`
   */
  constructor(matchLabels: Readonly<Record<string, string>> = {}, view = '') {
    this.#matchLabels = matchLabels
    this.#part = view
    const labels = Object.entries(matchLabels).sort(([a], [b]) => (a < b ? -1 : 1))
    this.view = JSON.stringify([view, labels])
  }

  /** One that knows what this one knows now, and goes on by itself. */
  fork(): ConfigReader {
    const fork = new ConfigReader(this.#matchLabels, this.#part)
    fork.#texts = this.#texts
    fork.#read = this.#read
    fork.#loaded = this.#loaded
    return fork
  }

  /** The files whose bytes have to be {@link add added} before {@link read}; of equal ones, the first. */
  unseen(entries: readonly SourceEntry[]): SourceEntry[] {
    const first = new Map<string, SourceEntry>()
    for (const entry of entries) {
      const { blobId } = entry
      if (!this.#texts.has(blobId) && !this.#added.has(blobId) && !first.has(blobId)) first.set(blobId, entry)
    }
    return [...first.values()]
  }

  /** Takes the bytes of one file. */
  add({ blobId }: SourceEntry, bytes: Uint8Array): void {
    this.#added.set(blobId, readFile(bytes))
  }

  /** What these files say, and from now on nothing is known but them. @param problems of files that are not among them */
  read(entries: readonly SourceEntry[], problems: readonly Problem[]): ReadFiles {
    const files = new Map<string, FileText>()
    const texts = new Map<string, FileText>()
    for (const { path, blobId } of entries) {
      const text = this.#added.get(blobId) ?? this.#texts.get(blobId)
      if (text === undefined) throw new TypeError(`${path} was not added`)
      files.set(path, text)
      texts.set(blobId, text)
    }
    this.#texts = texts
    this.#added = new Map()
    this.#read = readFiles(files, problems, this.#read)
    return this.#read
  }

  /** @see load */
  load(config: ConfigCommit, read: ReadFiles, attachments: Attachments): Config {
    this.#loaded = load(config, read, attachments, this.#matchLabels, this.#loaded)
    return this.#loaded.config
  }
}
