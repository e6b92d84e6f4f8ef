import type { Registry } from './registry.ts'
import type { Provider } from './provider.ts'
import { policyAddress, type PreheatPolicy } from './policy.ts'
import { isArtifactRun, type PreheatRun } from './run.ts'

/** Everything that a user declares. */
export type Resource = Registry | Provider | PreheatPolicy | PreheatRun

export type Kind = Resource['kind']

/** What makes a resource that resource: `Registry/harbor`, `PreheatPolicy/harbor/library/release-images`. */
export function resourceKey(resource: Resource): string {
  switch (resource.kind) {
    case 'PreheatPolicy':
      return `PreheatPolicy/${resource.registry}/${policyAddress(resource)}`
    case 'Registry':
    case 'Provider':
    case 'PreheatRun':
      return `${resource.kind}/${resource.name}`
    default:
      return resource satisfies never
  }
}

/** Where a resource stands in the config repository. */
export interface Located<R extends Resource = Resource> {
  readonly resource: R
  readonly key: string
  readonly file: string
  /** 1-based line of the document's start. */
  readonly line: number
}

/** The resources of one kind, in the order given. */
export function ofKind<K extends Kind>(
  located: readonly Located[],
  kind: K,
): Located<Extract<Resource, { kind: K }>>[] {
  return located.filter((one) => one.resource.kind === kind) as Located<Extract<Resource, { kind: K }>>[]
}

/** What runs ask for without a policy that is declared: their own ones, at the place and under the key of the run. */
export function ownPolicies(runs: readonly Located<PreheatRun>[]): Located<PreheatPolicy>[] {
  return runs.flatMap(({ resource, ...place }) =>
    isArtifactRun(resource) ? [{ ...place, resource: resource.ownPolicy }] : [],
  )
}

/** Whatever there may be executions of. */
export function executables(objects: readonly Located[]): Located<PreheatPolicy>[] {
  return [...ofKind(objects, 'PreheatPolicy'), ...ownPolicies(ofKind(objects, 'PreheatRun'))]
}

/** What an execution is of, by its `policyKey`: a policy that is declared, or a run with artifacts of its own. */
export function executedKind(policyKey: string): 'PreheatPolicy' | 'PreheatRun' {
  return policyKey.startsWith('PreheatRun/') ? 'PreheatRun' : 'PreheatPolicy'
}
