import { describe } from 'vitest'
import { openEmbeddedStore } from '../../src/store/embedded.ts'
import { openPostgresStore } from '../../src/store/postgres.ts'
import type { Store } from '../../src/store/store.ts'
import { describeWithPostgres } from './postgres.ts'
import { temporaryFolder } from './repository.ts'

/** A database of its own that outlives the stores that are opened on it. */
interface StorePlace extends AsyncDisposable {
  open(): Promise<Store>
}

export type NewPlace = () => Promise<StorePlace>

/** A suite for every store there is: the embedded one, and the shared one on a real PostgreSQL. */
export function describeOnEachStore(suite: (newPlace: NewPlace, kind: 'embedded' | 'postgres') => void): void {
  describe('on the embedded store', () => {
    suite(newEmbeddedPlace, 'embedded')
  })
  describeWithPostgres('on PostgreSQL', (newUrl) => {
    suite(async () => postgresPlace(await newUrl()), 'postgres')
  })
}

/**
 * A store, and what it is at: who owns the clock does not move it meanwhile, and waits for that instead of asking again
 * and again, which would take the processor from the database.
 */
export function watched(store: Store): { readonly store: Store; readonly work: () => Promise<unknown> | undefined } {
  const underWay = new Set<Promise<unknown>>()
  const watching = new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        const call = (value as (...all: unknown[]) => Promise<unknown>).apply(target, args)
        const over = call
          .catch(() => undefined)
          .finally(() => {
            underWay.delete(over)
          })
        underWay.add(over)
        return call
      }
    },
  })
  return { store: watching, work: () => (underWay.size === 0 ? undefined : Promise.race(underWay)) }
}

/** A folder with the embedded store's files. */
export async function newEmbeddedPlace(): Promise<StorePlace> {
  const folder = await temporaryFolder()
  return {
    open: () => openEmbeddedStore(folder.path),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

/** @param url of a database that goes with its server */
export function postgresPlace(url: string): StorePlace {
  return {
    open: async () => (await openPostgresStore(url)).store,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
