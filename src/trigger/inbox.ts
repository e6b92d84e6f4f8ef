import type { Delivery } from '../model/delivery.ts'
import { ofKind, type Located } from '../model/resource.ts'

/** A delivery that a policy waits for. */
export interface Matched {
  readonly policyKey: string
  readonly delivery: Delivery
}

/**
 * Which policies which deliveries concern: enabled and event-based, of the same registry and project, waiting for that
 * kind of event. Filters are not looked at: selection does that, with what the registry then says. Nor is `suspend`.
 */
export function matching(deliveries: readonly Delivery[], objects: readonly Located[]): Matched[] {
  const policies = ofKind(objects, 'PreheatPolicy').flatMap(({ key, resource }) =>
    resource.enabled && resource.trigger.type === 'event_based'
      ? [{ key, ...resource, trigger: resource.trigger }]
      : [],
  )
  return deliveries.flatMap((delivery) =>
    policies
      .filter(
        ({ registry, project, trigger }) =>
          registry === delivery.registry &&
          (project === undefined || delivery.repository.startsWith(`${project}/`)) &&
          trigger.events.includes(delivery.kind),
      )
      .map(({ key }) => ({ policyKey: key, delivery })),
  )
}
