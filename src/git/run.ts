import type { ChildProcess } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { devNull } from 'node:os'
import { simpleGit } from 'simple-git'
import { DeadlineError, withDeadline } from '../deadline.ts'
import { excerpt } from '../model/errors.ts'
import { gitUrl, sshTrouble } from '../model/git-remote.ts'
import { refText, type SourceRef } from '../model/source-ref.ts'
import { SourceError } from '../model/source.ts'
import { presentation, type Credential } from './credentials.ts'
import { failureOf, hasLostRace, type Ending, type Purpose } from './failure.ts'

/** Something of a remote that has a name. Made by {@link remoteBranch} and {@link remoteRef}. */
export interface RemoteRef {
  readonly url: URL
  /** What git is given: the URL, or `git@host:path`, which is another path than that of any URL. */
  readonly address: string
  /** `refs/heads/main`, `refs/tags/v1.2.3`, or a commit's id. */
  readonly ref: string
}

/** How long a remote is waited for, in all, however slowly it goes on answering. */
export interface Deadlines {
  readonly askMs: number
  readonly transferMs: number
}

export const defaultDeadlines: Deadlines = { askMs: 15_000, transferMs: 60_000 }

/** A remote for one operation. */
export interface Remote extends RemoteRef {
  readonly credential: Credential
  readonly deadlines: Deadlines
}

/** An entry of a tree, whatever it is. `path` is from outside and unchecked. */
export interface TreeEntry {
  readonly mode: string
  readonly id: string
  /** 0 for a submodule. */
  readonly sizeBytes: number
  readonly path: string
}

export interface GitObject {
  readonly id: string
  readonly type: string
  readonly bytes: Buffer
}

/** Who a commit is by, and when. */
export interface Authorship {
  readonly name: string
  readonly email: string
  /** Unix seconds. */
  readonly atSeconds: number
}

/** Some 50,000 files with long names. */
const MAX_LISTING_BYTES = 16 * 1024 * 1024
const MAX_TALK_BYTES = 1024 * 1024
const LOCAL_MS = 60_000
/** How long git may take to clean up behind itself before it is killed. */
const GRACE_MS = 2_000

const EMPTY = Buffer.alloc(0)

/** A branch of a remote. @throws {SourceError} as {@link remoteRef} does */
export function remoteBranch(url: string, branch: string): RemoteRef {
  return remoteRef(url, { type: 'branch', name: branch })
}

/**
 * Checks what names something of a remote, so that no part of it can become an option, a helper or a second refspec.
 * Which tag a range means is not known yet: of a range it is all tags.
 * @throws {SourceError} `Invalid`, naming the setting
 */
export function remoteRef(address: string, ref: SourceRef): RemoteRef {
  const refused = (why: string) => new SourceError('Invalid', 'PH4006', `git remote refused: ${why}`)
  const name = fullRef(ref)
  if (name === undefined)
    throw refused(`${excerpt('name' in ref ? ref.name : refText(ref), 80)} is no ${ref.type} name`)
  const url = gitUrl(address)
  if (url === undefined || /[\p{Cc}\s]/u.test(address)) throw refused('the address is not a URL')
  if (url.search !== '' || url.hash !== '') throw refused('a URL must not hold a query or a fragment')
  if (url.protocol === 'ssh:') {
    const trouble = sshTrouble(url)
    if (trouble !== undefined) throw refused(trouble)
    return { url, address: address.startsWith('ssh:') ? url.href : address, ref: name }
  }
  if (url.username !== '' || url.password !== '') throw refused('a URL must not hold a user or a password')
  switch (url.protocol) {
    case 'https:':
      break
    case 'http:':
      if (!/^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname)) {
        throw refused('plain http is for loopback only; use https')
      }
      break
    case 'file:':
      if (url.hostname !== '') throw refused('a file URL names no host')
      break
    default:
      throw refused(`the protocol ${excerpt(url.protocol, 20)} is not one of https, ssh, http to loopback, file`)
  }
  return { url, address: url.href, ref: name }
}

/** Undefined: it is no name of a ref. */
function fullRef(ref: SourceRef): string | undefined {
  switch (ref.type) {
    case 'branch':
      return isBranchName(ref.name) ? `refs/heads/${ref.name}` : undefined
    case 'tag':
      return isBranchName(ref.name) ? `${TAGS}${ref.name}` : undefined
    case 'semver':
      return `${TAGS}*`
    case 'commit':
      return OBJECT_ID.test(ref.id) ? ref.id : undefined
    default:
      return ref satisfies never
  }
}

/** As people call it. */
function shortName({ ref }: RemoteRef): string {
  return OBJECT_ID.test(ref) ? ref.slice(0, 12) : ref.replace(/^refs\/(?:heads|tags)\//, '')
}

/** `git check-ref-format --branch`, without its expansions. */
function isBranchName(name: string): boolean {
  return (
    name.length <= 250 &&
    /^[^\p{Cc}\s~^:?*[\\]+$/u.test(name) &&
    !/^[-/@]|\.\.|@\{|\/\/|\/$|\.$/.test(name) &&
    name.split('/').every((part) => !part.startsWith('.') && !part.endsWith('.lock'))
  )
}

/** The commit that a branch or a tag points at; undefined when there is none of that name. One git process. */
export async function lsRemote(remote: Remote, signal: AbortSignal): Promise<string | undefined> {
  // A tag may be an object of its own; what it points at is listed beside it.
  const isTag = remote.ref.startsWith(TAGS)
  const lines = await listRefs(remote, isTag ? [] : ['--refs'], isTag ? [`${remote.ref}^{}`] : [], signal)
  // The pattern also matches `refs/heads/x/refs/heads/main`.
  return lines.get(`${remote.ref}^{}`) ?? lines.get(remote.ref)
}

/** The commits that all tags point at, by the names of these. One git process. @throws {SourceError} `TooLarge` */
export async function lsTags(remote: Remote, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const lines = await listRefs(remote, ['--tags'], [], signal)
  const names = [...lines.keys()].filter((ref) => ref.startsWith(TAGS) && !ref.endsWith('^{}'))
  return new Map(names.map((ref) => [ref.slice(TAGS.length), lines.get(`${ref}^{}`) ?? lines.get(ref)!]))
}

async function listRefs(
  remote: Remote,
  options: readonly string[],
  patterns: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const stdout = await succeed(
    {
      purpose: 'fetch',
      what: `git ls-remote of ${shortName(remote)}`,
      args: ['ls-remote', '--quiet', ...options, '--end-of-options', remote.address, remote.ref, ...patterns],
      gitDir: devNull,
      remote,
      deadlineMs: remote.deadlines.askMs,
      maxBytes: MAX_LISTING_BYTES,
    },
    signal,
  )
  const lines = stdout.toString('utf8').split('\n').filter(Boolean)
  return new Map(lines.map((line) => [line.slice(line.indexOf('\t') + 1), objectId(line.slice(0, line.indexOf('\t')))]))
}

/** Makes `gitDir` an empty bare repository, or completes one. */
export async function initMirror(gitDir: string, signal: AbortSignal): Promise<void> {
  await succeed(mirrorCall('init', gitDir, ['init', '--bare', '--quiet']), signal)
}

/**
 * Brings a branch's tip, a tag or a commit to the ref `into`, and nothing older. A rewritten branch is followed.
 * @param filter `blob:none` leaves the files on the remote until {@link readObjects} asks for them
 */
export async function fetchRef(
  gitDir: string,
  remote: Remote,
  into: string,
  filter: 'none' | 'blob:none',
  signal: AbortSignal,
): Promise<void> {
  const filters = filter === 'none' ? [] : [`--filter=${filter}`]
  await succeed(
    {
      purpose: 'fetch',
      what: `git fetch of ${shortName(remote)}`,
      args: [
        'fetch',
        '--quiet',
        '--depth=1',
        '--no-tags',
        '--force',
        '--no-write-fetch-head',
        '--no-auto-maintenance',
        '--no-recurse-submodules',
        ...filters,
        '--end-of-options',
        remote.address,
        `+${remote.ref}:${into}`,
      ],
      gitDir,
      remote,
      deadlineMs: remote.deadlines.transferMs,
      maxBytes: MAX_TALK_BYTES,
    },
    signal,
  )
}

/**
 * The last `depth` commits of the branch into an empty repository, without trees where the remote can filter.
 * @returns their ids, newest first
 */
export async function fetchHistory(
  gitDir: string,
  remote: Remote,
  depth: number,
  signal: AbortSignal,
): Promise<string[]> {
  const ref = 'refs/preheatd/history'
  await succeed(
    {
      purpose: 'fetch',
      what: `git fetch of the history of ${shortName(remote)}`,
      args: [
        'fetch',
        '--quiet',
        `--depth=${depth}`,
        '--filter=tree:0',
        '--no-tags',
        '--no-write-fetch-head',
        '--no-auto-maintenance',
        '--no-recurse-submodules',
        '--end-of-options',
        remote.address,
        `+${remote.ref}:${ref}`,
      ],
      gitDir,
      remote,
      deadlineMs: remote.deadlines.transferMs,
      maxBytes: MAX_TALK_BYTES,
    },
    signal,
  )
  const list = await succeed(mirrorCall('rev-list', gitDir, ['rev-list', `--max-count=${depth}`, ref]), signal)
  return list.toString('utf8').split('\n').filter(Boolean).map(objectId)
}

/** Everything below a tree, recursively. @throws {SourceError} `TooLarge` */
export async function listTree(
  gitDir: string,
  tree: string,
  purpose: 'mirror' | 'read',
  signal: AbortSignal,
): Promise<TreeEntry[]> {
  const stdout = await succeed(
    {
      ...mirrorCall('ls-tree', gitDir, [
        'ls-tree',
        '-r',
        '-l',
        '-z',
        '--full-tree',
        '--end-of-options',
        objectId(tree),
      ]),
      purpose,
      maxBytes: MAX_LISTING_BYTES,
    },
    signal,
  )
  return stdout
    .toString('utf8')
    .split('\0')
    .filter((record) => record !== '')
    .map((record) => {
      const [mode = '', , id = '', size = ''] = record.slice(0, record.indexOf('\t')).split(/ +/)
      return { mode, id, sizeBytes: Number(size) || 0, path: record.slice(record.indexOf('\t') + 1) }
    })
}

/**
 * The objects of these names in one process, in their order; undefined: there is none of that name.
 * @param names ids, or expressions made of validated parts: `refs/preheatd/source:policies`
 * @param remote where a filtered mirror finds what it left there
 * @throws {SourceError} `TooLarge` when they come to more than `maxBytes`
 */
export async function readObjects(
  gitDir: string,
  names: readonly string[],
  purpose: 'mirror' | 'read',
  maxBytes: number,
  remote: Remote | undefined,
  signal: AbortSignal,
): Promise<(GitObject | undefined)[]> {
  if (names.length === 0) return []
  if (names.some((name) => /[\p{Cc}\s]/u.test(name))) throw new TypeError('an object name holds white space')
  const stdout = await succeed(
    {
      ...mirrorCall('cat-file', gitDir, ['cat-file', '--batch']),
      purpose,
      ...(remote && { remote }),
      input: `${names.join('\n')}\n`,
      maxBytes: maxBytes + names.length * 4200,
    },
    signal,
  )
  const objects: (GitObject | undefined)[] = []
  for (let at = 0; at < stdout.length;) {
    const end = stdout.indexOf('\n', at)
    const [id = '', type = '', size = ''] = stdout.toString('utf8', at, end).split(' ')
    at = end + 1
    if (!/^\d+$/.test(size)) {
      objects.push(undefined)
      continue
    }
    objects.push({ id, type, bytes: stdout.subarray(at, at + Number(size)) })
    at += Number(size) + 1
  }
  if (objects.length !== names.length) throw new TypeError('git cat-file answered another number of objects')
  return objects
}

/** Stores the contents of these files as blobs; their ids, in order. Paths are ours. */
export async function storeBlobs(gitDir: string, files: readonly string[], signal: AbortSignal): Promise<string[]> {
  const stdout = await succeed(
    {
      ...mirrorCall('hash-object', gitDir, ['hash-object', '-w', '-t', 'blob', '--no-filters', '--stdin-paths']),
      input: files.map((file) => `${file}\n`).join(''),
    },
    signal,
  )
  return stdout.toString('utf8').trim().split('\n').map(objectId)
}

/**
 * The tree of `base` with these files in it, built in a private index that the caller deletes.
 * @param base undefined: from nothing
 * @param blobs path to blob id; paths were validated
 */
export async function writeTree(
  gitDir: string,
  index: string,
  base: string | undefined,
  blobs: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<string> {
  const env = { GIT_INDEX_FILE: index }
  const call = (name: string, args: readonly string[]) => ({ ...mirrorCall(name, gitDir, [name, ...args]), env })
  if (base !== undefined) await succeed(call('read-tree', [objectId(base)]), signal)
  const lines = [...blobs].map(([path, id]) => `100644 ${objectId(id)}\t${path}\n`)
  // Git would wait for the end of an input that never begins.
  if (lines.length > 0)
    await succeed({ ...call('update-index', ['--add', '--replace', '--index-info']), input: lines.join('') }, signal)
  // Without --missing-ok a filtered mirror fetches every file of the branch only to see that it exists.
  return objectId((await succeed(call('write-tree', ['--missing-ok']), signal)).toString('utf8').trim())
}

/** @param parent undefined: the first commit of its branch */
export async function commitTree(
  gitDir: string,
  tree: string,
  parent: string | undefined,
  message: string,
  author: Authorship,
  signal: AbortSignal,
): Promise<string> {
  const date = `@${author.atSeconds} +0000`
  const stdout = await succeed(
    {
      ...mirrorCall('commit-tree', gitDir, [
        'commit-tree',
        ...(parent === undefined ? [] : ['-p', objectId(parent)]),
        '-F',
        '-',
        objectId(tree),
      ]),
      input: message.endsWith('\n') ? message : `${message}\n`,
      env: {
        GIT_AUTHOR_NAME: author.name,
        GIT_AUTHOR_EMAIL: author.email,
        GIT_AUTHOR_DATE: date,
        GIT_COMMITTER_NAME: author.name,
        GIT_COMMITTER_EMAIL: author.email,
        GIT_COMMITTER_DATE: date,
      },
    },
    signal,
  )
  return objectId(stdout.toString('utf8').trim())
}

/**
 * Makes the branch point at `revision`, if that descends from what it points at; never by force.
 * @returns `moved` when somebody else was first
 */
export async function push(
  gitDir: string,
  remote: Remote,
  revision: string,
  signal: AbortSignal,
): Promise<'pushed' | 'moved'> {
  const ending = await run(
    {
      purpose: 'push',
      what: `git push to ${shortName(remote)}`,
      args: [
        'push',
        '--porcelain',
        '--no-recurse-submodules',
        '--end-of-options',
        remote.address,
        `${objectId(revision)}:${remote.ref}`,
      ],
      gitDir,
      remote,
      deadlineMs: remote.deadlines.transferMs,
      maxBytes: MAX_TALK_BYTES,
    },
    signal,
  )
  if (ending.exitCode === 0) return 'pushed'
  if (hasLostRace(ending)) return 'moved'
  throw failureOf(ending)
}

/**
 * Goes as far towards a push as a remote lets one that changes nothing: it connects and is let in to write. What the
 * remote has against the commits themselves shows only at a real one.
 * @throws {SourceError} as {@link push}
 */
export async function tryPush(gitDir: string, remote: Remote, revision: string, signal: AbortSignal): Promise<void> {
  const ending = await run(
    {
      purpose: 'push',
      what: `git push --dry-run to ${shortName(remote)}`,
      args: [
        'push',
        '--dry-run',
        '--porcelain',
        '--no-recurse-submodules',
        '--end-of-options',
        remote.address,
        `${objectId(revision)}:${remote.ref}`,
      ],
      gitDir,
      remote,
      deadlineMs: remote.deadlines.askMs,
      maxBytes: MAX_TALK_BYTES,
    },
    signal,
  )
  if (ending.exitCode !== 0 && !hasLostRace(ending)) throw failureOf(ending)
}

/** Packs what has piled up and drops what nothing has referred to for an hour; does nothing until it is worth it. */
export async function collectGarbage(gitDir: string, signal: AbortSignal): Promise<void> {
  await succeed(
    {
      ...mirrorCall('gc', gitDir, ['gc', '--auto', '--quiet']),
      config: ['gc.auto=6700', 'gc.autoPackLimit=50', 'gc.pruneExpire=1.hour.ago'],
    },
    signal,
  )
}

/** A commit of somebody's repository, and where in it a folder is. */
export interface Revision {
  readonly gitDir: string
  readonly commit: string
  /** Of the folder below the top level, with a slash at its end; empty: the top level. */
  readonly prefix: string
}

/**
 * Finds the repository that `dir` is in, and the commit that `rev` names there. Read-only: nothing that the
 * repository's own configuration names is started, no remote is asked.
 * @throws {SourceError} `Invalid` when there is no repository, `RefNotFound` when there is no such commit
 */
export async function resolveRevision(dir: string, rev: string, signal: AbortSignal): Promise<Revision> {
  if (!/^[^-\p{Cc}\s][^\p{Cc}]{0,250}$/u.test(rev)) {
    throw new SourceError('RefNotFound', 'PH4002', `${excerpt(rev, 80)} is no revision`)
  }
  const ask = async (args: readonly string[]) =>
    run(
      {
        purpose: 'read',
        what: 'git rev-parse',
        args: ['rev-parse', ...args],
        cwd: dir,
        deadlineMs: LOCAL_MS,
        maxBytes: MAX_TALK_BYTES,
      },
      signal,
    )
  const place = await ask(['--absolute-git-dir', '--show-prefix'])
  if (place.exitCode !== 0) {
    throw new SourceError('Invalid', 'PH4006', `the folder is in no git repository, so there is no ${excerpt(rev, 80)}`)
  }
  const [gitDir = '', prefix = ''] = place.stdout.split('\n')
  const found = await ask(['--verify', '--quiet', '--end-of-options', `${rev}^{commit}`])
  if (found.exitCode !== 0) {
    throw new SourceError('RefNotFound', 'PH4002', `${excerpt(rev, 80)} is no commit of this repository`)
  }
  return { gitDir, commit: objectId(found.stdout.trim()), prefix }
}

const TAGS = 'refs/tags/'
const OBJECT_ID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/

function objectId(text: string): string {
  if (!OBJECT_ID.test(text)) throw new TypeError(`not an object id: ${excerpt(text, 64)}`)
  return text
}

interface Call {
  readonly purpose: Purpose
  readonly what: string
  readonly args: readonly string[]
  /** None: found from `cwd`. */
  readonly gitDir?: string
  readonly cwd?: string
  readonly remote?: Remote
  readonly config?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  readonly deadlineMs: number
  readonly maxBytes: number
}

function mirrorCall(name: string, gitDir: string, args: readonly string[]): Call {
  return { purpose: 'mirror', what: `git ${name}`, args, gitDir, deadlineMs: LOCAL_MS, maxBytes: MAX_TALK_BYTES }
}

async function succeed(call: Call, signal: AbortSignal): Promise<Buffer> {
  const ending = await run(call, signal)
  if (ending.exitCode !== 0) throw failureOf(ending)
  return ending.bytes
}

/**
 * Runs one git process to its end: when this settles it is gone, so nothing that it holds outlives its caller's turn.
 * @throws {SourceError} when it did not answer in time or said too much; the signal's reason
 */
async function run(call: Call, signal: AbortSignal): Promise<Ending & { bytes: Buffer }> {
  try {
    return await withDeadline(call.deadlineMs, signal, (both) => start(call, both))
  } catch (error) {
    if (signal.aborted) throw signal.reason
    if (error instanceof DeadlineError) {
      const state = call.purpose === 'fetch' || call.purpose === 'push' ? 'Unreachable' : 'Invalid'
      throw new SourceError(state, state === 'Invalid' ? 'PH4006' : 'PH4003', `${call.what} failed: ${error.message}`)
    }
    throw error
  }
}

async function start(call: Call, signal: AbortSignal): Promise<Ending & { bytes: Buffer }> {
  const shown = call.remote && presentation(call.remote.credential, call.remote.url)
  const env = environment(call, shown?.env ?? {})
  const stop = new AbortController()
  const pass = () => {
    stop.abort(signal.reason)
  }
  signal.addEventListener('abort', pass, { once: true })
  let ended: { readonly exitCode: number | null; readonly stdOut: Buffer[]; readonly stdErr: Buffer[] } | undefined
  using child = new Child(stop.signal)
  try {
    const git = simpleGit({
      baseDir: call.cwd ?? '/',
      allowEnvironment: Object.keys(env).filter((name) => name.startsWith('GIT_')),
      config: [...configuration, ...(shown?.config ?? []), ...(call.config ?? [])],
      unsafe: permitted,
      abort: stop.signal,
      // A git that was killed may leave a helper that holds its pipes open.
      completion: { onClose: true, onExit: 50 },
      errors: (error, result) => {
        // Also called with what simple-git takes for success: an exit code other than 0 with nothing on stderr.
        ended = result
        return stop.signal.aborted ? error : undefined
      },
      ...(call.input !== undefined && { input: () => call.input }),
    })
    await git
      .env(env)
      .outputHandler((_command, stdout, stderr) => {
        child.found(stdout)
        limit(call, stdout, call.maxBytes, stop)
        limit(call, stderr, MAX_TALK_BYTES, stop)
      })
      .raw([...(shown?.flags ?? []), ...call.args])
  } catch (error) {
    // simple-git's errors hold every argument; ours are made from what the process said.
    if (!stop.signal.aborted) {
      throw new SourceError('Invalid', 'PH4006', `${call.what} failed: ${excerpt(plain(error))}`)
    }
  } finally {
    signal.removeEventListener('abort', pass)
  }
  if (stop.signal.aborted) throw stop.signal.reason
  const bytes = Buffer.concat(ended?.stdOut ?? [])
  return {
    purpose: call.purpose,
    what: call.what,
    exitCode: ended?.exitCode ?? null,
    bytes,
    stdout: bytes.toString('utf8', 0, MAX_TALK_BYTES),
    stderr: Buffer.concat(ended?.stdErr ?? [EMPTY]).toString('utf8'),
    secrets: shown?.values ?? [],
  }
}

function plain(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Ends the process as soon as it has written more than `maxBytes`; simple-git keeps all of it in memory. */
function limit(call: Call, stream: NodeJS.ReadableStream, maxBytes: number, stop: AbortController): void {
  let size = 0
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > maxBytes) {
      stop.abort(new SourceError('TooLarge', 'PH1008', `${call.what} gave more than ${maxBytes} bytes`))
    }
  })
}

/** Set on every command line, which no file of any repository can override. */
const configuration = [
  'core.hooksPath=/dev/null',
  'core.symlinks=false',
  'core.fsmonitor=false',
  'protocol.version=2',
  'transfer.fsckObjects=true',
  'fetch.fsckObjects=true',
  'transfer.credentialsInUrl=die',
  'http.lowSpeedLimit=1000',
  'http.lowSpeedTime=30',
  // A redirect could take a credential to another host.
  'http.followRedirects=false',
  'gc.auto=0',
  'gc.autoDetach=false',
  'maintenance.auto=false',
  // Ours comes after this reset.
  'credential.helper=',
  // A checkout in CI may belong to another user; nothing that a repository's configuration names is started.
  'safe.directory=*',
]

/** simple-git's own fence, opened where we set a thing on purpose. `alias` and `pager` are also words in host names. */
const permitted = {
  allowUnsafeHooksPath: true,
  allowUnsafeFsMonitor: true,
  allowUnsafeCredentialHelper: true,
  allowUnsafeConfigPaths: true,
  allowUnsafeAlias: true,
  allowUnsafePager: true,
  allowUnsafeSshCommand: true,
}

/** What an operator sets around the daemon: where git is, the way out of the network, whom to trust. */
const inherited = [
  'PATH',
  'HTTPS_PROXY',
  'HTTP_PROXY',
  'ALL_PROXY',
  'NO_PROXY',
  'https_proxy',
  'http_proxy',
  'all_proxy',
  'no_proxy',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'GIT_SSL_CAINFO',
  'GIT_SSL_CAPATH',
] as const

function environment(call: Call, credential: Readonly<Record<string, string>>): Record<string, string> {
  const env: Record<string, string> = {
    // Nobody's .netrc and .gitconfig.
    HOME: devNull,
    LC_ALL: 'C',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ALLOW_PROTOCOL: call.remote?.url.protocol.replace(':', '') ?? 'none',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: devNull,
    GIT_OPTIONAL_LOCKS: '0',
  }
  for (const name of inherited) {
    const value = process.env[name]
    if (value !== undefined && value !== '') env[name] = value
  }
  // The rest of the system reads the first, git the second.
  if (env['SSL_CERT_FILE'] !== undefined) env['GIT_SSL_CAINFO'] ??= env['SSL_CERT_FILE']
  if (call.gitDir !== undefined) env['GIT_DIR'] = call.gitDir
  return { ...env, ...credential, ...call.env }
}

/**
 * The process behind one call. simple-git answers an abort with a single SIGINT to git alone, which leaves the helper
 * that talks to the remote behind, re-parented and waiting (seen with git 2.39); here they end together, and what does
 * not end within {@link GRACE_MS} is killed.
 */
class Child implements Disposable {
  readonly #signal: AbortSignal
  readonly #spawned: ChildProcess[] = []
  #child: ChildProcess | undefined
  #grace: NodeJS.Timeout | undefined

  constructor(signal: AbortSignal) {
    this.#signal = signal
    // simple-git does not say which process it started; node announces each one.
    subscribe('child_process', this.#seen)
    signal.addEventListener('abort', this.#end, { once: true })
  }

  readonly #seen = (message: unknown): void => {
    this.#spawned.push((message as { process: ChildProcess }).process)
  }

  readonly #end = (): void => {
    const pid = this.#child?.pid
    if (pid === undefined) return
    for (const each of descendants(pid)) signalTo(each, 'SIGTERM')
    this.#grace = setTimeout(() => {
      for (const each of [...descendants(pid), pid]) signalTo(each, 'SIGKILL')
    }, GRACE_MS)
  }

  found(stdout: NodeJS.ReadableStream): void {
    unsubscribe('child_process', this.#seen)
    this.#child = this.#spawned.find((one) => one.stdout === stdout)
    this.#spawned.length = 0
    if (this.#signal.aborted) this.#end()
  }

  [Symbol.dispose](): void {
    unsubscribe('child_process', this.#seen)
    this.#signal.removeEventListener('abort', this.#end)
    clearTimeout(this.#grace)
    // A helper that outlives git would hold them open, and with them this process.
    this.#child?.stdout?.destroy()
    this.#child?.stderr?.destroy()
  }
}

/** Children, and theirs, where the kernel tells (Linux); elsewhere `http.lowSpeedTime` ends a helper that waits. */
function descendants(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number)
    return children.filter((child) => child > 0).flatMap((child) => [child, ...descendants(child)])
  } catch {
    return []
  }
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended already.
  }
}
