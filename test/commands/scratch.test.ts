import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../support/repository.ts'

const tmpdirAfter = async (module: string, script: string): Promise<{ code: unknown; left: string[] }> => {
  await using place = await temporaryFolder()
  const source = `import * as it from ${JSON.stringify(fileURLToPath(new URL(module, import.meta.url)))}; ${script}`
  const code = await new Promise((resolve) => {
    const args = ['--import', 'tsx', '--input-type=module', '-e', source]
    const env = { ...process.env, TMPDIR: place.path }
    execFile(process.execPath, args, { env }, (error) => {
      resolve(error?.code ?? 0)
    })
  })
  return { code, left: (await readdir(place.path)).filter((name) => name.startsWith('preheatd-')) }
}

test('a second signal ends a command at once, and neither its scratch folder nor a key stays behind', async () => {
  const fill = `(await import('node:fs')).writeFileSync(folder + '/file', ''); process.exit(130)`

  expect(
    await tmpdirAfter('../../src/commands/scratch.ts', `const folder = it.scratchFolder('check').name; ${fill}`),
  ).toEqual({ code: 130, left: [] })
  expect(
    await tmpdirAfter(
      '../../src/git/private-folder.ts',
      `await it.withPrivateFolder('ssh', { key: 'secret' }, async (folder) => { ${fill} })`,
    ),
  ).toEqual({ code: 130, left: [] })
})
