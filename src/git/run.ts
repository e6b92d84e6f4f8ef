import type { ChildProcess } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { devNull } from 'node:os'
import { simpleGit } from 'simple-git'
import { DeadlineError, withDeadline } from '../deadline.ts'
import { excerpt } from '../model/errors.ts'
import { SourceError } from '../model/source.ts'
import { presentation } from './credentials.ts'
import { failureOf, type Ending, type Purpose } from './failure.ts'
import type { Remote } from './remote.ts'

/** Some 50,000 files with long names. */
export const MAX_LISTING_BYTES = 16 * 1024 * 1024
/** What git says beside that. */
export const MAX_TALK_BYTES = 1024 * 1024
/** For what asks no remote. */
export const LOCAL_MS = 60_000
/** How long git may take to clean up behind itself before it is killed. */
const GRACE_MS = 2_000

const EMPTY = Buffer.alloc(0)

/** One git process to be. */
export interface Call {
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

/** One that works on a mirror of ours, and asks nobody. */
export function mirrorCall(name: string, gitDir: string, args: readonly string[]): Call {
  return { purpose: 'mirror', what: `git ${name}`, args, gitDir, deadlineMs: LOCAL_MS, maxBytes: MAX_TALK_BYTES }
}

/** What git says on stdout. @throws {SourceError} when it fails, as {@link run} */
export async function succeed(call: Call, signal: AbortSignal): Promise<Buffer> {
  const ending = await run(call, signal)
  if (ending.exitCode !== 0) throw failureOf(ending)
  return ending.bytes
}

/**
 * Runs one git process to its end: when this settles it is gone, so nothing that it holds outlives its caller's turn.
 * @throws {SourceError} when it did not answer in time or said too much; the signal's reason
 */
export async function run(call: Call, signal: AbortSignal): Promise<Ending & { bytes: Buffer }> {
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
  allowUnsafeGpgProgram: true,
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
