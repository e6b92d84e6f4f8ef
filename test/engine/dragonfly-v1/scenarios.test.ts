import { describe, expect, test } from 'vitest'
import { v1Stage, type V1Stage } from './stage.ts'
import type { DragonflyV1Options, DragonflyV1Trouble } from '../../doubles/dragonfly-v1.ts'
import { ManualClock } from '../../support/clock.ts'
import { PULL_TOKEN, never, type Script } from '../../support/engine.ts'
import { EXAMPLE_AT, digest } from '../../support/examples.ts'
import { settledTask } from '../../support/settled.ts'
import type { Code } from '../../../src/model/codes.ts'
import type { ArtifactOrder, SettledState } from '../../../src/model/task.ts'

interface Scenario {
  readonly on: readonly DragonflyV1Options['dialect'][]
  /** Layers of the image; default one that is nobody else's. */
  readonly layers?: readonly string[]
  /** What the registry says instead of the manifest. */
  readonly registry?: Script
  /** Before the submission. */
  readonly before?: (stage: V1Stage, clock: ManualClock) => unknown
  /** After the first. */
  readonly after?: (stage: V1Stage) => void
  /** State of the task, with one retry, and code and message of why it fell short. */
  readonly ends: readonly [SettledState, Code, RegExp]
}

const SUPERNODES = ['1.0.5', '1.0.6'] as const
const ALL = [...SUPERNODES, 'compat'] as const
const notShown = /^this API does not show which blobs were cached$/

/** Has another image of these layers preheated to its end. */
async function preheated({ engine, double }: V1Stage, order: ArtifactOrder, clock: ManualClock): Promise<void> {
  const [job] = await engine.jobs(order, never)
  const id = await engine.submit(order, job!, PULL_TOKEN, never)
  await double.settled()
  await engine.observe(order, { ...job!, ids: [id], state: 'open', id, submittedAt: clock.now(), lookAt: 0 }, never)
  clock.advance(3_600_000)
}
const other =
  (...layers: readonly string[]) =>
  async (stage: V1Stage, clock: ManualClock) => {
    await preheated(stage, stage.image(...layers), clock)
  }
const next = (method: string, trouble: DragonflyV1Trouble) => (stage: V1Stage) => {
  stage.double.troubleNext(1, method, trouble)
}
const layerUrl = (layer: string) => `/blobs/${digest(layer)}`

const scenarios: Readonly<Record<string, Scenario>> = {
  complete: { on: ALL, ends: ['Unverified', 'PH5004', notShown] },
  'the same image once more, which has ended well: 409 or 208': {
    on: SUPERNODES,
    before: other('own'),
    ends: ['Unverified', 'PH5004', /earlier task, which ended 2026-11-21T02:00:00\.000Z, and fetched nothing anew/],
  },
  'the same image once more, which failed and is tried again': {
    on: SUPERNODES,
    before: async (stage, clock) => {
      stage.double.failure = () => 'dfget: exit status 1'
      await other('own')(stage, clock)
      stage.double.failure = () => undefined
    },
    ends: ['Unverified', 'PH5004', notShown],
  },
  'a layer that another image brought': {
    on: SUPERNODES,
    layers: ['own', 'base', 'top'],
    before: other('base'),
    ends: ['Unverified', 'PH5004', /one of its layers had been preheated before .* did not go on/],
  },
  'a layer that failed with another image, and fails again': {
    on: SUPERNODES,
    layers: ['base', 'own'],
    before: async (stage, clock) => {
      stage.double.failure = (url) => (url.endsWith(layerUrl('base')) ? 'dfget: no space left' : undefined)
      await other('base')(stage, clock)
    },
    ends: ['Failed', 'PH5006', /dfget: no space left$/],
  },
  'a layer that cannot be fetched': {
    on: SUPERNODES,
    before: ({ double }) => {
      double.failure = () => 'dfget: exit status 1'
    },
    ends: ['Failed', 'PH5006', /dfget: exit status 1$/],
  },
  'a job that failed, of which no more is said': {
    on: ['compat'],
    before: ({ double }) => {
      double.failure = () => 'never told'
    },
    ends: ['Failed', 'PH5006', /gave no error$/],
  },
  'a restart, which loses all tasks': {
    on: SUPERNODES,
    after: ({ double }) => {
      double.restart()
    },
    ends: ['Unverified', 'PH5004', /no record of the job any more; /],
  },
  'a row that was collected': {
    on: ['compat'],
    after: ({ double }) => {
      double.collect()
    },
    ends: ['Unverified', 'PH5004', /no record of the job any more; /],
  },
  'half an hour without an end': {
    on: SUPERNODES,
    before: ({ double }) => {
      double.endless = true
    },
    ends: ['Failed', 'PH5006', /^timeout$/],
  },
  'no end at all': {
    on: ['compat'],
    before: ({ double }) => {
      double.endless = true
    },
    ends: ['Lost', 'PH5005', /never said how the job ended$/],
  },
  'a pull token that the registry refuses, told by the task': {
    on: SUPERNODES,
    registry: { status: 401, body: 'unauthorized: nope' },
    ends: ['Failed', 'PH5006', /^401 Unauthorized unauthorized: nope$/],
  },
  'a pull token that the registry refuses, told at once': {
    on: ['compat'],
    registry: { status: 401, body: 'unauthorized: nope' },
    ends: ['Failed', 'PH5002', /HTTP 500: 401 Unauthorized unauthorized: nope$/],
  },
  'a manager that has /preheats no longer': {
    on: ['removed'],
    ends: ['Failed', 'PH5008', />= 2\.4\.1 no longer has \/preheats: write vendor: dragonfly/],
  },
  'a manager that has it no longer since the job was taken': {
    on: ['compat'],
    after: ({ double }) => {
      double.dialect = 'removed'
    },
    ends: ['Lost', 'PH5005', /never said how the job ended/],
  },
  'a manager that has it elsewhere': {
    on: ['2.0.0'],
    ends: ['Failed', 'PH5008', /2\.0\.0 has only \/api\/v1\/preheats.*upgrade it/],
  },
  'a supernode that has none yet': { on: ['1.0.4'], ends: ['Failed', 'PH5008', />= 1\.0\.5/] },
  'a submission that is cut': {
    on: ALL,
    before: next('POST', { kind: 'cut' }),
    ends: ['Unverified', 'PH5004', /does not show which blobs were cached$/],
  },
  'a look that is cut': {
    on: ALL,
    after: next('GET', { kind: 'cut' }),
    ends: ['Unverified', 'PH5004', notShown],
  },
  'a slow answer': {
    on: ALL,
    before: next('POST', { kind: 'slow', ms: 20 }),
    ends: ['Unverified', 'PH5004', notShown],
  },
  'a limit': {
    on: ALL,
    before: next('POST', { kind: 'answer', status: 429, body: '', headers: { 'retry-after': '7' } }),
    ends: ['Unverified', 'PH5004', notShown],
  },
  'a gateway without an engine': {
    on: ALL,
    before: ({ double }) => {
      double.trouble = () => ({ kind: 'answer', status: 503, body: '<html>' })
    },
    ends: ['Failed', 'PH5001', /HTTP 503$/],
  },
}
const cases = Object.entries(scenarios).flatMap(([name, scenario]) =>
  scenario.on.map((dialect) => [dialect, name, scenario] as const),
)

describe('what a task of each scenario of /preheats ends as', () => {
  test.each(cases)('%s: %s', async (dialect, _, { layers = ['own'], registry, before, after, ends }) => {
    const clock = new ManualClock(EXAMPLE_AT)
    await using stage = await v1Stage({ dialect, now: () => clock.now() }, {}, clock)
    await before?.(stage, clock)
    const order = stage.image(...layers)
    if (registry !== undefined) stage.registry.script = registry

    const { state, error } = await settledTask(stage.engine, order, PULL_TOKEN, clock, async () => {
      await stage.double.settled()
      after?.(stage)
    })

    const [wanted, code, message] = ends
    expect([state, error?.code]).toEqual([wanted, code])
    expect(error?.message).toMatch(message)
  })
})
