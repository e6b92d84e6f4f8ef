import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'

/** A server of the bench in a process of its own, seen from where it was started. */
export interface Stub<Log> extends AsyncDisposable {
  readonly endpoint: string
  /** All that it has seen. */
  log(): Promise<Log>
  /** What it has used of the processor until now, in milliseconds. */
  cpuMs(): Promise<number>
}

/** @param file beside this one */
export async function startStub<Log>(file: string, options: object): Promise<Stub<Log>> {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), [JSON.stringify(options)])
  const said = async (): Promise<unknown> => {
    const ended = new AbortController()
    const died = once(child, 'exit', { signal: ended.signal }).then(() => {
      throw new Error(`${file} ended before it answered`)
    })
    died.catch(() => undefined)
    try {
      const [message] = (await Promise.race([once(child, 'message'), died])) as unknown[]
      return message
    } finally {
      ended.abort()
    }
  }
  const port = (await said()) as number
  return {
    endpoint: `http://127.0.0.1:${port}`,
    async log() {
      const answered = said()
      child.send('log')
      return (await answered) as Log
    },
    cpuMs: () => cpuMsOf(child.pid!),
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    },
  }
}

/** In the stub's own process: serves, tells its port, and its log when asked. */
export async function listenAsStub(server: Server, log: () => unknown): Promise<void> {
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1', 1024)
  await once(server, 'listening')
  process.on('message', () => process.send!(log()))
  // When the bench is killed, so is this.
  process.on('disconnect', () => process.exit())
  process.send!((server.address() as AddressInfo).port)
}

/** A pull token that tells when it was minted. */
export function tokenOf(mintedAtMs: number): string {
  return `bench.${mintedAtMs}`
}

/** When the token of an `Authorization` value was minted; undefined for one that is none of ours. */
export function mintedAt(authorization: string): number | undefined {
  const text = /^Bearer bench\.(\d+)$/.exec(authorization)?.[1]
  return text === undefined ? undefined : Number(text)
}

// USER_HZ, which is 100 on every Linux that Node runs on.
const TICK_MS = 10

/** User and system, of a process and of the children that it has waited for. */
export async function cpuMsOf(pid: number | 'self'): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0) * TICK_MS
}
