import { expect, test } from 'vitest'
import { checkProvider } from '../../../src/commands/check/provider.ts'
import type { Drivers } from '../../../src/execution/loop.ts'
import type { Scope } from '../../../src/model/provider.ts'
import { PULL_TOKEN, dragonflyStage, never } from '../../support/engine.ts'
import { provider } from '../../support/examples.ts'

test.each([
  ['2.1.59', 'all_seed_peers', true],
  ['2.1.59', 'all_peers', false],
  ['2.2.5', 'all_seed_peers', false],
] as const)('of a manager %s for %s it is said that it may not know the scope: %s', async (version, scope, isSaid) => {
  await using stage = await dragonflyStage({ version })
  const [job] = await stage.engine.jobs(stage.order, never)
  await stage.engine.submit(stage.order, job!, PULL_TOKEN, never)
  const declared = provider()
  const drivers = { engine: () => Promise.resolve(stage.engine) } as unknown as Drivers
  // The closer look takes half a minute.
  stage.engine.inspect = () => Promise.resolve({})

  const uses = [{ provider: declared, scope: scope as Scope, clusters: undefined }]
  const found = await checkProvider(declared, uses, drivers, never)

  expect(found.ok).toBe(true)
  expect(found.warnings.some((one) => /scope all_seed_peers.*PH3007.*since 2\.1\.66/.test(one))).toBe(isSaid)
})
