import { readFileSync } from 'node:fs'

/** This build's version, from the package that it was installed as. */
export const version = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version
