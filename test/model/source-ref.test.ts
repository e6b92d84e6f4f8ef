import { describe, expect, test } from 'vitest'
import { highestVersion, isVersionRange } from '../../src/model/source-ref.ts'

describe('the tag of the highest version in a range', () => {
  const tags = [
    'v1.2.0',
    'v1.10.0',
    '1.9.9',
    'v2.0.0-rc.1',
    'v2.0.0-rc.2',
    'latest',
    'release-3.0.0',
    'v1.2',
    ' 1.99.0',
  ]

  test.each([
    ['1.x', 'v1.10.0'],
    ['>=1.0.0 <1.10.0', '1.9.9'],
    ['>=1.0.0, <1.10.0', '1.9.9'],
    ['>=1.0.0', 'v1.10.0'],
    // A prerelease only where the range asks for one.
    ['*', 'v1.10.0'],
    ['>=1.0.0-0', 'v2.0.0-rc.2'],
    ['~2.0.0-0', 'v2.0.0-rc.2'],
    ['1.0.0 - 1.9.99', '1.9.9'],
    ['>=3', undefined],
  ])('%s is %s', (range, tag) => {
    expect(highestVersion(tags, range)).toBe(tag)
    expect(highestVersion([...tags].reverse(), range)).toBe(tag)
  })

  test('does not depend on the order that a remote lists two spellings of one version in', () => {
    expect(highestVersion(['1.0.0', 'v1.0.0'], '1.x')).toBe('v1.0.0')
    expect(highestVersion(['v1.0.0', '1.0.0'], '1.x')).toBe('v1.0.0')
  })

  test('what is no range is told apart', () => {
    expect(['1.x', '>=1, <2', 'main', '>>1'].map(isVersionRange)).toEqual([true, true, false, false])
  })
})
