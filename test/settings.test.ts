import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ENVIRONMENT_PATHS, readSettings, variableOf, type Settings } from '../src/settings.ts'

const HEAD = 'apiVersion: preheatd.io/v1alpha1\nkind: DaemonConfig\n'
const REMOTE = `${HEAD}source:\n  url: https://git.example.com/platform/preheat.git\n`
const FILE = '/etc/preheatd/preheatd.yaml'

function settings(text: string, env: Record<string, string | undefined> = {}): Settings {
  const read = readSettings(text, FILE, env)
  if (!read.ok) throw new Error(read.problems.map(({ line, code, message }) => `${line} ${code} ${message}`).join('\n'))
  return read.settings
}

function problems(text: string, env: Record<string, string | undefined> = {}): string[] {
  const read = readSettings(text, FILE, env)
  if (read.ok) throw new Error('it was accepted')
  return read.problems.map(({ file, line, column, code, message }) => `${file}:${line}:${column} ${code} ${message}`)
}

describe('defaults', () => {
  it('a source is all that has to be said', () => {
    expect(settings(REMOTE)).toEqual({
      instance: 'default',
      source: {
        type: 'git',
        webhookSecret: undefined,
        url: 'https://git.example.com/platform/preheat.git',
        ref: { type: 'branch', name: 'main' },
        matchLabels: {},
        path: '.',
        intervalMs: 60_000,
        auth: { type: 'none' },
        signers: undefined,
      },
      reports: {
        type: 'git',
        url: 'https://git.example.com/platform/preheat.git',
        branch: 'preheat-reports',
        auth: { type: 'none' },
        author: { name: 'preheatd', email: 'preheatd@localhost' },
        flushIntervalMs: 60_000,
        flushRestMs: 300_000,
        maxCommitsPerHour: 30,
        peers: 'counts',
      },
      secrets: { dir: undefined, bindings: new Map() },
      notifications: [],
      state: { dir: '/etc/preheatd/data', databaseUrl: undefined },
      http: { probes: '0.0.0.0:9440', api: '127.0.0.1:8081', webhooks: '0.0.0.0:9292', tokenSecret: undefined },
      log: { level: 'info', format: 'json' },
      concurrency: { selections: 4, requests: 64 },
      graceMs: 15_000,
    })
  })

  it('a plain folder as the source has its reports in the state folder', () => {
    const { source, reports } = settings(
      `${HEAD}source: { dir: ./policies, path: eu, interval: 1s }\nstate: { dir: ../var }\n`,
    )
    expect(source).toEqual({ type: 'dir', dir: '/etc/preheatd/policies/eu', intervalMs: 1000, matchLabels: {} })
    expect(reports).toMatchObject({ type: 'folder', dir: '/etc/var/reports', flushIntervalMs: 60_000 })
  })

  it('reports of a plain folder go to a remote that is named', () => {
    const { reports } = settings(`${HEAD}source: { dir: ./policies }\nreports: { url: "file:///srv/reports.git" }\n`)
    expect(reports).toMatchObject({ type: 'git', url: 'file:///srv/reports.git', branch: 'preheat-reports' })
  })
})

describe('the file', () => {
  const FULL = `${HEAD}metadata: { name: eu }
source:
  url: https://git.example.com/platform/preheat.git
  ref: { branch: release/eu }
  path: clusters/eu
  interval: 1h30m
  auth: { type: basic, secretRef: { name: git-read } }
reports:
  url: https://git.example.com/platform/reports.git
  auth: { type: bearer, secretRef: { name: git-write } }
  branch: reports
  flushInterval: 10m
  maxCommitsPerHour: 6
  peers: names
  author: { name: Preheat, email: preheat@example.com }
secrets:
  dir: /run/secrets/preheatd
  bindings:
    git-read: { hosts: [git.example.com] }
    git-write: { hosts: ["*.example.com:443"], env: { token: GIT_TOKEN } }
log: { level: debug, format: text }
concurrency: { selections: 2, requests: 8 }
`

  it('wins over the defaults', () => {
    expect(settings(FULL)).toEqual({
      instance: 'eu',
      source: {
        type: 'git',
        webhookSecret: undefined,
        url: 'https://git.example.com/platform/preheat.git',
        ref: { type: 'branch', name: 'release/eu' },
        matchLabels: {},
        path: 'clusters/eu',
        intervalMs: 5_400_000,
        auth: { type: 'basic', secret: 'git-read' },
      },
      reports: {
        type: 'git',
        url: 'https://git.example.com/platform/reports.git',
        branch: 'reports',
        auth: { type: 'bearer', secret: 'git-write' },
        author: { name: 'Preheat', email: 'preheat@example.com' },
        flushIntervalMs: 600_000,
        flushRestMs: 600_000,
        maxCommitsPerHour: 6,
        peers: 'names',
      },
      secrets: {
        dir: '/run/secrets/preheatd',
        bindings: new Map([
          ['git-read', { hosts: ['git.example.com'], env: {} }],
          ['git-write', { hosts: ['*.example.com:443'], env: { token: 'GIT_TOKEN' } }],
        ]),
      },
      notifications: [],
      state: { dir: '/etc/preheatd/data', databaseUrl: undefined },
      http: { probes: '0.0.0.0:9440', api: '127.0.0.1:8081', webhooks: '0.0.0.0:9292', tokenSecret: undefined },
      log: { level: 'debug', format: 'text' },
      concurrency: { selections: 2, requests: 8 },
      graceMs: 15_000,
    })
  })

  it('reports use the source’s credential where they have none of their own', () => {
    const { reports } = settings(FULL.replace(/ {2}auth: \{ type: bearer.*\n/, ''))
    expect(reports).toMatchObject({ auth: { type: 'basic', secret: 'git-read' } })
  })
})

describe('the environment', () => {
  it('names a field by its path', () => {
    expect(variableOf('reports.flushInterval')).toBe('PREHEATD_REPORTS_FLUSH_INTERVAL')
    expect(variableOf('source.auth.secretRef.name')).toBe('PREHEATD_SOURCE_AUTH_SECRET_REF_NAME')
  })

  it('wins over the file, also where the file has no such section', () => {
    const { instance, source, reports, state, log, concurrency } = settings(
      `${REMOTE}  interval: 5m\nlog: { level: warn }\n`,
      {
        PREHEATD_METADATA_NAME: 'us',
        PREHEATD_SOURCE_INTERVAL: '2s',
        PREHEATD_SOURCE_REF_BRANCH: 'next',
        PREHEATD_REPORTS_FLUSH_INTERVAL: '1s',
        PREHEATD_REPORTS_MAX_COMMITS_PER_HOUR: '600',
        PREHEATD_STATE_DIR: '/var/lib/preheatd',
        PREHEATD_LOG_LEVEL: 'error',
        PREHEATD_CONCURRENCY_REQUESTS: '7',
      },
    )
    expect({ instance, source, reports, state, log, concurrency }).toMatchObject({
      instance: 'us',
      source: { intervalMs: 2000, ref: { type: 'branch', name: 'next' } },
      reports: { flushIntervalMs: 1000, maxCommitsPerHour: 600 },
      state: { dir: '/var/lib/preheatd', databaseUrl: undefined },
      log: { level: 'error' },
      concurrency: { requests: 7, selections: 4 },
    })
  })

  it('an empty variable is one that is not set', () => {
    expect(settings(REMOTE, { PREHEATD_LOG_LEVEL: '' }).log.level).toBe('info')
  })

  it('a bad value is refused like one in the file, with the name of the variable', () => {
    expect(
      problems(REMOTE, {
        PREHEATD_SOURCE_INTERVAL: 'soon',
        PREHEATD_CONCURRENCY_REQUESTS: 'many',
        PREHEATD_LOG_LEVEL: 'loud',
      }),
    ).toEqual([
      expect.stringMatching(
        /PH2003 concurrency\.requests must be integer, not string \(from PREHEATD_CONCURRENCY_REQUESTS\)$/,
      ),
      expect.stringMatching(/PH2003 log\.level must be one of .* \(from PREHEATD_LOG_LEVEL\)$/),
      expect.stringMatching(/PH2003 source\.interval must be .* \(from PREHEATD_SOURCE_INTERVAL\)$/),
    ])
  })

  it('has the database’s URL, which nothing prints', () => {
    const read = settings(`${REMOTE}state: { databaseUrlEnv: DB }\n`, { DB: 'postgres://u:hunter2@db/p' })
    expect(read.state.databaseUrl?.reveal()).toBe('postgres://u:hunter2@db/p')
    expect(JSON.stringify(read)).not.toContain('hunter2')
  })

  it('says that commits must be signed, and by whom', () => {
    const env = { PREHEATD_SOURCE_VERIFY_MODE: 'head', PREHEATD_SOURCE_VERIFY_SECRET_REF_NAME: 'git-keys' }
    expect(settings(REMOTE, env).source).toMatchObject({ signers: 'git-keys' })
    expect(settings(REMOTE, { ...env, PREHEATD_SOURCE_VERIFY_MODE: 'none' }).source).toMatchObject({
      signers: undefined,
    })
  })

  it('a variable that nearly is a setting is a warning, and any other is somebody else’s', () => {
    const read = readSettings(
      `${REMOTE}secrets: { bindings: { git: { hosts: [a.b], env: { token: PREHEATD_LOG_LEVEL2 } } } }\n`,
      FILE,
      {
        PREHEATD_SOURCE_INTERVALL: '1s',
        PREHEATD_LOGLEVEL: 'debug',
        PREHEATD_LOG_LEVEL2: 'a token',
        PREHEATD_CONFIG: FILE,
        PREHEATD_DATABASE_URL: 'x',
        // What Kubernetes sets for a Service of our name.
        PREHEATD_SERVICE_HOST: '10.0.0.1',
        PREHEATD_PORT: 'tcp://10.0.0.1:9440',
        PREHEATD_PORT_9440_TCP_ADDR: '10.0.0.1',
        HOME: '/',
      },
    )
    expect(read).toMatchObject({
      ok: true,
      warnings: [
        'PREHEATD_LOGLEVEL sets nothing. Did you mean PREHEATD_LOG_LEVEL?',
        'PREHEATD_SOURCE_INTERVALL sets nothing. Did you mean PREHEATD_SOURCE_INTERVAL?',
      ],
    })
  })

  it('reaches every field of the schema that is neither a list nor named by the user', () => {
    const schemas = (name: string) =>
      JSON.parse(readFileSync(new URL(`../schemas/${name}.schema.json`, import.meta.url), 'utf8')) as Schema
    const files: Record<string, Schema> = { daemon: schemas('daemon-config'), 'common.schema.json': schemas('common') }
    const leaves = (schema: Schema, home: string, path: string): string[] => {
      const [file, name] = (schema.$ref ?? '').split('#/$defs/')
      if (name !== undefined) return leaves(files[file || home]!.$defs![name]!, file || home, path)
      if (schema.type !== 'object') return schema.type === 'array' ? [] : [path]
      return Object.entries(schema.properties ?? {}).flatMap(([key, one]) =>
        leaves(one, home, path === '' ? key : `${path}.${key}`),
      )
    }
    const unsettable = ['apiVersion', 'kind', 'metadata.namespace']
    expect(
      leaves(files['daemon']!, 'daemon', '')
        .filter((path) => !unsettable.includes(path))
        .sort(),
    ).toEqual([...ENVIRONMENT_PATHS].sort())
  })
})

interface Schema {
  readonly type?: string
  readonly $ref?: string
  readonly $defs?: Record<string, Schema>
  readonly properties?: Record<string, Schema>
}

describe('what of a remote is in force', () => {
  const commit = '0123456789abcdef0123456789abcdef01234567'
  it.each([
    ['{ branch: release/eu }', { type: 'branch', name: 'release/eu' }],
    ['{ tag: v1.4.2+build.7 }', { type: 'tag', name: 'v1.4.2+build.7' }],
    ['{ semver: ">=1.4.0 <2.0.0" }', { type: 'semver', range: '>=1.4.0 <2.0.0' }],
    [`{ commit: "${commit}" }`, { type: 'commit', id: commit }],
  ])('%s', (ref, expected) => {
    expect(settings(`${REMOTE}  ref: ${ref}\n`).source).toMatchObject({ ref: expected })
  })

  it('a key for ssh, and labels', () => {
    const bindings = 'secrets: { bindings: { git: { hosts: [git.example.com], env: { identity: KEY } } } }\n'
    const text = `${HEAD}source:\n  url: git@git.example.com:platform/preheat.git\n  auth: { type: ssh, secretRef: { name: git } }\n  selector: { matchLabels: { site: eu } }\n${bindings}`
    expect(settings(text)).toMatchObject({
      source: { auth: { type: 'ssh', secret: 'git' }, matchLabels: { site: 'eu' } },
      reports: { url: 'git@git.example.com:platform/preheat.git', auth: { type: 'ssh', secret: 'git' } },
    })
  })
})

describe('what is refused, at its place', () => {
  it.each<[string, string, string]>([
    ['nothing', '', '1:1 PH8001 the file is empty'],
    ['two documents', `${REMOTE}---\n${REMOTE}`, '6:1 PH8001 the file holds more than one document'],
    ['no source', HEAD, '1:1 PH2002 source is missing'],
    ['an unknown field', `${REMOTE}  brunch: main\n`, '5:3 PH2001 source.brunch is no field'],
    ['too short an interval', `${REMOTE}  interval: 999ms\n`, '5:13 PH2003 source.interval must be at least 1s'],
    [
      'plain http elsewhere',
      url('http://git.example.com/x.git'),
      '4:8 PH2003 source.url: plain http goes to this machine only; use https',
    ],
    [
      'ssh without a key',
      url('ssh://git@git.example.com/x.git'),
      '3:1 PH2003 source.auth.type must be ssh for an ssh address',
    ],
    [
      'a key without ssh',
      `${REMOTE}  auth: { type: ssh, secretRef: { name: git } }\nsecrets: { bindings: { git: { hosts: [x] } } }\n`,
      '5:17 PH2003 source.auth.type: ssh is for ssh addresses',
    ],
    [
      'reports over ssh without a key',
      `${REMOTE}reports: { url: "git@git.example.com:x.git" }\n`,
      '5:1 PH2003 reports.auth.type must be ssh for an ssh address',
    ],
    [
      'an ssh host that is an option',
      url('ssh://git@-oProxyCommand=id/x.git'),
      '4:8 PH2003 source.url must be an https, ssh, http or file URL, or git@host:path, without a password, query or fragment',
    ],
    [
      'a range that is none',
      `${REMOTE}  ref: { semver: main }\n`,
      '5:18 PH2003 source.ref.semver is no range of versions such as >=1.4.0 <2.0.0',
    ],
    [
      'a commit by some of its digits',
      `${REMOTE}  ref: { commit: 4f2a }\n`,
      '5:18 PH2003 source.ref.commit must be the 40 or 64 hexadecimal digits of a commit',
    ],
    [
      'signed commits without the keys of who signs',
      `${REMOTE}  verify: { mode: head }\n`,
      '5:3 PH2002 source.verify.secretRef is missing',
    ],
    [
      'user info',
      url('https://user:canary@git.example.com/x.git'),
      '4:8 PH2003 source.url must be an https, ssh, http or file URL, or git@host:path, without a password, query or fragment',
    ],
    [
      'an option',
      url('--upload-pack=touch'),
      '4:8 PH2003 source.url must be an https, ssh, http or file URL, or git@host:path, without a password, query or fragment',
    ],
    [
      'a host that begins with a dash',
      url('https://-oProxyCommand=x/y.git'),
      '4:8 PH2003 source.url: no host begins with a dash',
    ],
    [
      'a metadata address',
      url('https://169.254.169.254/x.git'),
      '4:8 PH3013 source.url: 169.254.169.254 is never contacted',
    ],
    [
      'a branch that is an option',
      `${REMOTE}  ref: { branch: --force }\n`,
      '5:18 PH2003 source.ref.branch must be the name of a branch',
    ],
    [
      'a branch with two dots',
      `${REMOTE}reports: { branch: a..b }\n`,
      '5:20 PH2003 reports.branch must be the name of a branch',
    ],
    [
      'a branch that is a lock',
      `${REMOTE}reports: { branch: a.lock/b }\n`,
      '5:20 PH2003 reports.branch: git takes no name that ends in .lock',
    ],
    ['both url and dir', `${REMOTE}  dir: ./x\n`, '4:3 PH2003 source.url must be left out where dir is given'],
    [
      'a path that leaves',
      `${REMOTE}  path: ../other\n`,
      '5:9 PH2003 source.path must be a relative folder without ..',
    ],
    [
      'a secret without a binding',
      `${REMOTE}  auth: { type: basic, secretRef: { name: git } }\n`,
      '5:43 PH7002 secret git is not bound to any host',
    ],
    [
      'a database whose variable is not set',
      `${REMOTE}state: { databaseUrlEnv: X }\n`,
      '1:1 PH8001 state.databaseUrlEnv: X is not set',
    ],
    [
      'an API beyond loopback without a token',
      `${REMOTE}http: { api: '0.0.0.0:8081' }\n`,
      '1:1 PH8001 http.api: 0.0.0.0:8081 is beyond loopback, so http.tokenSecretRef is needed',
    ],
    [
      'a branch for reports that are not pushed',
      `${HEAD}source: { dir: x }\nreports: { branch: b }\n`,
      '4:12 PH2003 reports.branch has no effect: with source.dir reports go to state.dir/reports, unless reports.url names a remote',
    ],
  ])('%s', (_, text, problem) => {
    expect(problems(text)).toEqual([`${FILE}:${problem}`])
  })

  it('every finding at once', () => {
    expect(problems(`${REMOTE}  interval: soon\n  branch: main\nlog: { level: loud }\n`)).toHaveLength(3)
  })

  it.each([
    'http://localhost:3000/x.git',
    'http://127.0.0.1:3000/x.git',
    'http://[::1]:3000/x.git',
    'file:///srv/x.git',
  ])('not %s', (remote) => {
    expect(settings(url(remote)).source).toMatchObject({ url: remote })
  })
})

function url(text: string): string {
  return `${HEAD}source:\n  url: ${JSON.stringify(text)}\n`
}
