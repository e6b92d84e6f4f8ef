import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/load.ts'
import type { Problem } from '../../src/model/problem.ts'
import type { Located, Resource } from '../../src/model/resource.ts'
import type { Applied } from '../../src/store/store.ts'
import { isEmpty, plan } from '../../src/plan/plan.ts'
import { EXAMPLE_AT, located, policy, preheatRun, provider, registry, scheduledPolicy } from '../support/examples.ts'

const commit = { commit: 'abc', author: 'Ada', subject: 'change' }
const KEY = 'PreheatPolicy/harbor/library/release-images'

const config = (resources: (Resource | Located)[], overrides: Partial<Config> = {}): Config => ({
  config: commit,
  objects: resources.map((one) => ('key' in one ? one : located(one))),
  stalled: [],
  problems: [],
  ignored: 0,
  ...overrides,
})

/** What is in force after `resources` were applied and came back from a store that speaks JSON. */
const applied = (resources: (Resource | Located)[]): Applied => {
  const objects = config(resources).objects.map((one) => ({ ...one, problems: [] }))
  return JSON.parse(JSON.stringify({ config: commit, appliedAt: EXAMPLE_AT, objects, problems: [] })) as Applied
}

const planOf = (after: Config, before: (Resource | Located)[]) => plan(after, applied(before), EXAMPLE_AT)
const problem = (overrides: Partial<Problem>): Problem => ({
  severity: 'error',
  code: 'PH2003',
  file: 'example.yaml',
  line: 4,
  column: 2,
  message: 'must be a number',
  ...overrides,
})

const all = [registry(), provider({ isDefault: true }), scheduledPolicy('0 2 * * *'), preheatRun()]

describe('a plan', () => {
  it('creates everything where nothing is in force', () => {
    const result = plan(config(all), undefined, EXAMPLE_AT)
    expect(result.changes.map(({ action, kind, name }) => `${action} ${kind} ${name}`)).toEqual([
      'create Registry harbor',
      'create Provider dragonfly-eu',
      'create PreheatPolicy library/release-images',
      'create PreheatRun hotfix-2026-11-21',
    ])
    expect(result.rearm).toEqual([KEY])
    expect(isEmpty(result)).toBe(false)
  })

  it('is empty when a file was renamed, a document moved or a comment written, and knows the new place', () => {
    const moved = all.map((one) => ({ ...located(one, 'elsewhere/renamed.yaml'), line: 40 }))
    const result = planOf(config(moved), all)
    expect(isEmpty(result)).toBe(true)
    expect(result).toMatchObject({ changes: [], unchanged: 4, retargeted: [], rearm: [], next: [] })
    expect(result.objects.every(({ file, line }) => file === 'elsewhere/renamed.yaml' && line === 40)).toBe(true)
  })

  it('leaves what says the same in the same place as the very value that is in force', () => {
    const [first, second] = [located(provider({ isDefault: true })), located(scheduledPolicy('0 2 * * *'))]
    const inForce: Applied = { ...applied([]), objects: [first, second].map((one) => ({ ...one, problems: [] })) }
    const { objects, unchanged, changes } = plan(config([{ ...first, line: 7 }, { ...second }]), inForce, EXAMPLE_AT)
    expect(changes).toEqual([])
    expect(unchanged).toBe(2)
    expect(objects.find(({ key }) => key === KEY)).toBe(inForce.objects[1])
    expect(objects.find(({ key }) => key === first.key)).toMatchObject({ line: 7 })
  })

  it('does not depend on the order in which a store gives fields back', () => {
    const reversed = all.map((one) => Object.fromEntries(Object.entries(one).reverse()) as unknown as Resource)
    expect(isEmpty(planOf(config(all), reversed))).toBe(true)
  })

  it('does not depend on the order of files', () => {
    expect(planOf(config([...all].reverse()), [])).toEqual(planOf(config(all), []))
  })

  it('names each field that changed as its author writes it, with both values', () => {
    const before = scheduledPolicy('0 2 * * *', { timeoutMs: 3_600_000 })
    const after = {
      ...scheduledPolicy('30 4 * * *', { description: 'Nightly' }),
      limits: { maxArtifacts: 1000, maxBytes: 500 * 2 ** 30 },
    }
    const [change] = planOf(config([after]), [before]).changes
    expect(change).toMatchObject({ action: 'update', key: KEY, file: 'example.yaml', line: 1 })
    expect(change!.fields).toEqual([
      { path: 'spec.description', before: undefined, after: 'Nightly' },
      { path: 'spec.trigger.schedule.cron', before: '0 2 * * *', after: '30 4 * * *' },
      { path: 'spec.limits.maxBytes', before: undefined, after: '500Gi' },
      { path: 'spec.timeout', before: '1h', after: undefined },
    ])
  })

  it('names a provider’s fields as its author writes them', () => {
    const after = provider({
      isDefault: true,
      auth: { type: 'bearer', secret: 'df' },
      cacheLifetimeMs: 60_000,
      allowPlainHttp: true,
      dragonfly: { ...provider().dragonfly, clusters: { ids: [2] } },
    })
    const [change] = planOf(config([after]), [provider()]).changes
    expect(change!.fields.map(({ path, after }) => [path, after])).toEqual([
      ['spec.default', true],
      ['spec.auth.mode', 'oauth'],
      ['spec.auth.secretRef.name', 'df'],
      ['spec.cacheLifetime', '1m'],
      ['spec.dragonfly.clusterIds', [2]],
      ['spec.allowPlainHTTP', true],
      ['spec.dragonfly.clusters', undefined],
    ])
  })

  it('deletes what is not declared any more', () => {
    const result = planOf(config([registry()]), all)
    expect(result.changes.map(({ action }) => action)).toEqual(['delete', 'delete', 'delete'])
    expect(result.objects.map(({ key }) => key)).toEqual(['Registry/harbor'])
    expect(result.rearm).toEqual([KEY])
  })
})

describe('a broken object', () => {
  const stalled = [{ file: 'example.yaml', key: KEY }]

  it('stays in force as it was, with the findings about it', () => {
    const problems = [problem({ key: KEY }), problem({ key: 'Registry/harbor', severity: 'warning' })]
    const result = planOf(config([registry()], { stalled, problems }), [registry(), policy()])
    expect(result.changes).toEqual([])
    expect(result.stalled).toEqual([{ ...JSON.parse(JSON.stringify(located(policy()))), problems: [problems[0]] }])
    expect(result.objects.map(({ key }) => key)).toEqual([KEY, 'Registry/harbor'])
    expect(result.invalid).toEqual([])
    expect(result.unchanged).toBe(1)
  })

  it('that cannot even be named holds all that stood in its file', () => {
    const other = located(policy({ name: 'other' }), 'other.yaml')
    const unreadable = { stalled: [{ file: 'example.yaml', key: undefined }], problems: [problem({ code: 'PH1003' })] }
    const result = planOf(config([registry()], unreadable), [registry(), policy(), other])
    expect(result.stalled.map(({ key, problems }) => [key, problems.map(({ code }) => code)])).toEqual([
      [KEY, ['PH1003']],
    ])
    expect(result.changes.map(({ action, name }) => `${action} ${name}`)).toEqual(['delete library/other'])
  })

  it('that never had a good version is invalid', () => {
    const result = planOf(config([registry()], { stalled, problems: [problem({ key: KEY })] }), [registry()])
    expect(result).toMatchObject({ stalled: [], invalid: stalled })
    expect(isEmpty(result)).toBe(true)
  })

  it('is mended by a good version', () => {
    const before = applied([policy()])
    const held = { ...before, objects: before.objects.map((one) => ({ ...one, problems: [problem({})] })) }
    expect(plan(config([policy()]), held, EXAMPLE_AT)).toMatchObject({
      stalled: [],
      objects: [{ key: KEY, problems: [] }],
    })
  })
})

describe('a change of providers', () => {
  const eu = provider({ isDefault: true, labels: { region: 'eu' } })
  const us = provider({ name: 'dragonfly-us', labels: { region: 'us' } })
  const byDefault = policy({ providers: [] })
  const bySelector = policy({ name: 'eu-only', providers: [], providerSelector: { region: 'eu' } })
  const byName = policy({ name: 'named' })
  const before = [eu, us, byDefault, bySelector, byName]

  it('of the default lists the policies that it sends elsewhere', () => {
    const after = [{ ...eu, isDefault: false }, { ...us, isDefault: true }, byDefault, bySelector, byName]
    expect(planOf(config(after), before).retargeted).toEqual([
      { policy: 'library/release-images', before: ['dragonfly-eu'], after: ['dragonfly-us'] },
    ])
  })

  it('of labels, existence or nothing lists whom it concerns', () => {
    const relabelled = [eu, { ...us, labels: { region: 'eu' } }, byDefault, bySelector, byName]
    expect(planOf(config(relabelled), before).retargeted).toEqual([
      { policy: 'library/eu-only', before: ['dragonfly-eu'], after: ['dragonfly-eu', 'dragonfly-us'] },
    ])
    const gone = planOf(config([us, byDefault, bySelector, byName]), before).retargeted
    expect(gone.map(({ policy, after }) => [policy, after])).toEqual([
      ['library/eu-only', []],
      ['library/named', []],
      ['library/release-images', ['dragonfly-us']],
    ])
    expect(planOf(config(before), before).retargeted).toEqual([])
  })

  it('does not list a policy that changed itself', () => {
    const changed = { ...byDefault, providers: [{ name: 'dragonfly-us' }] }
    const after = [eu, { ...us, description: 'new' }, changed, bySelector, byName]
    expect(planOf(config(after), before).retargeted).toEqual([])
  })
})

describe('schedules', () => {
  const nightly = scheduledPolicy('0 2 * * *')

  it.each([
    ['its time changes', scheduledPolicy('0 3 * * *'), [KEY]],
    ['it is disabled', { ...nightly, enabled: false }, [KEY]],
    ['it becomes manual', policy(), [KEY]],
    ['its filters change', { ...nightly, filters: { ...nightly.filters, tags: ['v*'] } }, []],
    ['its description changes', { ...nightly, description: 'x' }, []],
  ])('of a policy are armed anew only for their own sake: %s', (_, after, rearm) => {
    expect(planOf(config([after]), [nightly]).rearm).toEqual(rearm)
  })

  it('show the next three runs, in the zone that counts', () => {
    const berlin = scheduledPolicy('CRON_TZ=Europe/Berlin 30 4 * * *')
    expect(planOf(config([berlin]), [nightly]).next).toEqual([
      {
        key: KEY,
        policy: 'library/release-images',
        timeZone: 'Europe/Berlin',
        at: ['2026-11-21T03:30:00Z', '2026-11-22T03:30:00Z', '2026-11-23T03:30:00Z'].map((text) => Date.parse(text)),
      },
    ])
    expect(planOf(config([nightly]), [nightly]).next).toEqual([])
    expect(planOf(config([{ ...nightly, enabled: false }]), []).next).toEqual([])
  })

  it('leave out what a suspension covers; a slot at its very end runs', () => {
    const until = Date.parse('2026-11-25T02:00:00Z')
    const frozen = (end: number | undefined) => ({ ...nightly, suspend: { until: end, reason: 'freeze' } })
    const runs = (end: number | undefined) => planOf(config([frozen(end)]), [nightly]).next.flatMap(({ at }) => at)
    expect(runs(until)).toEqual([until, until + 86_400_000, until + 2 * 86_400_000])
    expect(runs(until + 1)[0]).toBe(until + 86_400_000)
    expect(runs(EXAMPLE_AT - 1)).toEqual(planOf(config([nightly]), []).next[0]?.at)
    expect(runs(undefined)).toEqual([])
  })
})
