import { excerpt } from '../model/errors.ts'
import { SourceError } from '../model/source.ts'
import type { Code } from '../model/codes.ts'
import type { SourceState } from '../model/events.ts'

/** What a git process was started for; it decides whose fault a text is. */
export type Purpose =
  /** Reads from a remote. */
  | 'fetch'
  /** Writes to a remote. */
  | 'push'
  /** Works on our own mirror, which has no reason to refuse anything. */
  | 'mirror'
  /** Reads somebody's repository. */
  | 'read'

/** A git process that ended otherwise than by success. Texts are those of `LC_ALL=C`, unchecked. */
export interface Ending {
  readonly purpose: Purpose
  /** How messages call it: `fetch of main`. */
  readonly what: string
  /** null: killed. */
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
  /** Credentials that were in use. */
  readonly secrets: readonly string[]
}

interface Rule {
  readonly when: RegExp
  /** Rules apply to every purpose unless they name some. */
  readonly purposes?: readonly Purpose[]
  /** `remote:` lines are the other side's words: a full disk over there is not ours. */
  readonly local?: true
  readonly state: SourceState
  readonly code: Code
  /** Ours, before git's own words; says what to do where git does not. */
  readonly says?: string
}

/** First match wins. Texts of git 2.39 to 2.47 and of the forges: gitops-practices.md §2.5. */
const rules: readonly Rule[] = [
  {
    when: /spawn git ENOENT/,
    state: 'Invalid',
    code: 'PH4006',
    says: 'git is not installed, or not in PATH',
  },
  {
    when: /cannot run ssh:|\bssh: (?:command )?not found/,
    state: 'Invalid',
    code: 'PH4006',
    says: 'ssh is not installed, or not in PATH',
  },
  {
    when: /cannot run gpg:/,
    state: 'Invalid',
    code: 'PH4006',
    says: 'gpg, which checks OpenPGP signatures, is not installed, or not in PATH: install gnupg, or sign with ssh keys',
  },
  {
    when: /cannot run ssh-keygen:/,
    state: 'Invalid',
    code: 'PH4006',
    says: 'ssh-keygen, which checks signatures of ssh keys, is not installed, or not in PATH: install openssh-client',
  },
  {
    when: /no user exists for uid/i,
    state: 'Invalid',
    code: 'PH4006',
    says: 'ssh wants a user of this uid in /etc/passwd: run as the user of the image',
  },
  // Texts of OpenSSH 9.2, read from a real sshd by test/git/ssh.test.ts.
  {
    when: /remote host identification has changed/i,
    purposes: ['fetch', 'push'],
    state: 'AuthenticationFailed',
    code: 'PH4008',
    says: 'the host shows another key than known_hosts has for it: if its key was changed on purpose, put the new one there',
  },
  {
    when: /no \S+ host key is known for/i,
    purposes: ['fetch', 'push'],
    state: 'AuthenticationFailed',
    code: 'PH4008',
    says: 'known_hosts has no key of this host: put the line there that its operator publishes',
  },
  {
    when: /host key verification failed|host key .* revoked/i,
    purposes: ['fetch', 'push'],
    state: 'AuthenticationFailed',
    code: 'PH4008',
    says: 'the key that the host shows is not trusted',
  },
  {
    when: /load key ".*": (?:invalid format|error in libcrypto|incorrect passphrase)/i,
    purposes: ['fetch', 'push'],
    state: 'AuthenticationFailed',
    code: 'PH4001',
    says: 'ssh cannot read the key `identity`',
  },
  {
    when: /permission denied \([a-z0-9@.,-]+\)|too many authentication failures/i,
    purposes: ['fetch', 'push'],
    state: 'AuthenticationFailed',
    code: 'PH4001',
    says: 'the remote does not accept the ssh key',
  },
  {
    when: /no space left on device|read-only file system|insufficient permission for adding|permission denied|disk quota/i,
    purposes: ['fetch', 'push', 'mirror'],
    local: true,
    state: 'MirrorBroken',
    code: 'PH8003',
    says: 'the mirror cannot be written',
  },
  {
    when: /not our ref|does not allow request for unadvertised object/i,
    purposes: ['fetch'],
    state: 'RefNotFound',
    code: 'PH4002',
    says: 'the remote has no such commit, or does not give out commits that no branch or tag points at',
  },
  {
    when: /couldn't find remote ref|remote branch .* not found/i,
    state: 'RefNotFound',
    code: 'PH4002',
    says: 'it is not there',
  },
  {
    when: /verified signature|must be signed|required_signatures|unsigned commit/i,
    purposes: ['push'],
    state: 'Invalid',
    code: 'PH4005',
    says: 'the branch demands signed commits, which preheatd does not make: exempt reports.branch from that rule',
  },
  {
    when: /push your own commits|committer email|author's email|not a member of team|do not have a valid email/i,
    purposes: ['push'],
    state: 'Invalid',
    code: 'PH4005',
    says: 'the remote has a rule about authors: set reports.author to an identity that it accepts',
  },
  {
    when: /returned error: 403|write access to repository not granted|permission to .* denied|not allowed to push(?! code to protected)|denied to deploy key/i,
    purposes: ['push'],
    state: 'AuthenticationFailed',
    code: 'PH4005',
    says: 'the credential may read but not push: give the one of reports.auth write access',
  },
  {
    when: /protected branch|GH00[36]|GH013|TF40[12]\d{3}|pre-receive hook declined|hook declined|deny updating|branch is currently checked out|refusing to (?:update|create)|prohibited by/i,
    purposes: ['push'],
    state: 'Invalid',
    code: 'PH4005',
    says: 'the remote refuses the push: let the credential of reports.auth push to reports.branch, or choose another branch',
  },
  {
    when: /authentication failed|could not read (?:username|password)|terminal prompts disabled|invalid credentials|returned error: 40[13]/i,
    state: 'AuthenticationFailed',
    code: 'PH4001',
    says: 'the remote refuses the credential',
  },
  {
    when: /returned error: 30\d|unable to update url base from redirection/i,
    state: 'Invalid',
    code: 'PH4006',
    says: 'the remote answers with a redirect, which is not followed: write the address that it leads to',
  },
  {
    when: /repository '.*' not found|repository not found|does not appear to be a git repository|returned error: 404/i,
    purposes: ['fetch', 'push'],
    state: 'Unreachable',
    code: 'PH4003',
    says: 'no such repository: gone, renamed, or hidden from this credential',
  },
  {
    when: /could not resolve|failed to connect|couldn't connect|connection (?:refused|reset|closed|timed out|was reset)|no route to host|network is unreachable|timed out|timeout|operation too slow|less than \d+ bytes\/sec|rpc failed|early eof|unexpected disconnect|hung up|empty reply|returned error: (?:429|5\d\d)|recv failure|send failure|\bssl\b|certificate|gnutls|from promisor remote|expected flush|unexpected eof|expected 'packfile'/i,
    purposes: ['fetch', 'push', 'mirror'],
    state: 'Unreachable',
    code: 'PH4003',
    says: 'the remote does not answer as it should',
  },
  {
    when: /not a git repository: |bad object|index-pack failed|unpack-objects failed|invalid index-pack|shallow file has changed|\.lock': file exists|is corrupt|object file .* is empty|inflate|bad config|invalid sha1 pointer|missing (?:blob|tree|commit)|unable to read (?:tree|[0-9a-f]{40})|did not send all necessary|packfile .* (?:cannot|does not|index)|could not read [0-9a-f]{40}|garbage at end|unable to open object|bad tree object|failed to traverse parents|broken ref|unable to parse object/i,
    purposes: ['fetch', 'push', 'mirror'],
    local: true,
    state: 'MirrorBroken',
    code: 'PH4004',
    says: 'the mirror is broken',
  },
  {
    when: /^/,
    purposes: ['mirror'],
    state: 'MirrorBroken',
    code: 'PH4004',
    says: 'the mirror is broken',
  },
  {
    when: /\[remote rejected\]/,
    purposes: ['push'],
    state: 'Invalid',
    code: 'PH4005',
    says: 'the remote refuses the push',
  },
  { when: /^/, state: 'Invalid', code: 'PH4006' },
]

/** The branch moved, or somebody holds it this very moment: fetch, build anew, push again. */
const lostRace =
  /\[rejected\] \((?:fetch first|non-fast-forward|stale info|needs force)\)|cannot lock ref|reference already exists|incorrect old value|failed to update ref|shallow update not allowed|unable to create '.*\.lock': file exists/i

/** Did this push lose a race that can be run again? */
export function hasLostRace(ending: Ending): boolean {
  return ending.exitCode !== 0 && lostRace.test(`${ending.stdout}\n${ending.stderr}`)
}

/** What a git process that failed means, in our words and, cleaned, in git's. Neither arguments nor environment are in it. */
export function failureOf(ending: Ending): SourceError {
  const all = `${ending.stderr}\n${ending.stdout}`
  const local = linesOf(all)
    .filter((line) => !line.startsWith('remote:'))
    .join('\n')
  const rule = rules.find(
    ({ when, purposes, local: isLocal }) =>
      (purposes === undefined || purposes.includes(ending.purpose)) && when.test(isLocal === true ? local : all),
  )!
  const says = rule.says === undefined ? '' : `: ${rule.says}`
  return new SourceError(rule.state, rule.code, `${ending.what} failed${says} (${gitsWords(ending)})`)
}

/** Git's own complaint as one line, without credentials. */
function gitsWords({ stdout, stderr, exitCode, secrets }: Ending): string {
  const lines = linesOf(`${stderr}\n${stdout}`)
  const telling = lines.filter(
    (line) =>
      /^(?:fatal|error|remote|warning|!|ssh:|SHA256:)|host key (?:is known|verification)|permission denied|^load key/i.test(
        line,
      ) && !/failed to push some refs|^fatal: could not read from remote repository/i.test(line),
  )
  const words = excerpt(scrub((telling.length > 0 ? telling : lines).join(' '), secrets))
  return words === '' ? `git ended with ${exitCode === null ? 'a signal' : `code ${exitCode}`}` : words
}

function linesOf(text: string): string[] {
  return text
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

function scrub(text: string, secrets: readonly string[]): string {
  const forms = secrets
    .filter((secret) => secret !== '')
    .flatMap((secret) => [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')])
    .sort((a, b) => b.length - a.length)
  return forms.reduce((clean, form) => clean.replaceAll(form, '[secret]'), text).replaceAll(/(?<=:\/\/)[^\s/@']*@/g, '')
}
