import { isExposed, isRefusedHost } from '../model/address.ts'
import { patternError } from '../model/doublestar.ts'
import { policiesCalled } from '../model/find-policy.ts'
import type { PreheatPolicy, ProviderRef } from '../model/policy.ts'
import type { Vendor } from '../model/provider.ts'
import type { Registry } from '../model/registry.ts'
import { resourceKey } from '../model/resource.ts'
import { isArtifactRun } from '../model/run.ts'
import { checkCron } from '../model/schedule.ts'
import { isOpenTo, targetsOf } from '../model/targets.ts'
import { checkArtifactName } from './artifact-name.ts'
import type { Declared, Identified, State } from './declared.ts'
import { dotted, errorAt, errorAtKey, warningAt, type Finding } from './finding.ts'
import { nearest } from './nearest.ts'
import type { Path } from './parse.ts'

/** A finding and the object that it is about. */
export interface Complaint {
  readonly on: Identified
  readonly finding: Finding
}

/** What a JSON Schema cannot say. Each rule sees the whole state and reports every offender. */
type Rule = (state: State) => Complaint[]

const identitiesAreUnique: Rule = (state) => {
  const byKey = new Map<string, Identified[]>()
  for (const one of identified(state)) {
    // Reports are files, and not every file system tells `Base` from `base`.
    const folded = one.key.toLowerCase()
    byKey.set(folded, [...(byKey.get(folded) ?? []), one])
  }
  return [...byKey.values()].flatMap((same) =>
    same.length < 2
      ? []
      : same.map((one) =>
          complain(
            one,
            duplicate(
              one,
              same.find((other) => other !== one)!,
            ),
          ),
        ),
  )
}

function duplicate(one: Identified, other: Identified): Finding {
  const place = `${other.file}:${other.document.line}`
  const message =
    one.key === other.key
      ? `${one.key} is declared in ${place} too`
      : `${one.key} differs from ${other.key} in ${place} only by case`
  return errorAt(['metadata', 'name'], 'PH3004', message)
}

const oneProviderIsDefault: Rule = ({ providers }) => {
  const defaults = providers.filter(({ resource }) => resource.isDefault)
  return defaults.length < 2
    ? []
    : defaults.map((one) => {
        const others = defaults.filter((other) => other !== one).map(({ name, file }) => `${name} (${file})`)
        return complain(one, errorAt(['spec', 'default'], 'PH3005', `so is ${others.join(', ')}`))
      })
}

const registriesExist: Rule = (state) => {
  const known = names(state, 'Registry')
  return wishes(state).flatMap(({ on, policy: { registry } }) => {
    if (known.has(registry)) return []
    const message = `no registry is called ${registry}`
    return [complain(on, unknown(state, ['spec', 'registry'], 'PH3001', message, nearest(registry, known)))]
  })
}

const providersExist: Rule = (state) => {
  const known = names(state, 'Provider')
  return eachProviderRef(state, ({ name }, path) => {
    if (known.has(name)) return []
    return [unknown(state, [...path, 'name'], 'PH3002', `no provider is called ${name}`, nearest(name, known))]
  })
}

const policiesGoSomewhere: Rule = (state) => {
  if (state.hasUnreadable || state.broken.some(({ kind }) => kind === 'Provider')) return []
  // One that is declared twice is said to be where it stands, and is still one.
  const providers = [...new Map(state.providers.map(({ resource }) => [resource.name, resource])).values()]
  return wishes(state).flatMap(({ on, policy }) => {
    if (policy.providers.length > 0) return []
    const targets = targetsOf(policy, providers)
    if (targets.ok) return []
    if (policy.providerSelector !== undefined)
      return [complain(on, warningAt(['spec', 'providerSelector'], targets.code, targets.message))]
    // Which of two defaults is meant is said where they stand.
    if (providers.filter(({ isDefault }) => isDefault).length > 1) return []
    return [complain(on, errorAtKey(['spec'], targets.code, targets.message))]
  })
}

const namedProvidersAreOpen: Rule = (state) =>
  eachProviderRef(state, ({ name }, path, policy) => {
    const provider = state.providers.find((one) => one.name === name)
    if (provider === undefined || isOpenTo(provider.resource, policy)) return []
    const place = `${provider.file}:${provider.document.placeOf(['spec', 'projects']).line}`
    const message = `provider ${name} is not open to ${policy.registry}/${policy.project ?? ''} (${place})`
    return [errorAt([...path, 'name'], 'PH3008', message)]
  })

const namedProvidersAreEnabled: Rule = (state) =>
  eachProviderRef(state, ({ name }, path) => {
    const provider = state.providers.find((one) => one.name === name)
    if (provider === undefined || provider.resource.enabled) return []
    return [warningAt([...path, 'name'], 'PH3015', `provider ${name} is disabled in ${provider.file}`)]
  })

const vendorsCanDoIt: Rule = (state) => {
  const vendors = vendorsIn(state)
  return eachProviderRef(state, (ref, path) => {
    const vendor = vendors.get(ref.name)
    if (vendor === undefined || !WITHOUT_REACH.has(vendor)) return []
    return (['scope', 'clusters'] as const)
      .filter((field) => ref[field] !== undefined)
      .map((field) =>
        errorAtKey([...path, field], 'PH3007', `${ref.name} is of vendor ${vendor}, which has no ${field}`),
      )
  })
}

/** Vendors that cannot be told how far a preheat reaches, nor in which cluster. */
const WITHOUT_REACH = new Set(['dragonfly-v1', 'kraken', 'pull-through'])

/** What the others read of `spec.dragonfly`. */
const PACE: Readonly<Record<Exclude<Vendor, 'dragonfly'>, readonly string[]>> = {
  'dragonfly-v1': ['timeout', 'pollSchedule'],
  kraken: ['timeout', 'pollSchedule'],
  'pull-through': ['timeout'],
}

/** Settings of one vendor at a provider of another would be read by nobody. */
const settingsFitTheVendor: Rule = ({ providers }) =>
  providers.flatMap((one) => {
    const { vendor, kraken, dragonfly } = one.resource
    const { spec } = one.written
    const findings: Finding[] = []
    const unread = (path: string[]) =>
      findings.push(errorAtKey(path, 'PH3007', `the vendor ${vendor} has no ${path.slice(1).join('.')}`))
    if (spec.kraken !== undefined && vendor !== 'kraken') unread(['spec', 'kraken'])
    for (const field of Object.keys(spec.dragonfly ?? {})) {
      const isRead = vendor === 'dragonfly' || PACE[vendor].includes(field)
      if (!isRead) unread(['spec', 'dragonfly', field])
    }
    if (kraken?.mode === 'origins' && kraken.origins.length === 0) {
      findings.push(errorAt(['spec', 'kraken', 'mode'], 'PH2003', 'mode origins needs spec.kraken.origins'))
    }
    if (spec.dragonfly?.peers !== undefined && dragonfly.scope === 'single_seed_peer') {
      findings.push(errorAtKey(['spec', 'dragonfly', 'peers'], 'PH3007', 'the scope single_seed_peer chooses no peers'))
    }
    return findings.map((finding) => complain(one, finding))
  })

/** By name of the provider, broken ones included. */
function vendorsIn({ providers, broken }: State): ReadonlyMap<string, string | undefined> {
  const all = [...providers, ...broken.filter(({ kind }) => kind === 'Provider')]
  return new Map(all.map((one) => [one.name, vendorOf(one)]))
}

function vendorOf({ document }: Identified): string | undefined {
  const { spec } = document.value
  const vendor = typeof spec === 'object' && spec !== null && 'vendor' in spec ? spec.vendor : undefined
  return typeof vendor === 'string' ? vendor : undefined
}

const schedulesFire: Rule = ({ policies }) => {
  // Thousands of policies share a handful of schedules, and looking for the first slot of one takes a millisecond.
  const known = new Map<string, Finding | undefined>()
  return policies.flatMap((policy) => {
    const { trigger } = policy.resource
    if (trigger.type !== 'scheduled') return []
    const { cron, timeZone } = trigger.schedule
    const key = `${timeZone}\n${cron}`
    if (!known.has(key)) known.set(key, scheduleFinding(cron, timeZone))
    const finding = known.get(key)
    return finding === undefined ? [] : [complain(policy, finding)]
  })
}

function scheduleFinding(cron: string, timeZone: string): Finding | undefined {
  const reason = checkCron(cron, timeZone)
  if (reason === undefined) return undefined
  const isZone = timeZone !== 'UTC' && checkCron(cron, 'UTC') === undefined
  return errorAt(['spec', 'trigger', 'schedule', isZone ? 'timeZone' : 'cron'], 'PH3006', reason)
}

const patternsAreWellFormed: Rule = ({ policies, providers }) => [
  ...policies.flatMap((policy) => {
    const { repositories, tags, exclude } = policy.resource.filters
    return [
      ...malformed(policy, ['spec', 'filters', 'repositories'], repositories),
      ...malformed(policy, ['spec', 'filters', 'tags'], tags),
      ...malformed(policy, ['spec', 'filters', 'exclude', 'repositories'], exclude.repositories),
      ...malformed(policy, ['spec', 'filters', 'exclude', 'tags'], exclude.tags),
    ]
  }),
  ...providers.flatMap((provider) => malformed(provider, ['spec', 'projects'], provider.resource.projects)),
]

function malformed(on: Identified, path: Path, patterns: readonly string[]): Complaint[] {
  return patterns.flatMap((pattern, index) => {
    const reason = patternError(pattern)
    return reason === undefined ? [] : [complain(on, errorAt([...path, index], 'PH3011', reason))]
  })
}

/** A file is a URL and no artifact, and Dragonfly alone takes one. */
const filesGoToDragonfly: Rule = (state) => {
  const vendors = vendorsIn(state)
  const providers = state.providers.map(({ resource }) => resource)
  return state.policies.flatMap((policy) => {
    if (policy.resource.files.length === 0) return []
    const targets = targetsOf(policy.resource, providers)
    const reached = targets.ok ? targets.targets.map(({ provider }) => provider.name) : []
    const named = policy.resource.providers.map(({ name }) => name)
    const unable = [...new Set([...named, ...reached])].filter((name) => !takesFiles(vendors.get(name)))
    return unable.map((name) => {
      const message = `${name} is of vendor ${vendors.get(name)!}, which preheats no files`
      return complain(policy, errorAtKey(['spec', 'files'], 'PH3007', message))
    })
  })
}

function takesFiles(vendor: string | undefined): boolean {
  return vendor === undefined || vendor === 'dragonfly'
}

const filesAreAddresses: Rule = ({ policies }) =>
  policies.flatMap((policy) =>
    policy.resource.files.flatMap((url, index) => {
      const path = ['spec', 'files', index]
      if (!URL.canParse(url)) return [complain(policy, errorAt(path, 'PH2003', `${dotted(path)} is no URL`))]
      const { hostname } = new URL(url)
      return isRefusedHost(new URL(url))
        ? [complain(policy, errorAt(path, 'PH3013', `${hostname} is never contacted`))]
        : []
    }),
  )

const artifactsAreNamed: Rule = (state) =>
  wishes(state).flatMap(({ on, policy, artifacts }) => {
    const registry = state.registries.find(({ name }) => name === policy.registry)?.resource
    const hosts = [registry?.endpoint, registry?.engineEndpoint].flatMap((url) =>
      url !== undefined && URL.canParse(url) ? new URL(url).host : [],
    )
    return artifacts.flatMap((text, index) => {
      const found = checkArtifactName(text, policy.project, hosts)
      if (found === undefined) return []
      const path = ['spec', 'artifacts', index]
      const help = found.suggestion && `Write ${found.suggestion}.`
      const finding = errorAt(path, 'PH2003', `${dotted(path)} ${found.message}`, help)
      return [complain(on, { ...finding, severity: found.severity })]
    })
  })

const nothingIsListedTwice: Rule = (state) => [
  ...wishes(state).flatMap(({ on, artifacts }) =>
    repeated(['spec', 'artifacts'], artifacts).map((finding) => complain(on, finding)),
  ),
  ...state.policies.flatMap((policy) => {
    const { files, criteria } = policy.written.spec
    return [
      ...repeated(['spec', 'files'], files),
      ...repeated(['spec', 'criteria', 'signature', 'keys'], criteria?.signature?.keys),
    ].map((finding) => complain(policy, finding))
  }),
]

function repeated(path: Path, values: readonly string[] = []): Finding[] {
  const first = new Map<string, number>()
  return values.flatMap((value, index) => {
    const before = first.get(value)
    if (before === undefined) first.set(value, index)
    return before === undefined ? [] : [errorAt([...path, index], 'PH3004', `${dotted([...path, before])} is the same`)]
  })
}

const newestFitsTheRegistry: Rule = (state) => [
  ...eachPolicyOf(state, 'oci', ({ written, resource }) =>
    written.spec.filters.newest?.by === 'pushed'
      ? [errorAt(BY, 'PH2003', `registry ${resource.registry} tells no time of a push`, 'Write by: semver.')]
      : [],
  ),
  // The default is not guessed, so that a broken registry does not make another policy of this one.
  ...eachPolicyOf(state, undefined, ({ written, resource }) =>
    written.spec.filters.newest === undefined || written.spec.filters.newest.by !== undefined
      ? []
      : [
          errorAtKey(
            BY,
            'PH2002',
            `${dotted(BY)} is missing, and of what type registry ${resource.registry} is cannot be read`,
          ),
        ],
  ),
]

const BY = ['spec', 'filters', 'newest', 'by']

const verifiedBySomebody: Rule = ({ policies }) =>
  policies.flatMap((policy) => {
    const { mode, keys, identities } = policy.written.spec.criteria?.signature ?? {}
    if (mode !== 'verified' || keys !== undefined || identities !== undefined) return []
    const path = ['spec', 'criteria', 'signature', 'mode']
    return [complain(policy, errorAt(path, 'PH2003', 'mode verified needs keys or identities'))]
  })

const trustIsUsable: Rule = ({ policies, attachments }) =>
  policies.flatMap((policy) => {
    const { keys = [], trustedRoot } = policy.written.spec.criteria?.signature ?? {}
    const path = ['spec', 'criteria', 'signature']
    const named = keys.map((file, index) => ({ at: [...path, 'keys', index], file }))
    const all = trustedRoot === undefined ? named : [...named, { at: [...path, 'trustedRoot'], file: trustedRoot }]
    return all.flatMap(({ at, file }) => {
      const found = attachments.get(file)
      return found?.ok === false ? [complain(policy, errorAt(at, found.code, found.message))] : []
    })
  })

const labelsNeedHarbor: Rule = (state) =>
  eachPolicyOf(state, 'oci', ({ resource }) =>
    resource.filters.labels.length === 0
      ? []
      : [errorAtKey(['spec', 'filters', 'labels'], 'PH3010', `registry ${resource.registry} is of type oci`)],
  )

const criteriaFitTheRegistry: Rule = (state) => [
  ...eachPolicyOf(state, 'oci', (policy) =>
    criteriaOf(policy, 'inherit', 'has no project rules to inherit; write ignored'),
  ),
  ...eachPolicyOf(state, 'harbor', (policy) => criteriaOf(policy, 'ignored', 'decides by its projects; write inherit')),
  ...eachPolicyOf(state, 'oci', (policy) => criteriaOf(policy, 'below', 'has no scanner; write ignored')),
]

function criteriaOf({ written, resource }: Declared<'PreheatPolicy'>, wrong: string, why: string): Finding[] {
  return (['signature', 'vulnerability'] as const)
    .filter((criterion) => written.spec.criteria?.[criterion]?.mode === wrong)
    .map((criterion) => {
      const path = ['spec', 'criteria', criterion, 'mode']
      return errorAt(path, 'PH2003', `${dotted(path)} cannot be ${wrong}: registry ${resource.registry} ${why}`)
    })
}

const harborHasProjects: Rule = (state) =>
  wishes(state).flatMap(({ on, policy: { project, registry } }) => {
    if (state.types.get(registry) !== 'harbor') return []
    if (project === undefined)
      return [complain(on, errorAtKey(['spec'], 'PH3018', `registry ${registry} is of type harbor`))]
    if (!project.includes('/')) return []
    const message = 'spec.project: a Harbor project has no / in its name'
    return [complain(on, errorAt(['spec', 'project'], 'PH2003', message))]
  })

const foldersHoldTheirProject: Rule = (state) =>
  identified(state).flatMap((one) => {
    if (one.kind === 'PreheatPolicy' || one.kind === 'PreheatRun') return []
    const folder = projectFolder(one.file)
    if (folder === undefined) return []
    return [complain(one, errorAt(['kind'], 'PH3009', `${one.kind} is not accepted below projects/${folder}/`))]
  })

const projectsStandInTheirFolder: Rule = (state) =>
  wishes(state).flatMap(({ on, policy: { project, registry } }) => {
    const folder = projectFolder(on.file)
    if (folder === undefined || isInside(project, folder)) return []
    const isHarbor = state.registries.some(({ name, resource }) => name === registry && resource.type === 'harbor')
    if (project === undefined && isHarbor) return []
    const message = `below projects/${folder}/ spec.project must be ${folder}`
    return [complain(on, errorAt(['spec', 'project'], 'PH3009', message))]
  })

const runsHaveTheirPolicy: Rule = (state) => {
  const policies = [...state.policies.map(({ resource }) => resource), ...state.broken.flatMap(brokenPolicy)]
  return state.runs.flatMap((run) => {
    if (isArtifactRun(run.resource)) return []
    const path = ['spec', 'policy']
    const called = run.resource.policy
    const found = policiesCalled(called, policies)
    if (found.length === 0) {
      const known = policies.map(({ project, name }) => (project === undefined ? name : `${project}/${name}`))
      return [complain(run, unknown(state, path, 'PH3003', `no policy is called ${called}`, nearest(called, known)))]
    }
    const addresses = new Set(found.map(({ registry, project, name }) => [registry, project, name].join('/')))
    if (addresses.size > 1)
      return [complain(run, errorAt(path, 'PH3017', `${called} may be ${[...addresses].join(' or ')}`))]
    const folder = projectFolder(run.file)
    if (folder === undefined || isInside(found[0]!.project, folder)) return []
    return [complain(run, errorAt(path, 'PH3009', `below projects/${folder}/ only policies of ${folder} may be run`))]
  })
}

/** The reports of a run with artifacts of its own stand where those of a policy of its name would. */
const runsAreNotCalledLikePolicies: Rule = (state) => {
  const policies = identified(state).filter(({ kind }) => kind === 'PreheatPolicy')
  const taken = new Map(policies.map((one) => [one.key.toLowerCase(), one]))
  return state.runs.flatMap((run) => {
    const { resource } = run
    const policy = isArtifactRun(resource) ? taken.get(resourceKey(resource.ownPolicy).toLowerCase()) : undefined
    if (policy === undefined) return []
    const message = `the policy in ${policy.file}:${policy.document.line} has this name, and their reports would be mixed up`
    return [complain(run, errorAt(['metadata', 'name'], 'PH3004', message, 'Rename the run.'))]
  })
}

/** What names a policy that its schema refuses, from its key. */
function brokenPolicy({ kind, key }: Identified): { registry: string; project: string | undefined; name: string }[] {
  if (kind !== 'PreheatPolicy') return []
  const [, registry, ...address] = key.split('/')
  const name = address.pop()
  if (registry === undefined || name === undefined) return []
  return [{ registry, project: address.length === 0 ? undefined : address.join('/'), name }]
}

const runsExpire: Rule = ({ runs }) =>
  runs.flatMap((run) => {
    if (run.resource.expiresAt !== undefined) return []
    const finding = errorAtKey(['spec'], 'PH3016', 'spec.expiresAt is missing')
    return [complain(run, { ...finding, severity: 'warning' })]
  })

const endpointsAreAddresses: Rule = ({ registries, providers }) =>
  [...registries, ...providers].flatMap((one) =>
    endpointsOf(one).flatMap(({ path, url }) => {
      if (!URL.canParse(url)) return [complain(one, errorAt(path, 'PH2003', `${dotted(path)} is no URL`))]
      const { hostname } = new URL(url)
      return isRefusedHost(new URL(url))
        ? [complain(one, errorAt(path, 'PH3013', `${hostname} is never contacted`))]
        : []
    }),
  )

const credentialsAreEncrypted: Rule = ({ registries, providers }) =>
  [...registries, ...providers].flatMap((one) => {
    if (one.resource.allowPlainHttp) return []
    return endpointsOf(one)
      .filter(({ credential, url }) => credential && URL.canParse(url) && isExposed(new URL(url)))
      .map(({ path }) => complain(one, errorAt(path, 'PH3012', `a credential would go over plain http`)))
  })

interface Endpoint {
  readonly path: Path
  readonly url: string
  /** Whether requests to it carry one. */
  readonly credential: boolean
}

function endpointsOf({ resource, written }: Declared<'Registry'> | Declared<'Provider'>): Endpoint[] {
  const path = ['spec', 'endpoint']
  const credential = resource.auth.type !== 'none'
  if (resource.kind === 'Provider') return [{ path, url: resource.endpoint, credential }]
  const hasOwn = 'engineEndpoint' in written.spec
  const engines = !['auto', 'none'].includes(resource.engineAuth.type)
  const own = { path, url: resource.endpoint, credential: credential || (engines && !hasOwn) }
  return hasOwn ? [own, { path: ['spec', 'engineEndpoint'], url: resource.engineEndpoint, credential: engines }] : [own]
}

const pollSchedulesRise: Rule = ({ providers }) =>
  providers.flatMap((provider) => {
    const ages = provider.resource.dragonfly.pollScheduleMs
    const index = ages.findIndex((age, at) => at > 0 && age <= ages[at - 1]!)
    if (index === -1) return []
    const path = ['spec', 'dragonfly', 'pollSchedule', index]
    return [complain(provider, errorAt(path, 'PH2003', `${dotted(path)} must be later than the one before it`))]
  })

/** About the state as a whole, or about what there are few of. */
export const rulesOfAll: readonly Rule[] = [
  identitiesAreUnique,
  oneProviderIsDefault,
  settingsFitTheVendor,
  foldersHoldTheirProject,
  runsHaveTheirPolicy,
  runsAreNotCalledLikePolicies,
  runsExpire,
  endpointsAreAddresses,
  credentialsAreEncrypted,
  pollSchedulesRise,
]

/**
 * About one policy, or run, and what is around it: registries, providers and files. No such rule looks at another
 * policy, so that what it says holds on for as long as those stay the same.
 */
export const rulesOfOne: readonly Rule[] = [
  registriesExist,
  providersExist,
  policiesGoSomewhere,
  namedProvidersAreOpen,
  namedProvidersAreEnabled,
  vendorsCanDoIt,
  filesGoToDragonfly,
  filesAreAddresses,
  artifactsAreNamed,
  nothingIsListedTwice,
  newestFitsTheRegistry,
  verifiedBySomebody,
  trustIsUsable,
  schedulesFire,
  patternsAreWellFormed,
  labelsNeedHarbor,
  criteriaFitTheRegistry,
  harborHasProjects,
  projectsStandInTheirFolder,
]

/** `library` for `projects/library/release.yaml`; undefined for a file of the platform team. */
export function projectFolder(file: string): string | undefined {
  const [top, project, ...rest] = file.split('/')
  return top === 'projects' && rest.length > 0 ? project : undefined
}

/** Is a project the folder's, or, for the prefixes of an oci registry, below it? */
function isInside(project: string | undefined, folder: string): boolean {
  return project === folder || project?.startsWith(`${folder}/`) === true
}

function identified(state: State): Identified[] {
  return [...state.registries, ...state.providers, ...state.policies, ...state.runs, ...state.broken]
}

function names(state: State, kind: 'Registry' | 'Provider'): Set<string> {
  return new Set(identified(state).flatMap((one) => (one.kind === kind ? [one.name] : [])))
}

function complain(on: Identified, finding: Finding): Complaint {
  return { on, finding }
}

/** Something that is named and not there: only a warning while a file cannot be read that may hold it. */
function unknown(state: State, path: Path, code: Finding['code'], message: string, near: string | undefined): Finding {
  const finding = errorAt(path, code, message, near && `Did you mean ${near}?`)
  return state.hasUnreadable ? { ...finding, severity: 'warning' } : finding
}

/** A policy, or the own one of a run, which names registry, project, providers and artifacts in the same fields. */
interface Wish {
  readonly on: Identified
  readonly policy: PreheatPolicy
  /** As written. */
  readonly artifacts: readonly string[]
}

function wishes({ policies, runs }: State): Wish[] {
  return [
    ...policies.map((on) => ({ on, policy: on.resource, artifacts: on.written.spec.artifacts ?? [] })),
    ...runs.flatMap((on) =>
      isArtifactRun(on.resource)
        ? [{ on, policy: on.resource.ownPolicy, artifacts: on.written.spec.artifacts ?? [] }]
        : [],
    ),
  ]
}

function eachProviderRef(
  state: State,
  look: (ref: ProviderRef, path: Path, policy: PreheatPolicy) => Finding[],
): Complaint[] {
  return wishes(state).flatMap(({ on, policy }) =>
    policy.providers.flatMap((ref, index) =>
      look(ref, ['spec', 'providers', index], policy).map((finding) => complain(on, finding)),
    ),
  )
}

function eachPolicyOf(
  { policies, types }: State,
  type: Registry['type'] | undefined,
  look: (policy: Declared<'PreheatPolicy'>) => Finding[],
): Complaint[] {
  return policies.flatMap((policy) =>
    types.get(policy.resource.registry) === type ? look(policy).map((finding) => complain(policy, finding)) : [],
  )
}
