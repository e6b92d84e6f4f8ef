import { createServer, request as send } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { choose, type Choice } from '../../src/execution/choose.ts'
import { openRegistry } from '../../src/registry/open.ts'
import { systemClock } from '../../src/clock.ts'
import type { PreheatPolicy } from '../../src/model/policy.ts'
import { describeWithDockerRegistry, DockerRegistry } from '../support/docker-registry.ts'
import { never } from '../support/engine.ts'
import { artifactOf, policy, registry as registryOf, snapshot } from '../support/examples.ts'
import { buildImage, pushBuilt } from '../support/oci-images.ts'

const REPOSITORIES = 200
const TAGS = 20

/** Passes everything on and counts it by method and sort of path. */
async function countingProxy(upstream: string) {
  const counts = new Map<string, number>()
  const server = createServer((incoming, outgoing) => {
    const sort = /_catalog|tags\/list|manifests|blobs/.exec(incoming.url ?? '')?.[0] ?? 'other'
    const key = `${incoming.method ?? ''} ${sort}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
    const { method, headers, url } = incoming
    const onward = send(upstream + (url ?? ''), { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    })
    incoming.pipe(onward)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    take() {
      const taken = Object.fromEntries(counts)
      counts.clear()
      return taken
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function artifactsOf(choice: Choice) {
  if (choice.kind !== 'chosen') throw new Error(choice.message)
  return choice.tasks.map(artifactOf)
}

describeWithDockerRegistry('a real registry of 200 repositories with 20 tags each', () => {
  test('is listed and selected whole; after one push a second pass asks no more than it must', async () => {
    await using real = await DockerRegistry.start()
    await using proxy = await countingProxy(real.endpoint)
    const [old, fresh, pushed] = ['old', 'new', 'pushed'].map((seed) => buildImage({ seed, layers: 1 }))
    const half = (name: string) => Array.from({ length: TAGS / 2 }, (_, n) => `${name}${n}`)
    const names = Array.from({ length: REPOSITORIES }, (_, n) => `team/app-${String(n).padStart(3, '0')}`)
    await pushBuilt(real.endpoint, names[0]!, half('v1.'), old!)
    await pushBuilt(real.endpoint, names[0]!, half('v2.'), fresh!)
    for (const name of names.slice(1)) await real.copy(names[0]!, name)

    const declared = registryOf({
      type: 'oci',
      endpoint: proxy.endpoint,
      limits: { requestsPerSecond: 100_000, listConcurrency: 16, openArtifacts: 300 },
    })
    const ports = { read: () => Promise.reject(new Error('no secret is needed')), clock: systemClock }
    await using source = await openRegistry(declared, { ...ports, tls: () => Promise.resolve(undefined) })
    const chosen = async (over: Partial<PreheatPolicy>) => {
      const now = systemClock.now()
      const wanted = snapshot({ registry: declared, policy: policy({ project: 'team', ...over }) })
      const ledger = { warm: () => Promise.resolve([]) }
      return artifactsOf(
        await choose('20261121T020000Z-3f9a1c07', wanted, 'preheat', { source, ledger, since: now, now }, never),
      )
    }
    const only = { filters: { ...policy().filters, tags: ['v2.*'] } }

    const first = await chosen(only)
    const cost = proxy.take()
    expect(first).toHaveLength(REPOSITORIES)
    expect(first[0]).toEqual({ repository: names[0], digest: fresh!.digest, tags: half('v2.').sort() })
    // A HEAD for each selected tag and for no other, one GET for the one manifest that they all are.
    expect(cost).toMatchObject({
      'GET tags/list': REPOSITORIES,
      'HEAD manifests': (REPOSITORIES * TAGS) / 2,
      'GET manifests': 1,
    })

    await pushBuilt(real.endpoint, names[7]!, ['v2.0'], pushed!)
    const second = await chosen(only)
    const again = proxy.take()
    process.stdout.write(
      `requests of a pass over ${REPOSITORIES} × ${TAGS}: ${JSON.stringify(cost)}; after one push: ${JSON.stringify(again)}\n`,
    )
    expect(second).toHaveLength(REPOSITORIES + 1)
    expect(again['GET manifests']).toBe(1)
    expect(Object.values(again).reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(
      cost['GET tags/list']! + cost['HEAD manifests']! + cost['GET _catalog']! + 1,
    )

    expect(
      await chosen({ filters: { ...policy().filters, newest: { count: 1, by: 'semver' } }, artifacts: [] }),
    ).toEqual([])
  }, 180_000)
})
