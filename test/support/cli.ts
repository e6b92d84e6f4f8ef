import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The built command line's entry. */
export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** The built CLI as a process of its own, under way. */
export interface RunningCli {
  readonly process: ChildProcess
  /** What it wrote to stderr until now. */
  stderr(): string
  /** Resolves when stderr matches. */
  says(pattern: RegExp): Promise<void>
  /** Resolves when it listens for `http.webhooks`. @returns `http://127.0.0.1:9292` */
  listens(what: string): Promise<string>
  ended(): Promise<Ended>
}

/** Starts `preheatd` as it was built, with this environment and nothing of ours. */
export function startCli(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd?: string,
): RunningCli {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
  })
  let stdout = ''
  let stderr = ''
  const waiting = new Set<() => void>()
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    for (const look of waiting) look()
  })
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  const running: RunningCli = {
    process: child,
    stderr: () => stderr,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!pattern.test(stderr)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
        void closed.then(() => {
          if (!pattern.test(stderr)) reject(new Error(`ended without saying ${String(pattern)}:\n${stderr}`))
        })
      }),
    async listens(what) {
      const line = new RegExp(`"address":"([^"]+)"[^\\n]*"what":"${what}"|"what":"${what}"[^\\n]*"address":"([^"]+)"`)
      await running.says(line)
      const [, one, other] = line.exec(stderr) ?? []
      return `http://${one ?? other ?? ''}`
    },
    async ended() {
      const [code, signal] = await closed
      return { code, signal, stdout, stderr }
    },
  }
  return running
}

/** Runs `preheatd` to its end. */
export async function cli(
  args: readonly string[],
  env?: Readonly<Record<string, string>>,
  cwd?: string,
): Promise<Ended> {
  return await startCli(args, env, cwd).ended()
}
