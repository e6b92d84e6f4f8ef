import { spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { CLI, startCli } from '../support/cli.ts'
import { openSite } from '../support/site.ts'

test('a reader that has left ends a command without a word', async () => {
  const running = startCli(['--help'])
  running.process.stdout?.destroy()

  expect(await running.ended()).toMatchObject({ code: 0, stderr: '' })
})

test('results that cannot be written are a failure, said once', async () => {
  await using full = await open('/dev/full', 'w')
  const child = spawn(process.execPath, [CLI, '--help'], { stdio: ['ignore', full.fd, 'pipe'] })
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))

  expect([await once(child, 'close'), stderr]).toEqual([
    [1, null],
    'error: results cannot be written (ENOSPC: no space left on device, write)\n',
  ])
})

test('a daemon goes on when nobody reads its log', async () => {
  await using site = await openSite()
  await site.configure()
  await site.repository.commit({ 'README.md': 'nothing yet' })
  const daemon = startCli(['run', '--config', site.configFile])
  await daemon.says(/"plan\.applied"/)
  daemon.process.stderr?.destroy()

  const before = await site.repository.revision('preheat-reports')
  await site.repository.commit({
    'providers/dragonfly-eu.yaml': `apiVersion: preheatd.io/v1alpha1\nkind: Provider\n`,
  })

  await expect.poll(() => site.repository.revision('preheat-reports'), { timeout: 15_000 }).not.toBe(before)
  daemon.process.kill('SIGTERM')
  expect(await daemon.ended()).toMatchObject({ code: 0 })
})
