import { isExposed, isLoopback, isRefusedHost } from '../model/address.ts'
import { patternError } from '../model/doublestar.ts'
import { parseDuration } from '../model/duration.ts'
import { gitUrl, sshTrouble } from '../model/git-remote.ts'
import { byPlace, type Problem } from '../model/problem.ts'
import { isVersionRange } from '../model/source-ref.ts'
import type { DaemonConfigDocument } from './documents.ts'
import { dotted, errorAt, errorAtKey, toProblem, type Finding } from './finding.ts'
import { parse, type Path } from './parse.ts'
import { checkSchema } from './schema.ts'

export type ReadDaemonConfig =
  | { readonly ok: true; readonly document: DaemonConfigDocument }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** A value from outside the file that stands in for what the file says at a path. */
export interface Override {
  readonly path: Path
  readonly value: string | number
  /** How problems call where it came from. */
  readonly origin: string
}

/**
 * `preheatd.yaml` as its schema describes it, through the same guard as any other file.
 * @param file how problems call it
 */
export function readDaemonConfig(
  file: string,
  bytes: Uint8Array,
  overrides: readonly Override[] = [],
): ReadDaemonConfig {
  const parsed = parse(bytes)
  if (!parsed.ok)
    return { ok: false, problems: parsed.refusals.map((refusal): Problem => ({ severity: 'error', file, ...refusal })) }
  const [document, second] = parsed.documents
  if (document === undefined || second !== undefined) {
    const message = document === undefined ? 'the file is empty' : 'the file holds more than one document'
    return {
      ok: false,
      problems: [{ severity: 'error', code: 'PH8001', file, line: second?.line ?? 1, column: 1, message }],
    }
  }
  const value = overrides.reduce<unknown>((sum, one) => withValue(sum, one.path, one.value), document.value)
  const checked = checkSchema('DaemonConfig', value)
  const findings = checked.ok ? meaning(checked.document) : checked.findings
  if (checked.ok && findings.length === 0) return { ok: true, document: checked.document }
  return {
    ok: false,
    problems: findings.map((one) => toProblem(traced(one, overrides), document, file, undefined)).sort(byPlace),
  }
}

/** A copy with the value at the path. What is no mapping on the way stays as it is, for the schema to refuse. */
function withValue(target: unknown, path: Path, value: unknown): unknown {
  const [step, ...rest] = path
  if (step === undefined) return value
  const fields = target ?? {}
  if (typeof fields !== 'object' || Array.isArray(fields)) return target
  return { ...fields, [step]: withValue((fields as Record<string, unknown>)[step], rest, value) }
}

/** The finding with where its value came from, when that is not the file that it points into. */
function traced(finding: Finding, overrides: readonly Override[]): Finding {
  const at = dotted(finding.path)
  const origin = overrides.find(({ path }) => dotted(path) === at)
  return origin === undefined ? finding : { ...finding, message: `${finding.message} (from ${origin.origin})` }
}

function meaning({ source, reports, secrets, notifications }: DaemonConfigDocument): Finding[] {
  const path = ['source', 'interval']
  const tooShort = source.interval !== undefined && parseDuration(source.interval) < 1000
  const bound = new Set(Object.keys(secrets?.bindings ?? {}))
  return [
    ...(tooShort ? [errorAt(path, 'PH2003', 'source.interval must be at least 1s')] : []),
    ...remote(['source', 'url'], source.url),
    ...remote(['reports', 'url'], reports?.url),
    ...sshKey(['source', 'auth', 'type'], source.url, source.auth?.type),
    ...(reports?.url === undefined && reports?.auth === undefined
      ? []
      : sshKey(['reports', 'auth', 'type'], reports.url ?? source.url, (reports.auth ?? source.auth)?.type)),
    ...branch(['source', 'ref', 'branch'], source.ref?.branch),
    ...branch(['source', 'ref', 'tag'], source.ref?.tag),
    ...range(source.ref?.semver),
    ...signers(source),
    ...branch(['reports', 'branch'], reports?.branch),
    ...binding(['source', 'auth', 'secretRef', 'name'], source.auth?.secretRef?.name, bound),
    ...binding(['reports', 'auth', 'secretRef', 'name'], reports?.auth?.secretRef?.name, bound),
    ...ownBranch(source, reports),
    ...receivers(notifications ?? [], source, bound),
    ...(source.dir !== undefined && reports?.url === undefined ? remoteOnly(reports) : []),
  ]
}

function remote(path: readonly string[], url: string | undefined): Finding[] {
  if (url === undefined) return []
  const name = path.join('.')
  const parsed = gitUrl(url)
  if (parsed === undefined) return [errorAt(path, 'PH2003', `${name} is no URL`)]
  const { protocol, hostname } = parsed
  if (hostname.startsWith('-')) return [errorAt(path, 'PH2003', `${name}: no host begins with a dash`)]
  if (isRefusedHost(parsed)) return [errorAt(path, 'PH3013', `${name}: ${hostname} is never contacted`)]
  const trouble = protocol === 'ssh:' ? sshTrouble(parsed) : undefined
  if (trouble !== undefined) return [errorAt(path, 'PH2003', `${name}: ${trouble}`)]
  if (protocol !== 'http:' || isLoopback(parsed)) return []
  return [errorAt(path, 'PH2003', `${name}: plain http goes to this machine only; use https`)]
}

/** ssh has a key and nothing else has one. */
function sshKey(path: readonly string[], address: string | undefined, type: string | undefined): Finding[] {
  const url = address === undefined ? undefined : gitUrl(address)
  if (url === undefined || (url.protocol === 'ssh:') === (type === 'ssh')) return []
  const name = path.join('.')
  return type === 'ssh'
    ? [errorAt(path, 'PH2003', `${name}: ssh is for ssh addresses`)]
    : [errorAtKey(path, 'PH2003', `${name} must be ssh for an ssh address`)]
}

function range(semver: string | undefined): Finding[] {
  if (semver === undefined || isVersionRange(semver)) return []
  return [
    errorAt(['source', 'ref', 'semver'], 'PH2003', `source.ref.semver is no range of versions such as >=1.4.0 <2.0.0`),
  ]
}

/** A folder has neither commits nor tags. */
function signers({ dir, verify }: DaemonConfigDocument['source']): Finding[] {
  if (dir === undefined || verify?.mode !== 'head') return []
  return [errorAt(['source', 'verify', 'mode'], 'PH2003', 'source.verify.mode: nobody signs a folder (source.dir)')]
}

/** What the pattern of the schema leaves over of `git check-ref-format`. */
function branch(path: readonly string[], name: string | undefined): Finding[] {
  if (name?.split('/').some((part) => part.endsWith('.lock')) !== true) return []
  return [errorAt(path, 'PH2003', `${path.join('.')}: git takes no name that ends in .lock`)]
}

function binding(path: readonly string[], secret: string | undefined, bound: ReadonlySet<string>): Finding[] {
  if (secret === undefined || bound.has(secret)) return []
  return [errorAt(path, 'PH7002', `secret ${secret} is not bound to any host`, `Add it to secrets.bindings.`)]
}

/** Reports beside the configuration would be read as configuration, and each of them would be a change of it. */
function ownBranch(source: DaemonConfigDocument['source'], reports: DaemonConfigDocument['reports']): Finding[] {
  const isShared =
    source.url !== undefined &&
    source.ref?.tag === undefined &&
    source.ref?.semver === undefined &&
    source.ref?.commit === undefined &&
    (reports?.url ?? source.url) === source.url &&
    (reports?.branch ?? 'preheat-reports') === (source.ref?.branch ?? 'main')
  if (!isShared) return []
  const path = reports?.branch === undefined ? ['source', 'ref', 'branch'] : ['reports', 'branch']
  return [errorAt(path, 'PH2003', 'reports.branch must be another branch than source.ref.branch')]
}

/** Fields that say how to push, where nothing is pushed. */
function remoteOnly(reports: DaemonConfigDocument['reports']): Finding[] {
  const why = 'with source.dir reports go to state.dir/reports, unless reports.url names a remote'
  return (['auth', 'branch', 'author'] as const)
    .filter((field) => reports?.[field] !== undefined)
    .map((field) => errorAtKey(['reports', field], 'PH2003', `reports.${field} has no effect: ${why}`))
}

type Receiver = NonNullable<DaemonConfigDocument['notifications']>[number]

function receivers(
  notifications: readonly Receiver[],
  source: DaemonConfigDocument['source'],
  bound: ReadonlySet<string>,
): Finding[] {
  return notifications.flatMap((one, index) => {
    const path = ['notifications', `${index}`]
    const isSecond = notifications.findIndex(({ name }) => name === one.name) < index
    return [
      ...(isSecond ? [errorAt([...path, 'name'], 'PH3004', `notification ${one.name} is declared twice`)] : []),
      ...binding([...path, 'secretRef', 'name'], one.secretRef.name, bound),
      ...receiverUrl([...path, 'url'], one),
      ...forge(path, one, source),
      ...(one.policies ?? []).flatMap((pattern, at) => {
        const why = patternError(pattern)
        return why === undefined ? [] : [errorAt([...path, 'policies', `${at}`], 'PH3011', `malformed pattern: ${why}`)]
      }),
    ]
  })
}

/** The secret of a webhook signs and stays here; every other one goes along. */
function receiverUrl(path: readonly string[], { type, url }: Receiver): Finding[] {
  const name = dotted(path)
  if (url === undefined) return []
  if (!URL.canParse(url)) return [errorAt(path, 'PH2003', `${name} is no URL`)]
  const parsed = new URL(url)
  if (isRefusedHost(parsed)) return [errorAt(path, 'PH3013', `${name}: ${parsed.hostname} is never contacted`)]
  if (type === 'webhook' || !isExposed(parsed)) return []
  return [errorAt(path, 'PH2003', `${name}: plain http goes to this machine only; use https`)]
}

function forge(path: readonly string[], { type, url }: Receiver, source: DaemonConfigDocument['source']): Finding[] {
  if (type === 'webhook' || type === 'slack' || (url !== undefined && !URL.canParse(url))) return []
  if (source.url !== undefined && gitUrl(source.url) === undefined) return []
  const place = source.url === undefined ? undefined : forgePlace(source.url, url)
  const depth = place?.repository.split('/').length ?? 0
  if (depth === 2 || (type === 'gitlab' && depth > 2)) return []
  const wanted = type === 'gitlab' ? 'group/project' : 'owner/repository'
  return [errorAt([...path, 'type'], 'PH2003', `a status on ${type} needs a source.url of a forge, with ${wanted}`)]
}

/** A repository on a forge. */
export interface ForgePlace {
  /** The forge's web address, without a slash at its end. */
  readonly root: string
  /** `platform/preheat`, decoded. */
  readonly repository: string
}

/**
 * Where the repository of the source is on its forge; undefined for one that is on none.
 * @param root the forge's web address, where it is not the host of the source
 */
export function forgePlace(source: string, root: string | undefined): ForgePlace | undefined {
  const url = gitUrl(source)
  if (url === undefined || !['http:', 'https:', 'ssh:'].includes(url.protocol)) return undefined
  const { protocol, origin, hostname, pathname } = url
  const web = root ?? (protocol === 'ssh:' ? `https://${hostname}` : origin)
  const base = trimmed(new URL(web).pathname)
  const path = trimmed(pathname).replace(/\.git$/, '')
  const inside = base !== '' && path.startsWith(`${base}/`) ? path.slice(base.length + 1) : path
  try {
    return { root: web.replace(/\/+$/, ''), repository: decodeURIComponent(inside) }
  } catch {
    return undefined
  }
}

function trimmed(path: string): string {
  return path.replace(/^\/+|\/+$/g, '')
}
