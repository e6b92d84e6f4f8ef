import { expect, test } from 'vitest'
import { readerOf } from '../src/commands/open.ts'
import type { Event } from '../src/model/events.ts'
import { reconcile } from '../src/reconcile.ts'
import { Scene, never } from './git/support.ts'
import { ManualClock } from './support/clock.ts'
import { EXAMPLE_AT } from './support/examples.ts'
import { policyYaml, resourceYaml } from './support/site.ts'
import { describeOnEachStore } from './support/stores.ts'

/** What G10 says, and on the second store what there is time for: 10,000 take 24 s on either. */
const POLICIES = { embedded: 10_000, postgres: 2_000 }
const HOUR_MS = 3_600_000

/** So many small policies that are due at a minute past three. */
function due(minute: number, policies: number): Map<string, string> {
  return new Map(
    Array.from({ length: policies }, (_, i) => [
      `projects/team/policy-${i}.yaml`,
      policyYaml(`policy-${i}`, {
        project: 'team',
        trigger: { type: 'scheduled', schedule: { cron: `${minute} 3 * * *` } },
      }),
    ]),
  )
}

describeOnEachStore((newPlace, kind) => {
  const policies = POLICIES[kind]

  test(
    `of ${policies} policies that change and change back only what stands in the end is in force, each with one schedule [G10]`,
    { timeout: 240_000 },
    async () => {
      await using scene = await Scene.open()
      await using place = await newPlace()
      await using store = await place.open()
      const clock = new ManualClock(EXAMPLE_AT)
      const events: Event[] = []
      const ports = {
        source: scene.source(),
        reader: readerOf({ source: { type: 'dir', dir: '', matchLabels: {}, intervalMs: 60_000 } } as never),
        store,
        clock,
        emit: (event: Event) => events.push(event),
      }
      await scene.repository.commit({
        'registries/harbor.yaml': resourceYaml('Registry', 'harbor', {
          type: 'harbor',
          endpoint: 'https://harbor.example.com',
        }),
        'providers/eu.yaml': resourceYaml('Provider', 'eu', {
          vendor: 'dragonfly',
          endpoint: 'https://dragonfly.example.com',
          default: true,
        }),
      })
      const look = async () => (await reconcile(ports, never)).kind
      const [before, after] = [due(0, policies), due(30, policies)]
      await scene.repository.commitMany(before)
      expect(await look()).toBe('applied')
      const armed = await store.schedules()
      expect(armed).toHaveLength(policies)

      // Both commits between two looks: nothing has changed, and no schedule counts anew.
      clock.advance(HOUR_MS)
      await scene.repository.commitMany(after)
      await scene.repository.commitMany(before)
      expect(await look()).toBe('unchanged')
      expect(await store.schedules()).toEqual(armed)

      // A look at each: what is armed is the schedule that stands, and it counts from when it came back.
      await scene.repository.commitMany(after)
      expect(await look()).toBe('applied')
      await scene.repository.commitMany(before)
      clock.advance(HOUR_MS)
      expect(await look()).toBe('applied')
      expect(await store.schedules()).toEqual(armed.map((state) => ({ ...state, until: EXAMPLE_AT + 2 * HOUR_MS })))
      expect(events.flatMap((event) => (event.name === 'plan.applied' ? event.updated : []))).toEqual([
        0,
        0,
        policies,
        policies,
      ])
      expect(await store.openExecutions()).toEqual([])
    },
  )
})
