/*
 * Preloaded into the built command line (`node --import`), it kills its own process at one write of the store:
 * `PREHEATD_TEST_CRASH_AT="before saveStep 3"` right before the third step is written, `after` once it is on the disk.
 * A kill from outside cannot hit these places: no request is under way there.
 */
import { KyselyStore } from '../../dist/store/kysely-store.js'

const [when, method, nth] = (process.env.PREHEATD_TEST_CRASH_AT ?? '').split(' ')
const write = KyselyStore.prototype[method]
if (typeof write !== 'function') throw new TypeError(`the store has no ${method} to crash at`)

let calls = 0
KyselyStore.prototype[method] = async function (...args) {
  const isHere = ++calls === Number(nth)
  if (isHere && when === 'before') process.kill(process.pid, 'SIGKILL')
  const written = await write.apply(this, args)
  if (isHere && when === 'after') process.kill(process.pid, 'SIGKILL')
  return written
}
