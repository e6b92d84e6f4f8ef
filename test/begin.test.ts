import { expect, test } from 'vitest'
import { beginRuns, waitingRuns, type BeginPorts } from '../src/begin.ts'
import type { Event } from '../src/model/events.ts'
import type { Resource } from '../src/model/resource.ts'
import type { Applied } from '../src/store/store.ts'
import { ManualClock } from './support/clock.ts'
import { artifactRun, EXAMPLE_AT, located, policy, provider, registry } from './support/examples.ts'
import { describeOnEachStore, type NewPlace } from './support/stores.ts'

const run = artifactRun()

/** What these declare, in force. */
function applied(...resources: Resource[]): Applied {
  return {
    config: { commit: 'c0ffee', author: 'ada', subject: 'x' },
    appliedAt: EXAMPLE_AT,
    objects: resources.map((one) => ({ ...located(one), problems: [] })),
    problems: [],
  }
}

async function placeOn(newPlace: NewPlace) {
  const state = await newPlace()
  const store = await state.open()
  const events: Event[] = []
  const ports: BeginPorts = {
    store,
    clock: new ManualClock(EXAMPLE_AT),
    emit: (event) => events.push(event),
    replace: () => Promise.resolve(),
  }
  return {
    store,
    ports,
    /** `run.waiting` with its reason, and the names of the others. */
    told: () => events.map((event) => ('reason' in event ? `${event.name}: ${event.reason}` : event.name)),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await state[Symbol.asyncDispose]()
    },
  }
}

describeOnEachStore((newPlace) => {
  const place = () => placeOn(newPlace)

  test('a run with artifacts of its own begins an execution of itself, with what it asks for, and one only', async () => {
    await using one = await place()
    const declared = applied(registry(), provider(), run)

    const [execution, ...others] = await beginRuns(declared, one.ports)

    expect(others).toEqual([])
    expect(execution).toMatchObject({
      policyKey: `PreheatRun/${run.name}`,
      cause: { type: 'manual', run: { name: run.name, digest: run.digest, reason: run.reason } },
      snapshot: {
        policy: run.ownPolicy,
        registry: { name: 'harbor' },
        targets: [{ provider: { name: 'dragonfly-eu' } }],
        refresh: 'missing',
      },
    })
    expect(await one.store.unsentRuns()).toMatchObject([
      { name: run.name, policy: `library/${run.name}`, executionId: execution?.id },
    ])
    expect(await beginRuns(declared, one.ports)).toEqual([])
    expect(one.told()).toEqual(['execution.started'])
  })

  test('neither a policy of its name elsewhere, which is disabled, nor an operator who lets all rest keeps it back', async () => {
    await using one = await place()
    const rests = policy({ name: run.name, project: 'other', enabled: false })
    await one.store.suspend('*', { by: 'ada', reason: 'freeze', at: EXAMPLE_AT })

    expect(await beginRuns(applied(registry(), provider(), rests, run), one.ports)).toHaveLength(1)
  })

  test.each([
    ['its registry', [provider()], 'registry harbor is not declared'],
    ['its provider', [registry()], 'no provider is called dragonfly-eu'],
    [
      'a provider that is open to its project',
      [registry(), provider({ projects: ['harbor/other'] })],
      'provider dragonfly-eu is not open to harbor/library',
    ],
  ])('without %s it waits, and says so', async (_, others, reason) => {
    await using one = await place()
    const declared = applied(...others, run)

    expect(await beginRuns(declared, one.ports)).toEqual([])

    expect(one.told()).toEqual([`run.waiting: ${reason}`])
    expect(waitingRuns(declared, new Set(), EXAMPLE_AT)).toMatchObject([
      { key: `PreheatRun/${run.name}`, problems: [{ code: 'PH8009', message: `it waits: ${reason}` }] },
    ])
    expect(waitingRuns(declared, new Set([`${run.name} ${run.digest}`]), EXAMPLE_AT)).toEqual([])
  })

  test('once it has expired it does nothing, and does not wait', async () => {
    await using one = await place()
    const until = (expiresAt: number) => applied(registry(), provider(), artifactRun({ expiresAt }))

    expect(await beginRuns(until(EXAMPLE_AT), one.ports)).toEqual([])
    expect(waitingRuns(applied(artifactRun({ expiresAt: EXAMPLE_AT })), new Set(), EXAMPLE_AT)).toEqual([])
    expect(one.told()).toEqual([])
    expect(await beginRuns(until(EXAMPLE_AT + 1), one.ports)).toHaveLength(1)
  })
})
