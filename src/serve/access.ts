import { createHash, timingSafeEqual } from 'node:crypto'
import { excerpt } from '../model/errors.ts'
import type { Secret } from '../model/secret.ts'
import { isLoopback } from './address.ts'
import { Refusal } from './refusal.ts'

/** Who may ask, and how the reports call them. */
export type Access =
  /** Whoever has the token. It is read at each request, so that a rotated one is in force at once. */
  | { readonly type: 'token'; readonly name: string; readonly read: () => Promise<Secret> }
  /** Whoever is on this machine, under a name of this machine: a web page that resolves to it is not. */
  | { readonly type: 'loopback' }
  /** Whoever may open the socket's file, which is this user. It says itself by which name. */
  | { readonly type: 'socket' }

/** In which a client of the control socket says its user's name. */
export const USER_HEADER = 'preheatd-user'

/** @returns by whom @throws {Refusal} */
export async function admit(access: Access, headers: Headers): Promise<string> {
  switch (access.type) {
    case 'token': {
      const [, given = ''] = /^Bearer +(\S+)$/i.exec(headers.get('authorization') ?? '') ?? []
      const wanted = (await access.read()).reveal()
      if (isEqual(given, wanted)) return access.name
      throw new Refusal(401, 'PH8103', given === '' ? 'no bearer token' : 'not the bearer token', {
        headers: { 'www-authenticate': 'Bearer realm="preheatd"' },
      })
    }
    case 'loopback': {
      const host = headers.get('host') ?? ''
      if (isLoopback(hostOf(host))) return 'loopback'
      throw new Refusal(421, 'PH8102', `this listener is for loopback names, not for ${excerpt(host, 100)}`)
    }
    case 'socket': {
      const user = excerpt(headers.get(USER_HEADER) ?? '', 64)
      return user === '' ? 'control socket' : user
    }
    default:
      return access satisfies never
  }
}

/** Takes as long for any two texts of any length. */
function isEqual(given: string, wanted: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(given), hash(wanted))
}

function hostOf(authority: string): string {
  return URL.canParse(`http://${authority}`) ? new URL(`http://${authority}`).hostname : ''
}
