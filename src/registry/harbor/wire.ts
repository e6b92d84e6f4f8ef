import { checkedRepository, checkedTag } from '../distribution.ts'
import { EdgeError, excerpt } from '../../model/errors.ts'
import { field } from '../http.ts'
import { parseDigest, type ArtifactType, type Digest } from '../../model/artifact.ts'
import { REPORT_TYPES } from './api.ts'
import type { Allowlist, Scan, Vulnerability } from '../../model/vulnerability.ts'
import type { Candidate } from '../../model/candidate.ts'
import type { Detail, ProjectRules } from '../registry.ts'
import type { Instant } from '../../model/duration.ts'
import type { SignatureKind } from '../../model/signature.ts'

const TYPES: Readonly<Record<string, ArtifactType>> = {
  IMAGE: 'image',
  CNAI: 'cnai',
  CHART: 'chart',
  WASM: 'wasm',
  CNAB: 'cnab',
}

const SIGNATURES: Readonly<Record<string, SignatureKind>> = {
  'signature.cosign': 'cosign',
  'signature.notation': 'notation',
}

/** Where something was read, for the errors about it. */
export interface Reading {
  /** `registry harbor` */
  readonly who: string
  readonly project: string
}

/**
 * An artifact of a listing.
 * @param details what the listing was asked for
 * @throws {EdgeError} PH6005
 */
export function candidateOf(item: unknown, { who, project }: Reading, details: readonly Detail[]): Candidate {
  const name = nameOf(field(item, 'repository_name'), { who, project })
  return {
    repository: `${project}/${name}`,
    name,
    digest: digestIn(item, 'digest', who),
    tags: namesIn(field(item, 'tags'), who).map((tag) => checkedTag(tag, who)),
    labels: namesIn(field(item, 'labels'), who),
    type: TYPES[String(field(item, 'type'))] ?? 'other',
    pushedAt: pushedAt(item, who),
    children: listIn(field(item, 'references'), who).map((child) => digestIn(child, 'child_digest', who)),
    signatures: details.includes('signatures') ? signatureKindsIn(item, who) : undefined,
    scan: details.includes('scan') ? scanOf(item) : undefined,
  }
}

/** A repository without its project's own name. @throws {EdgeError} PH6005 */
export function nameOf(repository: unknown, { who, project }: Reading): string {
  const prefix = `${project}/`
  if (typeof repository !== 'string' || !repository.startsWith(prefix))
    throw puzzling(who, `lists a repository without its project ${project}`)
  return checkedRepository(repository.slice(prefix.length), who)
}

/** @throws {EdgeError} PH6005 */
export function idOf(item: unknown, who: string): number {
  const id = field(item, 'id')
  if (Number.isSafeInteger(id)) return id as number
  throw puzzling(who, 'lists something without an id')
}

/** @throws {EdgeError} PH6005 */
export function digestIn(item: unknown, name: string, who: string): Digest {
  try {
    return parseDigest(String(field(item, name)))
  } catch {
    throw puzzling(who, 'lists an artifact without a sha256 digest')
  }
}

/** `null` and nothing at all are both what an empty list looks like. @throws {EdgeError} PH6005 */
export function listIn(list: unknown, who: string): readonly unknown[] {
  if (list === undefined || list === null) return []
  if (Array.isArray(list)) return list
  throw puzzling(who, 'lists an artifact with something that is no list')
}

/**
 * Which signatures stand beside an artifact, by its accessories. A database that fails Harbor meanwhile looks like
 * none (`populateAccessories`): an artifact is left out then, never let in.
 * @returns undefined for a Harbor before 2.5, which knows no accessories
 * @throws {EdgeError} PH6005
 */
export function signatureKindsIn(item: unknown, who: string): SignatureKind[] | undefined {
  const accessories = field(item, 'accessories')
  if (accessories === undefined) return undefined
  const kinds = listIn(accessories, who).map((one) => SIGNATURES[String(field(one, 'type'))])
  return [...new Set(kinds.filter((kind) => kind !== undefined))].sort()
}

/**
 * What a scan came to. Harbor has merged what it says of an index from the scans of its manifests, running and stopped
 * ones before successful ones (contracts/harbor.md §2.8; `NativeReportSummary.Merge`).
 */
function scanOf(item: unknown): Scan {
  const unscanned = (reason: string): Scan => ({ state: 'unscanned', reason })
  // Only what is of type IMAGE is ever scanned (contracts/harbor.md §2.8).
  if (field(item, 'type') === 'CNAI') return unscanned('not scannable')
  const overviews = field(item, 'scan_overview')
  const report = REPORT_TYPES.map((type) => field(overviews, type)).find((one) => typeof one === 'object' && one)
  // Harbor links to the report of what its scanner takes, scanned or not (`ScanReportAssembler`).
  const isScannable = field(field(item, 'addition_links'), 'vulnerabilities') !== undefined
  if (report === undefined) return unscanned(isScannable ? 'never scanned' : 'not scannable')
  const status = field(report, 'scan_status')
  if (status !== 'Success') return unscanned(`scan ${typeof status === 'string' ? excerpt(status, 40) : 'unfinished'}`)
  const severity = field(report, 'severity')
  return typeof severity === 'string' && severity !== ''
    ? { state: 'scanned', severity: excerpt(severity, 40) }
    : unscanned('scan without a severity')
}

/** What is said of a whole project. */
export interface ProjectDemands extends Omit<ProjectRules, 'allowlist'> {
  /** The project's own, where it is in effect; undefined: the system's is. */
  readonly ownAllowlist: Allowlist | undefined
}

/** @throws {EdgeError} PH6005 */
export function demandsOf(project: unknown, who: string): ProjectDemands {
  const metadata = field(project, 'metadata')
  const demands = (name: string) => isTrue(field(metadata, name))
  const severity = field(metadata, 'severity')
  const reuses = field(metadata, 'reuse_sys_cve_allowlist')
  return {
    signatures: [
      ...(demands('enable_content_trust_cosign') ? ['cosign' as const] : []),
      ...(demands('enable_content_trust') ? ['notation' as const] : []),
    ],
    // With none, Harbor's gate lets nothing pass that has a vulnerability, and we nothing at all.
    severity: demands('prevent_vul') ? (typeof severity === 'string' ? severity : '') : undefined,
    isProxyCache: Number(field(project, 'registry_id')) > 0,
    ownAllowlist:
      reuses === undefined || isTrue(reuses) ? undefined : allowlistOf(field(project, 'cve_allowlist'), who),
  }
}

/** @throws {EdgeError} PH6005 */
export function allowlistOf(allowlist: unknown, who: string): Allowlist {
  const ids = listIn(field(allowlist, 'items'), who).map((item) => field(item, 'cve_id'))
  const expiresAt = field(allowlist, 'expires_at')
  return {
    ids: ids.map((id) => {
      if (typeof id === 'string') return id
      throw puzzling(who, 'has a CVE allowlist with an entry that is no CVE')
    }),
    // Seconds since 1970; only nothing is never (`CVEAllowlist.IsExpired`).
    expiresAt: typeof expiresAt === 'number' ? expiresAt * 1000 : undefined,
  }
}

/**
 * The vulnerabilities of a report of either kind.
 * @returns undefined when there is no report
 * @throws {EdgeError} PH6005
 */
export function vulnerabilitiesOf(answer: unknown, who: string): Vulnerability[] | undefined {
  const report = REPORT_TYPES.map((type) => field(answer, type)).find((one) => typeof one === 'object' && one)
  if (report === undefined) return undefined
  const listed = field(report, 'vulnerabilities')
  // A report that lists nothing must not pass for one without vulnerabilities.
  if (listed === undefined) throw puzzling(who, 'has a report without a list of vulnerabilities')
  return listIn(listed, who).map((one) => {
    const id = field(one, 'id')
    const severity = field(one, 'severity')
    if (typeof id !== 'string') throw puzzling(who, 'reports a vulnerability without an id')
    return { id, severity: typeof severity === 'string' ? excerpt(severity, 40) : '' }
  })
}

/** An answer that no Harbor gives. */
export function puzzling(who: string, what: string): EdgeError {
  return new EdgeError('unintelligible', 'PH6005', `${who} ${what}: is it a Harbor?`)
}

/** Metadata are strings, and these two mean true (`isTrue` in src/pkg/project/models/project.go). */
function isTrue(value: unknown): boolean {
  return typeof value === 'string' && ['true', '1'].includes(value.toLowerCase())
}

function namesIn(list: unknown, who: string): string[] {
  return listIn(list, who).map((one) => {
    const name = field(one, 'name')
    if (typeof name === 'string') return name
    throw puzzling(who, 'lists a tag or label without a name')
  })
}

/** The artifact's own push, or that of its youngest tag. */
function pushedAt(item: unknown, who: string): Instant | undefined {
  const times = [item, ...listIn(field(item, 'tags'), who)].map((one) => Date.parse(String(field(one, 'push_time'))))
  // The year 1 is Go's word for never.
  const known = times.filter((time) => time > 0)
  return known.length === 0 ? undefined : Math.max(...known)
}
