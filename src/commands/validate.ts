import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigReader } from '../config/reader.ts'
import { formatProblem } from '../config/render-problems.ts'
import { openFolderSource } from '../git/folder.ts'
import { readConfig } from '../reconcile.ts'
import type { Config } from '../config/load.ts'
import { exit, type Exit, type Io } from './command.ts'

export interface ValidateOptions {
  readonly output: 'text' | 'json'
}

/** Offline check of a config folder: every finding, at its place. */
export async function validate(dir: string, { output }: ValidateOptions, io: Io, signal: AbortSignal): Promise<Exit> {
  const config = await loadFolder(dir, new ConfigReader(), signal)
  if (config.objects.length === 0 && config.problems.length === 0)
    io.err(`nothing in ${dir} is of preheatd.io/v1alpha1: is it the folder that source.path names?\n`)
  const errors = config.problems.filter(({ severity }) => severity === 'error').length
  const warnings = config.problems.length - errors
  if (output === 'json') {
    const { objects, problems, ignored } = config
    io.out(`${JSON.stringify({ valid: errors === 0, objects: objects.length, ignored, problems }, undefined, 2)}\n`)
  } else {
    io.out(await problemsText(dir, config, io))
    const counts = [plural(config.objects.length, 'object'), plural(errors, 'error'), plural(warnings, 'warning')]
    if (config.ignored > 0) counts.push(`${plural(config.ignored, 'document')} of other kinds ignored`)
    io.out(`${errors === 0 ? io.outColors.green('Valid') : io.outColors.red('Invalid')}: ${counts.join(', ')}.\n`)
  }
  return errors === 0 ? exit.ok : exit.invalid
}

/** A folder as the configuration that it holds. @throws {SourceError} when it cannot be read */
export async function loadFolder(dir: string, reader: ConfigReader, signal: AbortSignal): Promise<Config> {
  await using source = openFolderSource(dir)
  // A folder stands at one revision only: what it holds when it is looked at.
  return await readConfig(await source.fetch('', signal), reader, signal)
}

/** Every finding with the line that it speaks of. */
export async function problemsText(dir: string, config: Config, io: Io): Promise<string> {
  const texts = new Map<string, string | undefined>()
  let text = ''
  for (const problem of config.problems) {
    if (!texts.has(problem.file))
      texts.set(problem.file, await readFile(join(dir, problem.file), 'utf8').catch(() => undefined))
    text += `${formatProblem(problem, texts.get(problem.file), io.outColors.isColorSupported)}\n`
  }
  return text
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
