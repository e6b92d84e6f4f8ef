import { stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { makeFolder } from '../src/folder.ts'
import { temporaryFolder } from './support/repository.ts'

describe('a folder is made', () => {
  test('with those above it, all of one mode, at once by several, and again without a word', async () => {
    await using root = await temporaryFolder()
    const path = join(root.path, 'a', 'b', 'c')

    await Promise.all([makeFolder(path, 0o700), makeFolder(path, 0o700), makeFolder(join(root.path, 'a', 'd'), 0o700)])
    await makeFolder(path)

    for (const one of ['a', 'a/b', 'a/b/c', 'a/d']) expect((await stat(join(root.path, one))).mode & 0o777).toBe(0o700)
  })

  test('not where a folder lets none be made, and that has an end', async () => {
    await expect(makeFolder('/proc/preheatd/state')).rejects.toThrow('no folder can be made in /proc')
  })

  test('not where something else lies, nor behind a link that leads nowhere', async () => {
    await using root = await temporaryFolder()
    await writeFile(join(root.path, 'file'), '')
    await symlink(join(root.path, 'nowhere'), join(root.path, 'link'))

    await expect(makeFolder(join(root.path, 'file'))).rejects.toThrow('EEXIST')
    await expect(makeFolder(join(root.path, 'file', 'below'))).rejects.toThrow('ENOTDIR')
    await expect(makeFolder(join(root.path, 'link'))).rejects.toThrow('EEXIST')
    await expect(makeFolder(join(root.path, 'link', 'below'))).rejects.toThrow('EEXIST')
  })
})
