import { expect, test } from 'vitest'
import { ConfigReader } from '../src/config/reader.ts'
import type { Source } from '../src/model/source.ts'
import { reconcile } from '../src/reconcile.ts'
import type { Store } from '../src/store/store.ts'
import { commit, policy, repository, type Texts } from './support/config.ts'
import { EXAMPLE_AT } from './support/examples.ts'
import { describeOnEachStore } from './support/stores.ts'

const never = new AbortController().signal
const scheduled = (name: string, cron: string) =>
  policy(name, `  trigger: { type: scheduled, schedule: { cron: '${cron}' } }\n`)

function sourceOf(texts: Texts): Source {
  const tree = commit(texts)
  return {
    observe: () => Promise.resolve(tree.config.commit),
    fetch: () => Promise.resolve(tree),
    descends: () => Promise.resolve(true),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

describeOnEachStore((newPlace) => {
  test('a commit writes the schedules that it changes, and leaves the others to the slots that begin meanwhile', async () => {
    await using place = await newPlace()
    await using store = await place.open()
    const reader = new ConfigReader()
    const look = async (texts: Texts) => {
      const written: Parameters<Store['apply']>[] = []
      const watched: Pick<Store, 'applied' | 'apply' | 'schedules'> = {
        applied: () => store.applied(),
        schedules: () => store.schedules(),
        apply: async (...all) => {
          written.push(all)
          await store.apply(...all)
        },
      }
      const clock = { now: () => EXAMPLE_AT, sleepUntil: () => Promise.resolve() }
      await reconcile({ source: sourceOf(texts), reader, store: watched, clock, emit: () => undefined }, never)
      const [[applied, armed, disarmed] = []] = written
      return { objects: applied?.objects, armed: armed?.map(({ policyKey }) => policyKey), disarmed }
    }
    const texts = {
      ...repository,
      'projects/library/changed.yaml': scheduled('changed', '0 2 * * *'),
      'projects/library/gone.yaml': scheduled('gone', '0 3 * * *'),
      'projects/library/kept.yaml': scheduled('kept', '0 4 * * *'),
    }
    const first = await look(texts)
    expect(first.armed).toHaveLength(3)

    const { 'projects/library/gone.yaml': _, ...rest } = texts
    const second = await look({ ...rest, 'projects/library/changed.yaml': scheduled('changed', '0 5 * * *') })

    expect(second.armed).toEqual(['PreheatPolicy/harbor/library/changed'])
    expect(second.disarmed).toEqual(['PreheatPolicy/harbor/library/gone'])
    const kept = (objects: typeof first.objects) => objects?.find(({ key }) => key.endsWith('/kept'))
    expect(kept(second.objects)).toBe(kept(first.objects))
    expect((await store.schedules()).map(({ policyKey }) => policyKey)).toEqual([
      'PreheatPolicy/harbor/library/changed',
      'PreheatPolicy/harbor/library/kept',
    ])
  })
})
