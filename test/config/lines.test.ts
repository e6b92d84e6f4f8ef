import { expect, it } from 'vitest'
import { linesOf } from '../../src/config/lines.ts'

const file = Buffer.from(`# two documents
apiVersion: preheatd.io/v1alpha1
kind: Other
---
apiVersion: preheatd.io/v1alpha1
kind: PreheatPolicy
spec:
  filters:
    tags:
      - v*
      - latest
    exclude: { tags: ["*-rc*"] }
`)

it.each([
  ['spec.filters.tags[1]', 11],
  ['spec.filters.exclude.tags[0]', 12],
  ['spec.filters.types', 8],
  ['spec.criteria.signature', 7],
])('%s stands at line %i, or the nearest thing around it does', (field, line) => {
  expect(linesOf(file, 5)(field)).toBe(line)
})

it.each([
  ['no bytes', undefined],
  ['what is not YAML', Buffer.from('a: [')],
])('with %s every field stands at the document', (_, bytes) => {
  expect(linesOf(bytes, 5)('spec.filters.tags[1]')).toBe(5)
})
