import type { Code } from './codes.ts'
import { matchDoublestar } from './doublestar.ts'
import type { Target } from './execution.ts'
import type { PreheatPolicy, ProviderRef } from './policy.ts'
import type { Provider } from './provider.ts'

export type Targets =
  | { readonly ok: true; readonly targets: readonly Target[] }
  | { readonly ok: false; readonly code: Code; readonly message: string }

/**
 * Where a policy's artifacts go: the providers that it names, those that its selector finds, else the default one, else
 * the only one; each once. Disabled ones stay in, because their tasks are Skipped and a report says so. One that is
 * named or default and closed to the policy's project is an error; a selector passes it over.
 */
export function targetsOf(policy: PreheatPolicy, providers: readonly Provider[]): Targets {
  const targets = new Map<string, Target>()
  for (const ref of policy.providers) {
    const provider = providers.find(({ name }) => name === ref.name)
    if (provider === undefined) return failed('PH8007', `no provider is called ${ref.name}`)
    if (!isOpenTo(provider, policy)) return closed(provider, policy)
    if (!targets.has(ref.name)) targets.set(ref.name, targetOf(provider, ref))
  }
  for (const provider of selected(policy, providers))
    if (isOpenTo(provider, policy) && !targets.has(provider.name)) targets.set(provider.name, targetOf(provider))
  if (targets.size > 0) return { ok: true, targets: [...targets.values()] }
  if (policy.providerSelector !== undefined) return failed('PH3014', 'providerSelector finds no provider')

  const fallback = fallbackOf(providers)
  if (fallback === undefined) return failed('PH3014', fallbackReason(providers))
  return isOpenTo(fallback, policy) ? { ok: true, targets: [targetOf(fallback)] } : closed(fallback, policy)
}

/** May policies of this registry and project use the provider? Malformed patterns open nothing. */
export function isOpenTo(provider: Provider, policy: Pick<PreheatPolicy, 'registry' | 'project'>): boolean {
  return provider.projects.some((pattern) => matches(pattern, placeOf(policy)))
}

function fallbackOf(providers: readonly Provider[]): Provider | undefined {
  const defaults = providers.filter(({ isDefault }) => isDefault)
  const candidates = defaults.length > 0 ? defaults : providers
  return candidates.length === 1 ? candidates[0] : undefined
}

function fallbackReason(providers: readonly Provider[]): string {
  if (providers.length === 0) return 'there is no provider'
  return providers.some(({ isDefault }) => isDefault)
    ? 'no provider is named and several are marked as default'
    : `no provider is named and none of ${providers.length} is marked as default`
}

function selected(policy: PreheatPolicy, providers: readonly Provider[]): Provider[] {
  const wanted = policy.providerSelector
  if (wanted === undefined) return []
  return providers.filter(({ labels }) => Object.entries(wanted).every(([label, value]) => labels[label] === value))
}

function targetOf(provider: Provider, ref?: ProviderRef): Target {
  return { provider, scope: ref?.scope ?? provider.dragonfly.scope, clusters: ref?.clusters }
}

function matches(pattern: string, name: string): boolean {
  try {
    return matchDoublestar(pattern, name)
  } catch (error) {
    if (error instanceof TypeError) return false
    throw error
  }
}

/** What the patterns of {@link Provider.projects} are about: `harbor/library`, or `quay/` for all of an oci registry. */
function placeOf(policy: Pick<PreheatPolicy, 'registry' | 'project'>): string {
  return `${policy.registry}/${policy.project ?? ''}`
}

function closed(provider: Provider, policy: PreheatPolicy): Targets {
  return failed('PH3008', `provider ${provider.name} is not open to ${placeOf(policy)}`)
}

function failed(code: Code, message: string): Targets {
  return { ok: false, code, message }
}
