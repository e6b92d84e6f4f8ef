import type { Candidate } from '../model/candidate.ts'
import type { Instant } from '../model/duration.ts'
import type { Criteria } from '../model/policy.ts'
import type { SignatureKind, Trust } from '../model/signature.ts'
import type { Allowlist, Scan, Vulnerability } from '../model/vulnerability.ts'
import type { Detail, ProjectRules } from '../registry/registry.ts'
import type { Verdict } from './select.ts'

/** What an artifact has to show: what the project demands, and what the policy demands beyond it. */
export interface Demands {
  /** Kinds of signature of which one has to be there, each. */
  readonly kinds: readonly SignatureKind[]
  /** Some signature has to be there. */
  readonly signed: boolean
  /** A signature has to be by one of these. */
  readonly trust: Trust | undefined
  /** Strictest first; all of them hold. */
  readonly below: readonly SeverityLimit[]
  readonly allowlist: Allowlist
}

interface SeverityLimit {
  /** As whoever set it spells it. */
  readonly severity: string
  readonly setBy: 'the project' | 'the policy'
}

/** Of everything unknown, and of what was not scanned: never below anything (contracts/harbor.md §2.8). */
const WORST = 99

const SEVERITIES: Readonly<Record<string, number>> = {
  none: 0,
  unknown: 0,
  negligible: 1,
  low: 2,
  medium: 3,
  high: 4,
  critical: 5,
}

const SIGNATURE_FIELD = 'spec.criteria.signature'
const VULNERABILITY_FIELD = 'spec.criteria.vulnerability'

/** A policy tightens what the project demands and never loosens it. */
export function demandsOf(criteria: Criteria, rules: ProjectRules): Demands {
  const { signature, vulnerability } = criteria
  const below: SeverityLimit[] = []
  // Harbor's gate takes a limit that was never set for the strictest (src/server/middleware/vulnerable).
  if (rules.severity !== undefined) below.push({ severity: rules.severity || 'none', setBy: 'the project' })
  if (vulnerability.mode === 'below') below.push({ severity: vulnerability.severity, setBy: 'the policy' })
  return {
    kinds: rules.signatures,
    signed: signature.mode === 'required',
    trust: signature.mode === 'verified' ? signature.trust : undefined,
    below: below.sort((a, b) => severityCode(a.severity) - severityCode(b.severity)),
    allowlist: rules.allowlist,
  }
}

/** What a listing has to tell for these demands. */
export function detailsOf({ kinds, signed, below }: Demands): Detail[] {
  return [
    ...(below.length > 0 ? ['scan' as const] : []),
    ...(kinds.length > 0 || signed ? ['signatures' as const] : []),
  ]
}

/** Is the presence of signatures enough? Undefined: nothing is demanded. Presence says nothing of who signed. */
export function judgePresence({ kinds, signed }: Demands, present: readonly SignatureKind[]): Verdict | undefined {
  if (kinds.length === 0 && !signed) return undefined
  const missing = kinds.filter((kind) => !present.includes(kind))
  const verdict = (says: 'in' | 'out', message: string): Verdict => ({
    rule: 'signature',
    says,
    message,
    field: signed ? SIGNATURE_FIELD : undefined,
  })
  if (missing.length > 0)
    return verdict('out', `the project demands a signature by ${missing.join(' and by ')}, and there is none`)
  if (present.length === 0) return verdict('out', 'the policy demands a signature, and there is none')
  return verdict('in', `carries a signature by ${present.join(' and ')}, which nobody verified`)
}

/** What a verification came to, as a verdict. */
export function judgeVerified(
  verified: { readonly ok: true; readonly by: string } | { readonly ok: false; readonly reason: string },
): Verdict {
  return {
    rule: 'signature',
    says: verified.ok ? 'in' : 'out',
    message: verified.ok ? `the signature of ${verified.by} holds` : verified.reason,
    field: SIGNATURE_FIELD,
  }
}

/**
 * What the scanner's summary decides, by Harbor's order and strictness (contracts/harbor.md §2.8 and Appendix B).
 * Undefined: nothing is demanded. `unknown`: the allowlist may change the answer, and only the whole report tells.
 */
export function judgeScan({ below, allowlist }: Demands, scan: Scan, now: Instant): Verdict | undefined {
  const [limit] = below
  if (limit === undefined) return undefined
  if (scan.state === 'unscanned') return outOf(limit, `was not scanned (${scan.reason})`)
  if (severityCode(scan.severity) < severityCode(limit.severity)) return within(limit, scan.severity)
  return isInForce(allowlist, now) && severityCode(limit.severity) > 0
    ? { rule: 'vulnerability', says: 'unknown', message: 'the CVE allowlist may let it pass', field: fieldOf(limit) }
    : outOf(limit, `is ${scan.severity}`)
}

/**
 * What the whole report decides, the allowlist taken off while it is in force.
 * @param report undefined: there is none
 */
export function judgeReport(
  { below, allowlist }: Demands,
  report: readonly Vulnerability[] | undefined,
  now: Instant,
): Verdict | undefined {
  const [limit] = below
  if (limit === undefined) return undefined
  if (report === undefined) return outOf(limit, 'was not scanned (there is no report)')
  const allowed = new Set(isInForce(allowlist, now) ? allowlist.ids : [])
  const worst = report
    .filter(({ id }) => !allowed.has(id))
    .map(({ severity }) => severity)
    .reduce((a, b) => (severityCode(b) > severityCode(a) ? b : a), 'None')
  return severityCode(worst) < severityCode(limit.severity)
    ? within(limit, allowed.size > 0 ? `${worst} without what the CVE allowlist lets pass` : worst)
    : outOf(limit, allowed.size > 0 ? `is ${worst}, the CVE allowlist taken off` : `is ${worst}`)
}

/** What a listing told of an artifact's scan, or that it told nothing. */
export function scanOf({ scan }: Pick<Candidate, 'scan'>): Scan {
  return scan ?? { state: 'unscanned', reason: 'the registry says nothing of a scan' }
}

/** Harbor's order; whatever is unknown is the worst. */
export function severityCode(severity: string): number {
  const known = severity.toLowerCase()
  return Object.hasOwn(SEVERITIES, known) ? SEVERITIES[known]! : WORST
}

function isInForce({ ids, expiresAt }: Allowlist, now: Instant): boolean {
  return ids.length > 0 && (expiresAt === undefined || now < expiresAt)
}

function within(limit: SeverityLimit, what: string): Verdict {
  const message = `is ${what}, below ${limit.severity}, the limit of ${limit.setBy}`
  return { rule: 'vulnerability', says: 'in', message, field: fieldOf(limit) }
}

function outOf(limit: SeverityLimit, what: string): Verdict {
  const message = `${what}, and ${limit.setBy} takes only what is below ${limit.severity}`
  return { rule: 'vulnerability', says: 'out', message, field: fieldOf(limit) }
}

function fieldOf({ setBy }: SeverityLimit): string | undefined {
  return setBy === 'the policy' ? VULNERABILITY_FIELD : undefined
}
