import pc from 'picocolors'
import type { Io } from '../../src/commands/command.ts'

/** A terminal without colours that keeps what is written to it. */
export class MemoryIo implements Io {
  stdout = ''
  stderr = ''
  readonly env: Io['env']
  readonly outColors = pc.createColors(false)
  readonly errColors = pc.createColors(false)

  constructor(env: Io['env'] = {}) {
    this.env = env
  }

  readonly out = (text: string): void => {
    this.stdout += text
  }

  readonly err = (text: string): void => {
    this.stderr += text
  }
}
