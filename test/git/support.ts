import { systemClock } from '../../src/clock.ts'
import { openGitSource, type GitSourceOptions } from '../../src/git/mirror.ts'
import { openGitPublisher, type GitPublisherOptions } from '../../src/git/publish.ts'
import { Secret, type ReadSecret } from '../../src/model/secret.ts'
import type { SourceError, Edit, Publisher, Source, SourceTree } from '../../src/model/source.ts'
import { GitServer } from '../doubles/git-server.ts'
import { temporaryFolder, type Repository } from '../support/repository.ts'
import { Closers } from '../../src/closers.ts'
import { join } from 'node:path'

export const never = new AbortController().signal

/** Secrets that a test may change under way. */
export function readFrom(values: Partial<Record<string, string>>): ReadSecret {
  return (_secret, key) => Promise.resolve(new Secret(values[key] ?? ''))
}

export const noSecrets: ReadSecret = () => Promise.reject(new Error('no secret was to be read'))

/** A server with one repository, and a state folder; gone at the end of the scope. */
export class Scene implements AsyncDisposable {
  readonly server: GitServer
  readonly repository: Repository
  readonly root: string
  readonly #closers: Closers

  private constructor(server: GitServer, repository: Repository, root: string, closers: Closers) {
    this.server = server
    this.repository = repository
    this.root = root
    this.#closers = closers
  }

  static async open(): Promise<Scene> {
    const closers = new Closers()
    const folder = closers.use(await temporaryFolder())
    const server = closers.use(await GitServer.start(join(folder.path, 'remote')))
    return new Scene(server, await server.create('config.git'), folder.path, closers)
  }

  get url(): string {
    return this.server.url('config.git')
  }

  get mirror(): string {
    return join(this.root, 'state', 'mirror')
  }

  source(overrides: Partial<GitSourceOptions> = {}): Source {
    return this.#closers.use(
      openGitSource({
        url: this.url,
        ref: { type: 'branch', name: 'main' },
        path: '.',
        dir: this.mirror,
        auth: { type: 'none' },
        read: noSecrets,
        ...overrides,
      }),
    )
  }

  publisher(overrides: Partial<GitPublisherOptions> = {}): Publisher {
    return this.#closers.use(
      openGitPublisher({
        url: this.url,
        branch: 'preheat-reports',
        dir: this.mirror,
        auth: { type: 'none' },
        read: noSecrets,
        author: { name: 'preheatd', email: 'preheatd@localhost' },
        clock: systemClock,
        random: Math.random,
        ...overrides,
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closers[Symbol.asyncDispose]()
  }
}

/** What a promise fails with; fails itself when it does not. */
export async function failureFrom(work: Promise<unknown>): Promise<SourceError> {
  return await work.then(
    () => {
      throw new Error('it succeeded')
    },
    (error: unknown) => error as SourceError,
  )
}

/** Every file of a tree as text. */
export async function texts(tree: SourceTree): Promise<Record<string, string>> {
  const files = await tree.read(tree.entries, never)
  return Object.fromEntries([...files].map(([path, bytes]) => [path, Buffer.from(bytes).toString('utf8')]))
}

/** The source as it stands now. */
export async function current(source: Source): Promise<SourceTree> {
  return await source.fetch(await source.observe(never), never)
}

export function put(path: string, text: string): Edit {
  return { path, apply: () => text }
}

export function append(path: string, line: string): Edit {
  return { path, apply: (existing = '') => (existing.includes(line) ? existing : `${existing}${line}\n`) }
}
