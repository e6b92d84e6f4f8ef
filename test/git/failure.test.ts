import { describe, expect, test } from 'vitest'
import { failureOf, hasLostRace, type Ending, type Purpose } from '../../src/git/failure.ts'

function ending(purpose: Purpose, stderr: string, stdout = ''): Ending {
  return { purpose, what: `git ${purpose}`, exitCode: 128, stdout, stderr, secrets: [] }
}

describe('what a text of git means', () => {
  test.each<[Purpose, string, string, string]>([
    ['fetch', "fatal: couldn't find remote ref refs/heads/x", 'RefNotFound', 'PH4002'],
    ['fetch', "fatal: Authentication failed for 'https://h/r.git/'", 'AuthenticationFailed', 'PH4001'],
    [
      'fetch',
      "fatal: could not read Username for 'https://h': terminal prompts disabled",
      'AuthenticationFailed',
      'PH4001',
    ],
    [
      'fetch',
      "fatal: unable to access 'https://h/': The requested URL returned error: 403",
      'AuthenticationFailed',
      'PH4001',
    ],
    [
      'push',
      "fatal: unable to access 'https://h/': The requested URL returned error: 403",
      'AuthenticationFailed',
      'PH4005',
    ],
    ['push', 'remote: Write access to repository not granted.', 'AuthenticationFailed', 'PH4005'],
    ['fetch', "fatal: unable to access 'https://h/': The requested URL returned error: 503", 'Unreachable', 'PH4003'],
    ['fetch', "fatal: unable to access 'https://h/': Could not resolve host: h", 'Unreachable', 'PH4003'],
    ['fetch', 'error: RPC failed; curl 56 Recv failure: Connection reset by peer', 'Unreachable', 'PH4003'],
    ['fetch', 'fatal: early EOF\nfatal: fetch-pack: invalid index-pack output', 'Unreachable', 'PH4003'],
    ['fetch', "remote: Repository not found.\nfatal: repository 'https://h/r.git/' not found", 'Unreachable', 'PH4003'],
    ['fetch', 'fatal: unable to access: server certificate verification failed', 'Unreachable', 'PH4003'],
    ['fetch', "fatal: Unable to create '/s/shallow.lock': File exists.", 'MirrorBroken', 'PH4004'],
    ['fetch', 'fatal: shallow file has changed since we read it', 'MirrorBroken', 'PH4004'],
    ['fetch', "fatal: not a git repository: '/s/mirror'", 'MirrorBroken', 'PH4004'],
    ['fetch', 'error: unable to write file: No space left on device', 'MirrorBroken', 'PH8003'],
    ['mirror', 'fatal: whatever else goes wrong at home', 'MirrorBroken', 'PH4004'],
    ['read', 'fatal: not a git repository (or any of the parent directories): .git', 'Invalid', 'PH4006'],
    ['push', ' ! [remote rejected] a -> b (pre-receive hook declined)', 'Invalid', 'PH4005'],
    ['push', 'remote: TF402455: Pushes to this branch are not permitted', 'Invalid', 'PH4005'],
    ['fetch', 'fatal: something new', 'Invalid', 'PH4006'],
    ['fetch', 'Error: spawn git ENOENT\n    at somewhere', 'Invalid', 'PH4006'],
  ])('%s: %s is %s %s', (purpose, text, state, code) => {
    expect(failureOf(ending(purpose, text))).toMatchObject({ state, code })
  })

  test('a full disk on the other side does not break our mirror', () => {
    expect(failureOf(ending('push', 'remote: fatal: No space left on device')).state).not.toBe('MirrorBroken')
    expect(failureOf(ending('push', 'remote: error: bad object 12')).state).not.toBe('MirrorBroken')
  })

  test.each([
    '!\ta:refs/heads/b\t[rejected] (fetch first)',
    '!\ta:refs/heads/b\t[rejected] (non-fast-forward)',
    '!\ta:refs/heads/b\t[rejected] (stale info)',
    '!\ta:refs/heads/b\t[remote rejected] (failed to update ref)',
    "remote: error: cannot lock ref 'refs/heads/b': is at 1 but expected 2",
    '!\ta:refs/heads/b\t[remote rejected] (reference already exists)',
    '!\ta:refs/heads/b\t[remote rejected] (incorrect old value provided)',
  ])('%j is a race to be run again', (text) => {
    expect(hasLostRace(ending('push', '', text))).toBe(true)
  })

  test('a hook that refuses is not a race', () => {
    expect(hasLostRace(ending('push', '', '!\ta:b\t[remote rejected] (pre-receive hook declined)'))).toBe(false)
  })
})

describe('what a message holds', () => {
  test('git’s complaint without user information and without control characters', () => {
    const error = failureOf(
      ending('fetch', "fatal: could not read Password for 'http://tok3n@host': \u001b[31mno\nhint: try harder"),
    )

    expect(error.message).toBe(
      "git fetch failed: the remote refuses the credential (fatal: could not read Password for 'http://host':  [31mno)",
    )
  })

  test('no more than 200 characters of what was written', () => {
    expect(failureOf(ending('fetch', `fatal: ${'x'.repeat(5_000)}`)).message.length).toBeLessThan(250)
  })

  test('a secret is taken out in every form', () => {
    const secret = 'p&ss/wörd'
    const forms = [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')]
    const { message } = failureOf({ ...ending('fetch', `fatal: ${forms.join(' ')}`), secrets: [secret] })

    expect(message).toContain('fatal: [secret] [secret] [secret]')
  })

  test('a process that said nothing is described by its end', () => {
    expect(failureOf({ ...ending('fetch', ''), exitCode: 2 }).message).toContain('git ended with code 2')
    expect(failureOf({ ...ending('fetch', ''), exitCode: null }).message).toContain('git ended with a signal')
  })
})
