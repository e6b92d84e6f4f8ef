import { format, inspect } from 'node:util'
import { expect, it } from 'vitest'
import { authHeader } from '../../src/model/auth.ts'
import { Secret, type ReadSecret } from '../../src/model/secret.ts'

const CANARY = 'canary-5ecret'

it.each<[string, (secret: Secret) => string]>([
  ['joining', (secret) => ['a', secret].join(' ')],
  ['String()', String],
  ['JSON', (secret) => JSON.stringify({ deep: [secret] })],
  ['inspect', (secret) => inspect({ secret }, { depth: 9, showHidden: true })],
  ['format', (secret) => format('%s %o %O %j', secret, secret, secret, secret)],
  ['its keys and values', (secret) => JSON.stringify([Object.entries(secret), Object.getOwnPropertyNames(secret)])],
  ['an error with it as the cause', (secret) => inspect(new Error('no', { cause: secret }))],
  ['a copy', (secret) => JSON.stringify(Object.assign({}, secret))],
])('a secret does not come out through %s', (_, print) => {
  expect(print(new Secret(CANARY))).not.toContain(CANARY)
})

it('a secret comes out where it is asked to', () => {
  expect(new Secret(CANARY).reveal()).toBe(CANARY)
})

const read: ReadSecret = (secret, key, destination) =>
  Promise.resolve(new Secret(`${secret}.${key}@${destination.hostname}`))
const destination = new URL('https://harbor.example.com/v2/')

it('each way to say who asks makes its own header', async () => {
  const header = async (auth: Parameters<typeof authHeader>[0]) => {
    const made = await authHeader(auth, read, destination)
    return made && [made.name, made.value.reveal()]
  }
  expect(await header({ type: 'none' })).toBeUndefined()
  expect(await header({ type: 'bearer', secret: 's' })).toEqual(['authorization', 'Bearer s.token@harbor.example.com'])
  expect(await header({ type: 'custom', secret: 's', header: 'X-Api-Key' })).toEqual([
    'x-api-key',
    's.value@harbor.example.com',
  ])
  const basic = Buffer.from('s.username@harbor.example.com:s.password@harbor.example.com').toString('base64')
  expect(await header({ type: 'basic', secret: 's' })).toEqual(['authorization', `Basic ${basic}`])
})
