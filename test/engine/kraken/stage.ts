import { FakeKraken, type KrakenOptions } from '../../doubles/kraken.ts'
import { ManualClock } from '../../support/clock.ts'
import { never, opened } from '../../support/engine.ts'
import { EXAMPLE_AT, digest, manifest, order, provider } from '../../support/examples.ts'
import { openKraken } from '../../../src/engine/kraken/kraken.ts'
import type { Engine, Observation, WantedJob } from '../../../src/engine/engine.ts'
import type { TlsMaterial } from '../../../src/http.ts'
import { Closers } from '../../../src/closers.ts'
import type { PlatformManifest } from '../../../src/model/artifact.ts'
import type { KrakenSettings, Provider } from '../../../src/model/provider.ts'
import { Secret } from '../../../src/model/secret.ts'
import type { ArtifactOrder } from '../../../src/model/task.ts'

export const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json'
export const OCI = 'application/vnd.oci.image.manifest.v1+json'
/** What a Provider's secret holds. */
export const TOKEN = 'token-of-the-proxy-before-kraken'

/** The image of every example: a manifest, a config and two layers. */
export const IMAGE: PlatformManifest = manifest({
  digest: digest('manifest'),
  mediaType: DOCKER,
  blobs: ['config', 'layer 1', 'layer 2'].map((name, i) => ({ digest: digest(name), sizeBytes: 1000 * (i + 1) })),
})

/** A Kraken cluster that can pull one image, and the driver before it; time is the test's. */
export interface KrakenStage extends AsyncDisposable {
  readonly kraken: FakeKraken
  readonly engine: Engine
  readonly clock: ManualClock
  readonly order: ArtifactOrder
  readonly job: WantedJob
  /** Looks at the job as if it was submitted when the clock stood at {@link EXAMPLE_AT}. */
  look(id?: string): Promise<Observation>
}

/**
 * @param settings undefined `origins`: those of the double
 * @param image as preheatd knows it
 */
export async function krakenStage(
  options: Partial<KrakenOptions> = {},
  settings: Partial<KrakenSettings> = {},
  overrides: Partial<Provider> = {},
  image: PlatformManifest = IMAGE,
): Promise<KrakenStage> {
  const closers = new Closers()
  const clock = new ManualClock(EXAMPLE_AT)
  const kraken = closers.use(await FakeKraken.start({ now: () => clock.now(), ...options }))
  kraken.add(
    image.digest,
    image.mediaType,
    image.sizeBytes,
    image.blobs.map((blob) => [blob.digest, blob.sizeBytes] as const),
  )
  const origins = settings.origins ?? kraken.origins.map((name) => kraken.endpoint(name))
  const engine = closers.use(
    krakenEngine({ endpoint: kraken.endpoint('proxy'), ...overrides }, { ...settings, origins }, clock),
  )
  const what = order({ digest: image.digest, manifests: [image] })
  const job: WantedJob = wanted(image)
  return {
    kraken,
    engine,
    clock,
    order: what,
    job,
    look: (id = `${settings.mode === 'notify' ? 'notified' : 'origins'}-${image.digest}`) =>
      engine.observe(what, { ...opened(job, id), submittedAt: EXAMPLE_AT }, never),
    [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
  }
}

export function wanted({ digest: own }: PlatformManifest): WantedJob {
  return { key: own, manifest: own, cluster: undefined, ids: [], state: 'wanted' }
}

/** The driver alone. */
export function krakenEngine(
  overrides: Partial<Provider>,
  settings: Partial<KrakenSettings> = {},
  clock = new ManualClock(EXAMPLE_AT),
  tls: Partial<TlsMaterial> = {},
): Engine {
  const declared = provider({
    name: 'kraken-eu',
    vendor: 'kraken',
    limits: { submitsInFlight: 16, requestsPerSecond: 1_000_000 },
    kraken: {
      mode: 'origins',
      origins: [],
      tracker: undefined,
      backend: 'registry',
      replicas: undefined,
      ...settings,
    },
    ...overrides,
  })
  const read = () => Promise.resolve(new Secret(TOKEN))
  const material = { ca: undefined, cert: undefined, key: undefined, insecureSkipVerify: false, ...tls }
  return openKraken(declared, material, { read, clock, random: () => 0 })
}

/** Where a job stands once it was submitted, as one word and what was claimed. */
export function toldBy(observation: Observation): object {
  if (observation.kind === 'open') return { said: 'open' }
  const { said, claims, message } = observation.verdict
  return { said, cached: claims?.cached.length, peers: claims?.peers, message }
}
