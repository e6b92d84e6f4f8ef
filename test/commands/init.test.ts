import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { explainError } from '../../src/commands/command.ts'
import { init } from '../../src/commands/init.ts'
import { validate } from '../../src/commands/validate.ts'
import { readSettings } from '../../src/settings.ts'
import { MemoryIo } from '../support/io.ts'
import { temporaryFolder } from '../support/repository.ts'

const { signal } = new AbortController()
const text = { output: 'text' } as const

test('a new folder is valid, without a warning, and so is the configuration beside it', async () => {
  await using place = await temporaryFolder()
  const dir = join(place.path, 'policies')
  const io = new MemoryIo()

  expect(await init(dir, text, new MemoryIo(), signal)).toBe(0)

  expect(await validate(dir, { output: 'json' }, io, signal)).toBe(0)
  expect(JSON.parse(io.stdout)).toMatchObject({ valid: true, objects: 3, ignored: 0, problems: [] })
  const file = join(place.path, 'preheatd.yaml')
  const read = readSettings(await readFile(file, 'utf8'), file, {})
  expect(read).toMatchObject({
    ok: true,
    settings: { source: { type: 'dir', dir }, state: { dir: join(place.path, 'data') } },
  })
})

test('an editor finds the schema that every file names', async () => {
  await using place = await temporaryFolder()
  const dir = join(place.path, 'my policies')
  const io = new MemoryIo()
  await init(dir, { output: 'json' }, io, signal)
  const { written } = JSON.parse(io.stdout) as { written: string[] }

  const files = written.filter((path) => path.endsWith('.yaml'))
  expect(files).toHaveLength(4)
  for (const file of files) {
    const [first = ''] = (await readFile(file, 'utf8')).split('\n')
    const schema = decodeURI(/^# yaml-language-server: \$schema=(\S+)$/.exec(first)?.[1] ?? '')
    const path = join(dirname(file), schema)
    expect([file, JSON.parse(await readFile(path, 'utf8'))]).toMatchObject([file, { $schema: expect.any(String) }])
    // What it refers to is beside it.
    expect((await stat(join(dirname(path), 'common.schema.json'))).isFile()).toBe(true)
  }
})

test('an empty folder is taken, and a preheatd.yaml beside it stays as it is', async () => {
  await using place = await temporaryFolder()
  const dir = join(place.path, 'policies')
  await mkdir(dir)
  await writeFile(join(place.path, 'preheatd.yaml'), 'mine')
  const io = new MemoryIo()

  expect(await init(dir, text, io, signal)).toBe(0)

  expect(await readFile(join(place.path, 'preheatd.yaml'), 'utf8')).toBe('mine')
  expect(io.stdout).not.toContain('preheatd.yaml')
  expect(io.stderr).toContain('stays as it is')
})

test('a folder that holds nothing for preheatd is valid, and asked about', async () => {
  await using place = await temporaryFolder()
  const io = new MemoryIo()

  expect(await validate(place.path, { output: 'text' }, io, signal)).toBe(0)

  expect(io.stderr).toContain(`nothing in ${place.path} is of preheatd.io`)
})

test('a file that the machine does not let be written is named with what to do, and a bug is none of them', () => {
  const refused = Object.assign(new Error("EROFS: read-only file system, mkdir '/x'"), { code: 'EROFS' })

  expect(explainError(refused)).toMatch(
    /^error PH8114: EROFS: read-only file system, mkdir '\/x'\n {2}help: Check the permissions/,
  )
  expect(explainError(Object.assign(new Error('ENOENT: a bug of ours'), { code: 'ENOENT' }))).toBeUndefined()
})

test('where no folder can be made is said, and that has an end', async () => {
  await expect(init('/proc/preheatd', text, new MemoryIo(), signal)).rejects.toMatchObject({
    code: 'PH8114',
    message: 'no folder can be made in /proc',
  })
})

test('a folder in which something is, or a file, is refused and left alone', async () => {
  await using place = await temporaryFolder()
  const file = join(place.path, 'README.md')
  await writeFile(file, 'mine')

  await expect(init(place.path, text, new MemoryIo(), signal)).rejects.toMatchObject({ code: 'PH8111' })
  await expect(init(file, text, new MemoryIo(), signal)).rejects.toMatchObject({ code: 'PH8111' })

  await expect(stat(join(place.path, 'registries'))).rejects.toMatchObject({ code: 'ENOENT' })
})
