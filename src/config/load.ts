import { isDeepStrictEqual } from 'node:util'
import type { ConfigCommit } from '../model/execution.ts'
import { policyAddress } from '../model/policy.ts'
import { byPlace, type Problem } from '../model/problem.ts'
import type { Registry } from '../model/registry.ts'
import { resourceKey, type Kind, type Located } from '../model/resource.ts'
import type { Attachments } from './attachments.ts'
import { classify } from './classify.ts'
import type { Declared, Identified, State } from './declared.ts'
import { errorAtKey, toProblem, type Finding } from './finding.ts'
import { judge, type Judged } from './judge.ts'
import { parse, type Parsed, type YamlDocument } from './parse.ts'
import { toPolicy, toProvider, toRegistry, toRun, type RegistryOfPolicy } from './resources.ts'
import { projectFolder } from './rules.ts'
import { checkSchema, type Documents } from './schema.ts'

/** One commit's configuration, read. */
export interface Config {
  readonly config: ConfigCommit
  /** Valid ones, in the order of their files' paths. */
  readonly objects: readonly Located[]
  /** What keeps its last good version: an object, or whatever the file held where no identity could be read. */
  readonly stalled: readonly Stalled[]
  /** Sorted by place. */
  readonly problems: readonly Problem[]
  /** Documents that are not ours. */
  readonly ignored: number
}

export interface Stalled {
  readonly file: string
  readonly key: string | undefined
}

/** What the bytes of one file say, wherever it stands: documents, or why it has none. */
export type FileText =
  { readonly ok: true; readonly documents: readonly OneDocument[]; readonly ignored: number } | Unread

type Unread = Extract<Parsed, { ok: false }>

/** A document of ours, or one that means to be. */
type OneDocument =
  | { [K in Kind]: { is: 'accepted'; kind: K; written: Documents[K]; document: YamlDocument } }[Kind]
  | {
      readonly is: 'refused'
      readonly kind: Kind
      readonly findings: readonly Finding[]
      readonly document: YamlDocument
    }
  | { readonly is: 'unknown'; readonly finding: Finding; readonly document: YamlDocument }

/** Bytes as documents, each checked for itself. Pure. */
export function readFile(bytes: Uint8Array): FileText {
  const parsed = parse(bytes)
  if (!parsed.ok) return parsed
  const documents = parsed.documents.map(readDocument)
  const ours = documents.filter((one) => one !== undefined)
  return { ok: true, documents: ours, ignored: parsed.ignored + documents.length - ours.length }
}

/** Undefined: it is not ours. */
function readDocument(document: YamlDocument): OneDocument | undefined {
  const classified = classify(document.value)
  switch (classified.is) {
    case 'foreign':
      return undefined
    case 'refused':
      return { is: 'unknown', finding: classified.finding, document }
    case 'ours': {
      const { kind } = classified
      const checked = checkSchema(kind, document.value)
      if (!checked.ok) return { is: 'refused', kind, findings: checked.findings, document }
      return { is: 'accepted', kind, written: checked.document, document } as OneDocument
    }
    default:
      return classified satisfies never
  }
}

/**
 * Text of one commit as documents: the first half of {@link load}, after which it is known what else is to be read.
 * @param files what {@link readFile} made of them, by path below `source.path`
 * @param problems of files that were not read; an error among them stalls its file
 * @param before of the commit before: the documents of a file that is the same are the very same values
 */
export function readFiles(
  files: ReadonlyMap<string, FileText>,
  problems: readonly Problem[],
  before?: ReadFiles,
): ReadFiles {
  const unread = problems.filter(({ severity, file }) => severity === 'error' && !files.has(file))
  const read: Read = {
    accepted: [],
    refused: [],
    problems: [...problems],
    unreadable: unread.map(({ file }) => file),
    others: [],
    ignored: 0,
    placed: new Map(),
  }
  for (const file of [...files.keys()].sort()) {
    const text = files.get(file)!
    if (!text.ok) {
      read.problems.push(...text.refusals.map((refusal): Problem => ({ severity: 'error', file, ...refusal })))
      read.unreadable.push(file)
      continue
    }
    read.ignored += text.ignored
    const known = before?.placed.get(file)
    const documents = known?.text === text ? known.documents : text.documents.map((one) => ({ ...one, file }))
    read.placed.set(file, { text, documents })
    for (const document of documents) place(read, document)
  }
  return { ...read, named: read.accepted.flatMap(namedFiles) }
}

function namedFiles(one: Accepted): string[] {
  if (one.kind !== 'PreheatPolicy') return []
  const { keys = [], trustedRoot } = one.written.spec.criteria?.signature ?? {}
  return [...keys, ...(trustedRoot === undefined ? [] : [trustedRoot])]
}

/** A commit's configuration, and what of it holds on in the next one. */
export interface Loaded {
  readonly config: Config
  readonly types: RegistryTypes
  readonly attachments: Attachments
  /** Undefined: it is not clear of which registry it is. */
  readonly declared: ReadonlyMap<Accepted, Declared | undefined>
  readonly judged: Judged
}

/**
 * The documents of one commit as configuration, with every problem of it. Pure, and never throws for what a file holds:
 * an error stalls the object that it is about and nothing else.
 * @param attachments the {@link ReadFiles.named named} files
 * @param matchLabels labels that a policy or run must have to be taken; without them all are. The others are as if they
 *   were not there, but for names: what they are called is taken, and a run may name one.
 * @param before of the commit before, whose documents {@link readFiles} was given: a resource that is the same is the very
 *   same value. It changes nothing else.
 */
export function load(
  config: ConfigCommit,
  read: ReadFiles,
  attachments: Attachments,
  matchLabels: Readonly<Record<string, string>> = {},
  before?: Loaded,
): Loaded {
  const isTaken = (one: { readonly kind: Kind; readonly document: YamlDocument }) => isSelected(one, matchLabels)
  const around = kept(before, { types: registryTypes(read), attachments })
  const registries = [...around.types.keys()]
  const declared = declareAll(read, around, before)
  const homeless = read.accepted
    .filter((one) => declared.get(one) === undefined && isTaken(one))
    .map((one) => ({ ...one, key: identify({ ...one, findings: [] }, registries)?.key }))
  const refused = read.refused.map((one) => ({ ...one, identity: identify(one, registries) }))
  const refusedHere = refused.filter(isTaken)
  const broken = refused.map(({ identity }) => identity).filter((identity) => identity !== undefined)
  const hasUnreadable = read.unreadable.length > 0 || broken.length < refused.length
  const valid = [...declared.values()].filter((one) => one !== undefined)
  const judged = judge({ ...declaredIn(valid), broken, hasUnreadable, ...around }, before?.judged)
  const here = judged.complaints.filter(({ on }) => isTaken(on))
  const wrong = here.filter(({ finding }) => finding.severity === 'error')
  const bad = new Set(wrong.map(({ on }) => on))
  const loaded: Config = {
    config,
    objects: valid
      .filter((one) => !bad.has(one) && isTaken(one))
      .map(({ resource, key, file, document }) => ({ resource, key, file, line: document.line })),
    stalled: distinct([
      ...[...read.unreadable, ...read.others].map((file) => ({ file, key: undefined })),
      ...homeless.map(({ file, key }) => ({ file, key })),
      ...refusedHere.map(({ file, identity }) => ({ file, key: identity?.key })),
      ...wrong.map(({ on, finding }) => ({ file: on.file, key: isAnotherKey(on, finding) ? undefined : on.key })),
    ]),
    problems: [
      ...read.problems,
      ...homeless.map(({ document, file, key }) => toProblem(noRegistry(registries), document, file, key)),
      ...refusedHere.flatMap(({ document, file, findings, identity }) =>
        findings.map((finding) => toProblem(finding, document, file, identity?.key)),
      ),
      ...here.map(({ on, finding }) => toProblem(finding, on.document, on.file, on.key)),
    ].sort(byPlace),
    ignored: read.ignored,
  }
  return { config: loaded, ...around, declared, judged }
}

/** What else than its own text decides what a document declares. */
type Around = Pick<Loaded, 'types' | 'attachments'>

/** The very same values as before where they say the same. */
function kept(before: Around | undefined, { types, attachments }: Around): Around {
  // Registries are told in their order.
  const isSameTypes = isDeepStrictEqual(before && [...before.types], [...types])
  const isSameAttachments = isDeepStrictEqual(before?.attachments, attachments)
  return {
    types: isSameTypes ? before!.types : types,
    attachments: isSameAttachments ? before!.attachments : attachments,
  }
}

function declareAll({ accepted }: ReadFiles, around: Around, before: Loaded | undefined): Loaded['declared'] {
  const isSame = before?.types === around.types && before.attachments === around.attachments
  const known = isSame ? before.declared : new Map<Accepted, Declared | undefined>()
  return new Map(accepted.map((one) => [one, known.has(one) ? known.get(one) : declare(one, around)]))
}

/** A document of ours that its schema accepts. */
type Accepted = { [K in Kind]: { kind: K; written: Documents[K]; file: string; document: YamlDocument } }[Kind]

/** One that it does not. */
interface Refused {
  readonly kind: Kind
  readonly file: string
  readonly document: YamlDocument
  readonly findings: readonly Finding[]
}

/** What the texts of one commit say, each for itself. */
export type ReadFiles = Readonly<Read> & {
  /** Paths of further files that they name, as often as they do. */
  readonly named: readonly string[]
}

interface Read {
  /** By path. */
  readonly placed: Map<string, { readonly text: FileText; readonly documents: readonly Placed[] }>
  readonly accepted: Accepted[]
  readonly refused: Refused[]
  readonly problems: Problem[]
  /** Files that hold, or may hold, objects of ours that nobody can name. */
  readonly unreadable: string[]
  /** Files with documents of kinds that are not built. */
  readonly others: string[]
  ignored: number
}

type Placed = OneDocument & { readonly file: string }

function place(read: Read, one: Placed): void {
  switch (one.is) {
    case 'unknown':
      read.problems.push(toProblem(one.finding, one.document, one.file, undefined))
      ;(one.finding.code === 'PH9001' ? read.others : read.unreadable).push(one.file)
      return
    case 'refused':
      read.refused.push(one)
      return
    case 'accepted':
      read.accepted.push(one)
      return
    default:
      one satisfies never
  }
}

/** Registries and providers always are. Labels that are none are no reason to overlook what else is wrong. */
function isSelected(
  { kind, document }: { readonly kind: Kind; readonly document: YamlDocument },
  matchLabels: Readonly<Record<string, string>>,
): boolean {
  const wanted = Object.entries(matchLabels)
  if (wanted.length === 0 || kind === 'Registry' || kind === 'Provider') return true
  const metadata = recordOf(document.value['metadata'])
  if (metadata === undefined) return true
  const labels = recordOf(metadata['labels'] ?? {})
  return labels === undefined || wanted.every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value)
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined
}

function declare(one: Accepted, { types, attachments }: Around): Declared | undefined {
  const { document, file } = one
  const identity = { name: one.written.metadata.name, document, file }
  switch (one.kind) {
    case 'Registry':
      return keyed({ ...one, ...identity, resource: toRegistry(one.written) })
    case 'Provider':
      return keyed({ ...one, ...identity, resource: toProvider(one.written) })
    case 'PreheatRun': {
      const registry = registryOf(one.written.spec, types)
      if (registry === undefined && one.written.spec.policy === undefined) return undefined
      return keyed({ ...one, ...identity, resource: toRun(one.written, registry) })
    }
    case 'PreheatPolicy': {
      const registry = registryOf(one.written.spec, types)
      if (registry === undefined) return undefined
      return keyed({ ...one, ...identity, resource: toPolicy(one.written, registry, attachments) })
    }
    default:
      return one satisfies never
  }
}

function keyed<D extends Omit<Declared, 'key'>>(one: D): D & { readonly key: string } {
  return { ...one, key: resourceKey(one.resource) }
}

/** The registry that is named, else the only one; undefined where that is not clear. */
function registryOf({ registry }: { readonly registry?: string }, types: RegistryTypes): RegistryOfPolicy | undefined {
  const name = registry ?? onlyOne([...types.keys()])
  return name === undefined ? undefined : { name, type: types.get(name) }
}

function onlyOne(registries: readonly string[]): string | undefined {
  return registries.length === 1 ? registries[0] : undefined
}

function noRegistry(registries: readonly string[]): Finding {
  const why = registries.length === 0 ? 'there is none' : `there are ${registries.length}: ${registries.join(', ')}`
  return errorAtKey(['spec'], 'PH3001', `spec.registry is missing and ${why}`)
}

/** By name; undefined where the document is broken in just that. */
type RegistryTypes = ReadonlyMap<string, Registry['type'] | undefined>

function registryTypes({ accepted, refused }: ReadFiles): RegistryTypes {
  const types = new Map<string, Registry['type'] | undefined>()
  for (const { kind, document } of [...accepted, ...refused]) {
    const name = kind === 'Registry' ? textAt(document, 'metadata', 'name') : undefined
    if (name === undefined || types.has(name)) continue
    const type = textAt(document, 'spec', 'type')
    types.set(name, type === 'harbor' || type === 'oci' ? type : undefined)
  }
  return types
}

/**
 * Which object a refused document is; undefined where what makes its identity is missing or wrong itself. A policy
 * without a project has one that nobody can be sure of: the field may be there under a misspelt name.
 */
function identify({ kind, file, document, findings }: Refused, registries: readonly string[]): Identified | undefined {
  const name = textAt(document, 'metadata', 'name')
  const isWrong = (fields: readonly string[]) => findings.some(({ path }) => fields.includes(path.join('.')))
  if (name === undefined || isWrong(['metadata.name'])) return undefined
  if (kind !== 'PreheatPolicy') return { kind, name, key: `${kind}/${name}`, file, document }
  if (isWrong(['spec.registry', 'spec.project'])) return undefined
  const registry = textAt(document, 'spec', 'registry') ?? onlyOne(registries)
  const project = textAt(document, 'spec', 'project') ?? projectFolder(file)
  if (registry === undefined || project === undefined) return undefined
  return { kind, name, key: `${kind}/${registry}/${policyAddress({ project, name })}`, file, document }
}

/** Without its project a policy has another key than the one that it had. */
function isAnotherKey({ kind }: Identified, { code }: Finding): boolean {
  return kind === 'PreheatPolicy' && code === 'PH3018'
}

function textAt({ value }: YamlDocument, section: 'metadata' | 'spec', field: string): string | undefined {
  const part = value[section]
  if (typeof part !== 'object' || part === null || !Object.hasOwn(part, field)) return undefined
  const text = (part as Readonly<Record<string, unknown>>)[field]
  return typeof text === 'string' ? text : undefined
}

function declaredIn(valid: readonly Declared[]): Pick<State, 'registries' | 'providers' | 'policies' | 'runs'> {
  return {
    registries: valid.filter((one) => one.kind === 'Registry'),
    providers: valid.filter((one) => one.kind === 'Provider'),
    policies: valid.filter((one) => one.kind === 'PreheatPolicy'),
    runs: valid.filter((one) => one.kind === 'PreheatRun'),
  }
}

function distinct(stalled: readonly Stalled[]): Stalled[] {
  return [...new Map(stalled.map((one) => [JSON.stringify([one.file, one.key]), one])).values()]
}
