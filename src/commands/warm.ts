import { Closers } from '../closers.ts'
import { systemClock } from '../clock.ts'
import { warmth } from '../execution/warmth.ts'
import { ageText } from '../model/duration.ts'
import { EdgeError, OperatorError } from '../model/errors.ts'
import type { WarmQuestion, WarmthView } from '../model/operations.ts'
import type { Reference } from '../model/reference.ts'
import type { Located } from '../model/resource.ts'
import { readConfig } from '../reconcile.ts'
import type { Secrets } from '../secrets.ts'
import { warmthBody, type WarmthBody } from '../serve/wire.ts'
import type { Settings } from '../settings.ts'
import type { Ledger } from '../store/store.ts'
import { exit, type Exit, type Io } from './command.ts'
import { openDrivers, openLedgerOf, openSecretsOf, openSource, readerOf } from './open.ts'
import { besideDaemon, type OperatorOptions } from './operator.ts'
import { scratchFolder } from './scratch.ts'

export interface WarmOptions extends OperatorOptions {
  readonly provider?: string
  /** How long to wait for evidence; 0: what is known now. */
  readonly wait: number
}

/**
 * Is an image warm, by what evidence, how old: a gate for a deploy. Asked of the daemon that lives here, or found out
 * without one. Submits nothing.
 */
export async function warm(reference: Reference, options: WarmOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  return await besideDaemon(options.config, io, async (daemon, settings) => {
    const question = { reference, provider: options.provider, waitMs: options.wait }
    const found = daemon
      ? await daemon.warm(question, signal)
      : warmthBody(await warmthHere(question, settings, io, signal))
    io.out(options.output === 'json' ? `${JSON.stringify(found, undefined, 2)}\n` : text(found, io))
    return found.warm ? exit.ok : exit.failed
  })
}

async function warmthHere(
  question: WarmQuestion,
  settings: Settings,
  io: Io,
  signal: AbortSignal,
): Promise<WarmthView> {
  await using closers = new Closers()
  const secrets = openSecretsOf(settings, io)
  const drivers = closers.use(openDrivers(secrets))
  const ledger = closers.use(new LateLedger(settings))
  const scrub = secrets.scrubber()
  try {
    const objects = await declared(ledger, settings, secrets, signal)
    return await warmth(question, { objects, drivers, ledger, clock: systemClock, scrub }, signal)
  } catch (error) {
    if (error instanceof EdgeError) throw new OperatorError(error.code, scrub(error.message))
    if (error instanceof OperatorError) {
      const help = error.help === undefined ? {} : { help: error.help }
      throw new OperatorError(error.code, scrub(error.message), help)
    }
    throw error
  }
}

/** What a daemon knows that may begin to live while somebody waits; opened as soon as there is something to open. */
class LateLedger implements AsyncDisposable {
  readonly #settings: Settings
  #ledger: Ledger | undefined

  constructor(settings: Settings) {
    this.#settings = settings
  }

  async applied(): Promise<readonly Located[] | undefined> {
    return (await (await this.#open())?.applied())?.objects
  }

  async warm(keys: readonly string[]): ReturnType<Ledger['warm']> {
    return (await (await this.#open())?.warm(keys)) ?? []
  }

  async #open(): Promise<Ledger | undefined> {
    return (this.#ledger ??= await openLedgerOf(this.#settings))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ledger?.[Symbol.asyncDispose]()
  }
}

/** What the daemon works by; where there is none, what its source declares now. */
async function declared(
  ledger: LateLedger,
  settings: Settings,
  secrets: Secrets,
  signal: AbortSignal,
): Promise<readonly Located[]> {
  const applied = await ledger.applied()
  if (applied !== undefined) return applied
  const scratch = scratchFolder('warm')
  try {
    await using source = openSource(settings, secrets, scratch.name)
    const tree = await source.fetch(await source.observe(signal), signal)
    return (await readConfig(tree, readerOf(settings), signal)).objects
  } finally {
    scratch.removeCallback()
  }
}

function text({ repository, digest, providers }: WarmthBody, { outColors: { green, red } }: Io): string {
  const image = `${repository}@${digest}`
  return providers
    .map(({ name, evidence, ageMs = 0, reason = '' }) => {
      if (evidence === undefined) return `${red('✗')} ${image} is not known warm on ${name}: ${reason}\n`
      const { kind, blobs, of, source } = evidence
      return `${green('✔')} ${image} is warm on ${name}: ${kind}, ${blobs} of ${of} blobs, ${ageText(ageMs)} ago (${source})\n`
    })
    .join('')
}
