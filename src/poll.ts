import type { Drivers } from './execution/loop.ts'
import { nameFilter } from './execution/select.ts'
import type { Candidate } from './model/candidate.ts'
import type { Clock } from './model/clock.ts'
import type { Instant } from './model/duration.ts'
import type { PreheatPolicy } from './model/policy.ts'
import type { Registry } from './model/registry.ts'
import { ofKind, type Located } from './model/resource.ts'
import type { ArtifactSource, Detail } from './registry/registry.ts'
import type { Applied, PendingEvent, Store } from './store/store.ts'
import { matching, type Matched } from './trigger/inbox.ts'
import { changesBetween, condense, deliveriesOf, formatListing, parseListing } from './trigger/listing.ts'

export interface PollPorts {
  readonly store: Pick<Store, 'undelivered' | 'route' | 'delivered' | 'listing' | 'saveListing' | 'deliver'>
  readonly drivers: Drivers
  readonly clock: Clock
}

/** A project that event-based policies want looked at, and how often. */
export interface Polled {
  readonly registry: Registry
  /** Of an `oci` registry perhaps all of it. */
  readonly project: string | undefined
  readonly everyMs: number
  readonly policies: readonly PreheatPolicy[]
}

const ROUTED_AT_ONCE = 500

/** Hands what webhooks delivered to the policies that wait for it. @returns how many deliveries there were */
export async function routeDeliveries(applied: Applied, { store }: PollPorts): Promise<number> {
  let routed = 0
  for (;;) {
    const deliveries = await store.undelivered(ROUTED_AT_ONCE)
    if (deliveries.length === 0) return routed
    await store.route(deliveries, matching(deliveries, applied.objects).map(eventOf))
    routed += deliveries.length
  }
}

/** Which projects are looked at, since a delivery may be lost, and Harbor sends none for labels, tags and signatures. */
export function polledOf(objects: readonly Located[]): Polled[] {
  const registries = new Map(ofKind(objects, 'Registry').map(({ resource }) => [resource.name, resource]))
  const polled = new Map<string, Polled>()
  for (const { resource: policy } of ofKind(objects, 'PreheatPolicy')) {
    const registry = registries.get(policy.registry)
    if (!policy.enabled || policy.trigger.type !== 'event_based' || registry === undefined) continue
    const { project, trigger } = policy
    const key = polledKey({ registry, project })
    const known = polled.get(key)
    polled.set(key, {
      registry,
      project,
      everyMs: Math.min(known?.everyMs ?? Infinity, trigger.pollMs),
      policies: [...(known?.policies ?? []), policy],
    })
  }
  return [...polled.values()]
}

/** Equal for the same project. */
export function polledKey({ registry, project }: Pick<Polled, 'registry' | 'project'>): string {
  return JSON.stringify([registry.name, project ?? null])
}

/** When a project is to be looked at next; at once where it never was. */
export async function nextPollAt({ registry, project, everyMs }: Polled, { store }: PollPorts): Promise<Instant> {
  const last = await store.listing(registry.name, project ?? '')
  return last === undefined ? 0 : last.at + everyMs
}

/**
 * Compares a project with what it was when it was last looked at; what changed waits for its policies, together with
 * what the project looks like now, in one write. The first look is what later ones are compared with.
 * @throws {EdgeError} when it cannot be listed whole
 */
export async function poll(polled: Polled, applied: Applied, ports: PollPorts, signal: AbortSignal): Promise<void> {
  const { store, clock, drivers } = ports
  const { registry, project, policies } = polled
  const now = clock.now()
  const source = await drivers.source(registry)
  const listed = await source.list({ project, details: detailsOf(policies), since: now }, signal)
  const after = condense(await resolved(listed, policies, source, signal))
  const last = await store.listing(registry.name, project ?? '')
  const before = last && parseListing(last.body)
  const since = last?.at ?? now
  const deliveries = deliveriesOf(
    changesBetween(before, after),
    registry.name,
    since,
    await store.delivered(since),
    now,
  )
  const events = matching(deliveries, applied.objects).map(eventOf)
  await store.saveListing(registry.name, project ?? '', { at: now, body: formatListing(after) }, events)
}

/** What tags of an `oci` registry point at, those that a policy might want: only that shows that one moved. */
async function resolved(
  candidates: readonly Candidate[],
  policies: readonly PreheatPolicy[],
  source: ArtifactSource,
  signal: AbortSignal,
): Promise<Candidate[]> {
  const filters = policies.map(({ filters }) => nameFilter(filters))
  const isWanted = (name: string, tag: string) => filters.some((wants) => wants(name, tag))
  return Promise.all(
    candidates.map(async (candidate) => {
      const { repository, name, digest, tags } = candidate
      const [tag] = tags
      if (digest !== undefined || tag === undefined || !isWanted(name, tag)) return candidate
      return { ...candidate, digest: await source.resolve(repository, tag, signal) }
    }),
  )
}

function detailsOf(policies: readonly PreheatPolicy[]): Detail[] {
  const events = new Set(policies.flatMap(({ trigger }) => (trigger.type === 'event_based' ? trigger.events : [])))
  return [...(events.has('scan') ? (['scan'] as const) : []), ...(events.has('sign') ? (['signatures'] as const) : [])]
}

function eventOf({ policyKey, delivery }: Matched): PendingEvent {
  const { repository, tag, digest, kind, receivedAt } = delivery
  return { policyKey, repository, reference: tag ?? digest ?? '', kinds: [kind], since: receivedAt }
}
