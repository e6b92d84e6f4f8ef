import { describe, expect, test } from 'vitest'
import { changesOf } from '../src/changes.ts'
import { readSettings, type Settings } from '../src/settings.ts'

const HEAD = 'apiVersion: preheatd.io/v1alpha1\nkind: DaemonConfig\nsource:\n  url: https://git.example.com/x.git\n'

function settings(more: string): Settings {
  const read = readSettings(HEAD + more, '/etc/preheatd/preheatd.yaml', {})
  if (!read.ok) throw new Error(JSON.stringify(read.problems))
  return read.settings
}

describe('a changed configuration', () => {
  test.each([
    ['  interval: 5m\n', ['source.intervalMs']],
    ['reports: { flushInterval: 1s }\n', ['reports.flushIntervalMs']],
    [
      'reports: { flushInterval: 10m, maxCommitsPerHour: 4, peers: names }\n',
      ['reports.flushIntervalMs', 'reports.flushRestMs', 'reports.maxCommitsPerHour', 'reports.peers'],
    ],
    ['log: { level: debug }\n', ['log.level']],
    ['secrets: { dir: /run/secrets }\n', ['secrets.dir']],
    ['secrets: { bindings: { a: { hosts: [b] } } }\n', ['secrets.bindings']],
  ])('%j is taken up live', (more, live) => {
    expect(changesOf(settings(''), settings(more))).toEqual({ live, needsRestart: [] })
  })

  test.each([
    ['  ref: { tag: v1 }\n', ['source.ref']],
    ['  path: eu\n', ['source.path']],
    ['  selector: { matchLabels: { site: eu } }\n', ['source.matchLabels']],
    ['reports: { branch: other }\n', ['reports.branch']],
    ['state: { dir: /var/lib/x }\n', ['state.dir']],
    ['metadata: { name: eu }\n', ['instance']],
    ['concurrency: { requests: 8 }\n', ['concurrency.requests']],
  ])('%j needs the daemon to be composed anew', (more, needsRestart) => {
    expect(changesOf(settings(''), settings(more))).toEqual({ live: [], needsRestart })
  })

  test('a comment and the order of fields are no change', () => {
    const a = settings('# why\nlog: { level: debug, format: text }\nstate: { dir: /x }\n')
    const b = settings('state: { dir: /x }\nlog: { format: text, level: debug }\n')

    expect(changesOf(a, b)).toEqual({ live: [], needsRestart: [] })
  })

  test('a source of another type, and a section that nobody thought of, need it too', () => {
    const before = settings('')
    const after = {
      ...before,
      source: { type: 'dir', dir: '/x', intervalMs: 60_000, matchLabels: {}, webhookSecret: undefined },
      later: { a: 1 },
    } as const

    expect(changesOf(before, after).needsRestart).toEqual([
      'later',
      'source.auth',
      'source.dir',
      'source.path',
      'source.ref',
      'source.type',
      'source.url',
    ])
  })
})
