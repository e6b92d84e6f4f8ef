import { readFileSync } from 'node:fs'
import addFormats from 'ajv-formats'
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js'
import type {
  DaemonConfigDocument,
  PreheatPolicyDocument,
  PreheatRunDocument,
  ProviderDocument,
  RegistryDocument,
} from './documents.ts'
import { dotted, errorAt, errorAtKey, type Finding } from './finding.ts'
import { nearest } from './nearest.ts'
import type { Path } from './parse.ts'

/** The documents as written, by their kind. */
export interface Documents {
  readonly Registry: RegistryDocument
  readonly Provider: ProviderDocument
  readonly PreheatPolicy: PreheatPolicyDocument
  readonly PreheatRun: PreheatRunDocument
  readonly DaemonConfig: DaemonConfigDocument
}

export type Checked<D> =
  { readonly ok: true; readonly document: D } | { readonly ok: false; readonly findings: readonly Finding[] }

const files = {
  Registry: 'registry',
  Provider: 'provider',
  PreheatPolicy: 'preheat-policy',
  PreheatRun: 'preheat-run',
  DaemonConfig: 'daemon-config',
} as const satisfies Record<keyof Documents, string>

/** Whether a value is a document of the kind, with every reason why not. */
export function checkSchema<K extends keyof Documents>(kind: K, value: unknown): Checked<Documents[K]> {
  const validate = validatorOf(kind)
  if (validate(value)) return { ok: true, document: value }
  return { ok: false, findings: findingsOf(validate.errors ?? []) }
}

// Reading and compiling takes 100 ms, once a process, and not for a command that validates nothing.
let ajv: Ajv2020 | undefined

function validatorOf<K extends keyof Documents>(kind: K): ValidateFunction<Documents[K]> {
  ajv ??= load()
  return ajv.getSchema<Documents[K]>(`${files[kind]}.schema.json`)!
}

function load(): Ajv2020 {
  // `required` in a `then` speaks of properties that stand outside it.
  const result = new Ajv2020({ allErrors: true, strict: true, strictRequired: false, verbose: true })
  addFormats.default(result, ['date-time'])
  result.addKeyword({ keyword: 'x-preheatd-expects', schemaType: 'string' })
  result.addKeyword({
    keyword: 'x-preheatd-later-values',
    schemaType: 'array',
    validate: (later: unknown[], value: unknown) => !later.includes(value),
  })
  for (const file of ['common', ...Object.values(files)]) {
    // The same two steps up from src/config and from dist/config.
    const url = new URL(`../../schemas/${file}.schema.json`, import.meta.url)
    result.addSchema(JSON.parse(readFileSync(url, 'utf8')) as object)
  }
  return result
}

/** What these say is said by the errors inside them. */
const wrappers = new Set(['if', 'allOf', 'oneOf'])

function findingsOf(errors: readonly ErrorObject[]): Finding[] {
  // Nothing is said about what stands inside an alternative that has its own words.
  const closed = errors.filter(({ keyword }) => keyword === 'anyOf')
  const spoken = errors.filter(
    (error) =>
      !wrappers.has(error.keyword) &&
      !closed.some((one) => one !== error && isBelow(error.instancePath, one.instancePath)),
  )
  const findings = new Map<string, Finding>()
  for (const error of spoken) {
    const finding = findingOf(error)
    findings.set(JSON.stringify([finding.path, finding.code, finding.message]), finding)
  }
  return [...findings.values()]
}

function isBelow(pointer: string, root: string): boolean {
  return pointer === root || pointer.startsWith(`${root}/`)
}

function findingOf(error: ErrorObject): Finding {
  const path = pathOf(error.instancePath)
  const where = dotted(path)
  const schema = error.parentSchema as Readonly<Record<string, unknown>>
  const params = error.params as Readonly<Record<string, unknown>>
  switch (error.keyword) {
    case 'x-preheatd-later-values':
      return errorAt(path, 'PH9001', `${where}: ${String(error.data)} is not built yet`)
    case 'additionalProperties':
      return unknownField(path, String(params['additionalProperty']), Object.keys(schema['properties'] ?? {}))
    case 'required':
    case 'dependentRequired':
      return missingField(path, String(params['missingProperty']), schema['x-preheatd-expects'])
    case 'type':
      return wrongType(path, String(params['type']), error.data)
    case 'enum':
      return notOneOf(path, params['allowedValues'] as unknown[], error.data)
    case 'const':
      return notOneOf(path, [params['allowedValue']], error.data)
    case 'pattern':
    case 'format':
    case 'anyOf':
      return errorAt(path, 'PH2003', `${where} must be ${expectation(schema)}`)
    case 'not':
      return errorAtKey(path, 'PH2003', `${where} must be ${expectation(schema)}`)
    default:
      return errorAt(path, 'PH2003', `${where} ${error.message ?? 'is wrong'}`)
  }
}

function expectation(schema: Readonly<Record<string, unknown>>): string {
  const expects = schema['x-preheatd-expects']
  return typeof expects === 'string' ? expects : 'what the schema describes'
}

function pathOf(pointer: string): Path {
  return pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function missingField(parent: Path, field: string, expects: unknown): Finding {
  const help = typeof expects === 'string' ? `Write ${expects}.` : undefined
  return errorAtKey(parent, 'PH2002', `${dotted([...parent, field])} is missing`, help)
}

function unknownField(parent: Path, field: string, known: readonly string[]): Finding {
  const path = [...parent, field]
  const near = nearest(field, known)
  return errorAtKey(path, 'PH2001', `${dotted(path)} is no field`, near && `Did you mean ${near}?`)
}

function wrongType(path: Path, wanted: string, value: unknown): Finding {
  const message = `${dotted(path)} must be ${wanted}, not ${typeName(value)}`
  const isText = wanted === 'string' && (typeof value === 'number' || typeof value === 'boolean')
  return errorAt(path, 'PH2003', message, isText ? 'Put it into quotes.' : undefined)
}

function typeName(value: unknown): string {
  if (value === null) return 'empty'
  return Array.isArray(value) ? 'array' : typeof value
}

function notOneOf(path: Path, allowed: readonly unknown[], value: unknown): Finding {
  const words = allowed.map(String)
  const near = typeof value === 'string' ? nearest(value, words) : undefined
  const message = `${dotted(path)} must be ${words.length === 1 ? '' : 'one of '}${words.join(', ')}`
  return errorAt(path, 'PH2003', message, near && words.length > 1 ? `Did you mean ${near}?` : undefined)
}
