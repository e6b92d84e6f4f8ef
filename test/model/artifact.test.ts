import { expect, test } from 'vitest'
import { parseFileUrl } from '../../src/model/artifact.ts'

test('a file’s URL is spelled as nodes spell it, so that both make one id of it', () => {
  expect(parseFileUrl('HTTPS://Models.Example.com:443/a/../llama.gguf?v=1')).toBe(
    'https://models.example.com/llama.gguf?v=1',
  )
})

test.each(['', 'models.example.com/x', 'ftp://a/x', 'https://u:p@a/x', 'https://u@a/x', 'https://a/x#y'])(
  '%j is no file’s URL, and no password in it is repeated',
  (text) => {
    expect(() => parseFileUrl(text)).toThrow(new TypeError('not the URL of a file'))
  },
)
