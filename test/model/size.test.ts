import { expect, it } from 'vitest'
import { formatSize, parseSize } from '../../src/model/size.ts'

it.each([
  ['0', 0],
  ['1024', 1024],
  ['10k', 10_000],
  ['10G', 1e10],
  ['1Ki', 1024],
  ['500Gi', 500 * 2 ** 30],
  ['2Ti', 2 * 2 ** 40],
])('%s is %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes)
})

it.each(['', '1.5Gi', '-1', '10GB', '10 G', '10g', 'Gi', '1e3', '10000Pi', '99999999999999999999'])(
  '%j is not a size',
  (text) => {
    expect(() => parseSize(text)).toThrow(TypeError)
  },
)

it.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [182_000_000, '174 MiB'],
  [4_200_000_000, '3.9 GiB'],
  [2 ** 60, '1024 PiB'],
])('%d bytes are %s for people', (bytes, text) => {
  expect(formatSize(bytes)).toBe(text)
})
