import type { Code } from './codes.ts'
import { policyAddress, type PreheatPolicy } from './policy.ts'
import type { Located } from './resource.ts'

/** Policies that a message names. */
const NAMED = 10

export type FoundPolicy =
  | { readonly ok: true; readonly found: Located<PreheatPolicy> }
  | { readonly ok: false; readonly code: Code; readonly message: string }

/** Those that `name` may mean: `library/release-images`, `release-images`, or the first with the registry before it. */
export function policiesCalled<P extends Pick<PreheatPolicy, 'registry' | 'project' | 'name'>>(
  name: string,
  policies: readonly P[],
): P[] {
  return policies.filter((policy) =>
    [policyAddress(policy), policy.name, `${policy.registry}/${policyAddress(policy)}`].includes(name),
  )
}

/** The policy that a person means by `library/release-images`, by `release-images`, or with the registry before it. */
export function findPolicy(name: string, located: readonly Located<PreheatPolicy>[]): FoundPolicy {
  const policies = located.map(({ resource }) => resource)
  const called = new Set(policiesCalled(name, policies))
  const found = located.filter(({ resource }) => called.has(resource))
  if (found.length === 1) return { ok: true, found: found[0]! }
  if (found.length === 0) {
    const known = policies.map(policyAddress).sort()
    const more = known.length > NAMED ? `, and ${known.length - NAMED} more` : ''
    const hint = known.length === 0 ? 'there are none' : `there are ${known.slice(0, NAMED).join(', ')}${more}`
    return { ok: false, code: 'PH3003', message: `no policy is called ${JSON.stringify(name)}; ${hint}` }
  }
  const full = found.map(({ resource }) => `${resource.registry}/${policyAddress(resource)}`).join(', ')
  return { ok: false, code: 'PH8101', message: `${JSON.stringify(name)} is ambiguous: ${full}` }
}
