import { describe, expect, test } from 'vitest'
import { parseDigest } from '../../src/model/artifact.ts'
import { FakeHarbor, type AccessoryType, type FakeAllowlist, type ScanReport } from '../doubles/harbor.ts'
import { everythingOf, failureOf, never, openHarbor } from './fixtures.ts'
import type { Detail } from '../../src/registry/registry.ts'

const nothing = {
  signatures: [],
  severity: undefined,
  isProxyCache: false,
  allowlist: { ids: [], expiresAt: undefined },
}
const BOTH_TYPES =
  'application/vnd.security.vulnerability.report; version=1.1, application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0'

describe('a project', () => {
  test.each([
    [{}, {}],
    [{ enable_content_trust: 'true' }, { signatures: ['notation'] }],
    [{ enable_content_trust: 'false', enable_content_trust_cosign: 'true' }, { signatures: ['cosign'] }],
    [{ enable_content_trust: '1', enable_content_trust_cosign: 'True' }, { signatures: ['cosign', 'notation'] }],
    [{ prevent_vul: 'true', severity: 'high' }, { severity: 'high' }],
    [{ prevent_vul: 'true' }, { severity: '' }],
    [{ prevent_vul: 'false', severity: 'high' }, {}],
  ])('with %j demands %j', async (metadata, demands) => {
    await using harbor = await FakeHarbor.start()
    // A name that Harbor would take for an id.
    harbor.project('42', metadata)
    const { source } = await openHarbor(harbor)

    expect(await source.projectRules('42', never)).toEqual({ ...nothing, ...demands })
  })

  test('is known as a proxy cache', async () => {
    await using harbor = await FakeHarbor.start()
    harbor.proxy('hub')
    const { source } = await openHarbor(harbor)

    expect(await source.projectRules('hub', never)).toEqual({ ...nothing, isProxyCache: true })
  })

  const own: FakeAllowlist = { ids: ['CVE-2026-1'], expiresAt: 1_800_000_000 }
  const system: FakeAllowlist = { ids: ['CVE-2026-2', 'CVE-2026-3'] }
  test.each<[string | undefined, FakeAllowlist, FakeAllowlist, unknown]>([
    [undefined, own, system, { ids: system.ids, expiresAt: undefined }],
    ['true', own, system, { ids: system.ids, expiresAt: undefined }],
    ['false', own, system, { ids: own.ids, expiresAt: 1_800_000_000_000 }],
    ['true', own, { ids: [], expiresAt: 0 }, { ids: [], expiresAt: 0 }],
  ])('that says reuse_sys_cve_allowlist: %s has the allowlist in effect', async (reuse, ours, theirs, expected) => {
    await using harbor = await FakeHarbor.start()
    harbor.project('library', reuse === undefined ? {} : { reuse_sys_cve_allowlist: reuse }, ours)
    harbor.allow(theirs)
    const { source } = await openHarbor(harbor)

    expect((await source.projectRules('library', never)).allowlist).toEqual(expected)
    const asked = harbor.requests.filter(({ path }) => path.endsWith('/CVEAllowlist'))
    expect(asked).toHaveLength(reuse === 'false' ? 0 : 1)
  })

  test('that a robot may not read is a refusal that names the permission', async () => {
    await using harbor = await FakeHarbor.start()
    harbor.project('library')
    harbor.forbid('project:read')
    const { source } = await openHarbor(harbor)

    const error = await failureOf(source.projectRules('library', never))

    expect(error).toMatchObject({ code: 'PH6002', message: expect.stringContaining('project:read') })
  })

  test('with an allowlist of something else is not understood', async () => {
    await using harbor = await FakeHarbor.start()
    harbor.project('library')
    const { source } = await openHarbor(harbor)
    for (const body of ['{"items":[{"id":1}]}', '{"items":{}}']) {
      harbor.fail({ path: /CVEAllowlist$/, times: 1, answer: { kind: 'body', body } })
      expect(await failureOf(source.projectRules('library', never))).toMatchObject({ code: 'PH6005' })
    }
  })
})

/** One tagged image with evidence, as a listing shows it. */
async function listed(
  harbor: FakeHarbor,
  details: readonly Detail[],
  give: (digest: string) => void,
  type: 'image' | 'cnai' = 'image',
) {
  const { digest } = await harbor.push({ project: 'library', repository: 'sub/app', tags: ['v1'], type })
  give(digest)
  const { source } = await openHarbor(harbor)
  const [candidate] = await source.list({ ...everythingOf('library'), details }, never)
  return candidate
}

describe('a scan', () => {
  test.each<[ScanReport | undefined, unknown]>([
    [undefined, { state: 'unscanned', reason: 'never scanned' }],
    [{ severity: 'High' }, { state: 'scanned', severity: 'High' }],
    [
      { severity: 'Critical', version: '1.0' },
      { state: 'scanned', severity: 'Critical' },
    ],
    [{ severity: 'None' }, { state: 'scanned', severity: 'None' }],
    [{ severity: '' }, { state: 'unscanned', reason: 'scan without a severity' }],
    ...['Pending', 'Scheduled', 'Running', 'Stopped', 'Error'].map((status): [ScanReport, unknown] => [
      { status, severity: 'None' },
      { state: 'unscanned', reason: `scan ${status}` },
    ]),
  ])('%j is listed as %j', async (report, expected) => {
    await using harbor = await FakeHarbor.start()
    const candidate = await listed(harbor, ['scan'], (digest) => {
      if (report !== undefined) harbor.scan('library/sub/app', digest, report)
    })

    expect(candidate?.scan).toEqual(expected)
    const { headers } = harbor.requests.find(({ path }) => path.endsWith('/artifacts'))!
    expect(headers['x-accept-vulnerabilities']).toBe(BOTH_TYPES)
  })

  test('of a model is none, whatever the listing says', async () => {
    await using harbor = await FakeHarbor.start()
    const give = (digest: string) => {
      harbor.scan('library/sub/app', digest, { severity: 'None' })
    }

    expect((await listed(harbor, ['scan'], give, 'cnai'))?.scan).toEqual({
      state: 'unscanned',
      reason: 'not scannable',
    })
  })

  test('of what no scanner takes is told from one that was never made', async () => {
    await using harbor = await FakeHarbor.start()
    await harbor.push({ project: 'library', repository: 'chart', tags: ['1'], type: 'chart' })
    const { source } = await openHarbor(harbor)

    const [chart] = await source.list({ ...everythingOf('library'), details: ['scan'] }, never)

    expect(chart?.scan).toEqual({ state: 'unscanned', reason: 'not scannable' })
  })
})

describe('signatures', () => {
  test.each<[AccessoryType[], string[]]>([
    [[], []],
    [['sbom.harbor'], []],
    [['signature.cosign', 'signature.cosign'], ['cosign']],
    [
      ['signature.notation', 'sbom.harbor', 'signature.cosign'],
      ['cosign', 'notation'],
    ],
  ])('by the accessories %j are of the kinds %j', async (types, kinds) => {
    await using harbor = await FakeHarbor.start()
    const candidate = await listed(harbor, ['signatures'], (digest) => {
      for (const type of types) harbor.accessory('library/sub/app', digest, type)
    })
    const { source } = await openHarbor(harbor)

    expect(candidate?.signatures).toEqual(kinds)
    expect(await source.signatureKinds('library/sub/app', candidate!.digest!, never)).toEqual(kinds)
  })

  test('are those of the very manifest: the index does not sign for its children, nor they for it', async () => {
    await using harbor = await FakeHarbor.start()
    const platforms = ['linux/amd64', 'linux/arm64']
    const { digest, manifests } = await harbor.push({ project: 'library', repository: 'app', tags: ['v1'], platforms })
    harbor.accessory('library/app', digest, 'signature.cosign')
    harbor.accessory('library/app', manifests[1]!.digest, 'signature.notation')
    const { source } = await openHarbor(harbor)

    const kinds = (one: string) => source.signatureKinds('library/app', parseDigest(one), never)

    expect(await kinds(digest)).toEqual(['cosign'])
    expect(await kinds(manifests[0]!.digest)).toEqual([])
    expect(await kinds(manifests[1]!.digest)).toEqual(['notation'])
  })

  test('of a Harbor that knows no accessories are looked for beside the artifact', async () => {
    await using harbor = await FakeHarbor.start()
    const { digest } = await harbor.push({ project: 'library', repository: 'app', tags: ['v1'] })
    await harbor.push({ project: 'library', repository: 'app', tags: [`${digest.replace(':', '-')}.sig`] })
    harbor.fail({ path: /\/artifacts\/sha256/, answer: { kind: 'body', body: JSON.stringify({ digest }) } })
    const { source } = await openHarbor(harbor)

    expect(await source.signatureKinds('library/app', parseDigest(digest), never)).toEqual(['cosign'])
  })

  test('that a robot may not read are a refusal that names the permission', async () => {
    await using harbor = await FakeHarbor.start()
    const { digest } = await harbor.push({ project: 'library', repository: 'app', tags: ['v1'] })
    harbor.forbid('artifact:read')
    const { source } = await openHarbor(harbor)

    const error = await failureOf(source.signatureKinds('library/app', parseDigest(digest), never))

    expect(error).toMatchObject({ code: 'PH6002', message: expect.stringContaining('artifact:read') })
  })
})

describe('vulnerabilities', () => {
  const found = [
    { id: 'CVE-2026-1', severity: 'High' },
    { id: 'CVE-2026-2', severity: 'Low' },
  ]
  test.each(['1.0', '1.1'] as const)('are read from a report of version %s', async (version) => {
    await using harbor = await FakeHarbor.start()
    const { digest } = await harbor.push({ project: 'library', repository: 'sub/app', tags: ['v1'] })
    harbor.scan('library/sub/app', digest, { version, vulnerabilities: found })
    const { source } = await openHarbor(harbor)

    expect(await source.vulnerabilities('library/sub/app', parseDigest(digest), never)).toEqual(found)
  })

  test('may be none', async () => {
    await using harbor = await FakeHarbor.start()
    const { digest } = await harbor.push({ project: 'library', repository: 'app', tags: ['v1'] })
    harbor.scan('library/app', digest, {})
    const { source } = await openHarbor(harbor)

    expect(await source.vulnerabilities('library/app', parseDigest(digest), never)).toEqual([])
  })

  const type = 'application/vnd.security.vulnerability.report; version=1.1'
  test.each<[string, (harbor: FakeHarbor) => void, string, string]>([
    ['without a report', () => undefined, 'PH6003', 'scan it'],
    [
      'that a robot may not read',
      (harbor) => {
        harbor.forbid('artifact-addition:read')
      },
      'PH6002',
      'artifact-addition:read',
    ],
    [
      'of an artifact that is gone',
      (harbor) => {
        harbor.fail({ path: /vulnerabilities$/, answer: { kind: 'status', status: 404 } })
      },
      'PH6003',
      'read the vulnerabilities of library/app@sha256:',
    ],
    [
      'in a report without a list',
      (harbor) => {
        harbor.fail({ path: /vulnerabilities$/, answer: { kind: 'body', body: JSON.stringify({ [type]: {} }) } })
      },
      'PH6005',
      'without a list',
    ],
    [
      'without an id',
      (harbor) => {
        const body = JSON.stringify({ [type]: { vulnerabilities: [{ severity: 'Low' }] } })
        harbor.fail({ path: /vulnerabilities$/, answer: { kind: 'body', body } })
      },
      'PH6005',
      'without an id',
    ],
  ])('%s are an error that says so', async (_what, spoil, code, message) => {
    await using harbor = await FakeHarbor.start()
    const { digest } = await harbor.push({ project: 'library', repository: 'app', tags: ['v1'] })
    spoil(harbor)
    const { source } = await openHarbor(harbor)

    const error = await failureOf(source.vulnerabilities('library/app', parseDigest(digest), never))

    expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
  })
})
