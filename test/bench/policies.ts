import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { git, logGit } from '../support/repository.ts'
import { openSite, policyYaml, providerYaml, resourceYaml, type Site } from '../support/site.ts'
import { benchChangedFile } from './changed-file.ts'
import { measure, spreadOf, type Cost, type Spread } from './measure.ts'

/** One thing that was measured several times. */
export interface Measured {
  readonly name: string
  readonly runs: number
  readonly wallMs: Spread
  readonly cpuMs: Spread
  readonly peakBytes: Spread
  /** What something still referred to at the end of each run, in one process. */
  readonly heapBytes?: readonly number[]
  /** Processes of git that each run started. */
  readonly gitProcesses: number
  readonly aim: Aim | undefined
}

/** What is hoped for with so many policies. */
interface Aim {
  readonly policies: number
  readonly wallMs: number
  readonly peakBytes: number
}

const RUNS = 5
const VALIDATE_AIM: Aim = { policies: 1000, wallMs: 3000, peakBytes: 300e6 }
const COLD_START_AIM: Aim = { policies: 10_000, wallMs: 30_000, peakBytes: 512e6 }
const CHANGED_FILE_AIM: Aim = { policies: 10_000, wallMs: 250, peakBytes: 512e6 }
const POLICIES_A_PROJECT = 25

/**
 * What many policies cost: `validate` of their folder, the first `once`, which applies them, a `once` that finds the
 * source where it was, and a commit that changes one file, in a process that goes on. Asserts no time, and of the third
 * that it starts one `git ls-remote` and no other git.
 * @throws {Error} when it starts another
 */
export async function benchPolicies(n: number): Promise<Measured[]> {
  await using site = await openSite()
  const folder = join(site.root, 'policies')
  const texts = new Map([
    ['registries/harbor.yaml', resourceYaml('Registry', 'harbor', { type: 'harbor', endpoint: 'https://127.0.0.1:9' })],
    ['providers/dragonfly-eu.yaml', providerYaml(site)],
    ['providers/dragonfly-us.yaml', providerYaml(site, 'dragonfly-us', { default: false })],
    ...Array.from({ length: n }, (_, index) => policyFile(index)),
  ])
  for (const [path, text] of texts) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  await git(folder, 'init', '--quiet')
  await git(folder, 'add', '.')
  await git(folder, 'commit', '--quiet', '-m', `${n} policies`)
  await git(folder, 'push', '--quiet', site.repository.dir, 'HEAD:refs/heads/main')
  await site.configure()

  const measured = await benchCommands(site, folder)
  const [file] = policyFile(0)
  const changed = await benchChangedFile(folder, site.repository.fileUrl, file, (text) => policyFile(0, text)[1])
  return [
    ...measured,
    {
      ...measuredOf('one changed file, fetched', changed.costs, changed.gitProcesses, CHANGED_FILE_AIM),
      heapBytes: changed.heapBytes,
    },
  ]
}

async function benchCommands(site: Site, folder: string): Promise<Measured[]> {
  await using log = await logGit()
  const repeat = async (name: string, runs: number, args: readonly string[], aim?: Aim) => {
    const costs: Cost[] = []
    await log.clear()
    for (let run = 0; run < runs; run++) costs.push(await measure(args))
    const starts = await log.starts()
    return { measured: measuredOf(name, costs, starts.length / runs, aim), starts }
  }
  const once = ['once', '--config', site.configFile]
  const validated = await repeat('validate', RUNS, ['validate', folder], VALIDATE_AIM)
  const first = await repeat('once, which applies them', 1, once, COLD_START_AIM)
  const unmoved = await repeat('once, with no new commit', RUNS, once)

  const isLook = (args: readonly string[]) => args.includes('ls-remote')
  if (unmoved.starts.length !== RUNS || !unmoved.starts.every(isLook)) {
    const commands = unmoved.starts.map((args) => args.join(' ')).join('\n')
    throw new Error(`an unmoved source takes one git ls-remote a look; ${RUNS} looks took:\n${commands}`)
  }
  return [validated, first, unmoved].map(({ measured }) => measured)
}

const DESCRIPTION = 'Every release of this team, in both regions, before the clusters wake up'

/** A policy as people write them; its schedule fires half a year from now. */
function policyFile(index: number, description = DESCRIPTION): [string, string] {
  const project = `team-${Math.floor(index / POLICIES_A_PROJECT)}`
  const month = ((new Date().getUTCMonth() + 6) % 12) + 1
  const text = policyYaml(`policy-${index}`, {
    description,
    registry: 'harbor',
    project,
    providers: [{ name: 'dragonfly-eu' }, { name: 'dragonfly-us', scope: 'all_peers' }],
    filters: {
      repositories: [`app-${index}/**`, 'shared/{base,tools}'],
      tags: ['v*', 'latest'],
      labels: ['approved'],
      exclude: { tags: ['*-rc*'] },
    },
    trigger: {
      type: 'scheduled',
      schedule: { cron: `${index % 60} ${Math.floor(index / 60) % 24} * ${month} *`, timeZone: 'Europe/Berlin' },
    },
    platforms: ['linux/amd64', 'linux/arm64'],
    limits: { maxArtifacts: 200, maxBytes: '500Gi' },
  })
  return [`projects/${project}/policy-${index}.yaml`, text]
}

function measuredOf(
  name: string,
  costs: readonly Omit<Cost, 'lagMs'>[],
  gitProcesses: number,
  aim: Aim | undefined,
): Measured {
  return {
    name,
    runs: costs.length,
    wallMs: spreadOf(costs.map(({ wallMs }) => wallMs)),
    cpuMs: spreadOf(costs.map(({ cpuMs }) => cpuMs)),
    peakBytes: spreadOf(costs.map(({ peakBytes }) => peakBytes)),
    gitProcesses,
    aim,
  }
}
