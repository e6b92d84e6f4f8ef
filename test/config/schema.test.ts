import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import addFormats from 'ajv-formats'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parse as parseYaml } from 'yaml'
import { describe, expect, test } from 'vitest'
import { head, loadTexts, places, policy, repository } from '../support/config.ts'

const folder = fileURLToPath(new URL('../../schemas/', import.meta.url))
const schemas = readdirSync(folder)
  .filter((file) => file.endsWith('.json'))
  .map((file) => JSON.parse(readFileSync(`${folder}${file}`, 'utf8')) as Record<string, unknown>)

/** Problems of one more file in the sound repository, without the file's name. */
function problemsOf(text: string, file = 'projects/library/x.yaml'): string[] {
  const config = loadTexts({ ...repository, [file]: text })
  return places(config).map((place) => place.replace(`${file}:`, ''))
}

const provider = (lines: string) =>
  `${head('Provider', 'x')}spec:\n  vendor: dragonfly\n  endpoint: https://x.example.com\n  default: true\n${lines}`
const registry = (lines: string) =>
  `${head('Registry', 'x')}spec:\n  type: oci\n  endpoint: https://x.example.com\n${lines}`
const library = (lines: string) => policy('x', `  registry: harbor\n${lines}`)

describe('a document is checked against its schema', () => {
  test('an unknown field is reported at its key, with the nearest known name [P4]', () => {
    const config = loadTexts({ ...repository, 'projects/library/x.yaml': policy('x', '  platfroms: [linux/amd64]\n') })
    expect(places(config)).toEqual(['projects/library/x.yaml:7:3 error PH2001'])
    expect(config.problems[0]).toMatchObject({
      message: 'spec.platfroms is no field',
      help: 'Did you mean platforms?',
      key: 'PreheatPolicy/harbor/library/x',
    })
  })

  test('a field called __proto__ is unknown like any other [P4]', () => {
    expect(problemsOf(policy('x', '  __proto__: {}\n'))).toEqual(['7:3 error PH2001'])
  })

  test.each([
    ['a missing section', head('PreheatPolicy', 'x'), '1:1 error PH2002'],
    ['a missing field', `${head('PreheatPolicy', 'x')}spec:\n  project: library\n`, '4:1 error PH2002'],
    [
      'a missing name',
      'apiVersion: preheatd.io/v1alpha1\nkind: PreheatRun\nmetadata: {}\nspec: { policy: web, expiresAt: 2026-12-24T00:00:00Z }',
      '3:1 error PH2002',
    ],
    [
      'a field inside a list',
      library('  providers:\n    - { name: eu }\n    - scope: all_peers\n'),
      '10:7 error PH2002',
    ],
    ['an empty section', library('  limits:\n'), '8:3 error PH2003'],
    ['a number for a text', library('  description: 1.10\n'), '8:16 error PH2003'],
    ['a text for a number', library('  limits: { maxArtifacts: many }\n'), '8:27 error PH2003'],
    ['a word that is none of those known', library('  refresh: { mode: alwys }\n'), '8:20 error PH2003'],
    ['a duration of no unit', library('  timeout: "60"\n'), '8:12 error PH2003'],
    ['a duration of zero', library('  timeout: 0s\n'), '8:12 error PH2003'],
    ['a size of no unit known', library('  limits: { maxBytes: 10GB }\n'), '8:23 error PH2003'],
    ['a number too low', library('  retry: { attempts: 0 }\n'), '8:22 error PH2003'],
    ['a platform', library('  platforms: [amd64]\n'), '8:15 error PH2003'],
    [
      'no filters at all',
      `${head('PreheatPolicy', 'x')}spec:\n  project: library\n  filters: { repositories: [], tags: ["*"] }\n`,
      '6:28 error PH2003',
    ],
    [
      'a schedule for a manual trigger',
      library('  trigger:\n    type: manual\n    schedule: { cron: 0 2 * * * }\n'),
      '10:5 error PH2003',
    ],
    ['a scheduled trigger without a schedule', library('  trigger: { type: scheduled }\n'), '8:3 error PH2002'],
    [
      'a moment without a zone',
      `${head('PreheatRun', 'x')}spec: { policy: web, expiresAt: 2026-12-24T00:00:00 }`,
      '4:33 error PH2003',
    ],
    [
      'a day that there is not',
      `${head('PreheatRun', 'x')}spec: { policy: web, expiresAt: 2026-02-30T00:00:00Z }`,
      '4:33 error PH2003',
    ],
  ])('%s', (_, text, expected) => {
    expect(problemsOf(text)).toEqual([expected])
  })

  test.each([
    ['user info in an endpoint', 'endpoint: https://me:hunter2@x.example.com', '6:13 error PH2003'],
    ['a query in an endpoint', 'endpoint: https://x.example.com?a=1', '6:13 error PH2003'],
    ['a backslash that hides the host', 'endpoint: https://x.example.com\\@evil.example.com', '6:13 error PH2003'],
    ['another scheme', 'endpoint: ftp://x.example.com', '6:13 error PH2003'],
    ['a port that there is not', 'endpoint: https://x.example.com:99999', '6:13 error PH2003'],
  ])('%s is refused', (_, line, expected) => {
    const text = `${head('Provider', 'x')}spec:\n  vendor: dragonfly\n  ${line}\n  default: true\n`
    const config = loadTexts({ ...repository, 'providers/x.yaml': text })
    expect(places(config)).toEqual([`providers/x.yaml:${expected}`])
    expect(JSON.stringify(config.problems)).not.toContain('hunter2')
  })

  test('an empty list of query parameters says what a manager makes of it', () => {
    const text = provider('  dragonfly: { options: { filteredQueryParams: [] } }\n')
    const { problems } = loadTexts({ ...repository, 'providers/x.yaml': text })

    expect(problems.map(({ line, column, code, message }) => [line, column, code, message])).toEqual([
      [
        8,
        27,
        'PH2003',
        'spec.dragonfly.options.filteredQueryParams must be left out for the manager’s own list: it reads an empty one as that',
      ],
    ])
  })

  test.each([
    ['an alternative of two', provider('  dragonfly: { clusters: 3 }\n'), '8:26 error PH2003'],
    ['an empty list of clusters', provider('  dragonfly: { clusters: [] }\n'), '8:26 error PH2003'],
    [
      'a query parameter of no name, which a manager reads as its own list',
      provider('  dragonfly: { options: { filteredQueryParams: [""] } }\n'),
      '8:49 error PH2003',
    ],
    ['clusters by name and by id', provider('  dragonfly: { clusterIds: [2], clusters: all }\n'), '8:33 error PH2003'],
    ['a credential without its secret', provider('  auth: { mode: oauth }\n'), '8:3 error PH2002'],
    [
      'a header for nothing but custom',
      provider('  auth: { mode: custom, secretRef: { name: a } }\n'),
      '8:3 error PH2002',
    ],
    ['a certificate without its key', provider('  tls: { certFile: a.pem }\n'), '8:3 error PH2002'],
    ['a certificate outside the secrets', provider('  tls: { caFile: ../ca.pem }\n'), '8:18 error PH2003'],
    ['ages of a job that do not rise', provider('  dragonfly:\n    pollSchedule: [30s, 30s]\n'), '9:25 error PH2003'],
  ])('%s', (_, text, expected) => {
    expect(problemsOf(text, 'providers/x.yaml')).toEqual([expected])
  })

  test.each([
    [
      'newest of none',
      library('').replace("tags: ['**'] }", "tags: ['**'], newest: { count: 0 } }"),
      '6:67 error PH2003',
    ],
    ['a moment without a zone', library('  suspend: { until: 2026-12-24 }\n'), '8:21 error PH2003'],
    ['user info in a file', library('  files: [https://me:hunter2@x.example.com/a]\n'), '8:11 error PH2003'],
    ['a fragment in a file', library('  files: [https://x.example.com/a#b]\n'), '8:11 error PH2003'],
    ['another scheme of a file', library('  files: [s3://x/a]\n'), '8:11 error PH2003'],
    ['a severity that is missing', library('  criteria: { vulnerability: { mode: below } }\n'), '8:15 error PH2002'],
    [
      'a severity for nothing',
      library('  criteria: { vulnerability: { mode: inherit, severity: low } }\n'),
      '8:47 error PH2003',
    ],
    [
      'keys for nothing',
      library('  criteria: { signature: { mode: required, keys: [a.pub] } }\n'),
      '8:44 error PH2003',
    ],
    [
      'identities for nothing',
      library('  criteria: { signature: { mode: inherit, identities: [{ issuer: a, subject: b }] } }\n'),
      '8:43 error PH2003',
    ],
    [
      'identities without a trusted root',
      library('  criteria: { signature: { mode: verified, identities: [{ issuer: a, subject: b }] } }\n'),
      '8:15 error PH2002',
    ],
    ['no keys at all', library('  criteria: { signature: { mode: verified, keys: [] } }\n'), '8:50 error PH2003'],
  ])('%s', (_, text, expected) => {
    const config = loadTexts({ ...repository, 'projects/library/x.yaml': text })
    expect(places(config)).toEqual([`projects/library/x.yaml:${expected}`])
    expect(JSON.stringify(config.problems)).not.toContain('hunter2')
  })

  test.each([
    '../a.pub',
    '/a.pub',
    'a/../b.pub',
    './a.pub',
    'a//b.pub',
    '.git/a.pub',
    'a\\b.pub',
    'a.key',
    'a.yaml',
    'keys',
  ])('a key cannot be at %s', (path) => {
    const lines = `  criteria: { signature: { mode: verified, keys: ['${path}'] } }\n`
    expect(problemsOf(library(lines))).toEqual(['8:51 error PH2003'])
  })

  test('every finding of a document is reported at once', () => {
    const text = library('  platforms: [amd64]\n  timeout: 1\n  limts: {}\n')
    expect(problemsOf(text)).toEqual(['8:15 error PH2003', '9:12 error PH2003', '10:3 error PH2001'])
  })
})

describe('a trigger has the fields of its type and no other', () => {
  test.each([
    '{ type: manual, events: [push] }',
    '{ type: manual, poll: 1m }',
    '{ type: scheduled, schedule: { cron: 0 2 * * * }, debounce: 1m }',
    '{ type: event_based, schedule: { cron: 0 2 * * * } }',
  ])('%s', (trigger) => {
    expect(problemsOf(library(`  trigger: ${trigger}\n`))).toHaveLength(1)
  })

  test.each(['{ type: event_based }', '{ type: event_based, events: [sign], poll: 1m, debounce: 0s }'])(
    '%s',
    (trigger) => {
      expect(problemsOf(library(`  trigger: ${trigger}\n`))).toEqual([])
    },
  )
})

describe('a run asks for a policy, or for artifacts of its own', () => {
  const found = (lines: string) =>
    loadTexts({
      ...repository,
      'x.yaml': `${head('PreheatRun', 'x')}spec:\n  expiresAt: 2026-12-24T00:00:00Z\n${lines}`,
    }).problems.map(({ line, column, code, message, help }) =>
      [`${line}:${column}`, code, message, ...(help === undefined ? [] : [help])].join(' '),
    )

  test.each([
    ['a policy', '  policy: web\n'],
    ['artifacts', '  project: library\n  artifacts: [app:v1]\n'],
    [
      'artifacts and all that goes with them',
      '  registry: harbor\n  project: library\n  providers: [{ name: eu, scope: all_peers }]\n  artifacts: [app:v1]\n  reason: a fix\n  refresh: { mode: always }\n',
    ],
  ])('%s', (_, lines) => {
    expect(found(lines)).toEqual([])
  })

  test('neither is a mistake that tells of both', () => {
    expect(found('')).toEqual(['4:1 PH2002 spec.policy is missing Write a policy, or artifacts of its own.'])
  })

  test.each(['registry: harbor', 'project: library', 'providers: []'])('%s without artifacts says what for', (line) => {
    expect(found(`  ${line}\n`)).toEqual(['4:1 PH2002 spec.artifacts is missing'])
  })

  test('no artifacts are no artifacts', () => {
    expect(found('  project: library\n  artifacts: []\n')).toEqual([
      '7:14 PH2003 spec.artifacts must NOT have fewer than 1 items',
    ])
  })

  test('both is a mistake wherever it says more than the policy', () => {
    const lines = ['registry: harbor', 'project: library', 'providers: []', 'artifacts: [app:v1]']
    expect(found(['policy: web', ...lines].map((line) => `  ${line}\n`).join(''))).toEqual(
      ['registry', 'project', 'providers', 'artifacts'].map(
        (field, index) => `${index + 7}:3 PH2003 spec.${field} must be left out where policy is given`,
      ),
    )
  })
})

describe('what is not built is refused by name', () => {
  test.each(['Tenant', 'HarborUpstream', 'HarborProject', 'HarborScanner', 'HarborGarbageCollection', 'Notification'])(
    'the kind %s',
    (kind) => {
      expect(problemsOf(`${head(kind, 'x')}spec: {}\n`, 'x.yaml')).toEqual(['2:7 error PH9001'])
    },
  )
})

describe('the schemas as editors read them', () => {
  const nodes: { readonly where: string; readonly node: Record<string, unknown> }[] = []
  const visit = (value: unknown, where: string) => {
    if (typeof value !== 'object' || value === null) return
    nodes.push({ where, node: value as Record<string, unknown> })
    for (const [key, part] of Object.entries(value)) visit(part, `${where}/${key}`)
  }
  for (const schema of schemas) visit(schema, String(schema['$id']))

  test('every property is described', () => {
    const bare = nodes.flatMap(({ where, node }) =>
      /(?:then|else|if|dependentSchemas)\//.test(`${where}/`)
        ? []
        : Object.entries((node['properties'] ?? {}) as Record<string, Record<string, unknown>>)
            .filter(([, part]) => part['description'] === undefined && part['$ref'] === undefined)
            .map(([name]) => `${where}/properties/${name}`),
    )
    expect(bare).toEqual([])
  })

  test('every object that lists its properties is closed', () => {
    const open = nodes.filter(
      ({ where, node }) =>
        node['properties'] !== undefined &&
        node['type'] === 'object' &&
        node['additionalProperties'] === undefined &&
        where !== 'all.schema.json',
    )
    expect(open.map(({ where }) => where)).toEqual([])
  })

  test('all.schema.json takes every file of the example, and refuses a field that it does not know', () => {
    const ajv = new Ajv2020({ strict: false, allErrors: true })
    addFormats.default(ajv)
    for (const schema of schemas) ajv.addSchema(schema)
    const validate = ajv.getSchema('all.schema.json')!
    for (const text of Object.values(repository)) expect(validate(parseYaml(text))).toBe(true)
    expect(
      validate({
        apiVersion: 'v1',
        kind: 'List',
        items: Object.values(repository).map((text) => parseYaml(text) as unknown),
      }),
    ).toBe(true)
    expect(validate(parseYaml(registry('  nonsense: 1\n')))).toBe(false)
  })
})
