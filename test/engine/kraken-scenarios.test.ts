import { expect, test } from 'vitest'
import { DOCKER, IMAGE, OCI, krakenEngine, krakenStage } from './kraken/stage.ts'
import { IDLE_MS, type FakeKraken, type KrakenOptions, type ServerName } from '../doubles/kraken.ts'
import { digest, task } from '../support/examples.ts'
import { settledWith } from '../support/settled.ts'
import type { KrakenSettings, Provider } from '../../src/model/provider.ts'
import type { PlatformManifest } from '../../src/model/artifact.ts'
import type { OpenTask } from '../../src/model/task.ts'

interface Scenario {
  readonly options?: Partial<KrakenOptions>
  /** Default: its origins, all of them. */
  readonly settings?: (kraken: FakeKraken) => Partial<KrakenSettings>
  /** Of the Provider. */
  readonly overrides?: Partial<Provider>
  readonly image?: PlatformManifest
  /** Of an index, beside the image. */
  readonly also?: PlatformManifest
  readonly before?: (kraken: FakeKraken) => void
  /** A task for the same image some time after the first, and what happens in between; what it brings counts. */
  readonly later?: {
    readonly ms: number
    readonly purpose: OpenTask['purpose']
    readonly after?: (kraken: FakeKraken) => void
  }
  readonly state: string
  /** Undefined: there is no error. */
  readonly code?: string
  readonly says?: RegExp
  /** Blobs that the evidence counts; undefined: there is none. */
  readonly blobs?: number
  /** Default `observed`. */
  readonly source?: string
}

const [, layer1, layer2] = IMAGE.blobs.map((blob): string => blob.digest) as [string, string, string]
const everything = [IMAGE.digest, ...IMAGE.blobs.map((blob) => blob.digest)]
const notify = (kraken: FakeKraken) => ({ mode: 'notify' as const, origins: originsOf(kraken) })
const blind = () => ({ mode: 'notify' as const, origins: [] })
const tracked = (kraken: FakeKraken) => ({ ...blind(), tracker: kraken.endpoint('tracker') })
const nothing = (kraken: FakeKraken) => {
  kraken.contents.clear()
}
const error = (status: number, text: string) => (kraken: FakeKraken) => {
  kraken.contents.set(layer2, { kind: 'error', status, text })
}
const failing = (afterMs: number, text: string) => (kraken: FakeKraken) => {
  kraken.contents.set(layer2, { kind: 'failing', afterMs, text })
}
const answer =
  (where: RegExp, status: number, body = '', headers: Record<string, string> = {}) =>
  (kraken: FakeKraken) => {
    kraken.trouble = (server, line) =>
      where.test(`${server} ${line}`) ? { kind: 'answer', status, body, headers } : undefined
  }
const dropped = (kraken: FakeKraken) => {
  for (const origin of kraken.origins) kraken.drop(origin, layer1)
}
const ownedBy =
  (...owners: string[]) =>
  (kraken: FakeKraken) => {
    for (const one of everything) kraken.ownersOf.set(one, owners)
  }
const all = { state: 'Succeeded', blobs: 3 }
const page = { 'content-type': 'text/html' }

const scenarios: Readonly<Record<string, Scenario>> = {
  'everything there at once': all,
  'a pull that takes half a minute': {
    before: (kraken) => kraken.contents.set(layer2, { kind: 'blob', sizeBytes: 3000, pullMs: 30_000 }),
    ...all,
  },
  'a copy that lags': { options: { copyMs: 25_000 }, ...all },
  'a copy that never comes': { options: { copyMs: Infinity }, ...all },
  'a copy that never comes, where one is enough': {
    options: { copyMs: Infinity },
    settings: (kraken) => ({ origins: originsOf(kraken), replicas: 1 }),
    ...all,
  },
  'fewer copies than are asked for': {
    settings: (kraken) => ({ origins: originsOf(kraken), replicas: 3 }),
    state: 'Failed',
    code: 'PH5006',
    says: /held by 2 of 3 origins.*kraken\.replicas asks for 3/,
    blobs: 0,
  },
  'nothing behind the origins': { before: nothing, state: 'Failed', code: 'PH5002', says: /no such blob/ },
  'no layer behind the origins': {
    before: (kraken) => kraken.contents.delete(layer2),
    state: 'Failed',
    code: 'PH5002',
    says: new RegExp(`pull ${layer2} with HTTP 404: .*no such blob`),
  },
  'workers that are busy': { before: error(503, ''), state: 'Failed', code: 'PH5001', says: /workers are busy/ },
  'no backend for the repository': {
    before: error(500, 'backend manager: no matches for namespace'),
    state: 'Failed',
    code: 'PH5002',
    says: /no entry of the origins’ backends/,
  },
  'a blob over the limit': {
    before: error(500, '3KB blob exceeds size limit of 2KB'),
    state: 'Failed',
    code: 'PH5002',
    says: /blobrefresh\.size_limit/,
  },
  'a backend that is down': {
    before: error(500, 'stat: head blob: network error: dial tcp 10.0.0.9:443: connect: connection refused'),
    state: 'Failed',
    code: 'PH5001',
    says: /HTTP 500: stat: head blob: network error/,
  },
  'a pull that fails again and again after a minute, which is told for 15 s': {
    before: failing(60_000, 'copy: context deadline exceeded (Client.Timeout exceeded while reading body)'),
    state: 'Partial',
    code: 'PH5006',
    says: new RegExp(`^${layer2} is held by 0 of 2 origins; .*Client\\.Timeout.*registry_blob\\.timeout`),
    blobs: 2,
  },
  'a pull that fails after nine minutes, when nobody would look for another five': {
    before: failing(540_000, 'Client.Timeout exceeded while reading body'),
    state: 'Partial',
    code: 'PH5006',
    says: new RegExp(`^${layer2} is held by 0 of 2 origins; .*Client\\.Timeout.*registry_blob\\.timeout`),
    blobs: 2,
  },
  'by the tracker’s word, a pull that fails again and again': {
    settings: tracked,
    // Of several owners the tracker tells the first that does not refuse.
    before: (kraken) => {
      ownedBy('origin-1')(kraken)
      failing(30_000, 'unexpected EOF')(kraken)
    },
    state: 'Partial',
    code: 'PH5006',
    says: /held by 0 of 1 origins; pulling failed 6 times; .*unexpected EOF/,
    blobs: 2,
    source: 'claimed-by-engine',
  },
  'a pull that never ends': {
    before: (kraken) => kraken.contents.set(layer2, { kind: 'blob', sizeBytes: 3000, pullMs: 1e9 }),
    state: 'Lost',
    code: 'PH5005',
    says: new RegExp(`^the engine never said how the job ended; ${layer2} is held by 0 of 2 origins$`),
    blobs: 2,
  },
  'half a blob': {
    later: {
      ms: 0,
      purpose: 'look',
      after: (kraken) => kraken.contents.set(layer2, { kind: 'blob', sizeBytes: 2999 }),
    },
    state: 'Partial',
    code: 'PH5010',
    says: new RegExp(`has 2999 bytes of ${layer2}, not 3000`),
    blobs: 2,
  },
  'evaporated after six hours': {
    later: { ms: IDLE_MS, purpose: 'look' },
    state: 'Failed',
    code: 'PH5010',
    says: /held by 0 of 2 origins/,
    blobs: 0,
  },
  'kept by a preheat within six hours': { later: { ms: IDLE_MS - 1, purpose: 'preheat' }, ...all },
  'one layer dropped, and looked at': {
    later: { ms: 60_000, purpose: 'look', after: dropped },
    state: 'Partial',
    code: 'PH5010',
    says: new RegExp(`${layer1} is held by 0 of 2 origins`),
    blobs: 2,
  },
  'one layer dropped, and healed': { later: { ms: 60_000, purpose: 'heal', after: dropped }, ...all },
  'an owner that is not declared': {
    before: ownedBy('origin-1', 'metadata.internal:80'),
    state: 'Failed',
    code: 'PH5002',
    says: /names metadata\.internal:80 as an owner, which is not among kraken\.origins/,
  },
  'an owner with a name before it': {
    before: ownedBy('user@origin:80'),
    state: 'Failed',
    code: 'PH5008',
    says: /who owns/,
  },
  'the better owner out of reach': {
    before: (kraken) => {
      ownedBy('origin-1', 'origin-2')(kraken)
      kraken.trouble = (server) => (server === 'origin-1' ? { kind: 'cut' } : undefined)
    },
    state: 'Failed',
    code: 'PH5006',
    says: /held by 1 of 2 origins.*does not answer/,
    blobs: 0,
  },
  'no origin in reach': {
    before: (kraken) => {
      kraken.trouble = (server) => (server.startsWith('origin') ? { kind: 'cut' } : undefined)
    },
    state: 'Failed',
    code: 'PH5001',
    says: /origin 127\.0\.0\.1:\d+ does not answer/,
  },
  'no certificate': { options: { wantsCertificates: true }, ...all },
  'no certificate, before an nginx that wants one of all': {
    before: answer(/origin/, 400, '<html>400 No required SSL certificate was sent</html>', page),
    state: 'Failed',
    code: 'PH5002',
    says: /tls\.certFile and tls\.keyFile/,
  },
  'v0.1.6': { options: { version: '0.1.6' }, ...all },
  'two platforms': { also: second(DOCKER), state: 'Succeeded', blobs: 4 },
  'an OCI image from a registry': {
    image: { ...IMAGE, mediaType: OCI },
    state: 'Failed',
    code: 'PH3007',
    says: /without Accept.*Docker schema 2/,
  },
  'an OCI image beside a Docker one': { also: second(OCI), state: 'Failed', code: 'PH3007', says: /without Accept/ },
  'an OCI image from a store of blobs': {
    options: { backend: 'other' },
    settings: (kraken) => ({ backend: 'other', origins: originsOf(kraken) }),
    image: { ...IMAGE, mediaType: OCI },
    ...all,
  },
  'an OCI image from a registry that is passed off as a store': {
    settings: (kraken) => ({ backend: 'other', origins: originsOf(kraken) }),
    image: { ...IMAGE, mediaType: OCI },
    state: 'Failed',
    code: 'PH5002',
    says: /no such blob/,
  },
  'another server than an origin': {
    before: answer(/locations/, 404, '<html>', page),
    state: 'Failed',
    code: 'PH5008',
    says: /no origin’s blob server/,
  },

  'notified, everything there': { settings: notify, ...all },
  'notified, nothing cached': {
    settings: notify,
    before: nothing,
    state: 'Failed',
    code: 'PH5006',
    says: /no such blob/,
    blobs: 0,
  },
  'notified, one layer missing': {
    settings: notify,
    before: (kraken) => kraken.contents.delete(layer2),
    state: 'Partial',
    code: 'PH5006',
    says: new RegExp(`^${layer2} is held by 0 of 2 origins; .*no such blob`),
    blobs: 2,
  },
  'notified, a manifest that takes a while': {
    settings: notify,
    before: (kraken) => {
      kraken.trouble = (server) => (server === 'proxy' ? { kind: 'slow', ms: 50 } : undefined)
    },
    ...all,
  },
  'notified, two platforms at v0.1.6': {
    settings: notify,
    options: { version: '0.1.6' },
    also: second(DOCKER),
    state: 'Succeeded',
    blobs: 4,
  },
  'notified, everything there and nobody to ask': {
    settings: blind,
    state: 'Unverified',
    code: 'PH5004',
    says: /answers 200 whatever happens/,
  },
  'notified, nothing there and nobody to ask': {
    settings: blind,
    before: nothing,
    state: 'Unverified',
    code: 'PH5004',
    says: /answers 200 whatever happens/,
  },
  'notified, and looked at by nobody': {
    settings: blind,
    later: { ms: 0, purpose: 'look' },
    state: 'Unverified',
    code: 'PH5004',
    says: /no origins or tracker are declared/,
  },
  'notified, everything there by the tracker’s word': { settings: tracked, ...all, source: 'claimed-by-engine' },
  'notified, nothing there by the tracker’s word': {
    settings: tracked,
    before: nothing,
    state: 'Failed',
    code: 'PH5006',
    says: /tracker .* HTTP 404: origin:: what it reads from has no such blob/,
    blobs: 0,
    source: 'claimed-by-engine',
  },
  'notified, and a page by the tracker’s word': {
    settings: tracked,
    before: answer(/^tracker/, 200, '<html>', page),
    state: 'Failed',
    code: 'PH5006',
    says: /this is no tracker/,
    blobs: 0,
    source: 'claimed-by-engine',
  },
  'notified at nginx': {
    options: { proxyPort: 'nginx' },
    settings: notify,
    state: 'Failed',
    code: 'PH5008',
    says: /this is Kraken’s nginx port; name the proxy server’s own listener/,
  },
  'notified where only a unix socket listens': {
    settings: notify,
    overrides: { endpoint: 'http://127.0.0.1:9' },
    state: 'Failed',
    code: 'PH5001',
    says: /ECONNREFUSED.*unix socket/,
  },
  'notified, and the handler crashes': {
    settings: notify,
    before: (kraken) => {
      kraken.trouble = (server) => (server === 'proxy' ? { kind: 'cut' } : undefined)
    },
    state: 'Failed',
    code: 'PH5001',
    says: /proxy 127\.0\.0\.1:\d+ does not answer/,
  },
}

test.each(Object.entries(scenarios))('what becomes of a task: %s', async (_, scenario) => {
  const { image = IMAGE, also, later, state, code, says, blobs, source = 'observed' } = scenario
  await using stage = await krakenStage(scenario.options, {}, {}, image)
  const { kraken, clock } = stage
  const manifests = [image, ...(also ? [also] : [])]
  if (also)
    kraken.add(
      also.digest,
      also.mediaType,
      also.sizeBytes,
      also.blobs.map((one) => [one.digest, one.sizeBytes]),
    )
  const settings = scenario.settings?.(kraken) ?? { origins: originsOf(kraken) }
  const declared = { endpoint: kraken.endpoint('proxy'), ...scenario.overrides }
  await using engine = krakenEngine(declared, settings, clock)
  scenario.before?.(kraken)
  const order = { ...stage.order, manifests, timeoutMs: 900_000 }
  const once = task({ order, retry: { attempts: 1, backoffMs: 1000 } })

  let settled = await settledWith(engine, once, clock)
  if (later) {
    later.after?.(kraken)
    clock.advance(later.ms)
    settled = await settledWith(engine, { ...once, purpose: later.purpose, nextAt: clock.now() }, clock)
  }

  expect([settled.state, settled.error?.code, settled.evidence?.blobs], settled.error?.message).toEqual([
    state,
    code,
    blobs,
  ])
  if (says) expect(settled.error?.message).toMatch(says)
  if (settled.evidence) expect(settled.evidence.source).toBe(source)
})

function second(mediaType: string): PlatformManifest {
  return { ...IMAGE, digest: digest('arm'), mediaType, blobs: [{ digest: digest('arm layer'), sizeBytes: 7 }] }
}

function originsOf(kraken: FakeKraken): string[] {
  return kraken.origins.map((name: ServerName) => kraken.endpoint(name))
}
