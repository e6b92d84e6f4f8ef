import { expect, test } from 'vitest'
import { wantedEntries } from '../../src/config/files.ts'
import type { SourceEntry } from '../../src/model/source.ts'

const entry = (path: string, over: Partial<SourceEntry> = {}): SourceEntry => ({
  path,
  kind: 'file',
  sizeBytes: 100,
  blobId: path,
  ...over,
})

function paths(entries: readonly SourceEntry[], ignoreText?: string, reportsDir?: string): string[] {
  const wanted = wantedEntries(entries, ignoreText, reportsDir)
  return wanted.ok ? wanted.entries.map(({ path }) => path) : [wanted.problem.code]
}

test('YAML files are read, and nothing that begins with a dot', () => {
  const all = ['a.yaml', 'b/c.yml', 'README.md', 'x.yaml.txt', '.a.yaml', '.github/w.yaml', 'b/.c/d.yaml', 'yaml'].map(
    (path) => entry(path),
  )
  expect(paths(all)).toEqual(['a.yaml', 'b/c.yml'])
})

test('.preheatdignore leaves out what .gitignore would', () => {
  const all = ['a.yaml', 'charts/x.yaml', 'charts/keep.yaml', 'b/charts/y.yaml', 'tmp/z.yaml'].map((path) =>
    entry(path),
  )
  expect(paths(all, '# comment\n/charts/*\n!/charts/keep.yaml\ntmp/\n')).toEqual([
    'a.yaml',
    'charts/keep.yaml',
    'b/charts/y.yaml',
  ])
})

test('the reports of a shared branch are no configuration', () => {
  expect(paths([entry('reports/a.yaml'), entry('reports.yaml')], undefined, 'reports')).toEqual(['reports.yaml'])
})

test('links and submodules that look like a file of ours are reported [P5]', () => {
  const all = [
    entry('b.yaml', { kind: 'symlink' }),
    entry('a.yaml', { kind: 'submodule' }),
    entry('c', { kind: 'symlink' }),
  ]
  expect(wantedEntries(all, undefined)).toMatchObject({
    ok: true,
    entries: [],
    problems: [
      { file: 'a.yaml', line: 1, column: 1, code: 'PH1009', message: 'a submodule is not followed' },
      { file: 'b.yaml', line: 1, column: 1, code: 'PH1009', message: 'a symlink is not followed' },
    ],
  })
})

test('a file over a mebibyte is reported without being read, and the others are read [P2]', () => {
  const wanted = wantedEntries(
    [entry('a.yaml', { sizeBytes: 2 ** 20 + 1 }), entry('b.yaml', { sizeBytes: 2 ** 20 })],
    undefined,
  )
  expect(wanted).toMatchObject({
    ok: true,
    entries: [{ path: 'b.yaml' }],
    problems: [{ file: 'a.yaml', code: 'PH1001' }],
  })
})

test('a repository of too many files, or too many bytes, is not concluded from [P2]', () => {
  const files = (count: number) => Array.from({ length: count }, (_, index) => entry(`${index}.yaml`))
  expect(paths(files(50_000))).toHaveLength(50_000)
  expect(paths(files(50_001))).toEqual(['PH1008'])
  const big = Array.from({ length: 256 }, (_, index) => entry(`${index}.yaml`, { sizeBytes: 2 ** 20 }))
  expect(paths(big)).toHaveLength(256)
  expect(paths([...big, entry('one-more.yaml', { sizeBytes: 1 })])).toEqual(['PH1008'])
})
