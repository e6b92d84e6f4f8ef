import { describe, expect, test } from 'vitest'
import { git, logGit } from '../support/repository.ts'
import { Scene, current, failureFrom, never, texts } from './support.ts'

describe('a tag', () => {
  test.each([
    ['lightweight', []],
    ['annotated', ['-a', '-m', 'a release']],
  ])('that is %s is the commit that it points at, and is followed when it is moved', async (_, options) => {
    await using scene = await Scene.open()
    const { repository } = scene
    const first = await repository.commit({ 'a.yaml': '1' })
    await git(repository.dir, 'tag', ...options, 'production', first)
    const second = await repository.commit({ 'a.yaml': '2' })
    const source = scene.source({ ref: { type: 'tag', name: 'production' } })

    const before = await current(source)
    await git(repository.dir, 'tag', '--force', ...options, 'production', second)
    const after = await current(source)

    expect([before.config.commit, after.config.commit]).toEqual([first, second])
    expect(await texts(after)).toEqual({ 'a.yaml': '2' })
    expect(await source.descends(first, second, never)).toBeUndefined()
  })

  test('that is not there has its own message', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': '1' })

    expect(await failureFrom(scene.source({ ref: { type: 'tag', name: 'gone' } }).observe(never))).toMatchObject({
      state: 'RefNotFound',
      code: 'PH4002',
      message: 'the remote has no tag gone',
    })
  })
})

describe('a range of versions', () => {
  test('is the highest tag in it, and the next one once that is there', async () => {
    await using scene = await Scene.open()
    const { repository } = scene
    const tag = async (name: string, ...options: string[]) => {
      const commit = await repository.commit({ 'a.yaml': name })
      await git(repository.dir, 'tag', ...options, name, commit)
      return commit
    }
    await tag('v1.9.0')
    const ten = await tag('v1.10.0', '-a', '-m', 'ten')
    await tag('v2.0.0')
    await tag('v1.11.0-rc.1')
    const source = scene.source({ ref: { type: 'semver', range: '1.x' } })

    const before = await current(source)
    const eleven = await tag('v1.11.0')
    await using log = await logGit()
    const after = await current(source)

    expect(before.config.commit).toBe(ten)
    expect(after.config.commit).toBe(eleven)
    expect(await texts(after)).toEqual({ 'a.yaml': 'v1.11.0' })
    const fetched = (await log.starts()).filter((args) => args.includes('fetch')).map((args) => args.at(-1))
    expect(fetched).toEqual(['+refs/tags/v1.11.0:refs/preheatd/source'])
  })

  test('without a tag in it has its own message', async () => {
    await using scene = await Scene.open()
    await git(scene.repository.dir, 'tag', 'v1.0.0', await scene.repository.commit({ 'a.yaml': '1' }))

    expect(await failureFrom(scene.source({ ref: { type: 'semver', range: '>=2' } }).observe(never))).toMatchObject({
      state: 'RefNotFound',
      message: 'the remote has no tag in >=2',
    })
  })
})

describe('a commit', () => {
  test('stays in force whatever the branch does, and is asked for once', async () => {
    await using scene = await Scene.open()
    const pinned = await scene.repository.commit({ 'a.yaml': '1' })
    await scene.repository.commit({ 'a.yaml': '2' })
    const source = scene.source({ ref: { type: 'commit', id: pinned } })

    const tree = await current(source)
    expect(await texts(tree)).toEqual({ 'a.yaml': '1' })
    scene.server.requests.length = 0

    expect((await current(source)).config.commit).toBe(pinned)
    expect(scene.server.requests).toEqual([])
  })

  test('that the remote does not have has its own message', async () => {
    await using scene = await Scene.open()
    await scene.repository.commit({ 'a.yaml': '1' })
    const source = scene.source({ ref: { type: 'commit', id: '1'.repeat(40) } })

    const error = await failureFrom(current(source))

    expect(error).toMatchObject({ state: 'RefNotFound', code: 'PH4002' })
    expect(error.message).toContain('no such commit')
  })
})
