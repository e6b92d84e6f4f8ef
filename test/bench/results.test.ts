import { expect, test } from 'vitest'
import type { Run } from './engines.ts'
import { resultsDocument, withPart, type ResultLine } from './results.ts'
import { boundS, scenariosOf } from './scenarios.ts'

const RUN: Run = {
  scenario: 'B3',
  contender: 'preheatd',
  is_model: false,
  round: 1,
  seed: 7,
  n: 600,
  scale: 1,
  engine: { kind: 'dragonfly', t_s: 2, limit_per_s: 10, visibility_s: [30, 90], token_life_s: undefined },
  makespan_s: 90,
  bound_s: 89,
  r3: 90 / 89,
  wall_s: 95,
  first_submit_s: 2,
  done_p50_s: 60,
  done_p95_s: 88,
  states: { Succeeded: 600 },
  lost: 0,
  dup_posts: 0,
  expired_tokens: 0,
  false_success: 0,
  http: { post: 600, get: 600, list: 0, probe: 0, health: 0, s429: 0 },
  artifacts_per_s: 600 / 90,
  floor_rps: undefined,
  ideal_aps: 6.7,
  r1: undefined,
  r2: 600 / 90 / 6.7,
  cpu_s: 3,
  cpu_us_per_artifact: 5000,
  rss_peak_mb: 150,
  loop_lag_p99_ms: 4,
  git_commits: 1,
  foreign_cores: 0.5,
  steal: 0,
}

function line(changes: Partial<Run>): ResultLine {
  const machine = { cores: 2, cpu: 'a processor', kernel: '6', node: 'v20', git: '2.39' }
  return { ...RUN, ...changes, at: '2026-11-22T00:00:00.000Z', commit: 'abc', machine }
}

const LINES = [
  line({}),
  line({ round: 2, makespan_s: 92, artifacts_per_s: 600 / 92 }),
  line({ round: 3, makespan_s: 91, artifacts_per_s: 600 / 91 }),
  line({ contender: 'ideal', makespan_s: 89.5, artifacts_per_s: 6.7 }),
  line({ contender: 'harbor-model, 10 workers', is_model: true, makespan_s: 1812 }),
  line({ contender: 'harbor-model, 300 workers', is_model: true, makespan_s: 70 }),
]

test('a cell is the median of the rounds with the least and the most', () => {
  expect(resultsDocument(LINES)).toContain('| preheatd | 91.00 (90.00–92.00) |')
})

test('no ratio stands without the two numbers that it is of', () => {
  const verdict = resultsDocument(LINES)
    .split('\n')
    .find((one) => one.startsWith('**B3'))
  expect(verdict).toContain('R2 1.00 (6.6 ÷ 6.7 artifacts/s)')
  expect(verdict).toContain("1,812 s, 19.9 × preheatd's 91.00 s")
})

test('a modelled row says so, with its workers', () => {
  const text = resultsDocument(LINES)
  expect(text).toContain('| Harbor, 10 workers *(model)* |')
  expect(text).toContain('| Harbor, 300 workers *(model)* |')
})

test('a part replaces the one of its heading and leaves the others', () => {
  const document = withPart(withPart('# One\n\n1\n', '# Two\n\n2\n'), '# Three\n\n3\n')
  expect(withPart(document, '# Two\n\nnew\n')).toBe('# One\n\n1\n\n# Two\n\nnew\n\n# Three\n\n3\n')
})

test('a run beside others’ work is counted as loud', () => {
  expect(resultsDocument(LINES)).toContain('4 of 4 runs are loud')
  expect(resultsDocument([line({ foreign_cores: 0.1 })])).toContain('0 of 1 runs are loud')
})

const ALL = { n: undefined, scale: undefined, repeats: undefined, tokenLifeS: undefined }

test('the bound of a Dragonfly is its rate after a burst, and the first rewriting of the last row', () => {
  const [b3] = scenariosOf({ ...ALL, scenarios: ['B3'], smoke: false, seed: 7, lost: 'gone' })
  expect(boundS(b3!, undefined)).toBe(590 / 10 + 30)
  expect(boundS({ ...b3!, scale: 10 }, undefined)).toBe(500 / 100 + 3)
})

test('a size on the command line replaces every size of a scenario and keeps its jobs', () => {
  const chosen = { ...ALL, n: 50, scenarios: ['B2' as const], smoke: false, seed: 7, lost: 'gone' as const }
  expect(scenariosOf(chosen).map(({ n, jobS }) => [n, jobS])).toEqual([
    [50, 2],
    [50, 30],
  ])
})
