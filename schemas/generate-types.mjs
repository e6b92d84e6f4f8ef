// Writes src/config/documents.ts from the schemas: `node schemas/generate-types.mjs`, with `--check` exit 1 on drift.
import { readFile, writeFile } from 'node:fs/promises'
import { URL } from 'node:url'
import { compile } from 'json-schema-to-typescript'
import { format } from 'prettier'

const target = new URL('../src/config/documents.ts', import.meta.url)
const documents = {
  RegistryDocument: 'registry',
  ProviderDocument: 'provider',
  PreheatPolicyDocument: 'preheat-policy',
  PreheatRunDocument: 'preheat-run',
  DaemonConfigDocument: 'daemon-config',
}
/** What TypeScript has no word for, and what would only name types after sentences. */
const dropped = new Set(
  '$schema $id $defs title examples default format pattern if then else allOf not dependentRequired dependentSchemas'
    .split(' ')
    .concat(
      'minItems maxItems minLength maxLength minimum maximum exclusiveMinimum minProperties maxProperties'.split(' '),
    ),
)

const read = async (name) => JSON.parse(await readFile(new URL(`${name}.schema.json`, import.meta.url), 'utf8'))
const typeName = (name) => name[0].toUpperCase() + name.slice(1)

/** One schema as the compiler likes it: every definition at one place, and nothing beside a reference. */
function simplified(schema) {
  if (Array.isArray(schema)) return schema.map(simplified)
  if (typeof schema !== 'object' || schema === null) return schema
  if (typeof schema.$ref === 'string') {
    const reference = { $ref: `#/$defs/${typeName(schema.$ref.split('/').at(-1))}` }
    return schema.description === undefined ? reference : { description: schema.description, allOf: [reference] }
  }
  const result = {}
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'properties')
      result[key] = Object.fromEntries(Object.entries(value).map(([name, part]) => [name, simplified(part)]))
    else if (key === 'patternProperties') result.additionalProperties = simplified(Object.values(value)[0])
    else if (key === 'additionalProperties' && 'patternProperties' in schema) continue
    else if (!dropped.has(key) && !key.startsWith('x-')) result[key] = simplified(value)
  }
  return result
}

const $defs = {}
for (const [name, part] of Object.entries((await read('common')).$defs)) $defs[typeName(name)] = simplified(part)
for (const [type, file] of Object.entries(documents)) {
  const schema = await read(file)
  for (const [name, part] of Object.entries(schema.$defs ?? {})) $defs[typeName(name)] = simplified(part)
  $defs[type] = simplified(schema)
}

const root = { oneOf: Object.keys(documents).map((type) => ({ $ref: `#/$defs/${type}` })), $defs }
const source = await compile(root, 'AnyDocument', {
  additionalProperties: false,
  bannerComment: '// Generated from schemas/ by schemas/generate-types.mjs. Do not edit.\n',
  customName: (_schema, definition) => definition,
  format: false,
})
// Only the documents are for others; the parts of them are not.
const text = source.replaceAll(/^export (?=(?:type|interface) (\w+))/gm, (whole, name) =>
  name in documents ? whole : '',
)
const { prettier } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'))
const wanted = await format(text.replace(/^type AnyDocument =[^\n]*(?:\n\s*\|[^\n]*)*\n/m, ''), {
  ...prettier,
  parser: 'typescript',
})

if (process.argv.includes('--check')) {
  if ((await readFile(target, 'utf8')) !== wanted) {
    process.stderr.write('src/config/documents.ts differs from schemas/: run node schemas/generate-types.mjs\n')
    process.exitCode = 1
  }
} else await writeFile(target, wanted)
