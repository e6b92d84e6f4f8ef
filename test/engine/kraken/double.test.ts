import { describe, expect, test } from 'vitest'
import { digest } from '../../support/examples.ts'
import { DOCKER, IMAGE, OCI, krakenStage, type KrakenStage } from './stage.ts'

const target = { mediaType: DOCKER, digest: IMAGE.digest, repository: 'library/app' }

/** Past the driver, as another client of the proxy would. */
function notify({ kraken }: KrakenStage, events: readonly object[]): Promise<Response> {
  const body = JSON.stringify({ events })
  return fetch(`${kraken.endpoint('proxy')}/registry/notifications`, { method: 'POST', body })
}

function held({ kraken }: KrakenStage): string[] {
  return [...kraken.contents.keys()].filter((one) => kraken.holders(one).length > 0)
}

describe('a Kraken, as what the driver avoids shows', () => {
  const layers = IMAGE.blobs.map((blob) => blob.digest)

  test('answers 200 to an event of an OCI manifest that its registry denies, and caches nothing', async () => {
    await using stage = await krakenStage({}, {}, {}, { ...IMAGE, mediaType: OCI })

    expect((await notify(stage, [{ action: 'push', target: { ...target, mediaType: OCI } }])).status).toBe(200)
    expect(held(stage)).toEqual([])
  })

  test('follows an index to its manifests, and not to their layers', async () => {
    await using stage = await krakenStage()
    const index = digest('index')
    stage.kraken.contents.set(index, { kind: 'manifest', sizeBytes: 9, mediaType: DOCKER, references: [IMAGE.digest] })

    expect((await notify(stage, [{ action: 'push', target: { ...target, digest: index } }])).status).toBe(200)
    expect(held(stage).sort()).toEqual([IMAGE.digest, index].sort())
  })

  test.each([
    ['0.1.6', [digest('other')]],
    ['0.1.27', [IMAGE.digest, ...layers, digest('other')]],
  ] as const)('%s makes this of two events in one request', async (version, expected) => {
    await using stage = await krakenStage({ version })
    stage.kraken.add(digest('other'), DOCKER, 5, [])
    const other = { ...target, digest: digest('other') }

    await notify(stage, [
      { action: 'push', target },
      { action: 'push', target: other },
    ])

    expect(held(stage)).toEqual(expected)
  })

  test('drops what is no push of a manifest that it knows', async () => {
    await using stage = await krakenStage()
    const list = { ...target, mediaType: 'application/vnd.docker.distribution.manifest.list.v2+json' }

    const answer = await notify(stage, [
      { action: 'pull', target },
      { action: 'push', target: list },
    ])

    expect([answer.status, await answer.text()]).toEqual([200, ''])
    expect(held(stage)).toEqual([])
  })

  test('refuses a whole request for one bad timestamp, and crashes on an event without target', async () => {
    await using stage = await krakenStage()

    const answer = await notify(stage, [{ action: 'push', target, timestamp: 'yesterday' }])
    expect([answer.status, await answer.text()]).toEqual([500, 'decode body: parsing time "yesterday"'])
    await expect(notify(stage, [{ action: 'push' }])).rejects.toThrow('fetch failed')
    expect(held(stage)).toEqual([])
  })

  test('lets a blob evaporate that nobody reads for six hours, and a question for it is no reading', async () => {
    await using stage = await krakenStage({ origins: 1, replicas: 1 })
    const { kraken, clock } = stage
    const path = `/internal/namespace/library%2Fapp/blobs/${IMAGE.digest}`
    const ask = async (method: string, what: string) =>
      (await fetch(kraken.endpoint('origin-1') + what, { method })).status

    expect(await ask('GET', `${path}/metainfo`)).toBe(202)
    expect(await ask('GET', `${path}/metainfo`)).toBe(200)
    clock.advance(5 * 3_600_000)
    expect(await ask('HEAD', `${path}?local=true`)).toBe(200)
    clock.advance(3_600_000)

    expect(await ask('HEAD', `${path}?local=true`)).toBe(404)
    expect(await ask('HEAD', path)).toBe(200)
  })
})
