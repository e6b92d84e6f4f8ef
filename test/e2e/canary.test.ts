import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FakeHarbor } from '../doubles/harbor.ts'
import { cli } from '../support/cli.ts'
import { noSecrets } from '../support/invariants.ts'
import { git, logGit } from '../support/repository.ts'
import {
  addHarbor,
  openSite,
  policyYaml,
  providerYaml,
  resourceYaml,
  runYaml,
  GIT_PASSWORD,
  type Site,
} from '../support/site.ts'

const TOKEN = 'canary-engine-tøken/with+odd=characters'
const ROBOT = { username: 'robot$preheatd', password: 'canary-robot pässword&more' }

/** Everything below a folder as text, file by file; latin1 loses nothing of what is searched. */
async function textsBelow(dir: string): Promise<[string, string][]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry): Promise<[string, string]> => {
        const path = join(entry.parentPath, entry.name)
        return [path, await readFile(path, 'latin1')]
      }),
  )
}

/** All objects of a repository, unpacked. */
async function objectsOf(dir: string): Promise<string> {
  return await git(dir, 'cat-file', '--batch', '--batch-all-objects', '--unordered')
}

async function everything(site: Site): Promise<string[]> {
  const mirrors = await readdir(join(site.stateDir, 'git'))
  return Promise.all([
    objectsOf(site.repository.dir),
    ...mirrors.filter((name) => name.endsWith('.git')).map((name) => objectsOf(join(site.stateDir, 'git', name))),
  ])
}

test('no secret is found in logs, reports, plans, errors, process arguments, git objects or the state folder [S2] [I8]', async () => {
  await using site = await openSite({
    tokens: [{ token: TOKEN }],
    outcomes: { 'team/bad': { kind: 'failure', error: `echo ${TOKEN}` } },
  })
  await using harbor = await FakeHarbor.start({ accounts: { [ROBOT.username]: ROBOT.password } })
  await using log = await logGit()
  const env = { PATH: `${log.bin}:${process.env['PATH'] ?? ''}` }
  for (const repository of ['app', 'bad']) await harbor.push({ project: 'team', repository, tags: ['v1'] })
  await site.secret('dragonfly-eu', { token: TOKEN })
  const policy = policyYaml('release', { project: 'team', retry: { attempts: 1 } })
  await site.repository.commit({
    'registries/harbor.yaml': await addHarbor(site, harbor),
    'providers/dragonfly-eu.yaml': providerYaml(site),
    'projects/team/release.yaml': policy,
    'projects/team/run.yaml': runYaml('first', 'team/release'),
    'projects/team/broken.yaml': resourceYaml('PreheatPolicy', 'broken', { project: 'team', password: 5 }),
  })
  await site.configure({ log: { level: 'debug' } })
  const run = (...args: string[]) => cli([...args, '--config', site.configFile], env)

  const well = await run('once', '--wait', '-o', 'json')
  const human = await run('preheat', 'team/release', '--wait')
  await git(site.root, 'clone', '--quiet', site.repository.dir, 'checkout')
  const plan = await cli(['plan', join(site.root, 'checkout'), '--config', site.configFile], env)
  // Each credential refused in its turn, with the other side's answers to it.
  site.gitServer.auth = { type: 'basic', username: 'preheatd', password: 'another' }
  const refusedByGit = await run('once', '--wait')
  site.gitServer.auth = { type: 'basic', username: 'preheatd', password: GIT_PASSWORD }
  site.dragonfly.tokens = []
  const refusedByEngine = await run('preheat', 'team/release', '--wait')
  site.dragonfly.trouble = () => ({
    kind: 'answer',
    status: 500,
    body: `{"message":"you sent ${TOKEN} and ${ROBOT.password}"}`,
  })
  const echoed = await run('preheat', 'team/release', '--wait', '-o', 'json')
  harbor.rotate(ROBOT.username, 'another')
  const refusedByHarbor = await run('preheat', 'team/release', '--wait')

  // It did what it should with them, or the search below would prove nothing.
  expect(site.dragonfly.posts.some(({ withAuthorization }) => withAuthorization)).toBe(true)
  expect(well.stderr).toContain('team/app')
  expect(refusedByGit.stderr).toContain('PH4001')
  expect(refusedByEngine.stderr).toContain('PH5007')
  expect(refusedByHarbor.stderr).toContain('PH6002')
  expect(plan.stdout).toContain('team/app')

  const outputs = [well, human, plan, refusedByGit, refusedByEngine, echoed, refusedByHarbor].map(
    (one) => one.stdout + one.stderr,
  )
  const places: [string, string][] = [
    ...outputs.map((text, i): [string, string] => [`output ${i}`, text]),
    ['process arguments', JSON.stringify(await log.starts())],
    ...(await everything(site)).map((text, i): [string, string] => [`git objects ${i}`, text]),
    ...(await textsBelow(site.stateDir)),
  ]
  const pullTokens = harbor.requests.flatMap(
    ({ headers }) => /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? [],
  )
  expect(pullTokens.length).toBeGreaterThan(0)
  const pair = `${ROBOT.username}:${ROBOT.password}`
  const secrets = [GIT_PASSWORD, `preheatd:${GIT_PASSWORD}`, TOKEN, ROBOT.password, pair, ...new Set(pullTokens)]
  expect(noSecrets(secrets, places)).toEqual([])
})
