import { excerpt } from '../model/errors.ts'
import { gitUrl, sshTrouble } from '../model/git-remote.ts'
import { refText, type SourceRef } from '../model/source-ref.ts'
import { SourceError } from '../model/source.ts'
import type { Credential } from './credentials.ts'

/** Something of a remote that has a name. Made by {@link remoteBranch} and {@link remoteRef}. */
export interface RemoteRef {
  readonly url: URL
  /** What git is given: the URL, or `git@host:path`, which is another path than that of any URL. */
  readonly address: string
  /** `refs/heads/main`, `refs/tags/v1.2.3`, or a commit's id. */
  readonly ref: string
}

/** How long a remote is waited for, in all, however slowly it goes on answering. */
export interface Deadlines {
  readonly askMs: number
  readonly transferMs: number
}

export const defaultDeadlines: Deadlines = { askMs: 15_000, transferMs: 60_000 }

/** A remote for one operation. */
export interface Remote extends RemoteRef {
  readonly credential: Credential
  readonly deadlines: Deadlines
}

/** Where the tags of a remote are. */
export const TAGS = 'refs/tags/'
const OBJECT_ID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/

/** The text, which git said or a caller has, once it is one. */
export function objectId(text: string): string {
  if (!OBJECT_ID.test(text)) throw new TypeError(`not an object id: ${excerpt(text, 64)}`)
  return text
}

/** A branch of a remote. @throws {SourceError} as {@link remoteRef} does */
export function remoteBranch(url: string, branch: string): RemoteRef {
  return remoteRef(url, { type: 'branch', name: branch })
}

/**
 * Checks what names something of a remote, so that no part of it can become an option, a helper or a second refspec.
 * Which tag a range means is not known yet: of a range it is all tags.
 * @throws {SourceError} `Invalid`, naming the setting
 */
export function remoteRef(address: string, ref: SourceRef): RemoteRef {
  const refused = (why: string) => new SourceError('Invalid', 'PH4006', `git remote refused: ${why}`)
  const name = fullRef(ref)
  if (name === undefined)
    throw refused(`${excerpt('name' in ref ? ref.name : refText(ref), 80)} is no ${ref.type} name`)
  const url = gitUrl(address)
  if (url === undefined || /[\p{Cc}\s]/u.test(address)) throw refused('the address is not a URL')
  if (url.search !== '' || url.hash !== '') throw refused('a URL must not hold a query or a fragment')
  if (url.protocol === 'ssh:') {
    const trouble = sshTrouble(url)
    if (trouble !== undefined) throw refused(trouble)
    return { url, address: address.startsWith('ssh:') ? url.href : address, ref: name }
  }
  if (url.username !== '' || url.password !== '') throw refused('a URL must not hold a user or a password')
  switch (url.protocol) {
    case 'https:':
      break
    case 'http:':
      if (!/^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname)) {
        throw refused('plain http is for loopback only; use https')
      }
      break
    case 'file:':
      if (url.hostname !== '') throw refused('a file URL names no host')
      break
    default:
      throw refused(`the protocol ${excerpt(url.protocol, 20)} is not one of https, ssh, http to loopback, file`)
  }
  return { url, address: url.href, ref: name }
}

/** Undefined: it is no name of a ref. */
function fullRef(ref: SourceRef): string | undefined {
  switch (ref.type) {
    case 'branch':
      return isBranchName(ref.name) ? `refs/heads/${ref.name}` : undefined
    case 'tag':
      return isBranchName(ref.name) ? `${TAGS}${ref.name}` : undefined
    case 'semver':
      return `${TAGS}*`
    case 'commit':
      return OBJECT_ID.test(ref.id) ? ref.id : undefined
    default:
      return ref satisfies never
  }
}

/** As people call it: `main`, `v1.2.3`, or the first digits of a commit. */
export function shortName({ ref }: RemoteRef): string {
  return OBJECT_ID.test(ref) ? ref.slice(0, 12) : ref.replace(/^refs\/(?:heads|tags)\//, '')
}

/** `git check-ref-format --branch`, without its expansions. */
function isBranchName(name: string): boolean {
  return (
    name.length <= 250 &&
    /^[^\p{Cc}\s~^:?*[\\]+$/u.test(name) &&
    !/^[-/@]|\.\.|@\{|\/\/|\/$|\.$/.test(name) &&
    name.split('/').every((part) => !part.startsWith('.') && !part.endsWith('.lock'))
  )
}
