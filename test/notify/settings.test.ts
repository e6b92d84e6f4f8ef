import { expect, test } from 'vitest'
import { readSettings, type Settings } from '../../src/settings.ts'

const REMOTE = 'https://git.example.com/platform/preheat.git'

function read(notification: string, source = `url: "${REMOTE}"`) {
  const text = `apiVersion: preheatd.io/v1alpha1
kind: DaemonConfig
source: { ${source} }
secrets: { bindings: { s: { hosts: ["*.example.com"] } } }
notifications:
  - ${notification}
`
  return readSettings(text, '/etc/preheatd/preheatd.yaml', {})
}

function accepted(notification: string, source?: string): Settings['notifications'] {
  const settings = read(notification, source)
  if (!settings.ok) throw new Error(JSON.stringify(settings.problems))
  return settings.settings.notifications
}

function problems(notification: string, source?: string): string[] {
  const settings = read(notification, source)
  return settings.ok ? [] : settings.problems.map(({ line, column, code }) => `${line}:${column} ${code}`)
}

test('a forge is that of the source, where nothing else is said', () => {
  expect(accepted('{ name: commits, type: gitea, secretRef: { name: s } }')).toEqual([
    {
      kind: 'status',
      forge: {
        name: 'commits',
        type: 'gitea',
        root: 'https://git.example.com',
        repository: 'platform/preheat',
        ref: 'main',
        secret: 's',
      },
      policies: [],
    },
  ])
})

test.each([
  ['gitlab', 'https://git.example.com/gitlab/', 'https://git.example.com/gitlab/a/b/c.git', 'a/b/c'],
  ['github', 'https://github.example.com', 'https://mirror.example.com/platform/preheat', 'platform/preheat'],
  ['gitlab', 'https://git.example.com', 'https://git.example.com/a/my%20group/c.git/', 'a/my group/c'],
])('a %s at %s has of %s the repository %s', (type, url, source, repository) => {
  expect(
    accepted(`{ name: commits, type: ${type}, url: "${url}", secretRef: { name: s } }`, `url: "${source}"`),
  ).toMatchObject([{ forge: { root: url.replace(/\/$/, ''), repository } }])
})

test('a source over ssh has its forge on the same host', () => {
  expect(
    accepted(
      '{ name: commits, type: github, secretRef: { name: s } }',
      'url: "ssh://git@git.example.com:2222/platform/preheat.git", auth: { type: ssh, secretRef: { name: s } }',
    ),
  ).toMatchObject([{ forge: { root: 'https://git.example.com', repository: 'platform/preheat' } }])
})

test('a tag that is followed is the ref, and a fixed commit has none', () => {
  const refOf = (ref: string) => {
    const [one] = accepted(
      '{ name: commits, type: gitlab, secretRef: { name: s } }',
      `url: "${REMOTE}", ref: { ${ref} }`,
    )
    return one?.kind === 'status' ? one.forge.ref : 'none at all'
  }
  expect(refOf('tag: v1')).toBe('v1')
  expect(refOf(`commit: "${'a'.repeat(40)}"`)).toBeUndefined()
})

test('messages have their defaults', () => {
  expect(accepted('{ name: chat, type: slack, secretRef: { name: s }, policies: ["library/**"] }')).toEqual([
    {
      kind: 'message',
      channel: {
        name: 'chat',
        type: 'slack',
        url: 'https://hooks.slack.com/services',
        secret: 's',
        instance: 'default',
      },
      severity: 'info',
      policies: ['library/**'],
    },
  ])
  expect(
    problems('{ name: hook, type: webhook, url: "http://receiver.cluster.local/x", secretRef: { name: s } }'),
  ).toEqual([])
})

test.each([
  ['a webhook without its address', '{ name: a, type: webhook, secretRef: { name: s } }', '6:5 PH2002'],
  ['no secret', '{ name: a, type: slack }', '6:5 PH2002'],
  ['a secret that is not bound', '{ name: a, type: slack, secretRef: { name: t } }', '6:48 PH7002'],
  ['a severity of a forge', '{ name: a, type: github, severity: error, secretRef: { name: s } }', '6:30 PH2003'],
  ['an unknown type', '{ name: a, type: teams, secretRef: { name: s } }', '6:22 PH2003'],
  ['user info', '{ name: a, type: webhook, url: "https://a:b@c.example.com", secretRef: { name: s } }', '6:36 PH2003'],
  [
    'a metadata address',
    '{ name: a, type: webhook, url: "http://169.254.169.254/", secretRef: { name: s } }',
    '6:36 PH3013',
  ],
  [
    'a secret over plain http',
    '{ name: a, type: slack, url: "http://c.example.com/x", secretRef: { name: s } }',
    '6:34 PH2003',
  ],
  ['a malformed pattern', '{ name: a, type: slack, secretRef: { name: s }, policies: ["[a"] }', '6:64 PH3011'],
  [
    'two of one name',
    '{ name: a, type: slack, secretRef: { name: s } }\n  - { name: a, type: slack, secretRef: { name: s } }',
    '7:13 PH3004',
  ],
])('%s is refused at its place', (_, notification, place) => {
  expect(problems(notification)).toEqual([place])
})

test.each([
  ['a folder', 'github', 'dir: ./policies'],
  ['a bare repository', 'gitlab', 'url: "file:///srv/preheat.git"'],
  ['nested groups', 'github', 'url: "https://git.example.com/a/b/c.git"'],
  ['no owner', 'gitlab', 'url: "https://git.example.com/preheat.git"'],
])('%s is no repository on %s', (_, type, source) => {
  expect(problems(`{ name: a, type: ${type}, secretRef: { name: s } }`, source)).toEqual(['6:22 PH2003'])
})
