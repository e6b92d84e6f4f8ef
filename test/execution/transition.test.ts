import { describe, expect, test } from 'vitest'
import {
  intended,
  jobEnded,
  nextStep,
  observeFault,
  planned,
  stillOpen,
  submitFault,
  submitted,
} from '../../src/execution/transition.ts'
import type { Digest } from '../../src/model/artifact.ts'
import type { Job, OpenTask, StepFault, Task, Verdict } from '../../src/model/task.ts'
import { digest, EXAMPLE_AT as now, manifest, order, task } from '../support/examples.ts'

const MANIFEST = digest(1)
const CONFIG = digest('config')
const LAYER = digest('layer')
const unavailable: StepFault = { fault: 'unavailable', code: 'PH5001', message: 'refused', retryAfterMs: undefined }
const rejected: StepFault = { fault: 'rejected', code: 'PH5002', message: 'no such scope', retryAfterMs: undefined }

function wanted(cluster?: string): Job {
  const of = cluster === undefined ? undefined : { id: cluster, name: `cluster-${cluster}` }
  return { key: `${MANIFEST}@${cluster ?? 'all'}`, manifest: MANIFEST, cluster: of, ids: [], state: 'wanted' }
}

/** A task whose jobs were all taken by the engine. */
function running(...clusters: (string | undefined)[]): OpenTask {
  return clusters.reduce<OpenTask>(
    (one, cluster, i) => {
      const { key } = wanted(cluster)
      return submitted(intended(one, key, now), key, `${i + 1}`, now, now + 30_000)
    },
    planned(task(), clusters.map(wanted), now),
  )
}

function success(...cached: Digest[]): Verdict {
  return {
    said: 'success',
    claims: { kind: 'success_tasks', source: 'claimed-by-engine', cached, peers: 1 },
    message: undefined,
  }
}

function said(what: Verdict['said'], message?: string): Verdict {
  return { said: what, claims: undefined, message }
}

/** Ends the jobs of a task, one after another, in its last attempt. */
function endAll(start: OpenTask, ...verdicts: Verdict[]): Task {
  return verdicts.reduce<Task>(
    (one, verdict, i) => jobEnded(one as OpenTask, one.jobs[i]!.key, verdict, now + 30_000, 0),
    {
      ...start,
      attempts: start.retry.attempts,
    },
  )
}

describe('the walk of a task', () => {
  test('asks for its jobs, then submits each, then looks at the one that is due', () => {
    const fresh = task()
    const ready = planned(fresh, [wanted('1'), wanted('2')], now)
    const first = submitted(intended(ready, wanted('1').key, now), wanted('1').key, '17', now, now + 30_000)

    expect(nextStep(fresh, now)).toEqual({ kind: 'plan' })
    expect(nextStep(ready, now)).toMatchObject({ kind: 'submit', job: { key: wanted('1').key } })
    expect(first).toMatchObject({ state: 'Submitting', nextAt: now })
    expect(nextStep(first, now)).toMatchObject({ kind: 'submit', job: { key: wanted('2').key } })
    expect(running('1', '2')).toMatchObject({ state: 'Running', nextAt: now + 30_000, attempts: 1 })
    expect(nextStep(running('1', '2'), now)).toMatchObject({ kind: 'observe', job: { id: '1' } })
  })

  test('an intent that a crash cut off is submitted again, within the same attempt', () => {
    const cut = intended(planned(task(), [wanted('1')], now), wanted('1').key, now)

    expect(nextStep(cut, now)).toMatchObject({ kind: 'submit' })
    expect(intended(cut, wanted('1').key, now).attempts).toBe(1)
  })

  test('a look that finds the job open asks again when it is next worth it', () => {
    const later = stillOpen(running('1'), wanted('1').key, now + 90_000, now + 3_600_000, now + 30_000)

    expect(later).toMatchObject({ state: 'Running', nextAt: now + 90_000 })
  })
})

describe('what a settled task says', () => {
  test('Succeeded needs every blob of every cluster', () => {
    expect(endAll(running('1', '2'), success(CONFIG, LAYER), success(LAYER, CONFIG))).toMatchObject({
      state: 'Succeeded',
      evidence: { kind: 'success_tasks', source: 'claimed-by-engine', blobs: 4, of: 4, peers: 1 },
      error: undefined,
      missing: [],
    })
  })

  test('a blob that one cluster lacks makes it Partial and names the blob', () => {
    expect(endAll(running('1', '2'), success(CONFIG, LAYER), success(CONFIG))).toMatchObject({
      state: 'Partial',
      evidence: { blobs: 3, of: 4 },
      missing: [LAYER],
      error: { code: 'PH5003' },
    })
  })

  test('success with nothing cached is Failed, never Succeeded', () => {
    expect(endAll(running('1'), success())).toMatchObject({
      state: 'Failed',
      missing: [CONFIG, LAYER].sort(),
      error: { code: 'PH5003' },
    })
  })

  test('success without a list is Unverified: nothing could be looked at', () => {
    const settled = endAll(running('1'), said('success'))

    expect(settled).toMatchObject({ state: 'Unverified', evidence: undefined, missing: [], error: { code: 'PH5004' } })
  })

  test('a record that is gone is Unverified', () => {
    expect(endAll(running('1'), said('gone'))).toMatchObject({ state: 'Unverified', error: { code: 'PH5004' } })
  })

  test('one cluster shown and the other gone is Unverified, with what was shown', () => {
    expect(endAll(running('1', '2'), success(CONFIG, LAYER), said('gone'))).toMatchObject({
      state: 'Unverified',
      evidence: { blobs: 2, of: 4 },
      missing: [],
    })
  })

  test('a failed job is Failed in the engine’s words', () => {
    expect(endAll(running('1'), said('failure', 'no available seed peer'))).toMatchObject({
      state: 'Failed',
      error: { code: 'PH5006', message: 'no available seed peer' },
    })
  })

  test('one cluster shown and the other failed is Partial', () => {
    expect(endAll(running('1', '2'), success(CONFIG, LAYER), said('failure', 'no seed'))).toMatchObject({
      state: 'Partial',
      evidence: { blobs: 2, of: 4 },
    })
  })

  test('a failure that lists every blob is not a success', () => {
    const lying: Verdict = { ...success(CONFIG, LAYER), said: 'failure' }

    expect(endAll(running('1'), lying)).toMatchObject({ state: 'Partial' })
  })

  test('a job that is never heard of again is Lost', () => {
    const lost = stillOpen(running('1'), wanted('1').key, now + 90_000, now + 60_000, now + 60_000)

    expect(lost).toMatchObject({ state: 'Lost', error: { code: 'PH5005' }, endedAt: now + 60_000 })
  })

  test('a layer that two platforms share is expected once', () => {
    const arm = manifest({ digest: digest('arm'), blobs: [{ digest: LAYER, sizeBytes: 1 }] })
    const both = { ...running('1'), order: order({ manifests: [manifest(), arm] }) }
    const twoJobs: OpenTask = {
      ...both,
      jobs: [...both.jobs, { ...both.jobs[0]!, key: 'arm@1', manifest: digest('arm') }],
    }

    expect(endAll(twoJobs, success(CONFIG, LAYER), success(LAYER))).toMatchObject({
      state: 'Succeeded',
      evidence: { blobs: 2, of: 2 },
    })
  })
})

describe('going round again', () => {
  test('only the jobs that fell short are submitted again, and keep their old ids', () => {
    const half = jobEnded(running('1', '2'), wanted('1').key, success(CONFIG, LAYER), now, 0) as OpenTask
    const again = jobEnded(half, wanted('2').key, success(CONFIG), now + 30_000, 0)

    expect(again).toMatchObject({ state: 'Pending', attempts: 1, nextAt: now + 35_000 })
    expect(again.jobs.map(({ state, ids }) => [state, ids])).toEqual([
      ['ended', ['1']],
      ['wanted', ['2']],
    ])
    const resubmitted = submitted(intended(again as OpenTask, wanted('2').key, now), wanted('2').key, '3', now, now)
    expect(resubmitted).toMatchObject({ attempts: 2, jobs: [{ ids: ['1'] }, { ids: ['2', '3'] }] })
  })

  test('the wait doubles and never exceeds five minutes', () => {
    const wait = (attempts: number) => {
      const last = { ...running('1'), attempts, retry: { attempts: 20, backoffMs: 5000 } }
      return (jobEnded(last, wanted('1').key, said('failure'), now, 0) as OpenTask).nextAt - now
    }

    expect([1, 2, 3, 12].map(wait)).toEqual([5000, 10_000, 20_000, 300_000])
  })

  test('what could not be looked at is not submitted again', () => {
    expect(jobEnded(running('1'), wanted('1').key, said('success'), now, 0).state).toBe('Unverified')
  })
})

describe('faults', () => {
  test('an engine that does not take a job spends an attempt each time, then the task fails', () => {
    let one: Task = planned(task(), [wanted('1')], now)
    const states: string[] = []
    for (let round = 0; round < 3; round++) {
      one = submitFault(intended(one as OpenTask, wanted('1').key, now), wanted('1').key, unavailable, now, 0)
      states.push(one.state)
    }

    expect(states).toEqual(['Pending', 'Pending', 'Failed'])
    expect(one).toMatchObject({ attempts: 3, error: { code: 'PH5001', message: 'refused' } })
  })

  test('a rate limit never spends an attempt, as long as the task’s time lasts', () => {
    const limited: StepFault = { ...unavailable, retryAfterMs: 1000 }
    const start = intended(planned(task(), [wanted('1')], now), wanted('1').key, now)
    let one: Task = start
    for (let i = 1; i <= 50; i++) one = submitFault(one as OpenTask, wanted('1').key, limited, now + i * 1000, 0)

    expect(one).toMatchObject({ state: 'Submitting', attempts: 1, nextAt: now + 51_000 })
    const late = now + start.order.timeoutMs
    expect(submitFault({ ...start, attempts: 3 }, wanted('1').key, limited, late, 0).state).toBe('Failed')
  })

  test('a refused request ends the task at once, in its own words', () => {
    const one = submitFault(
      intended(planned(task(), [wanted('1')], now), wanted('1').key, now),
      wanted('1').key,
      rejected,
      now,
      0,
    )

    expect(one).toMatchObject({ state: 'Failed', attempts: 1, error: { code: 'PH5002', message: 'no such scope' } })
  })

  test('a cluster that refuses does not take down the one that took its job', () => {
    const half = submitted(
      intended(planned(task(), [wanted('1'), wanted('2')], now), wanted('1').key, now),
      wanted('1').key,
      '17',
      now,
      now + 30_000,
    )
    const refused = submitFault(intended(half, wanted('2').key, now), wanted('2').key, rejected, now, 0) as OpenTask

    expect(refused).toMatchObject({ state: 'Running', nextAt: now + 30_000 })
    expect(jobEnded({ ...refused, attempts: 3 }, wanted('1').key, success(CONFIG, LAYER), now, 0)).toMatchObject({
      state: 'Partial',
      error: { code: 'PH5002' },
    })
  })

  test('a look that brings nothing spends no attempt and keeps the job', () => {
    let one: Task = running('1')
    for (let i = 0; i < 10; i++) one = observeFault(one as OpenTask, wanted('1').key, unavailable, now + 1e9, now, 0)

    expect(one).toMatchObject({ state: 'Running', attempts: 1, faults: 10, nextAt: now + 300_000, jobs: [{ id: '1' }] })
  })

  test('an engine that cannot be asked until the job is overdue has lost it', () => {
    const lost = observeFault(running('1'), wanted('1').key, unavailable, now + 1000, now + 1000, 0)

    expect(lost).toMatchObject({ state: 'Lost', error: { code: 'PH5005' } })
  })

  test('a person who must mend something is told what', () => {
    expect(submitFault(task(), undefined, rejected, now, 0)).toMatchObject({
      state: 'Failed',
      error: { code: 'PH5002' },
    })
  })
})
