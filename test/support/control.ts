import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { Closers } from '../../src/closers.ts'
import { apiApp } from '../../src/serve/api.ts'
import { listenControl } from '../../src/serve/control.ts'
import { ManualClock } from './clock.ts'
import { EXAMPLE_AT } from './examples.ts'
import { MemoryOperations } from './operations.ts'
import { temporaryFolder } from './repository.ts'

/** A daemon's configuration and its state folder, in which nobody lives until a test says so. */
export interface ControlSite extends AsyncDisposable {
  readonly root: string
  readonly config: string
  readonly stateDir: string
  /** What a daemon that lives there from now on is asked. */
  live(): Promise<MemoryOperations>
}

/** @param databaseUrlEnv the variable that names its database; undefined: it has a state of its own */
export async function openControlSite(databaseUrlEnv?: string): Promise<ControlSite> {
  const closers = new Closers()
  const { path: root } = closers.use(await temporaryFolder())
  const stateDir = join(root, 'data')
  const config = join(root, 'preheatd.yaml')
  await mkdir(stateDir, { mode: 0o700 })
  await writeFile(
    config,
    stringify({
      apiVersion: 'preheatd.io/v1alpha1',
      kind: 'DaemonConfig',
      metadata: { name: 'eu' },
      source: { dir: './policies' },
      state: { dir: './data', ...(databaseUrlEnv !== undefined && { databaseUrlEnv }) },
    }),
  )
  return {
    root,
    config,
    stateDir,
    async live() {
      const operations = new MemoryOperations()
      const app = apiApp(operations, {
        access: { type: 'socket' },
        clock: new ManualClock(EXAMPLE_AT),
        closing: new AbortController().signal,
        onFailure: () => undefined,
      })
      closers.use(await listenControl(app, stateDir))
      return operations
    },
    [Symbol.asyncDispose]: () => closers[Symbol.asyncDispose](),
  }
}
