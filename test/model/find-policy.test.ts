import { expect, test } from 'vitest'
import { findPolicy } from '../../src/model/find-policy.ts'
import { located, policy } from '../support/examples.ts'

const web = located(policy({ project: 'team', name: 'web' }))
const other = located(policy({ project: 'library', name: 'web' }))

test.each(['team/web', 'harbor/team/web'])('a policy is found by %s', (name) => {
  expect(findPolicy(name, [web, other])).toEqual({ ok: true, found: web })
})

test('a bare name is enough where it is unambiguous, and is otherwise answered with the full ones', () => {
  expect(findPolicy('web', [web])).toEqual({ ok: true, found: web })
  expect(findPolicy('web', [web, other])).toEqual({
    ok: false,
    code: 'PH8101',
    message: '"web" is ambiguous: harbor/team/web, harbor/library/web',
  })
})

test('an unknown name is answered with those that there are, ten at most', () => {
  const many = Array.from({ length: 12 }, (_, i) =>
    located(policy({ project: 'team', name: `p${String(i).padStart(2, '0')}` })),
  )

  expect(findPolicy('nope', [web])).toEqual({
    ok: false,
    code: 'PH3003',
    message: 'no policy is called "nope"; there are team/web',
  })
  expect(findPolicy('nope', [])).toMatchObject({ message: 'no policy is called "nope"; there are none' })
  expect(findPolicy('nope', many)).toMatchObject({ message: expect.stringMatching(/team\/p09, and 2 more$/) })
})
