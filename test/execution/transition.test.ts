import { describe, expect, test } from 'vitest'
import {
  intended,
  jobEnded,
  nextStep,
  observeFault,
  planned,
  probeFault,
  probed,
  stillOpen,
  submitFault,
  submitted,
} from '../../src/execution/transition.ts'
import type { Digest } from '../../src/model/artifact.ts'
import type { Claims } from '../../src/model/evidence.ts'
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

/** Ends the jobs of a task, one after another, in its last attempt; what they do not show cannot be looked at. */
function endAll(start: OpenTask, ...verdicts: Verdict[]): Task {
  const last = { ...start, attempts: start.retry.attempts }
  return verdicts.reduce<Task>(
    (one, verdict, i) => unseen(jobEnded(one as OpenTask, one.jobs[i]!.key, verdict, now + 30_000, 0)),
    last,
  )
}

/** After a probe of whatever is to be probed, at an engine that does not let itself be looked at. */
function unseen(one: Task): Task {
  const probing = one.jobs.find((job) => job.state === 'probing')
  return probing === undefined
    ? one
    : probed(one as OpenTask, probing.key, { kind: 'ended', claims: undefined }, now, 0)
}

describe('the walk of a task', () => {
  test('asks for its jobs, then submits each, then looks at the one that is due', () => {
    const fresh = task()
    const ready = planned(fresh, [wanted('1'), wanted('2')], now)
    const first = submitted(intended(ready, wanted('1').key, now), wanted('1').key, '17', now, now + 30_000)

    expect(nextStep(fresh)).toEqual({ kind: 'plan' })
    expect(nextStep(ready)).toMatchObject({ kind: 'submit', job: { key: wanted('1').key } })
    expect(first).toMatchObject({ state: 'Submitting', nextAt: now })
    expect(nextStep(first)).toMatchObject({ kind: 'submit', job: { key: wanted('2').key } })
    expect(running('1', '2')).toMatchObject({ state: 'Running', nextAt: now + 30_000, attempts: 1 })
    expect(nextStep(running('1', '2'))).toMatchObject({ kind: 'observe', job: { id: '1' } })
  })

  test('an intent that a crash cut off is submitted again, within the same attempt [K2]', () => {
    const cut = intended(planned(task(), [wanted('1')], now), wanted('1').key, now)

    expect(nextStep(cut)).toMatchObject({ kind: 'submit' })
    expect(intended(cut, wanted('1').key, now).attempts).toBe(1)
  })

  test('a look that finds the job open asks again when it is next worth it', () => {
    const look = { lookAt: now + 90_000 }
    const later = stillOpen(running('1'), wanted('1').key, look, now + 3_600_000, now + 30_000)

    expect(later).toMatchObject({ state: 'Running', nextAt: now + 90_000 })
    expect(later.jobs[0]).not.toHaveProperty('progress')
  })

  test('how far a job has come is kept with it, past looks that do not tell, until it ends', () => {
    const progress = { doneBytes: 1000, totalBytes: 6000 }
    const look = (one: Task, told?: typeof progress) =>
      stillOpen(one as OpenTask, wanted('1').key, { lookAt: now, progress: told }, now + 3_600_000, now)
    const told = look(running('1'), progress)
    const failed = observeFault(told as OpenTask, wanted('1').key, unavailable, now + 3_600_000, now, 0)
    const ended = jobEnded(told as OpenTask, wanted('1').key, success(CONFIG, LAYER), now, 0)

    for (const one of [told, look(told), failed]) expect(one.jobs).toMatchObject([{ state: 'open', progress }])
    expect(ended.jobs[0]).not.toHaveProperty('progress')
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

  test('a blob that one cluster lacks makes it Partial and names the blob [E9] [I4]', () => {
    expect(endAll(running('1', '2'), success(CONFIG, LAYER), success(CONFIG))).toMatchObject({
      state: 'Partial',
      evidence: { blobs: 3, of: 4 },
      missing: [LAYER],
      error: { code: 'PH5003', message: expect.stringMatching(/: 1 of 2 in cluster-2$/) },
    })
  })

  test('success with nothing cached is Failed, never Succeeded [E9] [I4]', () => {
    expect(endAll(running('1'), success())).toMatchObject({
      state: 'Failed',
      missing: [CONFIG, LAYER].sort(),
      error: { code: 'PH5003' },
    })
  })

  test('success without a list is Unverified: nothing could be looked at [E9] [I4]', () => {
    const settled = endAll(running('1'), said('success'))

    expect(settled).toMatchObject({ state: 'Unverified', evidence: undefined, missing: [], error: { code: 'PH5004' } })
  })

  test('a driver that knows why nothing is shown is heard', () => {
    const words = 'the proxy answers 200 whatever happens'

    expect(endAll(running('1'), said('success', words))).toMatchObject({
      state: 'Unverified',
      error: { message: words },
    })
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

  test('a job that is never heard of again is Lost [E5]', () => {
    const lost = stillOpen(running('1'), wanted('1').key, { lookAt: now + 90_000 }, now + 60_000, now + 60_000)

    expect(unseen(lost)).toMatchObject({ state: 'Lost', error: { code: 'PH5005' } })
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
    expect(unseen(jobEnded(running('1'), wanted('1').key, said('success'), now, 0)).state).toBe('Unverified')
  })
})

describe('a job whose end shows nothing', () => {
  const gone = jobEnded(running('1'), wanted('1').key, said('gone', 'no record of job 1'), now, 0) as OpenTask
  const silent = jobEnded(running('1'), wanted('1').key, said('success', 'they are not told'), now, 0) as OpenTask
  const overdue = stillOpen(running('1'), wanted('1').key, { lookAt: now }, now, now) as OpenTask
  const seen = (...cached: Digest[]) => ({
    kind: 'ended' as const,
    claims: { kind: 'get_task' as const, source: 'observed' as const, cached, peers: 2 },
  })

  test('has its blobs looked for on the engine, for as long as the engine takes', () => {
    const open = probed(gone, wanted('1').key, { kind: 'open', notes: '{"a":1}', lookAt: now + 30_000 }, now, 0)

    expect(nextStep(gone)).toMatchObject({ kind: 'probe', job: { notes: undefined } })
    expect(open).toMatchObject({
      state: 'Running',
      nextAt: now + 30_000,
      jobs: [{ state: 'probing', notes: '{"a":1}' }],
    })
  })

  test.each([
    ['whose record expired', gone],
    ['that was never heard of again', overdue],
  ])('%s is Succeeded when every blob is seen [E7]', (_what, one) => {
    expect(probed(one, wanted('1').key, seen(CONFIG, LAYER), now, 0)).toMatchObject({
      state: 'Succeeded',
      evidence: { kind: 'get_task', source: 'observed', blobs: 2, of: 2, peers: 2 },
      error: undefined,
    })
  })

  test.each([
    ['whose record expired', gone, 'Partial'],
    ['that was never heard of again', overdue, 'Lost'],
  ])('%s is submitted again while blobs are missing, and in the end is what it is [E7]', (_what, one, state) => {
    const again = probed(one, wanted('1').key, seen(CONFIG), now, 0)
    const last = probed({ ...one, attempts: 3 }, wanted('1').key, seen(CONFIG), now, 0)

    expect(again).toMatchObject({ state: 'Pending', jobs: [{ state: 'wanted', ids: ['1'] }] })
    expect(last).toMatchObject({ state, missing: [LAYER] })
  })

  test.each<[string, Task, 'look' | 'preheat', Claims | undefined, string, string, string]>([
    [
      'whose record expired',
      gone,
      'preheat',
      undefined,
      'Unverified',
      'PH5004',
      'the engine has no record of the job any more; half of it',
    ],
    [
      'whose record expired, with blobs missing',
      gone,
      'preheat',
      seen(CONFIG).claims,
      'Partial',
      'PH5003',
      'not every blob was found on the engine, missing are 1 of 2 in cluster-1; half of it',
    ],
    [
      'that was never heard of again',
      overdue,
      'preheat',
      seen(CONFIG).claims,
      'Lost',
      'PH5005',
      'the engine never said how the job ended; half of it',
    ],
    [
      'that is kept up',
      gone,
      'look',
      seen(CONFIG).claims,
      'Partial',
      'PH5010',
      'does not hold every blob any more; half of it',
    ],
    ['said to be a success', silent, 'preheat', undefined, 'Unverified', 'PH5004', 'they are not told; half of it'],
  ])('%s ends in the words of the look', (_what, one, purpose, claims, state, code, words) => {
    const last = { ...(one as OpenTask), purpose, attempts: 3 }

    const ended = probed(last, wanted('1').key, { kind: 'ended', claims, message: 'half of it' }, now, 0)

    expect(ended.state).toBe(state)
    expect(ended.error?.code).toBe(code)
    expect(ended.error?.message.endsWith(words), ended.error?.message).toBe(true)
  })

  test('an engine that says the same of its job and of its caches is quoted once', () => {
    const look = { kind: 'ended', claims: undefined, message: 'they are not told' } as const

    expect(probed(silent, wanted('1').key, look, now, 0).error?.message).toBe('they are not told')
  })

  test('words of a look that found everything are no error', () => {
    const all = { ...seen(CONFIG, LAYER), message: 'an owner does not answer' }

    expect(probed(gone, wanted('1').key, all, now, 0)).toMatchObject({ state: 'Succeeded', error: undefined })
  })

  test('is looked for a few times when the engine does not answer, and then what was said has to do', () => {
    let one: Task = gone
    for (let i = 0; i < 4; i++) one = probeFault(one as OpenTask, wanted('1').key, unavailable, now, 0)
    expect(one).toMatchObject({ state: 'Running', nextAt: now + 40_000 })

    expect(probeFault(one as OpenTask, wanted('1').key, unavailable, now, 0)).toMatchObject({
      state: 'Unverified',
      error: { message: expect.stringMatching(/no record of the job any more; refused$/) },
    })
    expect(probeFault(gone, wanted('1').key, rejected, now, 0)).toMatchObject({ state: 'Unverified' })
  })
})

describe('upkeep', () => {
  const upkeep = (purpose: 'look' | 'heal') => planned(task({ purpose }), [wanted('1')], now)
  const seen = (...cached: Digest[]) => ({
    kind: 'ended' as const,
    claims: { kind: 'get_task' as const, source: 'observed' as const, cached, peers: 2 },
  })
  const unseeable = { kind: 'ended' as const, claims: undefined }

  test.each(['look', 'heal'] as const)(
    'to %s begins with a look, and what is all there is warm anew without a submission',
    (purpose) => {
      expect(nextStep(upkeep(purpose))).toMatchObject({ kind: 'probe' })
      expect(probed(upkeep(purpose), wanted('1').key, seen(CONFIG, LAYER), now, 0)).toMatchObject({
        state: 'Succeeded',
        attempts: 0,
        evidence: { source: 'observed' },
      })
    },
  )

  test('a look says what is missing and submits nothing', () => {
    expect(probed(upkeep('look'), wanted('1').key, seen(CONFIG), now, 0)).toMatchObject({
      state: 'Partial',
      error: { code: 'PH5010' },
      missing: [LAYER],
    })
    expect(probed(upkeep('look'), wanted('1').key, unseeable, now, 0)).toMatchObject({ state: 'Unverified' })
  })

  test('healing submits at once what is missing, and what cannot be looked at', () => {
    for (const probe of [seen(CONFIG), unseeable]) {
      expect(probed(upkeep('heal'), wanted('1').key, probe, now, 0)).toMatchObject({
        nextAt: now,
        jobs: [{ state: 'wanted' }],
      })
    }
  })

  test('healing submits only the job whose blobs are missing', () => {
    const both = planned(task({ purpose: 'heal' }), [wanted('1'), wanted('2')], now)
    const half = probed(both, wanted('1').key, seen(CONFIG, LAYER), now, 0) as OpenTask

    expect(probed(half, wanted('2').key, seen(), now, 0).jobs.map(({ state }) => state)).toEqual(['ended', 'wanted'])
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

  test('a rate limit never spends an attempt, as long as the task’s time lasts [E1]', () => {
    const limited: StepFault = { ...unavailable, retryAfterMs: 1000 }
    const start = intended(planned(task(), [wanted('1')], now), wanted('1').key, now)
    let one: Task = start
    for (let i = 1; i <= 50; i++) {
      one = submitFault(intended(one as OpenTask, wanted('1').key, now), wanted('1').key, limited, now + i * 1000, 0)
    }

    expect(one).toMatchObject({ state: 'Submitting', attempts: 0, nextAt: now + 51_000, jobs: [{ state: 'wanted' }] })
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

    expect(unseen(lost)).toMatchObject({ state: 'Lost', error: { code: 'PH5005' } })
  })

  test('a person who must mend something is told what', () => {
    expect(submitFault(task(), undefined, rejected, now, 0)).toMatchObject({
      state: 'Failed',
      error: { code: 'PH5002' },
    })
  })
})
