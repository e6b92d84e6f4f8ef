import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../../src/clock.ts'
import { ConfigReader } from '../../src/config/reader.ts'
import { openGitSource } from '../../src/git/mirror.ts'
import type { Source } from '../../src/model/source.ts'
import { reconcile } from '../../src/reconcile.ts'
import { openEmbeddedStore } from '../../src/store/embedded.ts'
import { git, logGit, temporaryFolder } from '../support/repository.ts'
import { heapBytes } from '../support/heap.ts'
import type { Cost } from './measure.ts'

/** What a process cost that goes from commit to commit, of each of which one file differs. */
export interface ChangedFile {
  /** From the fetched commit to what is in force, one a commit; `peakBytes` is what the process had resident then. */
  readonly costs: readonly Omit<Cost, 'lagMs'>[]
  /** What something still referred to after each. */
  readonly heapBytes: readonly number[]
  readonly gitProcesses: number
}

const COMMITS = 12
const never = new AbortController().signal

/**
 * Applies a repository, and then commit after commit in which one policy has another description. The stages, the git
 * and the store are those of the daemon; what is measured begins when git has fetched.
 * @param folder a work tree of `url`'s branch main
 * @param file of a policy, of which `textOf` makes the text
 */
export async function benchChangedFile(
  folder: string,
  url: string,
  file: string,
  textOf: (description: string) => string,
): Promise<ChangedFile> {
  await using place = await temporaryFolder()
  await using remote = openGitSource({
    url,
    ref: { type: 'branch', name: 'main' },
    path: '',
    dir: join(place.path, 'mirror'),
    auth: { type: 'none' },
    read: (ref) => Promise.reject(new Error(`nobody needs the secret ${JSON.stringify(ref)}`)),
  })
  await using store = await openEmbeddedStore(join(place.path, 'state'))
  const reader = new ConfigReader()
  const look = async (): Promise<Omit<Cost, 'lagMs'>> => {
    const revision = await remote.observe(never)
    await remote.fetch(revision, never)
    const source: Source = {
      observe: () => Promise.resolve(revision),
      // It is here: now it is listed.
      fetch: (wanted, signal) => remote.fetch(wanted, signal),
      descends: (from, to, signal) => remote.descends(from, to, signal),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
    const cpu = process.cpuUsage()
    const startedAt = performance.now()
    const { kind } = await reconcile({ source, reader, store, clock: systemClock, emit: () => undefined }, never)
    const wallMs = performance.now() - startedAt
    const { user, system } = process.cpuUsage(cpu)
    if (kind !== 'applied') throw new Error(`a commit was ${kind}`)
    return { wallMs, cpuMs: (user + system) / 1000, peakBytes: process.memoryUsage().rss }
  }
  const commit = async (description: string) => {
    await writeFile(join(folder, file), textOf(description))
    await git(folder, 'commit', '--quiet', '--all', '-m', description)
    await git(folder, 'push', '--quiet', url, 'HEAD:refs/heads/main')
  }

  await look()
  const costs: Omit<Cost, 'lagMs'>[] = []
  const heaps: number[] = []
  for (let count = 1; count <= COMMITS; count++) {
    await commit(`the ${count}. description`)
    costs.push(await look())
    heaps.push(heapBytes())
  }
  await commit('counted, and not timed: what counts takes time')
  const revision = await remote.observe(never)
  await remote.fetch(revision, never)
  await using log = await logGit()
  await look()
  const starts = await log.starts()
  // A look and a fetch that finds the commit here, before what is measured: git ls-remote, cat-file and ls-tree.
  return { costs, heapBytes: heaps, gitProcesses: starts.length - 3 }
}
