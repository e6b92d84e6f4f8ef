import { cp, readdir, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeFolder } from '../folder.ts'
import { excerpt, OperatorError } from '../model/errors.ts'
import { exit, type Exit, type Io } from './command.ts'

/** Below the folder; a folder that begins with a dot is none of the configuration. */
const SCHEMAS = '.schemas'
const DAEMON_CONFIG = 'preheatd.yaml'

export interface InitOptions {
  readonly output: 'text' | 'json'
}

/**
 * Writes a config folder to start from, with the schemas that an editor checks it by, and `preheatd.yaml` beside it unless
 * one is there. `validate` finds nothing wrong with it.
 * @throws {OperatorError} PH8111 for a folder in which something is
 */
export async function init(dir: string, { output }: InitOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  const folder = resolve(dir)
  if (!(await isEmpty(folder))) throw new OperatorError('PH8111', `${folder} is not an empty folder`)
  const written: string[] = []
  for (const [path, text] of Object.entries(FILES)) {
    signal.throwIfAborted()
    await makeFolder(dirname(join(folder, path))).catch((error: unknown) => {
      throw new OperatorError('PH8114', excerpt(error instanceof Error ? error.message : String(error), 1000))
    })
    await writeFile(join(folder, path), text, { flag: 'wx' })
    written.push(shown(join(folder, path)))
  }
  await cp(fileURLToPath(new URL('../../schemas', import.meta.url)), join(folder, SCHEMAS), {
    recursive: true,
    filter: (source) => !/\.\w+$/.test(source) || source.endsWith('.schema.json'),
  })
  written.push(shown(join(folder, SCHEMAS)))
  const beside = join(dirname(folder), DAEMON_CONFIG)
  if (await isWritten(beside, daemonConfig(basename(folder)))) written.push(shown(beside))
  else io.err(`${shown(beside)} is there already and stays as it is\n`)
  io.out(output === 'json' ? `${JSON.stringify({ written }, undefined, 2)}\n` : `${written.join('\n')}\n`)
  io.err(`Next: put your endpoints in, then \`preheatd validate ${shown(folder)}\`.\n`)
  return exit.ok
}

async function isEmpty(folder: string): Promise<boolean> {
  try {
    return (await readdir(folder)).length === 0
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') return true
    if (code === 'ENOTDIR') return false
    throw error
  }
}

/** False: somebody has one there. */
async function isWritten(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: 'wx' })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

function shown(path: string): string {
  const near = relative(process.cwd(), path)
  return near === '' ? '.' : near.startsWith('..') ? path : near
}

const FILES: Readonly<Record<string, string>> = {
  'registries/harbor.yaml': `# yaml-language-server: $schema=../${SCHEMAS}/registry.schema.json
apiVersion: preheatd.io/v1alpha1
kind: Registry
metadata:
  name: harbor
spec:
  type: harbor
  # Also what nodes pull through. Where that is another host, set engineEndpoint: what is warmed under another name is
  # never hit.
  endpoint: https://harbor.example.com
  auth:
    type: basic
    secretRef:
      name: harbor-robot
`,
  'providers/dragonfly.yaml': `# yaml-language-server: $schema=../${SCHEMAS}/provider.schema.json
apiVersion: preheatd.io/v1alpha1
kind: Provider
metadata:
  name: dragonfly
spec:
  vendor: dragonfly
  endpoint: https://dragonfly-manager.example.com:8080
  # Policies that name no provider go here.
  default: true
  auth:
    mode: oauth
    secretRef:
      name: dragonfly
`,
  'projects/library/release-images.yaml': `# yaml-language-server: $schema=../../${SCHEMAS}/preheat-policy.schema.json
apiVersion: preheatd.io/v1alpha1
kind: PreheatPolicy
metadata:
  name: release-images
spec:
  description: Every release, before the clusters wake up
  registry: harbor
  project: library
  filters:
    repositories: ['**']
    tags: ['v*', latest]
    exclude:
      tags: ['*-rc*']
  trigger:
    type: scheduled
    schedule:
      cron: 0 2 * * *
      timeZone: UTC
  limits:
    maxArtifacts: 200
    maxBytes: 500Gi
`,
  CODEOWNERS: `# Everything belongs to the platform team; below projects/<project>/ only policies and runs of that project are
# accepted, so that one line here gives its team its folder and nothing else. Paths are those of your repository.
*                  @example/platform
/projects/library/ @example/library
`,
}

function daemonConfig(folder: string): string {
  return `# yaml-language-server: $schema=${encodeURI(`./${folder}/${SCHEMAS}`)}/daemon-config.schema.json
apiVersion: preheatd.io/v1alpha1
kind: DaemonConfig
metadata:
  # In report paths and commit trailers, so that several daemons share a repository.
  name: default
source:
  # For trying things. In production a repository, to which the reports go too, on a branch of their own:
  #   url: https://git.example.com/platform/preheat.git
  #   ref: { branch: main }
  #   auth: { type: basic, secretRef: { name: git } }
  dir: ${JSON.stringify(`./${folder}`)}
secrets:
  # A folder a secret, a file a key: secrets/harbor-robot/username, secrets/harbor-robot/password, secrets/dragonfly/token.
  dir: ./secrets
  # Where each may be sent.
  bindings:
    harbor-robot: { hosts: [harbor.example.com] }
    dragonfly: { hosts: ['dragonfly-manager.example.com:8080'] }
state:
  dir: ./data
`
}
