import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/load.ts'
import { resourceKey, type Resource } from '../../src/model/resource.ts'
import { plan } from '../../src/plan/plan.ts'
import { totals, type EngineNote, type Preview, type PreviewItem } from '../../src/plan/preview.ts'
import { renderJson } from '../../src/plan/render/json.ts'
import { renderMarkdown } from '../../src/plan/render/markdown.ts'
import { renderText } from '../../src/plan/render/text.ts'
import { digest, EXAMPLE_AT, EXAMPLE_FILE, located, policy, provider, scheduledPolicy } from '../support/examples.ts'

const commit = { commit: 'abc', author: 'Ada', subject: 'change' }
const context = { now: EXAMPLE_AT, base: 'origin/main', warmth: undefined, instance: 'eu', engines: [] }

function planOf(after: Resource[], before: Resource[], overrides: Partial<Config> = {}) {
  const objects = after.map((one) => located(one))
  const applied = before.map((one) => ({ ...located(one), problems: [] }))
  return plan(
    { config: commit, objects, stalled: [], problems: [], ignored: 0, ...overrides },
    { config: commit, appliedAt: 0, objects: applied, problems: [] },
    EXAMPLE_AT,
  )
}

const item = (name: string, overrides: Partial<PreviewItem> = {}): PreviewItem => ({
  reference: `library/${name}`,
  tags: ['v1'],
  digest: digest(name),
  provider: 'dragonfly-eu',
  action: 'preheat',
  sizeBytes: 2 ** 30,
  reason: 'not known warm',
  ...overrides,
})
const file = (overrides: Partial<PreviewItem> = {}): PreviewItem =>
  item('', { reference: EXAMPLE_FILE, tags: [], digest: undefined, sizeBytes: undefined, ...overrides })
const preview = (items: PreviewItem[], overrides: Partial<Preview> = {}): Preview => ({
  policy: 'library/release-images',
  registry: 'harbor',
  items,
  leftOut: [],
  ...overrides,
})

const berlin = scheduledPolicy('CRON_TZ=Europe/Berlin 30 0 * * *')
const changed = planOf([berlin, provider()], [scheduledPolicy('0 2 * * *'), policy({ name: 'old' })])
const text = (result = changed, previews: Preview[] = []) => renderText(result, previews, context, (_, plain) => plain)
const markdown = (result = changed, previews: Preview[] = []) => renderMarkdown(result, previews, context)
const lastLine = (output: string) => output.trimEnd().split('\n').at(-1)

describe('the totals of a preview', () => {
  it('count an image once, bytes once a provider, layers shared by images once', () => {
    const layer = { digest: digest('layer'), sizeBytes: 100 }
    const blobs = (name: string) => [layer, { digest: digest(`${name} config`), sizeBytes: 1 }]
    const shared = ['a', 'b'].map((name) => item(name, { blobs: blobs(name) }))
    const again = preview(shared, { policy: 'library/other' })
    const us = preview([item('a', { provider: 'dragonfly-us', blobs: blobs('a') })])
    expect(totals([preview([...shared, item('c', { action: 'skip' })]), again, us])).toEqual({
      images: 2,
      files: 0,
      sizeBytes: 203,
      skipped: 1,
      providers: [
        { provider: 'dragonfly-eu', images: 2, files: 0, sizeBytes: 102 },
        { provider: 'dragonfly-us', images: 1, files: 0, sizeBytes: 101 },
      ],
    })
  })

  it('count files by themselves, once however many policies name them, and no bytes for them', () => {
    const others = preview([file(), item('a')], { policy: 'library/other', registry: 'hub' })
    expect(totals([preview([file(), file({ action: 'skip', provider: 'dragonfly-us' })]), others])).toEqual({
      images: 1,
      files: 1,
      sizeBytes: 2 ** 30,
      skipped: 1,
      providers: [{ provider: 'dragonfly-eu', images: 1, files: 1, sizeBytes: 2 ** 30 }],
    })
  })

  it('leave out what is blocked', () => {
    const blocked = preview([item('a')], { blocked: { code: 'PH8004', message: 'over' } })
    expect(totals([blocked])).toMatchObject({ images: 0, sizeBytes: 0 })
  })
})

describe('a plan as text', () => {
  it('shows changes field by field and next runs in the policy’s zone and UTC', () => {
    expect(text()).toContain(`
~ PreheatPolicy library/release-images  example.yaml:1
    ~ spec.trigger.schedule.cron: "0 2 * * *" -> "CRON_TZ=Europe/Berlin 30 0 * * *"
    next run 2026-11-22 00:30 Europe/Berlin (2026-11-21 23:30 UTC)
`)
    expect(text()).toMatch(/^\+ Provider dragonfly-eu {2}example.yaml:1$/m)
    expect(text()).toMatch(/^- PreheatPolicy library\/old {2}example.yaml:1$/m)
  })

  it('ends in a line for grep', () => {
    expect(lastLine(text())).toBe('Plan: 1 to create, 1 to update, 1 to delete.')
    expect(lastLine(text(changed, [preview([item('a'), item('b')])]))).toBe(
      'Plan: 1 to create, 1 to update, 1 to delete; 2 images to preheat, 2.0 GiB.',
    )
    expect(lastLine(text(planOf([berlin], [berlin])))).toBe('No changes.')
    expect(lastLine(text(planOf([berlin], [berlin]), [preview([item('a', { action: 'skip' })])]))).toBe('No changes.')
  })

  it('says what each image is preheated or skipped for, and what is left out', () => {
    const previews = [
      preview([item('a'), item('b', { action: 'skip', sizeBytes: undefined, reason: 'warm since 2h' })], {
        leftOut: [{ reference: 'library/c', reason: 'no tag is wanted', count: 12 }],
      }),
      preview([], { policy: 'library/x', blocked: { code: 'PH8004', message: '1200 artifacts, 1000 allowed' } }),
    ]
    const output = text(changed, previews)
    expect(output).toMatch(/preheat library\/a:v1 sha256:\w+ to dragonfly-eu, 1\.0 GiB: not known warm/)
    expect(output).toMatch(/skip {4}library\/b:v1 .* size unknown: warm since 2h/)
    expect(output).toContain('left out library/c: no tag is wanted (12)')
    expect(output).toContain('blocked PH8004 1200 artifacts, 1000 allowed')
    expect(output).toContain('    dragonfly-eu: 1 image, 1.0 GiB\n    1 skipped\n')
  })

  it('shows what is stalled, what is invalid and who is sent elsewhere', () => {
    const byDefault = policy({ providers: [] })
    const eu = provider({ isDefault: true })
    const us = provider({ name: 'dragonfly-us' })
    const problem = { severity: 'error', code: 'PH2003', file: 'a.yaml', line: 4, column: 2, message: 'bad' } as const
    const held = policy({ name: 'held' })
    const result = planOf(
      [{ ...eu, isDefault: false }, { ...us, isDefault: true }, byDefault],
      [eu, us, byDefault, held],
      {
        stalled: [
          { file: 'a.yaml', key: resourceKey(held) },
          { file: 'b.yaml', key: undefined },
        ],
        problems: [
          { ...problem, key: resourceKey(held) },
          { ...problem, file: 'b.yaml', code: 'PH1003' },
        ],
      },
    )
    expect(text(result)).toContain('    library/release-images: dragonfly-eu -> dragonfly-us\n')
    expect(text(result)).toContain(
      'Stalled: PreheatPolicy/harbor/library/held stays as it was\n    a.yaml:4:2: error PH2003 bad\n',
    )
    expect(text(result)).toContain('Invalid: b.yaml\n    b.yaml:4:2: error PH1003 bad\n')
  })

  it('lets no string of a user write to the terminal', () => {
    const hostile = 'x\u001b[2J\r\u009b31m\u202e\nPlan: nothing'
    const output = text(planOf([{ ...berlin, description: hostile }], [berlin]), [
      preview([item('a', { reason: hostile })]),
    ])
    expect(output).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u)
    expect(output.match(/^Plan: /gm)).toHaveLength(1)
  })

  it('paints signs and headings only through the function that it is given', () => {
    const painted = renderText(changed, [], context, (style, plain) => `<${style}>${plain}</>`)
    expect(painted).toContain('<update>~ PreheatPolicy library/release-images</>')
    expect(lastLine(painted)).toBe('Plan: 1 to create, 1 to update, 1 to delete.')
  })
})

describe('what engines told', () => {
  const old: EngineNote = {
    provider: 'dragonfly-eu',
    version: '>= 2.1.57',
    ignored: ['peers.count (known since 2.2.3)', 'options.tag (known since 2.0.3)'],
    doubtfulScopes: ['all_seed_peers'],
  }
  const well: EngineNote = { provider: 'dragonfly-us', version: '> 2.5.1', ignored: [], doubtfulScopes: [] }
  const silent: EngineNote = {
    provider: 'kraken',
    ignored: [],
    doubtfulScopes: [],
    error: { code: 'PH5001', message: 'connect <b>refused</b>\u001b[2J' },
  }
  const told = { ...context, engines: [old, well, silent] }
  const ignores =
    'dragonfly-eu: this manager (>= 2.1.57) ignores peers.count (known since 2.2.3), options.tag (known since 2.0.3)'

  it('is a warning for what would be ignored and a note for who could not be asked, in text', () => {
    const lines = renderText(changed, [], told, (_, plain) => plain).split('\n')
    expect(lines).toContain(`warning ${ignores}`)
    expect(lines).toContain(
      'warning dragonfly-eu: this manager (>= 2.1.57) may refuse the scope all_seed_peers (PH3007), known since 2.1.66',
    )
    expect(lines).toContain(
      'note kraken: could not be asked what it would ignore: PH5001 connect <b>refused</b>\\u{1b}[2J',
    )
    expect(lines.join('\n')).not.toContain('dragonfly-us')
    expect(text()).not.toMatch(/^(?:warning|note) /m)
  })

  it('is the same in Markdown, where it does nothing, and stays when images are left out', () => {
    const items = Array.from({ length: 1000 }, (_, index) => item(`image-${index}`))
    for (const previews of [[], [preview(items)]]) {
      const output = renderMarkdown(changed, previews, told)
      expect(output).toMatch(/^- \*\*Warning\*\* dragonfly-eu: this manager .* ignores peers\.count .*options\.tag/m)
      expect(output).toMatch(/^- \*\*Warning\*\* dragonfly-eu: this manager .* may refuse the scope all/m)
      expect(output).toMatch(/^- \*\*Note\*\* kraken: could not be asked/m)
      expect(output).not.toContain('<b>')
    }
  })

  it('is all there in JSON', () => {
    expect(JSON.parse(renderJson(changed, [], told)).engines).toEqual([
      {
        provider: 'dragonfly-eu',
        version: '>= 2.1.57',
        ignored: old.ignored,
        doubtfulScopes: old.doubtfulScopes,
        error: null,
      },
      { provider: 'dragonfly-us', version: '> 2.5.1', ignored: [], doubtfulScopes: [], error: null },
      { provider: 'kraken', version: null, ignored: [], doubtfulScopes: [], error: silent.error },
    ])
  })
})

describe('a plan as Markdown', () => {
  it('begins with the marker that a bot finds its comment by', () => {
    expect(markdown()).toMatch(/^<!-- preheatd:plan:eu -->\n/)
    expect(renderMarkdown(changed, [], { ...context, instance: undefined })).toMatch(
      /^<!-- preheatd:plan:default -->\n/,
    )
    expect(renderMarkdown(changed, [], { ...context, instance: 'a--><script>' })).not.toContain('<script>')
  })

  it('shows fields as a diff with its markers in the first column', () => {
    expect(markdown()).toContain(`
\`\`\`diff
- spec.trigger.schedule.cron: "0 2 * * *"
+ spec.trigger.schedule.cron: "CRON_TZ=Europe/Berlin 30 0 * * *"
\`\`\`
`)
    expect(markdown()).toContain('| 1 | 1 | 1 | 0 | 0 | 0 |')
  })

  it('does nothing that a description, a tag or a reason asks for', () => {
    const hostile = '@everyone #1 </details><script> `x` | ![i](http://evil/i.png)\n```\n# owned'
    const result = planOf([{ ...berlin, description: `${hostile}\`\`\`\`` }], [berlin])
    const output = markdown(result, [preview([item('a', { tags: [hostile], reason: hostile })])])
    expect(output.match(/<\/details>/g)).toHaveLength(2)
    // One in the diff, inside a fence longer than any in the text.
    expect(output).toMatch(/\n`{5}diff\n\+ spec\.description: .*<\/details>.*\n`{5}\n/)
    const outside = output.replace(/\n`{5}diff\n[^]*?\n`{5}\n/, '\n')
    expect(outside).not.toMatch(/@|<script>|`x`|http:\/\/|!\[|^# /m)
    expect(outside.match(/^\| preheat .*$/m)![0].match(/\|/g)).toHaveLength(7)
  })

  it('stays below the cap of a comment by leaving out skipped images first, then images, then all but the summary', () => {
    const items = (count: number, action: PreviewItem['action']) =>
      Array.from({ length: count }, (_, index) => item(`image-${index}`, { action }))
    const skipped = markdown(changed, [preview([item('wanted'), ...items(1000, 'skip')])])
    expect(skipped).toContain('skipped images are left out')
    expect(skipped).toMatch(/\| preheat \| library\/wanted:v1/)
    expect(skipped).not.toContain('| skip |')

    const many = markdown(changed, [preview(items(1000, 'preheat'))])
    expect(many).toContain('lists of images are left out')
    expect(many).toContain('1000 tasks to preheat')
    expect(many).toContain('```diff')

    const policies = Array.from({ length: 1000 }, (_, index) => policy({ name: `policy-${index}` }))
    const huge = markdown(planOf(policies, []))
    expect(huge).toContain('only the summary is shown')
    expect(huge).toContain('**Plan: 1000 to create, 0 to update, 0 to delete.**')

    const symbols = '&'.repeat(300)
    const problems = policies.map((one, index) => ({
      severity: 'error' as const,
      code: 'PH2003' as const,
      file: `${index}.yaml`,
      line: 1,
      column: 1,
      message: symbols,
      key: resourceKey(one),
    }))
    const stalled = problems.map(({ file, key }) => ({ file, key }))
    const broken = markdown(planOf([], [], { stalled, problems }))
    expect(broken).toContain('only numbers are shown')
    expect(broken).toContain('| 0 | 0 | 0 | 0 | 0 | 1000 |')

    for (const output of [skipped, many, huge, broken]) expect(output.length).toBeLessThanOrEqual(60_000)
  })
})

describe('a file in a plan', () => {
  const previews = [preview([file()])]

  it('is shown as one, of unknown size', () => {
    expect(text(changed, previews)).toContain(
      `preheat ${EXAMPLE_FILE} file to dragonfly-eu, size unknown: not known warm`,
    )
    expect(text(changed, previews)).toContain('dragonfly-eu: 0 images and 1 file, 0 B')
    expect(lastLine(text(changed, previews))).toContain('; 0 images and 1 file to preheat, 0 B and the files.')
    expect(markdown(changed, previews)).toMatch(/\| preheat \| .*llama\.gguf.* \| file \| dragonfly-eu \| unknown \|/)
    expect(markdown(changed, previews)).toContain('| dragonfly-eu | 0, and 1 file | 0 B |')
    expect(JSON.parse(renderJson(changed, previews, context))).toMatchObject({
      summary: { images: 0, files: 1, sizeBytes: 0 },
      previews: [{ items: [{ reference: EXAMPLE_FILE, digest: null, sizeBytes: null }] }],
      providers: [{ images: 0, files: 1 }],
    })
  })

  it('is something to do even where no object changed', () => {
    const same = planOf([berlin], [berlin])
    expect(lastLine(text(same, previews))).not.toBe('No changes.')
  })
})

describe('a plan as JSON', () => {
  it('has a version, a summary and every change', () => {
    const document = JSON.parse(renderJson(changed, [preview([item('a')])], context))
    expect(document).toMatchObject({
      formatVersion: '1.3',
      base: 'origin/main',
      commit: 'abc',
      warmth: null,
      summary: { create: 1, update: 1, delete: 1, unchanged: 0, images: 1, sizeBytes: 2 ** 30 },
      previews: [{ error: null, items: [{ reference: 'library/a', action: 'preheat' }] }],
      next: [{ timeZone: 'Europe/Berlin' }],
    })
    expect(document.changes[2].fields).toEqual([
      { path: 'spec.trigger.schedule.cron', before: '0 2 * * *', after: 'CRON_TZ=Europe/Berlin 30 0 * * *' },
    ])
    expect(document.next[0].at[0]).toBe('2026-11-21T23:30:00.000Z')
  })
})
