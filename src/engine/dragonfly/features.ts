import type { Scope } from '../../model/provider.ts'

/**
 * What a manager shows of itself when it echoes the `args` of a job: they are its own, parsed and defaulted, and what it
 * does not know it drops without a word (contracts/dragonfly.md §3.4).
 */
export interface Echo {
  readonly keys: ReadonlySet<string>
  /** Does it name what it caches by the blob's digest? Undefined for a manager that cannot. */
  readonly byDigest: boolean | undefined
}

/** By what an engine names a blob: its URL, with what else goes into the id, or its digest alone. */
export type IdForm = 'url' | 'digest'

const BY_DIGEST = 'enable_task_id_based_blob_digest'

/** An arg that a Provider can set: what it is called there, and the first manager that knows it. */
interface Setting {
  readonly arg: string
  readonly name: string
  readonly since: string
  /** Does it decide under which id a blob is cached? */
  readonly inTaskId: boolean
}

const SETTINGS: readonly Setting[] = [
  { arg: 'tag', name: 'options.tag', since: '2.0.3', inTaskId: true },
  { arg: 'filtered_query_params', name: 'options.filteredQueryParams', since: '2.1.55', inTaskId: true },
  { arg: 'piece_length', name: 'options.pieceLength', since: '2.2.1', inTaskId: true },
  { arg: 'application', name: 'options.application', since: '2.2.3', inTaskId: true },
  { arg: 'count', name: 'peers.count', since: '2.2.3', inTaskId: false },
  { arg: 'percentage', name: 'peers.percentage', since: '2.2.3', inTaskId: false },
  { arg: 'ips', name: 'peers.ips', since: '2.3.1', inTaskId: false },
  { arg: 'concurrent_task_count', name: 'options.concurrentTaskCount', since: '2.3.1', inTaskId: false },
  { arg: 'concurrent_peer_count', name: 'options.concurrentPeerCount', since: '2.3.1', inTaskId: false },
  { arg: BY_DIGEST, name: 'taskId: digest', since: '2.5.2', inTaskId: true },
]

/** Args by the first release that has them, newest first. */
const VERSIONS = [
  [BY_DIGEST, '> 2.5.1'],
  ['object_storage', '>= 2.4.4'],
  ['ips', '>= 2.3.1'],
  ['urls', '>= 2.2.3'],
  ['piece_length', '>= 2.2.1'],
  ['scope', '>= 2.1.57'],
] as const

/** @param args as echoed; secrets among them stay there */
export function echoOf(args: Readonly<Record<string, unknown>>): Echo {
  const byDigest = args[BY_DIGEST]
  return { keys: new Set(Object.keys(args)), byDigest: typeof byDigest === 'boolean' ? byDigest : undefined }
}

/** `>= 2.3.1`; undefined when the echo fits no release that preheatd knows. */
export function versionOf({ keys }: Echo): string | undefined {
  return VERSIONS.find(([arg]) => keys.has(arg))?.[1]
}

/** Has it asked every host since 2.3.1, or its own memory, as before? */
export function asksHosts({ keys }: Echo): boolean {
  return keys.has('concurrent_peer_count')
}

/** Does it rewrite rows at ages that are known? It does since 2.4.0, and since 2.4.4 its echo shows that. */
export function looksAtKnownAges({ keys }: Echo): boolean {
  return keys.has('object_storage')
}

/**
 * Settings that were or would be sent and that this manager drops. Ids made of URLs are what a manager that knows no
 * others makes: to want them is nothing that could be lost.
 * @param sent args by name
 */
export function ignoredSettings({ keys }: Echo, sent: Readonly<Record<string, unknown>>): Setting[] {
  return SETTINGS.filter(({ arg }) => sent[arg] !== undefined && sent[arg] !== false && !keys.has(arg))
}

/** Scopes that came with 2.1.66, where the echo fits a manager before it: none shows before 2.2.1 which one it is. */
export function doubtfulScopes({ keys }: Echo): readonly Scope[] {
  return keys.has('piece_length') ? [] : ['all_seed_peers']
}

/** `peers.ips (known since 2.3.1)` */
export function settingText({ name, since }: Pick<Setting, 'name' | 'since'>): string {
  return `${name} (known since ${since})`
}
