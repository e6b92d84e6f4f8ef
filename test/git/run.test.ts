import { chmod, readFile, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openGitSource } from '../../src/git/mirror.ts'
import { initMirror, listTree, readObjects } from '../../src/git/objects.ts'
import { remoteBranch } from '../../src/git/remote.ts'
import { lsRemote } from '../../src/git/transfer.ts'
import { temporaryFolder } from '../support/repository.ts'
import { Scene, failureFrom, never, noSecrets } from './support.ts'

describe('what may reach git', () => {
  test.each([
    'https://user:password@example.com/r.git',
    'https://token@example.com/r.git',
    'https://example.com/r.git?token=1',
    'http://example.com/r.git',
    'http://127.0.0.1.example.com/r.git',
    'ssh://git:password@example.com/r.git',
    'ssh://-oProxyCommand=id/r.git',
    'ssh://git@-oProxyCommand=id/r.git',
    'ssh://-oProxyCommand=id@example.com/r.git',
    'ssh://exa$(id)mple.com/r.git',
    'ssh://git@example.com',
    'ssh://git@example.com/r.git?x=1',
    '-oProxyCommand=id@example.com:r.git',
    'git@-oProxyCommand=id:r.git',
    'git@example.com:-r.git',
    'git@exa;mple.com:r.git',
    'example.com:r.git',
    'git://example.com/r.git',
    'ext::sh -c id',
    'file://host/r.git',
    '--upload-pack=id',
    '/a/path',
    'https://example.com/a b',
    '',
  ])('the address %j is refused [S8]', (url) => {
    expect(() => remoteBranch(url, 'main')).toThrow(expect.objectContaining({ name: 'SourceError', state: 'Invalid' }))
  })

  test.each(['https://example.com/r.git', 'http://localhost:3000/r', 'http://[::1]:3000/r', 'file:///srv/r.git'])(
    'the address %j is taken',
    (url) => {
      expect(remoteBranch(url, 'feature/x-1').url.href).toBe(url)
    },
  )

  test.each([
    '--upload-pack=id',
    '-x',
    'a..b',
    'a b',
    'a:b',
    'a^',
    'a~1',
    'a*',
    'a?',
    'a[',
    'a\\b',
    '/a',
    'a/',
    'a//b',
    '.a',
    'a/.b',
    'a.lock',
    'a.',
    '@{-1}',
    '@',
    'a\nb',
    '',
    'x'.repeat(300),
  ])('the branch %j is refused [S8]', (branch) => {
    expect(() => remoteBranch('https://example.com/r.git', branch)).toThrow(/is no branch name/)
  })

  test('a refused address is not repeated with its password', () => {
    expect(() => remoteBranch('https://u:hunter2@example.com/', 'main')).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('hunter2') }),
    )
  })

  test.each(['../up', 'a/../../b', '/abs'])('the source.path %j is refused', (path) => {
    expect(() =>
      openGitSource({
        url: 'https://example.com/r.git',
        ref: { type: 'branch', name: 'main' },
        path,
        dir: '/nowhere',
        auth: { type: 'none' },
        read: noSecrets,
      }),
    ).toThrow(/source.path/)
  })

  test('an object id that is none is refused', async () => {
    await expect(listTree('/nowhere', '--output=x', 'mirror', never)).rejects.toThrow(/not an object id/)
    await expect(readObjects('/nowhere', ['a\nb'], 'mirror', 9, undefined, never)).rejects.toThrow(/white space/)
  })
})

describe('what bounds a git process', () => {
  test('one that writes more than it may is ended', async () => {
    await using scene = await Scene.open()
    const id = await scene.repository.commit({ 'big.txt': 'x'.repeat(100_000) })

    const error = await failureFrom(
      readObjects(scene.repository.dir, [`${id}:big.txt`], 'read', 1_000, undefined, never),
    )

    expect(error).toMatchObject({ state: 'TooLarge', code: 'PH1008' })
  })

  test('one that does not mind being asked to end is killed [G8]', async () => {
    await using folder = await temporaryFolder()
    const stubborn = `trap '' INT TERM; while :; do sleep 0.1; done`

    const error = await withFakeGit(folder.path, stubborn, () =>
      failureFrom(lsRemote(remote({ askMs: 200, transferMs: 200 }), never)),
    )

    expect(error).toMatchObject({ state: 'Unreachable', code: 'PH4003' })
  })

  test('an environment of its own: nothing of ours that git would listen to', async () => {
    await using folder = await temporaryFolder()
    const seen = join(folder.path, 'seen')
    const ambient = { GIT_SSH_COMMAND: 'evil', PREHEATD_TOKEN: 'evil', SSL_CERT_FILE: '/ca.pem', GIT_DIR: '/elsewhere' }

    await withEnvironment(ambient, () =>
      withFakeGit(folder.path, `env >'${seen}'; exit 0`, () => initMirror(folder.path, never)),
    )

    const names = (await readFile(seen, 'utf8')).split('\n').map((line) => line.split('=', 1)[0] ?? '')
    expect(names.filter((name) => /^GIT_|^PREHEATD|^HOME$/.test(name)).sort()).toEqual([
      'GIT_ALLOW_PROTOCOL',
      'GIT_CONFIG_GLOBAL',
      'GIT_CONFIG_NOSYSTEM',
      'GIT_DIR',
      'GIT_OPTIONAL_LOCKS',
      'GIT_SSL_CAINFO',
      'GIT_TERMINAL_PROMPT',
      'GIT_TEST_DISALLOW_ABBREVIATED_OPTIONS',
      'HOME',
    ])
  })

  test('without git there is a message that says so', async () => {
    await using folder = await temporaryFolder()

    const error = await withEnvironment({ PATH: folder.path }, () =>
      failureFrom(lsRemote(remote({ askMs: 5_000, transferMs: 5_000 }), never)),
    )

    expect(error).toMatchObject({ state: 'Invalid', message: expect.stringContaining('git is not installed') })
  })

  test('a host whose name reads like a git setting is no trouble', async () => {
    const error = await failureFrom(
      lsRemote(
        { ...remote({ askMs: 5_000, transferMs: 5_000 }), ...remoteBranch('https://alias.pager.invalid/r', 'main') },
        never,
      ),
    )

    expect(error).toMatchObject({ state: 'Unreachable', code: 'PH4003' })
  })
})

function remote(deadlines: { askMs: number; transferMs: number }) {
  return { ...remoteBranch('http://127.0.0.1:9/r.git', 'main'), credential: { type: 'none' } as const, deadlines }
}

/** Puts a script in git's place while `work` runs. */
async function withFakeGit<T>(dir: string, script: string, work: () => Promise<T>): Promise<T> {
  await writeFile(join(dir, 'git'), `#!/bin/sh\n${script}\n`)
  await chmod(join(dir, 'git'), 0o755)
  return await withEnvironment({ PATH: `${dir}${delimiter}${process.env['PATH'] ?? ''}` }, work)
}

async function withEnvironment<T>(values: Readonly<Record<string, string>>, work: () => Promise<T>): Promise<T> {
  const before = { ...process.env }
  Object.assign(process.env, values)
  try {
    return await work()
  } finally {
    for (const name of Object.keys(values)) {
      if (before[name] === undefined) Reflect.deleteProperty(process.env, name)
      else process.env[name] = before[name]
    }
  }
}
