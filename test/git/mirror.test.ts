import { execFile } from 'node:child_process'
import { chmod, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { inspect, promisify } from 'node:util'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { git, logGit } from '../support/repository.ts'
import { Scene, current, failureFrom, never, readFrom, texts } from './support.ts'

const execute = promisify(execFile)

describe('reading a branch', () => {
  test('a commit is listed and read without a work tree', async () => {
    await using scene = await Scene.open()
    const commit = await scene.repository.commit(
      { 'registries/harbor.yaml': 'kind: Registry\n', 'README.md': '# hello\n' },
      { message: 'Add the registry\n\nand why' },
    )

    const tree = await current(scene.source())

    expect(tree.config).toEqual({ commit, author: 'Ada Lovelace <ada@example.com>', subject: 'Add the registry' })
    expect(tree.entries.map(({ path, kind, sizeBytes }) => ({ path, kind, sizeBytes }))).toEqual([
      { path: 'README.md', kind: 'file', sizeBytes: 8 },
      { path: 'registries/harbor.yaml', kind: 'file', sizeBytes: 15 },
    ])
    expect(await texts(tree)).toEqual({ 'README.md': '# hello\n', 'registries/harbor.yaml': 'kind: Registry\n' })
  })

  test('paths are relative to source.path, and nothing beside it is listed', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'env/prod/a.yaml': 'a', 'env/staging/b.yaml': 'b' })

    expect(await texts(await current(scene.source({ path: './env/prod/' })))).toEqual({ 'a.yaml': 'a' })
  })

  test('a source.path that the commit does not have is an error, not an empty configuration', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' })

    const error = await failureFrom(current(scene.source({ path: 'gone' })))

    expect(error).toMatchObject({ state: 'Invalid', message: expect.stringContaining('source.path') })
  })

  test('symbolic links and submodules are shown as what they are [G11] [P5]', async () => {
    await using scene = await Scene.open()
    const commit = await scene.repository.commit({ 'a.yaml': 'a' })
    await scene.repository.commit({ 'link.yaml': { symlink: '/etc/passwd' }, vendored: { submodule: commit } })

    const tree = await current(scene.source())

    expect(tree.entries.map(({ path, kind }) => [path, kind])).toEqual([
      ['a.yaml', 'file'],
      ['link.yaml', 'symlink'],
      ['vendored', 'submodule'],
    ])
    expect([...(await tree.read(tree.entries, never)).keys()]).toEqual(['a.yaml'])
  })

  test('attributes change no byte, a pointer of LFS is what it is, and no hook runs [G11]', async () => {
    await using scene = await Scene.open()
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 12\n`
    await scene.repository.commit({ 'a.yaml': '0' })
    await current(scene.source())
    for (const hook of ['reference-transaction', 'post-checkout', 'pre-auto-gc']) {
      const path = join(scene.mirror, 'hooks', hook)
      await mkdir(join(scene.mirror, 'hooks'), { recursive: true })
      await writeFile(path, `#!/bin/sh\necho ran >> '${join(scene.root, 'hook')}'\n`)
      await chmod(path, 0o755)
    }
    const files = { '.gitattributes': '*.yaml eol=crlf filter=lfs ident', 'a.yaml': '$Id$\n', 'b.yaml': pointer }
    await scene.repository.commit(files)

    expect(await texts(await current(scene.source()))).toEqual(files)
    expect(await readdir(scene.root)).not.toContain('hook')
  })

  test('names that no shell or option parser would survive are read all the same [P5]', async () => {
    await using scene = await Scene.open()
    const files = { '--upload-pack=x.yaml': '1', 'a b.yaml': '2', 'ä\tb.yaml': '3', '$(id).yaml': '4' }
    await scene.repository.commit(files)

    expect(await texts(await current(scene.source()))).toEqual(files)
  })

  test('control characters of an author or a subject do not reach us', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' }, { message: 'red \u001b[31m alert\u202e' })

    expect((await current(scene.source())).config.subject).toBe('red  [31m alert')
  })

  test('when the branch moves between the look and the fetch, the newer commit is taken and named', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'old' })
    const source = scene.source()
    const observed = await source.observe(never)
    const newer = await scene.repository.commit({ 'a.yaml': 'new' })

    const tree = await source.fetch(observed, never)

    expect(tree.config.commit).toBe(newer)
    expect(await texts(tree)).toEqual({ 'a.yaml': 'new' })
  })

  test('of a commit that names the one before as its parent nobody is asked whether it descends from it', async () => {
    await using scene = await Scene.open()
    const first = await scene.repository.commit({ 'a.yaml': '1' })
    const source = scene.source()
    await current(source)
    const second = await scene.repository.commit({ 'a.yaml': '2' })
    await current(source)
    await using log = await logGit()

    expect(await source.descends(first, second, never)).toBe(true)
    expect(await log.starts()).toEqual([])
  })

  test('a rewritten branch is followed', async () => {
    await using scene = await Scene.open()
    const root = await scene.repository.commit({ 'a.yaml': '1' })
    await scene.repository.commit({ 'a.yaml': '2' })
    const source = scene.source()
    await current(source)

    await git(scene.repository.dir, 'update-ref', 'refs/heads/main', root)
    const rewritten = await scene.repository.commit({ 'b.yaml': '3' })
    const tree = await current(source)

    expect(tree.config.commit).toBe(rewritten)
    expect(await texts(tree)).toEqual({ 'a.yaml': '1', 'b.yaml': '3' })
  })

  test('a file URL reads a local bare repository', async () => {
    await using scene = await Scene.open()
    const commit = await scene.repository.commit({ 'a.yaml': 'a' })

    expect((await current(scene.source({ url: scene.repository.fileUrl }))).config.commit).toBe(commit)
  })

  test('only the tip is fetched, however long the history', async () => {
    await using scene = await Scene.open()
    for (const text of ['1', '2', '3']) await scene.repository.commit({ 'a.yaml': text })

    await current(scene.source())

    expect((await git(scene.mirror, 'rev-list', '--count', 'refs/preheatd/source')).trim()).toBe('1')
  })
})

describe('what it costs', () => {
  test('looking at a branch that did not move starts exactly one git process', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' })
    const source = scene.source()
    await current(source)
    await using log = await logGit()

    await source.observe(never)

    expect((await log.starts()).map((args) => args.filter((arg) => !arg.includes('=') && arg !== '-c'))).toEqual([
      ['ls-remote', '--quiet', '--refs', '--end-of-options', scene.url, 'refs/heads/main'],
    ])
  })

  test('after a restart a commit that is here already is not fetched again', async () => {
    await using scene = await Scene.open()
    const commit = await scene.repository.commit({ 'a.yaml': 'a' })
    await current(scene.source())
    scene.server.requests.length = 0

    const tree = await scene.source().fetch(commit, never)

    expect(await texts(tree)).toEqual({ 'a.yaml': 'a' })
    expect(scene.server.requests).toEqual([])
  })

  test('equal files are read once, and all of them in one process', async () => {
    await using scene = await Scene.open()
    const files = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`p${i}.yaml`, `kind: ${i % 7}\n`]))
    await scene.repository.commit(files)
    const tree = await current(scene.source())
    await using log = await logGit()

    expect(await texts(tree)).toEqual(files)
    expect((await log.starts()).filter((args) => args.includes('cat-file'))).toHaveLength(1)
  })
})

describe('a remote on a bad day', () => {
  test('a deleted branch has its own state', async () => {
    await using scene = await Scene.open()
    const commit = await scene.repository.commit({ 'a.yaml': 'a' })
    const source = scene.source()
    await current(source)
    await git(scene.repository.dir, 'update-ref', '-d', 'refs/heads/main')

    expect(await failureFrom(source.observe(never))).toMatchObject({ state: 'RefNotFound', code: 'PH4002' })
    expect(await failureFrom(source.fetch('0'.repeat(40), never))).toMatchObject({
      state: 'RefNotFound',
      code: 'PH4002',
    })
    // What was fetched before is still there to be read.
    expect((await source.fetch(commit, never)).config.commit).toBe(commit)
  })

  test('a branch whose name only ends like ours is not ours', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' }, { branch: 'refs/heads/main' })

    expect(await failureFrom(scene.source().observe(never))).toMatchObject({ state: 'RefNotFound' })
  })

  test('a remote that is down is unreachable', async () => {
    await using scene = await Scene.open()
    const source = scene.source()
    await scene.server[Symbol.asyncDispose]()

    const error = await failureFrom(source.observe(never))

    expect(error).toMatchObject({ state: 'Unreachable', code: 'PH4003' })
    expect(error.message).toContain('Failed to connect')
  })

  test.each([500, 502, 503, 429])('a remote that answers %d is unreachable', async (status) => {
    await using scene = await Scene.open()
    scene.server.next({ does: 'answer', status })

    expect(await failureFrom(scene.source().observe(never))).toMatchObject({ state: 'Unreachable', code: 'PH4003' })
  })

  test('a connection that is cut is unreachable', async () => {
    await using scene = await Scene.open()
    scene.server.next({ does: 'cut' }, /./, 9)

    expect(await failureFrom(scene.source().observe(never))).toMatchObject({ state: 'Unreachable', code: 'PH4003' })
  })

  test('a repository that is not there says that it may be hidden', async () => {
    await using scene = await Scene.open()

    const error = await failureFrom(scene.source({ url: scene.server.url('gone.git') }).observe(never))

    expect(error).toMatchObject({
      state: 'Unreachable',
      message: expect.stringContaining('hidden from this credential'),
    })
  })

  test('a redirect is not followed', async () => {
    await using scene = await Scene.open()
    scene.server.next({ does: 'answer', status: 301 })

    expect(await failureFrom(scene.source().observe(never))).toMatchObject({
      state: 'Invalid',
      message: expect.stringContaining('redirect'),
    })
  })

  test('a remote that says nothing is given up at the deadline, and no process stays behind [G8]', async () => {
    await using scene = await Scene.open()
    scene.server.next({ does: 'hang' })

    const error = await failureFrom(scene.source({ deadlines: { askMs: 300, transferMs: 300 } }).observe(never))

    expect(error).toMatchObject({ state: 'Unreachable', message: expect.stringContaining('no answer within 300 ms') })
    await gone(scene.url)
  })

  test('shutdown is not mistaken for a fault of the remote', async () => {
    await using scene = await Scene.open()
    scene.server.next({ does: 'hang' })
    const stop = new AbortController()
    const reason = new Error('stopping')
    const pending = failureFrom(scene.source().observe(stop.signal))
    await until(() => scene.server.requests.length > 0)

    stop.abort(reason)

    expect(await pending).toBe(reason)
    await gone(scene.url)
  })

  test('a fetch that hangs leaves a mirror that works [G8]', async () => {
    await using scene = await Scene.open()
    const commit = await scene.repository.commit({ 'a.yaml': 'a' })
    const source = scene.source({ deadlines: { askMs: 5_000, transferMs: 400 } })
    scene.server.next({ does: 'hang' }, /git-upload-pack/)
    await failureFrom(source.fetch(commit, never))
    scene.server.calm()

    expect(await texts(await scene.source().fetch(commit, never))).toEqual({ 'a.yaml': 'a' })
  })
})

describe('a broken mirror', () => {
  test('with corrupt objects is moved aside and fetched anew [G7]', async () => {
    await using scene = await Scene.open()
    const commit = await scene.repository.commit({ 'a.yaml': 'a' })
    await current(scene.source())
    await corruptPacks(scene.mirror)

    const again = await scene.source().fetch(commit, never)

    expect(await texts(again)).toEqual({ 'a.yaml': 'a' })
    expect(await readdir(join(scene.root, 'state'))).toEqual(['mirror', 'mirror.broken-1'])
  })

  test('that breaks between listing and reading is fetched anew [G7]', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' })
    const tree = await current(scene.source())
    await corruptPacks(scene.mirror)

    expect(await texts(tree)).toEqual({ 'a.yaml': 'a' })
  })

  test('with an object that is missing is fetched anew', async () => {
    await using scene = await Scene.open()
    const commit = await scene.repository.commit({ 'a.yaml': 'a' })
    await current(scene.source())
    await rm(join(scene.mirror, 'objects'), { recursive: true })
    await mkdir(join(scene.mirror, 'objects'))

    expect(await texts(await scene.source().fetch(commit, never))).toEqual({ 'a.yaml': 'a' })
  })

  test('that is no repository any more is made anew, and one broken mirror is kept', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' })
    const source = scene.source()
    for (const head of ['garbage', 'rubbish']) {
      await current(source)
      await writeFile(join(scene.mirror, 'HEAD'), head)
      expect(await texts(await current(source))).toEqual({ 'a.yaml': 'a' })
    }

    expect(await readdir(join(scene.root, 'state'))).toEqual(['mirror', 'mirror.broken-2'])
  })

  test('whose remote went away too fails with the remote’s state', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' })
    const source = scene.source()
    const tree = await current(source)
    await corruptPacks(scene.mirror)
    scene.server.next({ does: 'answer', status: 503 }, /./, 9)

    expect(await failureFrom(tree.read(tree.entries, never))).toMatchObject({ state: 'Unreachable' })
  })

  test('that breaks a second time is MirrorBroken', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' })
    const source = scene.source()
    const tree = await current(source)

    const error = await failureFrom(tree.read([{ ...tree.entries[0]!, blobId: 'f'.repeat(40) }], never))

    expect(error).toMatchObject({ state: 'MirrorBroken', code: 'PH4004' })
  })

  test('with locks that a kill left is used as it is [K8]', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': '1' })
    await current(scene.source())
    for (const lock of ['shallow.lock', 'config.lock', 'refs/preheatd/source.lock']) {
      await writeFile(join(scene.mirror, lock), '')
    }
    await scene.repository.commit({ 'a.yaml': '2' })

    expect(await texts(await current(scene.source()))).toEqual({ 'a.yaml': '2' })
    expect(await readdir(join(scene.root, 'state'))).toEqual(['mirror'])
  })

  test('with half a pack that a kill left is used as it is, and loses that [K8]', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': '1' })
    await current(scene.source())
    const packs = join(scene.mirror, 'objects', 'pack')
    const [whole = ''] = (await readdir(packs)).filter((name) => name.endsWith('.pack'))
    await writeFile(join(packs, 'tmp_pack_k3Xb1a'), (await readFile(join(packs, whole))).subarray(0, 40))
    await scene.repository.commit({ 'a.yaml': '2' })

    expect(await texts(await current(scene.source()))).toEqual({ 'a.yaml': '2' })
    expect((await readdir(packs)).filter((name) => name.startsWith('tmp_'))).toEqual([])
    expect(await readdir(join(scene.root, 'state'))).toEqual(['mirror'])
  })

  test('of another remote is not taken for ours', async () => {
    await using scene = await Scene.open()
    const commit = await scene.repository.commit({ 'a.yaml': 'a' })
    await current(scene.source())
    const other = await scene.server.create('other.git')
    await other.commit({ 'b.yaml': 'b' })

    const error = await failureFrom(
      scene.source({ url: scene.server.url('other.git'), ref: { type: 'branch', name: 'none' } }).fetch(commit, never),
    )

    expect(error).toMatchObject({ state: 'RefNotFound' })
  })
})

describe('credentials', () => {
  const canary = 'c4nary/+S3cret&word'

  test('a password reaches the remote and nothing else', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' })
    scene.server.auth = { type: 'basic', username: 'robot', password: canary }
    await using log = await logGit()

    const tree = await current(
      scene.source({ auth: { type: 'basic', secret: 's' }, read: readFrom({ username: 'robot', password: canary }) }),
    )

    expect(await texts(tree)).toEqual({ 'a.yaml': 'a' })
    expect(JSON.stringify(await log.starts())).not.toContain(canary)
    expect(await grep(scene.mirror, canary)).toEqual([])
  })

  test('a token is sent as a bearer header and is in no argument', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' })
    scene.server.auth = { type: 'bearer', token: canary }
    await using log = await logGit()

    const tree = await current(
      scene.source({ auth: { type: 'bearer', secret: 's' }, read: readFrom({ token: canary }) }),
    )

    expect(await texts(tree)).toEqual({ 'a.yaml': 'a' })
    expect(JSON.stringify(await log.starts())).not.toContain(canary)
    expect(scene.server.requests.every(({ hasAuthorization }) => hasAuthorization)).toBe(true)
  })

  test('while git runs, no process shows the secret in its arguments', async () => {
    await using scene = await Scene.open()
    scene.server.auth = { type: 'basic', username: 'robot', password: canary }
    scene.server.next({ does: 'hang' }, /./, 1)
    const stop = new AbortController()
    const pending = failureFrom(
      scene
        .source({ auth: { type: 'basic', secret: 's' }, read: readFrom({ username: 'robot', password: canary }) })
        .observe(stop.signal),
    )
    await until(() => scene.server.requests.length > 0)

    const { stdout } = await execute('ps', ['-eo', 'args'])
    stop.abort()
    await pending

    expect(stdout).toContain(scene.url)
    expect(stdout).not.toContain(canary)
  })

  test.each(['basic', 'bearer'] as const)(
    'a wrong %s credential has its own state, and is tried once',
    async (type) => {
      await using scene = await Scene.open()
      scene.server.auth = { type: 'bearer', token: 'right' }
      const read = readFrom({ username: 'robot', password: canary, token: canary })
      await using log = await logGit()

      const error = await failureFrom(scene.source({ auth: { type, secret: 's' }, read }).observe(never))

      expect(error).toMatchObject({ state: 'AuthenticationFailed', code: 'PH4001' })
      expect(inspect(error, { depth: 9, showHidden: true })).not.toMatch(/c4nary|extraHeader|PREHEATD_GIT/)
      expect(error.cause).toBeUndefined()
      expect(await log.starts()).toHaveLength(1)
    },
  )

  test('a credential that was rotated under way is read again, once', async () => {
    await using scene = await Scene.open()
    const commit = await scene.repository.commit({ 'a.yaml': 'a' })
    scene.server.auth = { type: 'basic', username: 'robot', password: 'new' }
    const passwords = ['old', 'new']
    const source = scene.source({
      auth: { type: 'basic', secret: 's' },
      read: (_secret, key, url) =>
        readFrom({ username: 'robot', password: key === 'password' ? passwords.shift() : '' })('s', key, url),
    })

    expect(await source.observe(never)).toBe(commit)
    expect(passwords).toEqual([])
  })

  test('without a credential a remote that wants one is refused, not prompted for [G2]', async () => {
    await using scene = await Scene.open()
    scene.server.auth = { type: 'bearer', token: 'right' }

    expect(await failureFrom(scene.source().observe(never))).toMatchObject({ state: 'AuthenticationFailed' })
  })

  test('a secret with a line break is not sent', async () => {
    await using scene = await Scene.open()
    const read = readFrom({ token: 'x\r\nX-Evil: 1' })

    const error = await failureFrom(scene.source({ auth: { type: 'bearer', secret: 's' }, read }).observe(never))

    expect(error).toMatchObject({ state: 'AuthenticationFailed', message: expect.stringContaining('line break') })
    expect(scene.server.requests).toEqual([])
  })
})

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  await expect.poll(condition, { timeout: 8_000, interval: 20 }).toBe(true)
}

/** No process speaks to that address any more. */
async function gone(url: string): Promise<void> {
  await until(async () => !(await execute('ps', ['-eo', 'args'])).stdout.includes(url))
}

/** Garbles what every pack holds, and keeps its header. */
async function corruptPacks(mirror: string): Promise<void> {
  const packs = (await readdir(join(mirror, 'objects', 'pack'))).filter((name) => name.endsWith('.pack'))
  expect(packs).not.toEqual([])
  for (const pack of packs) {
    const file = join(mirror, 'objects', 'pack', pack)
    const bytes = await readFile(file)
    await chmod(file, 0o600)
    await writeFile(file, bytes.fill(0x5a, 12, bytes.length - 20))
  }
}

/** The files below a folder that hold the text. */
async function grep(dir: string, text: string): Promise<string[]> {
  const paths = await readdir(dir, { recursive: true, withFileTypes: true })
  const found: string[] = []
  for (const entry of paths.filter((one) => one.isFile())) {
    const file = join(entry.parentPath, entry.name)
    if ((await readFile(file)).includes(text)) found.push(file)
  }
  return found
}
