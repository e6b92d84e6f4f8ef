import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { explainError } from '../../src/commands/command.ts'
import { explain } from '../../src/commands/explain.ts'
import { plan } from '../../src/commands/plan.ts'
import { preheat } from '../../src/commands/preheat.ts'
import { warm } from '../../src/commands/warm.ts'
import { parseReference } from '../../src/model/reference.ts'
import { openControlSite } from '../support/control.ts'
import { MemoryIo } from '../support/io.ts'
import { describeWithPostgres } from '../support/postgres.ts'
import { git } from '../support/repository.ts'
import { openHarborSite, policyYaml } from '../support/site.ts'

const { signal } = new AbortController()
const IMAGE = parseReference('team/app:v1')!

/** Where an image was preheated once by a daemon that is gone. */
async function place(databaseUrl?: string) {
  const opened = await openHarborSite({
    'projects/team/release.yaml': policyYaml('release', {
      project: 'team',
      filters: { repositories: ['**'], tags: ['v1'] },
    }),
  })
  const { site, harbor } = opened
  await harbor.push({ project: 'team', repository: 'app', tags: ['v1', 'v1-rc'] })
  if (databaseUrl !== undefined)
    await site.configure({ state: { dir: site.stateDir, databaseUrlEnv: 'PREHEATD_DATABASE_URL' } })
  const env = databaseUrl === undefined ? {} : { PREHEATD_DATABASE_URL: databaseUrl }
  const options = { config: site.configFile, output: 'text' } as const
  const io = () => new MemoryIo(env)
  return {
    ...opened,
    options,
    io,
    async preheat() {
      const once = io()
      const how = { ...options, wait: true, allowUnverified: false, reason: '' }
      expect(await preheat('team/release', how, once, signal), once.stderr).toBe(0)
    },
  }
}

/** What `explain`, `warm` and `plan` find out by themselves. @param newUrl of a database; undefined: the embedded store */
function describesQuestions(memory: string, newUrl: () => Promise<string> | undefined): void {
  test('warm knows from the ledger what a daemon that is gone made warm', { timeout: 60_000 }, async () => {
    await using one = await place(await newUrl())
    await one.preheat()
    // Nobody else can say so.
    await one.site.dragonfly[Symbol.asyncDispose]()
    const io = one.io()

    expect(await warm(IMAGE, { ...one.options, wait: 0 }, io, signal), io.stderr).toBe(0)

    expect(io.stdout).toMatch(/^✔ team\/app@sha256:\w+ is warm on dragonfly-eu: success_tasks, /)
  })

  test('explain tells how the last execution ended, and which rule decides', { timeout: 60_000 }, async () => {
    await using one = await place(await newUrl())
    await one.preheat()
    const io = one.io()

    expect(await explain('team/release', 'app', one.options, io, signal), io.stderr).toBe(0)

    expect(io.stdout).toMatch(/ {2}its last execution \S+ was Success\n/)
    expect(io.stdout).toMatch(/app:v1-rc@\S+ {2}out, by the rule tag\n/)
    expect(io.stdout).toMatch(/> dragonfly-eu: skip, AlreadyWarm/)
  })

  test('explain of what the registry does not list fails, and says so', { timeout: 60_000 }, async () => {
    await using one = await place(await newUrl())
    const io = one.io()

    await expect(explain('team/release', 'app:v9', one.options, io, signal)).rejects.toMatchObject({
      code: 'PH6003',
      message: 'the registry lists nothing that "app:v9" may mean',
    })

    expect(io.stdout).toContain('team/release')
  })

  test('plan names what to do where there is no such base', { timeout: 60_000 }, async () => {
    await using one = await place(await newUrl())
    const path = join(one.site.root, 'checkout')
    await git(one.site.root, 'clone', '--quiet', one.site.repository.dir, path)

    const refused = plan(path, { base: 'gone', detailedExitcode: false, output: 'text' }, one.io(), signal)

    expect(explainError(await refused.catch((error: unknown) => error))).toMatch(
      /^error PH4002: .*\n {2}help: Name a revision of the repository that holds the folder/,
    )
  })

  test('plan knows what is warm', { timeout: 60_000 }, async () => {
    await using one = await place(await newUrl())
    const [before, after] = [one.io(), one.io()]
    const how = { ...one.options, detailedExitcode: false }
    const path = join(one.site.root, 'checkout')
    await git(one.site.root, 'clone', '--quiet', one.site.repository.dir, path)

    expect(await plan(path, how, before, signal), before.stderr).toBe(0)
    await one.preheat()
    expect(await plan(path, how, after, signal), after.stderr).toBe(0)

    expect(before.stdout).toContain('unknown, since no ledger is at hand')
    expect(after.stdout).toContain(`as the ledger of the ${memory} says`)
  })

  test('where nothing was ever applied, they work by what the source declares', { timeout: 60_000 }, async () => {
    await using one = await place(await newUrl())
    const [cold, why] = [one.io(), one.io()]

    expect(await warm(IMAGE, { ...one.options, wait: 0 }, cold, signal)).toBe(1)
    expect(await explain('team/release', 'app:v1', one.options, why, signal)).toBe(0)

    expect(cold.stdout).toMatch(/^✗ team\/app@sha256:\w+ is not known warm on dragonfly-eu: /)
    expect(why.stdout).toContain('no state is at hand, so nothing is known of runs before')
  })
}

describe('where no daemon runs, on the embedded store', () => {
  describesQuestions('state folder', () => undefined)
})

describeWithPostgres('where no daemon runs, on a real PostgreSQL', (newUrl) => {
  describesQuestions('database', newUrl)
})

describe('beside a living daemon', () => {
  async function beside() {
    const site = await openControlSite()
    return {
      operations: await site.live(),
      io: new MemoryIo(),
      options: { config: site.config, output: 'text' } as const,
      [Symbol.asyncDispose]: () => site[Symbol.asyncDispose](),
    }
  }

  test('explain shows what it answers', async () => {
    await using one = await beside()

    expect(await explain('release-images', 'app', one.options, one.io, signal)).toBe(0)

    expect(one.operations.questions).toEqual([['explain', 'release-images', 'app']])
    expect(one.io.stdout).toContain('library/release-images  release.yaml:1\n  it never ran\n')
    expect(one.io.stdout).toMatch(/library\/app:v1@\S+ {2}out, by the rule tag\n {2}- tag .* release.yaml:9 spec/)
    expect(one.io.stdout).toContain('release.yaml:12 spec.files\n  > dragonfly-eu: preheat, not known warm\n')
  })

  test('warm exits as it answers, and waits there', async () => {
    await using one = await beside()
    const [cold, json] = [new MemoryIo(), new MemoryIo()]

    expect(await warm(IMAGE, { ...one.options, wait: 600_000 }, one.io, signal)).toBe(0)
    const [provider] = one.operations.warmth.providers
    one.operations.warmth = {
      ...one.operations.warmth,
      warm: false,
      providers: [{ ...provider!, warm: false, evidence: undefined, ageMs: undefined, reason: 'PH5001 no answer' }],
    }
    expect(await warm(IMAGE, { ...one.options, wait: 0, provider: 'dragonfly-eu' }, cold, signal)).toBe(1)
    expect(await warm(IMAGE, { ...one.options, output: 'json', wait: 0 }, json, signal)).toBe(1)

    expect(one.io.stdout).toMatch(/^✔ .* is warm on dragonfly-eu: success_tasks, 3 of 3 blobs, 3m12s ago /)
    expect(cold.stdout).toMatch(/^✗ .* is not known warm on dragonfly-eu: PH5001 no answer\n$/)
    expect(JSON.parse(json.stdout)).toMatchObject({ warm: false, registry: 'harbor' })
    expect(one.operations.questions.slice(0, 2)).toEqual([
      ['warm', { reference: IMAGE, provider: undefined, waitMs: 600_000 }],
      ['warm', { reference: IMAGE, provider: 'dragonfly-eu', waitMs: 0 }],
    ])
  })
})
