import pc from 'picocolors'
import { EdgeError, excerpt, OperatorError } from '../model/errors.ts'
import { codes, type Code } from '../model/codes.ts'
import { SourceError } from '../model/source.ts'
import { CannotBegin } from '../begin.ts'

/** The contract with scripts (resources.md §3); changing one is a breaking change. */
export const exit = { ok: 0, failed: 1, changes: 2, invalid: 3, usage: 64, crashed: 70 } as const
export type Exit = (typeof exit)[keyof typeof exit]

/** The terminal and its surroundings, so that a command can be run without them. */
export interface Io {
  /** Results. */
  readonly out: (text: string) => void
  /** Progress and complaints. */
  readonly err: (text: string) => void
  readonly env: Readonly<Record<string, string | undefined>>
  /** Colours for results and for progress; off where nobody looks at a terminal, and with NO_COLOR. */
  readonly outColors: Colors
  readonly errColors: Colors
}

type Colors = ReturnType<typeof pc.createColors>

/** The process's own terminal. */
export function processIo(): Io {
  const { env } = process
  const wants = (isTty: boolean) => isTty && (env['NO_COLOR'] ?? '') === ''
  return {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    env,
    outColors: pc.createColors(wants(process.stdout.isTTY)),
    errColors: pc.createColors(wants(process.stderr.isTTY)),
  }
}

/** What a person reads who has to mend something: code, message, remedy. Undefined for a bug of ours. */
export function explainError(error: unknown): string | undefined {
  if (error instanceof OperatorError) {
    return `error ${error.code}: ${error.message}\n  help: ${error.help ?? codes[error.code].remedy}\n`
  }
  if (error instanceof SourceError || error instanceof EdgeError) return explained(error.code, error.message)
  if (error instanceof CannotBegin) return explained(error.code, error.message)
  if (error instanceof Error && 'code' in error && REFUSED_FILE.has(error.code))
    return explained('PH8114', excerpt(error.message, 1000))
  return undefined
}

function explained(code: Code, message: string): string {
  return `error ${code}: ${message}\n  help: ${codes[code].remedy}\n`
}

/** What the machine says of a file that it does not let be written, or read. */
const REFUSED_FILE: ReadonlySet<unknown> = new Set(['EACCES', 'EDQUOT', 'EIO', 'EMFILE', 'ENOSPC', 'EPERM', 'EROFS'])
