import { describe, expect, test } from 'vitest'
import { parseDigest } from '../../src/model/artifact.ts'
import { fieldsOf } from '../../src/plan/document.ts'
import type { PreheatPolicy } from '../../src/model/policy.ts'
import type { PreheatRun } from '../../src/model/run.ts'
import { artifactRun, policy, preheatRun } from '../support/examples.ts'

const DIGEST = parseDigest(`sha256:${'a'.repeat(64)}`)
const PEM = '-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n'

/** The fields of a policy below one of its sections. */
function below(section: string, overrides: Partial<PreheatPolicy>): Record<string, unknown> {
  const fields = fieldsOf(policy(overrides)).filter(({ path }) => path.startsWith(`spec.${section}`))
  return Object.fromEntries(fields.map(({ path, value }) => [path, value]))
}

test('a run is shown with its policy, or with what it asks for itself', () => {
  const fieldsIn = (run: PreheatRun) => Object.fromEntries(fieldsOf(run).map(({ path, value }) => [path, value]))
  expect(fieldsIn(preheatRun())).toMatchObject({
    'spec.policy': 'library/release-images',
    'spec.reason': 'CVE-2026-1234 hotfix',
  })
  const own = fieldsIn(artifactRun())
  expect(own).toMatchObject({
    'spec.registry': 'harbor',
    'spec.project': 'library',
    'spec.artifacts': ['app:v1'],
    'spec.refresh.mode': 'missing',
    'spec.reason': 'CVE-2026-1234 hotfix',
  })
  expect(Object.keys(own).filter((path) => /filters|trigger|limits|spec\.policy/.test(path))).toEqual([])
})

describe('a policy as its author writes it', () => {
  test('a key is shown by its path and by what sha256sum says of it, never by its content', () => {
    const trust = {
      keys: [
        { name: 'keys/a.pub', pem: PEM },
        { name: 'keys/b.pub', pem: 'b' },
      ],
      identities: [{ issuer: 'https://issuer.example.com', subject: 'me@example.com' }],
      trustedRoot: { name: 'keys/trusted_root.json', json: '{}' },
    }
    const shown = below('criteria', {
      criteria: { signature: { mode: 'verified', trust }, vulnerability: { mode: 'below', severity: 'high' } },
    })
    expect(shown).toEqual({
      'spec.criteria.signature.mode': 'verified',
      'spec.criteria.signature.keys[0]':
        'keys/a.pub (sha256:e812c735ba78b6f2610ed547abef60b4b2a6413224e369bcc0a5b6d47a9a205d)',
      'spec.criteria.signature.keys[1]':
        'keys/b.pub (sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d)',
      'spec.criteria.signature.identities': [{ issuer: 'https://issuer.example.com', subject: 'me@example.com' }],
      'spec.criteria.signature.trustedRoot':
        'keys/trusted_root.json (sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a)',
      'spec.criteria.vulnerability.mode': 'below',
      'spec.criteria.vulnerability.severity': 'high',
    })
  })

  test('a suspension is shown with its end, and one without an end as that', () => {
    expect(below('suspend', { suspend: { until: Date.UTC(2026, 11, 24), reason: 'freeze' } })).toEqual({
      'spec.suspend.until': '2026-12-24T00:00:00.000Z',
      'spec.suspend.reason': 'freeze',
    })
    expect(below('suspend', { suspend: { until: undefined, reason: '' } })).toEqual({ 'spec.suspend.until': null })
    expect(below('suspend', {})).toEqual({})
  })

  test('named artifacts, files and what is newest are shown as they are written', () => {
    const named = policy({
      artifacts: [
        { name: 'nginx', reference: { tag: '1.27' } },
        { name: 'app', reference: { digest: DIGEST } },
      ],
      files: ['https://models.example.com/llama.gguf'],
    })
    expect(below('artifacts', named)).toEqual({ 'spec.artifacts': ['nginx:1.27', `app@${DIGEST}`] })
    expect(below('files', named)).toEqual({ 'spec.files': ['https://models.example.com/llama.gguf'] })
    const filters = { ...named.filters, newest: { count: 3, by: 'semver' } as const }
    expect(below('filters.newest', { filters })).toEqual({
      'spec.filters.newest.count': 3,
      'spec.filters.newest.by': 'semver',
    })
  })
})
