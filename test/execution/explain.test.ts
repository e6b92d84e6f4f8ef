import { expect, test } from 'vitest'
import { explain } from '../../src/execution/explain.ts'
import type { PreheatPolicy } from '../../src/model/policy.ts'
import { artifactRun, candidate, content, digest, EXAMPLE_AT as now, policy, snapshot } from '../support/examples.ts'
import { MemorySource } from '../support/ports.ts'

const never = new AbortController().signal
const cold = { warm: () => Promise.resolve([]) }

async function explained(source: MemorySource, over: Partial<PreheatPolicy> = {}, asked: () => boolean = () => true) {
  const snapshotOfIt = snapshot({ policy: policy(over) })
  return await explain(snapshotOfIt, asked, { source, ledger: cold, since: now, now }, never)
}

test('what is in has what each rule said, and what each provider would get', async () => {
  const source = new MemorySource([candidate({ scan: { state: 'scanned', severity: 'Low' }, signatures: ['cosign'] })])
  source.rules = { ...source.rules, severity: 'high', signatures: ['cosign'] }

  const { explanations } = await explained(source)

  expect(explanations).toMatchObject([
    {
      repository: 'library/app',
      tag: 'v1',
      digest: digest(1),
      decided: undefined,
      targets: [{ provider: 'dragonfly-eu', action: 'preheat', reason: 'not known warm' }],
    },
  ])
  expect(explanations[0]?.verdicts.map(({ rule, says }) => `${rule} ${says}`)).toEqual([
    'repository in',
    'tag in',
    'type in',
    'signature in',
    'vulnerability in',
    'platform in',
  ])
})

test('what is out names the rule that decided, and what the rules after it would say', async () => {
  const source = new MemorySource([
    candidate({ tags: ['rc'], scan: { state: 'unscanned', reason: 'never scanned' }, signatures: [] }),
  ])
  source.rules = { ...source.rules, severity: 'high', signatures: ['cosign'] }

  const { explanations } = await explained(source, { filters: { ...policy().filters, tags: ['v*'] } })

  expect(explanations[0]).toMatchObject({ decided: { rule: 'tag' }, targets: [] })
  expect(explanations[0]?.verdicts.map(({ rule, says }) => `${rule} ${says}`)).toEqual([
    'repository in',
    'tag out',
    'type in',
    'signature out',
    'vulnerability out',
  ])
})

test('where nothing but names choose, nothing but what they name is told of', async () => {
  const source = new MemorySource([candidate({ tags: ['v1', 'v2'] }), candidate({ digest: digest(2), tags: ['v3'] })])

  const { explanations } = await explained(source, artifactRun().ownPolicy)

  expect(explanations).toMatchObject([{ repository: 'library/app', tag: 'v1', decided: undefined }])
  expect(explanations[0]?.verdicts[0]).toEqual({
    rule: 'named',
    says: 'in',
    message: 'it is named',
    field: 'spec.artifacts',
  })
})

test('an artifact that only its content leaves out says so', async () => {
  const source = new MemorySource([candidate({ type: undefined })])
  source.contents.set(digest(1), content({ type: 'chart' }))

  const { explanations } = await explained(source)

  expect(explanations[0]?.decided).toMatchObject({ rule: 'type', field: 'spec.filters.types' })
})

test('an artifact that the policy names is in by its name', async () => {
  const { explanations } = await explained(new MemorySource([candidate()]), {
    filters: { ...policy().filters, tags: ['none'] },
    artifacts: [{ name: 'app', reference: { tag: 'v1' } }],
  })

  expect(explanations.map(({ tag, verdicts, decided }) => [tag, verdicts[0]?.rule, decided])).toEqual([
    ['v1', 'named', undefined],
  ])
})

test('only what is asked about is explained', async () => {
  const { explanations, choice } = await explained(new MemorySource([candidate()]), {}, () => false)

  expect(explanations).toEqual([])
  expect(choice.kind).toBe('chosen')
})

test('a file is in by its name, with what each provider would get, and is asked for like anything else', async () => {
  const files = ['https://models.example.com/llama.gguf']
  const targets = [{ provider: 'dragonfly-eu', action: 'preheat', reason: 'not known warm' }]

  expect(await explained(new MemorySource([]), { files })).toMatchObject({ files: [{ file: files[0], targets }] })
  expect(await explained(new MemorySource([]), { files }, () => false)).toMatchObject({ files: [] })
  const limits = { maxArtifacts: 0, maxBytes: undefined }
  expect(await explained(new MemorySource([]), { files, limits })).toMatchObject({ files: [{ targets: [] }] })
})
