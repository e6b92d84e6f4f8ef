import { setMaxListeners } from 'node:events'
import type { Digest } from '../model/artifact.ts'
import type { Clock } from '../model/clock.ts'
import { EdgeError, OperatorError } from '../model/errors.ts'
import type { MovedTag } from '../model/execution.ts'
import type { SettledTask } from '../model/task.ts'
import { byText } from '../plan/order.ts'
import type { ArtifactSource } from '../registry/registry.ts'

/** Tags of one artifact beyond these are not asked for. */
const MOST_TAGS = 10
/** How long an execution that is over waits to be told where its tags are. */
const PATIENCE_MS = 60_000

/**
 * Which of the tags that selected an artifact point elsewhere by now, or nowhere: what was preheated is the digest
 * that was selected, and the report says so. Of a tag that the registry does not tell, or not in time, nothing is claimed,
 * and once it is silent nothing more is asked: it is for the report alone.
 *
 * @param open the registry; it may fail, and is asked for only where there are tags
 * @throws the signal's reason
 */
export async function movedTags(
  tasks: readonly SettledTask[],
  open: () => Promise<Pick<ArtifactSource, 'resolve'>>,
  clock: Clock,
  signal: AbortSignal,
): Promise<MovedTag[]> {
  const selectors = selectorsOf(tasks)
  if (selectors.size === 0) return []
  signal.throwIfAborted()
  const moved: MovedTag[] = []
  const enough = new AbortController()
  setMaxListeners(0, enough.signal)
  const stop = () => {
    enough.abort(signal.reason)
  }
  signal.addEventListener('abort', stop, { once: true })
  const ask = async ([artifact, { repository, tag, digest: selected }]: [string, Selector]) => {
    try {
      const source = await open()
      const digest = await source.resolve(repository, tag, enough.signal)
      if (digest !== selected) moved.push({ artifact, digest })
    } catch (error) {
      if (enough.signal.aborted) return
      if (!(error instanceof EdgeError || error instanceof OperatorError)) throw error
      if (error instanceof OperatorError || error.fault === 'unavailable') enough.abort()
    }
  }
  const late = clock.sleepUntil(clock.now() + PATIENCE_MS, enough.signal).catch(() => undefined)
  try {
    await Promise.race([Promise.all([...selectors].map(ask)), late])
  } finally {
    signal.removeEventListener('abort', stop)
    enough.abort()
  }
  signal.throwIfAborted()
  return moved.sort(byText(({ artifact }) => artifact))
}

interface Selector {
  readonly repository: string
  readonly tag: string
  readonly digest: Digest
}

/** Each tag once, whatever the providers that its artifact went to; of what was looked at only, or not sent at all, none. */
function selectorsOf(tasks: readonly SettledTask[]): Map<string, Selector> {
  return new Map(
    tasks.flatMap(({ subject, purpose, jobs }) =>
      'file' in subject || purpose === 'look' || jobs.length === 0
        ? []
        : subject.tags.slice(0, MOST_TAGS).map((tag) => [`${subject.repository}:${tag}`, { ...subject, tag }] as const),
    ),
  )
}
