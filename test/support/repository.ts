import { execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)

const identity = {
  GIT_AUTHOR_NAME: 'Ada Lovelace',
  GIT_AUTHOR_EMAIL: 'ada@example.com',
  GIT_COMMITTER_NAME: 'Ada Lovelace',
  GIT_COMMITTER_EMAIL: 'ada@example.com',
}

/** A folder that is deleted at the end of its scope. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'preheatd-'))
  return {
    path,
    async [Symbol.asyncDispose]() {
      await rm(path, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** Runs the real git, by its whole path, so that nothing that counts git processes sees it. */
export async function git(dir: string, ...args: string[]): Promise<string> {
  const { stdout } = await execute(await gitBinary(), ['-C', dir, ...args], {
    env: { ...process.env, ...identity },
    maxBuffer: 64 * 1024 * 1024,
  })
  return stdout
}

/** What git has to be told for a signature: settings, and the environment of the program that signs. */
export interface Signer {
  readonly config: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/** What a file becomes in the next commit; undefined deletes it. */
export type Change = string | undefined | { readonly symlink: string } | { readonly submodule: string }

/** A bare repository, as a forge holds it. */
export class Repository {
  readonly dir: string

  private constructor(dir: string) {
    this.dir = dir
  }

  /** Makes `dir` a bare repository without a commit. */
  static async init(dir: string): Promise<Repository> {
    await mkdir(dir, { recursive: true })
    await git(dir, 'init', '--bare', '--quiet', '--initial-branch=main')
    return new Repository(dir)
  }

  get fileUrl(): string {
    return `file://${this.dir}`
  }

  /**
   * Commits changes on top of a branch, or begins it.
   * @returns the commit
   */
  async commit(
    changes: Readonly<Record<string, Change>>,
    { branch = 'main', message = 'a change', signer }: { branch?: string; message?: string; signer?: Signer } = {},
  ): Promise<string> {
    const parent = await this.revision(`refs/heads/${branch}`)
    const index = join(this.dir, `index-${randomUUID()}`)
    const inIndex = (input: string, ...args: string[]) => this.#pipe(input, args, { GIT_INDEX_FILE: index })
    if (parent !== undefined) await inIndex('', 'read-tree', parent)
    const lines = await Promise.all(Object.entries(changes).map(([path, change]) => this.#line(path, change)))
    await inIndex(lines.join(''), 'update-index', '--add', '--replace', '--index-info')
    const tree = await inIndex('', 'write-tree')
    await rm(index, { force: true })
    const parents = parent === undefined ? [] : ['-p', parent]
    const commitTree = ['commit-tree', ...(signer === undefined ? [] : ['-S']), ...parents, '-F', '-', tree]
    const commit = await this.#pipe(message, [...settings(signer), ...commitTree], signer?.env)
    await git(this.dir, 'update-ref', `refs/heads/${branch}`, commit)
    return commit
  }

  /** An annotated tag. */
  async tag(name: string, rev: string, signer?: Signer): Promise<void> {
    const kind = signer === undefined ? '-a' : '-s'
    await this.#pipe('', [...settings(signer), 'tag', '--force', kind, '-m', 'a tag', name, rev], signer?.env)
  }

  /** {@link commit} of files by the thousand, in one process. */
  async commitMany(files: ReadonlyMap<string, string>, branch = 'main'): Promise<string> {
    const parent = await this.revision(`refs/heads/${branch}`)
    const head = `commit refs/heads/${branch}\ncommitter Ada Lovelace <ada@example.com> 0 +0000\n${inline('a change')}`
    const changes = [...files].map(([path, text]) => `M 100644 inline ${path}\n${inline(text)}`)
    const from = parent === undefined ? '' : `from ${parent}\n`
    await this.#pipe(head + from + changes.join(''), ['fast-import', '--quiet', '--date-format=raw'])
    return (await this.revision(`refs/heads/${branch}`))!
  }

  async #line(path: string, change: Change): Promise<string> {
    if (change === undefined) return `0 ${'0'.repeat(40)}\t${path}\n`
    if (typeof change === 'object' && 'submodule' in change) return `160000 ${change.submodule}\t${path}\n`
    const [mode, text] = typeof change === 'string' ? ['100644', change] : ['120000', change.symlink]
    return `${mode} ${await this.#pipe(text, ['hash-object', '-w', '--stdin'])}\t${path}\n`
  }

  async #pipe(input: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
    const child = spawn(await gitBinary(), ['-C', this.dir, ...args], {
      env: { ...process.env, ...identity, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    // Some commands end without having read it.
    child.stdin.on('error', () => undefined).end(input)
    let stdout = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    const [code] = (await once(child, 'close')) as [number]
    if (code !== 0) throw new Error(`git ${args.join(' ')} ended with ${code}`)
    return stdout.trim()
  }

  /** What a revision is; undefined: there is none. */
  async revision(rev: string): Promise<string | undefined> {
    return await git(this.dir, 'rev-parse', '--verify', '--quiet', rev).then(
      (out) => out.trim(),
      () => undefined,
    )
  }

  /** Every file of a branch, by path. */
  async files(branch: string): Promise<Record<string, string>> {
    const paths = (await git(this.dir, 'ls-tree', '-r', '-z', '--name-only', `refs/heads/${branch}`)).split('\0')
    const files = paths
      .filter((path) => path !== '')
      .map(async (path) => [path, await git(this.dir, 'show', `refs/heads/${branch}:${path}`)] as const)
    return Object.fromEntries(await Promise.all(files))
  }

  /** A branch under another name. */
  async rename(branch: string, to: string): Promise<void> {
    await git(this.dir, 'branch', '--move', branch, to)
  }

  async countCommits(branch: string): Promise<number> {
    return Number(await git(this.dir, 'rev-list', '--count', `refs/heads/${branch}`))
  }

  /** A `pre-receive` hook that refuses every push with these words, as a forge does. */
  async refusePushes(words: string): Promise<void> {
    const hook = join(this.dir, 'hooks', 'pre-receive')
    await mkdir(join(this.dir, 'hooks'), { recursive: true })
    await writeFile(hook, `#!/bin/sh\ncat >/dev/null\ncat >&2 <<'END'\n${words}\nEND\nexit 1\n`)
    await chmod(hook, 0o755)
  }

  async acceptPushes(): Promise<void> {
    await rm(join(this.dir, 'hooks', 'pre-receive'), { force: true })
  }
}

function settings(signer: Signer | undefined): string[] {
  return signer?.config.flatMap((setting) => ['-c', setting]) ?? []
}

/** As `git fast-import` takes it. */
function inline(text: string): string {
  return `data ${Buffer.byteLength(text)}\n${text}\n`
}

/** What git processes were started, and with which arguments. */
export interface GitLog extends AsyncDisposable {
  /** The folder to put first in PATH, for a process that is started with its own environment. */
  readonly bin: string
  /** One element a start: its arguments. */
  starts(): Promise<string[][]>
  /** Forgets what was started until now. */
  clear(): Promise<void>
}

/**
 * Puts a `git` first in this process's PATH that writes down its arguments and becomes the real one. Git's own helpers
 * are not counted: they are found by git's exec path.
 */
export async function logGit(): Promise<GitLog> {
  const folder = await temporaryFolder()
  const log = join(folder.path, 'log')
  const wrapper = join(folder.path, 'git')
  const real = await gitBinary()
  // One write a start, below the size at which appends of two processes could mix.
  await writeFile(
    wrapper,
    `#!/bin/sh\nprintf '%s\\037' "$@" | { tr '\\n' ' '; echo; } >>'${log}'\nexec '${real}' "$@"\n`,
  )
  await chmod(wrapper, 0o755)
  await writeFile(log, '')
  const before = process.env['PATH']
  process.env['PATH'] = `${folder.path}${delimiter}${before ?? ''}`
  return {
    bin: folder.path,
    async starts() {
      const lines = (await readFile(log, 'utf8')).split('\n')
      return lines.filter((line) => line !== '').map((line) => line.split('\u001f').slice(0, -1))
    },
    async clear() {
      await writeFile(log, '')
    },
    async [Symbol.asyncDispose]() {
      process.env['PATH'] = before
      await folder[Symbol.asyncDispose]()
    },
  }
}

let binary: Promise<string> | undefined

/** The real git's whole path; looked up once, before any wrapper stands in PATH. */
export function gitBinary(): Promise<string> {
  binary ??= execute('/bin/sh', ['-c', 'command -v git']).then(({ stdout }) => stdout.trim())
  return binary
}

/** For programs that start git: from here on nobody's identity, hooks, keys or `GIT_DIR` have a part in what it does. */
export function useOwnGit(): void {
  for (const name of Object.keys(process.env)) if (name.startsWith('GIT_')) Reflect.deleteProperty(process.env, name)
  Object.assign(process.env, { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0' })
}
