import { expect, test } from 'vitest'
import { targetsOf } from '../../src/model/targets.ts'
import { policy, provider } from '../support/examples.ts'

const eu = provider({ name: 'eu', labels: { region: 'eu', tier: 'prod' } })
const us = provider({ name: 'us', labels: { region: 'us', tier: 'prod' } })
const anyProvider = { providers: [], providerSelector: undefined }

function names(...args: Parameters<typeof targetsOf>): string[] | string {
  const found = targetsOf(...args)
  return found.ok ? found.targets.map((target) => target.provider.name) : found.code
}

test('a policy goes to the providers that it names, in its order, each once', () => {
  const wants = policy({ ...anyProvider, providers: [{ name: 'us' }, { name: 'eu' }, { name: 'us' }] })
  expect(names(wants, [eu, us])).toEqual(['us', 'eu'])
})

test('a policy’s scope and clusters win over its provider’s', () => {
  const wants = policy({
    ...anyProvider,
    providers: [{ name: 'eu', scope: 'all_peers', clusters: ['eu-1'] }, { name: 'us' }],
  })
  expect(targetsOf(wants, [eu, us])).toMatchObject({
    ok: true,
    targets: [
      { scope: 'all_peers', clusters: ['eu-1'] },
      { scope: 'single_seed_peer', clusters: undefined },
    ],
  })
})

test('a selector adds the providers that carry all of its labels', () => {
  const wants = (labels: Record<string, string>) =>
    policy({ providers: [{ name: 'eu', scope: 'all_peers' }], providerSelector: labels })
  expect(names(wants({ tier: 'prod' }), [us, eu])).toEqual(['eu', 'us'])
  expect(names(wants({ tier: 'prod', region: 'eu' }), [us, eu])).toEqual(['eu'])
  expect(targetsOf(wants({ tier: 'prod' }), [us, eu])).toMatchObject({ targets: [{ scope: 'all_peers' }, {}] })
})

test('a selector that finds nothing does not fall back', () => {
  const wants = policy({ providers: [], providerSelector: { constructor: 'x' } })
  expect(names(wants, [eu])).toBe('PH3014')
})

test('a policy that names none goes to the default provider, else to the only one', () => {
  const wants = policy(anyProvider)
  expect(names(wants, [us, { ...eu, isDefault: true }])).toEqual(['eu'])
  expect(names(wants, [us])).toEqual(['us'])
  expect(names(wants, [us, eu])).toBe('PH3014')
  expect(names(wants, [])).toBe('PH3014')
  expect(
    names(wants, [
      { ...us, isDefault: true },
      { ...eu, isDefault: true },
    ]),
  ).toBe('PH3014')
})

test('a provider that is gone is an error and not a smaller plan', () => {
  expect(names(policy({ ...anyProvider, providers: [{ name: 'eu' }, { name: 'gone' }] }), [eu])).toBe('PH8007')
})

test('a disabled provider stays a target, because its tasks are reported as skipped', () => {
  expect(names(policy({ ...anyProvider, providers: [{ name: 'eu' }] }), [{ ...eu, enabled: false }])).toEqual(['eu'])
})

test('a provider closed to the project is refused where it is named or default, and passed over by a selector', () => {
  const closed = provider({ ...us, projects: ['harbor/team-*', 'a['] })
  const of = (project: string) => ({ registry: 'harbor', project })
  expect(names(policy({ ...anyProvider, ...of('library'), providers: [{ name: 'us' }] }), [closed])).toBe('PH3008')
  expect(names(policy({ ...anyProvider, ...of('team-a'), providers: [{ name: 'us' }] }), [closed])).toEqual(['us'])
  expect(names(policy({ ...anyProvider, ...of('library') }), [closed])).toBe('PH3008')
  const selecting = { providers: [], providerSelector: { tier: 'prod' } }
  expect(names(policy({ ...selecting, ...of('library') }), [closed, eu])).toEqual(['eu'])
})

test('a policy of a whole oci registry needs a provider open to all of it', () => {
  const wants = policy({ ...anyProvider, registry: 'quay', project: undefined })
  expect(names(wants, [provider({ projects: ['**'] })])).toEqual(['dragonfly-eu'])
  expect(names(wants, [provider({ projects: ['quay/**'] })])).toEqual(['dragonfly-eu'])
  expect(names(wants, [provider({ projects: ['quay/team'] })])).toBe('PH3008')
})
