import { FakeDragonfly, type DragonflyOptions } from './dragonfly.ts'

// A manager in a process of its own: options as JSON in the first argument, `{"endpoint":…}` on stdout when it listens;
// what it saw at GET /__log. Ends with SIGTERM.
const options = JSON.parse(process.argv[2] ?? '{}') as DragonflyOptions
const fake = await FakeDragonfly.start(options)
process.stdout.write(`${JSON.stringify({ endpoint: fake.endpoint })}\n`)
process.once('SIGTERM', () => void fake[Symbol.asyncDispose]())
