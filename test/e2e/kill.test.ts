import { expect, test } from 'vitest'
import { killRun, RUN_SIZES } from '../support/kill-run.ts'

const { images, kills } = RUN_SIZES.long

test(
  `killed ${kills} times at named places under ${images} tasks and a schedule, nothing is lost, nothing repeated, and what is reported is so [K2] [K3] [K4] [K6] [I1] [I2] [I3] [I4] [I5] [I6] [I7]`,
  { timeout: 300_000 },
  async () => {
    const run = await killRun(20261121, RUN_SIZES.long)

    expect(run).toMatchObject({ violations: [] })
    expect(run.kills).toHaveLength(kills)
  },
)

test.each([1, 2, 3])(
  'nor in a short run, of which `npm run faults` makes any number: seed %i',
  { timeout: 60_000 },
  async (seed) => {
    const run = await killRun(seed, RUN_SIZES.short)

    expect(run).toMatchObject({ violations: [] })
    expect(run.kills).toHaveLength(RUN_SIZES.short.kills)
  },
)
