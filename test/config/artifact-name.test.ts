import { expect, test } from 'vitest'
import { checkArtifactName, parseArtifactName } from '../../src/config/artifact-name.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`
const check = (text: string) => checkArtifactName(text, 'library', ['harbor.example.com', 'pull.example.com:8443'])

test.each([
  ['nginx:1.27', { name: 'nginx', reference: { tag: '1.27' } }],
  ['team/a__b/c-d.e:V_1.0-x', { name: 'team/a__b/c-d.e', reference: { tag: 'V_1.0-x' } }],
  [`app@${DIGEST}`, { name: 'app', reference: { digest: DIGEST } }],
])('%s names an artifact', (text, expected) => {
  expect(parseArtifactName(text)).toEqual(expected)
  expect(check(text)).toBeUndefined()
})

test.each([
  ['nginx', 'nginx:latest'],
  ['library/nginx', 'nginx:latest'],
  [`nginx:1.27@${DIGEST}`, `nginx@${DIGEST}`],
  ['harbor.example.com/library/nginx:1.27', 'nginx:1.27'],
  ['pull.example.com:8443/nginx:1.27', 'nginx:1.27'],
  ['other.example.com:5000/nginx:1.27', 'nginx:1.27'],
  ['https://harbor.example.com/library/nginx:1.27', 'nginx:1.27'],
  ['Nginx:1.27', undefined],
  ['nginx:', undefined],
  ['nginx:.5', undefined],
  ['-nginx:1', undefined],
  ['a//b:1', undefined],
  ['../b:1', undefined],
  [`app@sha512:${'a'.repeat(128)}`, undefined],
  [`nginx:${'a'.repeat(129)}`, undefined],
])('%s is an error, and the suggestion is %s', (text, suggestion) => {
  expect(check(text)).toMatchObject({ severity: 'error', suggestion })
})

test.each([
  ['library/nginx:1.27', 'nginx:1.27'],
  ['docker.io/library/nginx:1.27', 'nginx:1.27'],
  ['quay.io/team/app:1', 'team/app:1'],
])('%s may be what is meant, but %s is more likely', (text, suggestion) => {
  expect(parseArtifactName(text)).toBeDefined()
  expect(check(text)).toMatchObject({ severity: 'warning', suggestion })
})
