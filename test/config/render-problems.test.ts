import { expect, test } from 'vitest'
import { formatProblem } from '../../src/config/render-problems.ts'
import type { Problem } from '../../src/model/problem.ts'

const problem = (over: Partial<Problem> = {}): Problem => ({
  severity: 'error',
  code: 'PH2001',
  file: 'projects/library/web.yaml',
  line: 2,
  column: 3,
  message: 'spec.platfroms is no field',
  help: 'Did you mean platforms?',
  ...over,
})

/** The frame alone, of a problem at the last line. */
const frame = (source: string) =>
  formatProblem(problem({ line: source.split('\n').length, column: 1 }), source)
    .split('\n')
    .slice(1, -2)
    .join('\n')

test('a problem is one line that editors jump to, and what to do', () => {
  expect(formatProblem(problem())).toBe(
    'projects/library/web.yaml:2:3: error PH2001 spec.platfroms is no field\n  help: Did you mean platforms?',
  )
})

test('without a suggestion the remedy of its code is the help', () => {
  const bare: Problem = { severity: 'warning', code: 'PH3015', file: 'a.yaml', line: 1, column: 1, message: 'm' }
  expect(formatProblem(bare)).toContain(': warning PH3015 ')
  expect(formatProblem(bare)).toContain('help: Its tasks are Skipped until it is enabled.')
})

test('with the text a caret stands under the column', () => {
  expect(formatProblem(problem(), 'spec:\n  platfroms: []\nmore: 1\n').split('\n').slice(1, 4)).toEqual([
    '  1 | spec:',
    '  2 |   platfroms: []',
    '    |   ^',
  ])
})

test('colours come only when they are wanted', () => {
  expect(formatProblem(problem(), 'a\nb', true)).toContain('\u001b[31merror')
  expect(formatProblem(problem(), 'a\nb')).not.toContain('\u001b')
})

test.each([
  ['password: hunter2'],
  ['  - clientSecret: "hunter2"'],
  ['auth: { username: me, password: hunter2 }'],
  ["auth: { 'api-key': 'hunter2' }"],
  ['token: >-\n  hunter2'],
  ['secret:\n  - hunter2'],
  ['secretKey: |\n  a\n\n  hunter2'],
  ['endpoint: https://me:hunter2@example.com'],
])('what looks like a secret is masked: %j', (source) => {
  const shown = frame(source)
  expect(shown).toContain('***')
  expect(shown).not.toContain('hunter2')
})

test('what follows a secret is shown again', () => {
  expect(frame('password: x\nname: web')).toContain('name: web')
  expect(frame('secretRef: { name: web }')).toContain('name: web')
})

test('a terminal is not told what to do by a file or a name', () => {
  const text = formatProblem(problem({ file: 'a\u001b[2J.yaml', message: 'b\u001b[2J' }), 'x\nc\u001b[2J\u202E')
  expect(text).not.toContain('\u001b')
  expect(text).not.toContain('\u202E')
})

test('a place that the text does not have gets no frame', () => {
  expect(formatProblem(problem({ line: 9 }), 'a\n').split('\n')).toHaveLength(2)
})
