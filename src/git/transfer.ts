import { devNull } from 'node:os'
import { failureOf, hasLostRace } from './failure.ts'
import { objectId, shortName, TAGS, type Remote } from './remote.ts'
import { MAX_LISTING_BYTES, MAX_TALK_BYTES, mirrorCall, run, succeed } from './run.ts'

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

/**
 * Brings a branch's tip, a tag or a commit to the ref `into`, and nothing older. A rewritten branch is followed.
 * @param filter `blob:none` leaves the files on the remote until `readObjects` asks for them
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
      args: pushArgs(remote, revision),
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
      args: pushArgs(remote, revision, '--dry-run'),
      gitDir,
      remote,
      deadlineMs: remote.deadlines.askMs,
      maxBytes: MAX_TALK_BYTES,
    },
    signal,
  )
  if (ending.exitCode !== 0 && !hasLostRace(ending)) throw failureOf(ending)
}

function pushArgs({ address, ref }: Remote, revision: string, ...options: readonly string[]): string[] {
  const what = `${objectId(revision)}:${ref}`
  return ['push', ...options, '--porcelain', '--no-recurse-submodules', '--end-of-options', address, what]
}
