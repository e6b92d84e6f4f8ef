import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openRevision } from '../../src/git/revision.ts'
import { git, logGit, temporaryFolder } from '../support/repository.ts'
import { failureFrom, never, texts } from './support.ts'

describe('a revision of a local repository', () => {
  test('is read as it was committed, whatever the work tree holds now', async () => {
    await using checkout = await Checkout.open()
    await checkout.commit({ 'policies/a.yaml': 'old', 'other.txt': 'x' })
    await checkout.commit({ 'policies/a.yaml': 'new' })
    await checkout.write({ 'policies/a.yaml': 'edited' })

    const tree = await openRevision(checkout.dir, 'HEAD~1', 'policies', never)

    expect(await texts(tree)).toEqual({ 'a.yaml': 'old' })
    expect(tree.config).toMatchObject({ author: 'Ada Lovelace <ada@example.com>', subject: 'change' })
  })

  test('is relative to the folder that was given', async () => {
    await using checkout = await Checkout.open()
    await checkout.commit({ 'deep/policies/projects/a.yaml': 'a' })

    expect(await texts(await openRevision(join(checkout.dir, 'deep/policies'), 'main', '.', never))).toEqual({
      'projects/a.yaml': 'a',
    })
  })

  test('without that folder is empty: everything in it is new', async () => {
    await using checkout = await Checkout.open()
    await checkout.commit({ 'a.yaml': 'a' })
    await checkout.write({ 'policies/b.yaml': 'b' })

    expect((await openRevision(join(checkout.dir, 'policies'), 'main', '.', never)).entries).toEqual([])
  })

  test.each(['--output=x', '-1', '', 'gone', 'main:a.yaml', 'a\nb'])(
    'that is no commit, such as %j, is refused',
    async (rev) => {
      await using checkout = await Checkout.open()
      await checkout.commit({ 'a.yaml': 'a' })

      expect(await failureFrom(openRevision(checkout.dir, rev, '.', never))).toMatchObject({
        state: 'RefNotFound',
        code: 'PH4002',
      })
    },
  )

  test('that a shallow clone lacks says why', async () => {
    await using checkout = await Checkout.open()
    await checkout.commit({ 'a.yaml': 'a' })
    await using folder = await temporaryFolder()
    await git(folder.path, 'clone', '--quiet', '--depth', '1', `file://${checkout.dir}`, 'clone')

    expect(await failureFrom(openRevision(checkout.dir, 'gone', '.', never))).toMatchObject({
      message: '"gone" is no commit of this repository',
    })
    expect(await failureFrom(openRevision(join(folder.path, 'clone'), 'gone', '.', never))).toMatchObject({
      message: '"gone" is no commit of this repository, of which only a part was cloned: fetch its history',
    })
  })

  test('outside of any repository says so', async () => {
    await using folder = await temporaryFolder()

    expect(await failureFrom(openRevision(folder.path, 'main', '.', never))).toMatchObject({
      state: 'Invalid',
      code: 'PH4002',
      message: expect.stringContaining('in no git repository, so there is no main'),
    })
  })

  test('is read without a remote being asked or a hook being run', async () => {
    await using checkout = await Checkout.open()
    await checkout.commit({ 'a.yaml': 'a' })
    await git(checkout.dir, 'config', 'core.fsmonitor', '/bin/false')
    await git(checkout.dir, 'remote', 'add', 'origin', 'http://127.0.0.1:9/gone.git')
    await using log = await logGit()

    await texts(await openRevision(checkout.dir, 'main', '.', never))

    const commands = (await log.starts()).map((args) =>
      args.find((arg) => /^(?:rev-parse|cat-file|ls-tree)$/.test(arg)),
    )
    expect(commands).toEqual(['rev-parse', 'rev-parse', 'cat-file', 'ls-tree', 'cat-file'])
  })
})

class Checkout implements AsyncDisposable {
  readonly dir: string
  readonly #folder: AsyncDisposable

  private constructor(dir: string, folder: AsyncDisposable) {
    this.dir = dir
    this.#folder = folder
  }

  static async open(): Promise<Checkout> {
    const folder = await temporaryFolder()
    await git(folder.path, 'init', '--quiet', '--initial-branch=main')
    return new Checkout(folder.path, folder)
  }

  async write(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(join(this.dir, path, '..'), { recursive: true })
      await writeFile(join(this.dir, path), text)
    }
  }

  async commit(files: Readonly<Record<string, string>>): Promise<void> {
    await this.write(files)
    await git(this.dir, 'add', '--all')
    await git(this.dir, 'commit', '--quiet', '--message=change')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]()
  }
}
