import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { Closers } from '../src/closers.ts'
import { watchFile } from '../src/watch-file.ts'
import { temporaryFolder } from './support/repository.ts'

/** What a watched file was said to hold, in order. */
class Heard {
  readonly texts: string[] = []
  readonly take = (text: string) => {
    this.texts.push(text)
  }

  async become(...texts: string[]): Promise<void> {
    await vi.waitFor(
      () => {
        expect(this.texts).toEqual(texts)
      },
      { timeout: 10_000 },
    )
  }
}

describe('a watched file', () => {
  test('is told when it is written, replaced, gone and back, and not when it is only touched', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'preheatd.yaml')
    await writeFile(file, 'one')
    const heard = new Heard()
    await using closers = new Closers()
    closers.use(await watchFile(file, heard.take))
    await heard.become('one')

    await writeFile(file, 'two')
    await heard.become('one', 'two')
    await writeFile(join(folder.path, 'other.yaml'), 'not ours')
    await writeFile(`${file}.new`, 'three')
    await rename(`${file}.new`, file)
    await heard.become('one', 'two', 'three')
    await rm(file)
    await writeFile(file, 'three')
    await writeFile(file, 'four')
    await heard.become('one', 'two', 'three', 'four')
  })

  test('is told when Kubernetes swaps the folder behind it', async () => {
    await using folder = await temporaryFolder()
    const version = async (name: string, text: string) => {
      await mkdir(join(folder.path, name))
      await writeFile(join(folder.path, name, 'preheatd.yaml'), text)
      await symlink(name, join(folder.path, '..data_tmp'))
      await rename(join(folder.path, '..data_tmp'), join(folder.path, '..data'))
    }
    await version('..2026_11_21', 'one')
    const file = join(folder.path, 'preheatd.yaml')
    await symlink(join('..data', 'preheatd.yaml'), file)
    const heard = new Heard()
    await using closers = new Closers()
    closers.use(await watchFile(file, heard.take))
    await heard.become('one')

    await version('..2026_11_22', 'two')
    await rm(join(folder.path, '..2026_11_21'), { recursive: true })
    await heard.become('one', 'two')
    await version('..2026_11_23', 'three')
    await rm(join(folder.path, '..2026_11_22'), { recursive: true })
    await heard.become('one', 'two', 'three')
  })

  test('is let go', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'preheatd.yaml')
    await writeFile(file, 'one')
    const heard = new Heard()

    await (await watchFile(file, heard.take))[Symbol.asyncDispose]()
    await writeFile(file, 'two')
    await using closers = new Closers()
    closers.use(await watchFile(file, heard.take))

    await heard.become('two')
  })
})
