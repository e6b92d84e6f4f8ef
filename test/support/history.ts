import { join } from 'node:path'
import { parse } from 'yaml'
import type { Execution } from '../../src/model/execution.ts'
import type { Job, Task } from '../../src/model/task.ts'
import { openReadOnly } from '../../src/store/sqlite.ts'
import type { FakeDragonfly, Post } from '../doubles/dragonfly.ts'
import { git, type Repository } from './repository.ts'
import { reportsOn, type FiledReport, type Site } from './site.ts'

const BRANCH = 'preheat-reports'

/** What is on the disk, by the bare rows: the checker asks none of the code that it checks. */
export interface Stored {
  readonly executions: readonly (Execution & { readonly isSent: boolean })[]
  readonly tasks: readonly Task[]
  /** By policy: slots up to and including this instant are accounted for. */
  readonly schedules: ReadonlyMap<string, number>
  /** Slots that were missed and are not in git yet. */
  readonly missed: number
}

/** A POST as the manager saw it, and what the disk held of its job at that moment, before the manager did anything. */
export interface WitnessedPost {
  readonly post: Post
  /** Undefined: nothing. */
  readonly job: Job | undefined
}

/** The reports branch of the remote. */
export interface Reported {
  readonly reports: readonly FiledReport[]
  /** What daily files count, a line a policy and day. */
  readonly days: readonly DayOfPolicy[]
  /** What commits did to execution reports: `A` or `M`, a tab, the path. */
  readonly changes: readonly string[]
  readonly commits: ReadonlySet<string>
  /** Every commit that the branch ever stood at. */
  readonly tips: readonly string[]
  /** What `git fsck --strict` says; empty: nothing. */
  readonly fsck: string
}

interface DayOfPolicy {
  readonly policy: string
  readonly due: number
  readonly run: number
  readonly missed: number
}

/**
 * All that invariants are read from: what the manager's double saw, the remote, and the state on the disk. Never the
 * daemon's memory or its words.
 */
export interface History {
  readonly posts: readonly WitnessedPost[]
  /** For each kill the jobs that it may have cut off: their intents were on the disk, and no answer. */
  readonly cutOff: readonly (readonly string[])[]
  /** Submissions that the manager worked at together, at most. */
  readonly postsAtOnce: number
  /** Digests that the manager really had by then. */
  readonly cachedAt: (at: number) => ReadonlySet<string>
  readonly stored: Stored
  readonly reported: Reported
  /** When it was read. */
  readonly at: number
}

/** Sees a site's history as it happens. */
export class Witness {
  readonly #posts: WitnessedPost[] = []
  readonly #cutOff: (readonly string[])[] = []
  readonly #dragonfly: FakeDragonfly
  readonly #remote: Repository
  readonly #stateDir: string

  private constructor({ dragonfly, repository, stateDir }: Site) {
    this.#dragonfly = dragonfly
    this.#remote = repository
    this.#stateDir = stateDir
    dragonfly.onPost = (post) => this.#posts.push({ post, job: this.#jobOf(post.bio ?? '') })
  }

  /** From here on the remote notes wherever its branches stood. */
  static async of(site: Site): Promise<Witness> {
    await git(site.repository.dir, 'config', 'core.logAllRefUpdates', 'always')
    return new Witness(site)
  }

  /** To be called after each kill, before the next start. */
  noteKill(): void {
    const { tasks } = this.#stored()
    this.#cutOff.push(
      tasks.flatMap((task) => task.jobs.flatMap((job) => (job.state === 'intended' ? markOf(task, job) : []))),
    )
  }

  /** How far the jobs of all tasks are, by what is on the disk now. */
  jobStates(): string[] {
    return this.#stored().tasks.flatMap(({ jobs }) => jobs.map(({ state }) => state))
  }

  /** To be called when nobody works any more. */
  async history(): Promise<History> {
    const dragonfly = this.#dragonfly
    return {
      posts: this.#posts,
      cutOff: this.#cutOff,
      postsAtOnce: dragonfly.postsAtOnce,
      cachedAt: (at) => dragonfly.cached(1, at),
      stored: this.#stored(),
      reported: await reportedOn(this.#remote),
      at: Date.now(),
    }
  }

  #stored(): Stored {
    return this.#read((all) => ({
      executions: all('SELECT body, sent FROM executions').map(({ body, sent }) => ({
        ...(JSON.parse(body as string) as Execution),
        isSent: sent === 1,
      })),
      tasks: all('SELECT body FROM tasks').map(({ body }) => JSON.parse(body as string) as Task),
      schedules: new Map(
        all('SELECT policy_key, until_at FROM schedules').map((row) => [row['policy_key'], row['until_at']] as never),
      ),
      missed: all('SELECT slot_at FROM missed').length,
    }))
  }

  /** A commit of SQLite's is seen by another process only once its log is synced, so what is read here is on the disk. */
  #jobOf(mark: string): Job | undefined {
    const sql = `SELECT body FROM tasks WHERE 'preheatd/' || id || '/' = substr(?, 1, length(id) + 10)`
    const [row] = this.#read((all) => all(sql, mark))
    const task = row && (JSON.parse(row['body'] as string) as Task)
    return task?.jobs.find((job) => markOf(task, job) === mark)
  }

  #read<T>(query: (all: (sql: string, ...parameters: string[]) => Record<string, unknown>[]) => T): T {
    const database = openReadOnly(join(this.#stateDir, 'state.db'))
    try {
      return query((sql, ...parameters) => database.prepare(sql).all(parameters) as Record<string, unknown>[])
    } finally {
      database.close()
    }
  }
}

/** What a job is marked with at the manager, so that it is found again. */
function markOf({ id }: Pick<Task, 'id'>, { key }: Pick<Job, 'key'>): string {
  return `preheatd/${id}/${key}`
}

async function reportedOn(remote: Repository): Promise<Reported> {
  const [reports, files, changes, commits, tips, fsck] = await Promise.all([
    reportsOn(remote, BRANCH),
    remote.files(BRANCH),
    git(remote.dir, 'log', '--format=', '--name-status', BRANCH, '--', 'executions'),
    git(remote.dir, 'rev-list', BRANCH),
    git(remote.dir, 'reflog', 'show', '--format=%H', BRANCH),
    git(remote.dir, 'fsck', '--strict', '--no-dangling', '--no-progress').catch((error: unknown) => String(error)),
  ])
  return {
    reports,
    days: Object.entries(files)
      .filter(([path]) => path.startsWith('daily/'))
      .flatMap(([, text]) => (parse(text) as { spec: { policies: readonly DayOfPolicy[] } }).spec.policies),
    changes: lines(changes),
    commits: new Set(lines(commits)),
    tips: lines(tips),
    fsck,
  }
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}
