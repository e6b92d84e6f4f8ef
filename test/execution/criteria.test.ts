import { describe, expect, it, test } from 'vitest'
import {
  demandsOf,
  detailsOf,
  judgePresence,
  judgeReport,
  judgeScan,
  severityCode,
  type Demands,
} from '../../src/execution/criteria.ts'
import type { Criteria } from '../../src/model/policy.ts'
import type { Scan } from '../../src/model/vulnerability.ts'
import type { ProjectRules } from '../../src/registry/registry.ts'

const NOW = Date.parse('2026-11-22T00:00:00Z')
const noRules: ProjectRules = {
  signatures: [],
  severity: undefined,
  allowlist: { ids: [], expiresAt: undefined },
  isProxyCache: false,
}
const inherit: Criteria = { signature: { mode: 'inherit' }, vulnerability: { mode: 'inherit' } }
const below = (severity: 'low' | 'medium' | 'high' | 'critical'): Criteria => ({
  ...inherit,
  vulnerability: { mode: 'below', severity },
})
const demands = (rules: Partial<ProjectRules>, criteria: Criteria = inherit): Demands =>
  demandsOf(criteria, { ...noRules, ...rules })
const scanned = (severity: string): Scan => ({ state: 'scanned', severity })
const unscanned: Scan = { state: 'unscanned', reason: 'scan Running' }

describe('contracts/harbor.md, Appendix B', () => {
  const columns = ['none', 'low', 'medium', 'high', 'critical']
  const rows: [string, Scan, string][] = [
    ['no scan', unscanned, '✘✘✘✘✘'],
    ['a severity that nobody knows', scanned('Terrible'), '✘✘✘✘✘'],
    ['None', scanned('None'), '✘✔✔✔✔'],
    ['Unknown', scanned('Unknown'), '✘✔✔✔✔'],
    ['Negligible', scanned('Negligible'), '✘✔✔✔✔'],
    ['Low', scanned('Low'), '✘✘✔✔✔'],
    ['Medium', scanned('Medium'), '✘✘✘✔✔'],
    ['High', scanned('High'), '✘✘✘✘✔'],
    ['Critical', scanned('Critical'), '✘✘✘✘✘'],
  ]
  it.each(
    rows.flatMap(([name, scan, cells]) =>
      columns.map((column, index) => [name, column, scan, cells[index] === '✔' ? 'in' : 'out'] as const),
    ),
  )('%s at project severity %s', (_, severity, scan, says) => {
    expect(judgeScan(demands({ severity }), scan, NOW)?.says).toBe(says)
  })

  it('without prevent_vul nothing is demanded, and unscanned images pass', () => {
    expect(judgeScan(demands({}), unscanned, NOW)).toBeUndefined()
  })

  it.each([
    ['negligible', 1],
    ['garbage', 99],
    ['constructor', 99],
  ])('a project severity %s is %i', (severity, code) => {
    expect(severityCode(severity)).toBe(code)
  })
})

describe('a policy tightens and never loosens', () => {
  it.each([
    ['high', below('low'), 'out'],
    ['low', below('critical'), 'out'],
    ['critical', below('high'), 'in'],
  ] as const)('project %s and policy %o: Medium is %s', (severity, criteria, says) => {
    const verdict = judgeScan(demands({ severity }, criteria), scanned('Medium'), NOW)
    expect(verdict?.says).toBe(says)
  })

  it('says whose limit decided, and at which field', () => {
    expect(judgeScan(demands({ severity: 'high' }, below('low')), scanned('Medium'), NOW)).toMatchObject({
      message: 'is Medium, and the policy takes only what is below low',
      field: 'spec.criteria.vulnerability',
    })
    expect(judgeScan(demands({ severity: 'low' }, below('high')), scanned('Medium'), NOW)).toMatchObject({
      message: 'is Medium, and the project takes only what is below low',
      field: undefined,
    })
    expect(judgeScan(demands({ severity: 'low' }), unscanned, NOW)?.message).toBe(
      'was not scanned (scan Running), and the project takes only what is below low',
    )
  })
})

describe('the CVE allowlist', () => {
  const allowing = (expiresAt: number | undefined, severity = 'high') =>
    demands({ severity, allowlist: { ids: ['CVE-1', 'CVE-2'], expiresAt } })

  it('may only save what would be left out, while it lasts', () => {
    expect(judgeScan(allowing(undefined), scanned('Critical'), NOW)?.says).toBe('unknown')
    expect(judgeScan(allowing(NOW + 1), scanned('Critical'), NOW)?.says).toBe('unknown')
    expect(judgeScan(allowing(NOW), scanned('Critical'), NOW)?.says).toBe('out')
    expect(judgeScan(allowing(undefined), scanned('Low'), NOW)?.says).toBe('in')
    expect(judgeScan(allowing(undefined), unscanned, NOW)?.says).toBe('out')
    expect(judgeScan(allowing(undefined, 'none'), scanned('Low'), NOW)?.says).toBe('out')
  })

  it.each([
    [[{ id: 'CVE-1', severity: 'Critical' }], 'in'],
    [
      [
        { id: 'CVE-1', severity: 'Critical' },
        { id: 'CVE-3', severity: 'Medium' },
      ],
      'in',
    ],
    [
      [
        { id: 'CVE-1', severity: 'Critical' },
        { id: 'CVE-3', severity: 'High' },
      ],
      'out',
    ],
    [[{ id: 'cve-1', severity: 'Critical' }], 'out'],
    [[], 'in'],
  ] as const)('takes off by exact id and looks at what remains: %o is %s', (report, says) => {
    expect(judgeReport(allowing(undefined), report, NOW)?.says).toBe(says)
  })
})

describe('a report by itself', () => {
  const high = demands({ severity: 'high', allowlist: { ids: ['CVE-1'], expiresAt: NOW } })

  it('that is not there is out, and an allowlist that expired lets nothing pass', () => {
    expect(judgeReport(high, undefined, NOW)).toMatchObject({
      says: 'out',
      message: expect.stringContaining('not scanned'),
    })
    expect(judgeReport(high, [{ id: 'CVE-1', severity: 'High' }], NOW)?.says).toBe('out')
    expect(judgeReport(high, [{ id: 'CVE-1', severity: 'High' }], NOW - 1)?.says).toBe('in')
  })

  it('a limit that the project never set is the strictest', () => {
    expect(judgeScan(demands({ severity: '' }), scanned('None'), NOW)?.says).toBe('out')
  })
})

describe('presence of signatures', () => {
  const required: Criteria = { ...inherit, signature: { mode: 'required' } }

  test.each([
    [['cosign'], [], inherit, 'out'],
    [['cosign'], ['notation'], inherit, 'out'],
    [['cosign'], ['cosign'], inherit, 'in'],
    [['notation', 'cosign'], ['cosign'], inherit, 'out'],
    [['notation', 'cosign'], ['cosign', 'notation'], inherit, 'in'],
    [[], [], required, 'out'],
    [[], ['notation'], required, 'in'],
    [['cosign'], ['notation'], required, 'out'],
  ] as const)('project demands %o, there is %o, %o: %s', (signatures, present, criteria, says) => {
    expect(judgePresence(demands({ signatures }, criteria), present)?.says).toBe(says)
  })

  it('is not asked about where nobody demands it', () => {
    expect(judgePresence(demands({}), [])).toBeUndefined()
  })
})

describe('a listing is asked for', () => {
  it.each([
    [{}, inherit, []],
    [{ severity: 'high' }, inherit, ['scan']],
    [{ signatures: ['cosign'] }, inherit, ['signatures']],
    [{}, below('low'), ['scan']],
    [{ severity: 'low' }, { ...inherit, signature: { mode: 'required' } }, ['scan', 'signatures']],
  ] as const)('rules %o and criteria %o: %o', (rules, criteria, details) => {
    expect(detailsOf(demands(rules, criteria))).toEqual(details)
  })
})
