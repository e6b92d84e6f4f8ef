import { openEmbeddedStore } from '../../src/store/embedded.ts'
import { execution } from '../support/examples.ts'

/**
 * A process to kill. Opens the store in the folder that it is given, says `open`, begins executions without end and
 * says the number of each one when the store has taken it.
 */
const store = await openEmbeddedStore(process.argv[2]!)
process.stdout.write('open\n')
for (let n = Number(process.argv[3]); ; n++) {
  const id = String(n).padStart(9, '0')
  await store.begin(execution({ id, at: n }), {
    schedule: { policyKey: 'p', fingerprint: 'f', until: n },
    missed: [{ policyKey: 'p', policy: 'library/p', slot: n, reason: 'for the count' }],
  })
  process.stdout.write(`${n}\n`)
}
