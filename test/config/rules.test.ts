import { describe, expect, test } from 'vitest'
import { ofKind } from '../../src/model/resource.ts'
import { head, loadTexts, places, policy, repository, type Texts } from '../support/config.ts'

/** Problems of the sound repository with these files beside or instead of its own. */
const problemsOf = (texts: Texts) => places(loadTexts({ ...repository, ...texts }))

const provider = (name: string, lines = '') =>
  `${head('Provider', name)}spec:\n  vendor: dragonfly\n  endpoint: https://${name}.example.com\n${lines}`
const oci = (name: string, lines = '') =>
  `${head('Registry', name)}spec:\n  type: oci\n  endpoint: https://${name}.example.com\n${lines}`
const run = (policyName: string) =>
  `${head('PreheatRun', 'now')}spec:\n  policy: ${policyName}\n  expiresAt: 2026-12-24T00:00:00Z\n`

describe('names lead somewhere', () => {
  test('a registry that is not declared is reported where it is named, with the nearest that is', () => {
    const config = loadTexts({ ...repository, 'projects/library/x.yaml': policy('x', '  registry: harbour\n') })
    expect(places(config)).toEqual(['projects/library/x.yaml:7:13 error PH3001'])
    expect(config.problems[0]?.help).toBe('Did you mean harbor?')
  })

  test('with two registries a policy has to name one', () => {
    expect(problemsOf({ 'registries/quay.yaml': oci('quay') })).toEqual(['projects/library/web.yaml:4:1 error PH3001'])
  })

  test('a provider that is not declared is reported where it is named', () => {
    const config = loadTexts({
      ...repository,
      'projects/library/x.yaml': policy('x', '  providers: [{ name: eu }, { name: ue }]\n'),
    })
    expect(places(config)).toEqual(['projects/library/x.yaml:7:37 error PH3002'])
    expect(config.problems[0]?.help).toBe('Did you mean eu?')
  })

  test('a policy that is not declared is reported at the run that asks for it', () => {
    expect(problemsOf({ 'projects/library/run.yaml': run('library/wbe') })).toEqual([
      'projects/library/run.yaml:5:11 error PH3003',
    ])
  })

  test.each(['web', 'library/web', 'harbor/library/web'])('a run may say %s', (name) => {
    expect(problemsOf({ 'projects/library/run.yaml': run(name) })).toEqual([])
  })

  test('a bare name of two policies is ambiguous', () => {
    const other = policy('web').replace('project: library', 'project: team')
    expect(problemsOf({ 'projects/team/web.yaml': other, 'runs.yaml': run('web') })).toEqual([
      'runs.yaml:5:11 error PH3017',
    ])
    expect(problemsOf({ 'projects/team/web.yaml': other, 'runs.yaml': run('team/web') })).toEqual([])
  })

  test('while a file cannot be read, what it may hold is only missed', () => {
    expect(
      problemsOf({
        'providers/eu.yaml': 'a: [',
        'projects/library/web.yaml': policy('web', '  providers: [{ name: eu }]\n'),
      }),
    ).toEqual(['projects/library/web.yaml:7:23 warning PH3002', 'providers/eu.yaml:1:5 error PH1003'])
  })

  test('an object whose name is wrong may be the one that is missed', () => {
    const texts = {
      'providers/eu.yaml': provider('e!'),
      'projects/library/web.yaml': policy('web', '  providers: [{ name: eu }]\n'),
    }
    expect(problemsOf(texts)).toEqual([
      'projects/library/web.yaml:7:23 warning PH3002',
      'providers/eu.yaml:3:19 error PH2003',
    ])
  })

  test('an object that is declared wrongly is declared', () => {
    const broken = provider('eu').replace('vendor: dragonfly', 'vendor: dragonfy')
    expect(
      problemsOf({
        'providers/eu.yaml': broken,
        'projects/library/web.yaml': policy('web', '  providers: [{ name: eu }]\n'),
      }),
    ).toEqual(['providers/eu.yaml:5:11 error PH2003'])
  })
})

describe('one of each', () => {
  test('two objects of one name are reported at both [P3]', () => {
    expect(problemsOf({ 'providers/second.yaml': provider('eu') })).toEqual([
      'providers/eu.yaml:3:19 error PH3004',
      'providers/second.yaml:3:19 error PH3004',
    ])
  })

  test('a valid object and a broken one of its name are both stalled', () => {
    const config = loadTexts({ ...repository, 'projects/library/second.yaml': policy('web', '  nonsense: 1\n') })
    expect(places(config)).toEqual([
      'projects/library/second.yaml:3:19 error PH3004',
      'projects/library/second.yaml:7:3 error PH2001',
      'projects/library/web.yaml:3:19 error PH3004',
    ])
    expect(config.objects.map(({ key }) => key)).toEqual(['Provider/eu', 'Registry/harbor'])
  })

  test('names that differ only by case would share a folder of reports [P3]', () => {
    expect(problemsOf({ 'projects/library/twin.yaml': policy('Web') })).toEqual([
      'projects/library/twin.yaml:3:19 error PH3004',
      'projects/library/web.yaml:3:19 error PH3004',
    ])
  })

  test('the same name in another project is another policy', () => {
    expect(
      problemsOf({ 'projects/team/web.yaml': policy('web').replace('project: library', 'project: team') }),
    ).toEqual([])
  })

  test('two default providers are reported at both', () => {
    expect(
      problemsOf({
        'providers/eu.yaml': provider('eu', '  default: true\n'),
        'providers/us.yaml': provider('us', '  default: true\n'),
      }),
    ).toEqual(['providers/eu.yaml:7:12 error PH3005', 'providers/us.yaml:7:12 error PH3005'])
  })
})

describe('a policy has somewhere to go', () => {
  test('two providers of which none is default need a choice', () => {
    expect(problemsOf({ 'providers/us.yaml': provider('us') })).toEqual(['projects/library/web.yaml:4:1 error PH3014'])
    expect(problemsOf({ 'providers/us.yaml': provider('us', '  default: true\n') })).toEqual([])
  })

  test('a selector that finds nothing today may find something tomorrow', () => {
    const text = policy('web', '  providerSelector: { matchLabels: { region: eu } }\n')
    expect(problemsOf({ 'projects/library/web.yaml': text })).toEqual(['projects/library/web.yaml:7:21 warning PH3014'])
  })

  test('a provider closed to the project is reported where it is named', () => {
    const config = loadTexts({
      ...repository,
      'providers/eu.yaml': provider('eu', '  projects: [harbor/team-*]\n'),
      'projects/library/web.yaml': policy('web', '  providers: [{ name: eu }]\n'),
    })
    expect(places(config)).toEqual(['projects/library/web.yaml:7:23 error PH3008'])
    expect(config.problems[0]?.message).toContain('(providers/eu.yaml:7)')
    expect(config.objects.map(({ key }) => key)).toContain('Provider/eu')
  })

  test('the only provider closed to the project is reported at the policy', () => {
    expect(problemsOf({ 'providers/eu.yaml': provider('eu', '  projects: [harbor/team-*]\n') })).toEqual([
      'projects/library/web.yaml:4:1 error PH3008',
    ])
  })

  test('naming a disabled provider is a warning, and the policy is applied', () => {
    const config = loadTexts({
      ...repository,
      'providers/eu.yaml': provider('eu', '  enabled: false\n'),
      'projects/library/web.yaml': policy('web', '  providers: [{ name: eu }]\n'),
    })
    expect(places(config)).toEqual(['projects/library/web.yaml:7:23 warning PH3015'])
    expect(config.stalled).toEqual([])
  })

  test('a scope for a vendor that has none is an error at that entry', () => {
    expect(
      problemsOf({
        'providers/k.yaml': provider('k').replace('vendor: dragonfly', 'vendor: kraken'),
        'projects/library/web.yaml': policy(
          'web',
          '  providers:\n    - { name: k, scope: all_peers, clusters: [a] }\n',
        ),
      }),
    ).toEqual(['projects/library/web.yaml:8:18 error PH3007', 'projects/library/web.yaml:8:36 error PH3007'])
  })

  test.each([
    ['dragonfly', '  kraken: { mode: notify }\n', ['7:3 error PH3007']],
    ['kraken', '  dragonfly: { scope: all_peers, timeout: 5m }\n', ['7:16 error PH3007']],
    ['pull-through', '  dragonfly: { timeout: 5m, pollSchedule: [1s] }\n', ['7:29 error PH3007']],
    ['dragonfly-v1', '  dragonfly: { scope: all_peers, timeout: 5m }\n', ['7:16 error PH3007']],
    ['pull-through', '  kraken: { mode: notify }\n', ['7:3 error PH3007']],
    ['kraken', '  kraken: { mode: origins }\n', ['7:19 error PH2003']],
    ['dragonfly', '  dragonfly: { peers: { count: 3 } }\n', ['7:16 error PH3007']],
    ['dragonfly', '  dragonfly: { scope: all_peers, peers: { count: 3 } }\n', []],
  ])('settings that the vendor %s does not read are errors: %s', (vendor, lines, found) => {
    const text = provider('eu', lines).replace('vendor: dragonfly', `vendor: ${vendor}`)

    expect(problemsOf({ 'providers/eu.yaml': text })).toEqual(found.map((one) => `providers/eu.yaml:${one}`))
  })
})

describe('what a policy says makes sense', () => {
  const scheduled = (schedule: string) => policy('web', `  trigger: { type: scheduled, schedule: { ${schedule} } }\n`)

  test.each([
    ['cron: 0 0 31 2 *', '7:49'],
    ['cron: "@daily"', '7:49'],
    ['cron: 5 0 2 * * *', '7:49'],
    ['cron: 0 2 * * *, timeZone: Europe/Berlni', '7:70'],
  ])('the schedule %s is refused', (schedule, place) => {
    expect(problemsOf({ 'projects/library/web.yaml': scheduled(schedule) })).toEqual([
      `projects/library/web.yaml:${place} error PH3006`,
    ])
  })

  test('a malformed pattern is reported where it stands', () => {
    const filters = `${head('PreheatPolicy', 'web')}spec:\n  project: library\n  filters:\n    repositories: ['a[']\n    tags: [v*, 'v{']\n    exclude: { repositories: ['['], tags: ['{'] }\n`
    expect(
      problemsOf({
        'projects/library/web.yaml': filters,
        'providers/eu.yaml': provider('eu', "  default: true\n  projects: ['**', 'a[']\n"),
      }),
    ).toEqual([
      'projects/library/web.yaml:7:20 error PH3011',
      'projects/library/web.yaml:8:16 error PH3011',
      'projects/library/web.yaml:9:31 error PH3011',
      'projects/library/web.yaml:9:44 error PH3011',
      'providers/eu.yaml:8:20 error PH3011',
    ])
  })

  test('labels are for harbor', () => {
    const text = `${head('PreheatPolicy', 'x')}spec:\n  registry: quay\n  filters: { repositories: [a], tags: [b], labels: [c] }\n`
    const web = policy('web', '  registry: harbor\n')
    expect(
      problemsOf({ 'registries/quay.yaml': oci('quay'), 'x.yaml': text, 'projects/library/web.yaml': web }),
    ).toEqual(['x.yaml:6:44 error PH3010'])
  })

  test('an oci registry has nothing to inherit, and harbor nothing to ignore', () => {
    const criteria = (mode: string) =>
      `  criteria: { signature: { mode: ${mode} }, vulnerability: { mode: ${mode} } }\n`
    const x = `${head('PreheatPolicy', 'x')}spec:\n  registry: quay\n  filters: { repositories: [a], tags: [b] }\n`
    const files = (ofOci: string, ofHarbor: string) => ({
      'registries/quay.yaml': oci('quay'),
      'x.yaml': x + criteria(ofOci),
      'projects/library/web.yaml': policy('web', `  registry: harbor\n${criteria(ofHarbor)}`),
    })
    expect(problemsOf(files('ignored', 'inherit'))).toEqual([])
    expect(problemsOf(files('inherit', 'ignored'))).toEqual([
      'projects/library/web.yaml:8:34 error PH2003',
      'projects/library/web.yaml:8:68 error PH2003',
      'x.yaml:7:34 error PH2003',
      'x.yaml:7:68 error PH2003',
    ])
  })

  test('a policy of a harbor registry has a project, and one without slashes', () => {
    const without = policy('x').replace('  project: library\n', '')
    expect(problemsOf({ 'x.yaml': without })).toEqual(['x.yaml:4:1 error PH3018'])
    expect(problemsOf({ 'x.yaml': policy('x').replace('project: library', 'project: a/b') })).toEqual([
      'x.yaml:5:12 error PH2003',
    ])
    expect(loadTexts({ ...repository, 'x.yaml': without }).stalled).toEqual([{ file: 'x.yaml', key: undefined }])
  })

  test('a run without an end is a warning', () => {
    expect(problemsOf({ 'x.yaml': `${head('PreheatRun', 'x')}spec:\n  policy: web\n` })).toEqual([
      'x.yaml:4:1 warning PH3016',
    ])
  })
})

describe('the path says who may write what', () => {
  test.each(['Registry', 'Provider'])('a %s below a project is refused, valid or not', (kind) => {
    const text = kind === 'Registry' ? oci('x') : provider('x', '  nonsense: 1\n')
    const found = problemsOf({
      'projects/library/deep/x.yaml': text,
      'projects/library/web.yaml': policy('web', '  registry: harbor\n  providers: [{ name: eu }]\n'),
    })
    expect(found).toContain('projects/library/deep/x.yaml:2:7 error PH3009')
  })

  test('a policy of another project is refused', () => {
    expect(problemsOf({ 'projects/team/x.yaml': policy('x') })).toEqual(['projects/team/x.yaml:5:12 error PH3009'])
  })

  test('a policy without a project is not the folder’s', () => {
    expect(problemsOf({ 'projects/library/x.yaml': policy('x').replace('  project: library\n', '') })).toEqual([
      'projects/library/x.yaml:4:1 error PH3018',
    ])
  })

  test('a prefix of an oci registry may lie below the folder’s', () => {
    const text = (project: string) =>
      policy('x', '  registry: quay\n').replace('project: library', `project: ${project}`)
    const texts = {
      'registries/quay.yaml': oci('quay'),
      'projects/library/web.yaml': policy('web', '  registry: harbor\n'),
    }
    expect(problemsOf({ ...texts, 'projects/team/x.yaml': text('team/app') })).toEqual([])
    expect(problemsOf({ ...texts, 'projects/team/x.yaml': text('teams') })).toEqual([
      'projects/team/x.yaml:5:12 error PH3009',
    ])
  })

  test('a run of another project’s policy is refused', () => {
    expect(problemsOf({ 'projects/team/x.yaml': run('library/web') })).toEqual([
      'projects/team/x.yaml:5:11 error PH3009',
    ])
  })

  test('a file beside the folders belongs to the platform team', () => {
    expect(problemsOf({ 'projects/us.yaml': provider('us', '  default: true\n') })).toEqual([])
  })
})

describe('a run with artifacts of its own', () => {
  const FILE = 'projects/library/now.yaml'
  const own = (lines = '', artifacts = 'app:v1') =>
    `${head('PreheatRun', 'now')}spec:\n  project: library\n  artifacts: [${artifacts}]\n  expiresAt: 2026-12-24T00:00:00Z\n${lines}`
  const found = (text: string, texts: Texts = {}, file = FILE) => {
    const { problems } = loadTexts({ ...repository, ...texts, [file]: text })
    return problems
      .filter((problem) => problem.file === file)
      .map(({ line, column, code, message }) => `${line}:${column} ${code} ${message}`)
  }

  test('is a policy of its own, called like the run, that covers nothing but what it names', () => {
    const text = own('  providers: [{ name: eu, scope: all_peers }]\n', 'app:v1, sub/web:v2')
    const run = ofKind(loadTexts({ ...repository, [FILE]: text }).objects, 'PreheatRun')[0]?.resource
    expect(run).toMatchObject({
      kind: 'PreheatRun',
      name: 'now',
      ownPolicy: {
        kind: 'PreheatPolicy',
        name: 'now',
        enabled: true,
        registry: 'harbor',
        project: 'library',
        providers: [{ name: 'eu', scope: 'all_peers' }],
        filters: { repositories: [], tags: [] },
        artifacts: [
          { name: 'app', reference: { tag: 'v1' } },
          { name: 'sub/web', reference: { tag: 'v2' } },
        ],
        criteria: { signature: { mode: 'inherit' }, vulnerability: { mode: 'inherit' } },
        trigger: { type: 'manual' },
        refresh: 'missing',
      },
    })
    expect(run).not.toHaveProperty('policy')
  })

  test('names a registry that is there', () => {
    expect(found(own('  registry: harbour\n'))).toEqual(['8:13 PH3001 no registry is called harbour'])
  })

  test('names its registry where there are two, and is Stalled alone while it does not', () => {
    const texts = {
      ...repository,
      'registries/quay.yaml': oci('quay'),
      'projects/library/web.yaml': policy('web', '  registry: harbor\n'),
    }
    expect(found(own(), texts)).toEqual(['4:1 PH3001 spec.registry is missing and there are 2: harbor, quay'])
    expect(loadTexts({ ...texts, [FILE]: own() }).stalled).toEqual([{ file: FILE, key: 'PreheatRun/now' }])
    expect(found(own('  registry: harbor\n'), texts)).toEqual([])
  })

  test('names providers that are there, and open to its project', () => {
    const texts = { 'providers/closed.yaml': provider('closed', '  projects: [harbor/other]\n') }
    expect(found(own('  providers: [{ name: ue }, { name: closed }]\n'), texts)).toEqual([
      '8:23 PH3002 no provider is called ue',
      '8:37 PH3008 provider closed is not open to harbor/library (providers/closed.yaml:7)',
    ])
  })

  test('goes to the default provider where it names none, or to the only one', () => {
    const second = { 'providers/us.yaml': provider('us') }
    expect(found(own(), second)).toEqual(['4:1 PH3014 no provider is named and none of 2 is marked as default'])
    expect(found(own(), { ...second, 'providers/us.yaml': provider('us', '  default: true\n') })).toEqual([])
  })

  test('has no scope for a vendor that has none', () => {
    const kraken = `${head('Provider', 'k')}spec:\n  vendor: kraken\n  endpoint: https://k.example.com\n  kraken: { mode: notify }\n`
    const text = own('  providers: [{ name: k, scope: all_peers }]\n')
    expect(found(text, { 'providers/k.yaml': kraken })).toEqual([
      '8:26 PH3007 k is of vendor kraken, which has no scope',
    ])
  })

  test('spells its artifacts as they are called in the project', () => {
    expect(found(own('', 'library/app:v1, harbor.example.com/library/app:v1, app'))).toEqual([
      expect.stringMatching(/^6:15 PH2003 spec\.artifacts\[0\] /),
      expect.stringMatching(/^6:31 PH2003 spec\.artifacts\[1\] /),
      expect.stringMatching(/^6:66 PH2003 spec\.artifacts\[2\] /),
    ])
  })

  test('names an artifact once', () => {
    expect(found(own('', 'app:v1, app:v1'))).toEqual(['6:23 PH3004 spec.artifacts[0] is the same'])
  })

  test('has a project where the registry is a Harbor, and is itself whatever its project', () => {
    const text = own().replace('  project: library\n', '')
    expect(found(text, {}, 'runs.yaml')).toEqual(['4:1 PH3018 registry harbor is of type harbor'])
    expect(loadTexts({ ...repository, 'runs.yaml': text }).stalled).toEqual([
      { file: 'runs.yaml', key: 'PreheatRun/now' },
    ])
    const wrong = own().replace('library', '"!"')
    expect(loadTexts({ ...repository, 'runs.yaml': wrong }).stalled).toEqual([
      { file: 'runs.yaml', key: 'PreheatRun/now' },
    ])
  })

  test('of an oci registry needs no project', () => {
    const quay = { 'registries/quay.yaml': oci('quay') }
    const text = own('  registry: quay\n').replace('  project: library\n', '')
    expect(found(text, quay, 'runs.yaml')).toEqual([])
  })

  test('of another project is refused below a project’s folder', () => {
    const text = own().replace('project: library', 'project: team')
    expect(found(text)).toEqual(['5:12 PH3009 below projects/library/ spec.project must be library'])
    expect(found(text, {}, 'runs.yaml')).toEqual([])
  })

  test.each(['web', 'Web'])('is not called %s like a policy: their reports would share a folder', (name) => {
    const text = own().replace('name: now', `name: ${name}`)
    expect(found(text)).toEqual([
      '3:19 PH3004 the policy in projects/library/web.yaml:1 has this name, and their reports would be mixed up',
    ])
    expect(found(text.replace('project: library', 'project: team'), {}, 'runs.yaml')).toEqual([])
  })

  test('without an end is a warning', () => {
    expect(found(own().replace(/ {2}expiresAt.*\n/, ''))).toEqual(['4:1 PH3016 spec.expiresAt is missing'])
  })
})

describe('addresses are ones to talk to', () => {
  test.each([
    'http://169.254.169.254',
    'http://0xA9FEA9FE',
    'http://2852039166',
    'http://[fe80::1]',
    'http://[::ffff:169.254.169.254]',
    'http://[fd00:ec2::254]',
    'http://100.100.100.200',
    'http://192.0.0.192',
    'http://metadata.google.internal',
  ])('%s is refused [S1]', (endpoint) => {
    const text = provider('eu').replace('https://eu.example.com', endpoint)
    expect(problemsOf({ 'providers/eu.yaml': text })).toEqual(['providers/eu.yaml:6:13 error PH3013'])
  })

  test('the address that engines are told is looked at too', () => {
    const text = repository['registries/harbor.yaml']! + '  engineEndpoint: http://169.254.1.1\n'
    expect(problemsOf({ 'registries/harbor.yaml': text })).toEqual(['registries/harbor.yaml:7:19 error PH3013'])
  })

  const credential = '  auth: { mode: oauth, secretRef: { name: s } }\n'

  test('credentials do not go over plain http', () => {
    const text = provider('eu', credential).replace('https://eu.example.com', 'http://eu.example.com')
    expect(problemsOf({ 'providers/eu.yaml': text })).toEqual(['providers/eu.yaml:6:13 error PH3012'])
    expect(problemsOf({ 'providers/eu.yaml': `${text}  allowPlainHTTP: true\n` })).toEqual([])
    expect(problemsOf({ 'providers/eu.yaml': text.replace(credential, '') })).toEqual([])
  })

  test.each(['http://127.0.0.1:8080', 'http://localhost:8080', 'http://[::1]:8080'])(
    '%s is this machine',
    (endpoint) => {
      const text = provider('eu', credential).replace('https://eu.example.com', endpoint)
      expect(problemsOf({ 'providers/eu.yaml': text })).toEqual([])
    },
  )

  test('a name that only begins like this machine is not it', () => {
    const text = provider('eu', credential).replace('https://eu.example.com', 'http://127.0.0.1.example.com')
    expect(problemsOf({ 'providers/eu.yaml': text })).toEqual(['providers/eu.yaml:6:13 error PH3012'])
  })

  test('what engines are given does not go over plain http either', () => {
    const text = (lines: string) => repository['registries/harbor.yaml']!.replace('https:', 'http:') + lines
    expect(problemsOf({ 'registries/harbor.yaml': text('  engineAuth: { type: token }\n') })).toEqual([
      'registries/harbor.yaml:6:13 error PH3012',
    ])
    expect(
      problemsOf({
        'registries/harbor.yaml': text('  engineAuth: { type: token }\n  engineEndpoint: http://cache.example.com\n'),
      }),
    ).toEqual(['registries/harbor.yaml:8:19 error PH3012'])
  })
})

describe('what a policy selects', () => {
  const filters = (more: string) =>
    policy('x', '  registry: REGISTRY\n').replace("tags: ['**'] }", `tags: ['**'], ${more} }`)
  const of = (registry: string, text: string) => text.replace('REGISTRY', registry)
  const base = {
    'registries/quay.yaml': oci('quay'),
    'projects/library/web.yaml': policy('web', '  registry: harbor\n'),
  }
  const newestOf = (registry: string, more: string) => {
    const config = loadTexts({ ...repository, ...base, 'x.yaml': of(registry, filters(more)) })
    const x = config.objects.find(({ key }) => key.endsWith('/x'))?.resource
    return { problems: places(config), newest: x?.kind === 'PreheatPolicy' ? x.filters.newest : undefined }
  }

  test('the newest are counted by push in a Harbor, and by version elsewhere', () => {
    const more = 'newest: { count: 3 }'
    expect(newestOf('harbor', more)).toEqual({ problems: [], newest: { count: 3, by: 'pushed' } })
    expect(newestOf('quay', more)).toEqual({ problems: [], newest: { count: 3, by: 'semver' } })
    expect(newestOf('harbor', 'newest: { count: 3, by: semver }').newest).toEqual({ count: 3, by: 'semver' })
  })

  test('a registry that tells no time of a push cannot be asked for the last ones', () => {
    expect(newestOf('quay', 'newest: { count: 3, by: pushed }').problems).toEqual(['x.yaml:6:74 error PH2003'])
  })

  test('while nobody knows of what type a registry is, what counts as newest is not guessed', () => {
    const texts = {
      ...base,
      'registries/quay.yaml': oci('quay').replace('type: oci', 'type: ocii'),
      'x.yaml': of('quay', filters('newest: { count: 3 }')),
    }
    expect(problemsOf(texts)).toEqual(['registries/quay.yaml:5:9 error PH2003', 'x.yaml:6:50 error PH2002'])
  })

  test('what is left out of criteria is what the registry demands', () => {
    const config = loadTexts({ ...repository, ...base, 'x.yaml': of('quay', filters('labels: []')) })
    const criteria = config.objects.flatMap(({ resource }) =>
      resource.kind === 'PreheatPolicy' ? [resource.criteria] : [],
    )
    expect(criteria).toEqual([
      { signature: { mode: 'inherit' }, vulnerability: { mode: 'inherit' } },
      { signature: { mode: 'ignored' }, vulnerability: { mode: 'ignored' } },
    ])
  })

  test('a registry without a scanner has no severities', () => {
    const below = policy('x', '  registry: quay\n  criteria: { vulnerability: { mode: below, severity: high } }\n')
    expect(problemsOf({ ...base, 'x.yaml': below })).toEqual(['x.yaml:8:38 error PH2003'])
    expect(problemsOf({ ...base, 'x.yaml': below.replace('quay', 'harbor') })).toEqual([])
  })

  test('types, artifacts, files and a suspension are heard', () => {
    const lines = [
      '  suspend: { until: 2026-12-24T00:00:00Z, reason: freeze }',
      `  artifacts: ['nginx:1.27', 'app@sha256:${'a'.repeat(64)}']`,
      '  files: ["https://models.example.com/@v1/llama.gguf?part=1", "http://10.0.0.7/a"]',
      '',
    ].join('\n')
    const text = policy('x', lines).replace("tags: ['**'] }", "tags: ['**'], types: [any, cnab, wasm, chart] }")
    const config = loadTexts({ ...repository, 'x.yaml': text })
    expect(config.problems).toEqual([])
    expect(config.objects.find(({ key }) => key.endsWith('/x'))?.resource).toMatchObject({
      suspend: { until: Date.parse('2026-12-24T00:00:00Z'), reason: 'freeze' },
      filters: { types: ['chart', 'wasm', 'cnab', 'any'] },
      artifacts: [
        { name: 'nginx', reference: { tag: '1.27' } },
        { name: 'app', reference: { digest: `sha256:${'a'.repeat(64)}` } },
      ],
      files: ['https://models.example.com/@v1/llama.gguf?part=1', 'http://10.0.0.7/a'],
    })
  })

  test('a suspension may have no end and no reason', () => {
    const config = loadTexts({ ...repository, 'x.yaml': policy('x', '  suspend: {}\n') })
    expect(config.objects.find(({ key }) => key.endsWith('/x'))?.resource).toMatchObject({
      suspend: { until: undefined, reason: '' },
    })
  })

  test('an artifact with the host of the registry is reported with what was meant', () => {
    const text = policy('x', '  artifacts: [a:1, harbor.example.com/library/b:1, a:1]\n')
    const config = loadTexts({ ...repository, 'x.yaml': text })
    expect(places(config)).toEqual(['x.yaml:7:20 error PH2003', 'x.yaml:7:52 error PH3004'])
    expect(config.problems[0]?.help).toBe('Write b:1.')
  })
})

describe('whole files', () => {
  const kraken = (name: string, lines = '') => provider(name, lines).replace('vendor: dragonfly', 'vendor: kraken')
  const files = '  files: [https://models.example.com/llama.gguf]\n'
  const x = (lines: string) => ({ 'x.yaml': policy('x', `${lines}${files}`) })
  const web = { 'projects/library/web.yaml': policy('web', '  providers: [{ name: eu }]\n') }

  test('go to Dragonfly', () => {
    expect(problemsOf(x(''))).toEqual([])
  })

  test.each([
    ['that is named', 'p', '  providers: [{ name: eu }, { name: p }]\n', 8],
    ['that is the default', '', '', 7],
    ['that is selected', 'labels', '  providerSelector: { matchLabels: { site: p } }\n', 8],
  ])('cannot go to a provider of another vendor %s', (_, how, lines, line) => {
    const text = kraken('p', how === '' ? '  default: true\n' : '').replace(
      '{ name: p }',
      how === 'labels' ? '{ name: p, labels: { site: p } }' : '{ name: p }',
    )
    expect(problemsOf({ ...web, 'providers/p.yaml': text, ...x(lines) })).toEqual([`x.yaml:${line}:3 error PH3007`])
  })

  test.each([
    ['http://169.254.169.254/latest', 'PH3013'],
    ['http://0xA9FEA9FE/latest', 'PH3013'],
    ['https://metadata.google.internal/', 'PH3013'],
    ['https://x.example.com:99999/a', 'PH2003'],
  ])('%s is refused', (url, code) => {
    expect(problemsOf({ 'x.yaml': policy('x', `  files: [https://a.example.com/a, "${url}"]\n`) })).toEqual([
      `x.yaml:7:36 error ${code}`,
    ])
  })
})
