import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openFolderSource, watchFolder } from '../../src/git/folder.ts'
import { temporaryFolder } from '../support/repository.ts'
import { current, failureFrom, never, texts } from './support.ts'

describe('a plain folder as source', () => {
  test('its YAML files are its configuration, and their content its commit', async () => {
    await using folder = await temporaryFolder()
    await write(folder.path, {
      'projects/library/a.yaml': 'a',
      'b.yml': 'b',
      'notes.txt': 'no',
      '.preheatdignore': 'x',
    })
    await using source = openFolderSource(folder.path)

    const tree = await current(source)

    expect(tree.config).toEqual({ commit: await source.observe(never), author: '', subject: '' })
    expect(tree.config.commit).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(await texts(tree)).toEqual({ '.preheatdignore': 'x', 'b.yml': 'b', 'projects/library/a.yaml': 'a' })
  })

  test('the revision changes with bytes and names, and with nothing else', async () => {
    await using folder = await temporaryFolder()
    await write(folder.path, { 'a.yaml': 'a' })
    await using source = openFolderSource(folder.path)
    const first = await source.observe(never)

    await write(folder.path, { 'a.yaml': 'a', 'notes.txt': 'n' })
    expect(await source.observe(never)).toBe(first)
    await write(folder.path, { 'a.yaml': 'b' })
    const second = await source.observe(never)
    expect(second).not.toBe(first)
    await rename(join(folder.path, 'a.yaml'), join(folder.path, 'b.yaml'))
    expect([first, second]).not.toContain(await source.observe(never))
  })

  test('a ConfigMap as Kubernetes mounts it is read once, through its links', async () => {
    await using folder = await temporaryFolder()
    await write(folder.path, { '..2026_11_21/a.yaml': 'a' })
    await symlink('..2026_11_21', join(folder.path, '..data'))
    await symlink('..data/a.yaml', join(folder.path, 'a.yaml'))
    await using source = openFolderSource(folder.path)

    expect(await texts(await current(source))).toEqual({ 'a.yaml': 'a' })
  })

  test('a link that leads out of the folder is shown, not followed [P5]', async () => {
    await using folder = await temporaryFolder()
    await write(folder.path, { 'outside.yaml': 'secret', 'inside/a.yaml': 'a' })
    const dir = join(folder.path, 'inside')
    await symlink('../outside.yaml', join(dir, 'b.yaml'))
    await symlink('nowhere', join(dir, 'c.yaml'))
    await using source = openFolderSource(dir)

    const tree = await current(source)

    expect(tree.entries.map(({ path, kind }) => [path, kind])).toEqual([
      ['a.yaml', 'file'],
      ['b.yaml', 'symlink'],
      ['c.yaml', 'symlink'],
    ])
    expect(await texts(tree)).toEqual({ 'a.yaml': 'a' })
  })

  test('a file that changes between listing and reading is not taken half', async () => {
    await using folder = await temporaryFolder()
    await write(folder.path, { 'a.yaml': 'a' })
    await using source = openFolderSource(folder.path)
    const tree = await current(source)
    await write(folder.path, { 'a.yaml': 'b' })

    expect(await failureFrom(tree.read(tree.entries, never))).toMatchObject({ state: 'Invalid', code: 'PH4007' })
  })

  test('a folder that is gone, or a file, is an error that names it, not an empty configuration', async () => {
    await using folder = await temporaryFolder()
    await write(folder.path, { 'a.yaml': 'a' })
    const [gone, file] = [join(folder.path, 'gone'), join(folder.path, 'a.yaml')]

    for (const [dir, message] of [
      [gone, `there is no folder ${gone}`],
      [file, `${file} is no folder`],
    ] as const) {
      await using source = openFolderSource(dir)
      expect(await failureFrom(source.observe(never))).toMatchObject({ state: 'Invalid', code: 'PH4007', message })
    }
  })
})

test('a watched folder says when a file is written, and no longer once it is closed', async () => {
  await using folder = await temporaryFolder()
  let changes = 0
  const watcher = watchFolder(folder.path, () => changes++)
  await expect
    .poll(
      async () => {
        await write(folder.path, { 'a.yaml': `${Math.random()}` })
        return changes
      },
      { timeout: 10_000, interval: 100 },
    )
    .toBeGreaterThan(0)

  await watcher[Symbol.asyncDispose]()
  const before = changes
  await rm(join(folder.path, 'a.yaml'))
  await write(folder.path, { 'b.yaml': 'b' })

  expect(changes).toBe(before)
})

async function write(dir: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(dir, path, '..'), { recursive: true })
    await writeFile(join(dir, path), text)
  }
}
