import { expect, test } from 'vitest'
import { Metrics } from '../../src/observe/metrics.ts'
import type { PolicyView } from '../../src/model/operations.ts'
import { ManualClock } from '../support/clock.ts'
import { endedExecution, settledTask } from '../support/ended.ts'
import { EXAMPLE_AT, policy, snapshot, task } from '../support/examples.ts'
import { executionView, MemoryOperations } from '../support/operations.ts'

function open() {
  const operations = new MemoryOperations()
  const clock = new ManualClock(EXAMPLE_AT)
  const state = { asked: 0, fails: false, pulses: [{ loop: 'tasks', ageMs: 2000 }] }
  const metrics = new Metrics({
    version: '0.1.0',
    clock,
    status: () => {
      state.asked++
      return state.fails ? Promise.reject(new Error('disk full')) : operations.status()
    },
    pulses: () => state.pulses,
  })
  /** The samples of one metric. */
  const samples = async (name: string) =>
    (await metrics.render()).split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
  return { operations, clock, state, metrics, samples }
}

const LABELS = 'registry="harbor",policy="library/release-images"'

test('what ended is counted, by policy and result, and by provider and state', async () => {
  const { metrics, samples } = open()

  metrics.emit({ name: 'execution.ended', execution: endedExecution() })
  metrics.emit({ name: 'execution.ended', execution: endedExecution({ result: 'Failed' }) })
  metrics.emit({ name: 'task.changed', task: task({ state: 'Running' }) })
  metrics.emit({ name: 'task.changed', task: settledTask() })
  metrics.emit({ name: 'task.changed', task: settledTask({ state: 'Failed' }) })
  metrics.emit({ name: 'task.changed', task: settledTask({ purpose: 'look' }) })

  expect(await samples('preheatd_execution_total')).toEqual([
    `preheatd_execution_total{${LABELS},result="Success"} 1`,
    `preheatd_execution_total{${LABELS},result="Failed"} 1`,
  ])
  expect(await samples('preheatd_execution_duration_seconds_sum')).toContain(
    'preheatd_execution_duration_seconds_sum{result="Success"} 95.13',
  )
  expect(await samples('preheatd_task_total')).toEqual([
    'preheatd_task_total{provider="dragonfly-eu",state="Succeeded"} 2',
    'preheatd_task_total{provider="dragonfly-eu",state="Failed"} 1',
  ])
  // What was only looked at cost no bytes.
  expect(await samples('preheatd_execution_bytes_total')).toEqual([
    'preheatd_execution_bytes_total{provider="dragonfly-eu"} 30001500',
  ])
})

test('a run with artifacts of its own is counted, and is no series for ever', async () => {
  const { metrics, samples } = open()

  metrics.emit({ name: 'execution.ended', execution: endedExecution({ policyKey: 'PreheatRun/hotfix' }) })

  expect(await samples('preheatd_execution_total')).toEqual([
    'preheatd_execution_total{registry="_other",policy="_other",result="Success"} 1',
  ])
  expect((await samples('preheatd_last_success_timestamp_seconds')).join()).not.toContain('_other')
})

test('looks at the source, pushes, missed slots and failed loops are counted', async () => {
  const { metrics, samples } = open()

  metrics.emit({ name: 'source.unchanged', revision: 'a' })
  metrics.emit({ name: 'source.failed', state: 'Unreachable', code: 'PH4003', message: 'no answer' })
  metrics.emit({ name: 'plan.applied', revision: 'b', created: 1, updated: 0, deleted: 0, stalled: 0 })
  metrics.emit({ name: 'reports.pushed', revision: 'c', reports: 1 })
  metrics.emit({ name: 'reports.failed', code: 'PH4005', message: 'refused', waiting: 2 })
  metrics.emit({
    name: 'slot.missed',
    policyKey: 'PreheatPolicy/harbor/library/release-images',
    slot: EXAMPLE_AT,
    reason: 'late',
  })
  metrics.emit({ name: 'loop.failed', loop: 'reports', error: new Error('x') })

  expect(await samples('preheatd_source_sync_total')).toEqual([
    'preheatd_source_sync_total{result="unchanged"} 1',
    'preheatd_source_sync_total{result="Unreachable"} 1',
    'preheatd_source_sync_total{result="applied"} 1',
  ])
  expect(await samples('preheatd_report_commits_total')).toEqual([
    'preheatd_report_commits_total{result="pushed"} 1',
    'preheatd_report_commits_total{result="failed"} 1',
  ])
  expect(await samples('preheatd_schedule_missed_total')).toEqual([`preheatd_schedule_missed_total{${LABELS}} 1`])
  expect(await samples('preheatd_loop_failures_total')).toEqual(['preheatd_loop_failures_total{loop="reports"} 1'])
})

test('how it stands is as it stands when it is asked, and not as it stood', async () => {
  const { operations, clock, samples } = open()
  const gauges = async () => [
    ...(await samples('preheatd_leader')),
    ...(await samples('preheatd_suspend_status')),
    ...(await samples('preheatd_schedule_next_timestamp_seconds')),
    ...(await samples('preheatd_last_success_timestamp_seconds')),
    ...(await samples('preheatd_provider_up')),
    ...(await samples('preheatd_circuit_open')),
    ...(await samples('preheatd_open_tasks')),
    ...(await samples('preheatd_report_queue_depth')),
  ]
  const object = 'kind="PreheatPolicy",registry="harbor",name="library/release-images"'
  expect(await gauges()).toEqual([
    'preheatd_leader 1',
    `preheatd_suspend_status{${object}} 0`,
    `preheatd_schedule_next_timestamp_seconds{${LABELS}} ${EXAMPLE_AT / 1000 + 86_400}`,
    `preheatd_last_success_timestamp_seconds{${LABELS}} ${EXAMPLE_AT / 1000 + 60}`,
    'preheatd_provider_up{provider="dragonfly-eu"} 1',
    'preheatd_circuit_open{scope="provider",name="dragonfly-eu"} 0',
    'preheatd_open_tasks{provider="dragonfly-eu"} 3',
    'preheatd_report_queue_depth 0',
  ])

  const [one] = operations.view.policies
  const failed = executionView({ result: 'Failed', endedAt: EXAMPLE_AT + 900_000 })
  operations.view = {
    ...operations.view,
    leads: false,
    waitingReports: 2,
    policies: [{ ...one!, suspended: '', nextSlot: undefined, last: failed }],
    providers: [{ ...operations.view.providers[0]!, silentUntil: EXAMPLE_AT, openTasks: 0 }],
  }
  clock.advance(5000)

  expect(await gauges()).toEqual([
    'preheatd_leader 0',
    `preheatd_suspend_status{${object}} 1`,
    // What failed meanwhile does not make the last success any later, or forgotten.
    `preheatd_last_success_timestamp_seconds{${LABELS}} ${EXAMPLE_AT / 1000 + 60}`,
    'preheatd_provider_up{provider="dragonfly-eu"} 0',
    'preheatd_circuit_open{scope="provider",name="dragonfly-eu"} 1',
    'preheatd_open_tasks{provider="dragonfly-eu"} 0',
    'preheatd_report_queue_depth 2',
  ])
})

test('every condition of a policy has one series, with the status that it has', async () => {
  const { samples } = open()
  const object = 'kind="PreheatPolicy",registry="harbor",name="library/release-images"'

  expect(await samples('preheatd_reconcile_condition')).toEqual([
    `preheatd_reconcile_condition{${object},type="Ready",status="True"} 1`,
    `preheatd_reconcile_condition{${object},type="Reconciling",status="False"} 1`,
    `preheatd_reconcile_condition{${object},type="Stalled",status="False"} 1`,
  ])
})

test('a thousand policies have series of their own; the others share those of _other [S7]', async () => {
  const { operations, metrics, samples } = open()
  operations.view = {
    ...operations.view,
    policies: Array.from({ length: 1003 }, (_, index) => numbered(index)),
  }

  const next = await samples('preheatd_schedule_next_timestamp_seconds')
  expect(next).toHaveLength(1001)
  // An alert is about the first of them.
  expect(next.at(-1)).toBe(
    `preheatd_schedule_next_timestamp_seconds{registry="_other",policy="_other"} ${EXAMPLE_AT / 1000 + 1000}`,
  )
  expect((await samples('preheatd_reconcile_condition')).at(-3)).toBe(
    'preheatd_reconcile_condition{kind="PreheatPolicy",registry="_other",name="_other",type="Ready",status="True"} 3',
  )
  for (let index = 0; index < 1100; index++) {
    const { policy: name } = numbered(index)
    metrics.emit({ name: 'execution.ended', execution: endedExecution({ snapshot: ofPolicy(name) }) })
  }
  const counted = await samples('preheatd_execution_total')
  expect(counted).toHaveLength(1001)
  expect(counted.at(-1)).toBe('preheatd_execution_total{registry="_other",policy="_other",result="Success"} 100')
})

test('a policy that is not declared any more leaves its series to others', async () => {
  const { operations, clock, metrics, samples } = open()
  metrics.emit({ name: 'execution.ended', execution: endedExecution() })
  expect(await samples('preheatd_execution_total')).toHaveLength(1)

  operations.view = { ...operations.view, policies: [numbered(1)] }
  clock.advance(5000)

  expect(await samples('preheatd_execution_total')).toEqual([])
  expect(await samples('preheatd_last_success_timestamp_seconds')).toHaveLength(1)
})

test('no label holds an image, a tag or a digest [S7]', async () => {
  const { metrics } = open()
  metrics.emit({ name: 'execution.ended', execution: endedExecution() })
  metrics.emit({ name: 'task.changed', task: settledTask() })

  expect(await metrics.render()).not.toMatch(/sha256|library\/app|"v1"/)
})

test('however often somebody scrapes, the state is read every five seconds at most', async () => {
  const { clock, state, metrics } = open()

  await Promise.all([metrics.render(), metrics.render()])
  clock.advance(4999)
  await metrics.render()
  expect(state.asked).toBe(1)
  clock.advance(1)
  await metrics.render()
  expect(state.asked).toBe(2)
  clock.advance(-3_600_000)
  await metrics.render()
  expect(state.asked).toBe(3)
})

test('a state that cannot be read takes its gauges away and leaves the counters', async () => {
  const { clock, state, metrics, samples } = open()
  metrics.emit({ name: 'source.unchanged', revision: 'a' })
  expect(await samples('preheatd_status_up')).toEqual(['preheatd_status_up 1'])

  state.fails = true
  clock.advance(5000)

  expect(await samples('preheatd_status_up')).toEqual(['preheatd_status_up 0'])
  expect(await samples('preheatd_provider_up')).toEqual([])
  expect(await samples('preheatd_source_sync_total')).toHaveLength(1)
})

test('beats are instants of the wall clock', async () => {
  expect(await open().samples('preheatd_loop_heartbeat_timestamp_seconds')).toEqual([
    `preheatd_loop_heartbeat_timestamp_seconds{loop="tasks"} ${EXAMPLE_AT / 1000 - 2}`,
  ])
})

test('the figures of the process are there where they are wanted', async () => {
  const { metrics } = open()
  metrics.collectProcess()

  expect(await metrics.render()).toContain('process_resident_memory_bytes')
})

function numbered(index: number): PolicyView {
  const { view } = new MemoryOperations()
  return { ...view.policies[0]!, policy: `team/p${index}`, nextSlot: EXAMPLE_AT + index * 1000 }
}

function ofPolicy(address: string) {
  const [project, name] = address.split('/')
  return snapshot({ policy: policy({ project: project!, name: name! }) })
}
