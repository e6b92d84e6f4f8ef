import { describe, expect, test } from 'vitest'
import { ConfigReader } from '../../src/config/reader.ts'
import { readConfig } from '../../src/reconcile.ts'
import { commit, head, loadTexts, places, policy, repository } from '../support/config.ts'

const never = new AbortController().signal

describe('files that were seen before', () => {
  test('only the one that changed is read, and the configuration is that of a first look', async () => {
    const reader = new ConfigReader()
    const broken = policy('broken', '  nonsense: 1\n')
    const before = { ...repository, 'projects/library/b.yaml': broken, 'projects/library/c.yaml': policy('c') }
    const after = { ...before, 'projects/library/c.yaml': policy('c', '  enabled: false\n') }
    await readConfig(commit(before), reader, never)

    const tree = commit(after)
    const again = await readConfig(tree, reader, never)

    expect(tree.taken).toEqual(['projects/library/c.yaml'])
    const fresh = loadTexts(after)
    expect({ ...again, config: undefined }).toEqual({ ...fresh, config: undefined })
    expect(places(again)).toEqual(['projects/library/b.yaml:7:3 error PH2001'])
  })

  test('one that was moved is not read again, and its problems are at its new place', async () => {
    const reader = new ConfigReader()
    const text = policy('broken', '  nonsense: 1\n')
    await readConfig(commit({ ...repository, 'projects/library/old.yaml': text }), reader, never)

    const tree = commit({ ...repository, 'projects/library/new.yaml': text })
    const again = await readConfig(tree, reader, never)

    expect(tree.taken).toEqual([])
    expect(places(again)).toEqual(['projects/library/new.yaml:7:3 error PH2001'])
  })

  test('a file that cannot be parsed is remembered with its reasons', async () => {
    const reader = new ConfigReader()
    const texts = { ...repository, 'projects/library/x.yaml': 'a: [\n' }
    const first = await readConfig(commit(texts), reader, never)
    const tree = commit(texts)
    const again = await readConfig(tree, reader, never)

    expect(tree.taken).toEqual([])
    expect(again.problems).toEqual(first.problems)
    expect(again.problems).not.toEqual([])
  })

  test('what is in no file any more is forgotten', async () => {
    const reader = new ConfigReader()
    const more = { ...repository, 'projects/library/c.yaml': policy('c') }
    await readConfig(commit(more), reader, never)
    await readConfig(commit(repository), reader, never)

    const tree = commit(more)
    await readConfig(tree, reader, never)

    expect(tree.taken).toEqual(['projects/library/c.yaml'])
  })

  test('a fork knows what was known, reads the same part, and neither changes the other', async () => {
    const reader = new ConfigReader({ team: 'x' }, 'policies')
    const texts = { ...repository, 'projects/library/b.yaml': policy('b') }
    await readConfig(commit(texts), reader, never)

    const fork = reader.fork()
    const [same, none, again] = [commit(texts), commit({}), commit(texts)]
    await readConfig(same, fork, never)
    await readConfig(none, fork, never)
    await readConfig(again, reader, never)

    expect(fork.view).toBe(reader.view)
    expect([same.taken, again.taken]).toEqual([[], []])
  })

  test('a read that fails forgets nothing and invents nothing', async () => {
    const reader = new ConfigReader()
    await readConfig(commit(repository), reader, never)
    const failing = {
      ...commit({ ...repository, 'x.yaml': policy('x') }),
      read: () => Promise.reject(new Error('down')),
    }

    await expect(readConfig(failing, reader, never)).rejects.toThrow('down')
    const tree = commit(repository)
    await readConfig(tree, reader, never)

    expect(tree.taken).toEqual([])
  })
})

describe('a selector', () => {
  const labelled = (name: string, site: string, more = '') =>
    `${head('PreheatPolicy', name).replace('}', `, labels: { site: ${site} } }`)}spec:\n  project: library\n  filters: { repositories: ['**'], tags: ['**'] }\n${more}`
  const run = (name: string, site: string, of: string) =>
    `${head('PreheatRun', name).replace('}', `, labels: { site: ${site} } }`)}spec: { policy: library/${of}, reason: x, expiresAt: 2030-01-01T00:00:00Z }\n`
  const texts = {
    ...repository,
    'projects/library/eu.yaml': labelled('eu', 'eu'),
    'projects/library/us.yaml': labelled('us', 'us'),
    'projects/library/run.yaml': run('hotfix', 'eu', 'us'),
    'projects/library/other.yaml': run('other', 'us', 'gone'),
    'projects/library/broken.yaml': labelled('broken', 'us', '  nonsense: 1\n'),
  }

  test('takes the policies and runs with its labels, and every registry and provider', () => {
    const config = loadTexts(texts, [], { site: 'eu' })

    expect(config.objects.map(({ key }) => key).sort()).toEqual([
      'PreheatPolicy/harbor/library/eu',
      'PreheatRun/hotfix',
      'Provider/eu',
      'Registry/harbor',
    ])
  })

  test('what is wrong with the others is not said here, nor are they stalled', () => {
    const here = loadTexts(texts, [], { site: 'eu' })
    const everywhere = loadTexts(texts)

    expect(places(here)).toEqual([])
    expect(here.stalled).toEqual([])
    expect(places(everywhere)).toEqual([
      'projects/library/broken.yaml:7:3 error PH2001',
      'projects/library/other.yaml:4:17 error PH3003',
    ])
  })

  test('what is wrong with those that it takes is said', () => {
    expect(places(loadTexts(texts, [], { site: 'us' }))).toEqual(places(loadTexts(texts)))
  })

  test('another one makes the same commit another configuration', () => {
    const view = (labels: Record<string, string>, path = '') => new ConfigReader(labels, path).view

    expect(view({ a: '1', b: '2' })).toBe(view({ b: '2', a: '1' }))
    expect(new Set([view({}), view({ a: '1' }), view({ a: '2' }), view({}, 'eu')]).size).toBe(4)
  })
})
