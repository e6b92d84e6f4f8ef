import { mkdir, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openFolderPublisher } from '../../src/git/publish.ts'
import type { Edit } from '../../src/model/source.ts'
import { ManualClock } from '../support/clock.ts'
import { git, logGit, temporaryFolder } from '../support/repository.ts'
import { Scene, append, failureFrom, never, put, readFrom } from './support.ts'

const branch = 'preheat-reports'

describe('publishing to a branch', () => {
  test('a branch that is not there begins with the first report, without a parent', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': 'a' })

    const revision = await scene.publisher().publish([put('executions/2026/r.yaml', 'r\n')], 'one report', never)

    expect(revision).toBe(await scene.repository.revision(`refs/heads/${branch}`))
    expect(await scene.repository.files(branch)).toEqual({ 'executions/2026/r.yaml': 'r\n' })
    expect(await scene.repository.countCommits(branch)).toBe(1)
  })

  test('an empty repository takes the first report [G5]', async () => {
    await using scene = await Scene.open()

    await scene.publisher().publish([put('r.yaml', 'r')], 'one report', never)

    expect(await scene.repository.files(branch)).toEqual({ 'r.yaml': 'r' })
  })

  test('a report is added to what is there, by its author, at the clock’s time', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'README.md': 'by hand', 'x/y.yaml': 'y' }, { branch })
    const clock = new ManualClock('2026-11-21T02:00:00Z')

    await scene.publisher({ clock }).publish([put('x/z.yaml', 'z')], 'subject\n\nPreheat-Instance: eu', never)

    expect(await scene.repository.files(branch)).toEqual({ 'README.md': 'by hand', 'x/y.yaml': 'y', 'x/z.yaml': 'z' })
    expect(await git(scene.repository.dir, 'log', '-1', '--format=%an <%ae> %cI %B', branch)).toBe(
      'preheatd <preheatd@localhost> 2026-11-21T02:00:00+00:00 subject\n\nPreheat-Instance: eu\n\n',
    )
    expect(await git(scene.repository.dir, 'fsck', '--strict', '--no-dangling')).toBe('')
  })

  test('an edit sees what stands at its path, and what the edits before it gave', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'runs.yaml': 'a\n' }, { branch })
    const index: Edit = { path: 'README.md', apply: (_, earlier) => `${earlier.get('runs.yaml')?.length} bytes` }

    await scene.publisher().publish([append('runs.yaml', 'b'), append('runs.yaml', 'c'), index], 'm', never)

    expect(await scene.repository.files(branch)).toEqual({ 'runs.yaml': 'a\nb\nc\n', 'README.md': '6 bytes' })
  })

  test('edits that change nothing make no commit', async () => {
    await using scene = await Scene.open()
    const publisher = scene.publisher()
    await publisher.publish([put('r.yaml', 'r'), put('s.yaml', 's')], 'one', never)

    expect(await publisher.publish([put('r.yaml', 'r'), put('s.yaml', 's')], 'two', never)).toBeUndefined()
    expect(await scene.repository.countCommits(branch)).toBe(1)
  })

  test('two hundred reports are one commit, in as many git processes as one report', async () => {
    await using scene = await Scene.open()
    const publisher = scene.publisher()
    await publisher.publish([put('first.yaml', '0')], 'm', never)
    const starts: number[] = []
    await using log = await logGit()
    for (const count of [1, 200]) {
      await log.clear()
      await publisher.publish(
        Array.from({ length: count }, (_, i) => put(`of-${count}/r${i}.yaml`, `${i}\n`)),
        'm',
        never,
      )
      starts.push((await log.starts()).length)
    }

    expect(starts[1]).toBe(starts[0])
    expect(Object.keys(await scene.repository.files(branch))).toHaveLength(202)
    expect(await scene.repository.countCommits(branch)).toBe(3)
  })

  test('nothing of a commit stays in the scratch folder', async () => {
    await using scene = await Scene.open()
    await scene.publisher().publish([put('r.yaml', 'r')], 'm', never)

    expect(await readdir(join(scene.mirror, 'preheatd', 'scratch'))).toEqual([])
  })

  test('a file of the branch can be read', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'status.yaml': 'ok\n' }, { branch })
    const publisher = scene.publisher()

    expect(await publisher.read('status.yaml', never)).toBe('ok\n')
    expect(await publisher.read('gone.yaml', never)).toBeUndefined()
    expect(
      await scene.publisher({ branch: 'none', dir: join(scene.root, 'other') }).read('status.yaml', never),
    ).toBeUndefined()
  })

  test.each([true, false])('with a password, on a remote that can filter: %s', async (canFilter) => {
    await using scene = await Scene.open()
    scene.server.canFilter = canFilter
    scene.server.auth = { type: 'basic', username: 'robot', password: 's3cret-w0rd' }
    const big = 'x'.repeat(50_000)
    await scene.repository.commit({ 'runs.yaml': 'a\n', 'big.yaml': big }, { branch })
    const publisher = scene.publisher({
      auth: { type: 'basic', secret: 's' },
      read: readFrom({ username: 'robot', password: 's3cret-w0rd' }),
    })

    await publisher.publish([append('runs.yaml', 'b')], 'm', never)

    expect(await scene.repository.files(branch)).toEqual({ 'runs.yaml': 'a\nb\n', 'big.yaml': big })
    expect(await holds(scene, 'big.yaml')).toBe(!canFilter)
  })

  test('with a token', async () => {
    await using scene = await Scene.open()
    scene.server.auth = { type: 'bearer', token: 't0ken-t0ken' }
    await scene.repository.commit({ 'runs.yaml': 'a\n' }, { branch })

    await scene
      .publisher({ auth: { type: 'bearer', secret: 's' }, read: readFrom({ token: 't0ken-t0ken' }) })
      .publish([append('runs.yaml', 'b')], 'm', never)

    expect(await scene.repository.files(branch)).toEqual({ 'runs.yaml': 'a\nb\n' })
  })

  test.each([
    '../up.yaml',
    '/etc/passwd',
    'a/../../b',
    '-x',
    'a//b',
    '.git/config',
    'a b',
    'a\nb',
    'x'.repeat(4097),
    '',
  ])('a path such as %.20j is refused before git runs', async (path) => {
    await using scene = await Scene.open()

    expect(await failureFrom(scene.publisher().publish([put(path, 'x')], 'm', never))).toMatchObject({
      state: 'Invalid',
    })
    expect(await failureFrom(scene.publisher().read(path, never))).toMatchObject({ state: 'Invalid' })
    expect(scene.server.requests).toEqual([])
  })
})

describe('others who push', () => {
  test('a lost race is replayed on the new tip [G4]', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'runs.yaml': 'a\n' }, { branch })
    const other = scene.publisher({ dir: join(scene.root, 'other') })
    let raced = false
    // Git's answer to what the tip is comes first: by the time of the push, it is old.
    const race = async () => {
      raced = true
      await other.publish([append('runs.yaml', 'theirs')], 'theirs', never)
    }
    scene.server.next({ does: 'wait', for: race }, /^\/config.git\/git-receive-pack$/)

    await scene.publisher().publish([append('runs.yaml', 'mine')], 'mine', never)

    expect(raced).toBe(true)
    expect(await scene.repository.files(branch)).toEqual({ 'runs.yaml': 'a\ntheirs\nmine\n' })
    expect(await scene.repository.countCommits(branch)).toBe(3)
  })

  test('eight writers at once lose nothing [G4]', async () => {
    await using scene = await Scene.open()
    const writers = Array.from({ length: 8 }, (_, i) => scene.publisher({ dir: join(scene.root, `w${i}`) }))

    await Promise.all(
      writers.map((writer, i) =>
        untilPushed(() => writer.publish([append('runs.yaml', `w${i}.`), put(`r/${i}.yaml`, 'r')], `w${i}`, never)),
      ),
    )

    const files = await scene.repository.files(branch)
    expect((files['runs.yaml'] ?? '').trim().split('\n').sort()).toEqual(writers.map((_, i) => `w${i}.`).sort())
    expect(Object.keys(files)).toHaveLength(9)
    expect(await scene.repository.countCommits(branch)).toBe(8)
    expect(await git(scene.repository.dir, 'fsck', '--strict', '--no-dangling')).toBe('')
  }, 120_000)

  test('a branch that never stands still is given up after eight tries', async () => {
    await using scene = await Scene.open()
    let count = 0
    const move = async () => {
      await scene.repository.commit({ 'x.yaml': `${count++}` }, { branch })
    }
    scene.server.next({ does: 'wait', for: move }, /^\/config.git\/git-receive-pack$/, 99)
    const clock = new ManualClock('2026-11-21T02:00:00Z')
    const waits: number[] = []
    const impatient = {
      now: () => clock.now(),
      sleepUntil: (until: number) => {
        waits.push(until - clock.now())
        return Promise.resolve()
      },
    }

    const error = await failureFrom(
      scene.publisher({ clock: impatient, random: () => 1 }).publish([put('r.yaml', 'r')], 'm', never),
    )

    expect(error).toMatchObject({ code: 'PH4005', message: expect.stringContaining('8 times in a row') })
    expect(count).toBe(8)
    expect(waits).toEqual([200, 400, 800, 1600, 3200, 5000, 5000])
  })

  test('a branch that was rewritten is gone on with [G3]', async () => {
    await using scene = await Scene.open()
    const publisher = scene.publisher()
    await publisher.publish([put('a.yaml', 'a')], 'a', never)
    await publisher.publish([put('b.yaml', 'b')], 'b', never)
    await git(scene.repository.dir, 'update-ref', '-d', `refs/heads/${branch}`)
    await scene.repository.commit({ 'new.yaml': 'n' }, { branch })

    await publisher.publish([put('c.yaml', 'c')], 'c', never)

    expect(await scene.repository.files(branch)).toEqual({ 'new.yaml': 'n', 'c.yaml': 'c' })
    expect(await scene.repository.countCommits(branch)).toBe(2)
  })

  test('a branch that was deleted begins anew [G5]', async () => {
    await using scene = await Scene.open()
    const publisher = scene.publisher()
    await publisher.publish([put('a.yaml', 'a')], 'a', never)
    await git(scene.repository.dir, 'update-ref', '-d', `refs/heads/${branch}`)

    await publisher.publish([put('b.yaml', 'b')], 'b', never)

    expect(await scene.repository.files(branch)).toEqual({ 'b.yaml': 'b' })
    expect(await scene.repository.countCommits(branch)).toBe(1)
  })
})

describe('a push that does not get through', () => {
  test('a push whose answer was lost is not pushed twice [K6]', async () => {
    await using scene = await Scene.open()
    const publisher = scene.publisher()
    // More than once, as curl tries again by itself.
    scene.server.next({ does: 'cut-after' }, /^\/config.git\/git-receive-pack$/, 9)

    expect(await failureFrom(publisher.publish([put('r.yaml', 'r')], 'm', never))).toMatchObject({
      state: 'Unreachable',
    })
    expect(await scene.repository.files(branch)).toEqual({ 'r.yaml': 'r' })
    scene.server.calm()
    expect(await publisher.publish([put('r.yaml', 'r')], 'm', never)).toBeUndefined()
    expect(await scene.repository.countCommits(branch)).toBe(1)
  })

  test.each([
    ['error: GH006: Protected branch update failed for refs/heads/preheat-reports.', 'choose another branch'],
    ['GitLab: You are not allowed to push code to protected branches on this project.', 'choose another branch'],
    ['error: GH013: Commits must have verified signatures.', 'exempt reports.branch'],
    ['GitLab: Committer email does not match', 'set reports.author'],
    ['computer says no', 'choose another branch'],
  ])('a push refused with %j says what to do [G9]', async (words, advice) => {
    await using scene = await Scene.open()
    await scene.repository.refusePushes(words)
    const publisher = scene.publisher()

    const error = await failureFrom(publisher.publish([put('r.yaml', 'r')], 'm', never))

    expect(error).toMatchObject({ state: 'Invalid', code: 'PH4005' })
    expect(error.message).toContain(advice)
    expect(error.message).toContain(words.slice(0, 40))
    await scene.repository.acceptPushes()
    expect(await publisher.publish([put('r.yaml', 'r')], 'm', never)).toBeDefined()
  })

  test('a read-only token may read, and is told what it lacks', async () => {
    await using scene = await Scene.open()
    scene.server.isReadOnly = true

    const error = await failureFrom(scene.publisher().publish([put('r.yaml', 'r')], 'm', never))

    expect(error).toMatchObject({ code: 'PH4005', message: expect.stringContaining('write access') })
  })

  test('what a remote says of our own password is not repeated', async () => {
    await using scene = await Scene.open()
    scene.server.auth = { type: 'basic', username: 'robot', password: 'can4ry-word' }
    await scene.repository.refusePushes(
      `error: can4ry-word ${Buffer.from('can4ry-word').toString('base64')} ${Buffer.from('robot:can4ry-word').toString('base64')} at https://robot:x@host/`,
    )

    const error = await failureFrom(
      scene
        .publisher({
          auth: { type: 'basic', secret: 's' },
          read: readFrom({ username: 'robot', password: 'can4ry-word' }),
        })
        .publish([put('r.yaml', 'r')], 'm', never),
    )

    expect(error.message).toContain('error: [secret] [secret] [secret] at https://host/')
  })

  test('a broken mirror is made anew under way', async () => {
    await using scene = await Scene.open()
    const publisher = scene.publisher()
    await publisher.publish([put('a.yaml', 'a')], 'a', never)
    await rm(join(scene.mirror, 'objects'), { recursive: true })
    await mkdir(join(scene.mirror, 'objects'))

    await publisher.publish([append('a.yaml', 'b')], 'b', never)

    expect(await scene.repository.files(branch)).toEqual({ 'a.yaml': 'ab\n' })
  })

  test('shutdown while waiting for another try is not a failure of git', async () => {
    await using scene = await Scene.open()
    const stop = new AbortController()
    const reason = new Error('stopping')
    let count = 0
    const move = async () => {
      await scene.repository.commit({ 'x.yaml': `${count++}` }, { branch })
    }
    scene.server.next({ does: 'wait', for: move }, /^\/config.git\/git-receive-pack$/, 99)
    const clock = new ManualClock('2026-11-21T02:00:00Z')
    const pending = failureFrom(scene.publisher({ clock }).publish([put('r.yaml', 'r')], 'm', stop.signal))
    await expect.poll(() => clock.nextWake, { timeout: 10_000 }).toBeDefined()

    stop.abort(reason)

    expect(await pending).toBe(reason)
  })
})

describe('publishing to a folder', () => {
  test('files are written, edited and read; nothing else is left', async () => {
    await using folder = await temporaryFolder()
    const dir = join(folder.path, 'reports')
    await using publisher = openFolderPublisher(dir)

    const first = await publisher.publish([put('a/b/r.yaml', 'r'), append('runs.yaml', 'x')], 'm', never)
    const second = await publisher.publish([append('runs.yaml', 'y')], 'm', never)

    expect(first).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(second).not.toBe(first)
    expect(await publisher.publish([append('runs.yaml', 'y')], 'm', never)).toBeUndefined()
    expect(await publisher.read('runs.yaml', never)).toBe('x\ny\n')
    expect(await publisher.read('a/b/none.yaml', never)).toBeUndefined()
    expect(await readdir(join(dir, 'a', 'b'))).toEqual(['r.yaml'])
  })

  test('a path that climbs out is refused', async () => {
    await using folder = await temporaryFolder()
    await using publisher = openFolderPublisher(join(folder.path, 'reports'))

    expect(await failureFrom(publisher.publish([put('../up.yaml', 'x')], 'm', never))).toMatchObject({
      state: 'Invalid',
    })
    expect(await readdir(folder.path)).toEqual([])
  })

  test('a link that leads out of the folder is not followed', async () => {
    await using folder = await temporaryFolder()
    const dir = join(folder.path, 'reports')
    await mkdir(dir)
    await mkdir(join(folder.path, 'outside'))
    await symlink(join(folder.path, 'outside'), join(dir, 'way'))
    await using publisher = openFolderPublisher(dir)

    expect(await failureFrom(publisher.publish([put('way/r.yaml', 'x')], 'm', never))).toMatchObject({ code: 'PH8003' })
    expect(await readdir(join(folder.path, 'outside'))).toEqual([])
  })

  test('a folder that cannot be written says so', async () => {
    await using folder = await temporaryFolder()
    await writeFile(join(folder.path, 'reports'), 'a file')
    await using publisher = openFolderPublisher(join(folder.path, 'reports'))

    expect(await failureFrom(publisher.publish([put('r.yaml', 'x')], 'm', never))).toMatchObject({ code: 'PH8003' })
    expect(await readFile(join(folder.path, 'reports'), 'utf8')).toBe('a file')
  })
})

/** The daemon's flush does the same at its next turn. */
async function untilPushed(work: () => Promise<unknown>): Promise<void> {
  await work().catch(() => untilPushed(work))
}

/** Is the file's content in the mirror, without asking the remote for it? */
async function holds(scene: Scene, path: string): Promise<boolean> {
  const id = (await git(scene.repository.dir, 'rev-parse', `${branch}~1:${path}`)).trim()
  const all = await git(scene.mirror, 'cat-file', '--batch-all-objects', '--batch-check')
  return all.includes(id)
}
