import { compileDoublestar } from './model/doublestar.ts'
import type { Event } from './model/events.ts'
import type { EndedExecution, Result } from './model/execution.ts'
import type { Notice } from './model/notice.ts'
import { policyAddress } from './model/policy.ts'
import type { Clock } from './model/clock.ts'
import type { ReadSecret } from './model/secret.ts'
import type { CommitStatus, Forge, ForgeSettings } from './forge/forge.ts'
import { openForge } from './forge/open.ts'
import type { Channel } from './notify/channel.ts'
import { openChannel } from './notify/open.ts'
import { Outbox, type Outcome, type Parcel } from './notify/outbox.ts'
import { Recent } from './notify/recent.ts'
import { NoticeBoard, commitVerdict, executionVerdict, type Verdict } from './report/notice.ts'
import type { Settings } from './settings.ts'
import type { Applied } from './store/store.ts'

export interface NotifierPorts {
  readonly read: ReadSecret
  readonly clock: Clock
  /** From 0 to below 1. */
  readonly random: () => number
  /** Masks secrets that the other side sent back to us. */
  readonly scrub: (text: string) => string
  /** The configuration in force; asked once a commit, and after a status of it could not be posted. */
  readonly applied: () => Promise<Pick<Applied, 'config' | 'objects' | 'problems'> | undefined>
  /** Of every policy by its key, when this process began. */
  readonly lastResults: ReadonlyMap<string, Result>
  /** What became of each thing that was to be told, for log and metrics. Neither throws nor is waited for. */
  readonly onOutcome: (outcome: Outcome) => void
}

/** Tells people and forges what happens. */
export interface Notifier extends AsyncDisposable {
  /** Neither throws nor waits: a listener like any other. */
  tell(event: Event): void
}

/** Sends nothing yet. Closing it delivers what it can within five seconds. */
export function openNotifier(
  settings: Pick<Settings, 'instance' | 'notifications' | 'source' | 'reports'>,
  ports: NotifierPorts,
): Notifier {
  return new OpenNotifier(settings, ports)
}

interface Letter extends Parcel {
  readonly notice: Notice
}

interface Stamp extends Parcel {
  readonly status: CommitStatus
}

interface Receiver<P extends Parcel> {
  readonly outbox: Outbox<P>
  /** Undefined: what concerns no policy. */
  readonly concerns: (policy: string | undefined) => boolean
}

class OpenNotifier implements Notifier {
  readonly #instance: string
  readonly #ports: NotifierPorts
  readonly #board: NoticeBoard
  readonly #recent = new Recent()
  readonly #channels: (Receiver<Letter> & { readonly name: string; readonly isErrorOnly: boolean })[] = []
  readonly #forges: Receiver<Stamp>[] = []
  readonly #edges: (Forge | Channel)[] = []
  /** Where the reports can be read. */
  readonly #page: string | undefined
  /** The commit whose state was handed to the forges. */
  #stated: string | undefined
  #stating: Promise<void> = Promise.resolve()

  constructor(
    { instance, notifications, source, reports }: Pick<Settings, 'instance' | 'notifications' | 'source' | 'reports'>,
    ports: NotifierPorts,
  ) {
    this.#instance = instance
    this.#ports = ports
    this.#board = new NoticeBoard(instance, ports.lastResults)
    for (const one of notifications) {
      const concerns = concernOf(one.policies)
      if (one.kind === 'status') {
        const forge = openForge(one.forge, ports)
        this.#edges.push(forge)
        const outbox = new Outbox<Stamp>(one.forge.name, ({ status }, signal) => forge.post(status, signal), {
          ...ports,
          onOutcome: (outcome) => {
            this.#onStamped(outcome)
          },
        })
        this.#forges.push({ outbox, concerns })
        if (source.type === 'git' && reports.type === 'git' && reports.url === source.url)
          this.#page ??= pageOf(one.forge, reports.branch)
      } else {
        const channel = openChannel(one.channel, ports)
        this.#edges.push(channel)
        const send = async ({ notice }: Letter, signal: AbortSignal): Promise<'delivered'> => {
          await channel.deliver(notice, signal)
          return 'delivered'
        }
        const { name } = one.channel
        const outbox = new Outbox<Letter>(name, send, ports)
        this.#channels.push({ name, outbox, concerns, isErrorOnly: one.severity === 'error' })
      }
    }
  }

  tell(event: Event): void {
    const now = this.#ports.clock.now()
    for (const notice of this.#board.take(event, now))
      this.#send({ ...notice, message: this.#ports.scrub(notice.message), url: this.#page })
    if (this.#forges.length === 0) return
    if (event.name === 'plan.applied' || event.name === 'source.unchanged') this.#state(event.revision)
    if (event.name === 'execution.ended') this.#stampExecution(event.execution)
  }

  #send(notice: Notice): void {
    const { kind, name: address } = notice.object
    const policy = kind === 'PreheatPolicy' || kind === 'PreheatRun' ? address : undefined
    const wanted = this.#channels.filter(
      ({ concerns, isErrorOnly }) => concerns(policy) && (notice.severity === 'error' || !isErrorOnly),
    )
    const { severity, reason: subject } = notice
    if (this.#recent.has(notice, this.#ports.clock.now())) {
      for (const { name } of wanted) this.#ports.onOutcome({ notification: name, subject, kind: 'duplicate' })
      return
    }
    for (const { outbox } of wanted) outbox.put({ severity, key: undefined, subject, notice })
  }

  /** Whether a commit is in force, said once a commit and again until the forge took it. */
  #state(revision: string): void {
    if (!isCommit(revision) || this.#stated === revision) return
    this.#stated = revision
    this.#stating = this.#ports.applied().then(
      (applied) => {
        if (applied?.config.commit !== revision) return
        const verdict = commitVerdict(applied.objects.length, applied.problems)
        for (const forge of this.#forges) this.#stamp(forge, revision, this.#context, verdict)
      },
      () => {
        this.#stated = undefined
      },
    )
  }

  #stampExecution(execution: EndedExecution): void {
    const { policy, config } = execution.snapshot
    const address = policyAddress(policy)
    if (!isCommit(config.commit)) return
    const verdict = executionVerdict(execution)
    for (const forge of this.#forges)
      if (forge.concerns(address)) this.#stamp(forge, config.commit, `${this.#context}/${address}`, verdict)
  }

  #stamp({ outbox }: Receiver<Stamp>, commit: string, context: string, { state, description }: Verdict): void {
    outbox.put({
      severity: state === 'success' ? 'info' : 'error',
      key: `${commit} ${context}`,
      subject: `status of ${context}`,
      status: { commit, context, state, description: this.#ports.scrub(description), url: this.#page },
    })
  }

  /** A forge that was away is told when the source answers again; one that refused would refuse again. */
  #onStamped(outcome: Outcome): void {
    if (outcome.error?.code === 'PH8031' && outcome.subject === `status of ${this.#context}`) this.#stated = undefined
    this.#ports.onOutcome(outcome)
  }

  get #context(): string {
    return `preheatd/${this.#instance}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stating
    await Promise.all([...this.#channels, ...this.#forges].map(({ outbox }) => outbox[Symbol.asyncDispose]()))
    await Promise.all(this.#edges.map((edge) => edge[Symbol.asyncDispose]()))
  }
}

function concernOf(patterns: readonly string[]): (policy: string | undefined) => boolean {
  if (patterns.length === 0) return () => true
  const matches = patterns.map(compileDoublestar)
  return (policy) => policy !== undefined && matches.some((match) => match(policy))
}

/** The content hash of a watched folder is none. */
function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/.test(revision)
}

/** The branch of the reports, as a person reads it there. */
function pageOf({ type, root, repository }: ForgeSettings, branch: string): string {
  const tree = { github: 'tree', gitlab: '-/tree', gitea: 'src/branch' }[type]
  const path = [...repository.split('/'), ...tree.split('/'), ...branch.split('/')].map(encodeURIComponent).join('/')
  return `${root}/${path}`
}
