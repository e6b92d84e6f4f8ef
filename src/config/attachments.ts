import type { Code } from '../model/codes.ts'
import type { Trust } from '../model/signature.ts'
import type { SourceEntry } from '../model/source.ts'
import { MAX_TOTAL_BYTES } from './files.ts'

/** A file that a policy names, as its text or as the reason why it cannot be used. */
type Attachment =
  { readonly ok: true; readonly text: string } | { readonly ok: false; readonly code: Code; readonly message: string }

/** By path below `source.path`. */
export type Attachments = ReadonlyMap<string, Attachment>

const MAX_KEY_BYTES = 16 * 2 ** 10
const MAX_TRUSTED_ROOT_BYTES = 2 ** 20

export type WantedAttachments =
  | { readonly ok: true; readonly entries: readonly SourceEntry[]; readonly refused: Attachments }
  /** Every policy carries what it names, and these are too many to carry. */
  | { readonly ok: false; readonly message: string }

/**
 * Which of the files that policies name are read, decided on the listing alone. Reading a public key is no privilege, so
 * that any policy may name any of them; links and submodules are not followed.
 * @param paths a path as often as it is named
 */
export function wantedAttachments(paths: readonly string[], entries: readonly SourceEntry[]): WantedAttachments {
  const times = new Map<string, number>()
  for (const path of paths) times.set(path, (times.get(path) ?? 0) + 1)
  const listed = new Map(entries.flatMap((entry) => (times.has(entry.path) ? [[entry.path, entry] as const] : [])))
  const wanted: SourceEntry[] = []
  const refused = new Map<string, Attachment>()
  let total = 0
  for (const [path, count] of times) {
    const entry = listed.get(path)
    const refusal = refusalOf(path, entry)
    if (entry === undefined || refusal !== undefined) refused.set(path, refusal!)
    else {
      wanted.push(entry)
      total += count * entry.sizeBytes
    }
  }
  if (total <= MAX_TOTAL_BYTES) return { ok: true, entries: wanted, refused }
  return {
    ok: false,
    message: `policies name ${total} bytes of keys and trusted roots; the limit is ${MAX_TOTAL_BYTES}`,
  }
}

function refusalOf(path: string, entry: SourceEntry | undefined): Attachment | undefined {
  if (entry === undefined) return refused('PH3019', `there is no file ${path}`)
  if (entry.kind !== 'file') return refused('PH1009', `${path} is a ${entry.kind}, which is not followed`)
  const limit = isTrustedRoot(path) ? MAX_TRUSTED_ROOT_BYTES : MAX_KEY_BYTES
  return entry.sizeBytes > limit
    ? refused('PH3020', `${path} has ${entry.sizeBytes} bytes; the limit is ${limit}`)
    : undefined
}

/**
 * Each named file as its text, looked at once however many policies name it.
 * @param check what is wrong with a key or a trusted root, in sentences that name the file
 */
export function attachmentsOf(
  { refused: others }: Extract<WantedAttachments, { ok: true }>,
  contents: ReadonlyMap<string, Uint8Array>,
  check: (trust: Trust) => readonly string[],
): Attachments {
  const read = [...contents].map(([path, bytes]) => [path, attachmentOf(path, bytes, check)] as const)
  return new Map([...others, ...read])
}

function attachmentOf(path: string, bytes: Uint8Array, check: (trust: Trust) => readonly string[]): Attachment {
  const text = decode(bytes)
  if (text === undefined) return refused('PH3020', `${path} is not UTF-8`)
  const [problem] = check(
    isTrustedRoot(path)
      ? { keys: [], identities: [], trustedRoot: { name: path, json: text } }
      : { keys: [{ name: path, pem: text }], identities: [], trustedRoot: undefined },
  )
  return problem === undefined ? { ok: true, text } : refused('PH3020', problem)
}

/** The schema lets no key have such a name. */
function isTrustedRoot(path: string): boolean {
  return path.endsWith('.json')
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

function refused(code: Code, message: string): Attachment {
  return { ok: false, code, message }
}
