import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { git, logGit } from '../support/repository.ts'
import { openSite, policyYaml, providerYaml, resourceYaml } from '../support/site.ts'
import { measure, spreadOf, type Cost, type Spread } from './measure.ts'

/** One thing that was measured several times. */
export interface Measured {
  readonly name: string
  readonly runs: number
  readonly wallMs: Spread
  readonly cpuMs: Spread
  readonly peakBytes: Spread
  /** Processes of git that each run started. */
  readonly gitProcesses: number
  /** What is hoped for with 1,000 policies. */
  readonly aim: { readonly wallMs: number; readonly peakBytes: number } | undefined
}

const RUNS = 5
const AIM = { wallMs: 3000, peakBytes: 300e6 }
const POLICIES_A_PROJECT = 25

/**
 * What many policies cost: `validate` of their folder, the first `once`, which applies them, and a `once` that finds
 * the source where it was. Asserts no time, and of the last that it starts one `git ls-remote` and no other git.
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

  await using log = await logGit()
  const repeat = async (name: string, runs: number, args: readonly string[], aim?: Measured['aim']) => {
    const costs: Cost[] = []
    await log.clear()
    for (let run = 0; run < runs; run++) costs.push(await measure(args))
    const starts = await log.starts()
    return { measured: measuredOf(name, costs, starts.length / runs, aim), starts }
  }
  const once = ['once', '--config', site.configFile]
  const validated = await repeat('validate', RUNS, ['validate', folder], AIM)
  const first = await repeat('once, which applies them', 1, once)
  const unmoved = await repeat('once, with no new commit', RUNS, once)

  const isLook = (args: readonly string[]) => args.includes('ls-remote')
  if (unmoved.starts.length !== RUNS || !unmoved.starts.every(isLook)) {
    const commands = unmoved.starts.map((args) => args.join(' ')).join('\n')
    throw new Error(`an unmoved source takes one git ls-remote a look; ${RUNS} looks took:\n${commands}`)
  }
  return [validated, first, unmoved].map(({ measured }) => measured)
}

/** A policy as people write them; its schedule fires half a year from now. */
function policyFile(index: number): [string, string] {
  const project = `team-${Math.floor(index / POLICIES_A_PROJECT)}`
  const month = ((new Date().getUTCMonth() + 6) % 12) + 1
  const text = policyYaml(`policy-${index}`, {
    description: 'Every release of this team, in both regions, before the clusters wake up',
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

function measuredOf(name: string, costs: readonly Cost[], gitProcesses: number, aim: Measured['aim']): Measured {
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
