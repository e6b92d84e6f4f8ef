import type { ConfigCommit } from '../model/execution.ts'
import { policyAddress } from '../model/policy.ts'
import { byPlace, type Problem } from '../model/problem.ts'
import { resourceKey, type Kind, type Located } from '../model/resource.ts'
import { classify } from './classify.ts'
import type { Declared, Identified, State } from './declared.ts'
import { errorAtKey, toProblem, type Finding } from './finding.ts'
import { parse, type YamlDocument } from './parse.ts'
import { toPolicy, toProvider, toRegistry, toRun } from './resources.ts'
import { applyRules, projectFolder } from './rules.ts'
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

/**
 * Text of one commit as configuration, with every problem of it. Pure, and never throws for what a file holds: an error
 * stalls the object that it is about and nothing else.
 * @param files contents by path below `source.path`
 * @param problems of files that were not read; an error among them stalls its file
 */
export function load(
  config: ConfigCommit,
  files: ReadonlyMap<string, Uint8Array>,
  problems: readonly Problem[],
): Config {
  const read = readFiles(files, problems)
  const registries = [...new Set([...read.accepted, ...read.refused].flatMap(registryName))]
  const declared = read.accepted.map((one) => declare(one, registries))
  const homeless = read.accepted.filter((_, index) => declared[index] === undefined)
  const refused = read.refused.map((one) => ({ ...one, identity: identify(one, registries) }))
  const broken = refused.map(({ identity }) => identity).filter((identity) => identity !== undefined)
  const hasUnreadable = read.unreadable.length > 0 || broken.length < refused.length
  const valid = declared.filter((one) => one !== undefined)
  const complaints = applyRules(stateOf(valid, broken, hasUnreadable))
  const wrong = complaints.filter(({ finding }) => finding.severity === 'error')
  const bad = new Set(wrong.map(({ on }) => on))
  return {
    config,
    objects: valid
      .filter((one) => !bad.has(one))
      .map(({ resource, key, file, document }) => ({ resource, key, file, line: document.line })),
    stalled: distinct([
      ...[...read.unreadable, ...read.others].map((file) => ({ file, key: undefined })),
      ...homeless.map(({ file }) => ({ file, key: undefined })),
      ...refused.map(({ file, identity }) => ({ file, key: identity?.key })),
      // Without its project a policy has another key than the one that it had.
      ...wrong.map(({ on, finding }) => ({ file: on.file, key: finding.code === 'PH3018' ? undefined : on.key })),
    ]),
    problems: [
      ...read.problems,
      ...homeless.map(({ document, file }) => toProblem(noRegistry(registries), document, file, undefined)),
      ...refused.flatMap(({ document, file, findings, identity }) =>
        findings.map((finding) => toProblem(finding, document, file, identity?.key)),
      ),
      ...complaints.map(({ on, finding }) => toProblem(finding, on.document, on.file, on.key)),
    ].sort(byPlace),
    ignored: read.ignored,
  }
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

interface Read {
  readonly accepted: Accepted[]
  readonly refused: Refused[]
  readonly problems: Problem[]
  /** Files that hold, or may hold, objects of ours that nobody can name. */
  readonly unreadable: string[]
  /** Files with documents of kinds that are not built. */
  readonly others: string[]
  ignored: number
}

function readFiles(files: ReadonlyMap<string, Uint8Array>, problems: readonly Problem[]): Read {
  const unread = problems.filter(({ severity, file }) => severity === 'error' && !files.has(file))
  const read: Read = {
    accepted: [],
    refused: [],
    problems: [...problems],
    unreadable: unread.map(({ file }) => file),
    others: [],
    ignored: 0,
  }
  for (const [file, bytes] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const parsed = parse(bytes)
    if (!parsed.ok) {
      read.problems.push(...parsed.refusals.map((refusal): Problem => ({ severity: 'error', file, ...refusal })))
      read.unreadable.push(file)
      continue
    }
    read.ignored += parsed.ignored
    for (const document of parsed.documents) readDocument(read, file, document)
  }
  return read
}

function readDocument(read: Read, file: string, document: YamlDocument): void {
  const classified = classify(document.value)
  switch (classified.is) {
    case 'foreign':
      read.ignored++
      return
    case 'refused':
      read.problems.push(toProblem(classified.finding, document, file, undefined))
      ;(classified.finding.code === 'PH9001' ? read.others : read.unreadable).push(file)
      return
    case 'ours': {
      const { kind } = classified
      const checked = checkSchema(kind, document.value)
      if (checked.ok) read.accepted.push({ kind, written: checked.document, file, document } as Accepted)
      else read.refused.push({ kind, file, document, findings: checked.findings })
      return
    }
    default:
      classified satisfies never
  }
}

function declare(one: Accepted, registries: readonly string[]): Declared | undefined {
  const { document, file } = one
  const identity = { name: one.written.metadata.name, document, file }
  switch (one.kind) {
    case 'Registry':
      return keyed({ ...one, ...identity, resource: toRegistry(one.written) })
    case 'Provider':
      return keyed({ ...one, ...identity, resource: toProvider(one.written) })
    case 'PreheatRun':
      return keyed({ ...one, ...identity, resource: toRun(one.written) })
    case 'PreheatPolicy': {
      const registry = one.written.spec.registry ?? onlyOne(registries)
      if (registry === undefined) return undefined
      return keyed({ ...one, ...identity, resource: toPolicy(one.written, registry) })
    }
    default:
      return one satisfies never
  }
}

function keyed<D extends Omit<Declared, 'key'>>(one: D): D & { readonly key: string } {
  return { ...one, key: resourceKey(one.resource) }
}

function onlyOne(registries: readonly string[]): string | undefined {
  return registries.length === 1 ? registries[0] : undefined
}

function noRegistry(registries: readonly string[]): Finding {
  const why = registries.length === 0 ? 'there is none' : `there are ${registries.length}: ${registries.join(', ')}`
  return errorAtKey(['spec'], 'PH3001', `spec.registry is missing and ${why}`)
}

function registryName({ kind, document }: Accepted | Refused): string[] {
  const name = kind === 'Registry' ? textAt(document, 'metadata', 'name') : undefined
  return name === undefined ? [] : [name]
}

/**
 * Which object a refused document is; undefined where what makes its identity is missing or wrong itself. A policy
 * without a project has one that nobody can be sure of: the field may be there under a misspelt name.
 */
function identify({ kind, file, document, findings }: Refused, registries: readonly string[]): Identified | undefined {
  const name = textAt(document, 'metadata', 'name')
  if (name === undefined || findings.some(({ path }) => IDENTITY.has(path.join('.')))) return undefined
  if (kind !== 'PreheatPolicy') return { kind, name, key: `${kind}/${name}`, file, document }
  const registry = textAt(document, 'spec', 'registry') ?? onlyOne(registries)
  const project = textAt(document, 'spec', 'project') ?? projectFolder(file)
  if (registry === undefined || project === undefined) return undefined
  return { kind, name, key: `${kind}/${registry}/${policyAddress({ project, name })}`, file, document }
}

const IDENTITY = new Set(['metadata.name', 'spec.registry', 'spec.project'])

function textAt({ value }: YamlDocument, section: 'metadata' | 'spec', field: string): string | undefined {
  const part = value[section]
  if (typeof part !== 'object' || part === null || !Object.hasOwn(part, field)) return undefined
  const text = (part as Readonly<Record<string, unknown>>)[field]
  return typeof text === 'string' ? text : undefined
}

function stateOf(declared: readonly Declared[], broken: readonly Identified[], hasUnreadable: boolean): State {
  return {
    registries: declared.filter((one) => one.kind === 'Registry'),
    providers: declared.filter((one) => one.kind === 'Provider'),
    policies: declared.filter((one) => one.kind === 'PreheatPolicy'),
    runs: declared.filter((one) => one.kind === 'PreheatRun'),
    broken,
    hasUnreadable,
  }
}

function distinct(stalled: readonly Stalled[]): Stalled[] {
  return [...new Map(stalled.map((one) => [JSON.stringify([one.file, one.key]), one])).values()]
}
