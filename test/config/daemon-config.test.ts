import { describe, expect, test } from 'vitest'
import { readDaemonConfig } from '../../src/config/daemon-config.ts'

const top = 'apiVersion: preheatd.io/v1alpha1\nkind: DaemonConfig\n'

/** `line:column CODE` of every problem; empty when it is fine. */
function problemsOf(text: string): string[] {
  const read = readDaemonConfig('preheatd.yaml', new TextEncoder().encode(text))
  return read.ok ? [] : read.problems.map(({ file, line, column, code }) => `${file}:${line}:${column} ${code}`)
}

const source = (lines: string) => `${top}source:\n${lines}`
const url = '  url: https://git.example.com/a.git\n'

describe('preheatd.yaml', () => {
  test('needs a source and nothing else', () => {
    expect(problemsOf(source(url))).toEqual([])
    expect(problemsOf(source('  dir: ./policies\n'))).toEqual([])
    expect(problemsOf(top)).toEqual(['preheatd.yaml:1:1 PH2002'])
  })

  test.each([
    'https://git.example.com/platform/preheat.git',
    'http://127.0.0.1:3000/a.git',
    'http://localhost/a.git',
    'file:///srv/git/a.git',
  ])('%s is a remote', (remote) => {
    expect(problemsOf(source(`  url: ${remote}\n`))).toEqual([])
  })

  test.each([
    ['http://git.example.com/a.git', 'PH2003'],
    ['https://me:hunter2@git.example.com/a.git', 'PH2003'],
    ['https://git.example.com/a.git?x=1', 'PH2003'],
    ['ext::sh -c id', 'PH2003'],
    ['--upload-pack=id', 'PH2003'],
    ['ssh://-oProxyCommand=id/a', 'PH2003'],
    ['https://git.example.com:99999/a.git', 'PH2003'],
  ])('%s is not', (remote, code) => {
    expect(problemsOf(source(`  url: "${remote}"\n`))).toEqual([`preheatd.yaml:4:8 ${code}`])
  })

  test.each([
    ['reports on the branch of the source', `${source(url)}reports: { branch: main }\n`, '5:20 PH2003'],
    ['a source on the branch of the reports', source(`${url}  ref: { branch: preheat-reports }\n`), '5:18 PH2003'],
    ['two sources', source(`${url}  dir: x\n`), '4:3 PH2003'],
    ['an interval below a second', source(`${url}  interval: 500ms\n`), '5:13 PH2003'],
    ['a path that leaves the repository', source(`${url}  path: a/../../b\n`), '5:9 PH2003'],
    ['a path from the root', source(`${url}  path: /etc\n`), '5:9 PH2003'],
    ['a branch that is an option', source(`${url}  ref: { branch: --force }\n`), '5:18 PH2003'],
    ['a branch with two dots', source(`${url}  ref: { branch: a..b }\n`), '5:18 PH2003'],
    ['two refs', source(`${url}  ref: {}\n`), '5:8 PH2003'],
    ['a credential without its secret', source(`${url}  auth: { type: basic }\n`), '5:3 PH2002'],
    ['a field that there is not', `${source(url)}report: {}\n`, '5:1 PH2001'],
    ['a binding to a URL', `${source(url)}secrets: { bindings: { a: { hosts: ["https://x"] } } }\n`, '5:37 PH2003'],
    [
      'an author that breaks a commit',
      `${source(url)}reports: { author: { name: "a <b>", email: c } }\n`,
      '5:28 PH2003',
    ],
    ['broken YAML', 'a: [', '1:5 PH1003'],
    ['nothing', '', '1:1 PH8001'],
    ['two documents', `${source(url)}---\n${source(url)}`, '6:1 PH8001'],
  ])('%s is refused', (_, text, expected) => {
    expect(problemsOf(text)).toEqual([`preheatd.yaml:${expected}`])
  })

  test.each([
    ['without keys', '  verify: { mode: head }\n', '5:3 PH2002'],
    ['with keys and no mode', '  verify: { secretRef: { name: git-keys } }\n', '5:3 PH2002'],
    ['with a mode that there is not', '  verify: { mode: strict, secretRef: { name: git-keys } }\n', '5:19 PH2003'],
  ])('signatures %s are refused', (_, line, expected) => {
    expect(problemsOf(source(url) + line)).toEqual([`preheatd.yaml:${expected}`])
  })

  test('nobody signs a folder', () => {
    const verify = 'verify: { mode: head, secretRef: { name: git-keys } }'
    expect(problemsOf(source(`  dir: ./policies\n  ${verify}\n`))).toEqual(['preheatd.yaml:5:19 PH2003'])
  })
})
