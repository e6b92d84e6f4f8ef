import { expect, test } from 'vitest'
import { FakeHarbor } from '../doubles/harbor.ts'
import { FakeKraken } from '../doubles/kraken.ts'
import { cli } from '../support/cli.ts'
import { addHarbor, openSite, policyYaml, reportsOn, resourceYaml, runYaml, type Site } from '../support/site.ts'

interface Place extends AsyncDisposable {
  readonly site: Site
  readonly kraken: FakeKraken
  /** Blobs of the image. */
  readonly blobs: number
}

/** A Harbor with one image, and a Kraken that reads from elsewhere. */
async function place(settings: (kraken: FakeKraken) => Readonly<Record<string, unknown>>): Promise<Place> {
  const site = await openSite()
  const harbor = await FakeHarbor.start()
  const kraken = await FakeKraken.start({ now: Date.now, backend: 'other' })
  const image = await harbor.push({ project: 'team', repository: 'app', tags: ['v1'] })
  for (const { digest, mediaType, sizeBytes, blobs } of image.manifests)
    kraken.add(
      digest,
      mediaType,
      sizeBytes,
      blobs.map((one) => [one.digest, one.sizeBytes]),
    )
  await site.repository.commit({
    'registries/harbor.yaml': await addHarbor(site, harbor),
    'providers/kraken-eu.yaml': resourceYaml('Provider', 'kraken-eu', {
      vendor: 'kraken',
      endpoint: kraken.endpoint('proxy'),
      default: true,
      limits: { requestsPerSecond: 1000 },
      dragonfly: { pollSchedule: ['100ms', '200ms', '400ms'] },
      kraken: { backend: 'other', ...settings(kraken) },
    }),
    'projects/team/release.yaml': policyYaml('release', { project: 'team', retry: { attempts: 1 }, timeout: '300ms' }),
    'projects/team/run.yaml': runYaml('first', 'team/release'),
  })
  await site.configure()
  return {
    site,
    kraken,
    blobs: image.manifests.flatMap((one) => one.blobs).length,
    async [Symbol.asyncDispose]() {
      await kraken[Symbol.asyncDispose]()
      await harbor[Symbol.asyncDispose]()
      await site[Symbol.asyncDispose]()
    },
  }
}

function originsOf(kraken: FakeKraken): string[] {
  return kraken.origins.map((name) => kraken.endpoint(name))
}

/** What whoever asks is told after one run, and whether another run believes that there is nothing left to do. */
async function toldOf({ site, kraken }: Place): Promise<object> {
  const run = (...args: string[]) => cli([...args, '--config', site.configFile])
  const submissions = () => kraken.requests.filter((line) => / POST .*(notifications|prefetch)$/.test(line)).length
  const once = await run('once', '--wait')
  const [filed] = await reportsOn(site.repository)
  const statusFile = (await site.repository.files('preheat-reports'))['status.yaml']!
  // Both only read: starting a process is what takes time here.
  const [told, warm] = await Promise.all([run('status', '-o', 'json'), run('warm', 'team/app:v1', '-o', 'json')])
  const status = JSON.parse(told.stdout) as { policies: { last: { result: string } }[] }
  const before = submissions()
  const again = await run('preheat', 'team/release', '--wait')
  return {
    codes: [once.code, warm.code, again.code],
    tasks: filed!.report.spec.tasks.map(({ state, error, evidence }) => [state, error?.code, evidence?.blobs]),
    results: [filed!.report.spec.result, status.policies[0]!.last.result],
    calledSuccess: [once.stdout, statusFile, again.stdout].map((text) => text.includes('Success')),
    warm: (JSON.parse(warm.stdout) as { providers: object[] }).providers,
    submittedAgain: submissions() > before,
  }
}

const lies: readonly [string, (kraken: FakeKraken) => Readonly<Record<string, unknown>>, unknown[], string][] = [
  ['the proxy, and nobody to ask', () => ({ mode: 'notify' }), ['Unverified', 'PH5004', undefined], 'nothing of it is'],
  [
    'the proxy, and the tracker knows',
    (kraken) => ({ mode: 'notify', tracker: kraken.endpoint('tracker') }),
    ['Failed', 'PH5006', 0],
    'nothing of it is',
  ],
  ['every origin', (kraken) => ({ origins: originsOf(kraken) }), ['Failed', 'PH5006', 0], 'the engine shows 0 of'],
]

test.each(lies)(
  'nothing is cached, and success is said by %s: nobody is told that it is warm',
  async (...row) => {
    const [, settings, task, reason] = row
    await using one = await place(settings)
    const { kraken } = one
    kraken.contents.clear()
    kraken.trouble = (_server, line) => (/^POST .*prefetch$/.test(line) ? { kind: 'answer', status: 200 } : undefined)

    expect(await toldOf(one)).toEqual({
      codes: [1, 1, 1],
      tasks: [task],
      results: [task[0], task[0]],
      calledSuccess: [false, false, false],
      warm: [{ name: 'kraken-eu', warm: false, reason: expect.stringContaining(reason) }],
      submittedAgain: true,
    })
  },
  120_000,
)

test('what the origins hold is warm for whoever asks, and is not sent again', async () => {
  await using one = await place((kraken) => ({ origins: originsOf(kraken) }))
  const { blobs } = one

  expect(await toldOf(one)).toEqual({
    codes: [0, 0, 0],
    tasks: [['Succeeded', undefined, blobs]],
    results: ['Success', 'Success'],
    calledSuccess: [true, true, false],
    warm: [expect.objectContaining({ name: 'kraken-eu', warm: true, from: 'ledger' })],
    submittedAgain: false,
  })
}, 120_000)
