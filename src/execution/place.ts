import type { PreheatPolicyDocument } from '../config/documents.ts'
import { toPolicy } from '../config/resources.ts'
import { OperatorError } from '../model/errors.ts'
import type { Target } from '../model/execution.ts'
import type { NamedArtifact, PreheatPolicy } from '../model/policy.ts'
import type { Provider } from '../model/provider.ts'
import type { Reference } from '../model/reference.ts'
import type { Registry } from '../model/registry.ts'
import { executables, ofKind, type Located } from '../model/resource.ts'
import { targetsOf } from '../model/targets.ts'
import { nameFilter } from './select.ts'

/** Where an image is, and what is declared about it. */
export interface Place {
  readonly registry: Registry
  readonly repository: string
  readonly tag: string | undefined
  /** Policies whose filters cover it or that name it, disabled ones too: what they warmed is warm. */
  readonly policies: readonly PreheatPolicy[]
}

/**
 * Which registry the reference means, and who has it preheated.
 * @throws {OperatorError} PH3001 where none is meant; PH3017 where several may be
 */
export function placeOf(reference: Reference, objects: readonly Located[]): Place {
  const registries = ofKind(objects, 'Registry').map(({ resource }) => resource)
  const policies = executables(objects).map(({ resource }) => resource)
  const [first = '', ...rest] = reference.name.split('/')
  const places = (among: readonly Registry[], repository: string): Place[] =>
    among.map((registry) => ({
      registry,
      repository,
      tag: reference.tag,
      policies: policies.filter((policy) => covers(policy, registry, repository, reference)),
    }))

  const atHost = registries.filter(({ endpoint, engineEndpoint }) =>
    [endpoint, engineEndpoint].some((url) => new URL(url).host === first),
  )
  const named = rest.length > 0 && atHost.length > 0
  const found = named ? places(atHost, rest.join('/')) : places(registries, reference.name)
  if (!named && /[.:]/.test(first) && rest.length > 0 && found.every((one) => one.policies.length === 0)) {
    const hosts = registries.map(({ endpoint }) => new URL(endpoint).host).join(', ')
    throw new OperatorError('PH3001', `no declared Registry is at ${first}; there is ${hosts || 'none'}`)
  }
  const covered = found.filter((one) => one.policies.length > 0)
  const [only, ...others] = covered.length > 0 ? covered : found
  if (only === undefined) throw new OperatorError('PH3001', 'no Registry is declared')
  if (others.length > 0) {
    const names = [only, ...others].map(({ registry }) => registry.name).join(', ')
    throw new OperatorError('PH3017', `${reference.name} may be in the registries ${names}`, {
      help: 'Write the host of the registry before the repository.',
    })
  }
  return only
}

/** By the name filters, where a reference without a tag is covered under any, or because the policy names it. */
function covers(
  { registry, project, filters, artifacts }: PreheatPolicy,
  { name }: Registry,
  repository: string,
  { tag, digest }: Reference,
): boolean {
  const prefix = project === undefined ? '' : `${project}/`
  if (registry !== name || !repository.startsWith(prefix)) return false
  const named = artifacts.filter((one) => one.name === repository.slice(prefix.length))
  const isMeant = ({ reference }: NamedArtifact) =>
    'tag' in reference
      ? tag === undefined || reference.tag === tag
      : digest === undefined || reference.digest === digest
  if (named.some(isMeant)) return true
  const anyTag = { ...filters, tags: ['**'], exclude: { ...filters.exclude, tags: [] } }
  return nameFilter(tag === undefined ? anyTag : filters)(repository.slice(prefix.length), tag ?? 'latest')
}

/** Who is asked about an image. */
export interface Asked {
  readonly providers: readonly Provider[]
  /** How they are reached, by the policies that do. */
  readonly routes: readonly { readonly policy: PreheatPolicy; readonly targets: readonly Target[] }[]
}

/**
 * Which providers have to have it.
 * @param named only this one; undefined: those of the enabled policies that cover the image
 * @throws {OperatorError} PH3002 for a provider that is not declared
 */
export function askedOf(
  { registry, repository, policies }: Place,
  named: string | undefined,
  objects: readonly Located[],
): Asked {
  const providers = ofKind(objects, 'Provider').map(({ resource }) => resource)
  if (named !== undefined && !providers.some(({ name }) => name === named))
    throw new OperatorError('PH3002', `no provider is called ${named}`)
  const routes = policies.flatMap((policy) => {
    const targets = targetsOf(policy, providers)
    return targets.ok ? [{ policy, targets: targets.targets }] : []
  })
  const enabled = routes.filter(({ policy }) => policy.enabled).flatMap(({ targets }) => targets)
  const wanted =
    named === undefined
      ? new Set(enabled.filter(({ provider }) => provider.enabled).map(({ provider }) => provider.name))
      : new Set([named])
  const isReached = (name: string) =>
    routes.some(({ targets }) => targets.some(({ provider }) => provider.name === name))
  if (wanted.size > 0 && [...wanted].every(isReached))
    return { providers: providers.filter(({ name }) => wanted.has(name)), routes }
  const policy = anyPolicy(registry, repository, named)
  const targets = targetsOf(policy, providers)
  if (!targets.ok) throw new OperatorError(targets.code, targets.message)
  return {
    providers: targets.targets.map(({ provider }) => provider),
    routes: [...routes, { policy, targets: targets.targets }],
  }
}

/** Where no policy speaks of it: the image as a whole, as the provider would have it. */
export function anyPolicy(registry: Registry, repository: string, provider: string | undefined): PreheatPolicy {
  const document: PreheatPolicyDocument = {
    apiVersion: 'preheatd.io/v1alpha1',
    kind: 'PreheatPolicy',
    metadata: { name: 'warm' },
    spec: {
      ...(repository.includes('/') && { project: repository.split('/')[0]! }),
      providers: provider === undefined ? [] : [{ name: provider }],
      filters: { repositories: ['**'], tags: ['**'] },
      criteria: { signature: { mode: 'ignored' }, vulnerability: { mode: 'ignored' } },
      refresh: { mode: 'always' },
    },
  }
  return toPolicy(document, registry, new Map())
}
