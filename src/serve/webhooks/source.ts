import { listAt, textAt, type JsonObject } from './json.ts'
import type { Proof } from './proof.ts'
import type { Header } from './registries.ts'

/** A forge, by the headers that it sends. */
export interface Forge {
  readonly name: 'forgejo' | 'gitea' | 'gogs' | 'gitlab' | 'bitbucket' | 'github' | 'generic'
  /** As the forge calls it, `push`. */
  readonly event: string
  /** By which it tells deliveries apart; undefined where it does not. */
  readonly id: string | undefined
  /** One that holds is enough; none: the request cannot be authentic. */
  readonly proofs: readonly Proof[]
}

/**
 * Whose request this is (design/gitops-practices.md §1.3). Forgejo also calls itself Gitea, Gitea also Gogs, and each of
 * them also GitHub: hence the order.
 */
export function forgeOf(header: Header): Forge {
  const find = (name: Forge['name'], eventHeader: string, idHeader: string, ...proofs: (Proof | undefined)[]) => {
    const event = header(eventHeader)
    if (event === undefined) return undefined
    return { name, event, id: header(idHeader), proofs: proofs.filter((proof) => proof !== undefined) }
  }
  return (
    find('forgejo', 'x-forgejo-event', 'x-forgejo-delivery', bareHex(header('x-forgejo-signature'))) ??
    find('gitea', 'x-gitea-event', 'x-gitea-delivery', bareHex(header('x-gitea-signature'))) ??
    find('gogs', 'x-gogs-event', 'x-gogs-delivery', bareHex(header('x-gogs-signature'))) ??
    find('gitlab', 'x-gitlab-event', 'x-gitlab-event-uuid', token(header('x-gitlab-token')), standard(header)) ??
    find('bitbucket', 'x-event-key', 'x-request-uuid', named(header('x-hub-signature'))) ??
    find('github', 'x-github-event', 'x-github-delivery', named(header('x-hub-signature-256'))) ?? {
      name: 'generic',
      event: 'push',
      id: undefined,
      proofs: [named(header('x-signature'))].filter((proof) => proof !== undefined),
    }
  )
}

/** Is it only tried out whether somebody listens? Bitbucket Server's is not signed. */
export function isUnsignedPing({ name, event }: Forge): boolean {
  return name === 'bitbucket' && event === 'diagnostics:ping'
}

/** Likewise; signed. */
export function isPing({ name, event }: Forge): boolean {
  return name === 'github' && event === 'ping'
}

/**
 * The refs that a push says have moved: `refs/heads/main`. Only good for telling whether to look at the source now.
 * `any`: it does not say, as a generic sender may.
 */
export function movedRefs({ name, event }: Forge, body: JsonObject): readonly string[] | 'any' {
  switch (name) {
    case 'generic':
      return body['ref'] === undefined ? 'any' : refAt(body)
    case 'forgejo':
    case 'gitea':
    case 'gogs':
    case 'github':
      return event === 'push' ? refAt(body) : []
    case 'gitlab':
      // The header may say `System Hook` of any event.
      return ['push', 'tag_push'].includes(textAt(body, 'object_kind') ?? '') ? refAt(body) : []
    case 'bitbucket':
      if (event === 'repo:refs_changed')
        return listAt(body, 'changes').flatMap((change) => textAt(change, 'ref', 'id') ?? [])
      return event === 'repo:push' ? listAt(body, 'push', 'changes').flatMap(cloudRef) : []
    default:
      return name satisfies never
  }
}

function refAt(body: JsonObject): string[] {
  const ref = textAt(body, 'ref')
  return ref === undefined ? [] : [ref]
}

/** Bitbucket Cloud names a ref by type and short name; one that was deleted is only in `old`. */
function cloudRef(change: unknown): string[] {
  const side = textAt(change, 'new', 'name') === undefined ? 'old' : 'new'
  const name = textAt(change, side, 'name')
  if (name === undefined) return []
  return [textAt(change, side, 'type') === 'tag' ? `refs/tags/${name}` : `refs/heads/${name}`]
}

function bareHex(signature: string | undefined): Proof | undefined {
  return signature === undefined ? undefined : { scheme: 'hmac', algorithm: 'sha256', hex: signature }
}

/** `sha256=…` or `sha512=…`; SHA-1 is no proof. */
function named(signature: string | undefined): Proof | undefined {
  const { algorithm, hex } = /^(?<algorithm>sha256|sha512)=(?<hex>[0-9a-f]+)$/i.exec(signature ?? '')?.groups ?? {}
  if (algorithm === undefined || hex === undefined) return undefined
  return { scheme: 'hmac', algorithm: algorithm.toLowerCase() === 'sha512' ? 'sha512' : 'sha256', hex }
}

function token(value: string | undefined): Proof | undefined {
  return value === undefined ? undefined : { scheme: 'token', token: value }
}

function standard(header: Header): Proof | undefined {
  const [id, timestamp, signatures] = ['id', 'timestamp', 'signature'].map((name) => header(`webhook-${name}`))
  if (id === undefined || timestamp === undefined || signatures === undefined) return undefined
  return { scheme: 'standard', id, timestamp, signatures }
}
